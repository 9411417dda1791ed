package app

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/semaphore"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/stage"
)

// fading is a context that ends when it was waited on for so many times.
type fading struct {
	context.Context
	left atomic.Int64
	end  context.CancelFunc
}

func (f *fading) Done() <-chan struct{} {
	if f.left.Add(-1) == 0 {
		f.end()
	}
	return f.Context.Done()
}

// TestEraseCountsAll: what cannot be looked up is not counted as one thing or the other.
func TestEraseCountsAll(t *testing.T) {
	b := bustest.Connect(t, bustest.Serve(t))
	names, err := openIdentity(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	bucket, stream, err := b.ObjectStore(t.Context(), bus.BucketObjects)
	if err != nil {
		t.Fatal(err)
	}
	sum := strings.Repeat("ab", 32)
	f := &found{objects: map[string]*radstreamv1.ObjectRef{sum: {Uri: "objects:" + sum}}}
	x := &erasure{eraser: &eraser{store: blob.NewJetStream(bucket, stream, 1), identity: names}, tenant: tenant, dry: true,
		places: map[event.StudyKey]event.Subject{"k": "on"}, report: &radstreamv1.ErasureReported{}}
	ended, end := context.WithCancel(t.Context())
	for name, step := range map[string]func(context.Context, *found) error{"objects": x.objects, "names": x.names} {
		if err := step(t.Context(), f); err != nil { // of neither there is anything
			t.Error(name, err)
		}
	}
	end()
	for name, step := range map[string]func(context.Context, *found) error{"objects": x.objects, "names": x.names} {
		if err := step(ended, f); fault.KindOf(err) != fault.Canceled || err == nil {
			t.Errorf("%s: %v, and the receipt is %v", name, err, x.report)
		}
	}
}

// TestEraseBrokenOff breaks an erasure off wherever it waits for the bus, again and again, a little
// later each time, until it comes to its end: then all is gone as if it had never been broken off.
// Each time the request is another copy of itself, as it is when it was requeued.
func TestEraseBrokenOff(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	one, other := person{"QXSHELLEY", 4}, person{"QXDICKENS", 5}
	for _, p := range []person{one, other} {
		p.publish(t, s, 0)
	}
	gone := append(one.needles(t, s, 0), needle{"patient's number", []byte(one.id())}, needle{"name", []byte(one.word)})
	kept := other.needles(t, s, 0)
	s.stop(t)
	// A process that ingests nothing of itself, so that the request is handled here.
	s = start(t, dir, io.Discard, func(c *config.Config) { c.Target = []string{"embed", "index", "query"} })
	request := &radstreamv1.StudyErased{PatientId: one.id()}
	s.send(t, "request", request)
	state, err := s.bus.StreamState(t.Context(), event.StreamStudies)
	if err != nil {
		t.Fatal(err)
	}
	models, err := registry.Open(t.Context(), s.bus)
	if err != nil {
		t.Fatal(err)
	}
	pending, err := s.bus.KV(t.Context(), bus.BucketPending, 0)
	if err != nil {
		t.Fatal(err)
	}
	h := &prepareHandler{objects: s.objects, archive: s.bus, identities: s.identity, keys: s.ring,
		accessions: words{s.identity.kv, "_accession.", listLimit}, pending: words{pending, "", listLimit}, maxObject: 1 << 20, memory: semaphore.NewWeighted(arrivalBytes)}
	e := &eraser{h: h, bus: s.bus, store: s.objects, identity: s.identity, models: models, journal: words{pending, "_erasing.", mostErased}}
	m, err := s.bus.Get(t.Context(), event.StreamStudies, state.LastSeq)
	if err != nil || m.Type != event.StudyErased {
		t.Fatalf("the last message is %s, %v", m.Type, err)
	}
	in := arrived{in: stage.Input{Envelope: m.Envelope, Stream: event.StreamStudies, Sequence: state.LastSeq, Attempt: 1}, tenant: tenant, erase: request}
	broken := 0
	for waits := int64(3); ; waits++ {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		f := &fading{Context: ctx, end: cancel}
		f.left.Store(waits)
		err := e.erase(f, s.key(t, tenant), in)
		cancel()
		if err == nil {
			break
		}
		if broken++; broken > 500 {
			t.Fatalf("it comes to no end: %v", err)
		}
		was := in.in.Sequence
		if in.in.Sequence, err = s.bus.PublishAgain(t.Context(), m, event.MessageID("requeued "+strconv.Itoa(broken)), false); err == nil {
			err = s.bus.SecureDelete(t.Context(), event.StreamStudies, was)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("broken off %d times", broken)
	if broken < 10 {
		t.Errorf("it was broken off %d times only", broken)
	}
	awaitRemoved(t, s.bus, s.key(t, tenant).Study(event.StudyUID(one.uid(0))))
	if now, want := s.messages(t, event.StreamStudies), (state.Messages-1)/2; now != want { // nor the request itself
		t.Errorf("%d messages are left in STUDIES, want the other's %d", now, want)
	}
	if left, err := e.journal.Get(t.Context(), tenant, string(m.ID.Public())); err != nil || len(left) > 0 {
		t.Errorf("the journal still names %v, %v", left, err)
	}
	s.stop(t)
	for _, n := range kept {
		if len(holding(t, dir, n)) == 0 {
			t.Errorf("the %s of a study that stays is not found", n.name)
		}
	}
	for _, n := range gone {
		if where := holding(t, dir, n); len(where) > 0 {
			t.Errorf("the %s of an erased study (%.60q) is found in %v", n.name, n.bytes, where)
		}
	}
}
