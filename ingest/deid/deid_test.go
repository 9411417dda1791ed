package deid

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/radstream/radstream/schemas/event"
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
	for _, padded := range []event.StudyUID{" 2.25.1", "2.25.1\x00", "\t2.25.1 \r\n"} {
		if north.Study(padded) != north.Study("2.25.1") || north.Patient("", padded) != north.Patient("", "2.25.1") {
			t.Errorf("%q is another study", padded)
		}
	}
	if north.Patient("P \x00", "") != north.Patient("P", "") || north.Patient(" \x00", "1") != north.Patient("", "1") {
		t.Error("padding makes another patient")
	}
	for _, other := range []event.PatientID{"p", "0P", "P 1", "P1"} {
		if north.Patient(other, "") == north.Patient("P", "") {
			t.Errorf("%q was joined with P", other)
		}
	}
	if _, err := NewKey([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}

// TestShiftKeepsIntervals: over any two times, across changes of the clock in a zone with
// summer time, leap days and a century.
func TestShiftKeepsIntervals(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	times := []time.Time{
		time.Date(1896, 2, 29, 23, 59, 59, 999999000, time.UTC),
		time.Date(2024, 2, 28, 10, 0, 0, 0, time.UTC),
		time.Date(2024, 3, 2, 11, 0, 0, 123456000, time.UTC),
		time.Date(2024, 3, 31, 1, 59, 0, 0, berlin), // an hour before, and after, the clock moves
		time.Date(2024, 3, 31, 3, 59, 0, 0, berlin),
		time.Date(2024, 10, 27, 2, 30, 0, 0, berlin),
		time.Date(2099, 12, 31, 0, 0, 0, 0, time.FixedZone("", -11*3600)),
	}
	rapid.Check(t, func(t *rapid.T) {
		k, err := NewKey(rapid.SliceOfN(rapid.Byte(), KeySize, KeySize).Draw(t, "key"))
		if err != nil {
			t.Fatal(err)
		}
		p := k.Patient(event.PatientID(rapid.String().Draw(t, "patient")), "1")
		for _, at := range append(times, time.Time{}) {
			if back := k.Unshift(p, k.Shift(p, at)); !back.Equal(at) {
				t.Fatalf("%v comes back as %v", at, back)
			}
		}
		first, second := rapid.SampledFrom(times).Draw(t, "first"), rapid.SampledFrom(times).Draw(t, "second")
		if got, want := k.Shift(p, second).Sub(k.Shift(p, first)), second.Sub(first); got != want {
			t.Errorf("interval %v became %v", want, got)
		}
		if back := first.Sub(k.Shift(p, first)); back < 365*24*time.Hour || back > 3650*24*time.Hour {
			t.Errorf("moved by %v", back)
		}
	})
	k := key(t, 1)
	if !k.Shift("p", time.Time{}).IsZero() {
		t.Error("an unknown time became known")
	}
	whole := 0
	for _, p := range []event.PatientKey{"a", "b", "c", "d"} {
		if k.Shift(p, times[1]).Sub(times[1])%(24*time.Hour) == 0 {
			whole++
		}
	}
	if whole == 4 {
		t.Error("the time of day stays")
	}
}
