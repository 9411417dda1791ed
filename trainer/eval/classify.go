package eval

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// Rate is a share with its 95 % interval.
type Rate struct {
	Value float64    `json:"value"`
	CI    [2]float64 `json:"ci"`
}

func newRate(f Figure) Rate { return Rate{f.Value, [2]float64{f.Low, f.High}} }

// MeanRate is the mean of values, resampling them.
func MeanRate(values []float64) Rate {
	all := make([]int, len(values))
	for i := range all {
		all[i] = i
	}
	return newRate(meanFigure(values, [][]int{all}))
}

// BinaryRow is one label as a yes-or-no question (Table 4 of the method).
type BinaryRow struct {
	Label     string  `json:"label"`
	Positive  int     `json:"positive"`
	Negative  int     `json:"negative"`
	Threshold float64 `json:"threshold"` // on scores, from the validation studies
	Accuracy  Rate    `json:"accuracy"`
	F1        Rate    `json:"f1"`
	AUC       Rate    `json:"auc"`
	// Calibration is the expected calibration error in ten bins (Guo et al. 2017).
	Calibration float64 `json:"calibration_error"`
}

// Classification is Table 4: label scores as answers.
type Classification struct {
	Studies    int         `json:"studies"`
	Validation int         `json:"validation_studies"`
	Labels     []BinaryRow `json:"labels"` // by name
	// Of those studies that show exactly one of Classes: how often its score is the highest, and
	// the mean over Classes of how often.
	Classes  []string `json:"classes"`
	Of       int      `json:"class_studies"`
	Accuracy Rate     `json:"class_accuracy"`
	Macro    Rate     `json:"class_macro_accuracy"`
}

// CheXpertClasses are the five of the 5x200 set.
var CheXpertClasses = []string{"atelectasis", "cardiomegaly", "consolidation", "edema", "effusion"}

// Classify measures answers on test studies. The threshold of a label is that with the highest
// F1 on the validation studies, never on those that are measured.
func Classify(validation, test []Labelled, classes []string) Classification {
	t := Classification{Studies: len(test), Validation: len(validation), Classes: classes}
	names := map[string]bool{}
	for _, s := range test {
		for name := range s.Truth {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		scores, truth, patients := known(test, name)
		tuning, tuned, _ := known(validation, name)
		positive, negative := split(truth)
		if p, n := split(tuned); len(positive) == 0 || len(negative) == 0 || len(p) == 0 || len(n) == 0 {
			continue
		}
		row := BinaryRow{Label: name, Positive: len(positive), Negative: len(negative), Threshold: bestThreshold(tuning, tuned), Calibration: calibrationError(scores, truth)}
		again := byPatient(patients, truth)
		measure := func(of func(tp, fp, fn, tn float64) float64) Rate {
			run := func(chosen []int) float64 {
				var tp, fp, fn, tn float64
				for _, i := range chosen {
					switch said := scores[i] >= row.Threshold; {
					case said && truth[i]:
						tp++
					case said:
						fp++
					case truth[i]:
						fn++
					default:
						tn++
					}
				}
				return of(tp, fp, fn, tn)
			}
			f := Figure{Value: run(slices.Concat(positive, negative))}
			f.Low, f.High = again.bootstrap(run)
			return newRate(f)
		}
		row.Accuracy = measure(func(tp, fp, fn, tn float64) float64 { return (tp + tn) / (tp + fp + fn + tn) })
		row.F1 = measure(func(tp, fp, fn, _ float64) float64 { return f1(tp, fp, fn) })
		row.AUC = newRate(again.auc(scores, truth))
		t.Labels = append(t.Labels, row)
	}
	t.classes(test)
	return t
}

// classes fills in the question which of the classes a study shows.
func (t *Classification) classes(test []Labelled) {
	var right []float64
	groups := make([][]int, len(t.Classes))
	for _, s := range test {
		own, best := -1, 0
		scored := true
		for i, c := range t.Classes {
			if _, ok := s.Scores[c]; !ok {
				scored = false
			}
			if s.Truth[c] && own >= 0 {
				scored = false // several
			}
			if s.Truth[c] {
				own = i
			}
			if s.Scores[c] > s.Scores[t.Classes[best]] {
				best = i
			}
		}
		if own < 0 || !scored {
			continue
		}
		groups[own] = append(groups[own], len(right))
		hit := 0.0
		if best == own {
			hit = 1
		}
		right = append(right, hit)
	}
	groups = slices.DeleteFunc(groups, func(g []int) bool { return len(g) == 0 })
	t.Of = len(right)
	if t.Of == 0 {
		return
	}
	t.Accuracy = newRate(meanFigure(right, groups))
	macro := func(chosen []int) float64 {
		sum, at := 0.0, 0
		for _, g := range groups { // bootstrap keeps the groups in order
			sum += meanOf(right, chosen[at:at+len(g)])
			at += len(g)
		}
		return sum / float64(len(groups))
	}
	f := Figure{Value: macro(slices.Concat(groups...))}
	f.Low, f.High = bootstrap(groups, macro)
	t.Macro = newRate(f)
}

// known returns the scores of a label, its truth and the patients, of the studies of which both are
// known.
func known(studies []Labelled, name string) (scores []float64, truth []bool, patients []string) {
	for _, s := range studies {
		present, isKnown := s.Truth[name]
		score, scored := s.Scores[name]
		if isKnown && scored {
			scores, truth, patients = append(scores, score), append(truth, present), append(patients, s.Patient)
		}
	}
	return scores, truth, patients
}

// split returns the indices of what is true and of what is not.
func split(truth []bool) (yes, no []int) {
	for i, t := range truth {
		if t {
			yes = append(yes, i)
		} else {
			no = append(no, i)
		}
	}
	return yes, no
}

func f1(tp, fp, fn float64) float64 {
	if tp == 0 {
		return 0
	}
	return 2 * tp / (2*tp + fp + fn)
}

// bestThreshold returns the score from which on to say yes for the highest F1: the middle between
// two neighbours.
func bestThreshold(scores []float64, truth []bool) float64 {
	order := make([]int, len(scores))
	positives := 0.0
	for i := range order {
		order[i] = i
		if truth[i] {
			positives++
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	best, threshold, tp := -1.0, 0.0, 0.0
	for n, i := range order {
		if truth[i] {
			tp++
		}
		next := math.Inf(-1)
		if n+1 < len(order) {
			next = scores[order[n+1]]
		}
		if next == scores[i] {
			continue // they cannot be told apart
		}
		if f := f1(tp, float64(n+1)-tp, positives-tp); f > best {
			best, threshold = f, scores[i]
			if !math.IsInf(next, -1) {
				threshold = (scores[i] + next) / 2
			}
		}
	}
	return threshold
}

// calibrationError is the mean distance of scores, which are probabilities, from how often they
// are right, over ten bins of equal width weighed by how many they hold.
func calibrationError(scores []float64, truth []bool) float64 {
	const bins = 10
	var sum, hits, n [bins]float64
	for i, s := range scores {
		b := min(int(s*bins), bins-1)
		sum[b] += s
		n[b]++
		if truth[i] {
			hits[b]++
		}
	}
	e := 0.0
	for b := range bins {
		e += math.Abs(sum[b]-hits[b]) / float64(len(scores))
	}
	return e
}
