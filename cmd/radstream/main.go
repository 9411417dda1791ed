// Command radstream streams chest studies into a searchable index. See radstream --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/radstream/radstream/services/cli"
)

// version is set by the linker (Makefile).
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := cli.Run(ctx, cli.Env{
		Version: version, Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	stop()
	os.Exit(code)
}
