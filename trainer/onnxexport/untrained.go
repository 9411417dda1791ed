package onnxexport

import (
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/radstream/radstream/schemas/model"
)

// Untrained returns the weights that a training run from scratch starts with: normal numbers,
// zeros and ones as [Shapes] says. The same seed gives the same numbers, and a weight's numbers
// depend only on its name, shape and the seed, not on the other weights. c must be valid.
func Untrained(c model.Config, seed uint64) Weights {
	w := make(Weights)
	for _, row := range Shapes(c) {
		w[row.Name] = row.New(seed)
	}
	return w
}

// New returns the starting value of one weight; see [Untrained].
func (s TensorSpec) New(seed uint64) Tensor {
	name := fnv.New64a()
	name.Write([]byte(s.Name)) // a hash never fails
	rng := rand.New(rand.NewPCG(seed, name.Sum64()))
	data := make([]float32, elements(s.Shape))
	for i := range data {
		data[i] = s.Init.Constant
		if s.Init.Std > 0 {
			data[i] = float32(s.Init.Std * truncated(rng))
		}
	}
	return Tensor{Shape: s.Shape, Data: data}
}

// truncated returns a standard normal number within two deviations.
func truncated(rng *rand.Rand) float64 {
	for {
		if x := rng.NormFloat64(); math.Abs(x) <= 2 {
			return x
		}
	}
}

func sqrt(n int) float64 { return math.Sqrt(float64(n)) }
