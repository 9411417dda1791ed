package bench

import (
	"os"
	"testing"
)

// TestSearch measures a small index. How fast it is is not judged.
func TestSearch(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	all, err := Search(t.Context(), SearchConfig{Points: []int{500, 1000}, Width: 32, Queries: 5})
	if err != nil || len(all) != 2 {
		t.Fatalf("%d figures, %v", len(all), err)
	}
	for _, f := range all {
		if f.Search.P50 <= 0 || f.Search.P99 < f.Search.P50 || f.One.P50 <= 0 || f.Upsert <= 0 || len(f.Filters) != len(selectivities) {
			t.Errorf("%+v", f)
		}
		for _, filtered := range f.Filters {
			if filtered.P50 <= 0 || filtered.Ratio <= 0 {
				t.Errorf("%+v", filtered)
			}
		}
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
