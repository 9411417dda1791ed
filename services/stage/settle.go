package stage

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

const (
	// FallbackTenant holds the rejections of inputs whose subject names no valid tenant.
	FallbackTenant event.Tenant = "unknown"
	// maxConflicts bounds how often one delivery is handled again after conflicts.
	maxConflicts = 16
	// poisonDeaths is how many deaths on record make an input poison.
	poisonDeaths = 3
)

// ReasonPoison is the reason of rejections for killing the process.
const ReasonPoison fault.Reason = "killed_the_process"

// item is one delivery on its way through a batch.
type item[In any] struct {
	d       Delivery
	in      Input
	value   In
	begun   time.Time
	span    Span   // nil where nobody follows it
	key     string // in Attempts; empty while the input has no mark there
	deaths  int    // how often the process died while handling it, as far as is known
	settled atomic.Bool
}

func (it *item[In]) end(o Outcome, err error) {
	if it.span != nil {
		it.span.End(o, err)
	}
}

// process settles every delivery of a batch.
func (s *Stage[In]) process(ctx context.Context, batch []Delivery) {
	items := make([]*item[In], len(batch))
	for i, d := range batch {
		it := &item[In]{d: d, in: d.Input(), begun: time.Now()}
		if s.deps.Begin != nil {
			it.span = s.deps.Begin(it.in)
			it.in.Trace = it.span.Trace()
		}
		items[i] = it
	}
	defer s.keepAlive(items)()

	fresh, suspects := items[:0:0], items[:0:0]
	for _, it := range items {
		switch err := s.suspect(ctx, it); {
		case err != nil:
			s.settle(ctx, it, 0, err)
		case it.deaths > 0:
			suspects = append(suspects, it)
		default:
			fresh = append(fresh, it)
		}
	}
	if len(fresh) > 0 {
		s.alone.RLock()
		s.run(ctx, fresh)
		s.alone.RUnlock()
	}
	for _, it := range suspects {
		s.alone.Lock()
		s.run(ctx, []*item[In]{it})
		s.alone.Unlock()
	}
}

// suspect looks up how often the process died over it, for anything but a first delivery.
func (s *Stage[In]) suspect(ctx context.Context, it *item[In]) error {
	if it.in.Attempt < 2 {
		return nil
	}
	key := s.key(it.in)
	deaths, err := s.deps.Attempts.Load(ctx, key)
	if err != nil {
		return notToBlame("stage.suspect", err)
	}
	it.key, it.deaths = key, deaths
	if deaths >= poisonDeaths {
		return fault.Reject("stage.suspect", fault.Poison, ReasonPoison, "the process died %d times while handling this input", deaths)
	}
	return nil
}

// run takes items through decode, handle, publish and settle.
func (s *Stage[In]) run(ctx context.Context, items []*item[In]) {
	ready := items[:0:0]
	for _, it := range items {
		if err := s.prepare(ctx, it); err != nil {
			s.settle(ctx, it, 0, err)
			continue
		}
		ready = append(ready, it)
	}
	if len(ready) == 0 {
		return
	}
	results := s.handle(ctx, ready)
	conflicted := make([]bool, len(ready))
	var wg sync.WaitGroup
	for i, it := range ready {
		wg.Go(func() {
			err := s.publish(ctx, it, results[i])
			if conflicted[i] = fault.KindOf(err) == fault.Conflict && err != nil; !conflicted[i] {
				s.settle(ctx, it, len(results[i].Out), err)
			}
		})
	}
	wg.Wait()
	for i, it := range ready {
		if conflicted[i] {
			s.resolve(ctx, it)
		}
	}
}

// prepare decodes the input and leaves the mark of its handling.
func (s *Stage[In]) prepare(ctx context.Context, it *item[In]) (err error) {
	if _, err := it.in.Tenant(); err != nil {
		return err
	}
	defer s.recovered("decode", &err)
	if it.value, err = s.h.Decode(it.in); err != nil {
		return err
	}
	if it.key == "" {
		return nil
	}
	return notToBlame("stage.prepare", s.deps.Attempts.Store(ctx, it.key, it.deaths+1))
}

// handle calls the handler and returns one result for each item. When the call as a whole
// fails, each item is tried alone to find the one that is to blame.
func (s *Stage[In]) handle(ctx context.Context, items []*item[In]) []Result {
	results, err := s.call(ctx, items)
	switch {
	case err == nil:
		return results
	case len(items) == 1:
		return []Result{{Err: err}}
	}
	results = make([]Result, len(items))
	for i := range items {
		results[i] = s.handle(ctx, items[i:i+1])[0]
	}
	return results
}

// call turns a panic and a wrong number of results into an Internal error.
func (s *Stage[In]) call(ctx context.Context, items []*item[In]) (results []Result, err error) {
	defer s.recovered("handle", &err)
	batch := make([]In, len(items))
	for i, it := range items {
		batch[i] = it.value
	}
	func() {
		if f := s.deps.Events.Batch; f != nil {
			defer f(len(batch))()
		}
		for _, it := range items {
			if it.span != nil {
				defer it.span.Batch(len(batch))()
			}
		}
		results = s.h.Handle(ctx, batch)
	}()
	if len(results) != len(batch) {
		return nil, fault.Errorf("stage.call", fault.Internal, "the handler gave %d results for %d inputs", len(results), len(batch))
	}
	return results, nil
}

// recovered is deferred around the handler's code. Only what the runtime says about a
// panic is repeated; any other value may quote the input.
func (s *Stage[In]) recovered(what string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	if re, ok := p.(runtime.Error); ok {
		*err = fault.Errorf("stage."+what, fault.Internal, "panic: %w", re)
	} else {
		*err = fault.Errorf("stage."+what, fault.Internal, "panic with a %T", p)
	}
	s.deps.Log.Error().Str("stage", s.c.Name).Err(*err).Bytes("stack", debug.Stack()).Msg("the handler panicked")
}

// publish stores the outputs of one result, in order.
func (s *Stage[In]) publish(ctx context.Context, it *item[In], r Result) error {
	if r.Err != nil {
		return r.Err
	}
	for _, o := range r.Out {
		if err := s.publishOne(ctx, it.in, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage[In]) publishOne(ctx context.Context, in Input, o Output) error {
	e, err := event.New(o.ID, s.c.Name, o.Subject, s.deps.Now(), o.Body)
	if err != nil {
		return err
	}
	e.Rev, e.Trace = o.Rev, in.Trace
	if e.Cause = in.Cause; e.Cause == "" {
		e.Cause = in.ID.Public() // an arrival is its own cause
	}
	return s.pub.Publish(ctx, e, o.Expect)
}

// resolve handles a conflicted item again until it no longer meets somebody else's write.
func (s *Stage[In]) resolve(ctx context.Context, it *item[In]) {
	s.conflicts.Lock()
	defer s.conflicts.Unlock()
	var r Result
	var err error
	for range maxConflicts {
		r = s.handle(ctx, []*item[In]{it})[0]
		if err = s.publish(ctx, it, r); err == nil || fault.KindOf(err) != fault.Conflict {
			break
		}
	}
	s.settle(ctx, it, len(r.Out), err)
}

// settle ends an item's delivery: done without err, else as the verdict on err says.
func (s *Stage[In]) settle(ctx context.Context, it *item[In], outputs int, err error) {
	if err == nil {
		if err := it.d.Done(ctx); err != nil {
			// The outputs are stored; another delivery repeats them under the same ids.
			s.retried(ctx, it, fault.Wrap("stage.Done", err), 0)
			return
		}
		s.unmark(ctx, it, 0)
		it.end(Acked, nil)
		if f := s.deps.Events.Handled; f != nil {
			f(it.in, outputs, time.Since(it.begun))
		}
		return
	}
	reject, delay := verdict(fault.KindOf(err), it.in.Attempt)
	if ctx.Err() != nil { // the grace period is over: whatever failed, failed because of that
		reject, delay = false, minDelay
	}
	if reject {
		perr := s.publishOne(ctx, it.in, s.rejection(it.in, err))
		if perr == nil {
			if derr := it.d.Drop(ctx, string(reasonOf(err))); derr != nil {
				s.retried(ctx, it, fault.Wrap("stage.Drop", derr), 0)
				return
			}
			s.unmark(ctx, it, 0)
			it.end(DeadLettered, err)
			if f := s.deps.Events.Rejected; f != nil {
				f(it.in, err)
			}
			return
		}
		// An input is dropped only when its Rejected is stored.
		_, delay = verdict(fault.Transient, it.in.Attempt)
		err = fault.Wrap("stage.reject", perr)
	}
	s.retried(ctx, it, err, delay)
}

// retried lets the input come again: after the delay, or, with 0, when the server has
// waited long enough for an answer.
func (s *Stage[In]) retried(ctx context.Context, it *item[In], err error, delay time.Duration) {
	s.unmark(ctx, it, it.deaths) // first, or the next delivery may find the mark
	if delay > 0 {
		if rerr := it.d.Retry(delay); rerr != nil {
			delay = 0
			s.deps.Log.Warn().Str("stage", s.c.Name).Err(rerr).Msg("could not ask for a retry; it comes after AckWait")
		}
	}
	it.end(Retried, err)
	if f := s.deps.Events.Retried; f != nil {
		f(it.in, err, delay)
	}
}

// unmark ends the mark that prepare left: this handling ended with the process alive.
func (s *Stage[In]) unmark(ctx context.Context, it *item[In], deaths int) {
	it.settled.Store(true)
	if it.key == "" {
		return
	}
	// Should this fail, or the process die here, the mark counts one death too many; the
	// context is kept alive so that a drain does not do that.
	if err := s.deps.Attempts.Store(context.WithoutCancel(ctx), it.key, deaths); err != nil {
		s.deps.Log.Warn().Str("stage", s.c.Name).Err(err).Msg("could not take back a mark of handling")
	}
}

// rejection makes the Rejected for an input. Its id holds the place in the stream, so
// that the same event published again (requeued) and refused again is another rejection.
func (s *Stage[In]) rejection(in Input, err error) Output {
	tenant, terr := in.Tenant()
	if terr != nil {
		tenant = FallbackTenant
	}
	body := &radstreamv1.Rejected{
		Stage:  s.c.Name,
		Kind:   fault.KindOf(err).String(),
		Reason: string(reasonOf(err)),
		Detail: fault.Detail(err),
		Input:  &radstreamv1.InputRef{Stream: in.Stream, Sequence: in.Sequence, EventId: string(in.ID.Public())},
	}
	if in.Type == event.StudyPrepared || in.Type == event.StudyEmbedded {
		body.StudyKey = string(in.StudyKey())
	}
	return Output{
		ID:      event.ID("rejected", cmp.Or(s.c.Durable, s.c.Name), string(in.ID), in.Stream, strconv.FormatUint(in.Sequence, 10)),
		Subject: event.RejectedSubject(tenant, s.c.Name),
		Body:    body,
		Rev:     in.Rev,
	}
}

// reasonOf is never empty.
func reasonOf(err error) fault.Reason {
	if r := fault.ReasonOf(err); r != "" {
		return r
	}
	return fault.Reason(fault.KindOf(err).String())
}

// notToBlame keeps an error of the bookkeeping from rejecting the input.
func notToBlame(op string, err error) error {
	return fault.E(op, fault.Unavailable, err)
}

// keepAlive tells the server now and then that the unsettled items are still worked on,
// until the returned function is called.
func (s *Stage[In]) keepAlive(items []*item[In]) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(s.c.KeepAlive)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			for _, it := range items {
				if it.settled.Load() {
					continue
				}
				if err := it.d.Working(); err != nil {
					s.deps.Log.Debug().Str("stage", s.c.Name).Err(err).Msg("could not say that work goes on")
				}
			}
		}
	})
	return func() { close(done); wg.Wait() }
}
