package lifecycle

import (
	"context"
	"errors"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// Run starts targets (all services when there are none) with their needs and returns
// when all have stopped. It can be called once. It returns nil when ctx ended and all
// stopped in time, else every failure with its service's name, joined. Services that
// outlast the grace period are named in the error and left behind.
func (g *Group) Run(ctx context.Context, targets ...string) error {
	const op = "lifecycle.Run"
	wanted, err := inOrder(g.services, targets)
	if err != nil {
		return fault.E(op, fault.Usage, err)
	}
	g.mu.Lock()
	again := g.begun
	g.begun = true
	g.mu.Unlock()
	if again {
		return fault.Errorf(op, fault.Internal, "a group runs once")
	}
	defer close(g.ended)

	live, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var started []*running
	for _, s := range wanted {
		if live.Err() != nil {
			break
		}
		g.set(s.Name, Starting)
		run, err := s.Start(live)
		r := &running{name: s.Name, done: make(chan struct{})}
		started = append(started, r)
		if err != nil {
			r.end(g, err, live.Err() != nil)
			giveUp()
			break
		}
		g.set(s.Name, Ready)
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		r.stop = stop
		go func() {
			if run == nil {
				<-own.Done()
				r.end(g, nil, true)
				return
			}
			err := run(own)
			r.end(g, err, own.Err() != nil)
			giveUp()
		}()
	}
	if live.Err() == nil {
		close(g.ready)
	}
	<-live.Done()
	return g.stopAll(started)
}

// stopAll stops what was started, last first, and collects the failures in start order.
func (g *Group) stopAll(started []*running) error {
	deadline, cancel := context.WithTimeout(context.Background(), g.grace)
	defer cancel()
	for _, r := range slices.Backward(started) {
		if r.stop != nil {
			g.set(r.name, Stopping)
			r.stop()
		}
		select {
		case <-r.done:
		case <-deadline.Done(): // the others are told at once, and not waited for
		}
	}
	var errs []error
	for _, r := range started {
		select {
		case <-r.done:
			errs = append(errs, fault.Wrap(r.name, r.err))
		default:
			g.set(r.name, Failed)
			errs = append(errs, fault.Errorf(r.name, fault.Internal, "did not stop within %v", g.grace))
		}
	}
	return errors.Join(errs...)
}

// set moves a service on. Failed and Stopped are final.
func (g *Group) set(name string, to State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.states[name]; s != Failed && s != Stopped {
		g.states[name] = to
	}
}

// running is a service between its start and its end.
type running struct {
	name string
	stop context.CancelFunc // nil when Start failed
	done chan struct{}
	err  error // valid once done is closed
}

// end records how the service ended. told says that it had been asked to, in which case
// the error of a context is no failure.
func (r *running) end(g *Group, err error, told bool) {
	if told && errors.Is(err, context.Canceled) {
		err = nil
	}
	if !told && err == nil {
		err = errors.New("ended by itself")
	}
	r.err = err
	if err != nil {
		g.set(r.name, Failed)
	} else {
		g.set(r.name, Stopped)
	}
	close(r.done)
}
