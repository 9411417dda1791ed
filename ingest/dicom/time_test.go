package dicom

import (
	"testing"
	"time"
)

func TestStudyTime(t *testing.T) {
	at := func(y, mo, d, h, mi, s, ns int) time.Time {
		return time.Date(y, time.Month(mo), d, h, mi, s, ns, time.UTC)
	}
	for _, tc := range []struct {
		date, clock, zone string
		want              time.Time
	}{
		{"20240506", "070809", "", at(2024, 5, 6, 7, 8, 9, 0)},
		{"20240506", "070809.123456", "", at(2024, 5, 6, 7, 8, 9, 123456000)},
		{"20240506", "070809.5", "", at(2024, 5, 6, 7, 8, 9, 500000000)},
		{"20240506", "0708", "", at(2024, 5, 6, 7, 8, 0, 0)},
		{"20240506", "07", "", at(2024, 5, 6, 7, 0, 0, 0)},
		{"2024.05.06", "07:08:09.25", "", at(2024, 5, 6, 7, 8, 9, 250000000)},
		{"20161231", "235960", "", at(2016, 12, 31, 23, 59, 59, 0)},
		// no time, and times that are none: midnight
		{"20240506", "", "", at(2024, 5, 6, 0, 0, 0, 0)},
		{"20240506", "250000", "", at(2024, 5, 6, 0, 0, 0, 0)},
		{"20240506", "7:8", "", at(2024, 5, 6, 0, 0, 0, 0)},
		{"20240506", "noon", "", at(2024, 5, 6, 0, 0, 0, 0)},
		// zones; one that is none counts as UTC
		{"20240506", "010000", "+0200", at(2024, 5, 5, 23, 0, 0, 0)},
		{"20240506", "200000", "-0500", at(2024, 5, 7, 1, 0, 0, 0)},
		{"20240506", "000000", "+1400", at(2024, 5, 5, 10, 0, 0, 0)},
		{"20240506", "", "+0100", at(2024, 5, 5, 23, 0, 0, 0)},
		{"20240506", "010000", "+1500", at(2024, 5, 6, 1, 0, 0, 0)},
		{"20240506", "010000", "CET", at(2024, 5, 6, 1, 0, 0, 0)},
		{"20240506", "010000", "0200", at(2024, 5, 6, 1, 0, 0, 0)},
		// dates that are none, and one from before X-rays
		{"", "070809", "", time.Time{}},
		{"20240230", "070809", "", time.Time{}},
		{"20230229", "", "", time.Time{}},
		{"00000000", "", "", time.Time{}},
		{"2024", "", "", time.Time{}},
		{"202405", "", "", time.Time{}},
		{"20241301", "", "", time.Time{}},
		{"06052024", "", "", time.Time{}},
		{"18941231", "", "", time.Time{}},
		{"18991231", "", "", at(1899, 12, 31, 0, 0, 0, 0)},
		{"+2024056", "", "", time.Time{}},
	} {
		if got := studyTime(tc.date, tc.clock, tc.zone); got != tc.want {
			t.Errorf("%q %q %q: %v, want %v", tc.date, tc.clock, tc.zone, got, tc.want)
		}
	}
}

// TestSummerTime: a film of March and its follow-up a day later, over the change of the
// clock, are as far apart as they were.
func TestSummerTime(t *testing.T) {
	before, after := studyTime("20240330", "120000", "+0100"), studyTime("20240331", "120000", "+0200")
	if got := after.Sub(before); got != 23*time.Hour {
		t.Errorf("%v, want 23h", got)
	}
}
