package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/services/bench"
	"github.com/radstream/radstream/services/progress"
)

func (c *cli) benchEmbed() *cobra.Command {
	var conf bench.EmbedConfig
	cmd := &cobra.Command{
		Use:   "embed",
		Short: "Time image encoding, beside PyTorch, ONNX Runtime and OpenVINO",
		Long: `Time a ViT-B/16 at 224 with 196 tokens, from bytes in memory to vectors in memory, in our encoder
(fp32 and int8) and beside PyTorch, ONNX Runtime and OpenVINO in Python, on the same random weights
and images, in turns. Then time films that somebody asks about, idle and while the archive is
encoded. The first time, a Python virtual environment is made for the peers (5 GB).`,
		Example: `  radstream bench embed
  radstream bench embed --rounds 9 --threads 2 --json
  radstream bench embed --peers none`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bars := progress.New(c.Stderr, c.JSON)
			peers := len(conf.Peers)
			switch {
			case peers == 0:
				peers = len(bench.EmbedPeers())
			case conf.Peers[0] == "none":
				peers = 0
			}
			runs := bars.Add("runs", conf.Rounds*(peers+2))
			conf.Progress = runs.Set
			f, err := bench.Embed(cmd.Context(), conf)
			bars.Finish()
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(f)
			}
			return c.printEmbedFigures(f)
		},
	}
	cmd.Flags().StringVar(&conf.Venv, "venv", filepath.Join(".deps", "venv-embed"), "the peers' virtual environment")
	cmd.Flags().IntVar(&conf.Batch, "batch", 4, "images of one run")
	cmd.Flags().IntVar(&conf.Rounds, "rounds", 5, "how often each runs")
	cmd.Flags().Float64Var(&conf.Seconds, "seconds", 3, "how long each runs in a round, and one batch at least")
	cmd.Flags().IntVar(&conf.Threads, "threads", 0, "threads of an inference; 0 is one a core")
	cmd.Flags().IntVar(&conf.Queries, "queries", 100, "films to ask about, idle and under load; 0 leaves it out")
	cmd.Flags().StringSliceVar(&conf.Peers, "peers", nil, "a part of "+strings.Join(bench.EmbedPeers(), ", ")+"; empty is all, none is none")
	return cmd
}

func (c *cli) printEmbedFigures(f bench.EmbedFigures) error {
	fmt.Fprintf(c.Stdout, "%d threads, batches of %d, CPU with %s\n", f.Threads, f.Batch, strings.Join(f.CPU, ", "))
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "encoder\timages/s\tcosine\tversion\t")
	for _, r := range f.Rows {
		name := r.Name
		if r.Ours {
			name = "radstream " + name
		}
		if r.Error != "" {
			fmt.Fprintf(w, "%s\tnot measured: %s\n", name, r.Error)
			continue
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.4f\t%s\t%s\n", name, r.Speed, r.Cosine, r.Version, r.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if f.Best != "" {
		fmt.Fprintf(c.Stdout, "ratio to the best peer, %s: %.2f (%.2f to %.2f)\n", f.Best, f.Ratio, f.RatioCI[0], f.RatioCI[1])
	}
	if q := f.Queries; q != nil {
		fmt.Fprintf(c.Stdout, "a film asked about, fp32: p50 %.0f ms, p99 %.0f ms; under full load p50 %.0f ms, p99 %.0f ms\n", q.Idle[0], q.Idle[1], q.Loaded[0], q.Loaded[1])
	}
	return nil
}
