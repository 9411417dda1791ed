package app

import (
	stdcmp "cmp" // go-cmp has the name
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/natsd"
	"github.com/radstream/radstream/services/stage"
)

// TestAnyOrder: whatever the order in which the events of a hospital arrive, how often each
// comes, and wherever two ingest processes die meanwhile, the archive ends the same: every
// study, on the same subject, with the same views, report and prior, and tombstones elsewhere.
//
// Each scenario is played by two tenants with one key, so that the pseudonyms are equal: by the
// first in the order in which it was drawn, by the second shuffled and with repeats. All are
// played at once, and the processes die at operations that are drawn as well.
func TestAnyOrder(t *testing.T) {
	const scenarios, deaths = 14, 5
	seed := uint64(20261126)
	random := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t)
	var events []event.Envelope
	for i := range scenarios {
		drawn := r.scenario(t, random)
		events = append(events, r.envelopes(t, event.Tenant(fmt.Sprintf("drawn-%d", i)), drawn)...)
		shuffled := slices.Clone(drawn)
		for range random.IntN(4) {
			shuffled = append(shuffled, drawn[random.IntN(len(drawn))])
		}
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		events = append(events, r.envelopes(t, event.Tenant(fmt.Sprintf("shuffled-%d", i)), shuffled)...)
	}
	for _, e := range events {
		if err := r.bus.Publish(t.Context(), e, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	var processes sync.WaitGroup
	var died sync.Map
	for p := range 2 {
		plan := make([]int, deaths) // operations of each life
		for i := range plan {
			plan[i] = 20 + random.IntN(220)
		}
		processes.Go(func() {
			for life := 0; ctx.Err() == nil && !r.settled(ctx); life++ {
				f := &mortal{after: -1}
				if life < len(plan) {
					f.after = plan[life]
				}
				if err := r.live(ctx, f); err != nil {
					t.Errorf("process %d, life %d: %v", p, life, err)
					return
				}
				if f.dead() {
					died.Store([2]int{p, life}, true)
				}
			}
		})
	}
	processes.Wait()
	if ctx.Err() != nil {
		t.Fatalf("the events were not settled in time; the last retries: %v", r.retries)
	}
	n := 0
	died.Range(func(any, any) bool { n++; return true })
	if n < deaths {
		t.Errorf("only %d lives ended early", n)
	}
	r.refusals(t)
	studies, waited, moved, priors := 0, 0, 0, 0
	for i := range scenarios {
		want, got := r.archive(t, event.Tenant(fmt.Sprintf("drawn-%d", i))), r.archive(t, event.Tenant(fmt.Sprintf("shuffled-%d", i)))
		ignore := cmp.Options{protocmp.Transform(), protocmp.IgnoreFields(&radstreamv1.StudyPrepared{}, "rev", "prep_id", "provenance")}
		if d := cmp.Diff(want, got, ignore); d != "" {
			t.Errorf("scenario %d of seed %d ends otherwise when it is shuffled (-drawn +shuffled):\n%s", i, seed, d)
		}
		for _, s := range want {
			studies++
			moved += len(strings.Fields(s.Provenance.GetMovedFrom()))
			if s.Prior != nil {
				priors++
			}
			if s.Report != nil {
				waited++
			}
		}
	}
	t.Logf("%d events, %d studies, %d with a report, %d with a prior, %d moved by their last revision; %d deaths", len(events), studies, waited, priors, moved, n)
	if priors == 0 || waited == 0 {
		t.Errorf("%d priors and %d reports: nothing was tried", priors, waited)
	}
}

// scenario draws what a hospital with three identifiers and four studies sends.
func (r *rig) scenario(t *testing.T, random *rand.Rand) []proto.Message {
	t.Helper()
	patients := []string{"P", "Q", "R"}
	var all []proto.Message
	same := map[string][]string{"P": {"P"}, "Q": {"Q"}, "R": {"R"}} // identifiers of one person
	if random.IntN(2) == 0 {
		all = append(all, &radstreamv1.PatientMerged{PatientId: "Q", MergedPatientId: "P"})
		same["P"], same["Q"] = []string{"P", "Q"}, []string{"P", "Q"}
		if random.IntN(2) == 0 {
			all = append(all, &radstreamv1.PatientMerged{PatientId: "R", MergedPatientId: "Q"})
			same["P"], same["Q"], same["R"] = patients, patients, patients
		}
	}
	statuses := []radstreamv1.ReportStatus{1, 2, 2, 3, 4, 5}
	for s := range 4 {
		uid, accession, owner := fmt.Sprintf("2.25.%d", s+1), fmt.Sprintf("A-%d", s), patients[random.IntN(3)]
		who := func() string {
			if random.IntN(4) == 0 {
				return ""
			}
			return same[owner][random.IntN(len(same[owner]))]
		}
		day := timestamppb.New(time.Date(2026, 1, 1+random.IntN(20), 0, 0, 0, 0, time.UTC))
		for range 1 + random.IntN(3) {
			m := study(uid, proto.CloneOf(r.films[random.IntN(len(r.films))]))
			m.PatientId, m.AccessionNumber, m.StudyTime = who(), accession, day
			all = append(all, m)
		}
		for range random.IntN(4) {
			m := report("", "FINDINGS: "+[]string{"Clear lungs.", "Small nodule.", "Enlarged heart."}[random.IntN(3)])
			m.PatientId, m.AccessionNumber, m.ReportId = who(), accession, []string{"", "one", "two"}[random.IntN(3)]
			m.Status = statuses[random.IntN(len(statuses))]
			if random.IntN(3) > 0 {
				m.ReportTime = timestamppb.New(time.Date(2026, 2, 1, random.IntN(4), 0, 0, 0, time.UTC))
			}
			m.MessageTime = timestamppb.New(time.Date(2026, 2, 2, random.IntN(4), 0, 0, 0, time.UTC))
			all = append(all, m)
		}
	}
	return all
}

// envelopes announces events. An event that comes twice has the same time, and another id.
func (r *rig) envelopes(t *testing.T, who event.Tenant, all []proto.Message) []event.Envelope {
	t.Helper()
	var out []event.Envelope
	for i, m := range all {
		subject := event.StudyArrivedSubject(who)
		switch m.(type) {
		case *radstreamv1.ReportArrived:
			subject = event.ReportArrivedSubject(who)
		case *radstreamv1.PatientMerged:
			subject = event.PatientMergedSubject(who)
		}
		e, err := event.New(event.ID(string(who), fmt.Sprint(i)), "test", subject, time.Unix(1_770_000_000, 0), m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// rig is a bus and what its processes share: streams, buckets, one key for all tenants.
type rig struct {
	url      string
	bus      *bus.Bus
	key      deid.Key
	preparer *ingest.Preparer
	films    []*radstreamv1.StudyObject

	mu   sync.Mutex
	news chan struct{} // closed and made anew when an input is settled

	retries []string // the last ones, for a test that fails
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c := natsd.DefaultConfig(t.TempDir())
	c.Port = 0
	srv, err := natsd.Start(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	r := &rig{url: srv.ClientURL(), news: make(chan struct{})}
	if r.bus, err = r.dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.bus.Close)
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
	if err := r.bus.EnsureStreams(t.Context()); err != nil {
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

// Key and Lookup: one key for all tenants.
func (r *rig) Key(event.Tenant) (deid.Key, error) { return r.key, nil }

// wake tells who waits that something was settled.
func (r *rig) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.news)
	r.news = make(chan struct{})
}

// settled tells whether the server has nothing left to deliver or to wait for. What a process
// believes is not asked: it may have died before it learned that its ack arrived.
func (r *rig) settled(ctx context.Context) bool {
	for _, c := range [][2]string{{event.StreamStudies, stagePrepare}, {event.StreamPrepared, stageRelate}} { // in this order: the first fills the second
		stream, err := r.bus.StreamState(ctx, c[0])
		if err != nil {
			return false
		}
		// A consumer's count of what is pending lags behind the stream; how far it came does not.
		state, err := r.bus.ConsumerState(ctx, c[0], c[1])
		if err != nil || state.AckedTo < stream.LastSeq || state.AckPending > 0 {
			return false
		}
	}
	return true
}

// archive returns the studies of a tenant by the last message of their subjects, and fails the
// test if a study is on two of them.
func (r *rig) archive(t *testing.T, who event.Tenant) map[string]*radstreamv1.StudyPrepared {
	t.Helper()
	found, err := r.bus.LastPerSubject(t.Context(), event.StreamPrepared, event.PreparedSubject(who, "*", "*"))
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

// mortal counts the operations of a process on the bus. Behind the last one nothing reaches
// the bus any more; whether that one still does alternates.
type mortal struct {
	after int // operations; -1 lives on
	die   context.CancelFunc

	mu   sync.Mutex
	ops  int
	gone bool
}

var errDead = fault.Errorf("mortal", fault.Transient, "the process is dead")

func (f *mortal) dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

func (f *mortal) do(effect func() error) error {
	f.mu.Lock()
	f.ops++
	last := f.after >= 0 && f.ops == f.after
	gone := f.gone
	f.gone = f.gone || last
	f.mu.Unlock()
	switch {
	case gone:
		return errDead
	case !last:
		return effect()
	}
	if f.after%2 == 0 {
		_ = effect() // its answer is lost
	}
	f.die()
	return errDead
}

// live runs one ingest process until it dies or everything is settled.
func (r *rig) live(ctx context.Context, f *mortal) error {
	ctx, f.die = context.WithCancel(ctx)
	defer f.die()
	b, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer b.Close() // takes what was delivered and not settled along, as a crash does
	ids, err := openIdentity(ctx, b)
	if err != nil {
		return err
	}
	pending, err := b.KV(ctx, bus.BucketPending, 0)
	if err != nil {
		return err
	}
	bucket, stream, err := b.ObjectStore(ctx, bus.BucketObjects)
	if err != nil {
		return err
	}
	h := &prepareHandler{
		preparer: r.preparer, objects: blob.NewJetStream(bucket, stream, 1<<20), archive: mortalArchive{b, f}, identities: mortalIdentity{ids, f},
		accessions: mortalWords{words{ids.kv, "_accession.", listLimit}, f}, pending: mortalWords{words{pending, "", listLimit}, f},
		keys: r, parallel: 2, maxObject: 1 << 20, memory: semaphore.NewWeighted(arrivalBytes),
	}
	var workers sync.WaitGroup
	failed := make(chan error, 2)
	workers.Go(func() { failed <- work(ctx, r, b, f, stagePrepare, event.StreamStudies, h) })
	workers.Go(func() { failed <- work(ctx, r, b, f, stageRelate, event.StreamPrepared, &relateHandler{h}) })
	for ctx.Err() == nil {
		r.mu.Lock()
		news := r.news
		r.mu.Unlock()
		if r.settled(ctx) {
			f.die()
		}
		select {
		case <-news:
		case <-ctx.Done():
		}
	}
	workers.Wait()
	close(failed)
	for err := range failed {
		if err != nil && !f.dead() {
			return err
		}
	}
	return nil
}

// work is one stage of a process.
func work[In any](ctx context.Context, r *rig, b *bus.Bus, f *mortal, name, stream string, h stage.Handler[In]) error {
	sc := bus.DefaultSourceConfig(stream, name)
	sc.AckWait, sc.Prefetch = 2*time.Second, 8
	src, err := b.Source(ctx, sc)
	if err != nil {
		return fault.Wrap("work", err)
	}
	c := stage.DefaultConfig(name)
	c.MaxBatch, c.BatchDeadline, c.KeepAlive, c.Grace = 8, time.Millisecond, 500*time.Millisecond, 0
	s, err := stage.New(c, mortalSource{src, r, f}, mortalPublisher{b, f}, h, stage.Deps{Log: zerolog.Nop(), Now: time.Now, Attempts: forgetful{},
		Events: stage.Events{Retried: func(in stage.Input, err error, _ time.Duration) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.retries = append(r.retries[max(0, len(r.retries)-20):], fmt.Sprintf("%s %s %d: %v", name, in.Stream, in.Sequence, err))
		}}})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// forgetful keeps no marks: poison is not what is tried here.
type forgetful struct{}

func (forgetful) Load(context.Context, string) (int, error) { return 0, nil }
func (forgetful) Store(context.Context, string, int) error  { return nil }

type mortalSource struct {
	stage.Source
	r *rig
	f *mortal
}

func (s mortalSource) Next(ctx context.Context) (stage.Delivery, error) {
	d, err := s.Source.Next(ctx)
	if err != nil || s.f.dead() {
		return nil, stdcmp.Or(err, errDead)
	}
	return mortalDelivery{d, s.r, s.f}, nil
}

type mortalDelivery struct {
	stage.Delivery
	r *rig
	f *mortal
}

func (d mortalDelivery) settle(f func() error) error {
	return d.f.do(func() error {
		err := f()
		if err == nil {
			d.r.wake()
		}
		return err
	})
}

func (d mortalDelivery) Done(ctx context.Context) error {
	return d.settle(func() error { return d.Delivery.Done(ctx) })
}

func (d mortalDelivery) Drop(ctx context.Context, reason string) error {
	return d.settle(func() error { return d.Delivery.Drop(ctx, reason) })
}

func (d mortalDelivery) Retry(after time.Duration) error {
	return d.f.do(func() error { return d.Delivery.Retry(after) })
}

type mortalPublisher struct {
	stage.Publisher
	f *mortal
}

func (p mortalPublisher) Publish(ctx context.Context, e event.Envelope, expect *stage.Expect) error {
	return p.f.do(func() error { return p.Publisher.Publish(ctx, e, expect) })
}

type mortalArchive struct {
	archive
	f *mortal
}

func (a mortalArchive) LastPerSubject(ctx context.Context, stream string, subject event.Subject) (all []bus.Message, err error) {
	err = a.f.do(func() (err error) { all, err = a.archive.LastPerSubject(ctx, stream, subject); return err })
	return all, err
}

type mortalIdentity struct {
	identities
	f *mortal
}

func (i mortalIdentity) PutStudy(ctx context.Context, t event.Tenant, k event.StudyKey, uid event.StudyUID) error {
	return i.f.do(func() error { return i.identities.PutStudy(ctx, t, k, uid) })
}

func (i mortalIdentity) PutMerge(ctx context.Context, t event.Tenant, k event.StudyKey, from, to event.PatientKey) error {
	return i.f.do(func() error { return i.identities.PutMerge(ctx, t, k, from, to) })
}

type mortalWords struct {
	lists
	f *mortal
}

func (w mortalWords) Add(ctx context.Context, t event.Tenant, list, word string) error {
	return w.f.do(func() error { return w.lists.Add(ctx, t, list, word) })
}
