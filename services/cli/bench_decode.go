package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/services/bench"
	"github.com/radstream/radstream/services/progress"
)

func (c *cli) benchDecode() *cobra.Command {
	return c.benchAgainst("decode", "Time decoding, beside pydicom", `Time the way from a DICOM file in memory to its stored values, on one core, in every transfer
syntax, beside pydicom with pylibjpeg and pyjpegls in the same run, and compare the values. The
film is a phantom, enlarged, with a detector's noise. A ratio above 1 says that ours is faster.
The first time, a Python virtual environment is made for the peer.`, bench.Decode)
}

func (c *cli) benchPrepare() *cobra.Command {
	return c.benchAgainst("prepare", "Time preparation, beside pydicom", `Time the way from a DICOM file in memory to the prepared 224 x 224 view, on one core, in every
transfer syntax, beside pydicom and Pillow in the same run. Burned-in text is not looked for: the
peer does nothing of the kind. See bench decode.`, bench.Prepare)
}

func (c *cli) benchAgainst(name, short, long string, measure func(context.Context, bench.DecodeConfig) ([]bench.Timing, error)) *cobra.Command {
	var conf bench.DecodeConfig
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long,
		Example: "  radstream bench " + name + " --rounds 15",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bars := progress.New(c.Stderr, c.JSON)
			rounds := bars.Add("rounds", conf.Rounds)
			conf.Progress = rounds.Set
			timings, err := measure(cmd.Context(), conf)
			bars.Finish()
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(timings)
			}
			w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "syntax\tKB\tours ms\tpydicom ms\tratio\t95 %\tdiffer")
			for _, t := range timings {
				fmt.Fprintf(w, "%s\t%d\t%.1f\t", t.Syntax, t.Bytes/1000, t.Ours)
				if t.PeerError != "" {
					fmt.Fprintf(w, "%s\n", t.PeerError)
					continue
				}
				fmt.Fprintf(w, "%.1f\t%.2f\t%.2f to %.2f\t%d\n", t.Peer, t.Ratio, t.RatioCI[0], t.RatioCI[1], t.Differ)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&conf.Venv, "venv", filepath.Join(".deps", "venv-peer"), "the peer's virtual environment")
	cmd.Flags().IntVar(&conf.Rows, "rows", 2560, "rows of the film")
	cmd.Flags().IntVar(&conf.Columns, "columns", 2048, "columns of the film")
	cmd.Flags().IntVar(&conf.Rounds, "rounds", 9, "how often each decodes every syntax")
	return cmd
}
