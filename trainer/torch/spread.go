//go:build torch

package torch

import (
	"math"

	"github.com/radstream/radstream/trainer"
)

// spread measures n unit vectors, the rows of x. With n = 1 there is nothing off the diagonal:
// the cosine is 0, the rank 1.
func (a *arena) spread(x tensor, n, width int) trainer.Spread {
	vectors := a.numbers(x, n*width)
	if a.err != nil || n < 2 {
		return trainer.Spread{Rank: 1}
	}
	// The sum of all cosines is the square of the summed vectors; n of them are of one with itself.
	square := 0.0
	for k := range width {
		sum := 0.0
		for i := range n {
			sum += vectors[i*width+k]
		}
		square += sum * sum
	}
	out := trainer.Spread{Cosine: (square - float64(n)) / float64(n*(n-1)), Rank: math.NaN()}
	if math.IsNaN(square) {
		return out
	}

	var values []float64
	if values, a.err = singular(x, min(n, width)); a.err != nil {
		return out
	}
	sum, entropy := 0.0, 0.0
	for _, v := range values {
		sum += v
	}
	for _, v := range values {
		if p := v / sum; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	out.Rank = math.Exp(entropy)
	return out
}
