package reindex

import "testing"

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
