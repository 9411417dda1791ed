package traincli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/services/train"
)

func (c *cli) bench() *cobra.Command {
	o := train.BenchOptions{Preset: "small", Batch: 32, Kept: 0.25, Steps: 5, Warmup: 2, Rounds: 5, Venv: ".deps/venv-torch"}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Time training steps beside the same model and step in PyTorch",
		Long: `Train on one batch made up for it, of studies with two images and a text of 48 words, in turns here
and in PyTorch 2.11 in Python, and print steps a second of both and their ratio, paired by
round. The first time, a virtual environment with PyTorch is made (5 GB).`,
		Example: `  radtrain bench --preset small
  radtrain bench --preset base --bf16 --rounds 3`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := train.Bench(cmd.Context(), o, c.progress("rounds"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(r)
			}
			fmt.Fprintf(c.Stdout, "%s, mode %s, batch %d, %.0f %% of the patches, bfloat16 %t, %d threads on %s\n", r.Preset, r.Mode, r.Batch, 100*r.Kept, r.BFloat16, r.Threads, r.Device)
			for i := range r.Ours {
				fmt.Fprintf(c.Stdout, "round %d: %.3f steps/s, PyTorch %s %.3f\n", i+1, r.Ours[i], r.PyTorch, r.Theirs[i])
			}
			fmt.Fprintf(c.Stdout, "ratio %s; on the same weights and batch the loss differs by %.2g at most\n", interval(r.Ratio.Value, r.Ratio.CI), r.Differs)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Preset, "preset", o.Preset, "architecture: tiny, small or base")
	modeFlag(f, &o.Mode)
	deviceFlag(f, &o.Device)
	f.BoolVar(&o.BFloat16, "bf16", false, "matrix products in bfloat16")
	f.IntVar(&o.Batch, "batch", o.Batch, "studies a step")
	f.Float64Var(&o.Kept, "keep", o.Kept, "share of patches that a step sees")
	f.IntVar(&o.Steps, "steps", o.Steps, "steps of each side in a round")
	f.IntVar(&o.Warmup, "warmup", o.Warmup, "steps before them that are not timed")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how many rounds")
	f.IntVar(&o.Threads, "threads", 0, "threads of the arithmetic; 0 is one a core")
	f.StringVar(&o.Venv, "venv", o.Venv, "folder of the virtual environment of PyTorch")
	return cmd
}
