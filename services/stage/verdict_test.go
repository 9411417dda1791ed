package stage

import (
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

func TestVerdictOfEveryKind(t *testing.T) {
	const no = 0 // never rejected
	rows := map[fault.Kind]uint64{
		fault.Internal:    5,
		fault.Invalid:     1,
		fault.Unsupported: 1,
		fault.Conflict:    no,
		fault.Transient:   no,
		fault.Unavailable: no,
		fault.NotFound:    5,
		fault.Erased:      1,
		fault.Poison:      1,
		fault.Corrupt:     1,
		fault.Usage:       no,
		fault.Canceled:    no,
	}
	for _, kind := range fault.Kinds() {
		want, ok := rows[kind]
		if _, known := rejectAt(kind); !known || !ok {
			t.Errorf("kind %s has no row", kind)
			continue
		}
		var last time.Duration
		for attempt := uint64(1); attempt < 100; attempt++ {
			reject, delay := verdict(kind, attempt)
			if reject != (want != no && attempt >= want) {
				t.Errorf("%s, attempt %d: reject %v", kind, attempt, reject)
			}
			if reject {
				continue
			}
			if delay <= 0 || delay < last || delay > 30*time.Second || delay == last && delay != maxDelay {
				t.Errorf("%s, attempt %d: delay %v after %v", kind, attempt, delay, last)
			}
			last = delay
		}
	}
	if reject, delay := verdict(fault.Kind(200), 1); reject || delay <= 0 {
		t.Error("a kind from a later version is not treated like Internal")
	}
	if _, delay := verdict(fault.Transient, 1<<63); delay != maxDelay {
		t.Errorf("after very many attempts: %v", delay)
	}
}
