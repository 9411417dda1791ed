package app

import (
	"context"
	"slices"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/stage"
)

// embedded is a study under one model, as the point it will be.
type embedded struct {
	tenant event.Tenant
	study  *radstreamv1.StudyEmbedded
	point  indexer.Point
}

// indexHandler makes embedded studies findable.
type indexHandler struct {
	store      indexer.Store
	collection string
}

func (h *indexHandler) Decode(in stage.Input) (embedded, error) {
	m, err := in.Message()
	if err != nil {
		return embedded{}, err
	}
	study, ok := m.(*radstreamv1.StudyEmbedded)
	if !ok {
		return embedded{}, fault.Reject("app.index", fault.Unsupported, event.ReasonType, "the stream %s holds embedded studies only", in.Stream)
	}
	e := embedded{study: study}
	if e.tenant, err = in.Tenant(); err != nil {
		return embedded{}, err
	}
	e.point = pointOf(e.tenant, study)
	return e, e.point.Validate()
}

// vectorNames maps the vectors of events to those of points.
var vectorNames = map[radstreamv1.VectorName]indexer.VectorName{
	radstreamv1.VectorName_VECTOR_NAME_IMAGE:   indexer.Image,
	radstreamv1.VectorName_VECTOR_NAME_FRONTAL: indexer.Frontal,
	radstreamv1.VectorName_VECTOR_NAME_LATERAL: indexer.Lateral,
	radstreamv1.VectorName_VECTOR_NAME_TEXT:    indexer.Text,
}

func pointOf(t event.Tenant, s *radstreamv1.StudyEmbedded) indexer.Point {
	p := indexer.Point{
		ID: indexer.NewPointID(string(t), s.GetStudyKey()), Tenant: string(t), StudyKey: s.GetStudyKey(), PatientKey: s.GetPatientKey(),
		Rev: s.GetRev(), ModelRef: s.GetModelRef(), PrepID: s.GetPrepId(), PreparationVersion: s.GetPreparationVersion(),
		Vectors: map[indexer.VectorName][]float32{}, Labels: map[string]float32{},
	}
	for _, v := range s.GetVectors() {
		name := vectorNames[v.GetName()]
		p.Vectors[name] = v.GetValues()
		if name == indexer.Frontal || name == indexer.Lateral {
			p.Views = append(p.Views, string(name))
		}
	}
	slices.Sort(p.Views)
	if t := s.GetShiftedTime(); t != nil {
		p.StudyTime = t.AsTime()
	}
	for _, l := range s.GetLabelScores() {
		p.Labels[l.GetLabel()] = l.GetScore()
	}
	return p
}

func (h *indexHandler) Handle(ctx context.Context, batch []embedded) []stage.Result {
	results := make([]stage.Result, len(batch))
	points := make([]indexer.Point, len(batch))
	for i, e := range batch {
		points[i] = e.point
	}
	stored, err := h.store.Upsert(ctx, h.collection, points)
	if err != nil && len(batch) > 1 && fault.KindOf(err) == fault.Invalid {
		for i := range batch { // one of them is to blame: find out which
			results[i] = h.Handle(ctx, batch[i:i+1])[0]
		}
		return results
	}
	for i, e := range batch {
		if results[i].Err = err; err != nil || !stored[i].Announce(e.point) {
			continue
		}
		results[i].Out = []stage.Output{{
			ID:      event.ID("indexed", string(e.tenant), e.study.GetPrepId(), e.study.GetModelRef()),
			Subject: event.IndexedSubject(e.tenant, event.StudyKey(e.study.GetStudyKey())),
			Body: &radstreamv1.StudyIndexed{StudyKey: e.study.GetStudyKey(), Rev: e.study.GetRev(),
				ModelRef: e.study.GetModelRef(), LabelScores: e.study.GetLabelScores()},
			Rev: event.Rev(e.study.GetRev()),
		}}
	}
	return results
}

// indexSpec describes the collection of a model.
func indexSpec(modelKey, alias string, width int, labels []string) indexer.Spec {
	s := indexer.Spec{Collection: indexer.CollectionFor(modelKey), Alias: alias, Labels: labels, Vectors: map[indexer.VectorName]int{}}
	for _, name := range indexer.VectorNames() {
		s.Vectors[name] = width
	}
	return s
}
