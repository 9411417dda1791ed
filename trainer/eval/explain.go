package eval

import (
	"context"
	"image"
	"maps"
	"slices"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
)

// ExplainRow is how often heat maps point at the lesion.
type ExplainRow struct {
	Class string `json:"class"`
	Views int    `json:"views"` // that show it
	// Hit is the share of views whose hottest patch touches the lesion's box; Chance is the share of
	// the film's patches that do.
	Hit    Rate `json:"hit"`
	Chance Rate `json:"chance"`
	Gain   Rate `json:"gain"` // paired
}

// Explain asks of every sample that shows its class why it fits a text of that class, and looks
// whether the hottest patch lies in the lesion. A box that most of the film's patches touch says
// nothing and is left out. The last row is over all.
func Explain(ctx context.Context, e *embedder.Encoder, samples []Sample, queries []Query, progress func(done, total int)) ([]ExplainRow, error) {
	const op = "eval.Explain"
	texts := map[string]embedder.Vector{} // the first of each class
	for _, q := range queries {
		if texts[q.Class] == nil {
			texts[q.Class] = q.Image
		}
	}
	by := map[string][]int{}
	var hits, chances, gains []float64
	for i, s := range samples {
		if texts[s.Class] == nil {
			return nil, fault.Errorf(op, fault.Usage, "there is no text for %s", s.Class)
		}
		_, heats, err := e.Explain(ctx, s.Study.Images, texts[s.Class])
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		for n, view := range s.Study.Images {
			hit, chance := points(heats[n], e.Model().Config.Image.Size, view, s.Lesions[n])
			if chance == 0 || chance > 0.5 {
				continue
			}
			by[s.Class] = append(by[s.Class], len(hits))
			hits, chances, gains = append(hits, hit), append(chances, chance), append(gains, hit-chance)
		}
		if progress != nil {
			progress(i+1, len(samples))
		}
	}
	row := func(class string, groups ...[]int) ExplainRow {
		return ExplainRow{class, len(slices.Concat(groups...)), newRate(meanFigure(hits, groups)), newRate(meanFigure(chances, groups)), newRate(meanFigure(gains, groups))}
	}
	var rows []ExplainRow
	var all [][]int
	for _, class := range slices.Sorted(maps.Keys(by)) {
		rows, all = append(rows, row(class, by[class])), append(all, by[class])
	}
	if len(all) > 0 {
		rows = append(rows, row("all", all...))
	}
	return rows, nil
}

// points tells whether (1 or 0) the hottest patch of a view of size x size pixels touches the
// lesion, and which share of the patches of the film does.
func points(h embedder.Heat, size int, view embedder.Image, lesion image.Rectangle) (hit, chance float64) {
	side := image.Pt(size/h.Columns, size/h.Rows)
	touched, film, best := 0, 0, -1
	for p, heat := range h.Values {
		at := image.Pt(p%h.Columns*side.X, p/h.Columns*side.Y)
		patch := image.Rectangle{Min: at, Max: at.Add(side)}
		if !patch.Overlaps(view.Exposed) {
			continue
		}
		film++
		in := patch.Overlaps(lesion)
		if in {
			touched++
		}
		if best < 0 || heat > h.Values[best] {
			best, hit = p, 0
			if in {
				hit = 1
			}
		}
	}
	if film == 0 {
		return 0, 0
	}
	return hit, float64(touched) / float64(film)
}
