package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/deadletter"
)

func (c *cli) dlq() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "List dead letters, and requeue or drop them",
		Long: `What a stage refuses leaves a dead letter with the reason in the stream REJECTED. What was refused
stays where it is, so that it can be put before its stage again when the reason is gone: a setting
was changed, a disk freed, a newer version installed.`,
		Example: `  radstream dlq list
  radstream dlq list --reason truncated --json
  radstream dlq show 12
  radstream dlq requeue 12 13
  radstream dlq requeue --all --stage prepare --reason burned_in_text
  radstream dlq drop 12`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var f deadletter.Filter
	filters := func(sub *cobra.Command) *cobra.Command {
		sub.Flags().StringVar((*string)(&f.Tenant), "tenant", "", "only of this tenant; all without it")
		sub.Flags().StringVar(&f.Stage, "stage", "", "only of this stage: prepare, relate, embed or index")
		sub.Flags().StringVar(&f.Reason, "reason", "", "only with this reason")
		sub.PreRunE = func(*cobra.Command, []string) error { // a misspelt one would keep nothing
			if !slices.Contains([]string{"", "prepare", "relate", "embed", "index"}, f.Stage) {
				return errors.New("--stage must be prepare, relate, embed or index")
			}
			if f.Tenant == "" {
				return nil
			}
			if _, err := event.ParseTenant(string(f.Tenant)); err != nil {
				return errors.New("--tenant: " + fault.Detail(err))
			}
			return nil
		}
		return sub
	}
	list := filters(&cobra.Command{
		Use: "list", Short: "List the dead letters, oldest first", Args: cobra.NoArgs,
		Example: "  radstream dlq list --stage prepare",
		RunE:    c.withBus(func(ctx context.Context, b *bus.Bus, _ []string) error { return c.listLetters(ctx, b, f) }),
	})
	show := &cobra.Command{
		Use: "show SEQ", Short: "Show one dead letter", Args: cobra.ExactArgs(1),
		Example: "  radstream dlq show 12 --json",
		RunE: c.withBus(func(ctx context.Context, b *bus.Bus, args []string) error {
			letters, err := named(ctx, b, args)
			if err != nil {
				return err
			}
			return c.showLetter(letters[0])
		}),
	}
	deal := func(use, done string, what func(context.Context, *bus.Bus, deadletter.Letter) error) *cobra.Command {
		var all bool
		sub := filters(&cobra.Command{
			Use: use + " (SEQ... | --all)", Args: cobra.ArbitraryArgs,
			RunE: c.withBus(func(ctx context.Context, b *bus.Bus, args []string) error {
				if all == (len(args) > 0) || !all && f != (deadletter.Filter{}) {
					return fault.Errorf("", fault.Usage, "name dead letters, or --all, which --tenant, --stage and --reason narrow")
				}
				if all {
					n, err := deadletter.Each(ctx, b, f, what)
					return c.dealt(n, done, err)
				}
				letters, err := named(ctx, b, args)
				if err != nil {
					return err
				}
				for n, l := range letters {
					if err := what(ctx, b, l); err != nil {
						return c.dealt(n, done, err)
					}
				}
				return c.dealt(len(letters), done, nil)
			}),
		})
		sub.Flags().BoolVar(&all, "all", false, "all that the other flags keep")
		return sub
	}
	requeue := deal("requeue", "requeued", deadletter.Requeue)
	requeue.Short = "Put what dead letters are about before its stage once more"
	requeue.Example = "  radstream dlq requeue 12 13\n  radstream dlq requeue --all --reason burned_in_text"
	requeue.Long = `Put what dead letters are about before its stage once more, and take the letters away. What is
refused again leaves a new one. Of an arrival that was taken in part, only the rest is news.`
	drop := deal("drop", "dropped", deadletter.Drop)
	drop.Short = "Take dead letters away; what they are about stays where it is"
	drop.Example = "  radstream dlq drop 12\n  radstream dlq drop --all --tenant test"
	for _, sub := range []*cobra.Command{list, show, requeue, drop} {
		cmd.AddCommand(dialsNATS(sub))
	}
	return cmd
}

// dialsNATS adds the flags of commands that [cli.withBus] makes.
func dialsNATS(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("nats-url", envOr("RADSTREAM_NATS_URL", "nats://127.0.0.1:4222"), "NATS server [RADSTREAM_NATS_URL]")
	cmd.Flags().String("nats-creds", os.Getenv("RADSTREAM_NATS_CREDS"), "credentials file of the NATS server [RADSTREAM_NATS_CREDS]; a token is taken from RADSTREAM_NATS_TOKEN")
	return cmd
}

// withBus makes a command of what is done with the bus.
func (c *cli) withBus(f func(ctx context.Context, b *bus.Bus, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		conf := bus.DefaultConfig()
		conf.Name, conf.Token = cmd.CommandPath(), os.Getenv("RADSTREAM_NATS_TOKEN")
		conf.URL, _ = cmd.Flags().GetString("nats-url")
		conf.CredsFile, _ = cmd.Flags().GetString("nats-creds")
		b, err := bus.Connect(cmd.Context(), conf, zerolog.New(c.Stderr).Level(zerolog.ErrorLevel))
		if err != nil {
			return err
		}
		defer b.Close()
		return f(cmd.Context(), b, args)
	}
}

// named returns the letters of a command line.
func named(ctx context.Context, b *bus.Bus, args []string) ([]deadletter.Letter, error) {
	var letters []deadletter.Letter
	for i, arg := range args {
		if slices.Contains(args[:i], arg) {
			continue
		}
		seq, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || seq == 0 {
			return nil, fault.Errorf("", fault.Usage, "a dead letter is named by its number, the first column of `radstream dlq list`")
		}
		l, err := deadletter.Get(ctx, b, seq)
		if err != nil {
			return nil, err
		}
		letters = append(letters, l)
	}
	return letters, nil
}

func (c *cli) listLetters(ctx context.Context, b *bus.Bus, f deadletter.Filter) error {
	if c.JSON {
		return deadletter.List(ctx, b, f, func(l deadletter.Letter) error { return c.PrintJSON(l) })
	}
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	n := 0
	err := deadletter.List(ctx, b, f, func(l deadletter.Letter) error {
		if n++; n == 1 {
			fmt.Fprintln(w, "SEQ\tREFUSED\tTENANT\tSTAGE\tREASON\tINPUT\tPART\tDETAIL")
		}
		_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Sequence, l.Time.Local().Format(time.DateTime), l.Tenant, l.Stage, l.Reason, input(l, "%[1]s %[2]d"), l.Part, l.Detail)
		return fault.E("cli.dlq", fault.Internal, err)
	})
	if err := w.Flush(); err != nil {
		return fault.E("cli.dlq", fault.Internal, err)
	}
	switch {
	case err != nil || n > 0:
	case f == deadletter.Filter{}:
		fmt.Fprintln(c.Stdout, "no dead letters")
	default:
		fmt.Fprintln(c.Stdout, "no dead letter has all of that")
	}
	return err
}

func (c *cli) showLetter(l deadletter.Letter) error {
	if c.JSON {
		return c.PrintJSON(l)
	}
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"dead letter", strconv.FormatUint(l.Sequence, 10)}, {"refused", l.Time.Local().Format(time.DateTime)}, {"tenant", string(l.Tenant)},
		{"stage", l.Stage}, {"kind", l.Kind}, {"reason", l.Reason}, {"detail", l.Detail},
		{"input", input(l, "message %[2]d of %[1]s")}, {"part", l.Part}, {"study key", string(l.Study)}, {"object", l.Object}, {"trace", l.Trace.ID()},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
	}
	return w.Flush()
}

// input names what a letter is about in a format for stream and sequence; a letter that cannot be
// read does not say.
func input(l deadletter.Letter, format string) string {
	if l.Stream == "" {
		return ""
	}
	return fmt.Sprintf(format, l.Stream, l.Input)
}

// dealt says how many letters were dealt with, also when others could not be.
func (c *cli) dealt(n int, done string, err error) error {
	if n > 0 || err == nil {
		var printed error
		if c.JSON {
			printed = c.PrintJSON(map[string]int{done: n})
		} else {
			_, printed = fmt.Fprintf(c.Stdout, "%d %s\n", n, done)
		}
		if err == nil {
			return printed
		}
	}
	return err
}
