package traincli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
)

func (c *cli) quantize() *cobra.Command {
	o := train.QuantizeOptions{NATS: bus.DefaultConfig(), Films: 256, Least: 0.995, Version: c.Version}
	var ref string
	cmd := &cobra.Command{
		Use:   "quantize",
		Short: "Make a model of which the image encoder multiplies in int8",
		Long: `Make a model of which the image encoder multiplies in int8: faster on a CPU, and not quite the
same. The ranges of what the layers take in are measured on films of data manifests, and fixed, so
that a vector does not depend on what else is encoded. Where all in int8 would be too far from the
float model, the matrix products that lose most for the time that they save stay in float. The films held out of training tell how far
its vectors are from the float model's; radtrain eval tells what that does to retrieval. It is a
model of its own version, with a collection of its own.`,
		Example: `  radtrain quantize --model work/run/model --data work/data/manifest.json --name tiny@1.0.0-int8 --out work/int8`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Ref, err = model.ParseRef(ref); err != nil {
				return err
			}
			q, err := train.Quantize(cmd.Context(), o, c.progress("studies"), c.progress("trials"))
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(q)
			}
			_, err = fmt.Fprintf(c.Stdout, "%s is in %s: ranges of %d films, %d of %d products in float; on %d other films the cosine to the float model is %.4f on average, %.4f at least\n",
				q.Ref, o.Out, q.Films, len(q.Float), q.Products, q.Compared, q.Cosine, q.Least)
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Data, "data", nil, "data manifest; may be repeated")
	f.StringVar(&ref, "name", "", "name@version of the model that is made")
	f.StringVar(&o.Out, "out", "int8", "directory of the model")
	f.IntVar(&o.Films, "films", o.Films, "films of the training part on which ranges are measured")
	f.Float64Var(&o.Least, "least-cosine", o.Least, "mean cosine to the float model below which products stay in float, tried on films of the training part; 0 leaves none")
	_ = cmd.MarkFlagRequired("name") // the flag is there
	natsFlags(f, &o.NATS)
	return needsModel(cmd, &o.Model)
}
