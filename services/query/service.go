package query

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/telemetry"
)

// Reasons for which a request is refused.
const (
	ReasonRequest    fault.Reason = "malformed_request"
	ReasonLabel      fault.Reason = "unknown_label"
	ReasonNoVector   fault.Reason = "study_without_images"
	ReasonOtherModel fault.Reason = "other_model"
)

// keys holds the tenants' secrets; services/keyring.
type keys interface {
	Lookup(t event.Tenant) (deid.Key, error)
}

// identities turns study keys back into StudyUIDs; KV identity.
type identities interface {
	Study(ctx context.Context, t event.Tenant, k event.StudyKey) (event.StudyUID, error)
}

// models lends the model that is named, if it is at work, or else the one that answers, and the
// collection of its vectors. What answers may change at any time; what was lent stays together and in
// use until release.
type models interface {
	Lend(named string) (l Lent, release func(), err error)
}

// Lent is a model that answers, with the collection of its vectors and what it scores.
type Lent struct {
	Encoder    *embedder.Encoder
	Collection string
	Labels     LabelSet
}

// LabelSet is what studies are scored for.
type LabelSet struct {
	Number uint64        // grows with each change
	Name   string        // empty: the labels of the model's manifest
	Labels []model.Label // by name, as the model scores them
}

// store is the index, as far as queries go.
type store interface {
	Get(ctx context.Context, collection string, ids []indexer.PointID) ([]indexer.Point, error)
	Search(ctx context.Context, q indexer.Query) ([]indexer.Hit, error)
}

// archive holds prepared studies: PREPARED.
type archive interface {
	// Prepared returns the newest revision of a study. Errors: NotFound, Erased, Unavailable.
	Prepared(ctx context.Context, t event.Tenant, k event.StudyKey) (*radstreamv1.StudyPrepared, error)
}

// Service answers queries. It is safe for concurrent use.
type Service struct {
	models     models
	preparer   *ingest.Preparer
	store      store
	keys       keys
	identities identities
	archive    archive
	metrics    *telemetry.Metrics
	traces     *telemetry.Traces
	films      chan struct{} // holds a place for each film that is being prepared: they are large

	// Of one request; see [Service.on].
	encoder    *embedder.Encoder
	collection string
	labels     LabelSet
}

// New makes a Service over the models that m lends.
func New(m models, p *ingest.Preparer, s indexer.Store, k keys, i identities, prepared archive, count *telemetry.Metrics, traces *telemetry.Traces) *Service {
	return &Service{models: m, preparer: p, store: s, keys: k, identities: i, archive: prepared, metrics: count, traces: traces,
		films: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// on returns the Service over the one model that answers a request, to the end of it: release. That is
// the one named, if it is at work.
func (s *Service) on(named string) (_ *Service, release func(), err error) {
	one := *s
	l, release, err := s.models.Lend(named)
	one.encoder, one.collection, one.labels = l.Encoder, l.Collection, l.Labels
	return &one, release, err
}

// Search returns the studies nearest to what is asked for. A study that is asked for comes
// first itself, with similarity 1; examples are not among the hits.
//
// Errors: Invalid for a request that asks for nothing, for too much or with a film that
// cannot be read; NotFound for a study that is not in the index; Conflict for vectors of
// another model, with both names; Unavailable.
func (s *Service) Search(ctx context.Context, r Request) (Response, error) {
	const op = "query.Search"
	if err := r.complete(); err != nil {
		return Response{}, err
	}
	s, release, err := s.on(r.Model)
	if err != nil {
		return Response{}, fault.Wrap(op, err)
	}
	defer release()
	filter, err := s.filter(r)
	if err != nil {
		return Response{}, err
	}
	target, err := s.target(ctx, r)
	if err != nil {
		return Response{}, fault.Wrap(op, err)
	}
	filter.Using, filter.Vector = target.using, target.vector
	found, exhausted, err := s.nearest(ctx, filter, r, target.examples)
	if err != nil {
		return Response{}, fault.Wrap(op, err)
	}
	ours := s.encoder.Model().Ref.String()
	for _, f := range found {
		if f.Point.ModelRef != ours {
			return Response{}, fault.Reject(op, fault.Conflict, ReasonOtherModel, "the index holds vectors of model %s, queries are by %s", f.Point.ModelRef, ours)
		}
	}
	resp := Response{Model: ours, Untrained: s.encoder.Model().Untrained, Vector: string(target.using),
		Truncated: !exhausted && len(found) < r.K, Hits: make([]Hit, len(found))}
	for i, f := range found {
		if resp.Hits[i], err = s.hit(ctx, r.Tenant, f); err != nil {
			return Response{}, fault.Wrap(op, err)
		}
	}
	ownFirst(resp.Hits, target.own)
	return resp, nil
}

// filter makes the conditions of a complete request those of the index.
func (s *Service) filter(r Request) (indexer.Query, error) {
	const op = "query.filter"
	q := indexer.Query{Collection: s.collection, Tenant: string(r.Tenant), Views: r.Views}
	for _, l := range r.Labels {
		known := slices.ContainsFunc(s.labels.Labels, func(m model.Label) bool { return m.Name == l.Label })
		if !known || !(l.Score >= 0 && l.Score <= 1) {
			return q, fault.Reject(op, fault.Invalid, ReasonLabel, "labels must name a label that is scored, such as GET /v1/labels lists, with a score from 0 to 1")
		}
		q.Labels = append(q.Labels, indexer.LabelAtLeast{Name: l.Label, Min: l.Score})
	}
	if ours := s.encoder.Model().Ref.String(); r.Model != "" && r.Model != ours {
		named, err := model.ParseRef(r.Model)
		if err != nil {
			return q, fault.Reject(op, fault.Invalid, ReasonRequest, "model must be name@version")
		}
		return q, fault.Reject(op, fault.Conflict, ReasonOtherModel, "the request is for %s, which is not at work here: queries and index are by %s", named, ours)
	}
	return q, nil
}

// A filter on dates looks through so many of the nearest studies at most, and first through
// so many for each hit that is wanted.
const (
	mostCandidates = 10_000
	candidates     = 8
)

// nearest returns the first r.K studies that pass the filter, without the examples. exhausted
// says that there can be no others.
//
// Dates in the index are moved by an offset that is secret, and another for each patient. The
// index is therefore asked for the range in which any patient's could lie, and each study it
// gives is moved back and looked at.
func (s *Service) nearest(ctx context.Context, q indexer.Query, r Request, examples []indexer.PointID) (found []indexer.Hit, exhausted bool, err error) {
	dated := !r.after.IsZero() || !r.before.IsZero()
	want := r.K + len(examples)
	q.K = want
	var key deid.Key
	if dated {
		switch key, err = s.keys.Lookup(r.Tenant); {
		case err != nil && fault.KindOf(err) == fault.NotFound:
			return nil, true, nil // a tenant that was never met has no studies
		case err != nil:
			return nil, false, err
		}
		if !r.after.IsZero() {
			q.From = r.after.Add(-deid.LongestShift)
		}
		if !r.before.IsZero() {
			q.To = r.before.Add(-deid.ShortestShift)
		}
		q.K = min(candidates*want, mostCandidates)
	}
	for {
		hits, err := s.store.Search(ctx, q)
		if err != nil {
			return nil, false, err
		}
		exhausted = len(hits) < q.K
		found = slices.DeleteFunc(hits, func(h indexer.Hit) bool {
			t := key.Unshift(event.PatientKey(h.Point.PatientKey), h.Point.StudyTime)
			return slices.Contains(examples, h.Point.ID) || dated && (t.Before(r.after) || !r.before.IsZero() && !t.Before(r.before))
		})
		if len(found) >= r.K || exhausted || q.K >= mostCandidates {
			return found[:min(len(found), r.K)], exhausted, nil
		}
		q.K = min(q.K*candidates, mostCandidates)
	}
}

func (s *Service) hit(ctx context.Context, t event.Tenant, f indexer.Hit) (Hit, error) {
	h := Hit{Key: event.StudyKey(f.Point.StudyKey), Similarity: f.Score, Rev: event.Rev(f.Point.Rev),
		Model: f.Point.ModelRef, Views: f.Point.Views, Labels: f.Point.Labels}
	if h.Views == nil {
		h.Views = []string{}
	}
	var err error
	h.Study, err = s.identities.Study(ctx, t, h.Key)
	if fault.KindOf(err) == fault.NotFound {
		err = nil // erased a moment ago, or never known here: the key alone is given
	}
	return h, err
}

// ownFirst moves the study that was asked for before others of the same similarity, such
// as copies of its films.
func ownFirst(hits []Hit, own event.StudyKey) {
	const rounding = 1e-5
	for i := 1; i < len(hits); i++ {
		if hits[i].Key == own && hits[0].Similarity-hits[i].Similarity < rounding {
			h := hits[i]
			copy(hits[1:i+1], hits[:i])
			hits[0] = h
			return
		}
	}
}

// timed runs an encoding of a query, counts it and tells its trace.
func (s *Service) timed(ctx context.Context, input string, encode func() error) error {
	begun := time.Now()
	err := encode()
	s.traces.Encoded(ctx, input, s.encoder.Model().Ref.String(), begun, err)
	if err == nil {
		s.metrics.Encoded(input, time.Since(begun))
	}
	return err
}
