package traincli

import (
	"github.com/spf13/cobra"

	"github.com/radstream/radstream/services/train"
)

func (c *cli) studies() *cobra.Command {
	o := train.StudiesOptions{}
	o.Held.Share = 0.1
	cmd := &cobra.Command{
		Use:   "studies DIR PATH...",
		Short: "Make training data of films and reports in folders and CSVs",
		Long: `Make training data without a server: studies of folders and CSVs, as radstream publish reads them,
prepared by ingest as a running radstream would, but for the quality gate, and frozen in
DIR/manifest.json. A study needs an image and a report (columns report, caption or notes). With
--splits there is one manifest for each split, DIR/split1.json and so on, of the same studies. A
call that was interrupted goes on where it was when it is repeated.

With --labels the one PATH is a CSV with a column for each label, 1 where a study shows it (as
radtrain eval zeroshot reads it). A study without a report then gets one that says its labels, so
that a model can be fine-tuned on labels by the same loss as on reports. One of which a label is
neither 1 nor 0 is trained on all the same, but calibrates and measures nothing.

With --set mimic-cxr the one PATH is a folder with MIMIC-CXR or MIMIC-CXR-JPG (radtrain eval
dataset --help says how it has to lie there). Its own splits hold: train is trained on, validate
is held out, and what is of the test split, or of none, is not taken at all. A call goes on only
while the same images are there; what it says was not taken is of what it prepared itself.`,
		Example: `  radtrain studies work/rocov2 ../shared/data/rocov2cxr/studies.csv --held-out 400 --splits 5
  radtrain studies work/nih14 ../shared/data/nih14/studies.csv --labels --splits 5 --validation 0.2
  radtrain studies work/mimic --set mimic-cxr physionet/mimic-cxr`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Dir, o.Paths = args[0], args[1:]
			made, err := train.Studies(cmd.Context(), o, c.progress("studies"))
			if err != nil {
				return err
			}
			if !c.JSON {
				printLeftOut(c.Stdout, made.LeftOut)
			}
			for i, m := range made.Manifests {
				if err := c.printManifest(m, made.Paths[i], made.LeftOut); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Float64Var(&o.Held.Share, "validation", o.Held.Share, "share of patients that is kept for validation")
	f.IntVar(&o.Held.Studies, "held-out", 0, "how many studies are kept for validation, in the place of a share")
	f.IntVar(&o.Splits, "splits", 1, "how many splits, each with other patients held out")
	f.BoolVar(&o.Labels, "labels", false, "labels are columns of the CSV, and stand for reports where there is none")
	f.StringVar(&o.Set, "set", "", "the path is this data set, with splits of its own: mimic-cxr")
	for _, own := range []string{"validation", "held-out", "splits", "labels"} {
		cmd.MarkFlagsMutuallyExclusive("set", own)
	}
	return cmd
}
