package onnxexport

import "github.com/radstream/radstream/schemas/model"

// Cost is what a model takes to encode (Table 7 of the method), counted from its architecture.
type Cost struct {
	Parameters int `json:"parameters"`
	// Operations of matrix products for one image with all its patches, and one text of the
	// given length; a multiplication and an addition are two.
	Image float64 `json:"image_flops"`
	Text  float64 `json:"text_flops"`
}

// CostOf counts a model; text is the length of a text in tokens.
func CostOf(c model.Config, text int) Cost {
	out := Cost{}
	for _, row := range Shapes(c) {
		out.Parameters += elements(row.Shape)
	}
	tower := func(t model.Tower, n int) float64 {
		h, tokens := float64(t.Width), float64(n)
		d := float64(c.Adapter)
		layer := 4*h*h + 2*h*h*float64(t.MLPRatio) + 4*h*d // for each token: attention's four, the block's two, two adapters' two each
		sum := float64(t.Layers) * tokens * (layer + 2*tokens*h)
		if c.Invertible {
			sum += tokens * 4 * (h / 2) * (h / 4)
		}
		return 2 * sum
	}
	i, x, p := c.Image, c.Text, float64(c.Joint)
	out.Image = tower(i.Tower, i.Tokens()) + 2*float64(i.Patches())*float64(i.Patch*i.Patch)*float64(i.Width) +
		2*float64(i.Tokens())*float64(i.Width)*2 + 2*float64(i.Width)*p
	out.Text = tower(x.Tower, text) + 2*float64(text)*float64(x.VocabularyWidth*x.Width) + 2*float64(x.Width)*p
	return out
}
