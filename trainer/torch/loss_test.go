//go:build torch

package torch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TestTermsAreAsDefined holds the four terms to the package doc, written down in plain loops
// over the vectors of a batch with priors, padding and repeated texts.
func TestTermsAreAsDefined(t *testing.T) {
	c := other()
	w := shaken(c, 4)
	tr := open(t, c, w, Options{Objective: "clinvla"})
	tr.objective.centred = false // the vectors are then those of the weights
	b := toy(c, 9, false, true, rand.New(rand.NewPCG(3, 3)))
	v := vectorsOf(t, tr, b)
	row := func(x []float32, i int) []float64 {
		out := make([]float64, c.Joint)
		for j := range out {
			out[j] = float64(x[i*c.Joint+j])
		}
		return out
	}
	n := len(b.Texts)
	global := make([][]float64, n)
	mean := 0.0
	for i := range n {
		global[i] = make([]float64, n)
		for j := range n {
			global[i][j] = dot(row(v.image, i), row(v.text, j))
		}
		mean += global[i][i] / float64(n)
	}
	var phrases, owners []int
	for i, text := range b.Texts {
		for _, s := range text.Sentences {
			phrases, owners = append(phrases, s.Group), append(owners, i)
		}
	}
	local, localMean := make([][]float64, n), 0.0
	for i := range n {
		local[i] = make([]float64, len(phrases))
		for s := range phrases {
			u, region := row(v.sentences, s), make([]float64, c.Joint)
			place := 0
			for _, img := range b.Images {
				if img.Study != i {
					continue
				}
				seen, err := patches(img, c.Image)
				if err != nil {
					t.Fatal(err)
				}
				place++ // the CLS token
				for range seen {
					x := row(v.tokens, i*v.width+place)
					place++
					if img.Prior {
						continue
					}
					a := math.Exp(dot(u, x) / trainer.AttentionTemperature)
					for j := range region {
						region[j] += a * x[j]
					}
				}
			}
			local[i][s] = dot(u, region) / math.Sqrt(dot(region, region))
			if owners[s] == i {
				localMean += local[i][s] / float64(len(phrases))
			}
		}
	}
	same := func(i, j int) bool { return b.Texts[i].Group == b.Texts[j].Group }
	said := func(i, s int) bool {
		return slices.ContainsFunc(b.Texts[i].Sentences, func(x trainer.Span) bool { return x.Group == phrases[s] })
	}
	want := map[string]float64{
		"global": 1 - mean, "local": 1 - localMean,
		"global_nce": entropy(global, same), "local_nce": entropy(local, said),
	}
	stats := step(t, tr, b, 0)
	total := 0.1*want["global"] + want["global_nce"] + 0.8*(0.1*want["local"]+want["local_nce"])
	for name, x := range want {
		if d := math.Abs(stats.Terms[name] - x); !(d < 2e-4) {
			t.Errorf("%s is %g, want %g", name, stats.Terms[name], x)
		}
	}
	if d := math.Abs(stats.Loss - total); !(d < 5e-4) || len(stats.Terms) != len(want) {
		t.Errorf("the loss is %g of %v, want %g", stats.Loss, stats.Terms, total)
	}
}

// TestBiasesFollowTheMeans: after a first step that changes nothing else, the weights say of the
// batch what the centred model said of it; later ones move the biases a little.
func TestBiasesFollowTheMeans(t *testing.T) {
	c := micro()
	tr := open(t, c, onnxexport.Untrained(c, 4), Options{})
	b := toy(c, 9, false, true, rand.New(rand.NewPCG(3, 3)))
	centred := step(t, tr, b, 0)
	plain := step(t, open(t, c, weightsOf(t, tr), Options{Objective: "paper"}), b, 0)
	if d := math.Abs(plain.Terms["global"] - centred.Terms["global"]); !(d < 1e-5) {
		t.Errorf("global is %g by the weights, %g centred", plain.Terms["global"], centred.Terms["global"])
	}
	if d := math.Abs(plain.Image.Cosine - centred.Image.Cosine); !(d < 1e-5) || !(centred.Image.Cosine < 0.05) {
		t.Errorf("cosines off the diagonal are %g centred, %g by the weights, want equal and near 0", centred.Image.Cosine, plain.Image.Cosine)
	}

	before := weightsOf(t, tr)["text.global.bias"].Data
	step(t, tr, toy(c, 9, false, true, rand.New(rand.NewPCG(30, 3))), 0)
	for i, after := range weightsOf(t, tr)["text.global.bias"].Data {
		if d := math.Abs(float64(after - before[i])); d == 0 || d > 0.1 {
			t.Errorf("bias %d went from %g to %g", i, before[i], after)
		}
	}
}

// TestCentresKnowOfPatchesAlone: what fills the rows of a batch, and a prior, are no patches that
// sentences attend to, and move none of those that are.
func TestCentresKnowOfPatchesAlone(t *testing.T) {
	for name, c := range map[string]model.Config{"micro": micro(), "other": other()} {
		b := toy(c, 6, false, false, rand.New(rand.NewPCG(3, 3)))
		wide := b
		wide.Images, wide.Pixels = slices.Clone(b.Images), slices.Clone(b.Pixels)
		last := b.Images[5]
		last.Prior, last.Days = true, 40
		wide.Images, wide.Pixels = append(wide.Images, last), append(wide.Pixels, b.Pixels[:c.Image.Size*c.Image.Size]...)
		w := shaken(c, 4)
		local := func(b trainer.Batch) (float64, []float32) {
			tr := open(t, c, w, Options{Objective: "gloria"})
			return step(t, tr, b, 0).Terms["local_nce"], weightsOf(t, tr)["image.local.bias"].Data
		}
		want, bias := local(b)
		got, moved := local(wide)
		if d := math.Abs(got - want); !(d < 1e-5) {
			t.Errorf("%s: local_nce is %g beside a prior, %g without", name, got, want)
		}
		for i := range bias {
			if d := math.Abs(float64(moved[i] - bias[i])); !(d < 1e-5) {
				t.Errorf("%s: bias %d went to %g beside a prior, to %g without", name, i, moved[i], bias[i])
			}
		}
	}
}

// entropy is the mean of the cross-entropies over the rows and over the columns of cosines.
func entropy(cosines [][]float64, positive func(i, j int) bool) float64 {
	side := func(rows, columns int, at func(i, j int) float64, is func(i, j int) bool) float64 {
		total := 0.0
		for i := range rows {
			sum, share := 0.0, 0
			for j := range columns {
				sum += math.Exp(at(i, j) / 0.07)
				if is(i, j) {
					share++
				}
			}
			for j := range columns {
				if is(i, j) {
					total -= (at(i, j)/0.07 - math.Log(sum)) / float64(share*rows)
				}
			}
		}
		return total
	}
	rows, columns := len(cosines), len(cosines[0])
	return (side(rows, columns, func(i, j int) float64 { return cosines[i][j] }, positive) +
		side(columns, rows, func(i, j int) float64 { return cosines[j][i] }, func(i, j int) bool { return positive(j, i) })) / 2
}

func dot(x, y []float64) (sum float64) {
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}

// TestGradients compares what flows back with differences of the loss, in float64, for some
// numbers of each weight: adapters, heads, towers, temperatures.
func TestGradients(t *testing.T) {
	for _, name := range []string{"paper", "clinvla", "mrm"} {
		for which, c := range map[string]model.Config{"micro": micro(), "other": other()} {
			t.Run(name+" "+which, func(t *testing.T) {
				tr, err := newTrainer(c, shaken(c, 5), Options{Objective: name, Threads: 1}, float64Kind)
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				b := toy(c, 4, true, true, rand.New(rand.NewPCG(4, 4)))
				if err := tr.call(func() error { return differences(t, tr, b) }); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func differences(t *testing.T, tr *Trainer, b trainer.Batch) error {
	l, err := tr.arrange(b)
	if err != nil {
		return err
	}
	// value runs forward; keep says what to do with the loss while its graph is there.
	value := func(keep func(loss tensor) error) (float64, error) {
		a := tr.ledger.arena(float64Kind)
		defer a.free()
		loss, stats, err := tr.forward(tr.network(a), l)
		if err == nil && keep != nil {
			err = keep(loss)
		}
		return stats.Loss, err
	}
	if _, err := value(backward); err != nil {
		return err
	}
	checked := map[string]tensor{"scales.global": tr.scales.global, "scales.local": tr.scales.local}
	sizes := map[string]int{"scales.global": 1, "scales.local": 1}
	for _, row := range slices.Concat(onnxexport.Shapes(tr.config), maskedRows(tr.config, tr.objective)) {
		checked[row.Name], sizes[row.Name] = tr.weights[row.Name], 1
		for _, d := range row.Shape {
			sizes[row.Name] *= d
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for name, w := range checked {
		got := make([]float64, sizes[name])
		if err := gradient(w, got); err != nil {
			return err
		}
		a := tr.ledger.arena(float64Kind)
		numbers := a.numbers(w, len(got))
		for range 2 {
			i := rng.IntN(len(numbers))
			was, h := numbers[i], 1e-5
			var at [2]float64
			for side, sign := range []float64{1, -1} {
				numbers[i] = was + sign*h
				a.assign(w, of(a, numbers, int64(len(numbers))))
				if at[side], err = value(nil); err != nil {
					return err
				}
			}
			numbers[i] = was
			a.assign(w, of(a, numbers, int64(len(numbers))))
			if want := (at[0] - at[1]) / (2 * h); !(math.Abs(got[i]-want) <= 1e-5*max(1, math.Abs(want))) {
				t.Errorf("the gradient of %s[%d] is %g, want %g", name, i, got[i], want)
			}
		}
		if a.err != nil {
			return a.err
		}
		a.free()
	}
	tr.optimiser.forget()
	return nil
}
