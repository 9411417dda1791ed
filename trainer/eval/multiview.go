package eval

import (
	"maps"
	"slices"
)

// MultiViewRow is what the lateral view adds for one finding.
type MultiViewRow struct {
	Class string `json:"class"`
	Cases int    `json:"cases"` // that only the lateral view shows
	// Both and Frontal are how probably such a case scores above one without the finding.
	Both    Rate `json:"both_views"`
	Frontal Rate `json:"frontal_only"`
	Gain    Rate `json:"gain"` // paired: of the same cases
}

// MultiView measures what models gain from the lateral view, on the cases whose finding the
// frontal view hides. both and frontal are the same cases in the same order, encoded with all
// their views and with the frontal one alone. The last row is over all of them.
func MultiView(samples []Sample, both, frontal []Case) []MultiViewRow {
	above := func(cases []Case, i int) (float64, bool) {
		class := samples[i].Class
		own, scored := cases[i].Scores[class]
		sum, n := 0.0, 0.0
		for j, other := range cases {
			if samples[j].Class == class {
				continue
			}
			n++
			switch s := other.Scores[class]; {
			case s < own:
				sum++
			case s == own:
				sum += 0.5
			}
		}
		return sum / n, scored && n > 0
	}
	by := map[string][]int{}
	var with, without, gain []float64
	for i, s := range samples {
		a, ok := above(both, i)
		b, _ := above(frontal, i)
		if !s.LateralOnly || !ok {
			continue
		}
		by[s.Class] = append(by[s.Class], len(gain))
		with, without, gain = append(with, a), append(without, b), append(gain, a-b)
	}
	row := func(class string, groups [][]int) MultiViewRow {
		n := 0
		for _, g := range groups {
			n += len(g)
		}
		return MultiViewRow{class, n, newRate(meanFigure(with, groups)), newRate(meanFigure(without, groups)), newRate(meanFigure(gain, groups))}
	}
	var rows []MultiViewRow
	var all [][]int
	for _, class := range slices.Sorted(maps.Keys(by)) {
		rows = append(rows, row(class, [][]int{by[class]}))
		all = append(all, by[class])
	}
	if len(all) > 0 {
		rows = append(rows, row("all", all))
	}
	return rows
}
