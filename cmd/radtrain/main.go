// Command radtrain trains and measures models for radstream. See radtrain --help.
package main

import (
	"github.com/radstream/radstream/services/command"
	"github.com/radstream/radstream/services/traincli"
)

// version is set by the linker (Makefile).
var version string

func main() {
	limitSpinning()
	command.Main(version, traincli.Run)
}
