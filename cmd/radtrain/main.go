// Command radtrain trains and measures models for radstream. See radtrain --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/radstream/radstream/services/traincli"
)

// version is set by the linker (Makefile).
var version = "unknown"

func main() {
	limitSpinning()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := traincli.Run(ctx, traincli.Env{Version: version, Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr})
	stop()
	os.Exit(code)
}
