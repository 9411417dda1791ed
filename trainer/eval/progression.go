package eval

import (
	"maps"
	"math"
	"slices"

	"github.com/radstream/radstream/ingest/phantom"
)

// Change is two studies of one patient, and how the finding changed from the one to the other.
type Change struct {
	Finding        string
	Patient        string
	Current, Prior []float32 // image vectors, of unit length
	Progression    phantom.Progression
}

// Changes pairs the studies of phantoms with their priors, which come right before them.
func Changes(samples []Sample, cases []Case) []Change {
	var out []Change
	for i, s := range samples {
		if s.Progression != "" && i > 0 && samples[i-1].Study.Patient == s.Study.Patient {
			out = append(out, Change{s.Class, s.Study.Patient, cases[i].Image, cases[i-1].Image, s.Progression})
		}
	}
	return out
}

// progressions are the classes of Table 5.
var progressions = []phantom.Progression{phantom.Improved, phantom.Stable, phantom.Worsened}

// ProgressionRow is one finding of Table 5: macro accuracies of linear probes on vectors.
type ProgressionRow struct {
	Finding string  `json:"finding"`
	Pairs   int     `json:"pairs"`
	Both    float64 `json:"current_and_prior"` // mean over sets of training pairs
	BothSD  float64 `json:"current_and_prior_sd"`
	Current float64 `json:"current_only"`
	Gain    Rate    `json:"gain"` // of both over current alone, paired, over test pairs and training sets
}

// Progression trains, for each finding and each set of training pairs, a probe on [current, prior,
// difference] and one on current alone, and measures both on the test pairs. The last row is the
// mean over findings.
func Progression(training [][]Change, test []Change) []ProgressionRow {
	by := map[string][]Change{}
	for _, c := range test {
		by[c.Finding] = append(by[c.Finding], c)
	}
	var rows []ProgressionRow
	var allRight [2][]float64
	var allGroups [][]int
	for _, finding := range slices.Sorted(maps.Keys(by)) {
		own := by[finding]
		row := ProgressionRow{Finding: finding, Pairs: len(own)}
		var right [2][]float64 // how often each test pair was right
		for kind := range right {
			right[kind] = make([]float64, len(own))
		}
		var both []float64
		for _, set := range training {
			some := slices.DeleteFunc(slices.Clone(set), func(c Change) bool { return c.Finding != finding })
			for kind, temporal := range []bool{true, false} {
				p := FitProbe(features(some, temporal), classesOf(some), patientsOf(some), len(progressions))
				answers := make([]int, len(own))
				for i, x := range features(own, temporal) {
					if answers[i] = p.Answer(x); answers[i] == classesOf(own)[i] {
						right[kind][i] += 1 / float64(len(training))
					}
				}
				a := macro(answers, classesOf(own), len(progressions))
				if temporal {
					both = append(both, a)
				} else {
					row.Current += a / float64(len(training))
				}
			}
		}
		row.Both, row.BothSD = meanAndDeviation(both)
		groups := byClass(own, 0)
		row.Gain = pairedGain(right, groups)
		allGroups = append(allGroups, byClass(own, len(allRight[0]))...)
		for kind := range right {
			allRight[kind] = append(allRight[kind], right[kind]...)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	mean := ProgressionRow{Finding: "mean", Pairs: len(test), Gain: pairedGain(allRight, allGroups)}
	for _, r := range rows {
		mean.Both += r.Both / float64(len(rows))
		mean.Current += r.Current / float64(len(rows))
		mean.BothSD += r.BothSD / float64(len(rows))
	}
	return append(rows, mean)
}

// pairedGain is the macro mean over groups of how much more often the first was right.
func pairedGain(right [2][]float64, groups [][]int) Rate {
	measure := func(chosen []int) float64 {
		sum, at := 0.0, 0
		for _, g := range groups { // bootstrap keeps the groups in order
			for _, i := range chosen[at : at+len(g)] {
				sum += (right[0][i] - right[1][i]) / float64(len(g))
			}
			at += len(g)
		}
		return sum / float64(len(groups))
	}
	f := Figure{Value: measure(slices.Concat(groups...))}
	f.Low, f.High = bootstrap(groups, measure)
	return newRate(f)
}

// byClass groups pairs by what became of the finding; numbers count from from.
func byClass(changes []Change, from int) [][]int {
	groups := make([][]int, len(progressions))
	for i, c := range classesOf(changes) {
		groups[c] = append(groups[c], from+i)
	}
	return slices.DeleteFunc(groups, func(g []int) bool { return len(g) == 0 })
}

// features are [current, prior, difference] (section 3 of the method), or current alone.
func features(changes []Change, temporal bool) [][]float64 {
	out := make([][]float64, len(changes))
	for i, c := range changes {
		for _, v := range c.Current {
			out[i] = append(out[i], float64(v))
		}
		if !temporal {
			continue
		}
		for _, v := range c.Prior {
			out[i] = append(out[i], float64(v))
		}
		for j, v := range c.Current {
			out[i] = append(out[i], float64(v-c.Prior[j]))
		}
	}
	return out
}

func classesOf(changes []Change) []int {
	out := make([]int, len(changes))
	for i, c := range changes {
		out[i] = slices.Index(progressions, c.Progression)
	}
	return out
}

func patientsOf(changes []Change) []string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.Patient
	}
	return out
}

func meanAndDeviation(values []float64) (mean, deviation float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean) / float64(max(1, len(values)-1))
	}
	return mean, math.Sqrt(deviation)
}
