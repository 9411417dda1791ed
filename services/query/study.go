package query

import (
	"cmp"
	"context"
	"slices"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// points returns studies as they are in the index, in the order asked. what names one of them
// in an error.
func (s *Service) points(ctx context.Context, t event.Tenant, what string, uids ...event.StudyUID) ([]indexer.Point, error) {
	const op = "query.points"
	missing := fault.Errorf(op, fault.NotFound, "%s is not in the index", what)
	key, err := s.keys.Lookup(t)
	if fault.KindOf(err) == fault.NotFound {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	ids := make([]indexer.PointID, len(uids))
	for i, uid := range uids {
		ids[i] = indexer.NewPointID(string(t), string(key.Study(uid)))
	}
	found, err := s.store.Get(ctx, s.collection, ids)
	if err != nil {
		return nil, err
	}
	if len(found) != len(uids) {
		return nil, missing
	}
	for _, p := range found {
		if p.Tombstone() {
			return nil, fault.Errorf(op, fault.Erased, "%s was erased", what)
		}
		if ours := s.encoder.Model().Ref.String(); p.ModelRef != ours {
			return nil, fault.Reject(op, fault.Conflict, ReasonOtherModel, "%s was embedded by %s, queries are by %s", what, p.ModelRef, ours)
		}
	}
	return found, nil
}

// one returns the study of a request by its id.
func (s *Service) one(ctx context.Context, t event.Tenant, uid event.StudyUID) (indexer.Point, error) {
	if uid == "" {
		return indexer.Point{}, fault.Reject("query.one", fault.Invalid, ReasonRequest, "name the study that is asked for")
	}
	r := Request{Tenant: t, Study: uid}
	if err := r.complete(); err != nil {
		return indexer.Point{}, err
	}
	found, err := s.points(ctx, r.Tenant, "the study", uid)
	if err != nil {
		return indexer.Point{}, err
	}
	return found[0], nil
}

// Study returns what the index knows of a study. Errors: Invalid, NotFound, Erased, Conflict
// for one that another model embedded, Unavailable.
func (s *Service) Study(ctx context.Context, t event.Tenant, uid event.StudyUID) (StudyResponse, error) {
	s, release, err := s.on("")
	if err != nil {
		return StudyResponse{}, fault.Wrap("query.Study", err)
	}
	defer release()
	p, err := s.one(ctx, t, uid)
	if err != nil {
		return StudyResponse{}, fault.Wrap("query.Study", err)
	}
	resp := StudyResponse{Study: uid, Key: event.StudyKey(p.StudyKey), Rev: event.Rev(p.Rev), Model: p.ModelRef, Untrained: s.encoder.Model().Untrained,
		Views: append([]string{}, p.Views...), Vectors: []string{}, Labels: p.Labels,
		Provenance: Provenance{PrepID: p.PrepID, PreparationVersion: p.PreparationVersion, Collection: s.collection, PointID: p.ID.String()}}
	for _, name := range indexer.VectorNames() {
		if p.Vectors[name] != nil {
			resp.Vectors = append(resp.Vectors, string(name))
		}
	}
	return resp, nil
}

// Labels returns the scores of a study as they are in the index, highest first, with the
// prompts and the calibration that made them. There are none for a study without films.
// Errors: as [Service.Study].
func (s *Service) Labels(ctx context.Context, t event.Tenant, uid event.StudyUID) (LabelsResponse, error) {
	s, release, err := s.on("")
	if err != nil {
		return LabelsResponse{}, fault.Wrap("query.Labels", err)
	}
	defer release()
	p, err := s.one(ctx, t, uid)
	if err != nil {
		return LabelsResponse{}, fault.Wrap("query.Labels", err)
	}
	resp := LabelsResponse{Study: uid, Key: event.StudyKey(p.StudyKey), Rev: event.Rev(p.Rev), Model: p.ModelRef,
		Untrained: s.encoder.Model().Untrained, LabelSet: s.labels.Name, Stale: p.LabelSet < s.labels.Number, Labels: []Label{}}
	for _, l := range s.labels.Labels {
		if score, ok := p.Labels[l.Name]; ok {
			resp.Labels = append(resp.Labels, Label{Label: l.Name, Score: score, Positive: l.Positive, Negative: l.Negative,
				Calibration: Calibration{A: l.Calibration.A, B: l.Calibration.B}})
		}
	}
	slices.SortStableFunc(resp.Labels, func(a, b Label) int { return cmp.Compare(b.Score, a.Score) })
	return resp, nil
}
