package films

import (
	"cmp"
	"math"
	"slices"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// Quality is what [Collection.EvaluateQuality] found.
type Quality struct {
	Films   []FilmsOfSet `json:"films"`
	Refused Count        `json:"refused"` // Right of these real films, phantoms aside, were refused
	Faults  []Caught     `json:"faults"`
	Caught  Count        `json:"caught"` // of all faults
	Others  []Caught     `json:"others"` // pictures that are no chest film
	Odd     []Odd        `json:"refused_films"`
}

// FilmsOfSet are the films of one collection as they are.
type FilmsOfSet struct {
	Set     string               `json:"set"`
	Films   int                  `json:"films"`
	Refused map[fault.Reason]int `json:"refused"`
}

// Caught is how many pictures of one kind were refused, for whatever reason and for the right
// one.
type Caught struct {
	Reason  fault.Reason `json:"reason"`
	Grade   string       `json:"grade"`
	Refused Count        `json:"refused"`
	Named   Count        `json:"for_that_reason"`
}

// Odd is a real film that the gate refuses.
type Odd struct {
	Set    string       `json:"set"`
	Film   string       `json:"film"`
	Reason fault.Reason `json:"reason"`
	Detail string       `json:"detail"`
}

// EvaluateQuality puts films as they are, faults and other pictures before the gate. With a
// classifier, that one looks at them; without, each is looked at by one that saw neither its
// patient's films nor its kind of picture.
func (c *Collection) EvaluateQuality(shipped *pixel.Classifier, limits pixel.Limits, progress func(done, total int)) Quality {
	look := func(s *sample) pixel.Look { return shipped.Judge(s.features) }
	if shipped == nil {
		look = c.crossLook(progress)
	}
	var q Quality
	sets := map[string]*FilmsOfSet{}
	kinds := map[[2]string]*Caught{}
	var order []*Caught
	for i := range c.samples {
		s := &c.samples[i]
		err := limits.Check(s.measures, look(s))
		reason := fault.ReasonOf(err)
		if s.extra {
			continue
		}
		if s.whole() {
			row := sets[s.set]
			if row == nil {
				row = &FilmsOfSet{Set: s.set, Refused: map[fault.Reason]int{}}
				sets[s.set] = row
			}
			row.Films++
			if s.set != "phantom" {
				q.Refused.add(err != nil)
			}
			if err != nil {
				row.Refused[reason]++
				q.Odd = append(q.Odd, Odd{s.set, s.name, reason, fault.Detail(err)})
			}
			continue
		}
		want, grade := pixel.ReasonNotChest, s.other
		if s.fault != nil {
			if s.set == "phantom" {
				continue // smooth as they are, they stand in for films as they are only
			}
			want, grade = s.fault.Reason, s.fault.Grade
			q.Caught.add(err != nil)
		}
		k := kinds[[2]string{string(want), grade}]
		if k == nil {
			k = &Caught{Reason: want, Grade: grade}
			kinds[[2]string{string(want), grade}] = k
			order = append(order, k)
		}
		k.Refused.add(err != nil)
		k.Named.add(reason == want)
	}
	slices.SortStableFunc(order, func(a, b *Caught) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Grade, b.Grade))
	})
	for _, k := range order {
		if k.Reason == pixel.ReasonNotChest {
			q.Others = append(q.Others, *k)
		} else {
			q.Faults = append(q.Faults, *k)
		}
	}
	for _, row := range sets {
		q.Films = append(q.Films, *row)
	}
	slices.SortFunc(q.Films, func(a, b FilmsOfSet) int { return cmp.Compare(a.Set, b.Set) })
	return q
}

// crossLook looks at each sample with a network that did not see its fold.
func (c *Collection) crossLook(progress func(done, total int)) func(*sample) pixel.Look {
	nets, slopes := c.crossFit(progress)
	return func(s *sample) pixel.Look {
		look := pixel.Look{}
		odds := nets[s.fold].odds(s.features)
		for k, q := range pixel.Questions() {
			look[q] = 1 / (1 + math.Exp(-slopes[k]*float64(odds[k])))
		}
		return look
	}
}
