package query

import (
	"context"
	"math"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// target is what the hits shall be near to.
type target struct {
	vector   []float32
	using    indexer.VectorName // which vectors of the studies are compared
	own      event.StudyKey     // the study that was asked for
	examples []indexer.PointID  // are no hits
}

// target makes a vector of whatever the request asks by.
func (s *Service) target(ctx context.Context, r Request) (t target, err error) {
	const op = "query.target"
	t.using = indexer.Image
	switch {
	case r.Text != "":
		err = s.timed(ctx, "text", func() (err error) { t.vector, err = s.encoder.EncodeText(ctx, r.Text); return err })
	case r.Image != nil:
		err = s.timed(ctx, "film", func() (err error) { t.vector, t.using, err = s.film(ctx, r); return err })
	case r.Vector != nil:
		t.vector = unit(r.Vector)
		if have, want := len(r.Vector), s.encoder.Model().Config.Joint; have != want {
			err = fault.Reject(op, fault.Invalid, ReasonRequest, "the vector has %d numbers, those of %s have %d", have, s.encoder.Model().Ref, want)
		}
	case r.Study != "":
		var points []indexer.Point
		if points, err = s.points(ctx, r.Tenant, "the study", r.Study); err == nil {
			t.own, t.vector = event.StudyKey(points[0].StudyKey), points[0].Vectors[indexer.Image]
			if t.vector == nil {
				err = fault.Reject(op, fault.Unsupported, ReasonNoVector, "the study has a report only: there is no image to compare")
			}
		}
	default:
		t.vector, t.examples, err = s.between(ctx, r)
	}
	return t, err
}

// between returns the direction from the mean of the negative examples to beyond the mean of
// the positive ones, 2 mean(positive) - mean(negative), as Qdrant's recommendation by average
// vector does.
func (s *Service) between(ctx context.Context, r Request) ([]float32, []indexer.PointID, error) {
	const op = "query.between"
	var ids []indexer.PointID
	sum := make([]float64, s.encoder.Model().Config.Joint)
	for _, side := range []struct {
		what   string
		uids   []event.StudyUID
		weight float64
	}{{"a study of positive", r.Positive, 2}, {"a study of negative", r.Negative, -1}} {
		if len(side.uids) == 0 {
			continue
		}
		if side.weight == 2 && len(r.Negative) == 0 {
			side.weight = 1
		}
		points, err := s.points(ctx, r.Tenant, side.what, side.uids...)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range points {
			v := p.Vectors[indexer.Image]
			if v == nil {
				return nil, nil, fault.Reject(op, fault.Unsupported, ReasonNoVector, "%s has a report only: there is no image to compare", side.what)
			}
			for i, x := range v {
				sum[i] += side.weight * float64(x) / float64(len(points))
			}
			ids = append(ids, p.ID)
		}
	}
	vector, length := make([]float32, len(sum)), 0.0
	for i, x := range sum {
		vector[i] = float32(x)
		length += x * x
	}
	if math.Sqrt(length) < 1e-6 {
		return nil, nil, fault.Reject(op, fault.Invalid, ReasonRequest, "the examples cancel one another out: they point in no direction")
	}
	return vector, ids, nil
}

// unit scales a vector to length 1, so that one of very large or small numbers is compared
// without a loss. complete refuses a vector without a direction.
func unit(v []float32) []float32 {
	var length float64
	for _, x := range v {
		length += float64(x) * float64(x)
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(length))
	}
	return out
}

// film prepares and encodes the image of a request, and says which vectors it compares to:
// those of its projection.
func (s *Service) film(ctx context.Context, r Request) (embedder.Vector, indexer.VectorName, error) {
	const op = "query.film"
	object := ingest.Object{Data: r.Image}
	switch r.Projection {
	case "frontal":
		object.Projection = radstreamv1.Projection_PROJECTION_FRONTAL
	case "lateral":
		object.Projection = radstreamv1.Projection_PROJECTION_LATERAL
	}
	select {
	case s.films <- struct{}{}:
		defer func() { <-s.films }()
	case <-ctx.Done():
		return nil, "", fault.Wrap(op, ctx.Err())
	}
	v, err := s.preparer.View(ctx, object)
	if err != nil {
		return nil, "", err
	}
	img, err := ViewImage(v)
	if err != nil {
		return nil, "", fault.Wrap(op, err)
	}
	using := indexer.Frontal
	if img.View == embedder.Lateral {
		using = indexer.Lateral
	}
	vector, err := s.encoder.EncodeFilm(ctx, img)
	return vector, using, err
}
