package stagetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/stage"
)

// Bus is one bus under test: a fresh stream that takes the subjects of StudyArrived, whose
// consumer has an AckWait of one second, and a publisher to it.
type Bus struct {
	Source    stage.Source
	Publisher stage.Publisher
	Attempts  stage.Attempts
}

// Suite checks what services/stage relies on. open makes a new Bus for each case.
func Suite(t *testing.T, open func(t *testing.T) Bus) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, b Bus)
	}{
		{"delivers attributes and body", suiteDelivers},
		{"done is final", suiteDone},
		{"drop is final", suiteDrop},
		{"retry delivers again", suiteRetry},
		{"unsettled comes again", suiteAckWait},
		{"next ends with its context", suiteNextContext},
		{"same id is stored once", suiteDuplicate},
		{"expected last sequence", suiteExpectLast},
		{"attempts", suiteAttempts},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// Arrival makes a StudyArrived with the given id.
func Arrival(t testing.TB, id string) event.Envelope {
	t.Helper()
	e, err := event.New(event.MessageID(id), "stagetest", event.StudyArrivedSubject("t"), time.Unix(1, 0), &radstreamv1.StudyArrived{StudyUid: "1.2." + id})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func publish(t *testing.T, b Bus, e event.Envelope) {
	t.Helper()
	if err := b.Publisher.Publish(t.Context(), e, nil); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, b Bus) stage.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := b.Source.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// settledThen publishes another arrival and expects it to be the next delivery: what was
// settled before must not come between, nor within one and a half ack waits after.
func settledThen(t *testing.T, b Bus) {
	t.Helper()
	publish(t, b, Arrival(t, "after"))
	d := next(t, b)
	if d.Input().ID != "after" {
		t.Fatalf("%s was delivered again", d.Input().ID)
	}
	if err := d.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if d, err := b.Source.Next(ctx); err == nil {
		t.Fatalf("%s was delivered again", d.Input().ID)
	}
}

func suiteDelivers(t *testing.T, b Bus) {
	e := Arrival(t, "a")
	e.Cause, e.Rev = "c", 7
	publish(t, b, e)
	in := next(t, b).Input()
	if in.Sequence != 1 || in.Attempt != 1 || in.Stream == "" {
		t.Errorf("place: %s %d, attempt %d", in.Stream, in.Sequence, in.Attempt)
	}
	if in.ID != "a" || in.Cause != "c" || in.Rev != 7 || in.Type != event.StudyArrived || in.Subject != e.Subject || !in.Time.Equal(e.Time) {
		t.Errorf("attributes: %+v", in.Envelope)
	}
	if m, err := in.Message(); err != nil || m.(*radstreamv1.StudyArrived).GetStudyUid() != "1.2.a" {
		t.Errorf("body: %v, %v", m, err)
	}
}

func suiteDone(t *testing.T, b Bus) {
	publish(t, b, Arrival(t, "a"))
	d := next(t, b)
	if err := d.Working(); err != nil {
		t.Fatal(err)
	}
	if err := d.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	settledThen(t, b)
}

func suiteDrop(t *testing.T, b Bus) {
	publish(t, b, Arrival(t, "a"))
	if err := next(t, b).Drop(t.Context(), "reason"); err != nil {
		t.Fatal(err)
	}
	settledThen(t, b)
}

func suiteRetry(t *testing.T, b Bus) {
	publish(t, b, Arrival(t, "a"))
	d := next(t, b)
	for _, after := range []time.Duration{0, -1} {
		if d.Retry(after) == nil {
			t.Errorf("a retry after %v was taken", after)
		}
	}
	if err := d.Retry(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if in := next(t, b).Input(); in.ID != "a" || in.Attempt != 2 || in.Sequence != 1 {
		t.Fatalf("after a retry: %s attempt %d sequence %d", in.ID, in.Attempt, in.Sequence)
	}
}

func suiteAckWait(t *testing.T, b Bus) {
	publish(t, b, Arrival(t, "a"))
	next(t, b)
	if in := next(t, b).Input(); in.ID != "a" || in.Attempt != 2 {
		t.Fatalf("after the ack wait: %s attempt %d", in.ID, in.Attempt)
	}
}

func suiteNextContext(t *testing.T, b Bus) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Source.Next(ctx); fault.KindOf(err) != fault.Transient {
		t.Errorf("deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := b.Source.Next(ctx); fault.KindOf(err) != fault.Canceled {
		t.Errorf("cancel: %v", err)
	}
	publish(t, b, Arrival(t, "a"))
	if in := next(t, b).Input(); in.Attempt != 1 {
		t.Errorf("a context that ended lost delivery 1: got %d", in.Attempt)
	}
}

func suiteDuplicate(t *testing.T, b Bus) {
	publish(t, b, Arrival(t, "a"))
	publish(t, b, Arrival(t, "a"))
	if err := next(t, b).Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	settledThen(t, b)
}

func suiteExpectLast(t *testing.T, b Bus) {
	seq := func(n uint64) *stage.Expect { return &stage.Expect{Last: n} }
	anyTenant := func(n uint64) *stage.Expect { return &stage.Expect{Last: n, On: "rad.v1.*.study.arrived"} }
	for _, c := range []struct {
		id       string
		last     *stage.Expect
		conflict bool
	}{
		{"a", seq(3), true},
		{"a", seq(0), false},
		{"b", seq(0), true},
		{"a", seq(0), false}, // the answer was lost; it is stored
		{"b", seq(1), false},
		{"a", seq(0), true}, // by now somebody came after it
		{"c", nil, false},
		{"d", seq(3), false},
		{"e", anyTenant(3), true},
		{"e", anyTenant(4), false},
		{"e", anyTenant(4), false}, // the answer was lost; it is stored
	} {
		err := b.Publisher.Publish(t.Context(), Arrival(t, c.id), c.last)
		if c.conflict != (err != nil) || err != nil && fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: %v, want conflict %v", c.id, err, c.conflict)
		}
	}
}

func suiteAttempts(t *testing.T, b Bus) {
	const key = "prepare.STUDIES.12"
	for _, n := range []int{0, 2, 3, 0, 1, 0} {
		if err := b.Attempts.Store(t.Context(), key, n); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Attempts.Load(t.Context(), key); err != nil || got != n {
			t.Errorf("stored %d, loaded %d, %v", n, got, err)
		}
	}
}

// SameIDs checks that h gives outputs with the same ids and subjects when it handles
// inputs again, alone or together: without that, a repeated delivery would be stored
// twice. reset puts what the handler reads back to its state before.
func SameIDs[In any](t *testing.T, h stage.Handler[In], inputs []stage.Input, reset func()) {
	t.Helper()
	run := func(batch []stage.Input) (out [][]string) {
		values := make([]In, len(batch))
		for i, in := range batch {
			v, err := h.Decode(in)
			if err != nil {
				t.Fatalf("input %d: %v", i, err)
			}
			values[i] = v
		}
		for _, r := range h.Handle(t.Context(), values) {
			ids := []string{fault.KindOf(r.Err).String()}
			for _, o := range r.Out {
				ids = append(ids, string(o.ID), string(o.Subject))
			}
			out = append(out, ids)
		}
		return out
	}
	reset()
	first := run(inputs)
	reset()
	second := run(inputs)
	if len(first) != len(inputs) || len(second) != len(inputs) {
		t.Fatalf("%d and %d results for %d inputs", len(first), len(second), len(inputs))
	}
	for i := range inputs {
		reset()
		alone := run(inputs[i : i+1])
		if !slices.Equal(first[i], second[i]) || len(alone) != 1 || !slices.Equal(first[i], alone[0]) {
			t.Errorf("input %d: %v, then %v, alone %v", i, first[i], second[i], alone)
		}
	}
}
