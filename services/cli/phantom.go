package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/services/progress"
)

func (c *cli) phantom() *cobra.Command {
	conf := phantom.Defaults()
	cmd := &cobra.Command{
		Use:   "phantom OUT",
		Short: "Make synthetic chest studies as DICOM files, with reports and a truth file",
		Long: `Make synthetic chest studies: DICOM files of both views, report texts, reports.csv and
truth.json, which says what each study shows and where. The same seed gives the same bytes.`,
		Example: `  radstream phantom ./studies --studies 60 --seed 1
  radstream phantom ./studies --studies 60 --broken 6`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			summary, err := c.makePhantoms(cmd.Context(), args[0], conf)
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(summary)
			}
			fmt.Fprintf(c.Stdout, "%d studies in %s; truth.json says what each shows\nnext: radstream publish %s --wait\n", conf.Studies, args[0], args[0])
			return nil
		},
	}
	cmd.Flags().IntVar(&conf.Studies, "studies", conf.Studies, "how many")
	cmd.Flags().Uint64Var(&conf.Seed, "seed", conf.Seed, "another seed gives other patients")
	cmd.Flags().IntVar(&conf.Side, "side", conf.Side, "longer side of a film in pixels")
	cmd.Flags().IntVar(&conf.Broken, "broken", conf.Broken, "how many to break on purpose")
	cmd.Flags().BoolVar(&conf.SingleFinding, "single-finding", conf.SingleFinding, "give each study exactly one finding, all findings equally often")
	return cmd
}

// makePhantoms writes studies with a progress bar.
func (c *cli) makePhantoms(ctx context.Context, dir string, conf phantom.Config) (phantom.Summary, error) {
	if err := conf.Validate(); err != nil {
		return phantom.Summary{}, err
	}
	bars := progress.New(c.Stderr, c.JSON)
	bar := bars.Add("phantoms", conf.Studies)
	summary, err := phantom.Write(ctx, dir, conf, func(done, _ int) { bar.Set(done) })
	bars.Finish()
	return summary, err
}
