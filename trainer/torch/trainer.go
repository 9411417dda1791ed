//go:build torch

package torch

import (
	"context"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/sugarme/gotch/libtch"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// Options say how a Trainer trains. The zero value is ready to use.
type Options struct {
	Objective string // paper, clinvla, convirt, gloria or mrm; "" is clinvla
	// Weights of the masked-modelling terms, 0 or more, in the place of those of the objective
	// (none but in mrm) where they are not 0.
	MaskedImage, MaskedText float64
	Lambda                  *float64 // weight of the local terms, 0 or more; nil is 0.8
	Global                  *float64 // weight of the global terms, 0 or more; nil is 1
	Mode                    string   // of trainer.Modes; "" is full
	Decay                   *float64 // weight decay, 0 or more; nil is 1e-4. Norms, biases and other vectors have none.
	Threads                 int      // of one operator; 0 is one a core
	BFloat16                bool     // matrix products in bfloat16: for CPUs with AVX512-BF16, and for GPUs
	Device                  string   // cpu, cuda or auto, as in [Device]; "" is cpu
	// Temperature is what cosines are divided by at first, 0.01 or more; 0 is 0.07.
	Temperature float64
	Trace       bool // remember what made each tensor, for Open; costs time
}

// Trainer trains one model; it implements [trainer.Stepper] and is not safe for concurrent use.
type Trainer struct {
	config    model.Config
	rows      []onnxexport.TensorSpec
	objective objective
	bfloat16  bool

	ledger    *ledger
	lasting   *arena // weights and moments
	weights   map[string]tensor
	scales    scales
	centred   bool // the heads have biases that are worth keeping
	optimiser *optimiser
	steps     int // tried

	// libtorch keeps errors, threads and autocast for each OS thread: all calls go to one.
	calls chan func()
	ended chan struct{}
}

var _ trainer.Stepper = (*Trainer)(nil)

// New returns a trainer that starts at the weights w of c, which must pass
// [onnxexport.Weights.Check]. Options that are not known are fault.Usage.
func New(c model.Config, w onnxexport.Weights, o Options) (*Trainer, error) {
	return newTrainer(c, w, o, float32Kind)
}

func newTrainer(c model.Config, w onnxexport.Weights, o Options, k kind) (*Trainer, error) {
	const op = "torch.New"
	if err := w.Check(c); err != nil {
		return nil, fault.Wrap(op, err)
	}
	global, lambda, decay := 1.0, 0.8, 1e-4
	if o.Global != nil {
		global = *o.Global
	}
	if o.Lambda != nil {
		lambda = *o.Lambda
	}
	if o.Decay != nil {
		decay = *o.Decay
	}
	if !(lambda >= 0) || !(global >= 0) || !(decay >= 0) || !(o.Temperature >= 0) || o.Threads < 0 {
		return nil, fault.Errorf(op, fault.Usage, "the weights of terms, weight decay, temperature and threads are 0 or more")
	}
	mode, err := trainer.FindMode(o.Mode)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if o.Objective == "" {
		o.Objective = "clinvla"
	}
	objective, err := findObjective(o.Objective, global, lambda)
	if err != nil {
		return nil, err
	}
	if !(o.MaskedImage >= 0) || !(o.MaskedText >= 0) {
		return nil, fault.Errorf(op, fault.Usage, "the weights of masked terms are 0 or more")
	}
	if o.MaskedImage > 0 {
		objective.maskedImage = o.MaskedImage
	}
	if o.MaskedText > 0 {
		objective.maskedText = o.MaskedText
	}
	start := startScale
	if o.Temperature > 0 {
		start = min(math.Log(1/o.Temperature), highestScale)
	}
	if o.Threads == 0 {
		o.Threads = runtime.NumCPU()
	}
	on, err := findDevice(o.Device)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}

	t := &Trainer{
		config: c, rows: onnxexport.Shapes(c), objective: objective, bfloat16: o.BFloat16,
		ledger: newLedger(on, o.Trace), weights: make(map[string]tensor),
		calls: make(chan func()), ended: make(chan struct{}),
	}
	t.lasting = t.ledger.arena(k)
	go t.serve()
	if err := t.call(func() error {
		if err := setThreads(o.Threads); err != nil {
			return err
		}
		return t.load(w, mode, decay, start)
	}); err != nil {
		t.end()
		return nil, fault.E(op, fault.Internal, err)
	}
	return t, nil
}

// load makes the tensors of the weights, and the optimiser of those that the mode trains.
func (t *Trainer) load(w onnxexport.Weights, mode trainer.Mode, decay, start float64) error {
	a := t.lasting
	for _, head := range []string{"image.global", "image.local", "text.global", "text.local"} {
		t.centred = t.centred || slices.ContainsFunc(w[head+".bias"].Data, func(x float32) bool { return x != 0 })
	}
	t.optimiser = &optimiser{}
	for _, row := range slices.Concat(t.rows, maskedRows(t.config, t.objective)) {
		shape := make([]int64, len(row.Shape))
		for i, d := range row.Shape {
			shape[i] = int64(d)
		}
		weight, given := w[row.Name]
		if !given { // a head of the masked terms
			weight = row.New(0)
		}
		x := a.floats(weight.Data, shape...)
		t.weights[row.Name] = x
		if !mode.Trains(row) {
			continue
		}
		d := decay
		if len(shape) < 2 {
			d = 0
		}
		t.optimiser.add(a, row.Name, x, rate(row, mode), d, ofText(row))
	}
	scale := func(name string, start float64) tensor {
		x := a.floats([]float32{float32(start)}, 1)
		t.optimiser.add(a, name, x, scaleRate, 0, false)
		return x
	}
	t.scales.global, t.scales.local = scale(globalScale, start), scale(localScale, startScale)
	return a.err
}

// textRate scales the learning rate of the text tower. At the full rate it loses, within a few
// hundred steps, what of the texts images do not tell yet: in a run on 4,523 phantoms
// (32 a step) the texts went from 20 dimensions to 6 and the loss from 5.7 to 5.9; at a
// fifth they kept 17 and it fell to 5.2.
const textRate = 0.2

// rate scales the learning rate of a weight: the paper's 5e-5 for language and invertible
// adapters beside 1e-4 for the others, less for a text tower that is trained itself.
func rate(row onnxexport.TensorSpec, mode trainer.Mode) float64 {
	rate := 1.0
	if row.Group == onnxexport.Language || row.Group == onnxexport.Invertible {
		rate = 0.5
	}
	if ofText(row) && mode.Trains(onnxexport.TensorSpec{Group: onnxexport.Base}) {
		rate *= textRate
	}
	return rate
}

// ofText says whether a weight belongs to the text tower, its heads included.
func ofText(row onnxexport.TensorSpec) bool { return strings.HasPrefix(row.Name, "text.") }

// Step implements [trainer.Stepper]. Language and invertible adapters train at half of lr, the
// text tower in mode full at a fifth. While that is held, the biases of its heads follow the batches all the
// same. A gradient that is no number leaves the weights as they are, like a loss that is none.
func (t *Trainer) Step(ctx context.Context, b trainer.Batch, lr float64) (trainer.StepStats, error) {
	const op = "torch.Trainer.Step"
	var stats trainer.StepStats
	if err := ctx.Err(); err != nil {
		return stats, fault.E(op, fault.Canceled, err)
	}
	if !(lr >= 0) {
		return stats, fault.Errorf(op, fault.Usage, "the learning rate is 0 or more")
	}
	l, err := t.arrange(b)
	if err != nil {
		return stats, err
	}
	err = t.call(func() (err error) {
		stats, err = t.step(l, lr)
		return err
	})
	return stats, fault.E(op, fault.Internal, err)
}

// arrange lays out a batch, with what the masked terms look for where the objective has some.
func (t *Trainer) arrange(b trainer.Batch) (*layout, error) {
	l, err := arrange(b, t.config)
	if err == nil && (t.objective.maskedImage > 0 || t.objective.maskedText > 0) {
		l.hidden = hide(b, l, t.config)
	}
	return l, err
}

func (t *Trainer) step(l *layout, lr float64) (trainer.StepStats, error) {
	a := t.ledger.arena(t.lasting.kind)
	defer t.clear(a)
	n := t.network(a)
	loss, stats, err := t.forward(n, l)
	if err != nil || math.IsNaN(stats.Loss) || math.IsInf(stats.Loss, 0) {
		return stats, err
	}
	defer t.optimiser.forget()
	if err := backward(loss); err != nil {
		return stats, err
	}
	if stats.GradNorm, err = t.optimiser.clip(1); err != nil || math.IsNaN(stats.GradNorm) || math.IsInf(stats.GradNorm, 0) {
		return stats, err
	}
	if err := t.optimiser.step(lr, l.holdText); err != nil {
		return stats, err
	}
	t.bound(a)
	t.settle(a, n.centres)
	return stats, a.err
}

// trimSteps is how often free memory is given back: at each step it would cost a tenth of the
// time in page faults.
const trimSteps = 50

// clear frees what a step made. The shapes of batches differ, so that the heap grows into more
// and more pieces unless it is given back now and then, when it is nearly empty.
func (t *Trainer) clear(a *arena) {
	a.free()
	if t.steps++; t.steps%trimSteps == 0 {
		trim()
	}
}

// network returns the model as it is now, for one step.
func (t *Trainer) network(a *arena) *network {
	n := &network{arena: a, config: t.config, weights: t.weights, bfloat16: t.bfloat16}
	if t.objective.centred {
		n.centres = make(map[string]tensor)
	}
	return n
}

// forward computes the loss of a batch and what there is to say of it.
func (t *Trainer) forward(n *network, l *layout) (tensor, trainer.StepStats, error) {
	a := n.arena
	states := n.imageTower(l)
	pooled, local := n.pool(l, states)
	image, tokens := n.vectors(pooled, "image.global", nil), n.vectors(local, "image.local", l.seen)
	if l.holdText {
		libtch.AtGradSetEnabled(0) // no graph: nothing flows back, and the step is quicker
	}
	text, sentences := n.texts(l)
	libtch.AtGradSetEnabled(1)
	loss := t.objective.loss(a, l, t.scales, image, tokens, text, sentences)
	if o := t.objective; o.maskedImage > 0 && l.hidden.patches > 0 {
		loss.add(a, termMaskedImage, o.maskedImage, n.maskedImages(l, l.hidden, states))
	}
	if o := t.objective; o.maskedText > 0 && len(l.hidden.rows) > 0 && !l.holdText {
		loss.add(a, termMaskedText, o.maskedText, n.maskedTexts(l, l.hidden, pooled))
	}
	if loss.total == nil { // a step that hides nothing
		loss.total = a.scale(a.total(image), 0)
	}
	stats := trainer.StepStats{
		Loss: a.number(loss.total), Terms: make(map[string]float64),
		Temperature: math.Exp(-a.number(t.scales.global)), LocalTemperature: math.Exp(-a.number(t.scales.local)),
	}
	for name, term := range loss.terms {
		stats.Terms[name] = a.number(term)
	}
	stats.Image, stats.Text = a.spread(image, l.studies, t.config.Joint), a.spread(text, l.studies, t.config.Joint)
	return loss.total, stats, a.err
}

// Weights implements [trainer.Stepper].
func (t *Trainer) Weights() (onnxexport.Weights, error) {
	out := make(onnxexport.Weights)
	err := t.call(func() error {
		for _, row := range t.rows {
			n := 1
			for _, d := range row.Shape {
				n *= d
			}
			data := make([]float32, n)
			for i, x := range t.lasting.numbers(t.weights[row.Name], n) {
				data[i] = float32(x)
			}
			out[row.Name] = onnxexport.Tensor{Shape: row.Shape, Data: data}
		}
		return t.lasting.err
	})
	if err != nil {
		return nil, fault.E("torch.Trainer.Weights", fault.Internal, err)
	}
	return out, nil
}

// Open lists what made the tensors that are open now; with Options.Trace, also where. Between
// steps these are the weights and the optimiser's: their number never changes.
func (t *Trainer) Open() []string {
	var out []string
	_ = t.call(func() error { // it returns nil
		out = t.ledger.origins()
		return nil
	})
	return out
}

// Close implements [trainer.Stepper]. It always succeeds; nothing may be called after it.
func (t *Trainer) Close() error {
	t.end()
	return nil
}

// end frees everything and ends the thread.
func (t *Trainer) end() {
	close(t.calls)
	<-t.ended
}

// serve runs the calls on one OS thread.
func (t *Trainer) serve() {
	runtime.LockOSThread()
	defer close(t.ended)
	for f := range t.calls {
		f()
	}
	t.lasting.free()
}

// call runs f on the trainer's thread.
func (t *Trainer) call(f func() error) error {
	done := make(chan error)
	t.calls <- func() { done <- f() }
	return <-done
}
