// Package traincli is the command line of radtrain.
//
// Each command lives in a file of its own and does three things: read flags, call
// services/train (or trainer/films), print what came back, as text for people or with --json
// as one object with stable field names. Errors are as package command prints them, and name
// the next step.
package traincli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/command"
	"github.com/radstream/radstream/services/progress"
)

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, env command.Env) int {
	c := &cli{command.New(env)}
	return c.Run(ctx, c.root())
}

type cli struct{ *command.Line }

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "radtrain",
		Short: "Train and measure models for radstream",
		Long: `radtrain makes models from the archive of a radstream and measures them. Models are for
research, not for diagnosis.

Exit codes:
  0  done` + command.FailureCodes,
		Example: `  radtrain phantoms work/data --studies 5000 --seed 1
  radtrain fit --preset tiny --data work/data/manifest.json --out work/run
  radtrain eval retrieval --model work/run/model`,
	}
	root.AddCommand(c.phantoms(), c.studies(), c.manifest(), c.exportArchive(), c.importWeights(), c.backbone(), c.adapters(), c.quantize(), c.fit(), c.compare(), c.serve(), c.views(), c.eval(), c.bench())
	return root
}

// progress returns a function that shows how far something is.
func (c *cli) progress(name string) func(done, total int) {
	var bars *progress.Bars
	var bar *progress.Bar
	return func(done, total int) {
		if bars == nil {
			bars = progress.New(c.Stderr, c.JSON)
			bar = bars.Add(name, total)
		}
		if bar.Set(done); done == total {
			bars.Finish()
			bars = nil
		}
	}
}

// natsFlags are how to reach NATS, where a command reads a stream.
func natsFlags(f *pflag.FlagSet, c *bus.Config) {
	f.StringVar(&c.URL, "nats", c.URL, "NATS server that holds the archive; manifests of an archive file need none")
	f.StringVar(&c.Token, "nats-token", c.Token, "token of the NATS server")
	f.StringVar(&c.CredsFile, "nats-creds", c.CredsFile, "credentials file of the NATS server")
}
