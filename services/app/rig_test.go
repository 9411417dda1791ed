package app

import (
	"context"
	"math"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
)

// rig is a bus and what its processes share: streams, buckets, one key for all tenants.
type rig struct {
	url      string
	bus      *bus.Bus
	key      deid.Key
	preparer *ingest.Preparer
	films    []*radstreamv1.StudyObject

	mu      sync.Mutex
	retries []string // the last ones, for a test that fails
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{url: bustest.Serve(t)}
	r.bus = bustest.Connect(t, r.url)
	var err error
	if r.key, err = deid.NewKey(make([]byte, deid.KeySize)); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	if r.preparer, err = ingest.New(ingest.Default(), tok); err != nil {
		t.Fatal(err)
	}
	bucket, stream, err := r.bus.ObjectStore(t.Context(), bus.BucketObjects)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		ref, err := blob.NewJetStream(bucket, stream, 1<<20).Put(t.Context(), film(t, i))
		if err != nil {
			t.Fatal(err)
		}
		r.films = append(r.films, &radstreamv1.StudyObject{Ref: ref, Projection: radstreamv1.Projection(1 + i%2)})
	}
	return r
}

func (r *rig) dial(ctx context.Context) (*bus.Bus, error) {
	c := bus.DefaultConfig()
	c.URL = r.url
	return bus.Connect(ctx, c, zerolog.Nop())
}

// Key: one key for all tenants.
func (r *rig) Key(event.Tenant) (deid.Key, error) { return r.key, nil }
func (r *rig) Forget(event.Tenant)                {}

// settled tells whether the server has nothing left to deliver or to wait for. What a process
// believes is not asked: it may have died before it learned that its ack arrived.
func (r *rig) settled(ctx context.Context) bool {
	for _, c := range [][2]string{{event.StreamStudies, stagePrepare}, {event.StreamPrepared, stageRelate}} { // in this order: the first fills the second
		if done, _, err := r.bus.Settled(ctx, c[0], c[1], "rad.v1.>", math.MaxUint64); err != nil || !done {
			return false
		}
	}
	return true
}

// archive returns the studies of a tenant by the last message of their subjects, and fails the
// test if a study is on two of them.
func (r *rig) archive(t *testing.T, who event.Tenant) map[string]*radstreamv1.StudyPrepared {
	t.Helper()
	found, err := r.bus.LastPerSubject(t.Context(), event.StreamPrepared, event.PreparedSubject(who, "*", "*"), bus.Last{})
	if err != nil {
		t.Fatal(err)
	}
	studies := map[string]*radstreamv1.StudyPrepared{}
	for _, m := range found {
		body, err := m.Message()
		if err != nil {
			t.Fatal(err)
		}
		s, ok := body.(*radstreamv1.StudyPrepared)
		if !ok {
			continue
		}
		if other := studies[s.StudyKey]; other != nil {
			t.Errorf("tenant %s has study %s on two subjects, revisions %d and %d", who, s.StudyKey, other.Rev, s.Rev)
		}
		if want := event.PreparedSubject(who, event.PatientKey(s.PatientKey), event.StudyKey(s.StudyKey)); m.Subject != want {
			t.Errorf("a study of subject %s lies on %s", want, m.Subject)
		}
		studies[s.StudyKey] = s
	}
	return studies
}

// refusals fails the test if anything was refused for another reason than its patient, who was
// to become known by a merge.
func (r *rig) refusals(t *testing.T) {
	t.Helper()
	state, err := r.bus.StreamState(t.Context(), event.StreamRejected)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= state.LastSeq; seq++ {
		m, err := r.bus.Get(t.Context(), event.StreamRejected, seq)
		if err != nil {
			t.Fatal(err)
		}
		body, err := m.Message()
		if err != nil {
			t.Fatal(err)
		}
		if d := body.(*radstreamv1.Rejected); d.GetReason() != string(assemble.ReasonPatient) {
			t.Errorf("%s %s %d was refused: %s, %s: %s", d.GetStage(), d.GetInput().GetStream(), d.GetInput().GetSequence(), d.GetKind(), d.GetReason(), d.GetDetail())
		}
	}
	t.Logf("%d dead letters", state.Messages)
}
