package eval

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLocalSimilarity is by hand, in the plane: patches at 0 and 90 degrees. Their shares, where a
// sentence lies at 30 degrees, are as 1 to exp (10 (sin 30 - cos 30)) = 0.0257, so that the region
// lies at 1.47 degrees.
func TestLocalSimilarity(t *testing.T) {
	both := [][]float32{at(0), at(90)}
	for name, c := range map[string]struct {
		patches, sentences [][]float32
		want               float64
	}{
		"between two patches":      {both, [][]float32{at(45)}, 1},
		"on a patch":               {both, [][]float32{at(90)}, 1},
		"nearer to one":            {both, [][]float32{at(30)}, 0.878598},
		"one patch":                {both[:1], [][]float32{at(60)}, 0.5},
		"a patch twice":            {[][]float32{at(0), at(0), at(90)}, [][]float32{at(45)}, 3 / math.Sqrt(10)},
		"two sentences":            {both, [][]float32{at(45), at(45)}, 1 + 0.2*math.Ln2},
		"one that fits less":       {both, [][]float32{at(30), at(45)}, 1.087002},
		"one that does not at all": {both[:1], [][]float32{at(180), at(0)}, 1.000009},
		"nothing said":             {both, nil, math.Inf(-1)},
	} {
		if got := LocalSimilarity(c.patches, c.sentences); !(math.Abs(got-c.want) < 2e-6) && got != c.want {
			t.Errorf("%s: %g, want %g", name, got, c.want)
		}
	}
}

func TestSentences(t *testing.T) {
	tokens := [][]float32{{9, 9}, {3, 0}, {3, 8}, {0, -2}, {9, 9}} // [CLS], two words, one, [SEP]
	got := sentences(tokens, [][]int32{{7, 7}, {7}})
	if d := cmp.Diff([][]float32{{0.6, 0.8}, {0, -1}}, got); d != "" {
		t.Error(d)
	}
	if sentences(nil, [][]int32{{7}}) != nil {
		t.Error("without local vectors there are sentences")
	}
}

// TestLocalRanks: vectors of whole studies and texts are all alike, local ones tell them apart, and
// only one way round: what each report says, the film of the next shows.
func TestLocalRanks(t *testing.T) {
	const n = 6
	var cases []Case
	var patches, texts [][][]float32
	for i := range n {
		c := Case{Class: string(rune('a' + i)), Image: at(0), Text: at(0),
			Patches: [][]float32{at(30 * float64(i))}, Sentences: [][]float32{at(30 * float64((i+1)%n))}}
		cases, patches, texts = append(cases, c), append(patches, c.Patches), append(texts, c.Sentences)
	}
	queries := []Query{{Class: "d", Image: at(0), Sentences: [][]float32{at(90)}}, {Class: "e", Image: at(0), Sentences: [][]float32{at(120)}}}
	rows, err := LocalSimilarities(t.Context(), 2, patches, texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	near32 := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s is %g, want %g", what, got, want)
		}
	}
	near32("film 1 and report 0", rows[1][0], 2)
	near32("film 0 and report 1", rows[0][1], 1)
	// Image 0 finds the texts of both others before its own, so that two texts find it before theirs.
	pairs := []Pair{{Image: at(0), Text: at(0), Local: []float64{1, 2, 2}}, {Image: at(0), Text: at(0), Local: []float64{0, 1, 0}}, {Image: at(0), Text: at(0), Local: []float64{0, 0, 1}}}
	near(t, "R@1 of reports", Pairs(pairs).ImageToText.R1, 2.0/3)
	near(t, "R@1 of films", Pairs(pairs).TextToImage.R1, 1.0/3)
	last := 0
	err = AddLocal(t.Context(), 1, cases, queries, func(done, total int) {
		if last++; done != last || total != n {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
	})
	if err != nil || last != n {
		t.Fatal(last, err)
	}
	first := func(local []float64) int { return rank(n, -1, func(i int) float64 { return local[i] })[0] }
	for i, c := range cases {
		if got, want := first(c.Local), (i+n-1)%n; got != want || c.Patches != nil || c.Sentences != nil {
			t.Errorf("film %d finds report %d, want %d", i, got, want)
		}
	}
	order := rank(n, -1, func(c int) float64 { return asked(queries, cases, 0, c) })
	if order[0] != 3 {
		t.Errorf("the text finds %v", order)
	}
	if got := report(cases, 2, 1) - dot(cases[2].Image, cases[1].Text); math.Abs(got-1) > 1e-6 {
		t.Errorf("film 2 and report 1 have %g in common beside the cosine", got)
	}
}

// TestLocalRetrieval: the two classes differ by local vectors alone.
func TestLocalRetrieval(t *testing.T) {
	var cases []Case
	for i := range 24 {
		local := [][]float32{at(90 * float64(i%2))}
		cases = append(cases, Case{Class: string(rune('a' + i%2)), Image: at(0), Text: at(0), Patches: local, Sentences: local})
	}
	queries := []Query{{Class: "a", Image: at(0), Sentences: [][]float32{at(10)}}, {Class: "b", Image: at(0), Sentences: [][]float32{at(80)}}}
	figures := func() [4]float64 {
		table := Retrieval(cases, queries)
		row := Compare("", []Run{{Cases: cases, Queries: queries}}, nil, [][]Case{cases}, [][]Change{nil})
		return [4]float64{table.TextToImage.P10, table.ImageToText.P10, row.TextToImage.Mean, row.ImageToText.Mean}
	}
	if got := figures(); got != [4]float64{0.5, 0.5, 0.5, 0.5} {
		t.Errorf("by global vectors %v", got)
	}
	if err := AddLocal(t.Context(), 1, cases, queries, nil); err != nil {
		t.Fatal(err)
	}
	if got := figures(); got != [4]float64{1, 1, 1, 1} {
		t.Errorf("by local vectors too %v", got)
	}
}
