package dicom

import (
	"strings"
	"time"
)

// FirstYear is the year in which X-rays were found: no study is older, and senders that do
// not know a date write 19000101, which nobody can tell from a date, or one long before.
const FirstYear = 1895

// studyTime joins a DA and a TM value (PS3.5 section 6.2) with the Timezone Offset From UTC
// (0008,0201), in which they then are; without one they are taken as UTC.
//
// A date that is not on the calendar, or before [FirstYear], is not known, and then neither
// is the time. A time that is absent or cannot be read counts as midnight. The forms of
// ACR-NEMA, with dots in the date and colons in the time, are read as well.
func studyTime(date, clock, zone string) time.Time {
	if len(date) == 10 && date[4] == '.' && date[7] == '.' {
		date = strings.ReplaceAll(date, ".", "")
	}
	day, err := time.ParseInLocation("20060102", date, location(zone))
	if err != nil || day.Year() < FirstYear {
		return time.Time{}
	}
	return day.Add(timeOfDay(clock)).UTC()
}

// timeOfDay reads a TM value: HH, HHMM or HHMMSS and up to six digits of a second.
func timeOfDay(clock string) time.Duration {
	if len(clock) > 5 && clock[2] == ':' && clock[5] == ':' {
		clock = strings.Replace(clock, ":", "", 2)
	}
	if len(clock) >= 6 && clock[4:6] == "60" { // a leap second
		clock = clock[:4] + "59" + clock[6:]
	}
	for _, layout := range []string{"150405", "1504", "15"} {
		if t, err := time.Parse(layout, clock); err == nil { // also with a fraction of a second
			return t.Sub(t.Truncate(24 * time.Hour))
		}
	}
	return 0
}

// location reads +hhmm or -hhmm, from -1200 to +1400 (PS3.3 section C.12.1.1.8); anything
// else is UTC.
func location(zone string) *time.Location {
	t, err := time.Parse("-0700", zone)
	if err != nil {
		return time.UTC
	}
	if _, offset := t.Zone(); offset >= -12*3600 && offset <= 14*3600 {
		return time.FixedZone("", offset)
	}
	return time.UTC
}
