package zeroshot_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

var approximately = cmpopts.EquateApprox(0, 1e-6)

func TestDefaultLabels(t *testing.T) {
	labels, err := zeroshot.DefaultLabels()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, l := range labels {
		if i > 0 && labels[i-1].Name >= l.Name {
			t.Errorf("%s follows %s", l.Name, labels[i-1].Name)
		}
		if len(l.Positive) < 2 || len(l.Positive) > 4 || len(l.Negative) < 2 || len(l.Negative) > 4 || l.Calibration != model.Identity() {
			t.Errorf("%s has %d and %d prompts, calibration %v", l.Name, len(l.Positive), len(l.Negative), l.Calibration)
		}
		for _, p := range append(l.Positive, l.Negative...) {
			if seen[p] {
				t.Errorf("%q is there twice", p)
			}
			seen[p] = true
		}
	}
	// The findings that ingest/phantom draws.
	names := map[string]bool{}
	for _, l := range labels {
		names[l.Name] = true
	}
	for _, n := range []string{"effusion", "pneumothorax", "cardiomegaly", "consolidation", "atelectasis", "edema", "nodule", "fracture", "hiatal_hernia", "no_finding"} {
		if !names[n] {
			t.Errorf("there is no label %s", n)
		}
	}
}

func TestEnsemble(t *testing.T) {
	got, err := zeroshot.Ensemble([][]float32{{10, 0}, {0, 0.1}})
	if d := cmp.Diff([]float32{math.Sqrt2 / 2, math.Sqrt2 / 2}, got, approximately); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	for name, v := range map[string][][]float32{"none": {}, "widths": {{1, 0}, {1}}, "zero": {{0, 0}}, "opposite": {{1, 0}, {-1, 0}}, "not numbers": {{float32(math.NaN())}}} {
		if _, err := zeroshot.Ensemble(v); fault.ReasonOf(err) != zeroshot.ReasonVector {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScores(t *testing.T) {
	right, up := []float32{1, 0}, []float32{0, 1}
	labels := []zeroshot.Label{
		{Name: "nodule", Positive: right, Negative: up, Calibration: model.Identity()},
		{Name: "edema", Positive: up, Negative: right, Calibration: model.Identity()},
		{Name: "even", Positive: right, Negative: right, Calibration: model.Identity()},
		{Name: "biased", Positive: right, Negative: up, Calibration: model.Calibration{A: 0.5, B: -1}},
	}
	got, err := zeroshot.Scores([]float32{3, 0}, labels, 0.5) // length does not matter
	sigmoid := func(x float64) float32 { return float32(1 / (1 + math.Exp(-x))) }
	want := []zeroshot.Score{{"biased", sigmoid(0.5*2 - 1)}, {"edema", sigmoid(-2)}, {"even", 0.5}, {"nodule", sigmoid(2)}}
	if d := cmp.Diff(want, got, approximately); err != nil || d != "" {
		t.Errorf("%v (-want +got)\n%s", err, d)
	}
	for name, c := range map[string]struct {
		image       []float32
		temperature float64
	}{"width": {[]float32{1}, 1}, "zero": {[]float32{0, 0}, 1}, "temperature": {right, 0}, "NaN temperature": {right, math.NaN()}} {
		if _, err := zeroshot.Scores(c.image, labels, c.temperature); fault.ReasonOf(err) != zeroshot.ReasonVector {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScoresAreProbabilities(t *testing.T) {
	vector := rapid.SliceOfN(rapid.Float32Range(-1, 1), 4, 4).Filter(func(v []float32) bool { return v[0] != 0 })
	rapid.Check(t, func(t *rapid.T) {
		l := zeroshot.Label{Name: "x", Positive: vector.Draw(t, "positive"), Negative: vector.Draw(t, "negative"),
			Calibration: model.Calibration{A: rapid.Float64Range(0.01, 100).Draw(t, "a"), B: rapid.Float64Range(-10, 10).Draw(t, "b")}}
		got, err := zeroshot.Scores(vector.Draw(t, "image"), []zeroshot.Label{l}, rapid.Float64Range(0.001, 10).Draw(t, "temperature"))
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatal(err)
			}
			return // so short that its square is 0
		}
		if v := got[0].Value; !(v >= 0 && v <= 1) {
			t.Fatalf("score %g", v)
		}
	})
}
