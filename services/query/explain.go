package query

import (
	"context"
	"image"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Explain finds out what of a study, as the archive holds it now, makes it similar to a text.
//
// Errors: Invalid for a request that lacks one of both or has too much; NotFound, Erased;
// Unavailable.
func (s *Service) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	const op = "query.Explain"
	if err := r.complete(); err != nil {
		return Explanation{}, err
	}
	s, release, err := s.on("")
	if err != nil {
		return Explanation{}, fault.Wrap(op, err)
	}
	defer release()
	key, err := s.keys.Lookup(r.Tenant)
	if fault.KindOf(err) == fault.NotFound {
		return Explanation{}, fault.Errorf(op, fault.NotFound, "the study is not in the archive")
	}
	if err != nil {
		return Explanation{}, fault.Wrap(op, err)
	}
	study, err := s.archive.Prepared(ctx, r.Tenant, key.Study(r.Study))
	if err != nil {
		return Explanation{}, fault.Wrap(op, err)
	}
	text, err := s.encoder.EncodeText(ctx, r.Text)
	if err != nil {
		return Explanation{}, fault.Wrap(op, err)
	}
	m := s.encoder.Model()
	out := Explanation{Study: r.Study, Key: event.StudyKey(study.GetStudyKey()), Rev: event.Rev(study.GetRev()),
		Model: m.Ref.String(), Untrained: m.Untrained, Views: []HeatMap{}}
	if err := s.heat(ctx, study, text, &out); err != nil {
		return Explanation{}, fault.Wrap(op, err)
	}
	out.Sentence, err = s.sentence(ctx, study.GetReport().GetText(), text)
	return out, fault.Wrap(op, err)
}

// heat fills in the similarity and the views.
func (s *Service) heat(ctx context.Context, study *radstreamv1.StudyPrepared, text embedder.Vector, out *Explanation) error {
	var images []embedder.Image
	for _, v := range study.GetViews() {
		img, err := ViewImage(v)
		if err != nil {
			return err
		}
		images = append(images, img)
	}
	if len(images) == 0 {
		return nil
	}
	similarity, heats, err := s.encoder.Explain(ctx, images, text)
	if err != nil {
		return err
	}
	out.Similarity = &similarity
	for i, h := range heats {
		projection := "frontal"
		if images[i].View == embedder.Lateral {
			projection = "lateral"
		}
		out.Views = append(out.Views, HeatMap{Projection: projection, PNG: study.GetViews()[i].GetPng(), Rows: h.Rows, Columns: h.Columns, Heat: h.Values})
	}
	return nil
}

// sentence returns the sentence of a cleaned report that is most like a query, nil where there is none.
func (s *Service) sentence(ctx context.Context, cleaned string, query embedder.Vector) (*Sentence, error) {
	var best *Sentence
	for _, text := range report.Sentences(cleaned) {
		v, err := s.encoder.EncodeText(ctx, text)
		if err != nil {
			return nil, err
		}
		var similarity float32
		for i, x := range v {
			similarity += x * query[i]
		}
		if best == nil || similarity > best.Similarity {
			best = &Sentence{text, similarity}
		}
	}
	return best, nil
}

// ViewImage decodes a prepared view for the encoder.
func ViewImage(v *radstreamv1.PreparedView) (embedder.Image, error) {
	pixels, err := pixel.DecodePNG(v.GetPng())
	if err != nil {
		return embedder.Image{}, fault.Wrap("query.ViewImage", err)
	}
	b := v.GetExposed()
	img := embedder.Image{Pixels: pixels, Exposed: image.Rect(int(b.GetX0()), int(b.GetY0()), int(b.GetX1()), int(b.GetY1()))}
	if v.GetProjection() == radstreamv1.Projection_PROJECTION_LATERAL {
		img.View = embedder.Lateral
	}
	return img, nil
}
