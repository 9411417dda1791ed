package traincli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
)

func (c *cli) exportArchive() *cobra.Command {
	nats := bus.DefaultConfig()
	var out string
	perShard := 1000
	cmd := &cobra.Command{
		Use:   "export-archive MANIFEST",
		Short: "Write the studies of a data manifest as WebDataset shards, for other tools",
		Long: `Write the studies of a data manifest as WebDataset shards: tar files with, for each study,
KEY.json (labels, views, sections, tokens), KEY.txt (the cleaned report) and its views as
KEY.0.frontal.png and so on; train.json and validation.json list them. Each message is checked
against the manifest's hash, and the same manifest gives the same bytes.`,
		Example: `  radtrain export-archive work/data/manifest.json --out shards
  radtrain export-archive stream.json --out shards --shard 5000`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			shards, err := train.Export(cmd.Context(), args[0], nats, out, perShard, c.progress("studies"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(shards)
			}
			studies := 0
			for _, s := range append(shards.Train, shards.Validation...) {
				studies += s.Samples
			}
			fmt.Fprintf(c.Stdout, "%d studies in %d + %d shards in %s\n", studies, len(shards.Train), len(shards.Validation), out)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "shards", "folder of the shards")
	f.IntVar(&perShard, "shard", perShard, "studies a shard at most")
	natsFlags(f, &nats)
	return cmd
}
