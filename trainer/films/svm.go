package films

import (
	"math"
	"math/rand/v2"

	"github.com/radstream/radstream/ingest/pixel"
)

// example is one film with the answer to a question.
type example struct {
	features []float32
	yes      bool
}

// machine is a linear support vector machine: its margin is above 0 for a yes.
type machine struct {
	weights []float64
	bias    float64
}

// Of fitting.
const (
	cost   = 0.02 // of an error, against the square of the weights; yes and no weigh the same in all
	rounds = 40
)

// fitMachine minimises |w|^2/2 + sum of cost * share * max(0, 1 - y w.x)^2 by coordinate
// descent in the dual (Hsieh et al. 2008, algorithm 3), where share makes up for the rarer
// answer. The order of the examples is drawn with one seed.
func fitMachine(examples []example) machine {
	n := [2]float64{}
	mean := make([]float64, pixel.FeatureCount)
	for _, e := range examples {
		n[answer(e.yes)]++
		for k, v := range e.features {
			mean[k] += float64(v) / float64(len(examples))
		}
	}
	m := machine{weights: make([]float64, pixel.FeatureCount)}
	alpha := make([]float64, len(examples))
	squares := make([]float64, len(examples)) // of |x|, with the constant feature of the bias
	centred := make([][]float64, len(examples))
	for i, e := range examples {
		centred[i] = make([]float64, pixel.FeatureCount)
		squares[i] = 1
		for k, v := range e.features {
			centred[i][k] = float64(v) - mean[k]
			squares[i] += centred[i][k] * centred[i][k]
		}
	}
	r := rand.New(rand.NewPCG(11, 0))
	for range rounds {
		for _, i := range r.Perm(len(examples)) {
			yes := answer(examples[i].yes)
			sign := float64(2*yes - 1)
			slack := n[yes] / (float64(len(examples)) * cost) // 1 / (2 * cost * share), share = all / (2 * of this answer)
			gradient := sign*(dot(m.weights, centred[i])+m.bias) - 1 + slack*alpha[i]
			next := max(0, alpha[i]-gradient/(squares[i]+slack))
			change := sign * (next - alpha[i])
			if change == 0 {
				continue
			}
			alpha[i] = next
			for k, v := range centred[i] {
				m.weights[k] += change * v
			}
			m.bias += change
		}
	}
	m.bias -= dot(m.weights, mean)
	return m
}

func answer(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func dot(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

func (m machine) margin(features []float32) float64 {
	sum := m.bias
	for k, v := range features {
		sum += m.weights[k] * float64(v)
	}
	return sum
}

// slopeOf returns the factor that makes the log odds of yes from margins: the one under which
// the answers are the most probable, yes and no weighing the same in all. A factor without a
// constant leaves the decision where the machine put it.
func slopeOf(margins []float64, yes []bool) float64 {
	n := [2]float64{}
	for _, y := range yes {
		n[answer(y)]++
	}
	// The loss is convex in the factor: halve the interval in which its slope changes sign.
	low, high := 0.01, 50.0
	for range 60 {
		a := math.Sqrt(low * high)
		gradient := 0.0
		for i, s := range margins {
			if !yes[i] {
				s = -s
			}
			gradient -= s / (1 + math.Exp(a*s)) / n[answer(yes[i])]
		}
		if gradient > 0 {
			high = a
		} else {
			low = a
		}
	}
	return math.Sqrt(low * high)
}
