package stage_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
)

// launch runs a stage over r and returns how to end it; end waits for Run.
func launch(t *testing.T, r *rig, h *fake, change func(*stage.Config)) (end func() error) {
	t.Helper()
	c := stage.DefaultConfig("prepare")
	if change != nil {
		change(&c)
	}
	none := &faults{at: -1}
	s, err := stage.New(c, faultySource{none, r}, r.pub, h, stage.Deps{Log: zerolog.Nop(), Now: clock, Attempts: r.attempts})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() error { cancel(); return <-ended }
}

// deafBus publishes even when its context is over.
type deafBus struct{ stage.Publisher }

func (b deafBus) Publish(ctx context.Context, e event.Envelope, expect *stage.Expect) error {
	return b.Publisher.Publish(context.WithoutCancel(ctx), e, expect)
}

func TestDrainFinishesTheRunningBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := memoryRig(t, []string{"ok.a", "ok.b", "ok.c", "ok.d", "ok.e"})
		h := &fake{hook: func(context.Context, string, int) error { <-time.After(3 * time.Second); return nil }}
		end := launch(t, r, h, func(c *stage.Config) { c.MaxBatch = 2 })
		synctest.Wait() // the first batch is being handled
		began := time.Now()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("the drain took %v, want 6s", took)
		}
		want := []string{"prepared a rev 1 cause in-t-ok.a", "prepared b rev 1 cause in-t-ok.b"}
		if d := cmp.Diff(want, lines(t, m.Events())); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if m.Unsettled() != 0 || m.Waiting() != 3 {
			t.Errorf("%d unsettled, %d waiting; want 0 and 3", m.Unsettled(), m.Waiting())
		}
	})
}

func TestDrainGivesBackWhatHadNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := memoryRig(t, []string{"ok.a", "ok.b"})
		h := &fake{}
		end := launch(t, r, h, func(c *stage.Config) { c.BatchDeadline = time.Hour })
		synctest.Wait() // both are pulled, and more are waited for
		if m.Unsettled() != 2 {
			t.Fatalf("%d are pulled, want 2", m.Unsettled())
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second) // far less than the ack wait
		if len(h.calls) != 0 || m.Waiting() != 2 {
			t.Errorf("handled %v; %d waiting, want 2", h.calls, m.Waiting())
		}
	})
}

func TestDrainEndsWithTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := memoryRig(t, []string{"ok.a"})
		h := &fake{hook: func(ctx context.Context, _ string, _ int) error {
			<-ctx.Done()
			return fault.Reject("fake", fault.Invalid, reasonTest, "what handlers say when they are cut off")
		}}
		r.pub = deafBus{r.pub} // the order to give up must not depend on the bus noticing
		end := launch(t, r, h, func(c *stage.Config) { c.Grace = 7 * time.Second })
		synctest.Wait()
		<-time.After(time.Minute) // six ack waits: keepAlive holds on to the input
		began := time.Now()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("the drain took %v, want 7s", took)
		}
		<-time.After(time.Second)
		if got := lines(t, m.Events()); len(got) != 0 || m.Waiting() != 1 || h.calls["ok.a"] != 1 {
			t.Errorf("stored %v, %d waiting, %d calls; want none, 1, 1", got, m.Waiting(), h.calls["ok.a"])
		}
	})
}

func TestLongWorkIsNotDeliveredTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := memoryRig(t, []string{"ok.a", "ok.b"})
		h := &fake{hook: func(context.Context, string, int) error { <-time.After(5 * time.Minute); return nil }}
		end := launch(t, r, h, func(c *stage.Config) { c.KeepAlive, c.Workers = 3*time.Second, 2 })
		<-r.all
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if len(lines(t, m.Events())) != 2 || h.calls["ok.a"] != 1 || h.calls["ok.b"] != 1 {
			t.Errorf("stored %v after calls %v", lines(t, m.Events()), h.calls)
		}
	})
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := memoryRig(t, many("ok", 8))
		h := &fake{}
		end := launch(t, r, h, func(c *stage.Config) { c.MaxBatch = 3 })
		<-r.all
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if want := []int{3, 3, 2}; !slices.Equal(h.batches, want) {
			t.Errorf("batches of %v, want %v", h.batches, want)
		}
	})
}

// A defect of the handler costs its own input alone, and that only after several tries.
func TestDefects(t *testing.T) {
	for uid, calls := range map[string]int{"panic.x": 10, "internal.x": 5, "short.x": 0, "decodepanic.x": 0} {
		t.Run(uid, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, m := memoryRig(t, []string{"ok.a", uid, "ok.b"})
				h := &fake{}
				end := launch(t, r, h, nil)
				began := time.Now()
				<-r.all
				if err := end(); err != nil {
					t.Fatal(err)
				}
				want := []string{
					"prepared a rev 1 cause in-t-ok.a", "prepared b rev 1 cause in-t-ok.b",
					"t.rejected.prepare internal internal of STUDIES/2 in-t-" + uid,
				}
				if d := cmp.Diff(want, lines(t, m.Events())); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
				if took, least := time.Since(began), (250+500+1000+2000)*time.Millisecond; took < least || took > least+time.Second {
					t.Errorf("rejected after %v, want a little over %v", took, least)
				}
				if got := h.calls[uid]; calls == 5 && got != calls || got > calls {
					t.Errorf("handled %d times, want %d", got, calls)
				}
			})
		})
	}
}

// brokenSource fails every call with err until it is told to stop.
type brokenSource struct {
	stage.Source
	err   error
	fails atomic.Int64
}

func (s *brokenSource) Next(ctx context.Context) (stage.Delivery, error) {
	if s.fails.Add(-1) >= 0 {
		return nil, s.err
	}
	return s.Source.Next(ctx)
}

func TestSourceErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := memoryRig(t, []string{"ok.a"})
		src := &brokenSource{Source: r.src, err: fault.Errorf("bus", fault.Unavailable, "no server")}
		src.fails.Store(4)
		r.src = src
		end := launch(t, r, &fake{}, nil)
		began := time.Now()
		<-r.all // waits through the outage
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 3750*time.Millisecond || took > 4*time.Second {
			t.Errorf("waited %v for four failures, want a little over 3.75s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, _ := memoryRig(t, []string{"ok.a"})
		gone := fault.Errorf("bus", fault.NotFound, "the consumer was deleted")
		src := &brokenSource{Source: r.src, err: gone}
		src.fails.Store(1)
		r.src = src
		s, err := stage.New(func() stage.Config { c := stage.DefaultConfig("prepare"); c.Workers = 3; return c }(),
			src, r.pub, &fake{}, stage.Deps{Log: zerolog.Nop(), Now: clock, Attempts: r.attempts})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); !errors.Is(err, gone) || fault.KindOf(err) != fault.NotFound {
			t.Errorf("Run: %v, want the error of the source", err)
		}
	})
}
