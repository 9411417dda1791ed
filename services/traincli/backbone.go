package traincli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
)

func (c *cli) backbone() *cobra.Command {
	o := train.BackboneOptions{Version: c.Version}
	ref := "small@0.1.0"
	cmd := &cobra.Command{
		Use:   "backbone",
		Short: "Make a model to start from of encoders that others trained",
		Long: `Make a model, in out/model, of a vision and a text encoder that others trained, for radtrain fit
--from. Files are .safetensors, .onnx, or what torch.save wrote (.bin, .pt, .pth), of which nothing
is run; known are BERT (BioBERT, MiniLM), ViT and DINOv2 as Hugging Face names their weights, ViT
as timm does, and the encoder of a masked autoencoder. On the same input the encoders give what
they gave before. The projections know nothing yet.

deploy/setup.sh backbones fetches two encoders for the preset small.`,
		Example: `  radtrain backbone --image .deps/backbones/vit_s_focus.onnx --text .deps/backbones/model.safetensors --vocabulary .deps/backbones/vocab.txt --uncased --out work/small
  radtrain fit --from work/small/model --mode adapters --model small@1.0.0 --hold-text 0 --lr 5e-4 --data work/rocov2/split1.json --out work/run1`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			if o.Ref, err = model.ParseRef(ref); err != nil {
				return err
			}
			r, err := train.Backbone(o)
			if err != nil {
				return err
			}
			dir := filepath.Join(o.Out, train.ModelDir)
			if c.JSON {
				return c.PrintJSON(struct {
					Model string `json:"model"`
					train.BackboneReport
				}{dir, r})
			}
			fmt.Fprintf(c.Stdout, "%d parameters; of them train", r.Parameters)
			for i, m := range trainer.Modes {
				if i > 0 {
					fmt.Fprint(c.Stdout, ",")
				}
				fmt.Fprintf(c.Stdout, " %d (%.1f %%) in mode %s", r.Trained[m.Name], 100*float64(r.Trained[m.Name])/float64(r.Parameters), m.Name)
			}
			fmt.Fprintf(c.Stdout, "\nnext: radtrain fit --from %s --mode adapters --hold-text 0 --data MANIFEST\n", dir)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Preset, "preset", "small", "what the files do not tell, such as the number of heads: small or base")
	f.StringVar(&o.Image, "image", "", "file of a vision encoder")
	f.StringVar(&o.Text, "text", "", "file of a text encoder")
	f.StringVar(&o.Vocabulary, "vocabulary", "", "vocab.txt of the text encoder")
	f.BoolVar(&o.Uncased, "uncased", false, "the vocabulary has no upper case")
	f.StringVar(&ref, "model", ref, "name@version of the model that is made")
	f.StringVar(&o.Out, "out", "backbone", "folder of the model")
	f.Uint64Var(&o.Seed, "seed", 1, "of what is not in the files")
	return cmd
}
