package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
)

// ackWait is how long the work of a process that died lies idle. A batch that is being
// handled is kept alive; one that waits its turn behind it is not, and when its turn comes
// later than this it is delivered twice, which costs time and nothing else.
const ackWait = 10 * time.Second

// shortWait fills batches with what has been delivered already, and no more.
const shortWait = 2 * time.Millisecond

// worker says how a stage is fed.
type worker struct {
	stage    string
	stream   string
	durable  string
	subjects []event.Subject // empty: the whole stream
	model    string          // that it works under, name@version; empty for none
	batch    int
	deadline time.Duration // how long a batch waits for more
	workers  int           // batches under way at once; 0 is one
}

// startWorker opens the consumer of a stage and returns its loop.
func startWorker[In any](ctx context.Context, a *App, w worker, h stage.Handler[In]) (running, error) {
	attempts, err := a.bus.Attempts(ctx)
	if err != nil {
		return nil, err
	}
	source := bus.DefaultSourceConfig(w.stream, w.durable)
	source.Subjects = w.subjects
	source.AckWait, source.Prefetch = ackWait, w.batch
	source.MaxAckPending = max(source.MaxAckPending, 8*w.batch)
	src, err := a.bus.Source(ctx, source)
	if err != nil {
		return nil, err
	}
	c := stage.DefaultConfig(w.stage)
	c.Durable = w.durable
	c.MaxBatch, c.BatchDeadline, c.KeepAlive = w.batch, w.deadline, ackWait/3
	c.Workers = max(c.Workers, w.workers)
	log := a.opt.Log
	timed := a.clock(w.stage)
	count := a.metrics.Stage(w.stage)
	about := func(e *zerolog.Event, in stage.Input) *zerolog.Event {
		if id := in.Trace.ID(); id != "" {
			e = e.Str("trace_id", id)
		}
		return e.Str("stage", w.stage).Str("stream", in.Stream).Uint64("sequence", in.Sequence)
	}
	s, err := stage.New(c, src, a.bus, h, stage.Deps{
		Log: log, Now: time.Now, Attempts: attempts, Begin: a.traces.Stage(w.stage, w.stream, w.durable, w.model),
		Events: stage.Events{
			Handled: func(in stage.Input, outputs int, took time.Duration) {
				count.Handled(in, outputs, took)
				if e := log.Debug(); e != nil { // it is off as a rule, and costs nothing then
					about(e, in).Msg("handled")
				}
			},
			Rejected: func(in stage.Input, err error) {
				count.Rejected(in, err)
				about(log.Info(), in).Err(err).Msg("rejected")
			},
			Retried: func(in stage.Input, err error, delay time.Duration) {
				count.Retried(in, err, delay)
				about(log.Warn(), in).Err(err).Dur("again_after", delay).Msg("will be tried again")
			},
			Batch: func(inputs int) func() {
				counted := count.Batch(inputs)
				timed.begin()
				return func() {
					timed.end(inputs)
					counted()
				}
			},
		},
	})
	if err != nil {
		return nil, errors.Join(err, src.Close(ctx))
	}
	unwatch := a.watch(w)
	return func(ctx context.Context) error {
		defer unwatch()
		err := s.Run(ctx)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace/3)
		defer cancel()
		return errors.Join(err, src.Close(end))
	}, nil
}

// StageTime is how long a stage has worked in this process.
type StageTime struct {
	Name   string        `json:"name"`
	Inputs int           `json:"inputs"` // handled, counting repeats
	Busy   time.Duration `json:"busy"`   // time in which its handler worked on anything
}

// StageTimes returns the stages that run here, in the order a study passes them.
func (a *App) StageTimes() []StageTime {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []StageTime
	for _, name := range []string{stagePrepare, stageEmbed, stageIndex} {
		for _, c := range a.clocks {
			if c.name == name {
				out = append(out, c.read())
			}
		}
	}
	return out
}

// clock returns the clock of a stage, one whatever model it works under.
func (a *App) clock(stage string) *clock {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.clocks {
		if c.name == stage {
			return c
		}
	}
	c := &clock{name: stage}
	a.clocks = append(a.clocks, c)
	return c
}

// clock adds up the time of one stage's handler.
type clock struct {
	name string

	mu     sync.Mutex
	inputs int
	busy   time.Duration
	active int       // calls under way
	since  time.Time // there have been any
}

func (c *clock) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active++; c.active == 1 {
		c.since = time.Now()
	}
}

func (c *clock) end(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inputs += n
	if c.active--; c.active == 0 {
		c.busy += time.Since(c.since)
	}
}

func (c *clock) read() StageTime {
	c.mu.Lock()
	defer c.mu.Unlock()
	return StageTime{c.name, c.inputs, c.busy}
}
