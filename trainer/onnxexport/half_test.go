package onnxexport_test

import (
	"image"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// roundedMatrices is w as HALF stores it.
func roundedMatrices(w onnxexport.Weights) onnxexport.Weights {
	out := onnxexport.Weights{}
	for name, t := range w {
		if len(t.Shape) > 1 {
			data := make([]float32, len(t.Data))
			for i, v := range t.Data {
				data[i] = float32(half(float64(v)))
			}
			t.Data = data
		}
		out[name] = t
	}
	return out
}

// TestHalf holds vectors that are computed in float16 to those of float32: as ONNX Runtime gives
// them on a CPU, and as the reference does, with every number rounded.
func TestHalf(t *testing.T) {
	m, shipped, err := onnxexport.ReadModel("../../services/app/tiny")
	if err != nil {
		t.Fatal(err)
	}
	deep := model.Small()
	deep.Image.Size, deep.Text.Vocabulary = 56, 64 // small, since the reference is slow
	for name, c := range map[string]struct {
		config  model.Config
		weights onnxexport.Weights
	}{
		"tiny, shipped":      {m.Config, shipped},
		"tiny, every weight": {model.Tiny(), shaken(model.Tiny(), 2)},
		"small, untrained":   {deep, onnxexport.Untrained(deep, 1)},
		"CLS, residual r":    {small(), shaken(small(), 3)},
	} {
		t.Run(name, func(t *testing.T) {
			rounded := reference{c: c.config, w: roundedMatrices(c.weights), half: true}
			least := 1.0
			hold := func(what string, i int, full, got []float64) {
				t.Helper()
				cos := dot(normalised(full), normalised(got))
				if !(cos >= 0.9995) {
					t.Errorf("%s %d: cosine to float32 is %.6f", what, i, cos)
				}
				least = min(least, cos)
			}
			in := images(c.config, 2, 5)
			global := func(o imageOutput) []float64 {
				v := scaled(o.v, 1/o.s)
				add(v, reference{w: c.weights}.vector("image.global.bias"))
				return v
			}
			full := runImage(t, c.config, c.weights, onnxexport.FP32, in)
			for i, got := range runImage(t, c.config, c.weights, onnxexport.HALF, in) {
				hold("image", i, global(full[i]), global(got))
				hold("rounded image", i, global(full[i]), global(rounded.image(in[i])))
				for n, token := range in[i].mask {
					if token {
						hold("patch", n, full[i].tokens[n], got.tokens[n])
					}
				}
			}
			texts := [][]int32{{1, 7, 3, 9, 2}, {1, 49, 2}, {1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 2}}
			fullText, _ := runText(t, c.config, c.weights, onnxexport.FP32, texts)
			halfText, _ := runText(t, c.config, c.weights, onnxexport.HALF, texts)
			for i, ids := range texts {
				hold("text", i, fullText[i], halfText[i])
				want, _ := rounded.text(ids)
				hold("rounded text", i, fullText[i], want)
			}
			t.Logf("least cosine 1 - %.1e", 1-least)
		})
	}
}

// TestHalfMultipliesInFloat16: matrices go into products as they are stored, all those of the layers
// and no others.
func TestHalfMultipliesInFloat16(t *testing.T) {
	c := model.Tiny()
	w := onnxexport.Untrained(c, 1)
	layer := 4 + 4 // attention and MLP; two adapters
	for name, g := range map[string]struct {
		graph func(model.Config, onnxexport.Weights, onnxexport.Precision) ([]byte, error)
		want  int
	}{
		"image": {onnxexport.ImageGraph, 1 + 4 + c.Image.Layers*layer}, // patches, the invertible adapter
		"text":  {onnxexport.TextGraph, 4 + c.Text.Layers*layer},
	} {
		for precision, want := range map[onnxexport.Precision]int{onnxexport.HALF: g.want, onnxexport.FP16: 0} {
			file, err := g.graph(c, w, precision)
			if err != nil {
				t.Fatal(err)
			}
			var m pb.ModelProto
			if err := proto.Unmarshal(file, &m); err != nil {
				t.Fatal(err)
			}
			stored := map[string]int32{}
			for _, i := range m.GetGraph().GetInitializer() {
				stored[i.GetName()] = i.GetDataType()
			}
			products := 0
			for _, n := range m.GetGraph().GetNode() {
				if n.GetOpType() == "MatMul" && stored[n.GetInput()[1]] == int32(pb.TensorProto_FLOAT16) {
					products++
				}
			}
			if products != want {
				t.Errorf("%s in %s has %d products by matrices of float16, want %d", name, precision, products, want)
			}
		}
	}
}

// TestHalfOverflow: weights that float16 cannot hold are refused, norms and biases among them, and
// numbers that come of them are measured.
func TestHalfOverflow(t *testing.T) {
	c := model.Tiny()
	c.Adapter, c.Invertible = 0, false
	for _, name := range []string{"image.layers.1.mlp.up.weight", "image.layers.1.mlp.up.bias", "image.layers.0.norm1.weight", "image.layers.0.attention.key.bias"} {
		w := onnxexport.Untrained(c, 1)
		w[name].Data[3] = -1e5
		if _, err := onnxexport.ImageGraph(c, w, onnxexport.HALF); fault.ReasonOf(err) != onnxexport.ReasonWeights {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := onnxexport.Untrained(c, 1)
	for _, name := range []string{"image.norm.bias", "image.global.bias", "text.global.bias"} { // computed in float32
		w[name].Data[3] = 1e5
	}
	if _, err := onnxexport.ImageGraph(c, w, onnxexport.HALF); err != nil {
		t.Error(err)
	}

	in := images(c, 2, 5)
	var films []embedder.Image
	for _, i := range in {
		films = append(films, embedder.Image{Pixels: i.pixels, Exposed: image.Rect(0, 0, c.Image.Size, c.Image.Size)})
	}
	texts := [][]int32{{1, 7, 3, 9, 2}, {1, 49, 2}}
	measure := func(w onnxexport.Weights) float64 {
		t.Helper()
		largest, err := onnxexport.MeasureLargest(t.Context(), runtime, c, w, films, texts)
		if err != nil {
			t.Fatal(err)
		}
		return largest
	}
	if largest := measure(onnxexport.Untrained(c, 1)); !(largest > 1 && largest < 1000) {
		t.Errorf("an untrained model computes numbers up to %g", largest)
	}
	column := func(w onnxexport.Weights, name string, v float32) {
		for i := 7; i < len(w[name].Data); i += c.Image.Width {
			w[name].Data[i] = v
		}
	}
	for name, change := range map[string]func(onnxexport.Weights){
		"a sum of the image": func(w onnxexport.Weights) { column(w, "image.layers.3.mlp.down.bias", -60000) },
		"a sum of the text":  func(w onnxexport.Weights) { column(w, "text.layers.1.mlp.down.bias", -60000) },
		"an embedding, of which half is taken away": func(w onnxexport.Weights) {
			column(w, "image.position", 60000)
			column(w, "image.layers.0.attention.output.bias", -30000)
		},
		"a norm, that nothing takes in": func(w onnxexport.Weights) {
			column(w, "image.layers.0.norm1.bias", 60000)
			for _, part := range []string{"query", "key", "value"} {
				column(w, "image.layers.0.attention."+part+".weight", 0)
			}
		},
		"a score": func(w onnxexport.Weights) {
			for _, part := range []string{"query", "key"} {
				name := "image.layers.0.attention." + part
				clear(w[name+".weight"].Data)
				for i := range c.Image.Width / c.Image.Heads {
					w[name+".bias"].Data[i] = 43.3
				}
			}
		},
	} {
		w := onnxexport.Untrained(c, 1)
		change(w)
		if largest := measure(w); math.Abs(largest-60000) > 100 {
			t.Errorf("%s of 60000: the largest number is %g", name, largest)
		}
	}
	// What overflows is no vector.
	w = onnxexport.Untrained(c, 1)
	for _, name := range []string{"image.position", "image.view"} {
		for i := range w[name].Data {
			w[name].Data[i] = 60000
		}
	}
	if got := runImage(t, c, w, onnxexport.HALF, in[:1])[0]; !math.IsNaN(got.s) {
		t.Errorf("120000 in float16 gives %v", got.s)
	}
}
