// Command radstream streams chest studies into a searchable index. See radstream --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/radstream/radstream/services/cli"
)

// version is set by the linker (Makefile).
var version string

func main() {
	if version == "" { // built by go build or go install alone
		if info, ok := debug.ReadBuildInfo(); ok {
			version = info.Main.Version
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	code := cli.Run(ctx, cli.Env{
		Version: version, Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	stop()
	os.Exit(code)
}
