//go:build torch

package torch

import (
	"context"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

func step(t testing.TB, tr *Trainer, b trainer.Batch, lr float64) trainer.StepStats {
	t.Helper()
	stats, err := tr.Step(t.Context(), b, lr)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func weightsOf(t testing.TB, tr *Trainer) onnxexport.Weights {
	t.Helper()
	w, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestLossFalls trains each objective for 50 steps on what can be learned. The one without
// negatives collapses; the others do not.
func TestLossFalls(t *testing.T) {
	for _, o := range presets {
		if o.name == "mrm" { // it has no vectors to tell apart: see TestMaskedTerms
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			c := micro()
			tr := open(t, c, onnxexport.Untrained(c, 1), Options{Objective: o.name})
			rng := rand.New(rand.NewPCG(5, 5))
			var stats trainer.StepStats
			var first, last float64
			for i := range 50 {
				stats = step(t, tr, toy(c, 16, false, false, rng), 3e-3)
				if i < 5 {
					first += stats.Loss
				}
				if i >= 45 {
					last += stats.Loss
				}
			}
			if !(last < 0.8*first) {
				t.Errorf("the loss went from %g to %g", first/5, last/5)
			}
			collapsed := stats.Image.Cosine > trainer.Collapsed && stats.Text.Cosine > trainer.Collapsed
			if collapsed != (o.name == "paper") {
				t.Errorf("cosines off the diagonal are %g and %g", stats.Image.Cosine, stats.Text.Cosine)
			}
		})
	}
}

// TestStepsRepeat: the same weights, batches and threads give the same numbers.
func TestStepsRepeat(t *testing.T) {
	c := micro()
	run := func() (onnxexport.Weights, []trainer.StepStats) {
		tr := open(t, c, onnxexport.Untrained(c, 1), Options{Threads: 2})
		rng := rand.New(rand.NewPCG(6, 6))
		var all []trainer.StepStats
		for range 10 {
			all = append(all, step(t, tr, toy(c, 8, true, true, rng), 1e-3))
		}
		return weightsOf(t, tr), all
	}
	w, stats := run()
	again, statsAgain := run()
	if d := cmp.Diff(stats, statsAgain); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(w, again); d != "" {
		t.Error(d)
	}
}

// TestRestore: steps that go on from a state in a fresh trainer are those that would have come,
// bit for bit, also while the text tower is held and released, and through a checkpoint's file.
func TestRestore(t *testing.T) {
	c := micro()
	batches := func(n int) (all []trainer.Batch) {
		rng := rand.New(rand.NewPCG(8, 8))
		for i := range n {
			b := toy(c, 8, true, true, rng)
			b.HoldText = i < 4
			all = append(all, b)
		}
		return all
	}(12)
	fresh := func() *Trainer { return open(t, c, onnxexport.Untrained(c, 1), Options{Threads: 2}) }
	run := func(tr *Trainer, some []trainer.Batch) (all []trainer.StepStats) {
		for _, b := range some {
			all = append(all, step(t, tr, b, 1e-3))
		}
		return all
	}
	whole := fresh()
	want := run(whole, batches)
	first := fresh()
	for _, at := range []int{0, 3, 7} {
		got := run(first, batches[:at])
		s, err := first.State()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "state.safetensors")
		if err := trainer.WriteCheckpoint(path, &trainer.Checkpoint{State: s}); err != nil {
			t.Fatal(err)
		}
		kept, err := trainer.ReadCheckpoint(path)
		if err != nil {
			t.Fatal(err)
		}
		second := fresh()
		run(second, batches[:1]) // it has been somewhere else
		if err := second.Restore(kept.State); err != nil {
			t.Fatal(err)
		}
		got = append(got, run(second, batches[at:])...)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("restored behind step %d: %s", at, d)
		}
		a, errA := whole.State()
		b, errB := second.State()
		if d := cmp.Diff(a, b); d != "" || errA != nil || errB != nil {
			t.Errorf("restored behind step %d: states (-want +got) %v %v\n%s", at, errA, errB, d)
		}
		first = fresh()
	}
	s, err := first.State()
	if err != nil {
		t.Fatal(err)
	}
	delete(s.Tensors, globalScale)
	if err := first.Restore(s); fault.ReasonOf(err) != ReasonState || fault.KindOf(err) != fault.Invalid {
		t.Errorf("a state without a scale: %v", err)
	}
}

// TestDevice: a GPU that is asked for and is not there is an error that says why; auto takes what
// there is.
func TestDevice(t *testing.T) {
	for name, want := range map[string]fault.Kind{"cpu": 0, "auto": 0, "": 0, "tpu": fault.Usage, "cuda": fault.Unavailable} {
		got, err := Device(name)
		if name == "cuda" && haveCUDA() == nil {
			want = 0
		}
		if err != nil && fault.KindOf(err) != want || err == nil && want != 0 {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
		if haveCUDA() != nil && err == nil && got != "cpu" {
			t.Errorf("%q is %s where there is no CUDA", name, got)
		}
		if name == "cuda" && err != nil && !strings.Contains(err.Error(), "libtorch_cuda.so") {
			t.Errorf("it does not say what is missing: %v", err)
		}
	}
	if _, err := New(micro(), shaken(micro(), 1), Options{Device: "tpu"}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a trainer on another device: %v", err)
	}
}

// TestModes: only the weights of the mode's groups change, and each of them does.
func TestModes(t *testing.T) {
	c := micro()
	for _, mode := range trainer.Modes {
		t.Run(mode.Name, func(t *testing.T) {
			before := shaken(c, 1)
			tr := open(t, c, before, Options{Mode: mode.Name})
			b := toy(c, 8, false, true, rand.New(rand.NewPCG(7, 7)))
			step(t, tr, b, 1e-3)
			after := weightsOf(t, tr)
			for _, row := range onnxexport.Shapes(c) {
				trains := mode.Trains(row)
				if same := cmp.Equal(before[row.Name], after[row.Name]); same == trains {
					t.Errorf("%s (group %s): changed is %v, want %v", row.Name, row.Group, !same, trains)
				}
			}
		})
	}
}

// TestHoldText: while the text tower is held, of its weights only the biases of centred heads
// move, and the rest of the model trains.
func TestHoldText(t *testing.T) {
	c := micro()
	before := shaken(c, 1)
	tr := open(t, c, before, Options{})
	b := toy(c, 8, false, true, rand.New(rand.NewPCG(7, 7)))
	for _, b.HoldText = range []bool{true, false} {
		step(t, tr, b, 1e-3)
		after := weightsOf(t, tr)
		for _, row := range onnxexport.Shapes(c) {
			held := b.HoldText && strings.HasPrefix(row.Name, "text.") && row.Name != "text.global.bias" && row.Name != "text.local.bias"
			if same := cmp.Equal(before[row.Name], after[row.Name]); same != held {
				t.Errorf("hold %v, %s: changed is %v", b.HoldText, row.Name, !same)
			}
		}
		before = after
	}
	// The rate rises from next to nothing: a step at full rate moves each number by about that.
	was := before["text.layers.0.mlp.up.weight"].Data
	step(t, tr, b, 1e-3)
	for i, now := range weightsOf(t, tr)["text.layers.0.mlp.up.weight"].Data {
		if d := math.Abs(float64(now - was[i])); d > 1e-5 {
			t.Fatalf("just released, a weight of the text tower moved by %g", d)
		}
	}
}

// TestKeptPatchesAreAllThatIsSeen changes a pixel of a patch that is not kept, then of one that is.
func TestKeptPatchesAreAllThatIsSeen(t *testing.T) {
	c := micro()
	tr := open(t, c, shaken(c, 1), Options{})
	b := toy(c, 4, true, false, rand.New(rand.NewPCG(8, 8)))
	want := step(t, tr, b, 0).Loss
	b.Pixels[c.Image.Patch] ^= 0xff // of patch 1, which study 0 does not keep
	if got := step(t, tr, b, 0).Loss; got != want {
		t.Errorf("a hidden pixel changed the loss from %g to %g", want, got)
	}
	b.Pixels[0] ^= 0xff
	if got := step(t, tr, b, 0).Loss; got == want {
		t.Error("a pixel of a kept patch changed nothing")
	}
}

// TestMemoryStaysFlat runs 1,000 steps of batches of many shapes: no tensor more than after the
// first, and the process and Go's heap within 2 % of what they were after 200.
func TestMemoryStaysFlat(t *testing.T) {
	c := micro()
	tr := open(t, c, onnxexport.Untrained(c, 1), Options{})
	rng := rand.New(rand.NewPCG(9, 9))
	open := tr.Open()
	var process, heap int
	for i := range 1000 {
		step(t, tr, toy(c, 4+i%7, i%2 == 0, i%3 == 0, rng), 1e-3)
		if i+1 == 200 { // a multiple of trimSteps, as 1,000 is
			process, heap = resident(t), live()
		}
		if got := tr.Open(); len(got) != len(open) {
			t.Fatalf("%d tensors are open after step %d, %d were before it: %q", len(got), i, len(open), got)
		}
	}
	if after := resident(t); float64(after) > 1.02*float64(process) {
		t.Errorf("the process holds %d pages after 1,000 steps, %d after 200", after, process)
	}
	if after := live(); float64(after) > 1.02*float64(heap)+64<<10 { // the runtime's own tens of KB come and go
		t.Errorf("Go's heap holds %d bytes after 1,000 steps, %d after 200", after, heap)
	}
}

// live returns the bytes of Go's heap that are reachable.
func live() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// resident returns the pages that the process holds.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLeakNamesItsMaker forgets an arena.
func TestLeakNamesItsMaker(t *testing.T) {
	c := micro()
	tr := open(t, c, onnxexport.Untrained(c, 1), Options{Trace: true})
	before := len(tr.Open())
	var lost *arena
	if err := tr.call(func() error {
		lost = tr.ledger.arena(float32Kind)
		lost.zeros(2, 3)
		return lost.err
	}); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, origin := range tr.Open() {
		if strings.HasPrefix(origin, "zeros ") && strings.Contains(origin, "TestLeakNamesItsMaker") {
			found = append(found, origin)
		}
	}
	if len(tr.Open()) != before+1 || len(found) != 1 {
		t.Errorf("the leak is named %q, %d tensors more are open", found, len(tr.Open())-before)
	}
	if err := tr.call(func() error { lost.free(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestFailedOperator: what libtorch refuses is an error that names the operator, and the
// operators behind it do nothing.
func TestFailedOperator(t *testing.T) {
	c := micro()
	tr := open(t, c, onnxexport.Untrained(c, 1), Options{})
	err := tr.call(func() error {
		a := tr.ledger.arena(float32Kind)
		defer a.free()
		a.gelu(a.exp(a.matmul(a.zeros(2, 3), a.zeros(2, 3))))
		return a.err
	})
	if err == nil || !strings.HasPrefix(err.Error(), "matmul: ") {
		t.Errorf("got %v", err)
	}
	step(t, tr, toy(c, 3, false, false, rand.New(rand.NewPCG(1, 1))), 0) // the next one is not hurt
}

// TestLossThatIsNoNumber: a NaN comes back as the loss and leaves the weights alone.
func TestLossThatIsNoNumber(t *testing.T) {
	c := micro()
	w := onnxexport.Untrained(c, 1)
	w["image.norm.weight"].Data[0] = float32(math.NaN())
	tr := open(t, c, w, Options{})
	before := weightsOf(t, tr)
	stats := step(t, tr, toy(c, 4, false, false, rand.New(rand.NewPCG(1, 1))), 1e-3)
	if !math.IsNaN(stats.Loss) {
		t.Errorf("the loss is %g", stats.Loss)
	}
	delete(before, "image.norm.weight") // a NaN is not equal to itself
	after := weightsOf(t, tr)
	delete(after, "image.norm.weight")
	if d := cmp.Diff(before, after); d != "" {
		t.Error(d)
	}
}

func TestRefusals(t *testing.T) {
	c := micro()
	tr := open(t, c, onnxexport.Untrained(c, 1), Options{})
	for name, breaks := range map[string]func(b *trainer.Batch){
		"no study":          func(b *trainer.Batch) { *b = trainer.Batch{} },
		"too few pixels":    func(b *trainer.Batch) { b.Pixels = b.Pixels[1:] },
		"studies unordered": func(b *trainer.Batch) { b.Images[0].Study = 1 },
		"study skipped":     func(b *trainer.Batch) { b.Images[2].Study, b.Images[1].Study = 3, 3 },
		"no image":          func(b *trainer.Batch) { b.Texts = append(b.Texts, b.Texts[0]) },
		"a prior alone":     func(b *trainer.Batch) { b.Images[0].Prior = true },
		"unknown view":      func(b *trainer.Batch) { b.Images[0].View = 2 },
		"negative days":     func(b *trainer.Batch) { b.Images[0].Days = -1 },
		"nothing exposed":   func(b *trainer.Batch) { b.Images[0].Exposed = image.Rectangle{} },
		"nothing kept":      func(b *trainer.Batch) { b.Images[0].Keep = []int32{} },
		"kept twice":        func(b *trainer.Batch) { b.Images[0].Keep = []int32{1, 1} },
		"kept outside":      func(b *trainer.Batch) { b.Images[0].Keep = []int32{16} },
		"kept padding":      func(b *trainer.Batch) { b.Images[0].Exposed.Max.X, b.Images[0].Keep = 8, []int32{1} },
		"no tokens":         func(b *trainer.Batch) { b.Texts[0].Tokens = nil },
		"too many tokens":   func(b *trainer.Batch) { b.Texts[0].Tokens = make([]int32, c.Text.MaxLength+1) },
		"unknown token":     func(b *trainer.Batch) { b.Texts[0].Tokens[1] = int32(c.Text.Vocabulary) },
		"no sentence":       func(b *trainer.Batch) { b.Texts[0].Sentences = nil },
		"empty sentence":    func(b *trainer.Batch) { b.Texts[0].Sentences[0].End = 1 },
		"long sentence":     func(b *trainer.Batch) { b.Texts[0].Sentences[1].End = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			b := toy(c, 4, false, false, rand.New(rand.NewPCG(1, 1)))
			breaks(&b)
			if _, err := tr.Step(t.Context(), b, 1e-3); fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.Step(canceled, toy(c, 4, false, false, rand.New(rand.NewPCG(1, 1))), 1e-3); fault.KindOf(err) != fault.Canceled {
		t.Errorf("after the end of its context a step returns %v", err)
	}
	negative := -1.0
	for name, o := range map[string]Options{
		"objective": {Objective: "best"}, "mode": {Mode: "none"}, "threads": {Threads: -1}, "lambda": {Lambda: &negative}, "decay": {Decay: &negative},
	} {
		if _, err := New(c, onnxexport.Untrained(c, 1), o); fault.KindOf(err) != fault.Usage {
			t.Errorf("unknown %s: %v", name, err)
		}
	}
	if _, err := New(c, onnxexport.Untrained(other(), 1), Options{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("weights of another model: %v", err)
	}
}

// BenchmarkStep times a step of tiny with two views a study.
func BenchmarkStep(b *testing.B) {
	c := model.Tiny()
	for _, studies := range []int{32, 64} {
		for _, masked := range []bool{true, false} {
			for _, bfloat16 := range []bool{false, true} {
				name := strconv.Itoa(studies) + " studies"
				if masked {
					name += ", masked"
				}
				if bfloat16 {
					name += ", bf16"
				}
				b.Run(name, func(b *testing.B) {
					tr := open(b, c, onnxexport.Untrained(c, 1), Options{BFloat16: bfloat16})
					batch := timed(c, studies, masked)
					for b.Loop() {
						step(b, tr, batch, 1e-4)
					}
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
				})
			}
		}
	}
}
