package event

import (
	"regexp"
	"strconv"
	"strings"
)

// Trace is the W3C Trace Context that an event carries on: which trace it belongs to, and the span
// that it comes from. The zero value is none. Its digits are random, if who began it keeps to the standard: see [TraceOf].
type Trace struct {
	Parent string `json:"traceparent"`          // of version 00
	State  string `json:"tracestate,omitempty"` // OpenTelemetry's own member, if there is one
}

// ID returns the id of the trace, 32 lower-case hex digits, or "" for none.
func (t Trace) ID() string {
	if m := parentForm.FindStringSubmatch(t.Parent); m != nil {
		return m[2]
	}
	return ""
}

const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
)

var (
	parentForm = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)
	// stateForm is what a sampler of OpenTelemetry says: a threshold, and randomness that other
	// spans of the trace are sampled by.
	stateForm = regexp.MustCompile(`^ot=(th:[0-9a-f]{1,14}(;rv:[0-9a-f]{14})?|rv:[0-9a-f]{14}(;th:[0-9a-f]{1,14})?)$`)
)

// What is longer is none: who sends it is not known yet, and the Recommendation asks for no more.
const (
	longestParent = 256
	longestState  = 512
)

// TraceOf reads the headers traceparent and tracestate of a message or a request, in any case; where
// there is no traceparent, ce-traceparent and ce-tracestate, as the CloudEvents extension for
// distributed tracing names them. One that is not well-formed is none.
//
// The members of a tracestate are free text of those who add them, of which some are known to
// name the user. What came from outside is stored and sent on past STUDIES, so only the member of
// OpenTelemetry, in hex, is kept: the Recommendation lets who minds privacy remove the others.
func TraceOf(header map[string][]string) Trace {
	for _, prefix := range []string{"", "ce-"} {
		if parent := headerValue(header, prefix+headerTraceParent); parent != "" {
			return newTrace(parent, headerValue(header, prefix+headerTraceState))
		}
	}
	return Trace{}
}

func newTrace(parent, state string) Trace {
	if len(parent) > longestParent {
		return Trace{}
	}
	m := parentForm.FindStringSubmatch(parent)
	if m == nil || m[1] == "ff" || m[1] == "00" && m[5] != "" || strings.Trim(m[2], "0") == "" || strings.Trim(m[3], "0") == "" {
		return Trace{}
	}
	flags, _ := strconv.ParseUint(m[4], 16, 8) // two hex digits
	const known = 0b11                         // sampled, and that the id is random
	t := Trace{Parent: "00-" + m[2] + "-" + m[3] + "-0" + strconv.FormatUint(flags&known, 16)}
	if len(state) > longestState {
		return t
	}
	for _, member := range strings.Split(state, ",") {
		if member = strings.Trim(member, " \t"); stateForm.MatchString(member) {
			t.State = member
			break
		}
	}
	return t
}

// headerValue returns the first value of a header, whose name matches in any case.
func headerValue(header map[string][]string, name string) string {
	if v := header[name]; len(v) > 0 {
		return v[0]
	}
	for k, v := range header {
		if strings.EqualFold(k, name) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}
