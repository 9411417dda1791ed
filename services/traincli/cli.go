// Package traincli is the command line of radtrain.
//
// Each command lives in a file of its own and does three things: read flags, call
// services/train (or trainer/films), print what came back, as text for people or with --json as one object with
// stable field names. Errors go to standard error as one line that names the next step.
package traincli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/progress"
)

// Env is what a command may touch of the world outside.
type Env struct {
	Version string
	Args    []string // without the program's name
	Stdout  io.Writer
	Stderr  io.Writer
}

// Run runs one command line and returns its exit code. It never calls os.Exit.
func Run(ctx context.Context, env Env) int {
	c := &cli{Env: env}
	root := c.root()
	root.SetArgs(env.Args)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !c.running { // refused before it ran: cobra's errors have no kind
		err = fault.Errorf("", fault.Usage, "%w; see `%s --help`", err, cmd.CommandPath())
	}
	if err != nil {
		c.printError(err)
	}
	return exitCode(err)
}

type cli struct {
	Env
	running bool // flags and arguments were taken
	json    bool
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "radtrain",
		Short: "Train and measure models for radstream",
		Long: `radtrain makes models from the archive of a radstream and measures them. Models are for
research, not for diagnosis.

Exit codes:
  0  done
  1  failed
  2  usage
  3  invalid input
  4  a server is not reachable`,
		Example: `  radtrain phantoms work/data --studies 5000 --seed 1
  radtrain fit --preset tiny --data work/data/manifest.json --out work/model
  radtrain eval retrieval --model work/model`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(c.phantoms(), c.studies(), c.manifest(), c.exportArchive(), c.importWeights(), c.backbone(), c.adapters(), c.quantize(), c.fit(), c.compare(), c.serve(), c.views(), c.eval(), c.bench(), c.version())
	c.prepare(root)
	return root
}

// prepare gives every command below cmd its default for arguments and marks, before a command
// runs, that flags and arguments were taken.
func (c *cli) prepare(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.Args == nil {
			sub.Args = cobra.NoArgs
		}
		if run := sub.RunE; run != nil {
			sub.RunE = func(cmd *cobra.Command, args []string) error {
				c.running = true
				return run(cmd, args)
			}
		}
		c.prepare(sub)
	}
}

// printJSON writes v as one object on one line.
func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.Stdout)
	e.SetEscapeHTML(false)
	return fault.E("traincli.printJSON", fault.Internal, e.Encode(v))
}

// printError writes one line for people, or one object with --json.
func (c *cli) printError(err error) {
	if !c.json {
		fmt.Fprintf(c.Stderr, "radtrain: %s\n", fault.Detail(err))
		return
	}
	type problem struct {
		Kind   string       `json:"kind"`
		Reason fault.Reason `json:"reason,omitempty"`
		Detail string       `json:"detail"`
	}
	_ = json.NewEncoder(c.Stderr).Encode(struct {
		Error problem `json:"error"`
	}{problem{fault.KindOf(err).String(), fault.ReasonOf(err), fault.Detail(err)}})
}

// exitCode is the one place where an error becomes an exit code; the numbers are radstream's.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	switch fault.KindOf(err) {
	case fault.Usage:
		return 2
	case fault.Invalid, fault.Unsupported:
		return 3
	case fault.Unavailable:
		return 4
	default:
		return 1
	}
}

// progress returns a function that shows how far something is.
func (c *cli) progress(name string) func(done, total int) {
	var bars *progress.Bars
	var bar *progress.Bar
	return func(done, total int) {
		if bars == nil {
			bars = progress.New(c.Stderr, c.json)
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
	f.StringVar(&c.URL, "nats", c.URL, "address of NATS, for manifests of a stream")
	f.StringVar(&c.Token, "nats-token", c.Token, "token for NATS")
	f.StringVar(&c.CredsFile, "nats-creds", c.CredsFile, "credentials file for NATS")
}
