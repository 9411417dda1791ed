package bus_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
)

// TestEachEnds: a reading ends though the messages that were to come last are removed under way.
func TestEachEnds(t *testing.T) {
	b := bustest.Connect(t, bustest.Serve(t))
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	const all, left = 150, 100
	for i := range all {
		e, err := event.New(event.MessageID(strconv.Itoa(i)), "test", event.StudyArrivedSubject("t"), time.Now(), &radstreamv1.StudyArrived{StudyUid: "2.25.1"})
		if err == nil {
			err = b.Publish(t.Context(), e, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err := b.Each(t.Context(), bus.WatchConfig{Stream: event.StreamStudies}, func(m bus.Message) error {
		if seen++; m.Sequence != uint64(seen) || seen == 1 && m.Pending != all-1 {
			t.Errorf("message %d comes as number %d, and %d behind it", m.Sequence, seen, m.Pending)
		}
		if seen > 1 {
			return nil
		}
		for seq := uint64(left + 1); seq <= all; seq++ {
			if err := b.SecureDelete(t.Context(), event.StreamStudies, seq); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || seen != left {
		t.Errorf("%d messages were seen, %v", seen, err)
	}
	if on, err := b.On(t.Context(), event.StreamStudies, event.StudyArrivedSubject("t")); err != nil || len(on) != left || len(on[0].Body) > 0 {
		t.Errorf("%d messages are there, %v", len(on), err)
	}
}
