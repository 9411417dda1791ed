package stage

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Source hands out deliveries. The stage calls it from one goroutine at a time.
type Source interface {
	// Next blocks until there is a delivery or ctx ends; a delivery is never lost to a
	// ctx that ends. After Transient or Unavailable the stage asks again after a pause;
	// any other error ends [Stage.Run].
	Next(ctx context.Context) (Delivery, error)
}

// Input is an event as a stream delivered it.
type Input struct {
	event.Envelope
	Stream   string // name of the stream it lies in
	Sequence uint64 // its place there, from 1
	Attempt  uint64 // how many times it was delivered, this one included
}

// Delivery is an input and the ways to settle it. All but Input may be called from any
// goroutine.
type Delivery interface {
	Input() Input
	// Done returns once the server has confirmed that it will not deliver this again.
	Done(ctx context.Context) error
	// Drop is Done for an input that was rejected; reason is for operators and holds no PHI.
	Drop(ctx context.Context, reason string) error
	// Retry asks for another delivery after the given time, which must be positive.
	Retry(after time.Duration) error
	// Working starts the server's wait for an answer afresh.
	Working() error
}

// Publisher stores events.
type Publisher interface {
	// Publish returns after the stream confirmed that e is stored, or that it already
	// holds an event with that id. A call whose outcome is unknown may be repeated.
	//
	// With expect, e is stored only if the last message on expect.On has that
	// stream sequence (0: the subject is empty), or is e itself, stored by an earlier call
	// whose answer was lost; else the error is a Conflict.
	Publish(ctx context.Context, e event.Envelope, expect *Expect) error
}

// Attempts remembers across restarts of the process what was being handled. Keys are
// dot-separated words of letters, digits, '-' and '_'.
type Attempts interface {
	// Load returns the count stored under key, 0 when there is none.
	Load(ctx context.Context, key string) (int, error)
	// Store sets the count; 0 removes it.
	Store(ctx context.Context, key string, n int) error
}

// Handler does the work of one stage. Both methods must be safe for concurrent use, and
// equal inputs must give outputs with equal ids.
type Handler[In any] interface {
	// Decode turns the event into what Handle takes. It does no I/O.
	Decode(in Input) (In, error)
	// Handle returns one result for each input, in order.
	Handle(ctx context.Context, batch []In) []Result
}

// Expect is what must be stored for an output to be: optimistic concurrency.
type Expect struct {
	Last uint64        // stream sequence of the last message on On; 0 for none yet
	On   event.Subject // may hold wildcards that the output's subject matches; empty is that subject
}

// Output is an event to publish. The stage adds the source, the time and the cause.
type Output struct {
	ID      event.MessageID
	Subject event.Subject
	Body    proto.Message // a message that schemas/event knows
	Rev     event.Rev     // of the study that it is about; 0 when it is about none
	// Expect is nil when it does not matter what else is stored. Not met, Handle is called
	// again.
	Expect *Expect
}

// Result is what came of one input: outputs, or an error whose fault.Kind decides the
// input's fate. Out is published in order, and ignored when there is an Err.
type Result struct {
	Out []Output
	Err error
}

// Config of a stage. Start with [DefaultConfig].
type Config struct {
	// Name of the stage, such as prepare: a lower-case letter, then letters, digits, '-'.
	Name string
	// Durable is the consumer that feeds it, so that two of one name on one stream, such as those
	// of two models, are told apart. Words as of [Attempts]; "" where there is one only.
	Durable string
	// MaxBatch bounds the inputs of one call of Handle; default 32.
	MaxBatch int
	// BatchDeadline is how long a batch waits for more inputs after its first; default 20 ms.
	BatchDeadline time.Duration
	// Workers is how many batches are under way at once; default 1.
	Workers int
	// KeepAlive is how often the server is told that a batch is still being worked on;
	// default 10 s. The consumer's AckWait must be longer, three times is good.
	KeepAlive time.Duration
	// Grace is how long running batches may take after shutdown began; default 20 s.
	Grace time.Duration
}

// DefaultConfig returns the defaults for the stage called name.
func DefaultConfig(name string) Config {
	return Config{Name: name, MaxBatch: 32, BatchDeadline: 20 * time.Millisecond, Workers: 1, KeepAlive: 10 * time.Second, Grace: 20 * time.Second}
}

// Validate returns a [fault.Usage] that lists everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	wrong := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	wrong(!nameForm.MatchString(c.Name), "name must be a lower-case letter, then letters, digits and '-'")
	wrong(c.MaxBatch < 1 || c.MaxBatch > 4096, "max batch must be 1 to 4096")
	wrong(c.BatchDeadline < 0, "batch deadline must not be negative")
	wrong(c.Workers < 1 || c.Workers > 256, "workers must be 1 to 256")
	wrong(c.KeepAlive <= 0, "keep alive must be above zero")
	wrong(c.Grace < 0, "grace must not be negative")
	return fault.E("stage.Config", fault.Usage, errors.Join(errs...))
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// Events are callbacks for metrics and logs; nil ones are skipped. They are called from
// many goroutines and must return quickly. Nothing in them is PHI but the body of the
// Input and, in STUDIES, its ID.
type Events struct {
	// Handled: the outputs are stored and the input is confirmed. took runs from the
	// start of the input's batch.
	Handled func(in Input, outputs int, took time.Duration)
	// Rejected: the Rejected event is stored and the input was dropped.
	Rejected func(in Input, err error)
	// Retried: the input will be delivered again, after the delay, or after the
	// consumer's AckWait where the delay is 0.
	Retried func(in Input, err error, delay time.Duration)
	// Batch: a call of Handle with so many inputs begins; ended is called when it is over.
	Batch func(inputs int) (ended func())
}

// Outcome is how the handling of one delivery ended.
type Outcome string

// The outcomes, as the callbacks of [Events].
const (
	Acked        Outcome = "acked"         // Handled
	DeadLettered Outcome = "dead_lettered" // Rejected
	Retried      Outcome = "retried"
)

// Span follows the handling of one delivery in a trace.
type Span interface {
	// Trace takes the place of that of the Input, for the handler, the outputs and the callbacks.
	Trace() event.Trace
	// Batch: a call of Handle begins, with the input among so many; ended is called when it is over.
	Batch(inputs int) (ended func())
	// End is called once, with the error behind an outcome that is not Acked.
	End(o Outcome, err error)
}

// Deps are what a stage is given.
type Deps struct {
	Log      zerolog.Logger
	Now      func() time.Time // for the time attribute of events
	Attempts Attempts
	Events   Events
	// Begin starts a span; nil only passes on the traces of inputs.
	Begin func(in Input) Span
}

// Stage pulls inputs from a source, has them handled and settles them. Make one with [New].
type Stage[In any] struct {
	c    Config
	src  Source
	pub  Publisher
	h    Handler[In]
	deps Deps

	turn      chan struct{} // held by the worker that is collecting a batch
	alone     sync.RWMutex  // a suspect of poison holds it for writing while it is handled
	conflicts sync.Mutex    // held while one conflicted input is handled again
}

// New checks c and makes a stage. Everything is required but the callbacks, Begin and the logger.
func New[In any](c Config, src Source, pub Publisher, h Handler[In], d Deps) (*Stage[In], error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if src == nil || pub == nil || h == nil || d.Now == nil || d.Attempts == nil {
		return nil, fault.Errorf("stage.New", fault.Internal, "a source, a publisher, a handler, a clock and a store of attempts are required")
	}
	return &Stage[In]{c: c, src: src, pub: pub, h: h, deps: d, turn: make(chan struct{}, 1)}, nil
}

// Run works until ctx ends and then returns nil once nothing is under way. It returns an
// error, after the same drain, when the source is broken for good.
func (s *Stage[In]) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	// work outlives ctx by the grace period.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	unhook := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(s.c.Grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			stop()
		case <-work.Done():
		}
	})
	defer unhook()

	var wg sync.WaitGroup
	for range s.c.Workers {
		wg.Go(func() {
			if err := s.worker(ctx, work); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	var broken *sourceError
	if errors.As(context.Cause(ctx), &broken) {
		return fault.Wrap("stage.Run", broken.err)
	}
	return nil
}

// sourceError tells a broken source apart from a caller's own cancellation cause.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

func (s *Stage[In]) worker(ctx, work context.Context) error {
	for failures := uint64(0); ; {
		batch, err := s.collect(ctx)
		switch {
		case ctx.Err() != nil:
			for _, d := range batch {
				s.giveBack(d)
			}
			return nil
		case err == nil:
			failures = 0
			s.process(work, batch)
			continue
		}
		if k := fault.KindOf(err); k != fault.Transient && k != fault.Unavailable {
			return &sourceError{err}
		}
		failures++
		wait := backoff(failures)
		s.deps.Log.Warn().Str("stage", s.c.Name).Err(err).Dur("again_after", wait).Msg("no delivery from the bus")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// collect waits for a first delivery and takes what else comes within the deadline. A
// batch that is not empty comes without an error.
func (s *Stage[In]) collect(ctx context.Context) ([]Delivery, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	first, err := s.src.Next(ctx)
	if err != nil {
		return nil, err
	}
	batch := append(make([]Delivery, 0, s.c.MaxBatch), first)
	ctx, cancel := context.WithTimeout(ctx, s.c.BatchDeadline)
	defer cancel()
	for len(batch) < s.c.MaxBatch {
		d, err := s.src.Next(ctx)
		if err != nil {
			break // the deadline; or an error that the next collect meets again
		}
		batch = append(batch, d)
	}
	return batch, nil
}

// giveBack returns a delivery that was pulled and not started.
func (s *Stage[In]) giveBack(d Delivery) {
	if err := d.Retry(minDelay); err != nil {
		s.deps.Log.Warn().Str("stage", s.c.Name).Err(err).Msg("could not hand back a delivery; it comes again after AckWait")
	}
}

// key names an input in Attempts.
func (s *Stage[In]) key(in Input) string {
	return cmp.Or(s.c.Durable, s.c.Name) + "." + in.Stream + "." + strconv.FormatUint(in.Sequence, 10)
}
