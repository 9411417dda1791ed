package eval

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
)

func TestBestThreshold(t *testing.T) {
	for name, c := range map[string]struct {
		scores []float64
		truth  []bool
		want   float64
	}{
		"apart":                {[]float64{0.9, 0.1, 0.8, 0.2}, []bool{true, false, true, false}, 0.5},
		"one false is cheaper": {[]float64{0.9, 0.8, 0.7, 0.1}, []bool{true, false, true, false}, 0.4},
		"ties stay together":   {[]float64{0.5, 0.5, 0.5}, []bool{true, false, true}, 0.5},
		"all":                  {[]float64{0.2, 0.4}, []bool{true, true}, 0.2},
	} {
		if got := bestThreshold(c.scores, c.truth); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", name, got, c.want)
		}
	}
}

// TestClassify: thresholds come from the validation studies alone, so that a score that says
// something else on the test studies is wrong there.
func TestClassify(t *testing.T) {
	study := func(a, b float64, class string) Labelled {
		return Labelled{Scores: map[string]float64{"a": a, "b": b}, Truth: map[string]bool{"a": class == "a", "b": class == "b"}}
	}
	validation := []Labelled{study(0.9, 0.1, "a"), study(0.8, 0.2, "a"), study(0.2, 0.9, "b"), study(0.1, 0.6, "b")}
	test := []Labelled{study(0.7, 0.1, "a"), study(0.4, 0.5, "a"), study(0.3, 0.8, "b"), study(0.2, 0.3, "b")}
	got := Classify(validation, test, []string{"a", "b"})
	if len(got.Labels) != 2 || got.Labels[0].Threshold != 0.5 || got.Labels[1].Threshold != 0.4 {
		t.Fatalf("%+v", got.Labels)
	}
	a, b := got.Labels[0], got.Labels[1]
	want := []float64{0.75, 2.0 / 3, 1, 0.5, 0.5, 0.75}
	have := []float64{a.Accuracy.Value, a.F1.Value, a.AUC.Value, b.Accuracy.Value, b.F1.Value, b.AUC.Value}
	if d := cmp.Diff(want, have, cmpopts.EquateApprox(0, 1e-12)); d != "" {
		t.Errorf("accuracy, F1 and AUC of both labels (-want +got)\n%s", d)
	}
	if got.Of != 4 || got.Accuracy.Value != 0.75 || got.Macro.Value != 0.75 {
		t.Errorf("which of the two: %+v of %d", got.Accuracy, got.Of)
	}
	if lone := Classify(validation[:2], test, []string{"a"}); len(lone.Labels) != 0 {
		t.Errorf("thresholds from studies that all show the label: %+v", lone.Labels)
	}
}

func TestCalibrationError(t *testing.T) {
	scores, truth := []float64{0.25, 0.25, 0.25, 0.25, 0.95, 1}, []bool{true, false, false, false, true, true}
	if got := calibrationError(scores, truth); math.Abs(got-0.05/6) > 1e-12 {
		t.Errorf("%g, want %g", got, 0.05/6)
	}
}

// TestCover: a quarter of the patches shows a quarter of the area, ten masks nearly all of it.
func TestCover(t *testing.T) {
	c := model.Tiny().Image
	whole := image.Rect(0, 0, 224, 224)
	samples := make([]Sample, 200)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range samples {
		at := image.Pt(r.IntN(150), r.IntN(150))
		samples[i] = Sample{
			Study:   &trainer.Study{Images: []embedder.Image{{Exposed: whole}, {Exposed: whole, View: embedder.Lateral}}},
			Lesions: []image.Rectangle{{Min: at, Max: at.Add(image.Pt(40, 40))}, {}},
		}
	}
	got := Cover(samples, c, 0.25)
	if got.Views != 200 || math.Abs(got.Area.Value-0.25) > 0.01 || math.Abs(got.Seen-(1-math.Pow(0.75, 10))) > 0.01 || got.Touched.Value < 0.9 {
		t.Errorf("%+v", got)
	}
	if all := Cover(samples, c, 1); all.Area.Value < 1-1e-9 || all.Touched.Value < 1-1e-9 {
		t.Errorf("all patches show %+v", all)
	}
}

// TestMultiView: of two cases that only the lateral view shows, one is found by it; what the
// frontal view shows does not count.
func TestMultiView(t *testing.T) {
	samples := []Sample{{Class: "a", LateralOnly: true}, {Class: "a", LateralOnly: true}, {Class: "a"}, {Class: "b"}, {Class: "b"}}
	scored := func(scores ...float64) (out []Case) {
		for _, s := range scores {
			out = append(out, Case{Scores: map[string]float64{"a": s}})
		}
		return out
	}
	rows := MultiView(samples, scored(0.9, 0.3, 0.9, 0.2, 0.4), scored(0.1, 0.3, 0.9, 0.2, 0.4))
	if len(rows) != 2 || rows[0].Class != "a" || rows[1].Class != "all" {
		t.Fatalf("%+v", rows)
	}
	if r := rows[0]; r.Cases != 2 || r.Both.Value != 0.75 || r.Frontal.Value != 0.25 || r.Gain.Value != 0.5 || r.Gain.CI != [2]float64{0, 1} {
		t.Errorf("%+v", r)
	}
}

// TestComparePairs: of four pairs one model finds all at once; the other has texts that two of them share.
func TestComparePairs(t *testing.T) {
	unit := func(i int) []float32 { v := make([]float32, 4); v[i] = 1; return v }
	var good, half []Pair
	for i := range 4 {
		good, half = append(good, Pair{Image: unit(i), Text: unit(i)}), append(half, Pair{Image: unit(i), Text: unit(i ^ i&1)})
	}
	g := ComparePairs([][]Pair{good}, [][]Pair{half})
	if g.ImageToText[0].Value != 1 || g.ImageToText[1].Value != 0 {
		t.Errorf("%+v", g)
	}
	if same := ComparePairs([][]Pair{good, half}, [][]Pair{good, half}); same.ImageToText[0] != (Rate{}) {
		t.Errorf("against itself: %+v", same)
	}
}
