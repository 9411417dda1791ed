package traincli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer/eval"
)

func (c *cli) eval() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Measure a model, or how ingest judges films",
		Long:  "Measure a model through the same runtime and preparation that serve it. Intervals are 95 % bootstrap intervals.",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.evalRetrieval(), c.evalPairs(), c.evalZeroShot(), c.evalTables(), c.evalMultiView(), c.evalProgression(), c.evalExplain(), c.evalDataset(), c.evalReport(), c.evalViews(), c.evalQuality())
	return cmd
}

func (c *cli) evalRetrieval() *cobra.Command {
	o := train.DefaultRetrieval()
	var dir, against string
	cmd := &cobra.Command{
		Use:   "retrieval",
		Short: "Retrieval and zero-shot scores on phantoms that no model was trained on",
		Long: `Make phantoms of a seed that training refuses, one finding each, eight findings dealt out
evenly, both views, and measure how many of the first 5 and 10 hits show the query's finding:
image to image (the query itself excluded), text to image, where a query is one sentence, and image
to text (reports); and the area under the ROC curve of each label. Random rankings and nearest neighbours on 32 x 32 pixels are the controls.

` + aboutLocal + `

With --against, it fails unless both P@10 lie in the intervals that another model's manifest
says were measured: so a training run is shown to be reproduced.`,
		Example: `  radtrain eval retrieval --model work/run/model
  radtrain eval retrieval --model work/run/model --local 1 --studies 80
  radtrain eval retrieval --model work/run/model --against services/app/tiny`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := train.EvaluateRetrieval(cmd.Context(), dir, o, c.progress(compared("phantoms", o.Local)))
			if err != nil {
				return err
			}
			if c.JSON {
				err = c.PrintJSON(r)
			} else {
				err = printRetrieval(c.Stdout, r)
			}
			if err != nil || against == "" {
				return err
			}
			return train.Reproduces(against, r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&against, "against", "", "directory of a model whose measurement has to be reproduced")
	f.IntVar(&o.Studies, "studies", o.Studies, "how many phantoms")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "of the phantoms")
	f.IntVar(&o.Side, "side", o.Side, "longer side of a film in pixels; 0 is that of radstream phantom")
	localFlag(f, &o.Local)
	cmd.MarkFlagsMutuallyExclusive("against", "local")
	return needsModel(cmd, &dir)
}

// aboutLocal is what --local does.
const aboutLocal = `With --local WEIGHT, images and texts are compared by their global cosine plus WEIGHT times GLoRIA's
local similarity (Huang et al. 2021): each sentence attends to a region of the patches, as in
training (padding and priors left out), and the cosines of sentences and regions are aggregated by
log-sum-exp at GLoRIA's temperature, 0.2. The local unit of text is a sentence here, a word there.
WEIGHT 1 ranks as GLoRIA's mean of both does. The time grows with the square of the studies: two
multiplications for each sentence, study, patch and number of a vector. At most 4096 are taken.`

func localFlag(f *pflag.FlagSet, weight *float64) {
	f.Float64Var(weight, "local", 0, "weight of the local similarity of image and text beside the global cosine")
}

// compared names what progress is shown of: studies, and then their comparison by local vectors.
func compared(studies string, local float64) string {
	if local == 0 {
		return studies
	}
	return studies + ", then local similarities"
}

func (c *cli) evalPairs() *cobra.Command {
	o := train.PairsOptions{NATS: bus.DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "pairs",
		Short: "Find the report of an image and the image of a report",
		Long: `Rank all reports for each image and all images for each report, and print how often the right one
is among the first 1, 5, 10 and 50. Studies are those of a CSV (columns study_id, image, view, and
report, caption or notes; as radstream publish reads it), or those that a data manifest holds
out. With --against, another model ranks the same, and what the one finds more often than the
other is printed with its paired interval. Several --data are the splits of one set, with a
--model for each in the same order: each is ranked by itself, and all queries count together.

` + aboutLocal,
		Example: `  radtrain eval pairs --model work/run/model --csv ../shared/data/rocov2cxr/studies.csv
  radtrain eval pairs --model work/run/model --data work/rocov2/split1.json --local 1
  radtrain eval pairs --model work/films/model --against work/heads/model --data work/rocov2/split1.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := train.EvaluatePairs(cmd.Context(), o, c.progress(compared("studies", o.Local)))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(r)
			}
			return printPairs(c.Stdout, r)
		},
	}
	cmd.Flags().StringArrayVar(&o.Against, "against", nil, "directory of a model to compare with; as many as --model")
	localFlag(cmd.Flags(), &o.Local)
	return measuredOn(cmd, &o.Models, &o.Path, &o.Data, &o.NATS)
}

func (c *cli) evalZeroShot() *cobra.Command {
	o := train.ZeroShotOptions{NATS: bus.DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "zeroshot",
		Short: "Label scores against what is known of films",
		Long: `Score the labels of studies and print, for each label, the area under the ROC curve and how far
scores are from how often they are right. Studies are those of a CSV (columns study_id, image, view,
and one column a label with 1, 0, or anything else where it is not known), or those that a data
manifest holds out. Several --data are the splits of one set, with a --model for each in the same
order, and scores are ranked inside of each. With --probe, linear probes on the image vectors, five
folds by patient, show what a supervised head on the same encoder reaches.`,
		Example: `  radtrain eval zeroshot --model work/run/model --csv ../shared/data/nih14/studies.csv
  radtrain eval zeroshot --model work/films/model --csv ../shared/data/nih14/studies.csv --probe`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := train.EvaluateZeroShot(cmd.Context(), o, c.progress("studies"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(r)
			}
			w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "%s, %d studies\n", r.Model, r.Studies)
			printLabels(w, "zero-shot", r.ZeroShotTable)
			if r.Probe != nil {
				printLabels(w, "linear probe", *r.Probe)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&o.Probe, "probe", false, "measure linear probes on the image vectors too")
	return measuredOn(cmd, &o.Models, &o.Path, &o.Data, &o.NATS)
}

// measuredOn adds the flags that say which studies are measured, and by which models.
func measuredOn(cmd *cobra.Command, models *[]string, csv *string, data *[]string, nats *bus.Config) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(csv, "csv", "", "list of studies")
	f.StringArrayVar(models, "model", nil, "model directory; one for each --data")
	f.StringArrayVar(data, "data", nil, "data manifest, whose validation studies count; may be repeated")
	natsFlags(f, nats)
	cmd.MarkFlagsOneRequired("csv", "data")
	cmd.MarkFlagsMutuallyExclusive("csv", "data")
	_ = cmd.MarkFlagRequired("model") // the flag is there
	return cmd
}

func printLabels(w io.Writer, name string, t eval.ZeroShotTable) {
	fmt.Fprintf(w, "\n%s\twith\twithout\tAUC\tcalibration error\n", name)
	for _, l := range t.Labels {
		calibration := "-"
		if l.Calibration != nil {
			calibration = fmt.Sprintf("%.3f", *l.Calibration)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", l.Label, l.Positive, l.Negative, interval(l.AUC, l.AUCCI), calibration)
	}
	fmt.Fprintf(w, "mean\t\t\t%s\t\n", interval(t.Mean, t.MeanCI))
}

func tablesFlags(cmd *cobra.Command, o *train.TablesOptions) {
	f := cmd.Flags()
	f.IntVar(&o.Studies, "studies", o.Studies, "how many phantoms")
	f.IntVar(&o.Validation, "validation-studies", o.Validation, "phantoms that the thresholds of answers come from")
	f.IntVar(&o.Side, "side", o.Side, "longer side of a film in pixels; 0 is that of radstream phantom")
	f.Float64Var(&o.Keep, "keep", o.Keep, "share of patches that a masked training step keeps")
}

func (c *cli) evalTables() *cobra.Command {
	o := train.DefaultTables()
	var dir string
	cmd := &cobra.Command{
		Use:   "tables",
		Short: "The counterparts of the paper's Tables 3, 4 and 7, on phantoms",
		Long: `Measure a model on phantoms of a seed that training refuses, one finding each, both views:
retrieval image to image, text to image and image to text (Table 3); zero-shot answers, with
thresholds from phantoms of another seed (Table 4); operations, parameters and time (Table 7); and
how much of the lesions the patches show that a masked training step keeps. The paper's
headline figures stand beside them; they are of other data.`,
		Example: "  radtrain eval tables --model services/app/tiny",
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := train.MeasureTables(cmd.Context(), dir, o, c.progress("phantoms"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(t)
			}
			return printTables(c.Stdout, t)
		},
	}
	tablesFlags(cmd, &o)
	return needsModel(cmd, &dir)
}

func (c *cli) evalMultiView() *cobra.Command {
	o := train.RetrievalOptions{Studies: 540, Seed: train.EvaluationSeed}
	var dir string
	cmd := &cobra.Command{
		Use:   "multiview",
		Short: "What lateral views add, on phantoms whose finding the frontal view hides",
		Long: `Make phantoms of all findings with both views, of a seed that training refuses. Encode each with
both views and with the frontal one alone, and print, for those whose finding only the lateral
view shows, how probably they score above a study without the finding, and the gain.`,
		Example: "  radtrain eval multiview --model services/app/tiny",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := train.EvaluateMultiView(cmd.Context(), dir, o, c.progress("phantoms"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(r)
			}
			w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "%s on %d phantoms of seed %d, films of %d pixels\n\nhidden from the front\tcases\tboth views\tfrontal only\tgain\n", r.Model, r.Studies, r.Seed, r.Side)
			for _, row := range r.Rows {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", row.Class, row.Cases, interval(row.Both.Value, row.Both.CI), interval(row.Frontal.Value, row.Frontal.CI), interval(row.Gain.Value, row.Gain.CI))
			}
			return w.Flush()
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Studies, "studies", o.Studies, "how many phantoms")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "of the phantoms")
	f.IntVar(&o.Side, "side", o.Side, "longer side of a film in pixels; 0 is that of radstream phantom")
	return needsModel(cmd, &dir)
}

func (c *cli) evalExplain() *cobra.Command {
	o := train.DefaultRetrieval()
	var dir string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Whether heat maps point at what they should, on phantoms",
		Long: `Make phantoms of a seed that training refuses, one finding each, ask of each why it fits a text of
its finding, as radstream explain does, and print how often the hottest patch touches the box of
the lesion, beside the share of the film's patches that do.`,
		Example: "  radtrain eval explain --model services/app/tiny",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := train.EvaluateExplain(cmd.Context(), dir, o, c.progress("phantoms and heat maps"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(r)
			}
			w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "%s on %d phantoms of seed %d, films of %d pixels\n\nfinding\tviews\thottest patch in the lesion\tchance\tgain\n", r.Model, r.Studies, r.Seed, r.Side)
			for _, row := range r.Rows {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", row.Class, row.Views, interval(row.Hit.Value, row.Hit.CI), interval(row.Chance.Value, row.Chance.CI), interval(row.Gain.Value, row.Gain.CI))
			}
			return w.Flush()
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Studies, "studies", o.Studies, "how many phantoms")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "of the phantoms")
	f.IntVar(&o.Side, "side", o.Side, "longer side of a film in pixels; 0 is that of radstream phantom")
	return needsModel(cmd, &dir)
}

func (c *cli) evalProgression() *cobra.Command {
	o := train.DefaultProgression()
	var dir string
	cmd := &cobra.Command{
		Use:   "progression",
		Short: "Improved, stable or worsened: the counterpart of the paper's Table 5, on phantoms",
		Long: `Make pairs of phantoms of one patient, of seeds that training refuses, whose finding grew, shrank
or stayed. Train linear probes on the vectors of the model, which stays as it is: on [current,
prior, difference], and on the current study alone. Print macro accuracies over three classes
(chance is 0.333), mean and deviation over sets of training pairs, and what the prior adds.`,
		Example: "  radtrain eval progression --model services/app/tiny",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := train.EvaluateProgression(cmd.Context(), dir, o, c.progress("phantoms"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(r)
			}
			w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "%s, probes trained on %d sets of %d pairs, films of %d pixels\n\nfinding\tpairs\tcurrent and prior\tcurrent only\tgain\n", r.Model, r.Sets, r.Training, r.Side)
			for _, row := range r.Rows {
				fmt.Fprintf(w, "%s\t%d\t%.3f +- %.3f\t%.3f\t%s\n", row.Finding, row.Pairs, row.Both, row.BothSD, row.Current, interval(row.Gain.Value, row.Gain.CI))
			}
			return w.Flush()
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Pairs, "pairs", o.Pairs, "how many pairs are measured")
	f.IntVar(&o.Training, "training-pairs", o.Training, "pairs of each set that probes are trained on")
	f.IntVar(&o.Sets, "seeds", o.Sets, "how many sets of training pairs, each of another seed")
	f.IntVar(&o.Side, "side", o.Side, "longer side of a film in pixels; 0 is that of radstream phantom")
	return needsModel(cmd, &dir)
}

func (c *cli) evalReport() *cobra.Command {
	o := train.DefaultTables()
	var dirs []string
	var out string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "One HTML page: tables, what is found with pictures, curves",
		Long: `Measure models as radtrain eval tables does and write one HTML page that needs no other file: the
tables beside the paper's figures, the top hits of a text and of a film of each finding with their
similarity, right or wrong, for every model, and the curves of the runs whose folders hold them.`,
		Example: `  radtrain eval report --model work/run/model --out report.html
  radtrain eval report --model work/run/model --model work/gloria/model --out report.html`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := train.Report(cmd.Context(), dirs, o, out, c.progress("phantoms")); err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(map[string]string{"report": out})
			}
			_, err := fmt.Fprintln(c.Stdout, "report in", out)
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&dirs, "model", nil, "model directory; may be repeated")
	f.StringVar(&out, "out", "report.html", "the page")
	_ = cmd.MarkFlagRequired("model") // the flag is there
	tablesFlags(cmd, &o)
	return cmd
}

func printTables(out io.Writer, t *train.Tables) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	r := t.Retrieval
	fmt.Fprintf(w, "%s on %d phantoms of seed %d, films of %d pixels\n\nTable 3\tP@5\tP@10\tP@50\tP@100\n", t.Model, t.Studies, train.EvaluationSeed, t.Side)
	for _, row := range []struct {
		name string
		p    eval.Precision
	}{{"image to image", r.ImageToImage}, {"text to image", r.TextToImage}, {"image to text", r.ImageToText}, {"random, image to image", r.Random}} {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", row.name, interval(row.p.P5, row.p.P5CI), interval(row.p.P10, row.p.P10CI), interval(row.p.P50, row.p.P50CI), interval(row.p.P100, row.p.P100CI))
	}
	fmt.Fprintf(w, "\nTable 4\taccuracy\tF1\tAUC\tcalibration error\n")
	for _, l := range t.Answers.Labels {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.3f\n", l.Label, interval(l.Accuracy.Value, l.Accuracy.CI), interval(l.F1.Value, l.F1.CI), interval(l.AUC.Value, l.AUC.CI), l.Calibration)
	}
	a := t.Answers
	fmt.Fprintf(w, "which of %d findings\t%s\t\t\t\n", len(a.Classes), interval(a.Accuracy.Value, a.Accuracy.CI))
	k := t.Cost
	fmt.Fprintf(w, "\nTable 7\nparameters\t%d\nGFLOPs an image\t%.3f\nGFLOPs a text of %d tokens\t%.3f\nms an image, alone\t%.2f\nms an image, batch %d\t%.2f\n",
		k.Parameters, k.Image/1e9, k.TextTokens, k.Text/1e9, k.Millis, k.BestBatch, k.Best)
	v := t.Coverage
	fmt.Fprintf(w, "\nof the area of lesions in %.0f %% of the patches\t%s\nof the lesions touched by them\t%s\n", 100*v.Patches, interval(v.Area.Value, v.Area.CI), interval(v.Touched.Value, v.Touched.CI))
	return w.Flush()
}

func needsModel(cmd *cobra.Command, dir *string) *cobra.Command {
	cmd.Flags().StringVar(dir, "model", "", "model directory")
	_ = cmd.MarkFlagRequired("model") // the flag is there
	return cmd
}

func interval(v float64, ci [2]float64) string {
	return fmt.Sprintf("%.3f (%.3f to %.3f)", v, ci[0], ci[1])
}

func printRetrieval(out io.Writer, r train.RetrievalResult) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s on %d phantoms of seed %d, films of %d pixels%s\n\n\tP@5\tP@10\n", r.Model, r.Studies, r.Seed, r.Side, scoring(r.Local))
	for _, row := range []struct {
		name string
		p    eval.Precision
	}{
		{"image to image", r.ImageToImage}, {"  nearest on 32 x 32 pixels", r.Pixels}, {"  random", r.Random},
		{"text to image", r.TextToImage}, {"  random", r.RandomText}, {"image to text", r.ImageToText},
	} {
		fmt.Fprintf(w, "%s\t%s\t%s\n", row.name, interval(row.p.P5, row.p.P5CI), interval(row.p.P10, row.p.P10CI))
	}
	fmt.Fprintf(w, "zero-shot AUC, mean\t%s\t\n\n", interval(r.ZeroShot.AUC, r.ZeroShot.AUCCI))
	fmt.Fprintf(w, "finding\timage to image P@10\tpixels P@10\ttext to image P@10\tzero-shot AUC\tP@10 small, medium, large\tfound by text in 30: small, medium, large\n")
	for _, c := range r.Classes {
		area := "no such label"
		if c.ZeroShot != nil {
			area = interval(c.ZeroShot.AUC, c.ZeroShot.AUCCI)
		}
		fmt.Fprintf(w, "%s\t%s\t%.3f\t%s\t%s\t%s\n", c.Class, interval(c.ImageToImage.P10, c.ImageToImage.P10CI), c.Pixels,
			interval(c.TextToImage.P10, c.TextToImage.P10CI), area, thirds(c.Sizes))
	}
	fmt.Fprintf(w, "all\t%s\t%.3f\t%s\t%s\t%s\n", interval(r.ImageToImage.P10, r.ImageToImage.P10CI), r.Pixels.P10,
		interval(r.TextToImage.P10, r.TextToImage.P10CI), interval(r.ZeroShot.AUC, r.ZeroShot.AUCCI), thirds(r.Thirds))
	return w.Flush()
}

// thirds is two columns: precision by size, and the share found by text by size.
func thirds(t []eval.ByThird) string {
	if len(t) != 3 {
		return "\t"
	}
	return fmt.Sprintf("%.2f %.2f %.2f\t%.2f %.2f %.2f", t[0].ImageToImage, t[1].ImageToImage, t[2].ImageToImage, t[0].Found, t[1].Found, t[2].Found)
}

// scoring says how images and texts were compared, where not by the global cosine alone.
func scoring(local float64) string {
	if local == 0 {
		return ""
	}
	return fmt.Sprintf("; text and image by global cosine + %g x local similarity", local)
}

func printPairs(out io.Writer, r train.PairsResult) error {
	fmt.Fprintf(out, "%s, %d studies left out%s\n\n", r.Model, r.Skipped, scoring(r.Local))
	if err := printRecall(out, r.PairsTable); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if g := r.Gain; g != nil {
		fmt.Fprintf(w, "\nmore than %s\tR@1\tR@10\tR@50\n", g.Against)
		for _, row := range []struct {
			name string
			gain [3]eval.Rate
		}{{"image to text", g.ImageToText}, {"text to image", g.TextToImage}} {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.name, interval(row.gain[0].Value, row.gain[0].CI), interval(row.gain[1].Value, row.gain[1].CI), interval(row.gain[2].Value, row.gain[2].CI))
		}
	}
	return w.Flush()
}

func printRecall(out io.Writer, t eval.PairsTable) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d pairs\tR@1\tR@5\tR@10\tR@50\tmedian rank\n", t.Pairs)
	for _, row := range []struct {
		name string
		r    eval.Recall
	}{{"image to text", t.ImageToText}, {"text to image", t.TextToImage}} {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\n", row.name, interval(row.r.R1, row.r.R1CI), interval(row.r.R5, row.r.R5CI),
			interval(row.r.R10, row.r.R10CI), interval(row.r.R50, row.r.R50CI), row.r.Median)
	}
	fmt.Fprintf(w, "chance\t%.3f\t%.3f\t%.3f\t%.3f\t%.1f\n", t.Chance.R1, t.Chance.R5, t.Chance.R10, t.Chance.R50, t.Chance.Median)
	return w.Flush()
}
