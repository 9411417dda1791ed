package traincli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer/onnxexport"
)

func (c *cli) quantize() *cobra.Command {
	o := train.QuantizeOptions{Precision: onnxexport.INT8, NATS: bus.DefaultConfig(), Films: 256, Least: 0.995, Version: c.Version}
	var ref string
	cmd := &cobra.Command{
		Use:   "quantize",
		Short: "Make a model that computes in int8, for CPUs, or in float16, for GPUs",
		Long: `Make a model of which both encoders multiply in int8: faster on a CPU, and not quite the same. The
ranges of what the layers take in are measured on films and reports of data manifests, and fixed, so
that a vector does not depend on what else is encoded. Where all in int8 would be too far from the
float model, the matrix products that lose most for the time that they save stay in float; without
reports the text encoder does. The films and reports held out of training tell how far its vectors
are from the float model's; radtrain eval tells what that does to retrieval. It is a model of its own
version, with a collection of its own.

With --precision half the layers of both encoders compute in float16, for a GPU; a CPU gains nothing
by it. Films and reports of the training part tell the largest number that they compute: a model with
numbers that float16 cannot hold is refused. How far its vectors are is measured on the CPU, too.`,
		Example: `  radtrain quantize --model work/run/model --data work/data/manifest.json --name tiny@1.0.0-int8 --out work/int8
  radtrain quantize --model work/run/model --data work/data/manifest.json --precision half --name tiny@1.0.0-half --out work/half`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Ref, err = model.ParseRef(ref); err != nil {
				return err
			}
			o.Out = cmp.Or(o.Out, string(o.Precision))
			q, err := train.Quantize(cmd.Context(), o, c.progress("studies"), c.progress("trials"))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(q)
			}
			if o.Precision == onnxexport.HALF {
				_, err = fmt.Fprintf(c.Stdout, "%s is in %s: its layers compute numbers up to %.3g, and float16 ends at %d; on %d other films the cosine to the float model is %.6f on average, %.6f at least, on %d reports %.6f at least\n",
					q.Ref, o.Out, q.Largest, onnxexport.LargestFloat16, q.Compared, q.Cosine, q.Least, q.Texts, q.LeastText)
				return err
			}
			_, err = fmt.Fprintf(c.Stdout, "%s is in %s: ranges of %d films and %d reports, %d of %d products in float; on %d other films the cosine to the float model is %.4f on average, %.4f at least, on %d reports %.4f and %.4f\n",
				q.Ref, o.Out, q.Films, q.Reports, len(q.Float), q.Products, q.Compared, q.Cosine, q.Least, q.Texts, q.TextCosine, q.LeastText)
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Data, "data", nil, "data manifest; may be repeated")
	f.StringVar(&ref, "name", "", "name@version of the model that is made")
	f.StringVar((*string)(&o.Precision), "precision", string(o.Precision), "int8 or half")
	f.StringVar(&o.Out, "out", "", "directory of the model; the default is the precision")
	f.IntVar(&o.Films, "films", o.Films, "films and reports of the training part on which ranges are measured, or with half the largest number is")
	f.Float64Var(&o.Least, "least-cosine", o.Least, "in int8, mean cosine to the float model below which products stay in float, tried on films and reports of the training part; 0 leaves none")
	_ = cmd.MarkFlagRequired("name") // the flag is there
	natsFlags(f, &o.NATS)
	return needsModel(cmd, &o.Model)
}
