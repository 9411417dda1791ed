package traincli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/datasets"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer/eval"
)

func (c *cli) evalDataset() *cobra.Command {
	o := train.DatasetOptions{Seeds: 3}
	cmd := &cobra.Command{
		Use:   "dataset KIND ROOT",
		Short: "The paper's Tables 3, 4 and 5, on your copy of its data sets",
		Long: `Measure a model on a data set that needs a licence, as it lies in the folder ROOT, and print the
paper's figures beside it. The kinds, what their folders hold, and what is measured:

  chexpert-8x200  image-retrieval/candidate.csv and query.csv, text-retrieval/query.csv (ConVIRT),
                  and CheXpert's images. Table 3: how many of the first 5, 10 and 50 candidates show
                  the query's class, for films and for texts. A query that is a candidate does not
                  find itself.
  chexpert-5x200  chexpert_5x200.csv (GLoRIA) and CheXpert's images. Table 4: which of the five, the
                  label with the highest score. Where the list has the column Report Impression,
                  Table 3: reports of its class for a film, its own among them.
  rsna            stage_2_train_labels.csv, stage_2_detailed_class_info.csv, stage_2_train_images.
                  Table 4: pneumonia. The threshold is the best on the patients (20 %, by a hash) that
                  are not measured.
  ms-cxr-t        MS_CXR_T_temporal_image_classification_v1.0.0.csv[.gz] and MIMIC-CXR's files. Table 5:
                  linear probes on [current, prior, difference] and on the current film alone,
                  measured on 30 % of the patients by a hash, and trained on the others. Each seed
                  divides them otherwise. The paper trains task adapters.
  mimic-cxr       mimic-cxr-2.0.0-metadata, -split and -chexpert.csv[.gz] and files, as DICOM or JPEG.
                  The labels of the test split, with thresholds from validate, and, where reports are
                  there, the report of a study and the study of a report. The paper has no such table.

Labels are scored by ensembles of prompts: the model's own and calibrated, or, of a label that it
has not, those of embedder/zeroshot. Images that are missing or that ingest does not take are
counted and left out, so figures of a part of a set are of that part.`,
		Example: `  radtrain eval dataset chexpert-8x200 data/chexpert --model work/run/model
  radtrain eval dataset ms-cxr-t data/mimic-cxr-jpg --model work/run/model --seeds 5 --json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Kind, o.Root = args[0], args[1]
			r, err := train.EvaluateDataset(cmd.Context(), o, c.progress("studies"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(r)
			}
			return printDataset(c.Stdout, r)
		},
	}
	cmd.ValidArgs = datasets.Kinds()
	cmd.Flags().IntVar(&o.Seeds, "seeds", o.Seeds, "of ms-cxr-t: how many divisions into training and test patients")
	return needsModel(cmd, &o.Model)
}

// paperFigures are those of eval.Paper that stand in tables.
type paperFigures struct {
	ImageToImage map[string]float64 `json:"image_to_image"`
	TextToImage  map[string]float64 `json:"text_to_image"`
	ImageToText  map[string]float64 `json:"image_to_text"`
	RSNA         map[string]float64 `json:"rsna"`
	FiveClasses  map[string]float64 `json:"five_classes"`
	Progression  map[string]float64 `json:"progression"`
}

func printDataset(out io.Writer, r train.DatasetResult) error {
	var paper paperFigures
	if err := json.Unmarshal(r.Paper, &paper); err != nil {
		return fault.E("traincli.printDataset", fault.Internal, err)
	}
	fmt.Fprintf(out, "%s on %s, %d studies with an image\n", r.Model, r.Set, r.Studies)
	printLeftOut(out, r.LeftOut)
	if len(r.Uncalibrated) > 0 {
		fmt.Fprintf(out, "the model has no label of these, scored by default prompts: %s\n", strings.Join(r.Uncalibrated, ", "))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		name  string
		p     *eval.Precision
		paper map[string]float64
	}{{"image to image", r.ImageToImage, paper.ImageToImage}, {"text to image", r.TextToImage, paper.TextToImage}, {"image to text", r.ImageToText, paper.ImageToText}} {
		if row.p == nil {
			continue
		}
		third, name := interval(row.p.P50, row.p.P50CI), "p50"
		if _, deep := row.paper["p100"]; deep {
			third, name = interval(row.p.P100, row.p.P100CI), "p100"
		}
		fmt.Fprintf(w, "\nTable 3, %s\tqueries\tP@5\tP@10\t%s\n%s\t%d\t%s\t%s\t%s\n", row.name, strings.Replace(name, "p", "P@", 1), r.Model,
			row.p.Number, interval(row.p.P5, row.p.P5CI), interval(row.p.P10, row.p.P10CI), third)
		fmt.Fprintf(w, "the paper\t\t%.3f\t%.3f\t%.3f\n", row.paper["p5"], row.paper["p10"], row.paper[name])
	}
	if len(r.Chance) > 0 && (r.ImageToImage != nil || r.ImageToText != nil) {
		fmt.Fprint(w, "\nclass\tshare of candidates\n")
		for _, class := range slices.Sorted(maps.Keys(r.Chance)) {
			fmt.Fprintf(w, "%s\t%.3f\n", class, r.Chance[class])
		}
	}
	if a := r.Answers; a != nil && len(a.Labels) > 0 {
		fmt.Fprintf(w, "\nTable 4, thresholds from %d studies\twith\twithout\taccuracy\tF1\tAUC\tcalibration error\n", a.Validation)
		for _, l := range a.Labels {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%.3f\n", l.Label, l.Positive, l.Negative, interval(l.Accuracy.Value, l.Accuracy.CI), interval(l.F1.Value, l.F1.CI), interval(l.AUC.Value, l.AUC.CI), l.Calibration)
		}
		if r.Set == "rsna" {
			fmt.Fprintf(w, "the paper\t\t\t%.3f\t%.3f\t%.3f\n", paper.RSNA["accuracy"], paper.RSNA["f1"], paper.RSNA["auc"])
		}
	}
	if a := r.Answers; a != nil && a.Of > 0 {
		fmt.Fprintf(w, "\nTable 4, which of %d classes\timages\taccuracy\tmean over classes\n%s\t%d\t%s\t%s\nthe paper\t\t%.3f\t\n", len(a.Classes), r.Model,
			a.Of, interval(a.Accuracy.Value, a.Accuracy.CI), interval(a.Macro.Value, a.Macro.CI), paper.FiveClasses["accuracy"])
	}
	if z := r.ZeroShot; z != nil {
		fmt.Fprint(w, "\nlabel\twith\twithout\tAUC\n")
		for _, l := range z.Labels {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", l.Label, l.Positive, l.Negative, interval(l.AUC, l.AUCCI))
		}
		fmt.Fprintf(w, "mean\t\t\t%s\n", interval(z.Mean, z.MeanCI))
	}
	if len(r.Progression) > 0 {
		fmt.Fprintf(w, "\nTable 5, %d seeds\tpairs\tcurrent and prior\tcurrent only\tgain\tthe paper\n", r.Seeds)
		for _, row := range r.Progression {
			said := ""
			if v, ok := paper.Progression[row.Finding]; ok {
				said = fmt.Sprintf("%.3f", v)
			}
			fmt.Fprintf(w, "%s\t%d\t%.3f +- %.3f\t%.3f\t%s\t%s\n", row.Finding, row.Pairs, row.Both, row.BothSD, row.Current, interval(row.Gain.Value, row.Gain.CI), said)
		}
	}
	if err := w.Flush(); err != nil || r.Pairs == nil {
		return err
	}
	fmt.Fprintln(out)
	return printRecall(out, *r.Pairs)
}

// printLeftOut says what was missing or not taken, if anything was.
func printLeftOut(out io.Writer, l train.LeftOut) {
	if l.Missing > 0 {
		fmt.Fprintf(out, "%d images that the lists name are missing\n", l.Missing)
	}
	for _, reason := range slices.Sorted(maps.Keys(l.Problems)) {
		fmt.Fprintf(out, "%d files or rows could not be used: %s\n", l.Problems[reason], reason)
	}
	for _, of := range []struct {
		name   string
		counts map[fault.Reason]int
	}{{"images", l.Images}, {"reports", l.Reports}} {
		for _, reason := range slices.Sorted(maps.Keys(of.counts)) {
			fmt.Fprintf(out, "%d %s were not taken: %s\n", of.counts[reason], of.name, reason)
		}
	}
}
