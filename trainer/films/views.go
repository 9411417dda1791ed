package films

import (
	"math"
	"slices"

	"github.com/radstream/radstream/ingest/pixel"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/trainer/eval"
)

const frontal = radstreamv1.Projection_PROJECTION_FRONTAL

// leftOut are the collections that have laterals. Each is left out in turn.
func leftOut() []string { return []string{"rocov2cxr", "covidcxr", "rococxr", "indiana"} }

// Count is how many were right of how many.
type Count struct {
	Right int `json:"right"`
	Of    int `json:"of"`
}

func (c *Count) add(right bool) {
	c.Of++
	if right {
		c.Right++
	}
}

// Views is what [Collection.EvaluateViews] found. The collection named in a row was not seen
// by the classifier that looked at its films.
type Views struct {
	Sets     []ViewsOfSet `json:"sets"`
	Lateral  Count        `json:"lateral"`
	Frontal  Count        `json:"frontal"`
	Balanced float64      `json:"balanced_accuracy"` // mean of the shares of laterals and of frontals
	CI       [2]float64   `json:"balanced_accuracy_ci"`
	// Inverted is the balanced accuracy on the same films with white and black exchanged.
	Inverted float64 `json:"inverted_balanced_accuracy"`
	// Overruled counts what overruling does if every header said frontal: laterals that become
	// right, and frontals that become wrong.
	Overruled struct {
		Lateral Count `json:"lateral"`
		Frontal Count `json:"frontal"`
	} `json:"overruled"`
	Misses []Miss `json:"misses"`
}

// ViewsOfSet is one row.
type ViewsOfSet struct {
	Set     string `json:"set"`
	Lateral Count  `json:"lateral"`
	Frontal Count  `json:"frontal"`
}

// Miss is a film whose view was not recognised.
type Miss struct {
	Set     string  `json:"set"`
	Film    string  `json:"film"`
	Listed  string  `json:"listed"`  // what the collection says
	Lateral float64 `json:"lateral"` // probability by the pixels
}

// EvaluateViews tells frontal from lateral films, one collection left out at a time, and pools
// what was found.
func (c *Collection) EvaluateViews(progress func(done, total int)) Views {
	var v Views
	var margins []float64
	var answers []bool
	var chosen []*sample
	nets := c.fitEach(len(leftOut()), func(k int, s *sample) bool { return s.set != leftOut()[k] }, progress)
	for i := range c.samples {
		s := &c.samples[i]
		k := slices.Index(leftOut(), s.set)
		if _, asked := ask(pixel.Lateral, s); k < 0 || !asked {
			continue
		}
		odds := nets[k].odds(s.features)[0]
		margins, answers, chosen = append(margins, float64(odds)), append(answers, s.lateral), append(chosen, s)
	}
	slope := slopeOf(margins, answers)
	rows := map[string]*ViewsOfSet{}
	for _, set := range leftOut() {
		rows[set] = &ViewsOfSet{Set: set}
	}
	var inverted [2]Count
	var right [2][]float64 // of frontals and of laterals
	for i, s := range chosen {
		says := margins[i] > 0
		if s.fault != nil {
			inverted[answer(s.lateral)].add(says == s.lateral)
			continue
		}
		p := 1 / (1 + math.Exp(-slope*margins[i]))
		lateral := pixel.View{Projection: frontal, Source: pixel.FromTag}.Weigh(p).Projection != frontal
		row, total, tagged, listed := &rows[s.set].Frontal, &v.Frontal, &v.Overruled.Frontal, "frontal"
		if s.lateral {
			row, total, tagged, listed = &rows[s.set].Lateral, &v.Lateral, &v.Overruled.Lateral, "lateral"
		}
		row.add(says == s.lateral)
		total.add(says == s.lateral)
		tagged.add(lateral == s.lateral)
		right[answer(s.lateral)] = append(right[answer(s.lateral)], float64(answer(says == s.lateral)))
		if says != s.lateral {
			v.Misses = append(v.Misses, Miss{s.set, s.name, listed, p})
		}
	}
	for _, set := range leftOut() {
		v.Sets = append(v.Sets, *rows[set])
	}
	f := eval.BalancedMean(right[0], right[1])
	v.Balanced, v.CI = f.Value, [2]float64{f.Low, f.High}
	v.Inverted = (share(inverted[0]) + share(inverted[1])) / 2
	return v
}

func share(c Count) float64 { return float64(c.Right) / float64(c.Of) }
