package traincli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/train"
)

func (c *cli) adapters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "adapters",
		Short: "Keep adapters apart from encoders, and put them back",
		Long: `Models that were trained in mode adapters or task share their encoders and differ in what is a
twentieth of them. Kept apart, one copy of the encoders serves many tasks.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.extractAdapters(), c.applyAdapters())
	return cmd
}

func (c *cli) extractAdapters() *cobra.Command {
	var dir string
	var groups []string
	cmd := &cobra.Command{
		Use:   "extract FILE",
		Short: "Write the adapters of a model to a safetensors file",
		Example: `  radtrain adapters extract work/films.safetensors --model work/films/model
  radtrain adapters extract effusion.safetensors --model work/films/model --group task --group head`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := train.ExtractAdapters(dir, groups, args[0])
			if err != nil {
				return err
			}
			return c.printAdapters(set, args[0])
		},
	}
	cmd.Flags().StringArrayVar(&groups, "group", nil, "invertible, language, task or head; may be repeated, and is all of them without")
	return needsModel(cmd, &dir)
}

func (c *cli) applyAdapters() *cobra.Command {
	var dir, out, ref string
	cmd := &cobra.Command{
		Use:     "apply FILE",
		Short:   "Make a model of the encoders of one and the adapters in a file",
		Long:    "Make a model of the encoders of one and the adapters in a file, which must have been trained on the very same encoders. It is not measured: radtrain eval does that.",
		Example: `  radtrain adapters apply effusion.safetensors --model work/small/model --name effusion@1.0.0 --out work/effusion`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := model.ParseRef(ref)
			if err != nil {
				return err
			}
			set, err := train.ApplyAdapters(dir, args[0], name, out, c.Version)
			if err != nil {
				return err
			}
			return c.printAdapters(set, out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&ref, "name", "", "name@version of the model that is made")
	f.StringVar(&out, "out", "adapted", "directory of the model")
	_ = cmd.MarkFlagRequired("name") // the flag is there
	return needsModel(cmd, &dir)
}

func (c *cli) printAdapters(set train.AdapterSet, path string) error {
	if c.JSON {
		return c.PrintJSON(struct {
			Path string `json:"path"`
			train.AdapterSet
		}{path, set})
	}
	_, err := fmt.Fprintf(c.Stdout, "%s of %s: %s\n", strings.Trim(fmt.Sprint(set.Groups), "[]"), set.From, path)
	return err
}
