package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/services/bench"
	"github.com/radstream/radstream/services/progress"
)

func (c *cli) benchSearch() *cobra.Command {
	conf := bench.SearchConfig{}
	var million bool
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Time the embedded index: search, filters, writes",
		Long: `Fill an embedded index in a temporary directory with random vectors and time it through the
client that the indexer uses, over gRPC on loopback, one call at a time: searches for 10, the same
with filters that 0.1 to 100 % of the points meet, upserts in bulk and alone, each synced to disk.
Nothing is left behind. Figures of a Qdrant 1.17.1 stand beside where they are known: it was built
from source, on two cores, and measured once; no package index ships a server to run here. --edge
runs Qdrant's own engine in the same run, in process and without gRPC, in a Python virtual
environment that is made the first time.`,
		Example: "  radstream bench search --queries 500\n  radstream bench search --points 20000 --edge",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if million {
				conf.Points = append(conf.Points, 1_000_000)
			}
			total := 0
			for _, n := range conf.Points {
				total += n
			}
			bars := progress.New(c.Stderr, c.JSON)
			conf.Progress = bars.Add("points", total).Set
			figures, err := bench.Search(cmd.Context(), conf)
			bars.Finish()
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(figures)
			}
			for _, f := range figures {
				c.printSearchFigures(f)
			}
			return nil
		},
	}
	cmd.Flags().IntSliceVar(&conf.Points, "points", []int{20_000, 100_000}, "sizes of the index")
	cmd.Flags().BoolVar(&million, "million", false, "measure 1,000,000 points too: about 4 GB of memory and 5 GB of disk")
	cmd.Flags().IntVar(&conf.Width, "width", 512, "elements of a vector")
	cmd.Flags().IntVar(&conf.Queries, "queries", 300, "calls of each kind")
	cmd.Flags().BoolVar(&conf.Edge, "edge", false, "run Qdrant's engine too")
	cmd.Flags().StringVar(&conf.Venv, "venv", filepath.Join(".deps", "venv-edge"), "the virtual environment of Qdrant's engine")
	return cmd
}

func (c *cli) printSearchFigures(f bench.SearchFigures) {
	line := func(format string, args ...any) { fmt.Fprintf(c.Stdout, format+"\n", args...) }
	line("%d points of %d", f.Points, f.Width)
	line("  search for 10       p50 %.2f  p95 %.2f  p99 %.2f ms", f.Search.P50, f.Search.P95, f.Search.P99)
	if f.Qdrant != nil {
		line("    Qdrant 1.17.1     p50 %.2f ms exact, %.2f ms HNSW (built from source, two cores, another day)", f.Qdrant.P50, f.HNSW.P50)
	}
	if f.Edge != nil {
		line("    Qdrant's engine   p50 %.2f  p95 %.2f  p99 %.2f ms exact, in process, this run", f.Edge.P50, f.Edge.P95, f.Edge.P99)
	}
	for _, filtered := range f.Filters {
		line("    filter, %5.1f %%   p50 %.2f ms, %.2f of the above", filtered.Percent, filtered.P50, filtered.Ratio)
	}
	line("  upsert, bulk        %.0f points/s (Qdrant 1.17.1: 12500)", f.Upsert)
	line("  upsert, one         p50 %.2f  p95 %.2f  p99 %.2f ms (Qdrant 1.17.1: 0.93 to 1.06)", f.One.P50, f.One.P95, f.One.P99)
	line("  memory              %.0f bytes a point on the heap, %.0f mapped", f.Memory, f.Mapped)
}
