//go:build torch

package torch

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/trainer"
)

// TestInverse: inverse(forward(x)) = x for any weights, in both towers.
func TestInverse(t *testing.T) {
	for seed := range uint64(5) {
		c := other()
		tr, err := newTrainer(c, shaken(c, seed), Options{Threads: 1}, float64Kind)
		if err != nil {
			t.Fatal(err)
		}
		for prefix, width := range map[string]int{"image": c.Image.Width, "text": c.Text.Width} {
			rng := rand.New(rand.NewPCG(seed, 9))
			x := make([]float64, 3*5*width)
			for i := range x {
				x[i] = 10 * rng.NormFloat64()
			}
			err := tr.call(func() error {
				a := tr.ledger.arena(float64Kind)
				defer a.free()
				n := tr.network(a)
				forward := n.invertible(of(a, x, 3, 5, int64(width)), prefix, width)
				back, there := a.numbers(n.inverse(forward, prefix, width), len(x)), a.numbers(forward, len(x))
				moved := 0.0
				for i := range x {
					moved = max(moved, math.Abs(there[i]-x[i]))
					if d := math.Abs(back[i] - x[i]); !(d < 1e-9) {
						t.Fatalf("seed %d, %s: number %d comes back as %g, not %g", seed, prefix, i, back[i], x[i])
					}
				}
				if moved < 0.1 {
					t.Errorf("seed %d, %s: forward changes nothing", seed, prefix)
				}
				return a.err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMaskedTerms: both losses fall when alone, and beside the others they count with their
// weight; a step that hides nothing has neither; the heads are in the state and not in the model.
func TestMaskedTerms(t *testing.T) {
	c := micro()
	tr := open(t, c, shaken(c, 1), Options{Objective: "mrm"})
	rng := rand.New(rand.NewPCG(5, 5))
	var first, last trainer.StepStats
	const steps = 150
	for i := range steps {
		s := step(t, tr, toy(c, 16, true, true, rng), 3e-3)
		if i == 0 {
			first = s
		}
		last = s
	}
	for _, term := range []string{termMaskedImage, termMaskedText} {
		if !(last.Terms[term] < 0.8*first.Terms[term]) {
			t.Errorf("%s went from %g to %g in %d steps", term, first.Terms[term], last.Terms[term], steps)
		}
	}
	if want := math.Log(float64(c.Text.Vocabulary)); math.Abs(first.Terms[termMaskedText]-want) > 1 {
		t.Errorf("at first a hidden word costs %g, want about log of the vocabulary, %g", first.Terms[termMaskedText], want)
	}
	if len(last.Terms) != 2 || math.Abs(last.Loss-last.Terms[termMaskedImage]-last.Terms[termMaskedText]) > 1e-4 {
		t.Errorf("the loss is %g of %v", last.Loss, last.Terms)
	}

	beside := open(t, c, shaken(c, 1), Options{MaskedImage: 0.5, MaskedText: 0.25})
	plain := open(t, c, shaken(c, 1), Options{})
	b := toy(c, 8, true, true, rand.New(rand.NewPCG(6, 6)))
	got, want := step(t, beside, b, 0), step(t, plain, b, 0)
	if d := got.Loss - want.Loss - 0.5*got.Terms[termMaskedImage] - 0.25*got.Terms[termMaskedText]; math.Abs(d) > 1e-4 {
		t.Errorf("beside the others the terms count %g too much", d)
	}
	whole := toy(c, 8, false, true, rand.New(rand.NewPCG(6, 6)))
	for i := range whole.Texts {
		whole.Texts[i].Hidden = nil
	}
	if s := step(t, beside, whole, 0); s.Terms[termMaskedImage] != 0 || s.Terms[termMaskedText] != 0 || len(s.Terms) != 4 {
		t.Errorf("a step that hides nothing has the terms %v", s.Terms)
	}
	step(t, tr, whole, 1e-3) // nothing to learn, and nothing breaks

	for name := range weightsOf(t, beside) {
		if strings.HasPrefix(name, "masked.") {
			t.Errorf("the model has %s", name)
		}
	}
	state, err := beside.State()
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, c, shaken(c, 2), Options{MaskedImage: 0.5, MaskedText: 0.25})
	if err := again.Restore(state); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(step(t, beside, b, 1e-3), step(t, again, b, 1e-3)); d != "" {
		t.Errorf("restored, the next step differs:\n%s", d)
	}
}

// TestHiddenPixels: what a masked step has to find are the patches that it left out and that the
// film covers, at mean 0 and deviation 1.
func TestHiddenPixels(t *testing.T) {
	c := micro()
	b := toy(c, 2, true, false, rand.New(rand.NewPCG(7, 7)))
	l, err := arrange(b, c)
	if err != nil {
		t.Fatal(err)
	}
	h := hide(b, l, c)
	area, found := c.Image.Patch*c.Image.Patch, 0
	for i := range b.Images {
		for j := range h.patches {
			at := i*h.patches + j
			if h.share[at] == 0 {
				continue
			}
			found++
			for _, p := range b.Images[i].Keep {
				if int64(p) == h.position[at] {
					t.Errorf("patch %d of image %d was kept", p, i)
				}
			}
			mean, square := 0.0, 0.0
			for _, v := range h.pixels[at*area : (at+1)*area] {
				mean += float64(v) / float64(area)
				square += float64(v) * float64(v) / float64(area)
			}
			if math.Abs(mean) > 1e-4 || math.Abs(square-1) > 0.05 {
				t.Errorf("a patch has mean %g and square %g", mean, square)
			}
		}
	}
	if want := 2*c.Image.Patches() - len(b.Images[0].Keep) - len(b.Images[1].Keep); found != want {
		t.Errorf("%d patches are to be found, want %d", found, want)
	}
	if len(h.rows) != 2 || h.ids[h.rows[0]] != 4 || h.words[0] == 4 {
		t.Errorf("hidden words: rows %v, words %v", h.rows, h.words)
	}
}
