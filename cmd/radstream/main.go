// Command radstream streams chest studies into a searchable index. See radstream --help.
package main

import (
	"github.com/radstream/radstream/services/cli"
	"github.com/radstream/radstream/services/command"
)

// version is set by the linker (Makefile).
var version string

func main() { command.Main(version, cli.Run) }
