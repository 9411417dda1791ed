package publish

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
)

// station is a bus with its streams and objects, and no stage behind it.
func station(t *testing.T) (*bus.Bus, *blob.JetStream) {
	t.Helper()
	b := bustest.Connect(t, bustest.Serve(t))
	bucket, stream, err := b.ObjectStore(t.Context(), bus.BucketObjects)
	if err != nil {
		t.Fatal(err)
	}
	return b, blob.NewJetStream(bucket, stream, blob.DefaultMaxBytes)
}

// TestRun: what can be published is, what cannot becomes a problem and stops nothing.
func TestRun(t *testing.T) {
	b, objects := station(t)
	dir := folder(t, map[string]string{
		"1.dcm": radiograph(t, "1.2.1", "1", "P1"), "copy.dcm": radiograph(t, "1.2.1", "1", "P1"),
		"large.dcm": radiograph(t, "1.2.2", "1", "P2") + strings.Repeat(" ", 5000),
		"a.dcm":     "no film", "b.dcm": "no film",
		"latin.dcm":   strings.NewReplacer("Mueller", "M\xfcller ", "ISO_IR 192", "ISO_IR 999").Replace(radiograph(t, "1.2.3", "1", "Mueller")),
		"studies.csv": "study_id,image,report\nlong,," + strings.Repeat("word ", 250_000) + "\nshort,,Clear lungs.\n",
	})
	plan, err := Scan(t.Context(), []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone.dcm")
	plan.Studies = append(plan.Studies, Study{UID: "1.2.9", Objects: []Object{{Path: gone}}})
	if _, err := os.Stat(gone); err == nil {
		t.Fatal("the file is there")
	}
	var last Progress
	run := func() Summary {
		t.Helper()
		s, err := New(b, objects, Config{Tenant: tenant, MaxBytes: 4096, Progress: func(p Progress) { last = p }}).Run(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sum := run()
	// 1.2.1, one of the two that are no film, 1.2.3, short.
	if sum.Published != 4 || sum.Waited || sum.Objects != 4 || last.Published != 4 || last.Total != 4 {
		t.Errorf("%+v, progress %+v", sum, last)
	}
	reasons := map[string]string{}
	for _, p := range sum.Problems {
		reasons[strings.TrimPrefix(p.Path, dir+"/")] = p.Reason
	}
	twice := "b.dcm"
	if reasons[twice] == "" {
		twice = "a.dcm" // whichever came second
	}
	want := map[string]string{"large.dcm": ReasonTooLarge, twice: ReasonTwice, "study long": ReasonTooLarge, "gone.dcm": ReasonUnread}
	if d := cmp.Diff(want, reasons); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}

	uids := map[string]int{}
	for seq := uint64(1); seq <= 4; seq++ {
		m, err := b.Get(t.Context(), event.StreamStudies, seq)
		if err != nil {
			t.Fatal(err)
		}
		body, err := m.Message()
		if err != nil || m.Subject != event.StudyArrivedSubject(tenant) {
			t.Fatalf("%s: %v", m.Subject, err)
		}
		arrived := body.(*radstreamv1.StudyArrived)
		uids[arrived.GetStudyUid()]++
		for _, o := range arrived.GetObjects() { // put before it was announced
			if _, err := objects.Get(t.Context(), o.GetRef()); err != nil {
				t.Errorf("an object of %s: %v", arrived.GetStudyUid(), err)
			}
		}
	}
	if d := cmp.Diff(map[string]int{"1.2.1": 1, "": 1, "1.2.3": 1, "short": 1}, uids); d != "" {
		t.Errorf("arrivals (-want +got):\n%s", d)
	}
	run() // another run is other arrivals: each gets an answer of its own
	if state, err := b.StreamState(t.Context(), event.StreamStudies); err != nil || state.Messages != 8 {
		t.Errorf("%d arrivals after a second run, want 8 (%v)", state.Messages, err)
	}
}

// TestRefusedEnds: the search for what was refused before ends though the last dead letter goes
// meanwhile, as of a study that is erased.
func TestRefusedEnds(t *testing.T) {
	b, objects := station(t)
	const all = 501 // one more than the client library asks for at once
	for i := range all {
		r := &radstreamv1.Rejected{Stage: "embed", Kind: "invalid", Reason: "test", StudyKey: "k"}
		e, err := event.New(event.ID("dead", strconv.Itoa(i)), "test", event.RejectedSubject(tenant, "embed"), time.Now(), r)
		if err == nil {
			err = b.Publish(t.Context(), e, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := 0
	p := New(b, objects, Config{Tenant: tenant, Progress: func(Progress) {
		if seen++; seen == 1 {
			if err := b.SecureDelete(ctx, event.StreamRejected, all); err != nil {
				t.Error(err)
			}
		}
	}})
	if err := p.refused(ctx, "k"); err != nil || seen != all-1 {
		t.Errorf("%d dead letters were seen, %v", seen, err)
	}
}

// TestUnreadableDeadLetters: a message in REJECTED that cannot be read, or is no dead letter, ends no
// run: the others are seen.
func TestUnreadableDeadLetters(t *testing.T) {
	b, objects := station(t)
	store := func(id string, m proto.Message, body []byte) event.Envelope {
		t.Helper()
		e, err := event.New(event.MessageID(id), "test", event.RejectedSubject(tenant, "embed"), time.Now(), m)
		if err != nil {
			t.Fatal(err)
		}
		if body != nil {
			e.Body = body
		}
		if err := b.Publish(t.Context(), e, nil); err != nil {
			t.Fatal(err)
		}
		return e
	}
	store("other", &radstreamv1.StudyArrived{StudyUid: "1.2"}, nil)
	garbled := store("garbled", &radstreamv1.Rejected{}, []byte("\xff"))
	store("good", &radstreamv1.Rejected{Stage: "embed", Kind: "invalid", Reason: "test", StudyKey: "k"}, nil)
	seen := 0
	p := New(b, objects, Config{Tenant: tenant, Progress: func(Progress) { seen++ }})
	if err := p.refused(t.Context(), "k"); err != nil || seen != 1 {
		t.Errorf("%d dead letters were seen, want 1: %v", seen, err)
	}
	if err := p.see(t.Context(), garbled); err != nil {
		t.Errorf("a dead letter that cannot be read: %v", err)
	}
}
