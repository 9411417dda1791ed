// Package command is what the command lines of radstream and radtrain do alike: run one line, write its
// answer and its error, and end with an exit code. Errors go to standard error as one line for people
// (one a fault where there are several), or with --json as one object.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

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

// Main is the main of a program: it runs its command line until it ends, or is interrupted or told to
// end, and then ends the process. version is empty where nothing was linked in.
func Main(version string, run func(context.Context, Env) int) {
	if version == "" { // built by go build or go install alone
		if info, ok := debug.ReadBuildInfo(); ok {
			version = info.Main.Version
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	code := run(ctx, Env{Version: version, Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	stop()
	os.Exit(code)
}

// Line is one command line. Make one with [New].
type Line struct {
	Env
	JSON    bool // --json
	running bool // flags and arguments were taken
	output  *output
}

// New returns a line that writes to the outputs of env.
func New(env Env) *Line {
	l := &Line{Env: env, output: &output{Writer: env.Stdout}}
	l.Stdout = l.output
	return l
}

// Run runs the line with its commands, and returns the exit code. It never calls os.Exit. Commands
// take no arguments where they do not say so.
func (l *Line) Run(ctx context.Context, root *cobra.Command) int {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.Args, root.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.PersistentFlags().BoolVar(&l.JSON, "json", false, "print JSON")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(l.version())
	l.prepare(root)
	root.SetArgs(l.Args)
	root.SetIn(l.Stdin)
	root.SetOut(l.Stdout)
	root.SetErr(l.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !l.running { // refused before it ran: cobra's errors have no kind
		err = fault.Errorf("", fault.Usage, "%w; see `%s --help`", err, cmd.CommandPath())
		l.JSON = l.JSON || slices.Contains(l.Args, "--json") // flags behind the fault were not read
	}
	if err == nil {
		err = fault.E("command.Run", fault.Internal, l.output.err)
	}
	if err != nil && !errors.Is(err, ErrReported) {
		printError(l.Stderr, root.Name(), err, l.JSON)
	}
	return exitCode(err)
}

// prepare gives every command below cmd its default for arguments and marks, before a command
// runs, that flags and arguments were taken.
func (l *Line) prepare(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.Args == nil {
			sub.Args = cobra.NoArgs
		}
		if run := sub.RunE; run != nil {
			sub.RunE = func(cmd *cobra.Command, args []string) error {
				l.running = true
				return run(cmd, args)
			}
		}
		l.prepare(sub)
	}
}

func (l *Line) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.JSON {
				return l.PrintJSON(map[string]string{"version": l.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(l.Stdout, "%s %s (%s, %s/%s)\n", cmd.Root().Name(), l.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// PrintJSON writes v as one object on one line.
func (l *Line) PrintJSON(v any) error {
	e := json.NewEncoder(l.Stdout)
	e.SetEscapeHTML(false)
	return fault.E("command.PrintJSON", fault.Internal, e.Encode(v))
}

// ErrReported wraps an error that the command has already told the user about.
var ErrReported = errors.New("reported")

// FailureCodes are the lines of --help on exit codes but 0, which are stable.
const FailureCodes = `
  1  failed
  2  usage
  3  invalid input
  4  a server is not reachable`

// exitCode is the one place where an error becomes an exit code.
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

func printError(w io.Writer, program string, err error, asJSON bool) {
	if !asJSON {
		fmt.Fprintf(w, "%s: %s\n", program, strings.ReplaceAll(fault.Detail(err), "\n", "\n"+program+": "))
		return
	}
	type problem struct {
		Kind   string       `json:"kind"`
		Reason fault.Reason `json:"reason,omitempty"`
		Detail string       `json:"detail"`
	}
	_ = json.NewEncoder(w).Encode(struct {
		Error problem `json:"error"`
	}{problem{fault.KindOf(err).String(), fault.ReasonOf(err), fault.Detail(err)}})
}

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
