package onnxexport_test

import (
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// measured returns the ranges of a model on images.
func measured(t *testing.T, c model.Config, w onnxexport.Weights, in []imageInput) onnxexport.Ranges {
	t.Helper()
	graph, products, err := onnxexport.ImageRangesGraph(c, w)
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, c, graph, in, "ranges")
	r := onnxexport.Ranges{}
	if err := r.Read(products, out[0].Data.([]float32)); err != nil {
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

// texts are n of random tokens, [CLS] ... [SEP].
func texts(c model.Config, n int, seed uint64) [][]int32 {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([][]int32, n)
	for i := range out {
		out[i] = append(out[i], 101)
		for range 3 + r.IntN(c.Text.MaxLength-5) {
			out[i] = append(out[i], r.Int32N(int32(c.Text.Vocabulary)))
		}
		out[i] = append(out[i], 102)
	}
	return out
}

// TestInt8Text holds the text encoder in int8 to the float one, with and without adapters, in batches with
// padding.
func TestInt8Text(t *testing.T) {
	without := model.Tiny()
	without.Adapter = 0
	for name, c := range map[string]model.Config{"tiny": model.Tiny(), "without adapters": without} {
		t.Run(name, func(t *testing.T) {
			w := onnxexport.Untrained(c, 3)
			rng := rand.New(rand.NewPCG(7, 0))
			for name, v := range w { // else a norm more or less would change nothing
				if strings.HasPrefix(name, "text.") && strings.Contains(name, "norm") {
					for i := range v.Data {
						v.Data[i] += rng.Float32() - 0.5
					}
				}
			}
			film := embedder.Image{Pixels: images(c, 1, 2)[0].pixels, Exposed: image.Rect(0, 0, c.Image.Size, c.Image.Size)}
			r, err := onnxexport.MeasureRanges(t.Context(), runtime, c, w, []embedder.Image{film}, texts(c, 16, 2))
			if err != nil || len(r) != 4*(c.Image.Layers+c.Text.Layers) {
				t.Fatalf("%d ranges, %v", len(r), err)
			}
			graph, err := onnxexport.Int8TextGraph(c, w, r)
			if err != nil {
				t.Fatal(err)
			}
			in := texts(c, 6, 1)
			got, hidden := runTextGraph(t, c, graph, in)
			want, states := runText(t, c, w, onnxexport.FP32, in)
			different := false
			for i := range in {
				if cos := cosine(got[i], want[i]); cos < 0.995 {
					t.Errorf("text %d: cosine to float32 %.4f", i, cos)
				}
				for j := range in[i] {
					if cos := cosine(hidden[i][j], states[i][j]); cos < 0.98 {
						t.Errorf("text %d, token %d: cosine to float32 %.4f", i, j, cos)
					}
				}
				alone, _ := runTextGraph(t, c, graph, in[i:i+1])
				near(t, "alone and in a batch", 1e-5, alone[0], got[i])
				different = different || !slices.Equal(got[i], want[i])
			}
			if !different {
				t.Error("nothing is in int8")
			}
			inFloat, err := onnxexport.Int8TextGraph(c, w, onnxexport.Ranges{}) // as without reports
			if err != nil {
				t.Fatal(err)
			}
			got, _ = runTextGraph(t, c, inFloat, in)
			rounded, _ := runText(t, c, w, onnxexport.FP16, in)
			for i := range in {
				near(t, "without ranges", 0, got[i], rounded[i])
			}
		})
	}
}

// TestInt8Channels: channels that are far larger than the others or far from 0, as encoders have
// that were trained long, cost no accuracy.
func TestInt8Channels(t *testing.T) {
	c := model.Tiny()
	w := onnxexport.Untrained(c, 3)
	for _, part := range []struct {
		norm  string
		takes []string
	}{
		{"image.layers.0.norm1", []string{"image.layers.0.attention.query", "image.layers.0.attention.key", "image.layers.0.attention.value"}},
		{"image.layers.1.norm2", []string{"image.layers.1.mlp.up"}},
	} {
		gain, bias := w[part.norm+".weight"].Data, w[part.norm+".bias"].Data
		gain[3], bias[5] = 100*gain[3], bias[5]+100
		for _, name := range part.takes {
			for row := range w[name+".weight"].Shape[0] {
				weight := w[name+".weight"].Data[row*c.Image.Width:]
				weight[3] /= 100
				w[name+".bias"].Data[row] -= 100 * weight[5]
			}
		}
	}
	in := images(c, 5, 1)
	graph, err := onnxexport.Int8ImageGraph(c, w, measured(t, c, w, images(c, 8, 2)))
	if err != nil {
		t.Fatal(err)
	}
	got := rows(run(t, c, graph, in, "v")[0], c.Joint)
	for i, want := range runImage(t, c, w, onnxexport.FP32, in) {
		if cos := cosine(got[i], want.v); cos < 0.995 {
			t.Errorf("image %d: cosine to float32 %.4f", i, cos)
		}
	}
}

func TestRanges(t *testing.T) {
	r := onnxexport.Ranges{}
	products := []onnxexport.Product{{Name: "a", Width: 1}, {Name: "b", Width: 2}}
	for _, output := range [][]float32{{-1, 2, 0, -7, 1, 1}, {-3, 1, 0.5, -6, 4, 0}} {
		if err := r.Read(products, output); err != nil {
			t.Fatal(err)
		}
	}
	want := onnxexport.Ranges{"a": {Least: []float32{-3}, Largest: []float32{2}}, "b": {Least: []float32{0, -7}, Largest: []float32{4, 1}}}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
	if err := r.Read(products, []float32{1, 2, 3}); err == nil {
		t.Error("half a range is taken")
	}
}

// TestEnough: as many products stay in float as a cosine needs, from none to all.
func TestEnough(t *testing.T) {
	c := withCLS(model.Tiny())
	w := onnxexport.Untrained(c, 3)
	films := func(in []imageInput) (films []embedder.Image) {
		for _, i := range in {
			films = append(films, embedder.Image{Pixels: i.pixels, Exposed: image.Rect(0, 0, c.Image.Size, c.Image.Size)})
		}
		return films
	}
	trial, reports := films(images(c, 3, 5)), texts(c, 3, 5)
	r, err := onnxexport.MeasureRanges(t.Context(), runtime, c, w, films(images(c, 8, 2)), texts(c, 8, 2))
	if err != nil {
		t.Fatal(err)
	}
	whole := len(r)
	last := -1
	for _, least := range []float64{0, 0.9999, 1 - 1e-9} {
		tried := 0
		left, float, err := r.Enough(t.Context(), runtime, c, w, trial, reports, least, func(done, most int) {
			if tried++; done != tried || done > most {
				t.Errorf("trial %d of %d is told as %d", tried, most, done)
			}
		})
		if err != nil || len(left)+len(float) != whole || len(r) != whole {
			t.Fatalf("%d and %d of %d products, %v", len(left), len(float), whole, err)
		}
		if len(float) <= last || least == 0 && len(float) > 0 || least > 0.99999 && len(left) > 0 {
			t.Errorf("a cosine of %v leaves %d in float, the one before %d", least, len(float), last)
		}
		last = len(float)
		graph, err := onnxexport.Int8ImageGraph(c, w, left)
		if err != nil {
			t.Fatal(err)
		}
		in, mean := images(c, 3, 5), 0.0
		for i := range in {
			for j := range in[i].mask {
				in[i].mask[j] = true
			}
			in[i].view, in[i].prior, in[i].days = 0, 0, 0
		}
		want, v := runImage(t, c, w, onnxexport.FP32, in), run(t, c, graph, in, "v")
		for i, got := range rows(v[0], c.Joint) {
			mean += cosine(got, want[i].v) / float64(len(in))
		}
		if mean < least-1e-6 { // the bias of the projection is left out here
			t.Errorf("cosine %v, want %v", mean, least)
		}
		if graph, err = onnxexport.Int8TextGraph(c, w, left); err != nil {
			t.Fatal(err)
		}
		got, _ := runTextGraph(t, c, graph, reports)
		text, _ := runText(t, c, w, onnxexport.FP16, reports)
		mean = 0
		for i := range reports {
			mean += cosine(got[i], text[i]) / float64(len(reports))
		}
		if mean < least-1e-6 {
			t.Errorf("cosine of texts %v, want %v", mean, least)
		}
	}
	for name, err := range map[string]error{
		"no images": errorOf(r.Enough(t.Context(), runtime, c, w, nil, reports, 0.9, nil)),
		"no texts":  errorOf(r.Enough(t.Context(), runtime, c, w, trial, nil, 0.9, nil)),
	} {
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func errorOf(_ onnxexport.Ranges, _ []string, err error) error { return err }

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
