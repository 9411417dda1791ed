package films

import (
	"math"
	"math/rand/v2"

	"github.com/radstream/radstream/ingest/pixel"
)

// example is one film with its answers.
type example struct {
	features   []float32
	yes, asked [questions]bool
}

// questions are as many as [pixel.Questions].
const questions = 4

// Of fitting.
const (
	hidden   = 64   // units
	epochs   = 20   // passes over the examples
	batch    = 64   // examples to a step
	rate     = 2e-3 // of the first step; it falls to 0 like a cosine
	decay    = 0.1  // of the weights, times the rate
	dropped  = 5    // sixteenths of the features that an example is shown without
	momentum = 0.9
	spread   = 0.999
)

// network has one hidden layer of rectified units over features of mean 0 and spread 1.
type network struct {
	mean  []float32 // of each feature
	scale float32   // of all

	in  []float32 // hidden * FeatureCount, unit after unit; then a bias each
	out []float32 // questions * hidden, question after question; then a bias each
}

// fit makes a network that answers the examples, by steps of AdamW (Loshchilov and Hutter
// 2019) down the cross entropy. Yes and no to a question weigh the same in all. Everything
// random is drawn with one seed.
func fit(examples []example) network {
	const n = pixel.FeatureCount
	net := network{mean: make([]float32, n), in: make([]float32, hidden*(n+1)), out: make([]float32, questions*(hidden+1))}
	weights := net.prepare(examples)
	r := rand.New(rand.NewPCG(11, 0))
	for i := range hidden * n {
		net.in[i] = float32(r.NormFloat64() * math.Sqrt(2.0/n))
	}
	for i := range questions * hidden {
		net.out[i] = float32(r.NormFloat64() * math.Sqrt(1.0/hidden))
	}
	inner, outer := newAdam(len(net.in), hidden*n), newAdam(len(net.out), questions*hidden)
	x := make([]float32, n)
	steps, step := epochs*(len(examples)/batch), 0
	for range epochs {
		order := r.Perm(len(examples))
		for ; len(order) >= batch; order = order[batch:] {
			for _, i := range order[:batch] {
				net.show(examples[i].features, x)
				var bits uint64
				for k := range x {
					if k%16 == 0 {
						bits = r.Uint64()
					}
					if bits&15 < dropped {
						x[k] = 0
					} else {
						x[k] *= 16.0 / (16 - dropped)
					}
					bits >>= 4
				}
				net.descend(x, &examples[i], weights, inner.gradient, outer.gradient)
			}
			step++
			now := rate / 2 * (1 + math.Cos(math.Pi*float64(step)/float64(steps)))
			inner.step(net.in, now, step)
			outer.step(net.out, now, step)
		}
	}
	return net
}

// prepare finds mean and scale of the features, and the weight of each answer.
func (net *network) prepare(examples []example) (weights [questions][2]float32) {
	mean := make([]float64, pixel.FeatureCount)
	count := [questions][2]float64{}
	for _, e := range examples {
		for k, v := range e.features {
			mean[k] += float64(v) / float64(len(examples))
		}
		for q := range questions {
			if e.asked[q] {
				count[q][answer(e.yes[q])]++
			}
		}
	}
	square := 0.0
	for _, e := range examples {
		for k, v := range e.features {
			square += (float64(v) - mean[k]) * (float64(v) - mean[k])
		}
	}
	net.scale = float32(1 / math.Sqrt(square/float64(len(examples)*pixel.FeatureCount)))
	for k, v := range mean {
		net.mean[k] = float32(v)
	}
	for q, c := range count {
		for a, n := range c {
			weights[q][a] = float32((c[0] + c[1]) / (2 * max(1, n)))
		}
	}
	return weights
}

// show writes the features as the hidden layer sees them.
func (net *network) show(features, x []float32) {
	for k, v := range features {
		x[k] = (v - net.mean[k]) * net.scale
	}
}

// forward returns the units, and the log odds of a yes to each question.
func (net *network) forward(x []float32, units []float32) (odds [questions]float32) {
	copy(odds[:], net.out[questions*hidden:])
	for u := range hidden {
		units[u] = max(0, net.in[hidden*pixel.FeatureCount+u]+dot(net.in[u*pixel.FeatureCount:][:pixel.FeatureCount], x))
		if units[u] > 0 {
			for q := range odds {
				odds[q] += net.out[q*hidden+u] * units[u]
			}
		}
	}
	return odds
}

// descend adds the slope of one example's loss to the gradients.
func (net *network) descend(x []float32, e *example, weights [questions][2]float32, inner, outer []float32) {
	const n = pixel.FeatureCount
	var units, back [hidden]float32
	odds := net.forward(x, units[:])
	for q, odd := range odds {
		if !e.asked[q] {
			continue
		}
		yes := answer(e.yes[q])
		slope := (float32(1/(1+math.Exp(-float64(odd)))) - float32(yes)) * weights[q][yes] / batch
		outer[questions*hidden+q] += slope
		for u, v := range units {
			if v > 0 {
				outer[q*hidden+u] += slope * v
				back[u] += slope * net.out[q*hidden+u]
			}
		}
	}
	for u, slope := range back {
		if slope == 0 {
			continue
		}
		inner[hidden*n+u] += slope
		row := inner[u*n:][:n]
		for k, v := range x {
			row[k] += slope * v
		}
	}
}

// odds returns the log odds of a yes to each question.
func (net *network) odds(features []float32) [questions]float32 {
	x, units := make([]float32, len(features)), make([]float32, hidden)
	net.show(features, x)
	return net.forward(x, units)
}

// dot is the sum of products, in four sums that do not wait for one another.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += v * b[i]
	}
	return s0 + s1 + s2 + s3
}

func answer(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// adam holds a gradient and its running moments.
type adam struct {
	gradient, mean, square []float32
	decayed                int // so many of the first weights decay: biases do not
}

func newAdam(n, decayed int) *adam {
	return &adam{make([]float32, n), make([]float32, n), make([]float32, n), decayed}
}

// step moves the weights against the gradient, and clears it.
func (a *adam) step(weights []float32, rate float64, step int) {
	first := float32(1 / (1 - math.Pow(momentum, float64(step))))
	second := float32(1 / (1 - math.Pow(spread, float64(step))))
	for i, g := range a.gradient {
		a.mean[i] += (g - a.mean[i]) * (1 - momentum)
		a.square[i] += (g*g - a.square[i]) * (1 - spread)
		move := a.mean[i] * first / (float32(math.Sqrt(float64(a.square[i]*second))) + 1e-8)
		if i < a.decayed {
			move += decay * weights[i]
		}
		weights[i] -= float32(rate) * move
		a.gradient[i] = 0
	}
}

// slopeOf returns the factor that makes the log odds of yes from margins: the one under which
// the answers are the most probable, yes and no weighing the same in all. A factor without a
// constant leaves the decision where the network put it.
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
