//go:build torch

package torch

import (
	"image"
	"math/rand/v2"
	"testing"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// micro has what tiny has, in small: the tests run in seconds.
func micro() model.Config {
	return model.Config{
		Image: model.ImageConfig{Tower: model.Tower{Width: 16, Layers: 1, Heads: 2, MLPRatio: 2, Epsilon: 1e-6}, Size: 32, Patch: 8, Mean: 0.5, Std: 0.25},
		Text:  model.TextConfig{Tower: model.Tower{Width: 16, Layers: 1, Heads: 2, MLPRatio: 2, Epsilon: 1e-12}, Vocabulary: 40, VocabularyWidth: 8, MaxLength: 16},
		Joint: 16, Adapter: 4, Invertible: true, TAResidual: model.ResidualLA,
	}
}

// other has what micro has not: a CLS token, a whole vocabulary embedding, no adapters'
// residual as designed.
func other() model.Config {
	c := micro()
	c.Image.CLS, c.Image.Layers, c.Image.Heads, c.Image.Width = true, 2, 3, 24
	c.Text.VocabularyWidth, c.Text.Layers, c.Joint = 0, 2, 10
	c.TAResidual = model.ResidualR
	return c
}

// shaken returns weights in which nothing is zero or one by construction.
func shaken(c model.Config, seed uint64) onnxexport.Weights {
	w := onnxexport.Untrained(c, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, row := range onnxexport.Shapes(c) {
		for i := range w[row.Name].Data {
			w[row.Name].Data[i] += float32(0.1 * rng.NormFloat64())
		}
	}
	return w
}

// toy makes a batch of studies that can be learned: each is of one of eight classes, which
// shows as a bright square at one of eight places and is said in one of two sentences; the
// other sentence is common to all. ragged gives studies two images (a lateral, a prior)
// and padding in turn.
func toy(c model.Config, studies int, keep bool, ragged bool, rng *rand.Rand) trainer.Batch {
	var b trainer.Batch
	size, side := c.Image.Size, c.Image.Size/c.Image.Patch
	for s := range studies {
		class := rng.IntN(8)
		views := 1
		if ragged {
			views += s % 3
		}
		for v := range views {
			img := trainer.BatchImage{Study: s, View: embedder.View(v % 2), Exposed: image.Rect(0, 0, size, size), Prior: v == 2}
			if img.Prior {
				img.Days = 40
			}
			if ragged {
				img.Exposed.Max.X -= (s % 2) * c.Image.Patch
			}
			if keep {
				for p := range int32(side * side) {
					if (int(p)+s)%2 == 0 && int(p)%side < side-1 {
						img.Keep = append(img.Keep, p)
					}
				}
			}
			pixels := make([]byte, size*size)
			for i := range pixels {
				pixels[i] = uint8(80 + rng.IntN(40))
				if i/size*8/size == class {
					pixels[i] += 120
				}
			}
			b.Images, b.Pixels = append(b.Images, img), append(b.Pixels, pixels...)
		}
		first := int32(10 + 2*class + rng.IntN(2))
		t := trainer.BatchText{
			Tokens:    []int32{2, first, first, 5, 6, 7, 3},
			Sentences: []trainer.Span{{Start: 1, End: 3, Group: int(first)}, {Start: 3, End: 6, Group: 0}},
			Group:     int(first),
		}
		if ragged && s%2 == 1 {
			t.Tokens, t.Sentences = []int32{2, first, first, 3}, t.Sentences[:1]
			t.Group += 100
		}
		t.Hidden, b.MaskToken = []int{1 + s%2}, 4
		b.Texts = append(b.Texts, t)
	}
	return b
}

func open(t testing.TB, c model.Config, w onnxexport.Weights, o Options) *Trainer {
	t.Helper()
	tr, err := New(c, w, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		if len(tr.ledger.open) != 0 {
			t.Errorf("open after Close: %q", tr.ledger.origins())
		}
	})
	return tr
}

// timed is a batch like those of real training: a frontal and a lateral a study, 60 tokens,
// six sentences; masked it keeps 49 patches an image.
func timed(c model.Config, studies int, masked bool) trainer.Batch {
	var b trainer.Batch
	rng := rand.New(rand.NewPCG(1, 1))
	for s := range studies {
		for v := range 2 {
			img := trainer.BatchImage{Study: s, View: embedder.View(v), Exposed: image.Rect(0, 0, c.Image.Size, c.Image.Size)}
			for p := int32(rng.IntN(4)); masked && len(img.Keep) < 49; p += 4 {
				img.Keep = append(img.Keep, p)
			}
			b.Images = append(b.Images, img)
		}
		t := trainer.BatchText{Tokens: make([]int32, 62), Group: s}
		for i := range t.Tokens {
			t.Tokens[i] = int32(rng.IntN(c.Text.Vocabulary))
		}
		for i := range 6 {
			t.Sentences = append(t.Sentences, trainer.Span{Start: 1 + 10*i, End: 11 + 10*i, Group: 6*s + i})
		}
		b.Texts = append(b.Texts, t)
	}
	b.Pixels = make([]byte, len(b.Images)*c.Image.Size*c.Image.Size)
	for i := range b.Pixels {
		b.Pixels[i] = uint8(rng.IntN(256))
	}
	return b
}
