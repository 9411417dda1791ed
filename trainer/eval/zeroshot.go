package eval

import (
	"maps"
	"slices"
)

// Labelled is one study with the scores of a model and what is known to be so.
type Labelled struct {
	Scores map[string]float64 // by label
	Truth  map[string]bool    // by label; a label that is not in it is not known
	// Patient is whose study it is, which intervals resample as a whole; empty for one of its own.
	Patient string
}

// LabelRow is one label of a [ZeroShotTable].
type LabelRow struct {
	Label    string `json:"label"`
	Positive int    `json:"positive"`
	Negative int    `json:"negative"`
	Area
	// Calibration is the mean distance of scores from how often they are right, 0 at best; nil for
	// scores that are no probabilities, see [Rank].
	Calibration *float64 `json:"calibration_error,omitempty"`
}

// ZeroShotTable is the evaluation of one model's label scores.
type ZeroShotTable struct {
	Studies int        `json:"studies"`
	Labels  []LabelRow `json:"labels"`   // by name; those with positives and negatives
	Mean    float64    `json:"mean_auc"` // over Labels
	MeanCI  [2]float64 `json:"mean_auc_ci"`
}

// ZeroShot measures every label that has a score and both sorts of studies.
func ZeroShot(studies []Labelled) ZeroShotTable {
	t := ZeroShotTable{Studies: len(studies)}
	names := map[string]bool{}
	for _, s := range studies {
		for name := range s.Truth {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		scores, truth, patients := known(studies, name)
		positive, negative := split(truth)
		if len(positive) == 0 || len(negative) == 0 {
			continue
		}
		f, calibration := byPatient(patients, truth).auc(scores, truth), calibrationError(scores, truth)
		t.Labels = append(t.Labels, LabelRow{name, len(positive), len(negative), Area{f.Value, [2]float64{f.Low, f.High}}, &calibration})
	}
	if len(t.Labels) == 0 {
		return t
	}
	var all []int
	patients := make([]string, len(studies))
	for i, s := range studies {
		all, patients[i] = append(all, i), s.Patient
	}
	t.Mean = meanAUC(studies, t.Labels, all)
	t.MeanCI[0], t.MeanCI[1] = byPatient(patients, nil).bootstrap(func(chosen []int) float64 { return meanAUC(studies, t.Labels, chosen) })
	return t
}

// meanOf is the mean over those labels that another table has; NaN where they share none.
func (t ZeroShotTable) meanOf(other ZeroShotTable) float64 {
	sum, n := 0.0, 0.0
	for _, l := range t.Labels {
		if slices.ContainsFunc(other.Labels, func(o LabelRow) bool { return o.Label == l.Label }) {
			sum += l.AUC
			n++
		}
	}
	return sum / n
}

// meanAUC is the mean over the labels that the chosen studies show and do not show.
func meanAUC(studies []Labelled, labels []LabelRow, chosen []int) float64 {
	sum, n := 0.0, 0
	for _, l := range labels {
		var positive, negative []float64
		for _, i := range chosen {
			present, known := studies[i].Truth[l.Label]
			score, scored := studies[i].Scores[l.Label]
			switch {
			case !known || !scored:
			case present:
				positive = append(positive, score)
			default:
				negative = append(negative, score)
			}
		}
		if len(positive) > 0 && len(negative) > 0 {
			sum += auc(positive, negative)
			n++
		}
	}
	return sum / float64(n) // NaN, which the bootstrap leaves out, where no label is left
}

// Rank replaces the scores of each label by their ranks, from 0 to 1, equal ones sharing their mean,
// so that studies that different models scored can be ranked together.
func Rank(studies []Labelled) {
	names := map[string]bool{}
	for _, s := range studies {
		for name := range s.Scores {
			names[name] = true
		}
	}
	for name := range names {
		var sorted []float64
		for _, s := range studies {
			if v, scored := s.Scores[name]; scored {
				sorted = append(sorted, v)
			}
		}
		slices.Sort(sorted)
		for _, s := range studies {
			if v, scored := s.Scores[name]; scored {
				first, _ := slices.BinarySearch(sorted, v)
				last := first
				for last < len(sorted) && sorted[last] == v {
					last++
				}
				s.Scores[name] = float64(first+last) / 2 / float64(len(sorted))
			}
		}
	}
}
