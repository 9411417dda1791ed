package eval

import (
	"maps"
	"slices"
)

// Labelled is one study with the scores of a model and what is known to be so.
type Labelled struct {
	Scores map[string]float64 // by label
	Truth  map[string]bool    // by label; a label that is not in it is not known
}

// LabelRow is one label of a [ZeroShotTable].
type LabelRow struct {
	Label    string `json:"label"`
	Positive int    `json:"positive"`
	Negative int    `json:"negative"`
	Area
}

// ZeroShotTable is the evaluation of one model's label scores.
type ZeroShotTable struct {
	Studies int        `json:"studies"`
	Labels  []LabelRow `json:"labels"`   // by name; those with positives and negatives
	Mean    float64    `json:"mean_auc"` // over Labels
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
		scores := make([]float64, len(studies))
		var positive, negative []int
		for i, s := range studies {
			present, known := s.Truth[name]
			score, scored := s.Scores[name]
			if !known || !scored {
				continue
			}
			scores[i] = score
			if present {
				positive = append(positive, i)
			} else {
				negative = append(negative, i)
			}
		}
		if len(positive) == 0 || len(negative) == 0 {
			continue
		}
		f := aucFigure(scores, positive, negative)
		t.Labels = append(t.Labels, LabelRow{name, len(positive), len(negative), Area{f.Value, [2]float64{f.Low, f.High}}})
	}
	for _, l := range t.Labels {
		t.Mean += l.AUC / float64(len(t.Labels))
	}
	return t
}
