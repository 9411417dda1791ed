package deid

import (
	"bytes"
	"testing"
	"time"
)

func key(t *testing.T, b byte) Key {
	t.Helper()
	k, err := NewKey(bytes.Repeat([]byte{b}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPseudonyms(t *testing.T) {
	north, south := key(t, 1), key(t, 2)
	if got := north.Study("2.25.1"); got != "2e7314d2b9ccad120f352ddc22ead929" {
		t.Errorf("the pseudonym of a study changed: %s; every archive would lose its studies", got)
	}
	if north.Study("2.25.1") == south.Study("2.25.1") || north.Patient("P", "") == south.Patient("P", "") {
		t.Error("two tenants share a pseudonym")
	}
	if north.Patient("P", "2.25.1") != north.Patient("P", "2.25.2") {
		t.Error("one patient, two pseudonyms")
	}
	if north.Patient("", "2.25.1") == north.Patient("", "2.25.2") {
		t.Error("two patients that are not known were joined")
	}
	if _, err := NewKey([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}

func TestShiftKeepsIntervals(t *testing.T) {
	k := key(t, 1)
	p := k.Patient("P", "")
	first, second := time.Date(2024, 2, 28, 10, 0, 0, 0, time.UTC), time.Date(2024, 3, 2, 11, 0, 0, 0, time.UTC)
	a, b := k.Shift(p, first), k.Shift(p, second)
	if b.Sub(a) != second.Sub(first) {
		t.Errorf("interval %v became %v", second.Sub(first), b.Sub(a))
	}
	if back := first.Sub(a); back < 365*24*time.Hour || back > 3650*24*time.Hour {
		t.Errorf("moved by %v", back)
	}
	if !k.Shift(p, time.Time{}).IsZero() {
		t.Error("an unknown time became known")
	}
}
