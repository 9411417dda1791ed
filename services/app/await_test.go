package app

import (
	"context"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
)

// patience ends a test that hangs. It is no measure: a machine may be slow and have other work.
const patience = 3 * time.Minute

// awaitMessage reads what a subject holds, and what comes, until ok.
func awaitMessage(t *testing.T, b *bus.Bus, stream string, subject event.Subject, ok func(bus.Message) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := b.Watch(ctx, bus.WatchConfig{Stream: stream, Subjects: []event.Subject{subject}, Start: bus.FromSeq(1)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for {
		m, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("what was waited for on %s did not come: %v", subject, err)
		}
		if ok(m) {
			return
		}
	}
}

// awaitRevision waits for a revision on one of the subjects of a study.
func awaitRevision(t *testing.T, b *bus.Bus, subjects event.Subject, ok func(*radstreamv1.StudyPrepared, event.Subject) bool) *radstreamv1.StudyPrepared {
	t.Helper()
	var found, last *radstreamv1.StudyPrepared
	defer func() {
		if found == nil {
			t.Logf("the last revision was %d, patient %s, prior %v, report %q, %d views", last.GetRev(), last.GetPatientKey(), last.GetPrior(), last.GetReport().GetText(), len(last.GetViews()))
		}
	}()
	awaitMessage(t, b, event.StreamPrepared, subjects, func(m bus.Message) bool {
		if m.Type != event.StudyPrepared {
			return false
		}
		body, err := m.Message()
		if err != nil {
			t.Fatal(err)
		}
		if last = body.(*radstreamv1.StudyPrepared); ok(last, m.Subject) {
			found = last
		}
		return found != nil
	})
	return found
}

func awaitType(t *testing.T, b *bus.Bus, subject event.Subject, want event.Type) {
	t.Helper()
	awaitMessage(t, b, event.StreamPrepared, subject, func(m bus.Message) bool { return m.Type == want })
}

// awaitRemoved waits until the index says that a study is gone from it.
func awaitRemoved(t *testing.T, b *bus.Bus, k event.StudyKey) {
	t.Helper()
	awaitMessage(t, b, event.StreamIndexed, event.IndexedSubject(tenant, k), func(m bus.Message) bool { return m.Type == event.StudyRemoved })
}

func awaitIndexed(t *testing.T, b *bus.Bus, k event.StudyKey, rev event.Rev) {
	t.Helper()
	awaitMessage(t, b, event.StreamIndexed, event.IndexedSubject(tenant, k), func(m bus.Message) bool { return m.Rev >= rev })
}
