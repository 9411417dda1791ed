package trainer

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// Hooks are called by [Fit], from its own goroutine. Each may be nil.
type Hooks struct {
	// Progress is called after every step.
	Progress func(Progress)
	// Validate measures the weights as they are, every Config.ValidateEvery steps and at the
	// end: figures by name. They become a curve; nothing is chosen by them. Its error ends the run.
	Validate func(ctx context.Context, w onnxexport.Weights, temperature float64) (map[string]float64, error)
	// Checkpoint keeps a run that is not at its end, every CheckpointEvery steps (0 is never) and
	// when it is interrupted. Its Labels are the caller's. Its error ends the run.
	Checkpoint      func(*Checkpoint) error
	CheckpointEvery int
}

// Progress is where a run is.
type Progress struct {
	Step, Steps  int // Step are done
	Stats        StepStats
	LearningRate float64       // of this step
	Took         time.Duration // by this step, without waiting for its batch
	Elapsed      time.Duration // since the run began, or went on
	// StepsPerSecond is the mean over Elapsed, validations included.
	StepsPerSecond float64
	Loading        float64            // so far; see Result
	Validation     map[string]float64 // of this step, if it was validated
}

// Result is what a run made.
type Result struct {
	Steps       int // updates made
	Weights     onnxexport.Weights
	Temperature float64 // what cosines are divided by
	Curves      Curves
	// Collapsed: the mean off-diagonal cosine of a side was above [Collapsed] over the last
	// steps. Such a model must not be promoted.
	Collapsed   bool
	Interrupted bool // ctx ended before the last step
	// Loading is the share of the time of all steps that was spent waiting for batches.
	Loading float64
}

// settled is how many last steps a run is judged by.
const settled = 50

// Fit trains: it hands the batches of d to s, one step at a time, and keeps what s measured.
// When ctx ends the run stops behind a step and the result is what was reached. m is the
// model's architecture. With from, the run goes on there.
//
// Errors: Usage for a wrong configuration, and for one that is not that of from; Internal when the loss is no number (the curves up
// to there are in the result); and those of s and of the hooks.
func Fit(ctx context.Context, c Config, m model.Config, d *Dataset, s Stepper, from *Checkpoint, h Hooks) (Result, error) {
	const op = "trainer.Fit"
	var out Result
	if err := c.Validate(); err != nil {
		return out, err
	}
	if from != nil {
		if from.Config != c {
			return out, fault.Errorf(op, fault.Usage, "the checkpoint is of a run with other settings: %+v", from.Config)
		}
		if err := s.Restore(from.State); err != nil {
			return out, fault.Wrap(op, err)
		}
		out.Steps, out.Curves = from.Step, from.Curves
		out.Temperature = out.Curves.temperature()
	}
	drawing, enough := context.WithCancel(ctx)
	defer enough()
	first := out.Steps
	next := prefetch(drawing, c, first, NewBatcher(c, m, d))
	start, waited, working := time.Now(), time.Duration(0), time.Duration(0)
	for out.Steps < c.Steps && ctx.Err() == nil {
		waiting := time.Now()
		batch, open := <-next
		waited += time.Since(waiting)
		if !open {
			break
		}
		lr := c.rate(out.Steps)
		began := time.Now()
		stats, err := s.Step(ctx, batch, lr)
		if err != nil && ctx.Err() != nil {
			break
		}
		if err != nil {
			return out, fault.Wrap(op, err)
		}
		if math.IsNaN(stats.Loss) || math.IsInf(stats.Loss, 0) {
			return out, fault.Errorf(op, fault.Internal, "the loss of step %d is no number: the learning rate %g is too high, a weight overflowed, or it is one of the studies %s; what was kept last is as it was",
				out.Steps+1, lr, some(batch.Studies))
		}
		took := time.Since(began)
		working += took
		out.Steps++
		out.Temperature = stats.Temperature
		out.Loading = float64(waited) / float64(max(1, waited+working))
		out.Curves.add(out.Steps, lr, stats, took)
		p := Progress{Step: out.Steps, Steps: c.Steps, Stats: stats, LearningRate: lr, Took: took, Elapsed: time.Since(start), Loading: out.Loading}
		p.StepsPerSecond = float64(out.Steps-first) / p.Elapsed.Seconds()
		if h.Validate != nil && c.ValidateEvery > 0 && (out.Steps%c.ValidateEvery == 0 || out.Steps == c.Steps) {
			if p.Validation, err = validate(ctx, s, h, stats.Temperature); err != nil && ctx.Err() == nil {
				return out, fault.Wrap(op, err)
			}
			if err == nil { // else it was interrupted, and says nothing
				out.Curves.addValidation(out.Steps, p.Validation)
			}
			runtime.GC() // what the validation held is large, and torch needs the memory
		}
		if h.CheckpointEvery > 0 && out.Steps%h.CheckpointEvery == 0 {
			if err := checkpoint(c, s, h, out); err != nil {
				return out, fault.Wrap(op, err)
			}
		}
		if h.Progress != nil {
			h.Progress(p)
		}
	}
	out.Interrupted = out.Steps < c.Steps
	if out.Steps == 0 {
		return out, fault.Errorf(op, fault.Canceled, "stopped before the first step")
	}
	if out.Interrupted {
		if err := checkpoint(c, s, h, out); err != nil {
			return out, fault.Wrap(op, err)
		}
	}
	out.Collapsed = out.Curves.collapsed()
	var err error
	out.Weights, err = s.Weights()
	return out, fault.Wrap(op, err)
}

// some names the first of many studies.
func some(keys []string) string {
	const most = 32
	if len(keys) <= most {
		return strings.Join(keys, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(keys[:most], ", "), len(keys)-most)
}

// checkpoint keeps a run as it is, unless it is at its end.
func checkpoint(c Config, s Stepper, h Hooks, r Result) error {
	if h.Checkpoint == nil || r.Steps == c.Steps {
		return nil
	}
	state, err := s.State()
	if err != nil {
		return err
	}
	return h.Checkpoint(&Checkpoint{Step: r.Steps, Config: c, State: state, Curves: r.Curves})
}

func validate(ctx context.Context, s Stepper, h Hooks, temperature float64) (map[string]float64, error) {
	w, err := s.Weights()
	if err != nil {
		return nil, err
	}
	return h.Validate(ctx, w, temperature)
}

// prefetch draws the batches from step first on, the next while a step runs. The channel closes
// behind the last.
func prefetch(ctx context.Context, c Config, first int, b *Batcher) <-chan Batch {
	next := make(chan Batch, 1)
	go func() {
		defer close(next)
		for step := first; step < c.Steps; step++ {
			select {
			case next <- b.Batch(step):
			case <-ctx.Done():
				return
			}
		}
	}()
	return next
}
