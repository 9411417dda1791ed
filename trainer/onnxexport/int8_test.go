package onnxexport_test

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// measured returns the ranges of a model on images.
func measured(t *testing.T, c model.Config, w onnxexport.Weights, in []imageInput) onnxexport.Ranges {
	t.Helper()
	graph, names, err := onnxexport.RangesGraph(c, w)
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, c, graph, in, "ranges")
	r := onnxexport.Ranges{}
	if err := r.Read(names, out[0].Data.([]float32)); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestInt8 holds the int8 graph to the float one, in both kinds of image tower, with padding.
func TestInt8(t *testing.T) {
	for name, c := range map[string]model.Config{"tiny": model.Tiny(), "with CLS": withCLS(model.Tiny())} {
		t.Run(name, func(t *testing.T) {
			w := onnxexport.Untrained(c, 3)
			in := images(c, 5, 1)
			graph, err := onnxexport.Int8ImageGraph(c, w, measured(t, c, w, images(c, 8, 2)))
			if err != nil {
				t.Fatal(err)
			}
			whole := run(t, c, graph, in, "m", "s", "v")
			want := runImage(t, c, w, onnxexport.FP32, in)
			for i := range in {
				got := rows(whole[2], c.Joint)[i]
				if cos := cosine(got, want[i].v); cos < 0.995 {
					t.Errorf("image %d: cosine to float32 %.4f", i, cos)
				}
			}
			// The vector of an image does not depend on its batch, where the batch has one exposed box,
			// as the encoder makes them.
			for _, box := range [][]bool{in[0].mask, in[1].mask, slices.Repeat([]bool{true}, c.Image.Patches())} {
				same := slices.Clone(in)
				for i := range same {
					same[i].mask = box
				}
				whole := run(t, c, graph, same, "m", "s", "v")
				for i := range same {
					for o, alone := range run(t, c, graph, same[i:i+1], "m", "s", "v") {
						n := len(alone.Data.([]float32))
						near(t, "alone and in a batch", 1e-5, floats64(alone.Data.([]float32)), floats64(whole[o].Data.([]float32)[i*n:(i+1)*n]))
					}
				}
			}
			// Tokens are in their places, whatever was left out.
			tokens := rows(run(t, c, graph, in, "tokens")[0], c.Joint)
			for i := range in {
				for j := range c.Image.Patches() {
					if cos := cosine(tokens[i*c.Image.Patches()+j], want[i].tokens[j]); in[i].mask[j] && cos < 0.97 {
						t.Errorf("image %d, patch %d: cosine to float32 %.4f", i, j, cos)
					}
				}
			}
			if name == "tiny" {
				if _, err := onnxexport.Int8ImageGraph(c, w, nil); fault.ReasonOf(err) != onnxexport.ReasonWeights {
					t.Errorf("without ranges: %v", err)
				}
			}
		})
	}
}

func TestRanges(t *testing.T) {
	r := onnxexport.Ranges{}
	for _, output := range [][]float32{{-1, 2, 0, 1}, {-3, 1, 0.5, 4}} {
		if err := r.Read([]string{"a", "b"}, output); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(onnxexport.Ranges{"a": {-3, 2}, "b": {0, 4}}, r); d != "" {
		t.Error(d)
	}
	if err := r.Read([]string{"a"}, []float32{1}); err == nil {
		t.Error("half a range is taken")
	}
}

func withCLS(c model.Config) model.Config {
	c.Image.CLS = true
	return c
}

// run runs an image graph for some of its outputs.
func run(t *testing.T, c model.Config, graph []byte, in []imageInput, outputs ...string) []ort.Tensor {
	t.Helper()
	s := session(t, graph, []string{"pixels", "token_mask", "view", "prior", "days"}, outputs)
	var pixels []uint8
	var mask []bool
	var view []int64
	var prior, days []float32
	for _, i := range in {
		pixels, mask = append(pixels, i.pixels...), append(mask, i.mask...)
		view, prior, days = append(view, int64(i.view)), append(prior, float32(i.prior)), append(days, float32(i.days))
	}
	b, size, n := int64(len(in)), int64(c.Image.Size), c.Image.Patches()
	out, err := s.Run(t.Context(), ort.Tensor{Shape: []int64{b, 1, size, size}, Data: pixels}, ort.Tensor{Shape: []int64{b, int64(n)}, Data: mask},
		ort.Tensor{Shape: []int64{b}, Data: view}, ort.Tensor{Shape: []int64{b}, Data: prior}, ort.Tensor{Shape: []int64{b}, Data: days})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func cosine(a, b []float64) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+a[i]*b[i], aa+a[i]*a[i], bb+b[i]*b[i]
	}
	return ab / math.Sqrt(aa*bb)
}

func floats64(x []float32) []float64 {
	y := make([]float64, len(x))
	for i := range x {
		y[i] = float64(x[i])
	}
	return y
}
