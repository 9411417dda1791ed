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
	tenant   event.Tenant
	sequence uint64                     // in EMBEDDED
	study    *radstreamv1.StudyEmbedded // nil for a tombstone
	point    indexer.Point
	erased   event.StudyKey // of a tombstone
}

// indexHandler makes embedded studies findable, and erased ones not.
type indexHandler struct {
	store      indexer.Store
	collection string
	// erase puts tombstones into every collection there is, and has the index forget on disk what
	// they take the place of.
	erase func(ctx context.Context, tombstones []indexer.Point) error
	// wipe overwrites a message that came too late: its study was erased.
	wipe func(ctx context.Context, stream string, seq uint64) error
	// findable returns when points that are about to be announced can be found by who asks.
	findable func(ctx context.Context, points []indexer.Point) error
}

func (h *indexHandler) Decode(in stage.Input) (embedded, error) {
	m, err := in.Message()
	if err != nil {
		return embedded{}, err
	}
	e := embedded{sequence: in.Sequence}
	if e.tenant, err = in.Tenant(); err != nil {
		return embedded{}, err
	}
	switch m := m.(type) {
	case *radstreamv1.StudyEmbedded:
		e.study, e.point = m, pointOf(e.tenant, m)
	case *radstreamv1.StudyRemoved:
		e.erased, e.point = event.StudyKey(m.GetStudyKey()), indexer.NewTombstone(string(e.tenant), m.GetStudyKey())
	default:
		return embedded{}, fault.Reject("app.index", fault.Unsupported, event.ReasonType, "the stream %s holds embedded studies only", in.Stream)
	}
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
		Rev: s.GetRev(), ModelRef: s.GetModelRef(), PrepID: s.GetPrepId(), PreparationVersion: s.GetPreparationVersion(), LabelSet: s.GetLabelSet(),
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
	var tombstones []indexer.Point
	for i, e := range batch {
		points[i] = e.point
		if e.erased != "" {
			tombstones = append(tombstones, e.point)
		}
	}
	if len(tombstones) > 0 {
		if err := h.erase(ctx, tombstones); err != nil {
			for i := range batch {
				results[i].Err = err
			}
			return results
		}
	}
	stored, err := h.store.Upsert(ctx, h.collection, points)
	if err != nil && len(batch) > 1 && fault.KindOf(err) == fault.Invalid {
		for i := range batch { // one of them is to blame: find out which
			results[i] = h.Handle(ctx, batch[i:i+1])[0]
		}
		return results
	}
	if err == nil {
		var due []indexer.Point
		for i, e := range batch {
			if e.erased == "" && stored[i].Announce(e.point) {
				due = append(due, e.point)
			}
		}
		err = h.findable(ctx, due)
	}
	for i, e := range batch {
		if results[i].Err = err; err != nil {
			continue
		}
		if e.erased != "" {
			results[i].Out = []stage.Output{removedOutput("indexed", e.tenant, event.IndexedSubject(e.tenant, e.erased))}
			continue
		}
		if stored[i].Rev == indexer.MaxRev {
			results[i].Err = h.wipe(ctx, event.StreamEmbedded, e.sequence)
			continue
		}
		if !stored[i].Announce(e.point) {
			continue
		}
		results[i].Out = []stage.Output{{
			ID:      event.ID(append([]string{"indexed", string(e.tenant), e.study.GetPrepId(), e.study.GetModelRef()}, scoring(e.study)...)...),
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
