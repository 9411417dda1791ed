package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

func TestPrecisionAt(t *testing.T) {
	even := func(i int) bool { return i%2 == 0 }
	near(t, "2 of 5", precisionAt([]int{0, 1, 3, 4, 5, 6, 8}, 5, even), 0.4)
	near(t, "fewer than k", precisionAt([]int{0, 1}, 10, even), 0.5)
}

func TestRankSkipsTheQueryAndKeepsTies(t *testing.T) {
	scores := []float64{0.5, 0.9, 0.5, 1}
	if d := cmp.Diff([]int{1, 0, 2}, rank(4, 3, func(i int) float64 { return scores[i] })); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestAUC(t *testing.T) {
	near(t, "separated", auc([]float64{3, 4}, []float64{1, 2}), 1)
	near(t, "reversed", auc([]float64{1, 2}, []float64{3, 4}), 0)
	near(t, "all equal", auc([]float64{1, 1, 1}, []float64{1, 1}), 0.5)
	near(t, "one pair of six wrong, one tied", auc([]float64{2, 5}, []float64{1, 2, 3}), (1+0.5+0+3)/6)
	if !math.IsNaN(auc(nil, []float64{1})) {
		t.Error("without positives it is a number")
	}
}

func TestAUCCountsPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 12)
		p, n := values.Draw(t, "positive"), values.Draw(t, "negative")
		var ps, ns []float64
		pairs := 0.0
		for _, a := range p {
			ps = append(ps, float64(a))
		}
		for _, b := range n {
			ns = append(ns, float64(b))
			for _, a := range p {
				switch {
				case a > b:
					pairs++
				case a == b:
					pairs += 0.5
				}
			}
		}
		if got, want := auc(ps, ns), pairs/float64(len(p)*len(n)); math.Abs(got-want) > 1e-9 {
			t.Fatalf("got %g, want %g", got, want)
		}
	})
}

func TestBootstrapIsReproducibleAndCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	covered := 0
	for range 40 {
		values, all := make([]float64, 100), make([]int, 100)
		for i := range values {
			values[i], all[i] = r.NormFloat64(), i
		}
		f := meanFigure(values, [][]int{all})
		if again := meanFigure(values, [][]int{all}); f != again {
			t.Fatalf("%+v, then %+v", f, again)
		}
		if f.Low > f.Value || f.High < f.Value {
			t.Errorf("%+v does not hold its value", f)
		}
		if f.Low <= 0 && f.High >= 0 {
			covered++
		}
		if width := f.High - f.Low; width < 0.25 || width > 0.55 { // 2 x 1.96 / 10
			t.Errorf("the interval is %g wide, want about 0.39", width)
		}
	}
	if covered < 34 {
		t.Errorf("%d of 40 intervals hold the true mean, want about 38", covered)
	}
}

func TestBootstrapResamplesGroupByGroup(t *testing.T) {
	low, high := bootstrap([][]int{{0, 1}, {2}}, func(chosen []int) float64 {
		if len(chosen) != 3 || chosen[0] > 1 || chosen[1] > 1 || chosen[2] != 2 {
			t.Fatalf("drew %v", chosen)
		}
		return 1
	})
	near(t, "low", low, 1)
	near(t, "high", high, 1)
}

// at is a unit vector in the plane, by its angle in degrees.
func at(degrees float64) []float32 {
	s, c := math.Sincos(degrees * math.Pi / 180)
	return []float32{float32(c), float32(s)}
}

func TestRetrievalOnFourClearCases(t *testing.T) {
	score := func(a, b float64) map[string]float64 { return map[string]float64{"a": a, "b": b} }
	cases := []Case{
		{Class: "a", Size: 1, Image: at(0), Pixel: at(0), Scores: score(0.9, 0.1)},
		{Class: "a", Size: 2, Image: at(2), Pixel: at(90), Scores: score(0.4, 0.2)},
		{Class: "b", Size: 1, Image: at(90), Pixel: at(1), Scores: score(0.5, 0.6)},
		{Class: "b", Size: 2, Image: at(92), Pixel: at(91), Scores: score(0.1, 0.7)},
	}
	queries := []Query{{Class: "a", Image: at(1)}, {Class: "b", Image: at(1)}}
	r := Retrieval(cases, queries)
	// Three candidates each, one relevant.
	near(t, "image to image", r.ImageToImage.P10, 1.0/3)
	near(t, "pixels", r.Pixels.P5, 1.0/3)
	near(t, "text to image", r.TextToImage.P10, 0.5)
	near(t, "area of a", r.Classes[0].ZeroShot.AUC, 0.75)
	near(t, "area of b", r.Classes[1].ZeroShot.AUC, 1)
	near(t, "mean area", r.ZeroShot.AUC, 0.875)
	if r.Cases != 4 || r.ImageToImage.Number != 4 || r.TextToImage.Number != 2 || len(r.Classes) != 2 || r.Classes[0].Class != "a" {
		t.Errorf("%+v", r)
	}
}

func TestRetrievalRanksByVector(t *testing.T) {
	// Twelve of each of two classes: vectors tell them apart, pixels are the same for all.
	var cases []Case
	for i := range 24 {
		class, angle := "a", float64(i)
		if i%2 == 1 {
			class, angle = "b", 90+float64(i)
		}
		cases = append(cases, Case{Class: class, Size: float64(i), Image: at(angle), Pixel: at(0)})
	}
	r := Retrieval(cases, []Query{{Class: "a", Image: at(0)}, {Class: "b", Image: at(10)}})
	near(t, "image to image P@10", r.ImageToImage.P10, 1)
	near(t, "image to image low", r.ImageToImage.P10CI[0], 1)
	near(t, "text to image P@5", r.TextToImage.P5, 0.5) // the second text is wrong
	near(t, "of a", r.Classes[0].TextToImage.P5, 1)
	near(t, "of b", r.Classes[1].TextToImage.P5, 0)
	if r.Random.P10 < 0.3 || r.Random.P10 > 0.65 || r.Pixels.P10 > 0.65 {
		t.Errorf("controls: random %g, pixels %g, want about 0.48", r.Random.P10, r.Pixels.P10)
	}
	if r.Classes[0].ZeroShot != nil || len(r.Thirds) != 3 || r.Thirds[0].Third != "small" {
		t.Errorf("%+v", r.Classes[0])
	}
	near(t, "small ones of a", r.Classes[0].Sizes[0].ImageToImage, 1)
	if d := cmp.Diff(r, Retrieval(cases, []Query{{Class: "a", Image: at(0)}, {Class: "b", Image: at(10)}})); d != "" {
		t.Errorf("not reproducible:\n%s", d)
	}
}

func TestPairs(t *testing.T) {
	p := Pairs([]Pair{{Patient: "a", Image: at(0), Text: at(1)}, {Patient: "b", Image: at(10), Text: at(11)}, {Patient: "c", Image: at(20), Text: at(3)}})
	near(t, "image to text R@1", p.ImageToText.R1, 2.0/3)
	near(t, "image to text R@5", p.ImageToText.R5, 1)
	near(t, "text to image R@1", p.TextToImage.R1, 2.0/3)
	near(t, "median rank", p.ImageToText.Median, 1)
	near(t, "chance", p.Chance.R1, 1.0/3)
	// A model that says the same of everything finds nothing.
	same := Pairs([]Pair{{Patient: "", Image: at(0), Text: at(0)}, {Patient: "", Image: at(0), Text: at(0)}, {Patient: "", Image: at(0), Text: at(0)}})
	near(t, "R@1 of one vector", same.ImageToText.R1, 0)
	near(t, "its median rank", same.TextToImage.Median, 3)
	// But for reports that are the same word for word: which of them is found does not matter.
	alike := Pairs([]Pair{{Image: at(0), Text: at(2), Report: "x"}, {Image: at(2), Text: at(2), Report: "x"}, {Image: at(30), Text: at(40), Report: "y"}})
	near(t, "R@1 of equal reports", alike.ImageToText.R1, 1)
	near(t, "and of their images", alike.TextToImage.R1, 1)
	near(t, "chance among two or three", alike.Chance.R1, (1.0/2+1.0/2+1.0/3)/3)
	// Two sets that share a study: four queries of three studies, each among its own set.
	two := Pairs([]Pair{{Patient: "a", Image: at(0), Text: at(1)}, {Patient: "b", Image: at(10), Text: at(11)}}, []Pair{{Patient: "a", Image: at(0), Text: at(0)}, {Patient: "c", Image: at(0), Text: at(0)}})
	near(t, "R@1 of two sets", two.ImageToText.R1, 0.5)
	// Three sets of the same studies are no more than one: a is found, b is not.
	one := []Pair{{Patient: "a", Image: at(0), Text: at(1)}, {Patient: "b", Image: at(10), Text: at(40)}}
	three := Pairs(one, one, one)
	near(t, "R@1 of three sets", three.ImageToText.R1, 0.5)
	near(t, "its low, where b is drawn twice", three.ImageToText.R1CI[0], 0)
	near(t, "its high, where a is", three.ImageToText.R1CI[1], 1)
	near(t, "chance among two", two.Chance.R1, 0.5)
	if two.Pairs != 4 {
		t.Errorf("%d queries", two.Pairs)
	}
}

// TestIntervalsResamplePatients: studies that say the same of one patient are no more than one.
func TestIntervalsResamplePatients(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var once, often, classes []Labelled
	for i := range 20 {
		l := Labelled{Scores: map[string]float64{"a": r.Float64() + 0.3*float64(i%2)}, Truth: map[string]bool{"a": i%2 == 1}, Patient: fmt.Sprint(i)}
		once = append(once, l)
		classes = append(classes, l)
		for range 5 {
			often = append(often, l)
		}
	}
	if d := cmp.Diff(ZeroShot(once).MeanCI, ZeroShot(often).MeanCI); d != "" {
		t.Error(d)
	}
	if a, b := ZeroShot(once).Labels[0].AUCCI, ZeroShot(often).Labels[0].AUCCI; a != b {
		t.Errorf("%v of a study a patient, %v of five", a, b)
	}
	a, b := Classify(classes, once, nil).Labels[0], Classify(classes, often, nil).Labels[0]
	if a.Accuracy != b.Accuracy || a.F1 != b.F1 || a.AUC != b.AUC {
		t.Errorf("%+v of a study a patient, %+v of five", a, b)
	}
}

func TestZeroShot(t *testing.T) {
	row := func(score float64, truth map[string]bool) Labelled {
		return Labelled{Scores: map[string]float64{"a": score, "c": score}, Truth: truth}
	}
	z := ZeroShot([]Labelled{
		row(0.9, map[string]bool{"a": true, "b": true}), // the model has no label b
		row(0.2, map[string]bool{"a": false, "b": false}),
		row(0.5, map[string]bool{"a": true}),
		row(0.6, map[string]bool{"a": false, "c": true}), // c has no negatives
		row(0.7, nil),
	})
	if len(z.Labels) != 1 || z.Labels[0].Positive != 2 || z.Labels[0].Negative != 2 || z.Studies != 5 {
		t.Fatalf("%+v", z)
	}
	near(t, "area", z.Labels[0].AUC, 0.75)
	near(t, "mean", z.Mean, 0.75)
}

// TestSearch: six candidates on a circle, P@5 by hand.
func TestSearch(t *testing.T) {
	cases := []Case{
		{ID: "p", Class: "a", Image: at(0), Text: at(50)}, {ID: "q", Class: "a", Image: at(10), Text: at(0)}, {ID: "r", Class: "b", Image: at(20), Text: at(80)},
		{ID: "s", Class: "b", Image: at(30)}, {ID: "t", Class: "c", Image: at(40), Text: at(90)}, {ID: "u", Class: "a", Image: at(50)}, {ID: "v", Class: "a", Image: at(60), Text: at(10)},
	}
	for name, c := range map[string]struct {
		query Query
		p5    float64
	}{
		"a film that is no candidate": {Query{Class: "a", Image: at(0)}, 2.0 / 5},           // p q r s t
		"a candidate":                 {Query{ID: "p", Class: "a", Image: at(0)}, 2.0 / 5},  // q r s t u
		"the only one of its class":   {Query{ID: "t", Class: "c", Image: at(40)}, 0},       // s u r v q
		"another of that class":       {Query{ID: "x", Class: "c", Image: at(40)}, 1.0 / 5}, // t s u r v
		"a class without a candidate": {Query{Class: "d", Image: at(0)}, 0},
	} {
		r := SearchImages(cases, []Query{c.query})
		near(t, name, r.P5, c.p5)
		if c.query.ID == "" {
			near(t, name+" as a text", SearchTexts(cases, []Query{c.query}).P5, c.p5)
		}
	}
	// Two queries of a and one of c: intervals resample inside of classes.
	r := SearchImages(cases, []Query{{Class: "c", Image: at(40)}, {Class: "a", Image: at(0)}, {Class: "a", Image: at(60)}})
	near(t, "three queries", r.P5, (1.0/5+2.0/5+2.0/5)/3)
	near(t, "their low", r.P5CI[0], r.P5)
	if r.Number != 3 {
		t.Errorf("%d queries", r.Number)
	}
	// Of the reports, those of p, q, r, t and v, three are of a; the second image of a class has no other order.
	near(t, "reports", SearchReports(cases).P5, (3*3.0/5+1.0/5+1.0/5)/5)
	if n := SearchReports(cases).Number; n != 5 {
		t.Errorf("%d images have a report", n)
	}
	if d := cmp.Diff(Precision{}, SearchImages(cases, nil)); d != "" || SearchImages(nil, []Query{{Image: at(0)}}).Number != 0 || SearchTexts(cases, nil).Number != 0 || SearchReports(nil).Number != 0 {
		t.Error("of nothing something was measured", d)
	}
}
