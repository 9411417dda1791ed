package stage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/services/stage/stagetest"
)

// mode is what happens at the chosen bus operation.
type mode string

const (
	failBefore mode = "fail before it took effect"
	failAfter  mode = "fail after it took effect"
	dieBefore  mode = "die before it took effect"
	dieAfter   mode = "die after it took effect"
)

func modes() []mode { return []mode{failBefore, failAfter, dieBefore, dieAfter} }

// faults stands between one process and its bus. Operation number at goes wrong; from a
// death on nothing reaches the bus any more, as if the process were gone.
type faults struct {
	at   int // -1 for none
	mode mode
	die  context.CancelFunc

	mu   sync.Mutex
	ops  int
	hit  bool
	dead bool
}

var errInjected = fault.Errorf("faults", fault.Transient, "injected")

// do counts one operation and runs its effect, or not.
func (f *faults) do(effect func() error) error {
	f.mu.Lock()
	m := mode("")
	if f.ops == f.at {
		m, f.hit = f.mode, true
	}
	f.ops++
	gone := f.dead
	f.mu.Unlock()
	switch {
	case gone:
		return errInjected
	case m == "":
		return effect()
	}
	if m == failAfter || m == dieAfter {
		_ = effect() // its result is lost
	}
	if m == dieBefore || m == dieAfter {
		f.kill()
	}
	return errInjected
}

// kill is the death of the process.
func (f *faults) kill() {
	f.mu.Lock()
	f.dead = true
	f.mu.Unlock()
	f.die()
}

// rig is a bus under test and what was settled on it, over all lives of the process.
type rig struct {
	src      stage.Source
	pub      stage.Publisher
	attempts stage.Attempts
	last     func(context.Context, event.Subject) (event.Envelope, uint64, error)

	mu      sync.Mutex
	settled map[event.MessageID]bool
	want    int
	all     chan struct{}
}

func (r *rig) mark(id event.MessageID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled[id] {
		return
	}
	if r.settled[id] = true; len(r.settled) == r.want {
		close(r.all)
	}
}

type faultySource struct {
	f *faults
	r *rig
}

func (s faultySource) Next(ctx context.Context) (d stage.Delivery, err error) {
	err = s.f.do(func() (err error) { d, err = s.r.src.Next(ctx); return err })
	if err != nil {
		return nil, err
	}
	return faultyDelivery{s.f, s.r, d}, nil
}

type faultyDelivery struct {
	f *faults
	r *rig
	stage.Delivery
}

func (d faultyDelivery) settle(err error) error {
	if err == nil {
		d.r.mark(d.Input().ID)
	}
	return err
}

func (d faultyDelivery) Done(ctx context.Context) error {
	return d.f.do(func() error { return d.settle(d.Delivery.Done(ctx)) })
}

func (d faultyDelivery) Drop(ctx context.Context, reason string) error {
	return d.f.do(func() error { return d.settle(d.Delivery.Drop(ctx, reason)) })
}

func (d faultyDelivery) Retry(after time.Duration) error {
	return d.f.do(func() error { return d.Delivery.Retry(after) })
}

func (d faultyDelivery) Working() error { return d.f.do(d.Delivery.Working) }

type faultyBus struct {
	f *faults
	r *rig
}

func (b faultyBus) Publish(ctx context.Context, e event.Envelope, expect *stage.Expect) error {
	return b.f.do(func() error { return b.r.pub.Publish(ctx, e, expect) })
}

func (b faultyBus) Load(ctx context.Context, key string) (n int, err error) {
	err = b.f.do(func() (err error) { n, err = b.r.attempts.Load(ctx, key); return err })
	return n, err
}

func (b faultyBus) Store(ctx context.Context, key string, n int) error {
	return b.f.do(func() error { return b.r.attempts.Store(ctx, key, n) })
}

// live runs processes one after another, the first with the given fault, until every
// input is settled. It returns the operations of the first life, whether the fault came to
// pass, and how many lives it took.
func (r *rig) live(ctx context.Context, at int, m mode, hook func(f *faults, uid string)) (ops int, hit bool, lives int, err error) {
	h := &fake{last: r.last}
	for lives = 1; lives < 20; lives++ {
		life, die := context.WithCancel(ctx)
		f := &faults{at: -1, die: die}
		if lives == 1 {
			f.at, f.mode = at, m
		}
		if hook != nil {
			h.hook = func(_ context.Context, uid string, _ int) error { hook(f, uid); return nil }
		}
		b := faultyBus{f, r}
		c := stage.DefaultConfig("prepare")
		c.MaxBatch, c.BatchDeadline = 4, 10*time.Millisecond
		s, err := stage.New(c, faultySource{f, r}, b, h, stage.Deps{Log: zerolog.Nop(), Now: clock, Attempts: b})
		if err != nil {
			die()
			return 0, false, 0, err
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(life) }()
		select {
		case <-r.all:
		case <-life.Done():
		}
		die()
		if err := <-ended; err != nil {
			return 0, false, 0, err
		}
		if lives == 1 {
			ops, hit = f.ops, f.hit
		}
		select {
		case <-r.all:
			return ops, hit, lives, nil
		default:
		}
		if ctx.Err() != nil {
			return 0, false, 0, ctx.Err()
		}
	}
	return 0, false, 0, errors.New("not settled after 20 lives")
}

// faultInputs has one of every fate; the wanted lines follow, for tenant %[1]s. Which
// arrival of "same" became which revision is open.
func faultInputs() []string {
	return []string{"ok.a", "invalid.b", "same.1", "two.c", "same.2", "flaky.d", "same.3", "ok.e"}
}

func faultWant(tenant string) []string {
	w := []string{
		"prepared a rev 1 cause in-%[1]s-ok.a", "prepared c1 rev 1 cause in-%[1]s-two.c", "prepared c2 rev 1 cause in-%[1]s-two.c",
		"prepared d rev 1 cause in-%[1]s-flaky.d", "prepared e rev 1 cause in-%[1]s-ok.e",
		"prepared same rev 1", "prepared same rev 2", "prepared same rev 3", "%[1]s.rejected.prepare invalid test_reason",
	}
	for i := range w {
		w[i] = strings.ReplaceAll(w[i], "%[1]s", tenant)
	}
	slices.Sort(w)
	return w
}

// check compares what is stored with faultWant.
func check(t *testing.T, tenant string, events []event.Envelope) string {
	got := lines(t, events)
	causes := map[string]bool{}
	for i := range got {
		if line, cause, ok := strings.Cut(got[i], " cause "); ok && strings.HasPrefix(line, "prepared same") {
			got[i], causes[cause] = line, true
		}
		got[i], _, _ = strings.Cut(got[i], " of STUDIES")
	}
	slices.Sort(got)
	d := cmp.Diff(faultWant(tenant), got)
	if len(causes) != 3 {
		d += fmt.Sprintf("revisions come from %d arrivals, want 3", len(causes))
	}
	return d
}

func newRig(n int) *rig {
	return &rig{settled: map[event.MessageID]bool{}, want: n, all: make(chan struct{})}
}

// memoryRig is a rig over a Memory that holds the inputs.
func memoryRig(t *testing.T, uids []string) (*rig, *stagetest.Memory) {
	m := stagetest.NewMemory(event.StreamStudies, 10*time.Second, func(s event.Subject) bool { return strings.HasSuffix(string(s), ".study.arrived") })
	for _, uid := range uids {
		if err := m.Publish(t.Context(), study(t, "t", uid), nil); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(len(uids))
	r.src, r.pub, r.attempts = m, m, m
	r.last = func(_ context.Context, s event.Subject) (event.Envelope, uint64, error) {
		events := m.Events()
		for i := len(events) - 1; i >= 0; i-- {
			if events[i].Subject == s {
				return events[i], uint64(i) + 1, nil
			}
		}
		return event.Envelope{}, 0, fault.Errorf("memory", fault.NotFound, "no message")
	}
	return r, m
}

// TestFaultsInMemory fails each bus operation in each way, until a run meets no fault.
func TestFaultsInMemory(t *testing.T) {
	for _, md := range modes() {
		runs := 0
		for at, hit := 0, true; hit; at++ {
			synctest.Test(t, func(t *testing.T) {
				r, m := memoryRig(t, faultInputs())
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var err error
				if _, hit, _, err = r.live(ctx, at, md, nil); err != nil {
					t.Fatalf("operation %d, %s: %v", at, md, err)
				}
				if d := check(t, "t", m.Events()); d != "" {
					t.Fatalf("operation %d, %s (-want +got):\n%s", at, md, d)
				}
			})
			runs++
		}
		if runs < 30 {
			t.Errorf("%s: only %d operations were failed", md, runs)
		}
	}
}

// TestFaultsOnServer does the same against a real server, where the runs share it.
func TestFaultsOnServer(t *testing.T) {
	b := openNATS(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	attempts, err := b.Attempts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	run := func(tenant event.Tenant, at int, m mode) (int, error) {
		sc := bus.DefaultSourceConfig(event.StreamStudies, "prepare-"+string(tenant))
		sc.Subjects = []event.Subject{event.StudyArrivedSubject(tenant)}
		sc.AckWait = 500 * time.Millisecond
		src, err := b.Source(ctx, sc)
		if err != nil {
			return 0, err
		}
		for _, uid := range faultInputs() {
			if err := b.Publish(ctx, study(t, tenant, uid), nil); err != nil {
				return 0, err
			}
		}
		r := newRig(len(faultInputs()))
		r.src, r.pub, r.attempts, r.last = src, b, attempts, b.lastPrepared
		ops, _, _, err := r.live(ctx, at, m, nil)
		if err != nil {
			return 0, err
		}
		stored := b.outcome(t, map[string]event.Subject{
			event.StreamPrepared: event.Subject("rad.v1." + tenant + ".prepared.>"), event.StreamRejected: event.Subject("rad.v1." + tenant + ".rejected.>")})
		if d := check(t, string(tenant), stored); d != "" {
			return 0, fmt.Errorf("(-want +got):\n%s", d)
		}
		return ops, src.Close(ctx)
	}
	ops, err := run("clean", -1, failBefore)
	if err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, 24)
	var wg sync.WaitGroup
	for mi, m := range modes() {
		for at := range ops {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if _, err := run(event.Tenant(fmt.Sprintf("m%d-%d", mi, at)), at, m); err != nil {
					t.Errorf("operation %d, %s: %v", at, m, err)
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d operations, each failed in %d ways", ops, len(modes()))
}

// TestPoison kills the process whenever it handles one of the inputs.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		uids := []string{"ok.a", "ok.poison", "ok.b", "invalid.c", "ok.d"}
		r, m := memoryRig(t, uids)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, _, lives, err := r.live(ctx, -1, "", func(f *faults, uid string) {
			if uid == "ok.poison" {
				f.kill()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"prepared a rev 1 cause in-t-ok.a", "prepared b rev 1 cause in-t-ok.b", "prepared d rev 1 cause in-t-ok.d",
			"t.rejected.prepare invalid test_reason of STUDIES/4 in-t-invalid.c",
			"t.rejected.prepare poison killed_the_process of STUDIES/2 in-t-ok.poison",
		}
		if d := cmp.Diff(want, lines(t, m.Events())); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if lives != 5 {
			t.Errorf("it took %d deaths, want 4", lives-1)
		}
		for _, uid := range []string{"1", "2", "3", "4", "5"} {
			if n, err := m.Load(t.Context(), "prepare.STUDIES."+uid); n != 0 || err != nil {
				t.Errorf("input %s has %d marks left (%v)", uid, n, err)
			}
		}
	})
}
