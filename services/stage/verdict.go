package stage

import (
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

const (
	minDelay = 250 * time.Millisecond
	maxDelay = 30 * time.Second
	// forgiving is how many deliveries an error gets that is not the input's fault for
	// certain, yet is unlikely to pass.
	forgiving = 5
	// never says that no number of deliveries leads to a rejection.
	never = 0
)

// verdict says what becomes of an input whose handling failed with kind at its attempt-th
// delivery (from 1): a rejection, or another delivery after a positive delay, which never
// shrinks as attempts grow.
func verdict(kind fault.Kind, attempt uint64) (reject bool, delay time.Duration) {
	limit, known := rejectAt(kind)
	if !known {
		limit, _ = rejectAt(fault.Internal)
	}
	if limit != never && attempt >= limit {
		return true, 0
	}
	return false, backoff(attempt)
}

// rejectAt returns the delivery at which an error of the kind becomes a rejection, or
// never. Outages and misconfiguration never dead-letter: they end, and the stream waits.
func rejectAt(kind fault.Kind) (attempt uint64, known bool) {
	switch kind {
	case fault.Invalid, fault.Unsupported, fault.Erased, fault.Poison, fault.Corrupt:
		return 1, true // the same input fails in the same way
	case fault.Internal, fault.NotFound:
		return forgiving, true // a defect, or something that was expected to be there by now
	case fault.Conflict, fault.Transient, fault.Unavailable, fault.Canceled, fault.Usage:
		return never, true
	}
	return 0, false
}

// backoff doubles from minDelay with each attempt and stays at maxDelay.
func backoff(attempt uint64) time.Duration {
	delay := minDelay
	for ; attempt > 1 && delay < maxDelay; attempt-- {
		delay *= 2
	}
	return min(delay, maxDelay)
}
