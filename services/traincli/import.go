package traincli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
)

func (c *cli) importWeights() *cobra.Command {
	o := train.ImportOptions{NATS: bus.DefaultConfig(), Version: c.Version}
	ref := "tiny@1.0.0"
	cmd := &cobra.Command{
		Use:   "import WEIGHTS",
		Short: "Make a model of weights that another program trained",
		Long: `Make a model of weights that another program trained, in out/model: exported, calibrated on the
validation studies of its data and measured, as radtrain fit does. WEIGHTS is a safetensors file
of float32 with the names and shapes of weights.safetensors, which radtrain fit writes; another
program can start from one.`,
		Example: `  radtrain import trained.safetensors --preset tiny --model mine@1.1.0 --data work/data/manifest.json --out work/imported`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.Ref, err = model.ParseRef(ref); err != nil {
				return err
			}
			o.Weights = args[0]
			if err := train.Import(cmd.Context(), o, train.FitHooks{Load: c.progress("studies"), Measure: c.progress("phantoms")}); err != nil {
				return err
			}
			dir := filepath.Join(o.Out, train.ModelDir)
			if c.JSON {
				return c.PrintJSON(map[string]string{"model": dir})
			}
			fmt.Fprintf(c.Stdout, "model in %s\nnext: radtrain eval retrieval --model %s\n", dir, dir)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Preset, "preset", "tiny", "architecture: tiny, small or base")
	f.StringVar(&ref, "model", ref, "name@version of the model that is made")
	f.StringArrayVar(&o.Data, "data", nil, "data manifest that the weights were trained on; may be repeated")
	f.StringVar(&o.Out, "out", "imported", "folder of the model")
	f.Float64Var(&o.Temperature, "temperature", 0, "what cosines are divided by; 0 is what the file says")
	f.BoolVar(&o.Measure, "measure", true, "measure the model on phantoms when it is done")
	natsFlags(f, &o.NATS)
	return cmd
}
