package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/lifecycle"
)

// journal records what services do, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// service starts in a second, runs until it is told to stop, and takes a second for it.
func (j *journal) service(name string, needs ...string) lifecycle.Service {
	return lifecycle.Service{Name: name, Needs: needs, Start: func(ctx context.Context) (func(context.Context) error, error) {
		if err := wait(ctx, time.Second); err != nil {
			return nil, err
		}
		j.add("+" + name)
		return func(ctx context.Context) error {
			<-ctx.Done()
			<-time.After(time.Second)
			j.add("-" + name)
			return ctx.Err()
		}, nil
	}}
}

// house is bus <- {ingest, embed <- model}, and query apart, declared in another order.
func (j *journal) house() []lifecycle.Service {
	return []lifecycle.Service{
		j.service("embed", "bus", "model"), j.service("query"), j.service("ingest", "bus"), j.service("bus"), j.service("model"),
	}
}

func TestOrderAndTargets(t *testing.T) {
	for _, c := range []struct {
		targets []string
		want    string
	}{
		{nil, "+bus +model +embed +query +ingest -ingest -query -embed -model -bus"},
		{[]string{"ingest"}, "+bus +ingest -ingest -bus"},
		{[]string{"embed", "query"}, "+bus +model +embed +query -query -embed -model -bus"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var j journal
			ctx, cancel := context.WithCancel(t.Context())
			g, end := run(t, ctx, j.house(), c.targets...)
			if err := g.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, s := range g.Status() {
				started := strings.Contains(c.want, "+"+s.Name)
				if started != (s.State == lifecycle.Ready) || !started && s.State != lifecycle.Waiting {
					t.Errorf("%s is %s", s.Name, s.State)
				}
			}
			state := func(name string) lifecycle.State {
				all := g.Status()
				return all[slices.IndexFunc(all, func(s lifecycle.Status) bool { return s.Name == name })].State
			}
			for _, stalled := range []bool{false, true, true, false, true} { // the last until the end
				g.SetStalled("bus", stalled)
				g.SetStalled("query", stalled)
				if got, quiet := state("bus"), state("query"); (got == lifecycle.Stalled) != (stalled && strings.Contains(c.want, "+bus")) ||
					(quiet == lifecycle.Stalled) != (stalled && strings.Contains(c.want, "+query")) {
					t.Errorf("stalled %t: bus is %s, query %s", stalled, got, quiet)
				}
			}
			cancel()
			if err := <-end; err != nil {
				t.Error(err)
			}
			if got := strings.Join(j.take(), " "); got != c.want {
				t.Errorf("%v\n got %s\nwant %s", c.targets, got, c.want)
			}
			if err := g.Ready(t.Context()); fault.KindOf(err) != fault.Unavailable {
				t.Error("ready after the end:", err)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	broken := fault.Errorf("disk", fault.Transient, "full")
	failing := func(start, run func(ctx context.Context) error) lifecycle.Service {
		return lifecycle.Service{Name: "bad", Needs: []string{"bus"}, Start: func(ctx context.Context) (func(context.Context) error, error) {
			return run, start(ctx)
		}}
	}
	ok := func(context.Context) error { return nil }
	later := func(err error) func(context.Context) error {
		return func(ctx context.Context) error { return errors.Join(wait(ctx, time.Minute), err) }
	}
	for _, c := range []struct {
		name    string
		service lifecycle.Service
		cancel  time.Duration
		text    string
		kind    fault.Kind
		journal string
		states  string
	}{
		{"start", failing(func(context.Context) error { return broken }, nil), 0, "bad: disk: full", fault.Transient, "+bus -bus", "stopped failed waiting"},
		{"run", failing(ok, later(broken)), 0, "bad: disk: full", fault.Transient, "+bus +last -last -bus", "stopped failed stopped"},
		{"ends by itself", failing(ok, later(nil)), 0, "bad: ended by itself", fault.Internal, "+bus +last -last -bus", "stopped failed stopped"},
		{"fails while the next starts", failing(ok, func(ctx context.Context) error { return errors.Join(wait(ctx, time.Second/2), broken) }), 0, "bad: disk: full", fault.Transient, "+bus -bus", "stopped failed stopped"},
		{"fails to stop", failing(ok, func(ctx context.Context) error { <-ctx.Done(); return broken }), time.Minute, "bad: disk: full", fault.Transient, "+bus +last -last -bus", "stopped failed stopped"},
		{"canceled while it starts", failing(func(ctx context.Context) error { return wait(ctx, time.Hour) }, nil), time.Minute, "", fault.Internal, "+bus -bus", "stopped stopped waiting"},
		{"nothing to run", failing(ok, nil), time.Minute, "", fault.Internal, "+bus +last -last -bus", "stopped stopped stopped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				ctx := t.Context()
				if c.cancel > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					time.AfterFunc(c.cancel, cancel)
				}
				g, end := run(t, ctx, []lifecycle.Service{j.service("bus"), c.service, j.service("last", "bad")})
				err := <-end
				if text(err) != c.text || err != nil && fault.KindOf(err) != c.kind {
					t.Errorf("%v: %v, want %s", fault.KindOf(err), err, c.text)
				}
				if got := strings.Join(j.take(), " "); got != c.journal {
					t.Errorf("got %s, want %s", got, c.journal)
				}
				var states []string
				for _, s := range g.Status() {
					states = append(states, string(s.State))
				}
				if got := strings.Join(states, " "); got != c.states {
					t.Errorf("got %s, want %s", got, c.states)
				}
			})
		})
	}
}

func TestGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		release := make(chan struct{})
		stuck := lifecycle.Service{Name: "stuck", Needs: []string{"bus"}, Start: func(context.Context) (func(context.Context) error, error) {
			return func(context.Context) error { <-release; return nil }, nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		_, end := run(t, ctx, []lifecycle.Service{j.service("bus"), stuck})
		synctest.Wait()
		<-time.After(time.Minute)
		begin := time.Now()
		cancel()
		err := <-end
		if got, want := text(err), "bus: did not stop within 10s\nstuck: did not stop within 10s"; got != want {
			t.Errorf("got %s", got)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("stopped after %v", d)
		}
		close(release)
		<-time.After(time.Minute)
		if d := cmp.Diff([]string{"+bus", "-bus"}, j.take()); d != "" {
			t.Errorf("bus was not told to stop: %s", d)
		}
	})
}

func TestReadyGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g, err := lifecycle.New(time.Second, j.house()...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if err := g.Run(ctx); err != nil || len(j.take()) != 0 {
			t.Errorf("a context that has ended: %v, %v", err, j.take())
		}
		if err := g.Run(t.Context()); fault.KindOf(err) != fault.Internal || err == nil {
			t.Error("a second run:", err)
		}
	})
}

func TestWiring(t *testing.T) {
	var j journal
	for name, services := range map[string][]lifecycle.Service{
		"same name":  {j.service("a"), j.service("a")},
		"no name":    {j.service("")},
		"no start":   {{Name: "a"}},
		"unknown":    {j.service("a", "b")},
		"circle":     {j.service("a", "b"), j.service("b", "c"), j.service("c", "a")},
		"needs self": {j.service("a", "a")},
	} {
		if _, err := lifecycle.New(time.Second, services...); err == nil {
			t.Error(name, "is taken")
		}
	}
	g, err := lifecycle.New(time.Second, j.house()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context(), "ingest", "nothing"); fault.KindOf(err) != fault.Usage {
		t.Error("an unknown target:", err)
	}
}

// run runs services with ten seconds of grace and hands out Run's error.
func run(t *testing.T, ctx context.Context, services []lifecycle.Service, targets ...string) (*lifecycle.Group, <-chan error) {
	t.Helper()
	g, err := lifecycle.New(10*time.Second, services...)
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- g.Run(ctx, targets...) }()
	return g, end
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
