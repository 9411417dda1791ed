package app

import (
	"testing"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/deadletter"
)

// TestRequeue: a film that was refused is searchable after its dead letter was requeued under other
// settings, without its sender; under the same settings it is refused once more.
func TestRequeue(t *testing.T) {
	f, film := dim(t)
	dir := t.TempDir()
	gate := func(is string) func(*config.Config) {
		return func(c *config.Config) { c.Ingest.QualityGate, c.Ingest.BurnedInText = is, "off" }
	}
	var only deadletter.Letter
	letter := func(s *system) deadletter.Letter {
		t.Helper()
		n := 0
		if err := deadletter.List(t.Context(), s.bus, deadletter.Filter{}, func(l deadletter.Letter) error { n++; only = l; return nil }); err != nil {
			t.Fatal(err)
		}
		if n != 1 || only.Reason != string(pixel.ReasonUnderExposed) || only.Part != "object" {
			t.Fatalf("%d letters, the last %+v", n, only)
		}
		return only
	}
	requeue := func(s *system) {
		t.Helper()
		if err := deadletter.Requeue(t.Context(), s.bus, letter(s)); err != nil {
			t.Fatal(err)
		}
	}

	s := start(t, dir, t.Output(), gate("on"))
	s.send(t, "dim", &radstreamv1.StudyArrived{StudyUid: f.StudyUID, PatientId: f.PatientID, Objects: []*radstreamv1.StudyObject{s.object(t, film, radstreamv1.Projection_PROJECTION_FRONTAL)}})
	s.expect(t, "dim", event.Rejected, 0)
	requeue(s)
	s.expect(t, "dim", event.Rejected, 0)
	letter(s)
	s.stop(t)

	s = start(t, dir, t.Output(), gate("off"))
	requeue(s)
	s.expect(t, "dim", event.StudyIndexed, 1)
	if n := len(s.points(t)); n != 1 {
		t.Errorf("%d studies are indexed", n)
	}
}
