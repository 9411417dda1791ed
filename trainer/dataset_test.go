package trainer

import (
	"testing"
	"time"
)

// TestLinkPriors: two studies of one time have the same prior, and are none of one another.
func TestLinkPriors(t *testing.T) {
	at := func(key, patient string, hour int) *Study {
		return &Study{Key: key, Patient: patient, Time: time.Date(2020, 1, 1, hour, 0, 0, 0, time.UTC)}
	}
	first, chest, again, last, other := at("a", "p", 1), at("b", "p", 2), at("c", "p", 2), at("d", "p", 3), at("e", "q", 9)
	undated := &Study{Key: "f", Patient: "p"}
	linkPriors([]*Study{last, again, undated, other, chest, first})
	for s, want := range map[*Study]*Study{first: nil, chest: first, again: first, last: again, other: nil, undated: nil} {
		if s.prior != want {
			t.Errorf("the prior of %s is %+v", s.Key, s.prior)
		}
	}
}
