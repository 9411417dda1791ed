package ingest_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/phantom"
)

// TestPhantomViews pins the views of phantoms, of which the model that ships was made: a
// change here asks for another model.
func TestPhantomViews(t *testing.T) {
	c := phantom.Defaults()
	c.Studies, c.Side = 24, 320
	var out strings.Builder
	for i := range c.Studies {
		study, err := phantom.Generate(c, i)
		if err != nil {
			t.Fatal(err)
		}
		files, err := study.Files()
		if err != nil {
			t.Fatal(err)
		}
		var arrival ingest.Arrival
		for _, f := range files {
			arrival.Objects = append(arrival.Objects, ingest.Object{Data: f.Data})
		}
		facts, refusals, err := preparer(t).Prepare(context.Background(), key(t), arrival)
		if err != nil || len(refusals) > 0 {
			t.Fatalf("study %d: %v, %v", i, refusals, err)
		}
		for _, v := range facts.Views {
			fmt.Fprintf(&out, "%d %s %s\n", i, hex.EncodeToString(v.PixelsSha256), v.WindowPolicy)
		}
	}
	compareGolden(t, "phantoms.golden", out.String())
}

// compareGolden holds got to a file of testdata, or rewrites that with -update.
func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("run with -update when this is meant (-want +got):\n%s", d)
	}
}
