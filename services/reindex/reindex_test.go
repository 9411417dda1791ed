package reindex

import (
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/registry"
)

func TestOverlap(t *testing.T) {
	list := func(s string) (out []string) {
		for _, c := range s {
			out = append(out, string(c))
		}
		return out
	}
	for _, c := range []struct {
		a, b string
		want float64
	}{{"abcd", "dcba", 1}, {"abcd", "efgh", 0}, {"abcd", "cdef", 0.5}, {"ab", "abcd", 0.5}, {"", "ab", 0}, {"", "", 0}} {
		if got := overlap(list(c.a), list(c.b)); got != c.want {
			t.Errorf("%q and %q overlap by %g, want %g", c.a, c.b, got, c.want)
		}
	}
}

// TestRunSuperseded: a model that still answers, while another one was promoted, is not said to have
// the place.
func TestRunSuperseded(t *testing.T) {
	b := bustest.Connect(t, bustest.Serve(t))
	models, err := registry.Open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := models.Push(t.Context(), "../app/tiny", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := models.Promote(t.Context(), pushed.Ref, model.Ref{}, registry.ByOperator); err != nil {
		t.Fatal(err)
	}
	before := model.Ref{Name: "tiny", Version: "0.9.0"}
	if err := models.SetAnswers(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), b, nil, Request{Ref: before, K: 1})
	if fault.KindOf(err) != fault.Conflict || report.Switched {
		t.Errorf("%v, %+v", err, report)
	}
	if err := models.SetAnswers(t.Context(), pushed.Ref); err != nil {
		t.Fatal(err)
	}
	if report, err := Run(t.Context(), b, nil, Request{Ref: pushed.Ref, K: 1}); err != nil || !report.Switched {
		t.Errorf("%v, %+v", err, report)
	}
}
