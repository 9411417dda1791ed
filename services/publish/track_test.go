package publish

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

const tenant event.Tenant = "north"

func prepared(cause event.MessageID, k event.StudyKey, rev event.Rev) event.Envelope {
	return event.Envelope{Type: event.StudyPrepared, Subject: event.PreparedSubject(tenant, "p", k), Cause: cause, Rev: rev}
}

func unchanged(cause event.MessageID, k event.StudyKey, rev event.Rev) event.Envelope {
	return event.Envelope{Type: event.StudyUnchanged, Subject: event.UnchangedSubject(tenant, k), Cause: cause, Rev: rev}
}

func embedded(k event.StudyKey, rev event.Rev) event.Envelope {
	return event.Envelope{Type: event.StudyEmbedded, Subject: event.EmbeddedSubject(tenant, "m", k), Rev: rev}
}

func indexed(k event.StudyKey, rev event.Rev) event.Envelope {
	return event.Envelope{Type: event.StudyIndexed, Subject: event.IndexedSubject(tenant, k), Rev: rev}
}

func TestTracker(t *testing.T) {
	tr := newTracker()
	tr.expect("a", &arrival{uid: "1", parts: 3, paths: map[string]string{"0a": "x.dcm"}})
	tr.expect("b", &arrival{uid: "2", parts: 1, paths: map[string]string{"0b": "y.dcm"}})
	tr.expect("c", &arrival{uid: "1", parts: 1})
	tr.Total, tr.Published = 3, 3

	// a: one object refused, the rest indexed. A later revision counts as well.
	tr.reject("a", &radstreamv1.Rejected{Stage: "prepare", Reason: "truncated", Part: "object", Object: &radstreamv1.ObjectRef{Sha256: []byte{0x0a}}})
	tr.see(prepared("a", "k1", 1))
	tr.see(prepared("other", "k9", 1)) // somebody else's
	tr.see(indexed("k1", 2))
	// b: refused whole.
	tr.reject("b", &radstreamv1.Rejected{Stage: "prepare", Reason: "blank", Part: "object", Object: &radstreamv1.ObjectRef{Sha256: []byte{0x0b}}})
	tr.reject("other", &radstreamv1.Rejected{Reason: "blank"})
	if tr.done() {
		t.Fatal("done before c is settled")
	}
	// c: nothing new, and in the index already.
	if tr.see(unchanged("c", "k1", 1)) {
		t.Error("asked to look up a study that this run saw indexed")
	}
	want := Progress{Total: 3, Published: 3, Prepared: 2, Embedded: 2, Indexed: 2, Rejected: 1}
	if d := cmp.Diff(want, tr.Progress); d != "" || !tr.done() {
		t.Errorf("done %v (-want +got):\n%s", tr.done(), d)
	}
	wantRejections := []Rejection{{Study: "1", Path: "x.dcm", Stage: "prepare", Reason: "truncated"}, {Study: "2", Path: "y.dcm", Stage: "prepare", Reason: "blank"}}
	if d := cmp.Diff(wantRejections, tr.rejections); d != "" {
		t.Errorf("rejections (-want +got):\n%s", d)
	}
}

func TestTrackerLooksUpWhatWasIndexedBefore(t *testing.T) {
	tr := newTracker()
	tr.expect("a", &arrival{parts: 1})
	tr.Total, tr.Published = 1, 1
	if !tr.see(unchanged("a", "k", 4)) {
		t.Fatal("nobody will say that the study is indexed, and it was not looked up")
	}
	tr.see(indexed("k", 4))
	if !tr.done() {
		t.Error("not done")
	}
}

// TestRetry: the patience is for failures in a row, so a stream that was silent for long has all
// of it when it fails.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Publisher{config: Config{Patience: time.Minute}}
		away := fault.Errorf("test", fault.Unavailable, "away")
		calls := 0
		err := p.retry(t.Context(), func(alive func()) error {
			calls++
			alive()
			if calls < 3 {
				time.Sleep(time.Hour)
				return away
			}
			return nil
		})
		if err != nil || calls != 3 {
			t.Errorf("%d calls, %v", calls, err)
		}
		began := time.Now()
		if err := p.patiently(t.Context(), func() error { return away }); fault.KindOf(err) != fault.Unavailable || time.Since(began) < time.Minute || time.Since(began) > 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// TestTrackerAnyOrder: streams are watched apart, so their events mix in any order, and a
// watch that starts again repeats some.
func TestTrackerAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "arrivals")
		tr := newTracker()
		var calls []func()
		want := Progress{Total: n, Published: n}
		tr.Total, tr.Published = n, n
		for i := range n {
			id, key := event.MessageID(fmt.Sprint("a", i)), event.StudyKey(fmt.Sprint("k", i))
			tr.expect(id, &arrival{parts: 1})
			switch rapid.IntRange(0, 3).Draw(t, "outcome") {
			case 0:
				want.Prepared++
				want.Embedded++
				want.Indexed++
				calls = append(calls, func() { tr.see(prepared(id, key, 1)) }, func() { tr.see(embedded(key, 1)) }, func() { tr.see(indexed(key, 1)) })
			case 2: // prepared, and then refused by a later stage
				want.Prepared++
				want.Rejected++
				dead := event.Envelope{Type: event.Rejected, Cause: id, Rev: 1}
				body := &radstreamv1.Rejected{Stage: "embed", Reason: "internal", StudyKey: string(key), Input: &radstreamv1.InputRef{EventId: "revision"}}
				calls = append(calls, func() { tr.see(prepared(id, key, 1)) }, func() { tr.dead(dead, body) })
			case 3: // prepared, and then erased
				want.Prepared++
				want.Rejected++
				gone := event.Envelope{Type: event.StudyRemoved, Subject: event.IndexedSubject(tenant, key)}
				calls = append(calls, func() { tr.see(prepared(id, key, 1)) }, func() { tr.see(gone) })
			case 1:
				want.Rejected++
				calls = append(calls, func() { tr.reject(id, &radstreamv1.Rejected{Reason: "blank"}) })
			}
		}
		calls = append(calls, calls...) // repeats
		for _, call := range rapid.Permutation(calls).Draw(t, "order") {
			call()
		}
		if d := cmp.Diff(want, tr.Progress); d != "" || !tr.done() {
			t.Fatalf("done %v (-want +got):\n%s", tr.done(), d)
		}
	})
}
