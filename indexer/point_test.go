package indexer

import (
	"testing"

	"github.com/radstream/radstream/schemas/fault"
)

// TestPointIDIsStable pins ids: collections that exist were written under them.
func TestPointIDIsStable(t *testing.T) {
	for _, c := range []struct{ tenant, study, want string }{
		{"t1", "study", "40d9624a-204f-5629-ae39-a5bc1a673052"},
		{"t", "1study", "249a8c56-c039-56bd-9eaa-73011c2191ff"},
	} {
		if got := NewPointID(c.tenant, c.study).String(); got != c.want {
			t.Errorf("NewPointID(%q, %q) = %s, want %s", c.tenant, c.study, got, c.want)
		}
	}
	id := NewPointID("a", "b")
	if got, err := ParsePointID(id.String()); err != nil || got != id {
		t.Errorf("ParsePointID: %v, %v", got, err)
	}
	if _, err := ParsePointID("7"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("ParsePointID of a number: %v, want kind invalid", err)
	}
}

func TestAnnounce(t *testing.T) {
	p := Point{ID: NewPointID("t", "s"), Tenant: "t", StudyKey: "s", Rev: 4, PrepID: "prep"}
	for name, c := range map[string]struct {
		r    Result
		want bool
	}{
		"applied":                    {Result{Applied, 4, 0, "prep"}, true},
		"redelivered":                {Result{Refused, 4, 0, "prep"}, true},
		"another embedding with rev": {Result{Refused, 4, 0, "other"}, false},
		"overtaken":                  {Result{Refused, 5, 0, "prep5"}, false},
		"scored by a later set":      {Result{Refused, 4, 1, "prep"}, false},
		"erased":                     {Result{Refused, MaxRev, 0, ""}, false},
	} {
		if got := c.r.Announce(p); got != c.want {
			t.Errorf("%s: announce %v, want %v", name, got, c.want)
		}
	}
	if (Result{Applied, MaxRev, 0, ""}).Announce(NewTombstone("t", "s")) {
		t.Error("a tombstone is announced")
	}
}
