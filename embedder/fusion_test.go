package embedder_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
)

const width = 6

// tokens is one image: a score and an already projected vector for each token.
type tokens struct {
	scores  []float64
	vectors [][]float64
}

// piece is what the graph computes of an image.
func (k tokens) piece() embedder.Piece {
	m := math.Inf(-1)
	for _, s := range k.scores {
		m = max(m, s)
	}
	p := embedder.Piece{M: float32(m), V: make([]float32, width)}
	var sum float64
	mixed := make([]float64, width)
	for i, s := range k.scores {
		w := math.Exp(s - float64(p.M))
		sum += w
		for j := range mixed {
			mixed[j] += w * k.vectors[i][j]
		}
	}
	p.S = float32(sum)
	for j := range mixed {
		p.V[j] = float32(mixed[j])
	}
	return p
}

// together is one softmax over the tokens of all images.
func together(images []tokens, bias []float32) []float64 {
	m, sum := math.Inf(-1), 0.0
	for _, k := range images {
		for _, s := range k.scores {
			m = max(m, s)
		}
	}
	out := make([]float64, width)
	for _, k := range images {
		for i, s := range k.scores {
			w := math.Exp(s - m)
			sum += w
			for j := range out {
				out[j] += w * k.vectors[i][j]
			}
		}
	}
	square := 0.0
	for j := range out {
		out[j] = out[j]/sum + float64(bias[j])
		square += out[j] * out[j]
	}
	for j := range out {
		out[j] /= math.Sqrt(square)
	}
	return out
}

func TestCombineIsOneSoftmax(t *testing.T) {
	// The bias keeps vectors away from length 0, where a direction is ill-conditioned.
	bias := []float32{3, -2, 1, 0, 0.5, 2}
	number := rapid.Float64Range(-1, 1)
	image := rapid.Custom(func(t *rapid.T) tokens {
		var k tokens
		for range rapid.IntRange(1, 20).Draw(t, "tokens") {
			// Far apart, so that a sum without the maximum taken off would overflow.
			k.scores = append(k.scores, rapid.Float64Range(-200, 200).Draw(t, "score"))
			k.vectors = append(k.vectors, rapid.SliceOfN(number, width, width).Draw(t, "vector"))
		}
		return k
	})
	rapid.Check(t, func(t *rapid.T) {
		images := rapid.SliceOfN(image, 1, 5).Draw(t, "images")
		pieces := make([]embedder.Piece, len(images))
		for i, k := range images {
			pieces[i] = k.piece()
		}
		got, err := embedder.Combine(pieces, bias)
		if err != nil {
			t.Fatal(err)
		}
		want := together(images, bias)
		for j := range want {
			// The graph's maximum is a float32 of up to 200: its rounding moves a weight by 1e-5.
			if math.Abs(float64(got[j])-want[j]) > 3e-5 {
				t.Fatalf("combined %v, one softmax %v", got, want)
			}
		}
		turned, err := embedder.Combine(rapid.Permutation(pieces).Draw(t, "order"), bias)
		if err != nil {
			t.Fatal(err)
		}
		for j := range got {
			if math.Abs(float64(got[j]-turned[j])) > 1e-6 {
				t.Fatalf("in another order %v, before %v", turned, got)
			}
		}
	})
}

func TestCombineRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for name, pieces := range map[string][]embedder.Piece{
		"none":        {},
		"other width": {{M: 1, S: 1, V: []float32{1, 2}}},
		"no sum":      {{M: 1, S: 0, V: []float32{1}}},
		"not numbers": {{M: nan, S: 1, V: []float32{1}}},
	} {
		if _, err := embedder.Combine(pieces, []float32{0}); fault.ReasonOf(err) != embedder.ReasonPiece {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, v := range map[string]float32{"zero": 0, "NaN": nan} {
		if _, err := embedder.Combine([]embedder.Piece{{M: 1, S: 1, V: []float32{v}}}, []float32{0}); fault.KindOf(err) != fault.Internal {
			t.Errorf("a vector of %s: %v", name, err)
		}
	}
}
