package deadletter_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/deadletter"
)

// desk is a bus with what a test puts on it.
type desk struct {
	*testing.T
	bus *bus.Bus
}

// parent is the traceparent that every dead letter carries.
const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func (d desk) store(id string, subject event.Subject, m proto.Message) uint64 {
	d.Helper()
	e, err := event.New(event.MessageID(id), "test", subject, time.Now(), m)
	if err != nil {
		d.Fatal(err)
	}
	if e.Type == event.Rejected {
		e.Trace.Parent = parent
	}
	seq, err := d.bus.PublishSeq(d.Context(), e, nil)
	if err != nil {
		d.Fatal(err)
	}
	return seq
}

// refuse leaves a dead letter for a message.
func (d desk) refuse(tenant event.Tenant, stage, reason, stream string, seq uint64) deadletter.Letter {
	d.Helper()
	at := d.store(reason+stream+string(tenant), event.RejectedSubject(tenant, stage), &radstreamv1.Rejected{
		Stage: stage, Kind: "invalid", Reason: reason, Detail: "not good enough", Part: "object",
		Input: &radstreamv1.InputRef{Stream: stream, Sequence: seq}, StudyKey: "k",
	})
	l, err := deadletter.Get(d.Context(), d.bus, at)
	if err != nil {
		d.Fatal(err)
	}
	return l
}

func (d desk) list(f deadletter.Filter) (seqs []uint64) {
	d.Helper()
	if err := deadletter.List(d.Context(), d.bus, f, func(l deadletter.Letter) error {
		seqs = append(seqs, l.Sequence)
		return nil
	}); err != nil {
		d.Fatal(err)
	}
	return seqs
}

func TestLetters(t *testing.T) {
	d := desk{t, bustest.Connect(t, bustest.Serve(t))}
	if got := d.list(deadletter.Filter{}); got != nil {
		t.Errorf("an empty stream lists %v", got)
	}
	arrival := d.store("arrival", event.StudyArrivedSubject("north"), &radstreamv1.StudyArrived{StudyUid: "1.2"})
	north := d.refuse("north", "prepare", "truncated", event.StreamStudies, arrival)
	south := d.refuse("south", "prepare", "truncated", event.StreamStudies, 99)
	blank := d.refuse("north", "embed", "blank", event.StreamStudies, arrival)
	want := deadletter.Letter{Sequence: north.Sequence, Time: north.Time, Tenant: "north", Stage: "prepare", Kind: "invalid", Reason: "truncated",
		Detail: "not good enough", Stream: event.StreamStudies, Input: arrival, Study: "k", Part: "object", Trace: event.Trace{Parent: parent}}
	if diff := cmp.Diff(want, north); diff != "" {
		t.Errorf("a letter (-want +got)\n%s", diff)
	}
	for name, c := range map[string]struct {
		filter deadletter.Filter
		want   []uint64
	}{
		"all":    {deadletter.Filter{}, []uint64{north.Sequence, south.Sequence, blank.Sequence}},
		"tenant": {deadletter.Filter{Tenant: "north"}, []uint64{north.Sequence, blank.Sequence}},
		"stage":  {deadletter.Filter{Stage: "prepare"}, []uint64{north.Sequence, south.Sequence}},
		"reason": {deadletter.Filter{Tenant: "north", Reason: "truncated"}, []uint64{north.Sequence}},
		"none":   {deadletter.Filter{Stage: "index"}, nil},
	} {
		if got := d.list(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}

	// The input stands in its stream once more, as it was, and so often only as it was asked for.
	for range 2 {
		if err := deadletter.Requeue(t.Context(), d.bus, north); err != nil {
			t.Fatal(err)
		}
	}
	state, err := d.bus.StreamState(t.Context(), event.StreamStudies)
	if err != nil || state.Messages != 2 {
		t.Fatalf("%d arrivals, %v", state.Messages, err)
	}
	first, err := d.bus.Get(t.Context(), event.StreamStudies, arrival)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.bus.Get(t.Context(), event.StreamStudies, state.LastSeq)
	if err != nil {
		t.Fatal(err)
	}
	first.Trace = north.Trace // of the refusal: both belong to one trace
	if diff := cmp.Diff(first.Envelope, again.Envelope); diff != "" {
		t.Errorf("what was requeued differs\n%s", diff)
	}
	if _, err := deadletter.Get(t.Context(), d.bus, north.Sequence); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the letter is still there: %v", err)
	}

	// Where the input is gone the letter stays, and the others are dealt with.
	n, err := deadletter.Each(t.Context(), d.bus, deadletter.Filter{}, deadletter.Requeue)
	if n != 1 || fault.ReasonOf(err) != deadletter.ReasonInputGone {
		t.Errorf("%d requeued: %v", n, err)
	}
	if got := d.list(deadletter.Filter{}); !slices.Equal(got, []uint64{south.Sequence}) {
		t.Errorf("%v are left, want %d", got, south.Sequence)
	}
	if n, err := deadletter.Each(t.Context(), d.bus, deadletter.Filter{Tenant: "south"}, deadletter.Drop); n != 1 || err != nil {
		t.Errorf("%d dropped: %v", n, err)
	}
	if got := d.list(deadletter.Filter{}); got != nil { // the stream has a last sequence, and no message there
		t.Errorf("%v are left", got)
	}
}

// TestUnreadable: a message that is no dead letter, or one of a version that is not known here, hides
// none of the others, and can be dropped.
func TestUnreadable(t *testing.T) {
	d := desk{t, bustest.Connect(t, bustest.Serve(t))}
	arrival := d.store("arrival", event.StudyArrivedSubject("north"), &radstreamv1.StudyArrived{StudyUid: "1.2"})
	other := d.store("other", event.RejectedSubject("north", "prepare"), &radstreamv1.StudyArrived{StudyUid: "1.2"})
	newer, err := event.New("newer", "test", event.RejectedSubject("north", "prepare"), time.Now(), &radstreamv1.Rejected{Stage: "prepare"})
	if err != nil {
		t.Fatal(err)
	}
	newer.Type = "org.radstream.rejected.v99"
	unknown, err := d.bus.PublishSeq(t.Context(), newer, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := d.refuse("north", "prepare", "truncated", event.StreamStudies, arrival)
	if got, want := d.list(deadletter.Filter{}), []uint64{other, unknown, good.Sequence}; !slices.Equal(got, want) {
		t.Errorf("%v are listed, want %v", got, want)
	}
	for _, seq := range []uint64{other, unknown} {
		l, err := deadletter.Get(t.Context(), d.bus, seq)
		if err != nil || l.Kind != "corrupt" || l.Reason != string(deadletter.ReasonUnreadable) || l.Tenant != "north" || l.Detail == "" {
			t.Errorf("letter %d: %+v, %v", seq, l, err)
		}
	}
	n, err := deadletter.Each(t.Context(), d.bus, deadletter.Filter{}, deadletter.Requeue)
	if n != 1 || fault.ReasonOf(err) != deadletter.ReasonUnreadable {
		t.Errorf("%d requeued: %v", n, err)
	}
	n, err = deadletter.Each(t.Context(), d.bus, deadletter.Filter{Reason: string(deadletter.ReasonUnreadable)}, deadletter.Drop)
	if left := d.list(deadletter.Filter{}); n != 2 || err != nil || left != nil {
		t.Errorf("%d dropped, %v are left: %v", n, left, err)
	}
}

// TestRequest: of a request to erase, which names who is to be erased, only the copy that is carried
// out stays, since it alone removes itself.
func TestRequest(t *testing.T) {
	d := desk{t, bustest.Connect(t, bustest.Serve(t))}
	request := d.store("request", event.StudyErasedSubject("north"), &radstreamv1.StudyErased{StudyUid: "1.2"})
	if err := deadletter.Requeue(t.Context(), d.bus, d.refuse("north", "prepare", "no_key", event.StreamStudies, request)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.bus.Get(t.Context(), event.StreamStudies, request); fault.KindOf(err) != fault.NotFound {
		t.Errorf("what was refused is still there: %v", err)
	}
	if m, err := d.bus.Get(t.Context(), event.StreamStudies, request+1); err != nil || m.ID != "request" {
		t.Errorf("the copy: %s, %v", m.ID, err)
	}
}

// TestSuperseded: an older revision of a study is not made the newest one by a requeue.
func TestSuperseded(t *testing.T) {
	d := desk{t, bustest.Connect(t, bustest.Serve(t))}
	subject := event.PreparedSubject("north", "p", "k")
	old := d.store("first", subject, &radstreamv1.StudyPrepared{StudyKey: "k", PatientKey: "p", Rev: 1})
	letter := d.refuse("north", "embed", "blank", event.StreamPrepared, old)
	requeue := func(l deadletter.Letter) error { return deadletter.Requeue(t.Context(), d.bus, l) }
	newest := d.store("second", subject, &radstreamv1.StudyPrepared{StudyKey: "k", PatientKey: "p", Rev: 2})
	if err := requeue(letter); fault.KindOf(err) != fault.Conflict || fault.ReasonOf(err) != deadletter.ReasonSuperseded {
		t.Errorf("an older revision: %v", err)
	}
	if got := d.list(deadletter.Filter{}); len(got) != 1 {
		t.Errorf("the letter is gone: %v", got)
	}
	if err := requeue(d.refuse("north", "embed", "cropped", event.StreamPrepared, newest)); err != nil {
		t.Errorf("the newest revision: %v", err)
	}
	e, _, err := d.bus.LastForSubject(context.WithoutCancel(t.Context()), event.StreamPrepared, subject)
	if err != nil || e.ID != "second" {
		t.Errorf("the last revision is %s: %v", e.ID, err)
	}
}
