package query

import (
	"cmp"
	"context"
	"image"
	"runtime"
	"slices"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
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

// models lends the model that answers, and the collection of its vectors. What answers may change
// at any time; what was lent stays together and in use until release.
type models interface {
	Lend() (e *embedder.Encoder, collection string, release func(), err error)
}

// Service answers queries. It is safe for concurrent use.
type Service struct {
	models     models
	preparer   *ingest.Preparer
	store      indexer.Store
	keys       keys
	identities identities
	films      chan struct{} // holds a place for each film that is being prepared: they are large

	// Of one request; see [Service.on].
	encoder    *embedder.Encoder
	collection string
}

// New makes a Service over the models that m lends.
func New(m models, p *ingest.Preparer, s indexer.Store, k keys, i identities) *Service {
	return &Service{models: m, preparer: p, store: s, keys: k, identities: i,
		films: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// on returns the Service over the one model that answers a request, to the end of it: release.
func (s *Service) on() (_ *Service, release func(), err error) {
	one := *s
	one.encoder, one.collection, release, err = s.models.Lend()
	return &one, release, err
}

// Search returns the studies nearest to a text, a film or a study; the study itself comes
// first, with similarity 1.
//
// Errors: Invalid for a request that asks for nothing, for too much or with a film that
// cannot be read; NotFound for a study that is not in the index; Unavailable.
func (s *Service) Search(ctx context.Context, r Request) (Response, error) {
	const op = "query.Search"
	if err := r.complete(); err != nil {
		return Response{}, err
	}
	s, release, err := s.on()
	if err != nil {
		return Response{}, fault.Wrap(op, err)
	}
	defer release()
	q := indexer.Query{Collection: s.collection, Tenant: string(r.Tenant), Using: indexer.Image, K: r.K}
	for _, l := range r.Labels {
		known := slices.ContainsFunc(s.encoder.Model().Labels, func(m model.Label) bool { return m.Name == l.Label })
		if !known || !(l.Score >= 0 && l.Score <= 1) {
			return Response{}, fault.Reject(op, fault.Invalid, ReasonLabel, "labels must name a label of the model, such as GET /v1/labels lists, with a score from 0 to 1")
		}
		q.Labels = append(q.Labels, indexer.LabelAtLeast{Name: l.Label, Min: l.Score})
	}
	var own event.StudyKey
	switch {
	case r.Text != "":
		q.Vector, err = s.encoder.EncodeText(ctx, r.Text)
	case r.Image != nil:
		q.Vector, q.Using, err = s.film(ctx, r)
	default:
		var p indexer.Point
		if p, err = s.point(ctx, r.Tenant, r.Study); err == nil {
			own, q.Vector = event.StudyKey(p.StudyKey), p.Vectors[indexer.Image]
			if q.Vector == nil {
				err = fault.Reject(op, fault.Unsupported, ReasonNoVector, "the study has a report only: there is no image to compare")
			}
		}
	}
	if err != nil {
		return Response{}, fault.Wrap(op, err)
	}
	found, err := s.store.Search(ctx, q)
	if err != nil {
		return Response{}, fault.Wrap(op, err)
	}
	ours := s.encoder.Model().Ref.String()
	for _, f := range found {
		if f.Point.ModelRef != ours {
			return Response{}, fault.Reject(op, fault.Conflict, ReasonOtherModel, "the index holds vectors of model %s, queries are by %s", f.Point.ModelRef, ours)
		}
	}
	resp := Response{Model: s.encoder.Model().Ref.String(), Untrained: s.encoder.Model().Untrained, Vector: string(q.Using), Hits: make([]Hit, len(found))}
	for i, f := range found {
		if resp.Hits[i], err = s.hit(ctx, r.Tenant, f); err != nil {
			return Response{}, fault.Wrap(op, err)
		}
	}
	ownFirst(resp.Hits, own)
	return resp, nil
}

// complete fills in defaults and checks the limits.
func (r *Request) complete() error {
	const op = "query.Request"
	if r.Tenant == "" {
		r.Tenant = event.DefaultTenant
	}
	if _, err := event.ParseTenant(string(r.Tenant)); err != nil {
		return err
	}
	if r.K == 0 {
		r.K = 10
	}
	asked := 0
	for _, given := range []bool{r.Text != "", r.Image != nil, r.Study != ""} {
		if given {
			asked++
		}
	}
	switch {
	case asked != 1:
		return fault.Reject(op, fault.Invalid, ReasonRequest, "ask by exactly one of text, image and study")
	case r.K < 1 || r.K > MaxK:
		return fault.Reject(op, fault.Invalid, ReasonRequest, "k must be 1 to %d", MaxK)
	case len(r.Text) > MaxText:
		return fault.Reject(op, fault.Invalid, ReasonRequest, "a text has at most %d bytes", MaxText)
	case len(r.Image) > MaxImage:
		return fault.Reject(op, fault.Invalid, ReasonRequest, "an image has at most %d bytes", MaxImage)
	case r.Projection != "" && r.Projection != "frontal" && r.Projection != "lateral":
		return fault.Reject(op, fault.Invalid, ReasonRequest, "projection must be frontal or lateral")
	}
	return nil
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
	pixels, err := pixel.DecodePNG(v.GetPng())
	if err != nil {
		return nil, "", fault.Wrap(op, err)
	}
	b := v.GetExposed()
	img := embedder.Image{Pixels: pixels, Exposed: image.Rect(int(b.GetX0()), int(b.GetY0()), int(b.GetX1()), int(b.GetY1()))}
	using := indexer.Frontal
	if v.GetProjection() == radstreamv1.Projection_PROJECTION_LATERAL {
		img.View, using = embedder.Lateral, indexer.Lateral
	}
	vector, err := s.encoder.EncodeFilm(ctx, img)
	return vector, using, err
}

// point returns a study as it is in the index.
func (s *Service) point(ctx context.Context, t event.Tenant, uid event.StudyUID) (indexer.Point, error) {
	const op = "query.point"
	key, err := s.keys.Lookup(t)
	if fault.KindOf(err) == fault.NotFound {
		return indexer.Point{}, fault.Errorf(op, fault.NotFound, "the study is not in the index")
	}
	if err != nil {
		return indexer.Point{}, err
	}
	found, err := s.store.Get(ctx, s.collection, []indexer.PointID{indexer.NewPointID(string(t), string(key.Study(uid)))})
	if err != nil {
		return indexer.Point{}, err
	}
	if len(found) == 0 {
		return indexer.Point{}, fault.Errorf(op, fault.NotFound, "the study is not in the index")
	}
	if found[0].Tombstone() {
		return indexer.Point{}, fault.Errorf(op, fault.Erased, "the study was erased")
	}
	if ours := s.encoder.Model().Ref.String(); found[0].ModelRef != ours {
		return indexer.Point{}, fault.Reject(op, fault.Conflict, ReasonOtherModel, "the study was embedded by %s, queries are by %s", found[0].ModelRef, ours)
	}
	return found[0], nil
}

func (s *Service) hit(ctx context.Context, t event.Tenant, f indexer.Hit) (Hit, error) {
	h := Hit{Key: event.StudyKey(f.Point.StudyKey), Similarity: f.Score, Rev: event.Rev(f.Point.Rev),
		Model: f.Point.ModelRef, Views: f.Point.Views, Labels: f.Point.Labels}
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

// Labels returns the scores of a study as they are in the index, highest first, with the
// prompts and the calibration that made them. There are none for a study without films.
// Errors: Invalid, NotFound, Erased, Unavailable.
func (s *Service) Labels(ctx context.Context, t event.Tenant, uid event.StudyUID) (LabelsResponse, error) {
	const op = "query.Labels"
	if uid == "" {
		return LabelsResponse{}, fault.Reject(op, fault.Invalid, ReasonRequest, "name the study whose scores are asked for")
	}
	r := Request{Tenant: t, Study: uid}
	if err := r.complete(); err != nil {
		return LabelsResponse{}, err
	}
	s, release, err := s.on()
	if err != nil {
		return LabelsResponse{}, fault.Wrap(op, err)
	}
	defer release()
	p, err := s.point(ctx, r.Tenant, uid)
	if err != nil {
		return LabelsResponse{}, fault.Wrap(op, err)
	}
	resp := LabelsResponse{Study: uid, Key: event.StudyKey(p.StudyKey), Rev: event.Rev(p.Rev), Model: p.ModelRef,
		Untrained: s.encoder.Model().Untrained, Labels: []Label{}}
	for _, l := range s.encoder.Model().Labels {
		if score, ok := p.Labels[l.Name]; ok {
			resp.Labels = append(resp.Labels, Label{Label: l.Name, Score: score, Positive: l.Positive, Negative: l.Negative,
				Calibration: Calibration{A: l.Calibration.A, B: l.Calibration.B}})
		}
	}
	sortByScore(resp.Labels)
	return resp, nil
}

func sortByScore(labels []Label) {
	slices.SortStableFunc(labels, func(a, b Label) int { return cmp.Compare(b.Score, a.Score) })
}
