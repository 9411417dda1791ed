package app

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/indexer/qdrant"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/services/stage/stagetest"
)

// TestSameIDs: what is delivered again gives outputs under the same ids, alone or in a
// batch, in every stage.
func TestSameIDs(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	broken := s.object(t, []byte("no film"), frontal)
	one := study("2.25.1", s.object(t, film(t, 1), frontal), s.object(t, film(t, 2), lateral), broken)
	one.Report = &radstreamv1.Report{Text: "FINDINGS: Enlarged heart."}
	one.PatientId = "P-1"
	arrivals := []proto.Message{one, report("2.25.2", "FINDINGS: Clear lungs."), study("2.25.3", broken), study("2.25.4", s.object(t, film(t, 4), frontal))}
	for i, m := range arrivals {
		s.send(t, "arrival "+string(rune('a'+i)), m)
	}
	awaitIndexed(t, s.bus, s.key(t, tenant).Study("2.25.1"), 1) // the first answer to it tells of the broken film
	s.expect(t, "arrival d", event.StudyIndexed, 1)
	s.expect(t, "arrival b", event.StudyIndexed, 1)
	s.expect(t, "arrival c", event.Rejected, 0)

	t.Run("prepare", func(t *testing.T) {
		known := memoryArchive{s.bus, map[event.Subject]*radstreamv1.StudyPrepared{}}
		h := &prepareHandler{preparer: s.preparer, objects: s.objects, archive: known, identities: s.identity, keys: s.ring,
			accessions: words{s.identity.kv, "_accession.", listLimit}, pending: words{s.identity.kv, "_test.", listLimit},
			maxObject: 1 << 20, memory: semaphore.NewWeighted(arrivalBytes)}
		stagetest.SameIDs(t, h, s.inputs(t, event.StreamStudies), func() {})
		for _, uid := range []string{"2.25.1", "2.25.2"} { // and over what is known already
			m, _ := s.prepared(t, tenant, uid)
			known.studies[event.PreparedOf(tenant, event.StudyKey(m.GetStudyKey()))] = m
		}
		stagetest.SameIDs(t, h, s.inputs(t, event.StreamStudies), func() {})

		// One text in two messages of a batch, of which the second knows a name in it: the one
		// must not be taken for the other that was stored already.
		anonymous := oru("A-1", "P-1", "20260102030405", "F", "Clear lungs, zyxwell.") + "ZDS|2.25.1\r"
		batch, err := h.Decode(stage.Input{Stream: event.StreamStudies, Sequence: 1, Envelope: event.Envelope{ID: "batch", Type: event.ReportArrived,
			ContentType: event.HL7v2, Subject: event.ReportArrivedSubject(tenant), Body: []byte(anonymous + strings.Replace(anonymous, "^MR\r", "^MR||Zyxwell^Quorra\r", 1))}})
		if err != nil {
			t.Fatal(err)
		}
		out := h.Handle(t.Context(), []input{batch})[0]
		if out.Err != nil || len(out.Out) != 2 || out.Out[0].ID == out.Out[1].ID {
			t.Errorf("the revisions of a batch have the same id: %v, %v", out.Out, out.Err)
		}
	})
	t.Run("relate", func(t *testing.T) {
		h := &relateHandler{&prepareHandler{archive: s.bus, identities: s.identity, keys: s.ring}}
		stagetest.SameIDs(t, h, s.inputs(t, event.StreamPrepared), func() {})
	})
	t.Run("embed", func(t *testing.T) {
		h := &embedHandler{encoder: s.serves().model.encoder, labels: s.serves().labelSet}
		stagetest.SameIDs(t, h, s.inputs(t, event.StreamPrepared), func() {})
	})
	t.Run("index", func(t *testing.T) {
		spec := indexSpec("other", "", s.serves().manifest.Config.Joint, nil)
		for _, l := range s.serves().manifest.Labels {
			spec.Labels = append(spec.Labels, l.Name)
		}
		empty := func() {
			store := s.store.(*qdrant.Client)
			if err := store.Drop(t.Context(), spec.Collection); err != nil && fault.KindOf(err) != fault.NotFound {
				t.Fatal(err)
			}
			if err := store.Ensure(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
		}
		h := &indexHandler{store: s.store, collection: spec.Collection, findable: s.serves().findable}
		inputs := s.inputs(t, event.StreamEmbedded)
		stagetest.SameIDs(t, h, inputs, empty)
		stagetest.SameIDs(t, h, inputs, func() {}) // and over what is in the index already
	})
}

// TestAccessionNumbers: what is refused claims no number, a study whose number too many have is
// taken all the same, and a report that could be several patients' joins none of them until a
// merge makes them one.
func TestAccessionNumbers(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	numbers := words{s.identity.kv, "_numbers.", 2}
	h := &prepareHandler{preparer: s.preparer, objects: s.objects, archive: s.bus, identities: s.identity, keys: s.ring,
		accessions: numbers, pending: words{s.identity.kv, "_waits.", 3}, maxObject: 1 << 20, memory: semaphore.NewWeighted(arrivalBytes)}
	key := s.key(t, tenant)
	seq := uint64(1000)
	handle := func(m proto.Message) ([]stage.Output, error) {
		t.Helper()
		seq++
		subject := event.StudyArrivedSubject(tenant)
		if _, ok := m.(*radstreamv1.ReportArrived); ok {
			subject = event.ReportArrivedSubject(tenant)
		}
		env, err := event.New(event.MessageID("m"+strconv.FormatUint(seq, 10)), "test", subject, time.Now(), m)
		if err != nil {
			t.Fatal(err)
		}
		in, err := h.Decode(stage.Input{Stream: event.StreamStudies, Sequence: seq, Envelope: env})
		if err != nil {
			t.Fatal(err)
		}
		r := h.Handle(t.Context(), []input{in})[0]
		return r.Out, r.Err
	}
	arrival := func(uid, patient, number string) *radstreamv1.StudyArrived {
		m := study(uid, s.object(t, film(t, 1), frontal))
		m.PatientId, m.AccessionNumber = patient, number
		return m
	}
	for uid, patient := range map[string]string{"2.25.1": "P-1", "2.25.2": "P-2"} {
		s.send(t, uid, arrival(uid, patient, ""))
		s.expect(t, uid, event.StudyIndexed, 1)
	}
	if _, err := handle(arrival("2.25.1", "P-2", "A-1")); fault.ReasonOf(err) != assemble.ReasonPatient {
		t.Errorf("another patient's arrival: %v", err)
	}
	if claimed, err := numbers.Get(t.Context(), tenant, key.Accession("A-1")); err != nil || len(claimed) > 0 {
		t.Errorf("it claimed its number for %v, %v", claimed, err)
	}
	for _, uid := range []string{"2.25.1", "2.25.2", "2.25.3"} {
		patient := map[string]string{"2.25.2": "P-2"}[uid]
		out, err := handle(arrival(uid, patient, "0"))
		last := out[len(out)-1].Body
		if err != nil || len(out) > 2 {
			t.Fatalf("%s: %v %v", uid, out, err)
		}
		if uid != "2.25.3" {
			continue
		}
		r, rejected := out[0].Body.(*radstreamv1.Rejected)
		if _, ok := last.(*radstreamv1.StudyPrepared); !ok || !rejected || r.GetReason() != string(reasonLongList) || r.GetPart() != "accession" {
			t.Errorf("a study of a number that too many have: %v", out)
		}
	}
	said := &radstreamv1.ReportArrived{AccessionNumber: "0", Report: &radstreamv1.Report{Text: "FINDINGS: Clear lungs."}}
	if out, err := handle(said); fault.ReasonOf(err) != reasonAnybody {
		t.Errorf("anybody's report: %v %v", out, err)
	}
	waits, err := h.pending.Get(t.Context(), tenant, string(key.Patient("P-1", "")))
	if err != nil || !slices.Contains(waits, strconv.FormatUint(seq, 10)+".0") {
		t.Errorf("it waits as %v, %v", waits, err)
	}
	said.PatientId = "P-2"
	out, err := handle(said)
	if err != nil || len(out) != 1 {
		t.Fatalf("the report of one of two patients: %v %v", out, err)
	}
	if m, ok := out[0].Body.(*radstreamv1.StudyPrepared); !ok || m.GetStudyKey() != string(key.Study("2.25.2")) {
		t.Errorf("it joined %v", out[0].Body)
	}
}

// inputs returns what lies in a stream, as a worker loop is handed it.
func (s *system) inputs(t *testing.T, stream string) []stage.Input {
	t.Helper()
	var inputs []stage.Input
	for seq := uint64(1); seq <= s.messages(t, stream); seq++ {
		m, err := s.bus.Get(t.Context(), stream, seq)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, stage.Input{Envelope: m.Envelope, Stream: stream, Sequence: seq, Attempt: 1})
	}
	if len(inputs) < 3 {
		t.Fatalf("only %d messages in %s", len(inputs), stream)
	}
	return inputs
}

// memoryArchive knows studies by the subject that is asked for; all else is the bus's.
type memoryArchive struct {
	*bus.Bus
	studies map[event.Subject]*radstreamv1.StudyPrepared
}

func (a memoryArchive) LastForSubject(_ context.Context, _ string, subject event.Subject) (event.Envelope, uint64, error) {
	m, ok := a.studies[subject]
	if !ok {
		return event.Envelope{}, 0, fault.Errorf("memoryArchive", fault.NotFound, "no such study")
	}
	e, err := event.New(event.MessageID(m.GetPrepId()), "test", subject, time.Unix(1, 0), m)
	return e, 7, err
}
