// Package cli is the command line of radstream.
//
// Each command lives in a file of its own and does three things: read flags, call the
// package that does the work, print what came back, as text for people or with --json as
// one object (one a line for lists) with stable field names. Errors go to standard error
// as one line that names the next step; exitCode maps them to exit codes.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Env is what a command may touch of the world outside.
type Env struct {
	Version string
	Args    []string // without the program's name
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// Run runs one command line and returns its exit code. It never calls os.Exit.
func Run(ctx context.Context, env Env) int {
	stdout := &output{Writer: env.Stdout}
	env.Stdout = stdout
	c := &cli{Env: env}
	root := c.root()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !c.running { // refused before it ran: cobra's errors have no kind
		err = fault.Errorf("", fault.Usage, "%w; see `%s --help`", err, cmd.CommandPath())
		c.json = c.json || slices.Contains(env.Args, "--json") // flags behind the fault were not read
	}
	if err == nil {
		err = fault.E("cli.Run", fault.Internal, stdout.err)
	}
	if err != nil && !errors.Is(err, errReported) {
		printError(env.Stderr, err, c.json)
	}
	return exitCode(err)
}

// errReported wraps an error that the command has already told the user about.
var errReported = errors.New("reported")

// output keeps the first error of writing to standard output, such as that of a full disk: a command
// whose answer was lost has failed, and few of them look.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

type cli struct {
	Env
	running bool // flags and arguments were taken
	json    bool
	tenant  string
	server  string // address of the query service
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "radstream",
		Short: "Stream chest studies into a searchable index",
		Long: `Radstream turns a stream of chest radiographs and reports into an index that can
be searched by text, by film or by study. It is infrastructure for research, not a
medical device: do not use it for diagnosis.

` + exitCodes,
		Example: `  radstream up                                  # start everything in one process
  radstream publish ./studies --wait            # in another terminal
  radstream search --text "left pleural effusion"`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(c.up(), c.publish(), c.dlq(), c.erase(), c.models(), c.relabel(), c.reindex(), c.index(), c.search(), c.explain(), c.labels(), c.inspect(), c.report(),
		c.status(), c.phantom(), c.demo(), c.bench(), c.config(), c.openapi(), c.token(), c.version())
	for _, cmd := range root.Commands() {
		if cmd.Args == nil {
			cmd.Args = cobra.NoArgs
		}
		cmd.RunE = c.started(cmd.RunE)
	}
	return root
}

// started marks that flags and arguments were taken, before a command runs.
func (c *cli) started(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.running = true
		return run(cmd, args)
	}
}

// serverEnv names the variable with the address of the query service.
const serverEnv = "RADSTREAM_SERVER"

// asksServer adds the flags of commands that ask a running system.
func (c *cli) asksServer(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&c.server, "server", envOr(serverEnv, "127.0.0.1:8080"), "address of the query service, or its URL with https [RADSTREAM_SERVER]; RADSTREAM_TOKEN holds the token that it asks for")
	return c.hasTenant(cmd)
}

func (c *cli) hasTenant(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&c.tenant, "tenant", string(event.DefaultTenant), "tenant")
	return cmd
}

// parseTenant checks --tenant.
func (c *cli) parseTenant() (event.Tenant, error) {
	t, err := event.ParseTenant(c.tenant)
	if err != nil {
		return "", fault.Errorf("", fault.Usage, "--tenant: %s", fault.Detail(err))
	}
	return t, nil
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// printJSON writes v as one object on one line.
func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.Stdout)
	e.SetEscapeHTML(false)
	return fault.E("cli.printJSON", fault.Internal, e.Encode(v))
}
