package app

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/indexer/qdrant"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/query"
)

const tenant event.Tenant = "north"

// system is a running App with a hospital on one side and somebody who asks on the other.
type system struct {
	*App
	bus     *bus.Bus
	objects *blob.JetStream
	client  *query.Client
}

// start runs everything over dir, at free ports, logging to log.
func start(t *testing.T, dir string, log io.Writer, change ...func(*config.Config)) *system {
	t.Helper()
	c := config.Default()
	c.DataDir = dir
	c.NATS.Listen, c.Qdrant.Listen, c.Query.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	for _, f := range change {
		f(&c)
	}
	a, err := Start(t.Context(), c, Options{Version: "test", Log: zerolog.New(zerolog.SyncWriter(log))})
	if err != nil {
		t.Fatal(err)
	}
	s := &system{App: a, client: query.NewClient(a.Addresses().Query, "")}
	t.Cleanup(func() { s.stop(t) })
	bc := bus.DefaultConfig()
	bc.URL = a.Addresses().NATS
	if s.bus, err = bus.Connect(t.Context(), bc, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	bucket, stream, err := s.bus.ObjectStore(t.Context(), bus.BucketObjects)
	if err != nil {
		t.Fatal(err)
	}
	s.objects = blob.NewJetStream(bucket, stream, blob.DefaultMaxBytes)
	return s
}

// stop ends the App and checks that it ends well. More than once is harmless.
func (s *system) stop(t *testing.T) {
	t.Helper()
	if s.bus != nil {
		s.bus.Close() // while there is a server to take leave of
	}
	s.Stop()
	if err := s.Wait(); err != nil {
		t.Errorf("the App ended badly: %v", err)
	}
}

// send publishes an arrival of the tenant under an id.
func (s *system) send(t *testing.T, id string, m proto.Message) {
	t.Helper()
	s.sendAs(t, tenant, id, m)
}

func (s *system) sendAs(t *testing.T, who event.Tenant, id string, m proto.Message) {
	t.Helper()
	subject := event.StudyArrivedSubject(who)
	switch m.(type) {
	case *radstreamv1.ReportArrived:
		subject = event.ReportArrivedSubject(who)
	case *radstreamv1.PatientMerged:
		subject = event.PatientMergedSubject(who)
	case *radstreamv1.StudyErased:
		subject = event.StudyErasedSubject(who)
	}
	e, err := event.New(event.MessageID(id), "test", subject, time.Now(), m)
	if err == nil {
		err = s.bus.Publish(t.Context(), e, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// object puts bytes into the Object Store.
func (s *system) object(t *testing.T, data []byte, p radstreamv1.Projection) *radstreamv1.StudyObject {
	t.Helper()
	ref, err := s.objects.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return &radstreamv1.StudyObject{Ref: ref, Projection: p}
}

// await returns what came of an arrival: StudyIndexed, StudyUnchanged or Rejected.
func (s *system) await(t *testing.T, id string) bus.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found := make(chan bus.Message, 3)
	for _, stream := range []string{event.StreamIndexed, event.StreamAnswers, event.StreamRejected} {
		w, err := s.bus.Watch(ctx, bus.WatchConfig{Stream: stream, Start: bus.FromSeq(1)})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		go func() {
			for {
				m, err := w.Next(ctx)
				if err != nil { // the test is over, or fails by its own deadline
					return
				}
				if m.Cause == event.MessageID(id).Public() {
					found <- m
					return
				}
			}
		}()
	}
	select {
	case m := <-found:
		return m
	case <-ctx.Done():
		t.Fatalf("nothing came of %s", id)
		return bus.Message{}
	}
}

// expect awaits an outcome of the given type and revision.
func (s *system) expect(t *testing.T, id string, want event.Type, rev event.Rev) {
	t.Helper()
	if m := s.await(t, id); m.Type != want || m.Rev != rev {
		t.Fatalf("%s ends as %s at revision %d, want %s at %d: %s", id, m.Type, m.Rev, want, rev, m.Body)
	}
}

// prepared returns the study as the archive has it, and its subject.
func (s *system) prepared(t *testing.T, who event.Tenant, uid string) (*radstreamv1.StudyPrepared, event.Subject) {
	t.Helper()
	key := s.key(t, who)
	e, _, err := s.bus.LastForSubject(t.Context(), event.StreamPrepared, event.PreparedOf(who, key.Study(event.StudyUID(uid))))
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Message()
	if moved, ok := m.(*radstreamv1.StudyMoved); ok && err == nil { // the last to be written, after the study had gone
		subject := event.PreparedSubject(who, event.PatientKey(moved.GetMovedTo()), event.StudyKey(moved.GetStudyKey()))
		if e, _, err = s.bus.LastForSubject(t.Context(), event.StreamPrepared, subject); err == nil {
			m, err = e.Message()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.(*radstreamv1.StudyPrepared), e.Subject
}

func (s *system) key(t *testing.T, who event.Tenant) deid.Key {
	t.Helper()
	key, err := s.ring.Key(who)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// points returns the index.
func (s *system) points(t *testing.T) map[string]indexer.Point {
	t.Helper()
	found, next, err := s.store.(*qdrant.Client).Scan(t.Context(), s.serves().collection, nil, 1000)
	if err != nil || next != nil {
		t.Fatalf("%v, more: %v", err, next)
	}
	ids := make([]indexer.PointID, len(found))
	for i, p := range found {
		ids[i] = p.ID
	}
	if found, err = s.store.Get(t.Context(), s.serves().collection, ids); err != nil {
		t.Fatal(err)
	}
	points := map[string]indexer.Point{}
	for _, p := range found {
		points[p.StudyKey] = p
	}
	return points
}

// messages counts what a stream holds.
func (s *system) messages(t *testing.T, stream string) uint64 {
	t.Helper()
	state, err := s.bus.StreamState(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return state.Messages
}

// revisions counts what PREPARED holds beside tombstones.
func (s *system) revisions(t *testing.T) int {
	t.Helper()
	n := 0
	for seq := uint64(1); seq <= s.messages(t, event.StreamPrepared); seq++ {
		m, err := s.bus.Get(t.Context(), event.StreamPrepared, seq)
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == event.StudyPrepared {
			n++
		}
	}
	return n
}

// findsItself searches by the study and expects it first.
func (s *system) findsItself(t *testing.T, uid string) {
	t.Helper()
	r, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Study: event.StudyUID(uid), K: 5})
	if err != nil || len(r.Hits) == 0 || string(r.Hits[0].Study) != uid || r.Hits[0].Similarity < 0.999 {
		t.Errorf("%s does not find itself: %+v, %v", uid, r.Hits, err)
	}
}

// film is a plain film of a phantom; another seed is another patient.
func film(t *testing.T, seed int) []byte {
	t.Helper()
	c := phantom.Defaults()
	c.Studies, c.Side, c.LateralShare = seed+1, 288, 0
	s, err := phantom.Generate(c, seed)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	f, err := ingest.Film(files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pixel.Render(f, pixel.Auto)
	if err != nil {
		t.Fatal(err)
	}
	data, err := pixel.EncodePNG(r.Pixels)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const (
	frontal = radstreamv1.Projection_PROJECTION_FRONTAL
	lateral = radstreamv1.Projection_PROJECTION_LATERAL
)

func study(uid string, objects ...*radstreamv1.StudyObject) *radstreamv1.StudyArrived {
	return &radstreamv1.StudyArrived{StudyUid: uid, Objects: objects}
}

func report(uid, text string) *radstreamv1.ReportArrived {
	return &radstreamv1.ReportArrived{StudyUid: uid, Report: &radstreamv1.Report{Text: text}}
}

// TestPatientBecomesKnown: a study arrives without its patient, and again with one. It stays
// one study, moves to the patient's subject and is found as before.
func TestPatientBecomesKnown(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	const uid = "2.25.1"
	object := s.object(t, film(t, 1), frontal)
	s.send(t, "without", study(uid, object))
	s.expect(t, "without", event.StudyIndexed, 1)
	key := s.key(t, tenant)
	if _, subject := s.prepared(t, tenant, uid); subject != event.PreparedSubject(tenant, key.Patient("", uid), key.Study(uid)) {
		t.Errorf("without a patient it lies on %s", subject)
	}
	with := study(uid, object)
	with.PatientId = "P-1"
	s.send(t, "with", with)
	s.expect(t, "with", event.StudyIndexed, 2)
	known, subject := s.prepared(t, tenant, uid)
	if subject != event.PreparedSubject(tenant, key.Patient("P-1", uid), key.Study(uid)) || known.GetRev() != 2 || len(known.GetViews()) != 1 {
		t.Errorf("with its patient it lies on %s at revision %d with %d views", subject, known.GetRev(), len(known.GetViews()))
	}
	points := s.points(t)
	if p := points[string(key.Study(uid))]; len(points) != 1 || p.Rev != 2 || p.PatientKey != known.GetPatientKey() {
		t.Errorf("%d studies in the index, revision %d, patient %s", len(points), p.Rev, p.PatientKey)
	}
	s.findsItself(t, uid)
	s.send(t, "without again", study(uid, object))
	s.expect(t, "without again", event.StudyUnchanged, 2)
	with.PatientId = "P-2"
	s.send(t, "another", with)
	if m := s.await(t, "another"); m.Type != event.Rejected || s.revisions(t) != 2 {
		t.Errorf("another patient's study ends as %s", m.Type)
	}
}

// TestInParts: a study comes view by view, then its report. Each part is a revision, a
// repeat is none.
func TestInParts(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	const uid = "2.25.2"
	parts := []proto.Message{
		study(uid, s.object(t, film(t, 1), frontal)),
		study(uid, s.object(t, film(t, 2), lateral)),
		report(uid, "FINDINGS: Small left pleural effusion."),
	}
	for i, m := range parts {
		id := "part " + strconv.Itoa(i)
		s.send(t, id, m)
		s.expect(t, id, event.StudyIndexed, event.Rev(i+1))
	}
	for i, m := range parts {
		id := "repeat " + strconv.Itoa(i)
		s.send(t, id, m)
		s.expect(t, id, event.StudyUnchanged, 3)
	}
	if n := s.messages(t, event.StreamPrepared); n != 3 {
		t.Errorf("%d revisions, want 3", n)
	}
	points := s.points(t)
	p := points[string(s.key(t, tenant).Study(uid))]
	if len(points) != 1 || p.Rev != 3 || !slices.Equal(p.Views, []string{"frontal", "lateral"}) || len(p.Labels) == 0 {
		t.Errorf("%d studies in the index; revision %d, views %v, %d labels", len(points), p.Rev, p.Views, len(p.Labels))
	}
	for _, name := range indexer.VectorNames() {
		if len(p.Vectors[name]) == 0 {
			t.Errorf("no vector %s", name)
		}
	}
	s.findsItself(t, uid)
	s.awaitMetrics(t, `radstream_stage_handled_total{stage="prepare"} 6`, `radstream_stage_handled_total{stage="embed"} 3`, `radstream_stage_handled_total{stage="index"} 3`,
		`radstream_stage_pending_messages{stage="index"} 0`, `radstream_model_info{model="`+p.ModelRef+`"} 1`, `radstream_index_duration_seconds_count{operation="search",outcome="ok"} 1`,
		`radstream_query_requests_total{route="POST /v1/search",status="200"} 1`)
}

// awaitMetrics asks until the metrics have all lines: a stage counts what it handled behind its answer.
func (s *system) awaitMetrics(t *testing.T, lines ...string) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		metrics := s.metricsAt(t, s.Addresses().Query)
		missing := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.Contains(metrics, line+"\n") })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("the metrics lack %q", missing)
		}
	}
}

// metricsAt returns what an address tells of itself, once it is ready.
func (s *system) metricsAt(t *testing.T, address string) string {
	t.Helper()
	var text []byte
	for _, path := range []string{"/readyz", "/metrics"} {
		r, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if text, err = io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, r.Status, err)
		}
	}
	return string(text)
}

// TestTwoProcesses: two processes prepare arrivals of the same studies at the same time, in
// random order. Every study ends with all of its parts, each part once.
func TestTwoProcesses(t *testing.T) {
	const studies, rounds = 12, 4
	// ONNX Runtime is one a process, so that only one of the two could read text in films.
	off := func(c *config.Config) { c.Ingest.BurnedInText = string(deid.TextOff) }
	a := start(t, t.TempDir(), io.Discard, off)
	b := start(t, t.TempDir(), io.Discard, off, func(c *config.Config) {
		c.NATS.URL, c.Qdrant.Address, c.Target = a.Addresses().NATS, a.Addresses().Qdrant, []string{"ingest"}
		c.Tenants.KeysDir = a.conf.KeyDir()
		c.Telemetry.Listen = "127.0.0.1:0" // it serves no query API
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	indexed, err := a.bus.Watch(t.Context(), bus.WatchConfig{Stream: event.StreamIndexed, Start: bus.FromSeq(1)})
	if err != nil {
		t.Fatal(err)
	}
	defer indexed.Close()
	for round := range rounds {
		who := event.Tenant("round-" + strconv.Itoa(round))
		var arrivals []proto.Message
		for i := range studies {
			uid := "2.25." + strconv.Itoa(i+1)
			arrivals = append(arrivals, study(uid, a.object(t, film(t, 2*i), frontal)), study(uid, a.object(t, film(t, 2*i+1), lateral)),
				report(uid, "FINDINGS: Nodule number "+strconv.Itoa(i)+"."))
		}
		random.Shuffle(len(arrivals), func(i, j int) { arrivals[i], arrivals[j] = arrivals[j], arrivals[i] })
		for i, m := range arrivals {
			a.sendAs(t, who, fmt.Sprint(who, " ", i), m)
		}
		complete(t, indexed, who, studies)
		for i := range studies {
			s, _ := a.prepared(t, who, "2.25."+strconv.Itoa(i+1))
			if s.GetRev() != 3 || len(s.GetViews()) != 2 || s.GetReport() == nil || len(s.GetProvenance().GetArrivalIds()) != 3 {
				t.Errorf("round %d, study %d: revision %d, %d views, report %v, %d arrivals", round, i, s.GetRev(), len(s.GetViews()), s.GetReport() != nil, len(s.GetProvenance().GetArrivalIds()))
			}
		}
		if n := a.messages(t, event.StreamPrepared); n != uint64(3*studies*(round+1)) {
			t.Errorf("round %d: %d revisions, want %d", round, n, 3*studies*(round+1))
		}
		if n := len(a.points(t)); n != studies*(round+1) {
			t.Errorf("round %d: %d studies in the index, want %d", round, n, studies*(round+1))
		}
	}
	if n := a.messages(t, event.StreamRejected); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	if one, other := a.StageTimes()[0].Inputs, b.StageTimes()[0].Inputs; one == 0 || other == 0 {
		t.Errorf("the two processes handled %d and %d arrivals: nothing was concurrent", one, other)
	}
	if m := b.metricsAt(t, b.Addresses().Telemetry); !strings.Contains(m, `radstream_stage_pending_messages{stage="prepare"}`) || strings.Contains(m, `stage="embed"`) {
		t.Errorf("a process that only prepares tells\n%s", m)
	}
}

// complete waits until n studies of a tenant are indexed at revision 3.
func complete(t *testing.T, w *bus.Watcher, who event.Tenant, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n > 0 {
		m, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("%d studies are not complete: %v", n, err)
		}
		if of, err := m.Tenant(); err == nil && of == who && m.Type == event.StudyIndexed && m.Rev == 3 {
			n--
		}
	}
}

// TestIndexLost: an index that was lost is made again from EMBEDDED by the next start.
func TestIndexLost(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	var uids []string
	for i := range 3 {
		uids = append(uids, "2.25."+strconv.Itoa(i+1))
		s.send(t, uids[i], study(uids[i], s.object(t, film(t, i), frontal)))
		s.expect(t, uids[i], event.StudyIndexed, 1)
	}
	before := s.points(t)
	s.stop(t)
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, io.Discard)
	// The announcements of before still lie in INDEXED, so a further study tells when the
	// index stage has come so far: it handles EMBEDDED in order.
	s.send(t, "one more", study("2.25.99", s.object(t, film(t, 99), frontal)))
	s.expect(t, "one more", event.StudyIndexed, 1)
	after := s.points(t)
	delete(after, string(s.key(t, tenant).Study("2.25.99")))
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the index made again differs (-want +got):\n%s", d)
	}
	for _, uid := range uids {
		s.findsItself(t, uid)
	}
}
