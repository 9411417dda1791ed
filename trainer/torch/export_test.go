//go:build torch

package torch

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/backbone"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TestExportEqualsTraining holds the exported graphs, run by ONNX Runtime, to what the trainer
// computes from the same weights: study vectors, local vectors, texts.
func TestExportEqualsTraining(t *testing.T) {
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	tiny := model.Tiny()
	tiny.Text.Vocabulary = 1000 // quicker
	for name, c := range map[string]model.Config{"micro": micro(), "other": other(), "tiny": tiny, "small": model.Small()} {
		t.Run(name, func(t *testing.T) {
			var w onnxexport.Weights
			if name == "small" {
				c, w = imported(t)
			} else {
				w = shaken(c, 3)
			}
			tr := open(t, c, w, Options{})
			b := toy(c, 5, false, true, rand.New(rand.NewPCG(1, 2)))
			got := vectorsOf(t, tr, b)

			graph, err := onnxexport.ImageGraph(c, w, onnxexport.FP32)
			if err != nil {
				t.Fatal(err)
			}
			s, err := runtime.Session(ort.Model{Name: "image", Data: graph}, []string{"pixels", "token_mask", "view", "prior", "days"}, []string{"m", "s", "v", "bias", "tokens"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			pieces, tokens, bias := runImages(t, s, c, b)
			for study := range b.Texts {
				var own []embedder.Piece
				var local [][]float32
				for i, img := range b.Images {
					if img.Study == study {
						own = append(own, pieces[i])
						local = append(local, tokens[i]...)
					}
				}
				want, err := embedder.Combine(own, bias)
				if err != nil {
					t.Fatal(err)
				}
				near(t, "study", got.image[study*c.Joint:(study+1)*c.Joint], want)
				for i, token := range local {
					if token == nil { // the CLS token has no local vector
						continue
					}
					n := (study*got.width + i) * c.Joint
					near(t, "patch", got.tokens[n:n+c.Joint], unit(token))
				}
			}

			graph, err = onnxexport.TextGraph(c, w, onnxexport.FP32)
			if err != nil {
				t.Fatal(err)
			}
			s2, err := runtime.Session(ort.Model{Name: "text", Data: graph}, []string{"input_ids", "attention_mask"}, []string{"text", "tokens"})
			if err != nil {
				t.Fatal(err)
			}
			defer s2.Close()
			sentence := 0
			for i, text := range b.Texts {
				ids, mask := make([]int64, len(text.Tokens)), make([]int64, len(text.Tokens))
				for j, id := range text.Tokens {
					ids[j], mask[j] = int64(id), 1
				}
				shape := []int64{1, int64(len(ids))}
				out, err := s2.Run(t.Context(), ort.Tensor{Shape: shape, Data: ids}, ort.Tensor{Shape: shape, Data: mask})
				if err != nil {
					t.Fatal(err)
				}
				near(t, "text", got.text[i*c.Joint:(i+1)*c.Joint], out[0].Data.([]float32))
				local := out[1].Data.([]float32)
				for _, span := range text.Sentences {
					mean := make([]float32, c.Joint)
					for k := span.Start; k < span.End; k++ {
						for j := range mean {
							mean[j] += local[k*c.Joint+j] / float32(span.End-span.Start)
						}
					}
					near(t, "sentence", got.sentences[sentence*c.Joint:(sentence+1)*c.Joint], unit(mean))
					sentence++
				}
			}
		})
	}
}

// imported is the preset small with the encoders that make test-train fetches, whose equality
// with the originals trainer/backbone tests.
func imported(t *testing.T) (model.Config, onnxexport.Weights) {
	t.Helper()
	c, w := model.Small(), onnxexport.Weights{}
	for _, name := range []string{"vit_s_focus.onnx", "model.safetensors"} {
		tensors, err := backbone.Read("../../.deps/backbones/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backbone.Import(&c, w, tensors); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range onnxexport.Shapes(c) {
		if _, have := w[row.Name]; !have {
			w[row.Name] = row.New(3)
		}
	}
	return c, w
}

// vectors are what a forward pass made.
type vectors struct {
	image, tokens, text, sentences []float32
	width                          int // L
}

func vectorsOf(t *testing.T, tr *Trainer, b trainer.Batch) (v vectors) {
	t.Helper()
	l, err := arrange(b, tr.config)
	if err != nil {
		t.Fatal(err)
	}
	err = tr.call(func() error {
		a := tr.ledger.arena(tr.lasting.kind)
		defer a.free()
		n := &network{arena: a, config: tr.config, weights: tr.weights}
		image, tokens := n.images(l)
		text, sentences := n.texts(l)
		p := tr.config.Joint
		v = vectors{
			image: narrow(a.numbers(image, l.studies*p)), tokens: narrow(a.numbers(tokens, l.studies*l.width*p)),
			text: narrow(a.numbers(text, l.studies*p)), sentences: narrow(a.numbers(sentences, len(l.sentences)*p)), width: l.width,
		}
		return a.err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// runImages encodes the images of b; tokens has one vector a token of each image in order,
// nil for a CLS token.
func runImages(t *testing.T, s *ort.Session, c model.Config, b trainer.Batch) (pieces []embedder.Piece, tokens [][][]float32, bias []float32) {
	t.Helper()
	size := int64(c.Image.Size)
	for i, img := range b.Images {
		mask := make([]bool, 0, c.Image.Patches())
		for y := 0; y < c.Image.Size; y += c.Image.Patch {
			for x := 0; x < c.Image.Size; x += c.Image.Patch {
				mask = append(mask, img.Exposed.Overlaps(image.Rect(x, y, x+c.Image.Patch, y+c.Image.Patch)))
			}
		}
		prior := float32(0)
		if img.Prior {
			prior = 1
		}
		out, err := s.Run(t.Context(),
			ort.Tensor{Shape: []int64{1, 1, size, size}, Data: b.Pixels[i*int(size*size) : (i+1)*int(size*size)]},
			ort.Tensor{Shape: []int64{1, int64(len(mask))}, Data: mask}, ort.Tensor{Shape: []int64{1}, Data: []int64{int64(img.View)}},
			ort.Tensor{Shape: []int64{1}, Data: []float32{prior}}, ort.Tensor{Shape: []int64{1}, Data: []float32{img.Days}})
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, embedder.Piece{M: out[0].Data.([]float32)[0], S: out[1].Data.([]float32)[0], V: out[2].Data.([]float32)})
		bias = out[3].Data.([]float32)
		var own [][]float32
		if c.Image.CLS {
			own = append(own, nil)
		}
		for p, seen := range mask {
			if seen {
				own = append(own, out[4].Data.([]float32)[p*c.Joint:(p+1)*c.Joint])
			}
		}
		tokens = append(tokens, own)
	}
	return pieces, tokens, bias
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func unit(x []float32) []float32 {
	square := 0.0
	for _, v := range x {
		square += float64(v) * float64(v)
	}
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = v / float32(math.Sqrt(square))
	}
	return out
}

func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(float64(got[i] - want[i])); !(d <= 1e-4) {
			t.Fatalf("%s[%d] is %g, want %g", what, i, got[i], want[i])
		}
	}
}
