package eval

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Figure is one measured number with its 95 % bootstrap interval.
type Figure struct {
	Value, Low, High float64
}

// draws is how often the bootstrap resamples.
const draws = 1000

// bootstrapSeed makes intervals reproducible.
const bootstrapSeed = 7

// bootstrap returns the 2.5 and 97.5 percentiles of measure over resamplings. groups are the
// indices that are resampled with replacement, each group by itself; measure gets all indices.
func bootstrap(groups [][]int, measure func(chosen []int) float64) (low, high float64) {
	r := rand.New(rand.NewPCG(bootstrapSeed, 0))
	values := make([]float64, 0, draws)
	var chosen []int
	for range draws {
		chosen = chosen[:0]
		for _, g := range groups {
			for range g {
				chosen = append(chosen, g[r.IntN(len(g))])
			}
		}
		if v := measure(chosen); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return math.NaN(), math.NaN()
	}
	slices.Sort(values)
	at := func(p float64) float64 { return values[int(math.Round(p*float64(len(values)-1)))] }
	return at(0.025), at(0.975)
}

// meanFigure is the mean of one value a query, resampling queries within groups.
func meanFigure(values []float64, groups [][]int) Figure {
	all := func(chosen []int) float64 {
		sum := 0.0
		for _, i := range chosen {
			sum += values[i]
		}
		return sum / float64(len(chosen))
	}
	f := Figure{Value: all(slices.Concat(groups...))}
	f.Low, f.High = bootstrap(groups, all)
	return f
}

// precisionAt is the share of relevant ones among the first k of a ranking. Where fewer than k
// are ranked, k is their number; of none it is NaN.
func precisionAt(ranking []int, k int, relevant func(int) bool) float64 {
	k = min(k, len(ranking))
	hits := 0
	for _, i := range ranking[:k] {
		if relevant(i) {
			hits++
		}
	}
	return float64(hits) / float64(k)
}

// rank returns 0..n-1 but for skip, the highest score first; equal scores keep their order.
func rank(n, skip int, score func(int) float64) []int {
	order := make([]int, 0, n)
	scores := make([]float64, n)
	for i := range n {
		if i != skip {
			order = append(order, i)
			scores[i] = score(i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return order
}

// auc is the area under the ROC curve: the probability that a positive scores above a
// negative, ties counting half (Mann-Whitney). Without both it is NaN.
func auc(positive, negative []float64) float64 {
	type entry struct {
		score    float64
		positive bool
	}
	all := make([]entry, 0, len(positive)+len(negative))
	for _, s := range positive {
		all = append(all, entry{s, true})
	}
	for _, s := range negative {
		all = append(all, entry{s, false})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.score, b.score) })
	ranks := 0.0 // of the positives, from 1, ties sharing their mean
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].score == all[i].score {
			j++
		}
		for _, e := range all[i:j] {
			if e.positive {
				ranks += float64(i+j+1) / 2
			}
		}
		i = j
	}
	p, n := float64(len(positive)), float64(len(negative))
	return (ranks - p*(p+1)/2) / (p * n)
}

// resampling draws patients again: what is said of the studies of one is alike.
type resampling struct {
	studies [][]int // of each patient
	groups  [][]int // patients, each group drawn by itself
}

// byPatient resamples studies by their patients, "" being one of its own: those of whom a study is
// present apart from the others, all together where present is nil.
func byPatient(patients []string, present []bool) resampling {
	r := resampling{groups: make([][]int, 2)}
	place, shows := map[string]int{}, map[int]bool{}
	for i, name := range patients {
		p, known := place[name]
		if !known || name == "" {
			p = len(r.studies)
			place[name] = p
			r.studies = append(r.studies, nil)
		}
		r.studies[p] = append(r.studies[p], i)
		shows[p] = shows[p] || present == nil || present[i]
	}
	for p := range r.studies {
		g := 1
		if shows[p] {
			g = 0
		}
		r.groups[g] = append(r.groups[g], p)
	}
	return r
}

// bootstrap is [bootstrap] for a measure of studies.
func (r resampling) bootstrap(measure func(chosen []int) float64) (low, high float64) {
	var studies []int
	return bootstrap(r.groups, func(chosen []int) float64 {
		studies = studies[:0]
		for _, p := range chosen {
			studies = append(studies, r.studies[p]...)
		}
		return measure(studies)
	})
}

// auc is the area under the curve of all studies.
func (r resampling) auc(scores []float64, truth []bool) Figure {
	measure := func(chosen []int) float64 {
		var p, n []float64
		for _, i := range chosen {
			if truth[i] {
				p = append(p, scores[i])
			} else {
				n = append(n, scores[i])
			}
		}
		return auc(p, n)
	}
	positive, negative := split(truth)
	f := Figure{Value: measure(slices.Concat(positive, negative))}
	f.Low, f.High = r.bootstrap(measure)
	return f
}

// Cosine is the cosine of vectors of unit length.
func Cosine(a, b []float32) float64 { return dot(a, b) }

// dot is the cosine of vectors of unit length.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// median sorts values.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// BalancedMean is the mean of the means of two groups, such as the balanced accuracy of
// answers that were right (1) or wrong (0), resampling each group by itself.
func BalancedMean(a, b []float64) Figure {
	both := slices.Concat(a, b)
	index := func(from, n int) []int {
		out := make([]int, n)
		for i := range out {
			out[i] = from + i
		}
		return out
	}
	groups := [][]int{index(0, len(a)), index(len(a), len(b))}
	measure := func(chosen []int) float64 { // bootstrap keeps the groups in order
		sums := [2]float64{}
		for i, c := range chosen {
			if i < len(a) {
				sums[0] += both[c]
			} else {
				sums[1] += both[c]
			}
		}
		return (sums[0]/float64(len(a)) + sums[1]/float64(len(b))) / 2
	}
	f := Figure{Value: measure(slices.Concat(groups...))}
	f.Low, f.High = bootstrap(groups, measure)
	return f
}
