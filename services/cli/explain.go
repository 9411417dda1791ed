package cli

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/query"
)

func (c *cli) explain() *cobra.Command {
	var text, study, dir string
	cmd := &cobra.Command{
		Use:   "explain --study UID --text T",
		Short: "Show what of a study makes it similar to a text",
		Long: `Show what of a study makes it similar to a text: for each view, how much the similarity falls when
the model does not see a part of it, and the sentence of the report that is most like the text.
With --png, write the views with what speaks for the text in red and what speaks against it in blue.`,
		Example: `  radstream explain --study 2.25.1234 --text "left pleural effusion"
  radstream explain --study 2.25.1234 --text "left pleural effusion" --png heat`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tenant, err := c.askedTenant(cmd)
			if err != nil {
				return err
			}
			x, err := c.client().Explain(cmd.Context(), query.ExplainRequest{Tenant: tenant, Study: event.StudyUID(study), Text: text})
			if err != nil {
				return err
			}
			if dir != "" {
				if err := drawHeat(dir, x); err != nil {
					return err
				}
			}
			if c.JSON {
				return c.PrintJSON(x)
			}
			return c.printExplanation(x)
		},
	}
	cmd.Flags().StringVar(&study, "study", "", "a study in the index, by its StudyUID")
	cmd.Flags().StringVar(&text, "text", "", "the text, in the words of a report")
	cmd.Flags().StringVar(&dir, "png", "", "folder for pictures of the heat maps; what is there is kept")
	_, _ = cmd.MarkFlagRequired("study"), cmd.MarkFlagRequired("text") // the flags are there
	return c.asksServer(cmd)
}

func (c *cli) printExplanation(x query.Explanation) error {
	if x.Similarity != nil {
		fmt.Fprintf(c.Stdout, "similarity %.4f by %s%s\n", *x.Similarity, x.Model, untrained(x.Untrained))
	} else {
		fmt.Fprintln(c.Stdout, "the study has no films")
	}
	for _, v := range x.Views {
		best := 0
		for i, h := range v.Heat {
			if h > v.Heat[best] {
				best = i
			}
		}
		fmt.Fprintf(c.Stdout, "%s: most of it around row %d, column %d of %d x %d patches, without which it is %.4f\n",
			v.Projection, best/v.Columns+1, best%v.Columns+1, v.Rows, v.Columns, *x.Similarity-v.Heat[best])
	}
	if x.Sentence != nil {
		fmt.Fprintf(c.Stdout, "report: %q, similarity %.4f\n", x.Sentence.Text, x.Sentence.Similarity)
	}
	return nil
}

// drawHeat writes a picture for each view into dir.
func drawHeat(dir string, x query.Explanation) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Errorf("", fault.Usage, "--png: %w", err)
	}
	for i, v := range x.Views {
		picture, err := heatPicture(v)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", x.Key, i+1, v.Projection))
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return fault.Errorf("", fault.Usage, "--png: %s is there already: choose another folder", path)
		}
		if err == nil {
			_, err = f.Write(picture)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return fault.Errorf("", fault.Usage, "--png: %w", err)
		}
	}
	return nil
}

// heatPicture lays a heat map over its view: red for what speaks for the text, blue against it, by
// its share of the largest amount.
func heatPicture(v query.HeatMap) ([]byte, error) {
	const op = "cli.heatPicture"
	view, err := png.Decode(bytes.NewReader(v.PNG))
	if err != nil || v.Rows < 1 || v.Columns < 1 || len(v.Heat) != v.Rows*v.Columns {
		return nil, fault.Errorf(op, fault.Unavailable, "the answer holds no view with a heat map: does radstream answer there?")
	}
	var most float32
	for _, h := range v.Heat {
		most = max(most, h, -h)
	}
	b := view.Bounds()
	out := image.NewRGBA(b)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			h := v.Heat[(y-b.Min.Y)*v.Rows/b.Dy()*v.Columns+(x-b.Min.X)*v.Columns/b.Dx()]
			grey := float32(color.GrayModel.Convert(view.At(x, y)).(color.Gray).Y)
			share := float32(0)
			if most > 0 {
				share = 0.6 * max(h, -h) / most
			}
			kept, full := uint8(grey*(1-share)), uint8(grey*(1-share)+255*share)
			at := color.RGBA{full, kept, kept, 255}
			if h < 0 {
				at = color.RGBA{kept, kept, full, 255}
			}
			out.SetRGBA(x, y, at)
		}
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, out); err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	return buf.Bytes(), nil
}
