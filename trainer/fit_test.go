package trainer_test

import (
	"context"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// counter is a Stepper without arithmetic. Its loss falls by itself.
type counter struct {
	rates  []float64
	masked []bool
	held   int
	cosine float64
	loss   func(step int) float64
	before func(step int) error
}

var _ trainer.Stepper = (*counter)(nil)

func (c *counter) Step(_ context.Context, b trainer.Batch, lr float64) (trainer.StepStats, error) {
	step := len(c.rates)
	if c.before != nil {
		if err := c.before(step); err != nil {
			return trainer.StepStats{}, err
		}
	}
	c.rates, c.masked = append(c.rates, lr), append(c.masked, b.Images[0].Keep != nil)
	if b.HoldText {
		c.held++
	}
	loss := 10 - float64(step)
	if c.loss != nil {
		loss = c.loss(step)
	}
	return trainer.StepStats{
		Loss: loss, Terms: map[string]float64{"global": loss / 2, "local": loss / 2}, Temperature: 0.05,
		Image: trainer.Spread{Cosine: c.cosine, Rank: 3}, Text: trainer.Spread{Cosine: 0.1, Rank: 2},
	}, nil
}

func (c *counter) Weights() (onnxexport.Weights, error) {
	return onnxexport.Weights{"steps": {Shape: []int{1}, Data: []float32{float32(len(c.rates))}}}, nil
}

func (c *counter) State() (trainer.State, error) {
	rates := make([]float32, len(c.rates))
	for i, r := range c.rates {
		rates[i] = float32(r)
	}
	return trainer.State{
		Tensors:  map[string]onnxexport.Tensor{"rates": {Shape: []int{len(rates)}, Data: rates}},
		Counters: map[string]int{"held": c.held},
	}, nil
}

func (c *counter) Restore(s trainer.State) error {
	c.rates, c.masked, c.held = nil, nil, s.Counters["held"]
	for _, r := range s.Tensors["rates"].Data {
		c.rates, c.masked = append(c.rates, float64(r)), append(c.masked, false)
	}
	return nil
}

func (c *counter) Close() error { return nil }

func TestFit(t *testing.T) {
	d := dataset(t, 8, nil)
	c, s := small(), &counter{}
	var validated, progress []int
	r, err := trainer.Fit(t.Context(), c, model.Tiny(), d, s, nil, trainer.Hooks{
		Progress: func(p trainer.Progress) {
			progress = append(progress, p.Step)
			if p.LearningRate != s.rates[p.Step-1] || p.StepsPerSecond <= 0 || p.Loading < 0 || p.Loading > 1 {
				t.Errorf("progress: %+v", p)
			}
		},
		Validate: func(_ context.Context, w onnxexport.Weights, temperature float64) (map[string]float64, error) {
			validated = append(validated, int(w["steps"].Data[0]))
			return map[string]float64{"p10": 0.5}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Steps != c.Steps || r.Interrupted || r.Collapsed || r.Temperature != 0.05 || r.Weights["steps"].Data[0] != float32(c.Steps) {
		t.Errorf("result: %+v", r)
	}
	if d := cmp.Diff([]int{5, 10, 12}, validated); d != "" {
		t.Errorf("validations (-want +got)\n%s", d)
	}
	if len(progress) != c.Steps || progress[c.Steps-1] != c.Steps {
		t.Errorf("progress was told of %v", progress)
	}
	for i, masked := range s.masked {
		if masked != (i < c.Steps-c.UnmaskedSteps) {
			t.Errorf("step %d: masked %t", i, masked)
		}
	}
	if s.held != c.HoldText {
		t.Errorf("the text tower was held for %d steps, want %d", s.held, c.HoldText)
	}
	if s.rates[0] != c.LearningRate/2 || s.rates[1] != c.LearningRate || s.rates[11] > 0.1*c.LearningRate || s.rates[11] < c.Floor*c.LearningRate {
		t.Errorf("learning rates: %v", s.rates)
	}
	dir := t.TempDir()
	if err := r.Curves.Write(dir); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "steps.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	if len(lines) != c.Steps+1 || !strings.HasPrefix(lines[0], "step,learning_rate,loss,global,local,grad_norm,image_cosine") || !strings.HasPrefix(lines[2], "2,0.001,9,4.5,4.5,") {
		t.Errorf("steps.csv:\n%s", table)
	}
	for _, name := range []string{"validation.csv", "loss.svg", "collapse.svg", "rank.svg", "validation.svg"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(text) < 20 || strings.Contains(string(text), "NaN") {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
	if first, last := r.Curves.Loss(3); first != 9 || last != 0 {
		t.Errorf("mean loss of the first and last 3 steps: %g, %g", first, last)
	}
}

// late is a counter with a term that its first steps do not have.
type late struct{ *counter }

func (l late) Step(ctx context.Context, b trainer.Batch, lr float64) (trainer.StepStats, error) {
	s, err := l.counter.Step(ctx, b, lr)
	if len(l.rates) > 3 {
		s.Terms["masked_text"] = 7
	}
	return s, err
}

// TestCurvesHaveWhatCameLater: a term that the first step does not have, as while the text tower is
// held, and no figures of a validation that was interrupted.
func TestCurvesHaveWhatCameLater(t *testing.T) {
	d := dataset(t, 4, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var kept *trainer.Checkpoint
	hooks := trainer.Hooks{
		Validate: func(context.Context, onnxexport.Weights, float64) (map[string]float64, error) {
			cancel()
			return nil, fault.E("", fault.Canceled, ctx.Err())
		},
		Checkpoint: func(c *trainer.Checkpoint) error { kept = c; return nil },
	}
	s := late{&counter{}}
	if r, err := trainer.Fit(ctx, small(), model.Tiny(), d, s, nil, hooks); err != nil || r.Steps != 5 || kept == nil {
		t.Fatalf("%d steps, %v", r.Steps, err)
	}
	hooks.Validate = func(context.Context, onnxexport.Weights, float64) (map[string]float64, error) {
		return map[string]float64{"p10": 0.5}, nil
	}
	r, err := trainer.Fit(t.Context(), small(), model.Tiny(), d, s, kept, hooks)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := r.Curves.Write(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"steps.csv": "step,learning_rate,loss,global,local,masked_text,grad_norm", "validation.csv": "step,p10\n10,0.5\n12,0.5\n"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: %.200s, %v", name, text, err)
		}
	}
}

func TestFitSaysThatItCollapsed(t *testing.T) {
	d := dataset(t, 4, nil)
	r, err := trainer.Fit(t.Context(), small(), model.Tiny(), d, &counter{cosine: 0.96}, nil, trainer.Hooks{})
	if err != nil || !r.Collapsed {
		t.Errorf("collapsed %t, %v", r.Collapsed, err)
	}
}

func TestFitStops(t *testing.T) {
	d := dataset(t, 4, nil)
	t.Run("no number", func(t *testing.T) {
		s := &counter{loss: func(step int) float64 {
			if step == 3 {
				return math.NaN()
			}
			return 1
		}}
		r, err := trainer.Fit(t.Context(), small(), model.Tiny(), d, s, nil, trainer.Hooks{})
		if fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "step 4") || !strings.Contains(err.Error(), d.Train[0].Key) || r.Steps != 3 {
			t.Errorf("%d steps, %v", r.Steps, err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := trainer.Fit(ctx, small(), model.Tiny(), d, &counter{}, nil, trainer.Hooks{Progress: func(p trainer.Progress) {
			if p.Step == 4 {
				cancel()
			}
		}})
		if err != nil || !r.Interrupted || r.Steps != 4 || r.Weights == nil {
			t.Errorf("%d steps, interrupted %t, %v", r.Steps, r.Interrupted, err)
		}
	})
	t.Run("interrupted in a step", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &counter{before: func(step int) error {
			if step == 2 {
				cancel()
				return fault.E("", fault.Canceled, ctx.Err())
			}
			return nil
		}}
		if r, err := trainer.Fit(ctx, small(), model.Tiny(), d, s, nil, trainer.Hooks{}); err != nil || r.Steps != 2 {
			t.Errorf("%d steps, %v", r.Steps, err)
		}
	})
	t.Run("before the first", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := trainer.Fit(ctx, small(), model.Tiny(), d, &counter{}, nil, trainer.Hooks{}); fault.KindOf(err) != fault.Canceled {
			t.Errorf("%v", err)
		}
	})
	t.Run("failing step", func(t *testing.T) {
		broken := errors.New("broken")
		s := &counter{before: func(int) error { return broken }}
		if _, err := trainer.Fit(t.Context(), small(), model.Tiny(), d, s, nil, trainer.Hooks{}); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}

func TestConfigListsEveryFault(t *testing.T) {
	err := trainer.Config{Floor: 2, Noise: -1, Shift: 99, ImpressionShare: 2, UnmaskedSteps: 7, HoldText: 8, Intensity: 1, ViewDrop: -1, PriorUse: 3, Warmup: -1, ValidateEvery: -1}.Validate()
	for _, want := range []string{"batch", "steps", "unmasked steps", "hold text", "keep share", "learning rate", "warm-up", "floor", "impression", "shift", "intensity", "noise", "view drop", "prior use", "validate every"} {
		if err == nil || !strings.Contains(err.Error(), want+" ") {
			t.Errorf("nothing about %q in: %v", want, err)
		}
	}
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("kind %v", fault.KindOf(err))
	}
	if err := trainer.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestCalibrateFindsTheLogistic(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var x []float64
	var present []bool
	for range 20000 {
		v := 6 * r.NormFloat64()
		x = append(x, v)
		present = append(present, r.Float64() < 1/(1+math.Exp(-(0.5*v-1.5))))
	}
	c, ok := trainer.Calibrate(x, present)
	if !ok || math.Abs(c.A-0.5) > 0.03 || math.Abs(c.B+1.5) > 0.1 {
		t.Errorf("got %+v, want A 0.5, B -1.5", c)
	}
	for i := range present {
		present[i] = x[i] > 0 // separable
	}
	if c, ok := trainer.Calibrate(x, present); !ok || math.IsInf(c.A, 0) || c.A < 1 {
		t.Errorf("separable: %+v", c)
	}
	for i := range present {
		present[i] = x[i] < 0 // the wrong way round
	}
	if c, ok := trainer.Calibrate(x, present); !ok || !(c.A > 0) {
		t.Errorf("reversed: %+v", c)
	}
	if c, ok := trainer.Calibrate(x[:50], make([]bool, 50)); ok || c != model.Identity() {
		t.Errorf("no positives: %+v, %t", c, ok)
	}
}

func TestStartKnowsPlacesAndPatches(t *testing.T) {
	d := dataset(t, 12, func(c *phantom.Config) { c.Side = 256 })
	c := model.Tiny()
	w := trainer.Start(c, d, 3)
	if err := w.Check(c); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(w, trainer.Start(c, d, 3)); d != "" {
		t.Error("the same seed and data give other weights")
	}
	// Tokens of the data: position + patch, without brightness in all of them.
	i := c.Image
	size, side := i.Patch*i.Patch, i.Size/i.Patch
	square, n := make([]float64, i.Width), 0.0
	for _, s := range d.Train {
		for _, img := range s.Images {
			for place := range i.Patches() {
				at := image.Pt(place%side*i.Patch, place/side*i.Patch)
				if !(image.Rectangle{Min: at, Max: at.Add(image.Pt(i.Patch, i.Patch))}).In(img.Exposed) {
					continue
				}
				n++
				for o := range i.Width {
					sum := float64(w["image.position"].Data[place*i.Width+o])
					for p := range size {
						v := float64(img.Pixels[(at.Y+p/i.Patch)*i.Size+at.X+p%i.Patch])/255 - i.Mean
						sum += float64(w["image.patch.weight"].Data[o*size+p]) * v / i.Std
					}
					square[o] += sum * sum
				}
			}
		}
	}
	for o, v := range square {
		if rms := math.Sqrt(v / n); rms < 0.3 || rms > 4 {
			t.Errorf("channel %d of a token has a root mean square of %g, want about 1", o, rms)
		}
	}
}
