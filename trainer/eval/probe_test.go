package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/phantom"
)

// TestProbe: classes that a line divides are told apart on new rows, noise is not, and the same
// rows give the same probe.
func TestProbe(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int, signal float64) (x [][]float64, y []int, groups []string) {
		for i := range n {
			class := i % 3
			row := make([]float64, 6)
			for j := range row {
				row[j] = r.NormFloat64()
			}
			row[class] += signal
			x, y, groups = append(x, row), append(y, class), append(groups, fmt.Sprint(i/2))
		}
		return x, y, groups
	}
	score := func(signal float64) float64 {
		x, y, g := draw(150, signal)
		p := FitProbe(x, y, g, 3)
		if d := cmp.Diff(p, FitProbe(x, y, g, 3), cmp.AllowUnexported(Probe{})); d != "" {
			t.Errorf("fitted once more it differs:\n%s", d)
		}
		tx, ty, _ := draw(300, signal)
		answers := make([]int, len(tx))
		for i := range tx {
			answers[i] = p.Answer(tx[i])
			sum := 0.0
			for _, q := range p.Probabilities(tx[i]) {
				sum += q
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Fatalf("probabilities add up to %g", sum)
			}
		}
		return macro(answers, ty, 3)
	}
	if a := score(4); a < 0.95 {
		t.Errorf("macro accuracy %.3f where a line divides the classes", a)
	}
	if a := score(0); a < 0.2 || a > 0.45 {
		t.Errorf("macro accuracy %.3f on noise", a)
	}
}

// TestProgression: where the vectors of a study and its prior differ as the finding did, the prior
// is worth a lot; where the study says nothing, it alone is worth nothing.
func TestProgression(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	draw := func(n int) (out []Change) {
		for i := range n {
			size := r.Float64()
			by := float64(i%3-1) * 0.5
			prior, current := []float32{float32(size), 1}, []float32{float32(size + by), 1}
			out = append(out, Change{"edema", fmt.Sprint(i), current, prior, []phantom.Progression{phantom.Improved, phantom.Stable, phantom.Worsened}[i%3]})
		}
		return out
	}
	changes := slices.Concat(draw(60), draw(90), draw(90))
	rows := Progression(changes, []ProgressionSet{{span(60, 150), span(0, 60)}, {span(150, 240), span(0, 60)}})
	if len(rows) != 2 || rows[0].Finding != "edema" || rows[1].Finding != "mean" {
		t.Fatalf("%+v", rows)
	}
	if r := rows[0]; r.Both < 0.95 || r.Current > 0.85 || r.Gain.CI[0] <= 0 || r.Pairs != 60 || rows[1].Gain.Value != r.Gain.Value {
		t.Errorf("%+v", r)
	}
	// Sets that cannot be trained on do not count, and a pair that two sets test counts once.
	less := Progression(changes, []ProgressionSet{{span(60, 150), span(0, 60)}, {nil, span(0, 60)}, {span(60, 61), span(0, 60)}, {span(150, 240), span(30, 60)}, {span(60, 240), nil}})
	if len(less) != 2 || less[0].Pairs != 60 || less[0].Both < 0.95 {
		t.Errorf("%+v", less)
	}
	if Progression(changes, []ProgressionSet{{nil, span(0, 60)}}) != nil {
		t.Error("nothing to train on")
	}
}

// TestProbed: a label that the vectors tell is told of patients that no probe saw, one that tells
// who the patient is is not, and one that two patients show has no score.
func TestProbed(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var vectors [][]float32
	var truth []map[string]bool
	var patients []string
	for i := range 120 {
		patient := i / 4
		v := make([]float32, 12)
		for j := range v {
			v[j] = float32(r.NormFloat64())
		}
		v[patient%10] += 9 // who it is
		told := i%2 == 0
		if told {
			v[11] += 3
		}
		vectors, patients = append(vectors, v), append(patients, fmt.Sprint(patient))
		truth = append(truth, map[string]bool{"told": told, "who": r.IntN(2) == 0, "rare": i < 8})
	}
	table := ZeroShot(Probed(vectors, truth, patients))
	if len(table.Labels) != 2 || table.Labels[0].Label != "told" || table.Labels[0].AUC < 0.9 || table.Labels[1].AUC > 0.7 {
		t.Errorf("%+v", table.Labels)
	}
}

// TestRank: scores of two models, one of which scores all higher, tell as much together as each.
func TestRank(t *testing.T) {
	split := func(add float64) (out []Labelled) {
		for i := range 10 {
			out = append(out, Labelled{Scores: map[string]float64{"a": add + float64(i/2)/100}, Truth: map[string]bool{"a": i > 5}})
		}
		return out
	}
	low, high := split(0), split(0.9)
	if before := ZeroShot(slices.Concat(low, high)).Labels[0].AUC; before > 0.8 {
		t.Fatalf("unranked it is %g already", before)
	}
	Rank(low)
	Rank(high)
	if s := []float64{low[0].Scores["a"], low[1].Scores["a"], high[9].Scores["a"]}; !slices.Equal(s, []float64{0.1, 0.1, 0.9}) {
		t.Errorf("ranks %v", s)
	}
	if after := ZeroShot(slices.Concat(low, high)).Labels[0].AUC; after != 1 {
		t.Errorf("AUC %g", after)
	}
}
