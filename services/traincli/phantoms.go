package traincli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
)

func (c *cli) phantoms() *cobra.Command {
	conf := phantom.Defaults()
	conf.Studies, conf.Side = 5000, 384
	validation := 0.1
	cmd := &cobra.Command{
		Use:   "phantoms DIR",
		Short: "Make training data: phantom studies that went through ingest",
		Long: `Make training data without a server: phantom studies as DICOM and reports, prepared by
ingest as a running radstream would, frozen in DIR/manifest.json. A call that was
interrupted goes on where it was when it is repeated; the same settings give the same bytes.
The seed of "radtrain eval retrieval" is refused.`,
		Example: `  radtrain phantoms work/data --studies 5000 --seed 1
  radtrain phantoms work/single --studies 5000 --seed 2 --single-finding --lateral-share 1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := train.Phantoms(cmd.Context(), args[0], conf, validation, c.progress("phantoms"))
			if err != nil {
				return err
			}
			return c.printManifest(m, filepath.Join(args[0], train.ManifestFile), train.LeftOut{})
		},
	}
	f := cmd.Flags()
	f.IntVar(&conf.Studies, "studies", conf.Studies, "how many")
	f.Uint64Var(&conf.Seed, "seed", conf.Seed, "another seed gives other patients")
	f.IntVar(&conf.Side, "side", conf.Side, "longer side of a film in pixels")
	f.Float64Var(&conf.LateralShare, "lateral-share", conf.LateralShare, "share of patients with a lateral view")
	f.Float64Var(&conf.NormalShare, "normal-share", conf.NormalShare, "share of patients without a finding")
	f.Float64Var(&conf.PriorShare, "prior-share", conf.PriorShare, "share of studies that belong to a pair of prior and follow-up")
	f.IntVar(&conf.Variants, "variants", 0, "studies of each patient on one day, which differ in their findings; not with priors")
	f.BoolVar(&conf.SingleFinding, "single-finding", conf.SingleFinding, "give each study exactly one finding, all findings equally often")
	f.Float64Var(&validation, "validation", validation, "share of patients that is kept for validation")
	return cmd
}

// printManifest says what was frozen, and what did not count of films that were read for it.
func (c *cli) printManifest(m *trainer.Manifest, path string, left train.LeftOut) error {
	if c.JSON {
		return c.PrintJSON(struct {
			ID         string          `json:"id"`
			Manifest   string          `json:"manifest"`
			Source     trainer.Origin  `json:"source"`
			Train      int             `json:"train"`
			Validation int             `json:"validation"`
			LeftOut    trainer.LeftOut `json:"left_out"`
			Files      train.LeftOut   `json:"files_left_out,omitzero"`
		}{m.ID, path, m.Source, m.Count(trainer.Train), m.Count(trainer.Validation), m.LeftOut, left})
	}
	if m.LeftOut != (trainer.LeftOut{}) {
		fmt.Fprintf(c.Stdout, "%d studies without a view or a report left out, and %d that two versions prepared in part (publish them once more)\n",
			m.LeftOut.Incomplete, m.LeftOut.Mixed)
	}
	fmt.Fprintf(c.Stdout, "%d studies to train on, %d for validation\nnext: radtrain fit --data %s\n",
		m.Count(trainer.Train), m.Count(trainer.Validation), path)
	return nil
}
