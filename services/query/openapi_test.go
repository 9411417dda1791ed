package query

import (
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/services/query/querytest"
)

var update = flag.Bool("update", false, "rewrite testdata/openapi.json")

// TestOpenAPI holds the document to its golden: a change of the API is seen in a review.
func TestOpenAPI(t *testing.T) {
	const golden = "testdata/openapi.json"
	got, err := OpenAPI("test")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("run with -update if the change is meant (-golden +got):\n%s", d)
	}
	s, _ := newFake(nil)
	served := ask(s, "GET", "/openapi.json", nil)
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]any
	}
	if err := json.NewDecoder(served.Body).Decode(&doc); err != nil || doc.OpenAPI != "3.1.0" || doc.Info.Version != "v" || len(doc.Paths) != len(routes()) {
		t.Errorf("%v, %+v", err, doc)
	}
}

// TestWhateverIsAsked: see package querytest; here of the HTTP side alone.
func TestWhateverIsAsked(t *testing.T) {
	s, _ := newFake(nil)
	s.answer = checkedAnswers{fakeAnswers{nil, new(Request)}}
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	querytest.Check(t, srv.URL, 400, 1, []string{"1.2.3"}, "m@1", 4)
}
