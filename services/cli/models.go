package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/registry"
)

func (c *cli) models() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "models",
		Short: "List, push, pull, promote and roll back the models of the registry",
		Long: `The registry lies in NATS: every model that was pushed or trained by radtrain serve, what was
decided of it, and which one serves. A running radstream up takes up what is promoted, unless it
was given --model-dir: it embeds the archive again, into a collection of its own, while queries go
on by the model before, and turns to the new one when nothing is missing. The collection of the
model before stays, so that a rollback only has to embed what came since.`,
		Example: `  radstream models list
  radstream models push work/run/model
  radstream models promote tiny@1.1.0
  radstream models rollback`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	list := &cobra.Command{
		Use: "list", Short: "List the models of the registry, oldest first", Args: cobra.NoArgs,
		Example: "  radstream models list --json",
		RunE: c.withRegistry(func(ctx context.Context, r *registry.Registry, _ []string) error {
			all, err := r.List(ctx)
			if err != nil {
				return err
			}
			return c.printModels(all)
		}),
	}
	push := &cobra.Command{
		Use: "push DIR", Short: "Store the model in a directory", Args: cobra.ExactArgs(1),
		Example: "  radstream models push work/run/model",
		RunE: c.withRegistry(func(ctx context.Context, r *registry.Registry, args []string) error {
			rec, err := r.Push(ctx, args[0], "", nil)
			if err != nil {
				return err
			}
			return c.printModel("pushed "+rec.Ref.String(), rec)
		}),
	}
	pull := &cobra.Command{
		Use: "pull REF DIR", Short: "Write a model into a new directory", Args: cobra.ExactArgs(2),
		Example: "  radstream models pull tiny@1.1.0 work/tiny",
		RunE: c.withRegistry(func(ctx context.Context, r *registry.Registry, args []string) error {
			ref, err := model.ParseRef(args[0])
			if err != nil {
				return err
			}
			if err := r.Pull(ctx, ref, args[1]); err != nil {
				return err
			}
			rec, err := r.Record(ctx, ref)
			if err != nil {
				return err
			}
			return c.printModel(ref.String()+" is in "+args[1], rec)
		}),
	}
	promote := &cobra.Command{
		Use: "promote REF", Short: "Make a model serve", Args: cobra.ExactArgs(1),
		Example: "  radstream models promote tiny@1.1.0",
		RunE: c.withRegistry(func(ctx context.Context, r *registry.Registry, args []string) error {
			ref, err := model.ParseRef(args[0])
			if err != nil {
				return err
			}
			s, err := r.Promote(ctx, ref, model.Ref{}, registry.ByOperator)
			if err != nil {
				return err
			}
			return c.printModel(s.Ref.String()+" serves: a running radstream up turns to it when the archive is embedded under it; see radstream status", s)
		}),
	}
	saw := &cobra.Command{
		Use: "saw STUDY_KEY", Short: "Say which models were trained on a study, or measured on it", Args: cobra.ExactArgs(1),
		Long: `Say which models were trained on a study, or measured on it, so that they can be trained anew when
it is erased. The study is named by its key, as events and the query API have it. Of a model that
was pushed, nobody can tell: radtrain serve alone keeps the data that its models saw.`,
		Example: "  radstream models saw 0123456789abcdef0123456789abcdef",
		RunE: c.withRegistry(func(ctx context.Context, r *registry.Registry, args []string) error {
			saw, unknown, err := r.Saw(ctx, event.StudyKey(args[0]))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(struct {
					Saw     []model.Ref `json:"saw"`
					Unknown []model.Ref `json:"unknown"`
				}{append([]model.Ref{}, saw...), append([]model.Ref{}, unknown...)})
			}
			for _, ref := range saw {
				fmt.Fprintf(c.Stdout, "%s saw it\n", ref)
			}
			for _, ref := range unknown {
				fmt.Fprintf(c.Stdout, "%s may have seen it: its data were not kept\n", ref)
			}
			if len(saw)+len(unknown) == 0 {
				fmt.Fprintln(c.Stdout, "no model saw it")
			}
			return nil
		}),
	}
	rollback := &cobra.Command{
		Use: "rollback", Short: "Make the model serve that served before", Args: cobra.NoArgs,
		Example: "  radstream models rollback",
		RunE: c.withRegistry(func(ctx context.Context, r *registry.Registry, _ []string) error {
			s, err := r.Rollback(ctx)
			if err != nil {
				return err
			}
			return c.printModel(s.Ref.String()+" serves: a running radstream up turns to it when the archive is embedded under it; see radstream status", s)
		}),
	}
	for _, sub := range []*cobra.Command{list, push, pull, promote, rollback, saw} {
		cmd.AddCommand(dialsNATS(sub))
	}
	return cmd
}

// withRegistry makes a command of what is done with the registry.
func (c *cli) withRegistry(f func(ctx context.Context, r *registry.Registry, args []string) error) func(*cobra.Command, []string) error {
	return c.withBus(func(ctx context.Context, b *bus.Bus, args []string) error {
		r, err := registry.Open(ctx, b)
		if err != nil {
			return err
		}
		return f(ctx, r, args)
	})
}

func (c *cli) printModel(line string, v any) error {
	if c.JSON {
		return c.PrintJSON(v)
	}
	_, err := fmt.Fprintln(c.Stdout, line)
	return err
}

func (c *cli) printModels(all []registry.Record) error {
	if c.JSON {
		for _, rec := range all {
			if err := c.PrintJSON(rec); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	for _, rec := range all {
		serves := ""
		if rec.Serving {
			serves = "serves"
		}
		said := ""
		var d radstreamv1.ModelDecided
		if rec.Decision != nil && protojson.Unmarshal(rec.Decision, &d) == nil {
			if said = "refused: " + d.GetReason(); d.GetPromoted() {
				said = "promoted: " + d.GetReason()
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f MB\t%s\t%s\n", rec.Ref, rec.Added.Format(time.DateTime), float64(rec.Bytes)/1e6, serves, said)
	}
	return w.Flush()
}
