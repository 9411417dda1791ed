package event

import (
	"strings"
	"testing"
)

// TestTraceOf: by the Recommendation of W3C, section 3.2 and 3.3, but that of a tracestate only
// what cannot name anybody is kept.
func TestTraceOf(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	const good = "00-" + trace + "-" + span + "-01"
	for name, c := range map[string]struct {
		header map[string][]string
		want   Trace
	}{
		"none":                    {nil, Trace{}},
		"sampled":                 {map[string][]string{"traceparent": {good}}, Trace{Parent: good}},
		"not sampled":             {map[string][]string{"traceparent": {"00-" + trace + "-" + span + "-00"}}, Trace{Parent: "00-" + trace + "-" + span + "-00"}},
		"over HTTP":               {map[string][]string{"Traceparent": {good}, "Tracestate": {"ot=th:8"}}, Trace{good, "ot=th:8"}},
		"of CloudEvents":          {map[string][]string{"ce-traceparent": {good}, "ce-tracestate": {"ot=rv:0123456789abcd"}}, Trace{good, "ot=rv:0123456789abcd"}},
		"the hop, not the start":  {map[string][]string{"traceparent": {good}, "ce-traceparent": {strings.Replace(good, "b7", "c8", 1)}}, Trace{Parent: good}},
		"a later version":         {map[string][]string{"traceparent": {"cc-" + trace + "-" + span + "-01-what-comes"}}, Trace{Parent: good}},
		"flags nobody knows":      {map[string][]string{"traceparent": {"00-" + trace + "-" + span + "-ff"}}, Trace{Parent: "00-" + trace + "-" + span + "-03"}},
		"state of several":        {map[string][]string{"traceparent": {good}, "tracestate": {"dd=s:2;t.usr.id:JANE, ot=th:8;rv:0123456789abcd ,rojo=00f067"}}, Trace{good, "ot=th:8;rv:0123456789abcd"}},
		"state of others":         {map[string][]string{"traceparent": {good}, "tracestate": {"dd=s:2;t.usr.id:JANE"}}, Trace{Parent: good}},
		"more than sampling":      {map[string][]string{"traceparent": {good}, "tracestate": {"ot=th:8;name:JANE"}}, Trace{Parent: good}},
		"digits of a number":      {map[string][]string{"traceparent": {good}, "tracestate": {"ot=rv:12345678;th:19730412"}}, Trace{Parent: good}},
		"too much state":          {map[string][]string{"traceparent": {good}, "tracestate": {"ot=th:8" + strings.Repeat(",", 512)}}, Trace{Parent: good}},
		"too long a parent":       {map[string][]string{"traceparent": {"cc" + good[2:] + strings.Repeat("-x", 128)}}, Trace{}},
		"state alone":             {map[string][]string{"tracestate": {"ot=th:8"}}, Trace{}},
		"version 00 and more":     {map[string][]string{"traceparent": {good + "-x"}}, Trace{}},
		"version ff":              {map[string][]string{"traceparent": {"ff" + good[2:]}}, Trace{}},
		"no trace":                {map[string][]string{"traceparent": {"00-" + strings.Repeat("0", 32) + "-" + span + "-01"}}, Trace{}},
		"no span":                 {map[string][]string{"traceparent": {"00-" + trace + "-" + strings.Repeat("0", 16) + "-01"}}, Trace{}},
		"capitals":                {map[string][]string{"traceparent": {strings.ToUpper(good)}}, Trace{}},
		"text":                    {map[string][]string{"traceparent": {"DOE^JANE"}}, Trace{}},
		"text behind a new line":  {map[string][]string{"traceparent": {good + "\nDOE"}}, Trace{}},
		"no list":                 {map[string][]string{"traceparent": {}}, Trace{}},
		"a bad one hides no good": {map[string][]string{"traceparent": {"x"}, "ce-traceparent": {good}}, Trace{}},
	} {
		got := TraceOf(c.header)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if id := got.ID(); got == (Trace{}) && id != "" || got != (Trace{}) && id != trace {
			t.Errorf("%s: the id is %q", name, id)
		}
	}
}
