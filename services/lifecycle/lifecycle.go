// Package lifecycle starts the services of one process in the order of their needs and
// stops them in reverse, so that nothing ever runs without what it needs.
//
//	waiting -> starting -> ready -> stopping -> stopped
//	              |          |         |
//	              +----------+---------+------> failed
//
// A target picks a service and everything it needs, directly or not; the rest stays
// waiting. Services start one after another. The first failure, a service that ends by
// itself, or the end of the context stops all: each is told to stop when all that were
// started after it have stopped, within one grace period for the whole group.
package lifecycle

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

// Service is one part of a process.
type Service struct {
	Name  string   // unique in a group
	Needs []string // names of services that are ready before this one starts
	// Start returns when the service is ready for those that need it; ctx ends when the
	// group gives up meanwhile. run then works until its own ctx ends, cleans up and
	// returns; it is called whenever Start succeeded. Returning earlier is a failure,
	// with or without an error. A nil run means that there is nothing to do or clean up.
	Start func(ctx context.Context) (run func(ctx context.Context) error, err error)
}

// State says how far a service is; the words are stable.
type State string

// The states.
const (
	Waiting  State = "waiting"
	Starting State = "starting"
	Ready    State = "ready"
	Stalled  State = "stalled" // was ready and does not answer; see [Group.SetStalled]
	Stopping State = "stopping"
	Stopped  State = "stopped"
	Failed   State = "failed"
)

// Status is one service and its state.
type Status struct {
	Name  string `json:"name"`
	State State  `json:"state"`
}

// Group runs services. Make one with [New].
type Group struct {
	grace    time.Duration
	services []Service     // every need before its user
	ready    chan struct{} // closed when all that Run started are ready
	ended    chan struct{} // closed when Run returns

	mu     sync.Mutex
	states map[string]State
	begun  bool
}

// New checks that names are unique and needs are known and without a circle. grace
// bounds how long the whole group may take to stop. Errors: Internal, since services are
// wired by code.
func New(grace time.Duration, services ...Service) (*Group, error) {
	const op = "lifecycle.New"
	g := &Group{grace: grace, ready: make(chan struct{}), ended: make(chan struct{}), states: map[string]State{}}
	for _, s := range services {
		if _, twice := g.states[s.Name]; twice || s.Name == "" || s.Start == nil {
			return nil, fault.Errorf(op, fault.Internal, "service %q needs a name of its own and a Start", s.Name)
		}
		g.states[s.Name] = Waiting
	}
	var err error
	if g.services, err = inOrder(services, nil); err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	return g, nil
}

// Ready returns nil once everything that Run started is ready, Unavailable when Run
// ended, or the context's error.
func (g *Group) Ready(ctx context.Context) error {
	select {
	case <-g.ended:
		return fault.Errorf("lifecycle.Ready", fault.Unavailable, "the services have stopped")
	default:
	}
	select {
	case <-g.ready:
		return nil
	case <-g.ended:
		return fault.Errorf("lifecycle.Ready", fault.Unavailable, "the services stopped before they were ready")
	case <-ctx.Done():
		return fault.Wrap("lifecycle.Ready", ctx.Err())
	}
}

// Status returns every service in the order of starting.
func (g *Group) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Status, len(g.services))
	for i, s := range g.services {
		all[i] = Status{s.Name, g.states[s.Name]}
	}
	return all
}

// SetStalled says whether a service that is ready has stopped to answer, or answers again.
func (g *Group) SetStalled(name string, stalled bool) {
	from, to := Ready, Stalled
	if !stalled {
		from, to = to, from
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.states[name] == from {
		g.states[name] = to
	}
}

// inOrder lists targets (all services when there are none) and what they need, every need
// before its user.
func inOrder(services []Service, targets []string) ([]Service, error) {
	byName := map[string]Service{}
	for _, s := range services {
		byName[s.Name] = s
	}
	var list []Service
	placed := map[string]bool{} // false while its needs are being placed
	var place func(name string) error
	place = func(name string) error {
		s, known := byName[name]
		if !known {
			return fmt.Errorf("no service is named %q", name)
		}
		if done, seen := placed[name]; seen {
			if !done {
				return fmt.Errorf("service %s needs itself, directly or not", name)
			}
			return nil
		}
		placed[name] = false
		for _, need := range s.Needs {
			if err := place(need); err != nil {
				return err
			}
		}
		placed[name] = true
		list = append(list, s)
		return nil
	}
	if len(targets) == 0 {
		for _, s := range services {
			targets = append(targets, s.Name)
		}
	}
	for _, name := range targets {
		if err := place(name); err != nil {
			return nil, err
		}
	}
	return list, nil
}
