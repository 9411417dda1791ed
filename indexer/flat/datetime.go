package flat

import (
	"strings"
	"time"
)

// maxDatetime bounds what ParseDatetime looks at; no accepted form is longer.
const maxDatetime = 64

// datetimeLayouts are the forms that Qdrant accepts: RFC 3339, the same with an offset without
// colon or minutes, without any offset (UTC), without seconds (with a T since versions after 1.17),
// and a bare date. Fractions of a second are accepted after every form with seconds, and numbers of
// one digit.
var datetimeLayouts = [...]string{
	"2006-1-2T15:4:5Z07:00",
	"2006-1-2T15:4:5Z0700",
	"2006-1-2T15:4:5Z07",
	"2006-1-2T15:4:5",
	"2006-1-2T15:4",
	"2006-1-2",
}

// ParseDatetime reads a datetime as Qdrant does: RFC 3339 and a few laxer forms, such as a space
// for the T and one before the offset; without an offset it is UTC. ok is false for anything else.
func ParseDatetime(s string) (t time.Time, ok bool) {
	if len(s) < len("2006-1-2") || len(s) > maxDatetime || strings.Contains(s, ",") { // Go's for a fraction
		return time.Time{}, false
	}
	s = strings.ToUpper(s)
	if local, ok := strings.CutSuffix(s, " UTC"); ok {
		s = local + "Z"
	}
	if date, rest, ok := strings.Cut(s, " "); ok {
		if !strings.Contains(date, "T") {
			date += "T"
		}
		s = date + strings.ReplaceAll(rest, " ", "")
	}
	for _, layout := range datetimeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
