package flat

import (
	"strings"
	"time"
)

// maxDatetime bounds what ParseDatetime looks at; no accepted form is longer.
const maxDatetime = 64

// datetimeLayouts are the forms that Qdrant accepts: RFC 3339, the same with a space, with
// an offset without colon or minutes, without any offset (UTC), and a bare date. Fractions
// of a second are accepted after every form with seconds.
var datetimeLayouts = [...]string{
	time.RFC3339Nano,
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05Z07",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05Z0700",
	"2006-01-02 15:04:05Z07",
	"2006-01-02 15:04:05 Z07:00",
	"2006-01-02 15:04:05",
	"2006-01-02 15:04",
	"2006-01-02",
}

// ParseDatetime reads a datetime as Qdrant does: RFC 3339 and a few laxer forms; without
// an offset it is UTC. ok is false for anything else.
func ParseDatetime(s string) (t time.Time, ok bool) {
	if len(s) < len("2006-01-02") || len(s) > maxDatetime {
		return time.Time{}, false
	}
	s = strings.TrimSuffix(s, " UTC")
	for _, layout := range datetimeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
