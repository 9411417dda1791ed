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

// ProgressionSet is one division of pairs, as indexes of them: a seed of Table 5.
type ProgressionSet struct{ Training, Test []int }

// ProgressionRow is one finding of Table 5: macro accuracies of linear probes on vectors.
type ProgressionRow struct {
	Finding string  `json:"finding"`
	Pairs   int     `json:"pairs"`             // that are in the test part of a set
	Both    float64 `json:"current_and_prior"` // mean over sets
	BothSD  float64 `json:"current_and_prior_sd"`
	Current float64 `json:"current_only"`
	Gain    Rate    `json:"gain"` // of both over current alone, paired, over test pairs, each with the mean of its sets
}

// Progression trains, for each finding and each set, a probe on [current, prior, difference] of its
// training pairs and one on current alone, and measures both on its test pairs. A set whose training
// pairs of a finding are of one patient or one class, or that has none to test, does not count for
// it. The last row is the mean over findings; without any there is none.
func Progression(changes []Change, sets []ProgressionSet) []ProgressionRow {
	var rows []ProgressionRow
	var allRight [2][]float64
	var allGroups [][]int
	names := map[string]bool{}
	for _, c := range changes {
		names[c.Finding] = true
	}
	for _, finding := range slices.Sorted(maps.Keys(names)) {
		tested := make([]float64, len(changes)) // how often
		var hits [2][]float64                   // how often it was right
		for kind := range hits {
			hits[kind] = make([]float64, len(changes))
		}
		var both, current []float64
		for _, set := range sets {
			_, training := having(changes, set.Training, finding)
			places, test := having(changes, set.Test, finding)
			if several := severalOf(patientsOf(training)) && severalOf(classesOf(training)); !several || len(test) == 0 {
				continue
			}
			for kind, temporal := range []bool{true, false} {
				p := FitProbe(features(training, temporal), classesOf(training), patientsOf(training), len(progressions))
				answers := make([]int, len(test))
				for i, x := range features(test, temporal) {
					if answers[i] = p.Answer(x); answers[i] == classesOf(test)[i] {
						hits[kind][places[i]]++
					}
				}
				a := macro(answers, classesOf(test), len(progressions))
				if temporal {
					both = append(both, a)
				} else {
					current = append(current, a)
				}
			}
			for _, i := range places {
				tested[i]++
			}
		}
		if len(both) == 0 {
			continue
		}
		var own []Change
		var right [2][]float64
		for i, n := range tested {
			if n == 0 {
				continue
			}
			own = append(own, changes[i])
			for kind := range right {
				right[kind] = append(right[kind], hits[kind][i]/n)
			}
		}
		row := ProgressionRow{Finding: finding, Pairs: len(own), Gain: pairedGain(right, byClass(own, 0))}
		row.Both, row.BothSD = meanAndDeviation(both)
		row.Current, _ = meanAndDeviation(current)
		allGroups = append(allGroups, byClass(own, len(allRight[0]))...)
		for kind := range right {
			allRight[kind] = append(allRight[kind], right[kind]...)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	mean := ProgressionRow{Finding: "mean", Pairs: len(allRight[0]), Gain: pairedGain(allRight, allGroups)}
	for _, r := range rows {
		mean.Both += r.Both / float64(len(rows))
		mean.Current += r.Current / float64(len(rows))
		mean.BothSD += r.BothSD / float64(len(rows))
	}
	return append(rows, mean)
}

// having returns those of some pairs that are of a finding, and their indexes.
func having(changes []Change, some []int, finding string) (places []int, out []Change) {
	for _, i := range some {
		if changes[i].Finding == finding {
			places, out = append(places, i), append(out, changes[i])
		}
	}
	return places, out
}

func severalOf[T comparable](values []T) bool {
	return slices.ContainsFunc(values, func(v T) bool { return v != values[0] })
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
