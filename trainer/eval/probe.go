package eval

import (
	"math"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Probe is a linear classifier on vectors that stay as they are: softmax regression with an L2
// penalty, on standardised features. It is what a supervised head on a frozen encoder can do.
type Probe struct {
	mean, scale []float64
	weights     [][]float64 // [class][feature and 1]
}

// penalties are tried by [FitProbe]; the one with the best macro accuracy over inner folds is taken.
var penalties = []float64{1, 0.3, 0.1, 0.03, 0.01}

// FitProbe trains on features x of classes 0 to classes-1. Rows of one group (a patient) are in
// one inner fold. It is deterministic.
func FitProbe(x [][]float64, y []int, groups []string, classes int) *Probe {
	best, penalty := -1.0, penalties[0]
	for _, p := range penalties {
		answers := make([]int, len(x))
		for _, fold := range folds(groups, 4) {
			part := fitProbe(drop(x, fold), drop(y, fold), classes, p)
			for _, i := range fold {
				answers[i] = part.Answer(x[i])
			}
		}
		if a := macro(answers, y, classes); a > best {
			best, penalty = a, p
		}
	}
	return fitProbe(x, y, classes, penalty)
}

func fitProbe(x [][]float64, y []int, classes int, penalty float64) *Probe {
	width := len(x[0])
	p := &Probe{mean: make([]float64, width), scale: make([]float64, width), weights: make([][]float64, classes)}
	for _, row := range x {
		for i, v := range row {
			p.mean[i] += v / float64(len(x))
		}
	}
	for _, row := range x {
		for i, v := range row {
			p.scale[i] += (v - p.mean[i]) * (v - p.mean[i]) / float64(len(x))
		}
	}
	for i, v := range p.scale {
		p.scale[i] = 1 / math.Sqrt(v+1e-12)
	}
	inputs := make([][]float64, len(x))
	for i, row := range x {
		inputs[i] = p.standard(row)
	}
	// Adam over all rows at once (Kingma and Ba 2015).
	const steps, rate, beta1, beta2 = 300, 0.03, 0.9, 0.999
	first, second := make([][]float64, classes), make([][]float64, classes)
	for c := range classes {
		p.weights[c], first[c], second[c] = make([]float64, width+1), make([]float64, width+1), make([]float64, width+1)
	}
	gradient := make([][]float64, classes)
	for step := 1; step <= steps; step++ {
		for c := range classes {
			gradient[c] = slices.Clone(p.weights[c])
			for i := range gradient[c] {
				gradient[c][i] *= penalty
			}
			gradient[c][width] = 0
		}
		for r, row := range inputs {
			for c, q := range p.softmax(row) {
				if c == y[r] {
					q--
				}
				for i, v := range row {
					gradient[c][i] += q * v / float64(len(x))
				}
			}
		}
		for c := range classes {
			for i, g := range gradient[c] {
				first[c][i] = beta1*first[c][i] + (1-beta1)*g
				second[c][i] = beta2*second[c][i] + (1-beta2)*g*g
				m, v := first[c][i]/(1-math.Pow(beta1, float64(step))), second[c][i]/(1-math.Pow(beta2, float64(step)))
				p.weights[c][i] -= rate * m / (math.Sqrt(v) + 1e-8)
			}
		}
	}
	return p
}

// Probabilities returns that of each class.
func (p *Probe) Probabilities(x []float64) []float64 { return p.softmax(p.standard(x)) }

// Answer returns the likeliest class.
func (p *Probe) Answer(x []float64) int {
	best, q := 0, p.Probabilities(x)
	for c := range q {
		if q[c] > q[best] {
			best = c
		}
	}
	return best
}

// standard scales features to mean 0 and deviation 1, and adds a 1.
func (p *Probe) standard(x []float64) []float64 {
	out := make([]float64, len(x)+1)
	for i, v := range x {
		out[i] = (v - p.mean[i]) * p.scale[i]
	}
	out[len(x)] = 1
	return out
}

func (p *Probe) softmax(x []float64) []float64 {
	out := make([]float64, len(p.weights))
	highest := math.Inf(-1)
	for c, w := range p.weights {
		for i, v := range x {
			out[c] += w[i] * v
		}
		highest = max(highest, out[c])
	}
	sum := 0.0
	for c, v := range out {
		out[c] = math.Exp(v - highest)
		sum += out[c]
	}
	for c := range out {
		out[c] /= sum
	}
	return out
}

// folds deals groups out into n folds, in the order in which they come first.
func folds(groups []string, n int) [][]int {
	out := make([][]int, n)
	place := map[string]int{}
	for i, g := range groups {
		f, seen := place[g]
		if !seen {
			f = len(place) % n
			place[g] = f
		}
		out[f] = append(out[f], i)
	}
	return out
}

// drop returns x without some rows.
func drop[T any](x []T, rows []int) []T {
	out := make([]T, 0, len(x)-len(rows))
	for i, v := range x {
		if _, gone := slices.BinarySearch(rows, i); !gone {
			out = append(out, v)
		}
	}
	return out
}

// macro is the mean over classes of how often their members are recognised; classes without a
// member do not count.
func macro(answers, truth []int, classes int) float64 {
	right, n := make([]float64, classes), make([]float64, classes)
	for i, a := range answers {
		n[truth[i]]++
		if a == truth[i] {
			right[truth[i]]++
		}
	}
	sum, counted := 0.0, 0.0
	for c := range classes {
		if n[c] > 0 {
			sum += right[c] / n[c]
			counted++
		}
	}
	return sum / counted
}

// Probed is the answers of linear probes on the image vectors of studies, one probe a label and
// fold: what a supervised head on a frozen encoder reaches. Of each study they are of a probe that
// saw none of its patient. vectors are of unit length; truth says of each which labels are
// known, by name; a label that fewer than folds patients show, or do not show, has no score.
func Probed(vectors [][]float32, truth []map[string]bool, patients []string) []Labelled {
	out := make([]Labelled, len(vectors))
	names := map[string]bool{}
	for i, t := range truth {
		out[i] = Labelled{Scores: map[string]float64{}, Truth: t, Patient: patients[i]}
		for name := range t {
			names[name] = true
		}
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	for name := range names {
		group.Go(func() error {
			var x [][]float64
			var y, at []int
			var who []string
			show := [2]map[string]bool{{}, {}}
			for i, t := range truth {
				present, known := t[name]
				if !known {
					continue
				}
				class := 0
				if present {
					class = 1
				}
				row := make([]float64, len(vectors[i]))
				for j, v := range vectors[i] {
					row[j] = float64(v)
				}
				x, y, at, who = append(x, row), append(y, class), append(at, i), append(who, patients[i])
				show[class][patients[i]] = true
			}
			if min(len(show[0]), len(show[1])) < probeFolds {
				return nil
			}
			for _, fold := range folds(who, probeFolds) {
				p := FitProbe(drop(x, fold), drop(y, fold), drop(who, fold), 2)
				mu.Lock()
				for _, i := range fold {
					out[at[i]].Scores[name] = p.Probabilities(x[i])[1]
				}
				mu.Unlock()
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
	return out
}

// probeFolds is how many parts of the patients [Probed] leaves out in turn.
const probeFolds = 5
