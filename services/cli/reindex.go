package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/progress"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/reindex"
)

// Bounds of the stored queries: they are one value of the registry, and each is asked twice.
const (
	maxQueries     = 500
	maxQueriesFile = 256 << 10
)

func (c *cli) reindex() *cobra.Command {
	var named, queries string
	var k int
	var minOverlap float64
	var noSwitch, cancel, drop bool
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "reindex (--model REF | --cancel | --drop-queries)",
		Short: "Embed the archive under another model, compare the two, and turn to it",
		Long: `Embed the archive under a model of the registry, into a collection of its own, beside the one that
answers. What arrives meanwhile goes into both, and erasures reach both. When nothing is missing,
stored queries are asked of both models, and what the two find is compared; then the alias, the
registry and all queries turn to the new model at once. Until then the old one answers from its full
collection. radstream models rollback goes back.

The queries are texts in the words of a report, one a line in the file of --queries, which are kept
for the next time: no names of patients. Where none are stored, they are the prompts of the labels that are scored.
A running radstream up does the work, and goes on when this command is ended; asking once more
follows it again. One that was given --model-dir does not take part. A model that one of them cannot
load is not tried any further: the command ends with the reason, and exit code 3.`,
		Example: `  radstream reindex --model tiny@1.2.0 --no-switch --k 5 --json
  radstream reindex --model tiny@1.2.0
  radstream reindex --cancel
  radstream reindex --drop-queries`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&named, "model", "", "the model, as name@version; see radstream models push")
	cmd.Flags().StringVar(&queries, "queries", "", "file of the queries to compare by, one a line")
	cmd.Flags().IntVar(&k, "k", 10, "how many hits of each query are compared")
	cmd.Flags().Float64Var(&minOverlap, "min-overlap", 0, "do not turn to the model when the first k agree by less than this on average, 0 to 1")
	cmd.Flags().BoolVar(&noSwitch, "no-switch", false, "compare only: the model stays at work, and answers requests that name it")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "free the model that is at work beside the one that answers; its collection stays")
	cmd.Flags().BoolVar(&drop, "drop-queries", false, "remove the stored queries: models are compared by the prompts of the labels again")
	cmd.Flags().DurationVar(&patience, "patience", 24*time.Hour, "how long to wait for the archive")
	cmd.MarkFlagsMutuallyExclusive("model", "cancel", "drop-queries")
	cmd.MarkFlagsMutuallyExclusive("queries", "cancel", "drop-queries")
	cmd.MarkFlagsOneRequired("model", "cancel", "drop-queries")
	cmd.RunE = c.withBus(func(ctx context.Context, b *bus.Bus, _ []string) error {
		models, err := registry.Open(ctx, b)
		if err != nil {
			return err
		}
		said := func(line string, object any, err error) error {
			switch {
			case err != nil:
				return err
			case c.JSON:
				return c.PrintJSON(object)
			}
			_, err = fmt.Fprintln(c.Stdout, line)
			return err
		}
		switch {
		case cancel:
			return said("no model is at work beside the one that answers", map[string]any{"trial": nil}, models.EndTrial(ctx, model.Ref{}))
		case drop:
			return said("no queries are stored: models are compared by the prompts of the labels", map[string]any{"queries": []string{}}, models.SetQueries(ctx, nil))
		}
		ref, err := model.ParseRef(named)
		if err != nil {
			return fault.E("", fault.Usage, err)
		}
		tenant, err := c.askedTenant(cmd)
		if err != nil {
			return err
		}
		if k < 1 || k > query.MaxK || !(minOverlap >= 0 && minOverlap <= 1) {
			return fault.Errorf("", fault.Usage, "--k is 1 to %d and --min-overlap 0 to 1", query.MaxK)
		}
		if queries != "" {
			texts, err := readQueries(queries)
			if err != nil {
				return err
			}
			if err := models.SetQueries(ctx, texts); err != nil {
				return err
			}
		}
		ctx, end := context.WithTimeout(ctx, patience)
		defer end()
		bars, drawn := progress.New(c.Stderr, c.JSON), map[string]*progress.Bar{}
		report, err := reindex.Run(ctx, b, c.client(), reindex.Request{Ref: ref, Tenant: tenant, K: k, MinOverlap: minOverlap, NoSwitch: noSwitch,
			Progress: func(stage string, done, total uint64) {
				if drawn[stage] == nil {
					drawn[stage] = bars.Add(stage, int(total))
				}
				drawn[stage].Set(int(done))
			}})
		bars.Finish()
		if report.Queries == nil && err != nil {
			return err
		}
		if c.JSON {
			return errors.Join(err, c.PrintJSON(report))
		}
		c.printComparison(report)
		return err
	})
	return c.asksServer(dialsNATS(cmd))
}

// readQueries reads a file of queries, one a line; empty lines are passed over.
func readQueries(path string) ([]string, error) {
	data, err := readBounded(path, maxQueriesFile)
	if err != nil {
		return nil, err
	}
	var texts []string
	for line := range strings.Lines(string(data)) {
		if text := strings.TrimSpace(line); text != "" {
			texts = append(texts, text)
		}
	}
	if len(texts) < 1 || len(texts) > maxQueries {
		return nil, fault.Errorf("", fault.Invalid, "%s holds %d queries, not 1 to %d", path, len(texts), maxQueries)
	}
	return texts, nil
}

func (c *cli) printComparison(r reindex.Report) {
	if len(r.Queries) > 0 {
		w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "OVERLAP OF %d\tQUERY\n", r.K)
		for _, q := range r.Queries {
			fmt.Fprintf(w, "%.2f\t%s\n", q.Overlap, q.Text)
		}
		w.Flush()
		fmt.Fprintf(c.Stdout, "%s and %s: overlap %.2f on average, the same first hit in %.0f %%\n", r.Old, r.New, r.Overlap, 100*r.Same)
	}
	if r.Switched {
		fmt.Fprintf(c.Stdout, "%s answers; go back with radstream models rollback\n", r.New)
	} else {
		fmt.Fprintf(c.Stdout, "%s goes on answering; %s is at work beside it\n", r.Old, r.New)
	}
}
