package traincli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

func (c *cli) compare() *cobra.Command {
	o := train.CompareOptions{
		Fit:   train.FitOptions{Trainer: trainer.DefaultConfig(), NATS: bus.DefaultConfig(), Version: c.Version, Ref: model.Ref{Version: "1.0.0"}, Objective: "clinvla", Mode: trainer.Modes[0].Name},
		Seeds: 3, Studies: 240, Training: 320,
	}
	var about strings.Builder
	for _, v := range train.Variants {
		fmt.Fprintf(&about, "\n  %-24s%s", v.Name, v.About)
	}
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "What each part of the model is worth: ablations and baselines at equal budget",
		Long: `Train the whole model and variants of it on the same data, with the same steps and seeds, measure
all on the same phantoms, of seeds that training refuses, and print the counterpart of the paper's
Table 6 with the baselines beside it: P@10 of retrieval, the mean area under the curve of zero-shot
labels, macro accuracy of linear probes (supervised: which finding; progression: improved, stable
or worsened), mean and deviation over seeds, and what each variant loses by the whole model's
figures, paired. In the row "gloria, G + L" texts and images are compared as radtrain eval retrieval
--local 1 does, by the same models; the other figures are those of gloria.
` + about.String() + `

Every run has a folder in --out. Ctrl-C stops after the current step; the same command goes
on where it stopped, and runs that are done are only measured.`,
		Example: `  radtrain compare --preset tiny --data work/data/manifest.json --steps 900 --unmasked-steps 300 --out work/compare
  radtrain compare --variant no-local --variant gloria --seeds 1 --data work/data/manifest.json --out work/compare`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := bf16(cmd.Flags(), &o.Fit); err != nil {
				return err
			}
			var show func(trainer.Progress)
			finish := func() {}
			r, err := train.Compare(cmd.Context(), o, train.CompareHooks{
				Run: func(name string, at, total int) {
					finish()
					fmt.Fprintf(c.Stderr, "run %d of %d: %s\n", at, total, name)
					show, finish = c.fitProgress()
				},
				Fit:     train.FitHooks{Load: c.progress("studies"), Progress: func(p trainer.Progress) { show(p) }},
				Measure: c.progress("phantoms"),
			})
			finish()
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(r)
			}
			return printComparison(c.Stdout, r)
		},
	}
	f := cmd.Flags()
	fitFlags(cmd, &o.Fit)
	f.StringVar(&o.Fit.Out, "out", "compare", "folder of the runs")
	f.StringArrayVar(&o.Variants, "variant", nil, "one beside the whole model; may be repeated (all)")
	f.IntVar(&o.Seeds, "seeds", o.Seeds, "runs of each, the first with --seed")
	f.IntVar(&o.Studies, "studies", o.Studies, "phantoms to measure on, and pairs of a phantom and its prior")
	f.IntVar(&o.Training, "training-studies", o.Training, "phantoms, and pairs, that probes are trained on")
	f.IntVar(&o.Side, "side", o.Side, "longer side of their films in pixels; 0 is that of radstream phantom")
	return cmd
}

func printComparison(out io.Writer, r *train.Comparison) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	first := r.Rows[0]
	seeds, overSeeds := fmt.Sprintf("%d seeds", first.Runs), func(s eval.OverSeeds) string { return fmt.Sprintf("%.3f, sd %.3f", s.Mean, s.SD) }
	if first.Runs == 1 { // has no deviation
		seeds, overSeeds = "one seed", func(s eval.OverSeeds) string { return fmt.Sprintf("%.3f", s.Mean) }
	}
	fmt.Fprintf(w, "%s, %d steps of %d studies, measured on %d phantoms of seed %d\n\n", seeds, r.Steps, r.Batch, r.Studies, train.EvaluationSeed)
	fmt.Fprintf(w, "P@10\timage to image\ttext to image\timage to text\tzero-shot AUC\tsupervised\tprogression\n")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, overSeeds(row.ImageToImage), overSeeds(row.TextToImage), overSeeds(row.ImageToText), overSeeds(row.ZeroShot), overSeeds(row.Supervised), overSeeds(row.Progression))
	}
	fmt.Fprintf(w, "\nmore than %s\timage to image\ttext to image\timage to text\tzero-shot AUC\n", first.Name)
	for _, row := range r.Rows[1:] {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", row.Name, rate(row.ImageToImageGain), rate(row.TextToImageGain), rate(row.ImageToTextGain), rate(row.ZeroShotGain))
	}
	if len(r.Collapsed) > 0 {
		fmt.Fprintf(w, "\ncollapsed: %s\n", strings.Join(r.Collapsed, ", "))
	}
	return w.Flush()
}

func rate(r eval.Rate) string { return interval(r.Value, r.CI) }
