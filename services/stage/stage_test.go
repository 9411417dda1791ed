package stage_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/services/stage/stagetest"
)

// runUntil runs a stage over a real bus until n inputs are settled for good, and returns
// what was retried on the way, as "kind" counts.
func runUntil(t *testing.T, b natsBus, f *fake, n int, change func(*stage.Config)) map[fault.Kind]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	sc := bus.DefaultSourceConfig(event.StreamStudies, "prepare")
	src, err := b.Source(ctx, sc)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := src.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	attempts, err := b.Attempts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := stage.DefaultConfig("prepare")
	if change != nil {
		change(&c)
	}
	var left atomic.Int64
	left.Store(int64(n))
	settled := func() {
		if left.Add(-1) == 0 {
			cancel()
		}
	}
	var mu sync.Mutex
	retried := map[fault.Kind]int{}
	s, err := stage.New(c, src, b, f, stage.Deps{Log: zerolog.Nop(), Now: clock, Attempts: attempts, Events: stage.Events{
		Handled:  func(stage.Input, int, time.Duration) { settled() },
		Rejected: func(stage.Input, error) { settled() },
		Retried: func(_ stage.Input, err error, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			retried[fault.KindOf(err)]++
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if left.Load() != 0 {
		t.Fatalf("%d of %d inputs are not settled", left.Load(), n)
	}
	st, err := b.ConsumerState(t.Context(), event.StreamStudies, "prepare")
	if err != nil || st.AckPending != 0 || st.Pending != 0 {
		t.Errorf("left in the consumer: %+v, %v", st, err)
	}
	return retried
}

func TestOutcomes(t *testing.T) {
	json := func(typ string) nats.Header {
		return nats.Header{"ce-id": {"j"}, "ce-type": {typ}, "content-type": {"application/json"}, "ce-specversion": {"1.0"}}
	}
	v1 := string(event.StudyArrived)
	for _, c := range []struct {
		name   string
		inputs []string // uids
		raw    func(t *testing.T, b natsBus)
		config func(*stage.Config)
		want   []string
		retry  map[fault.Kind]int
	}{
		{name: "happy", inputs: []string{"ok.a"}, want: []string{"prepared a rev 1 cause in-t-ok.a"}},
		{name: "invalid", inputs: []string{"invalid.a"}, want: []string{"t.rejected.prepare invalid test_reason of STUDIES/1 in-t-invalid.a"}},
		{name: "unsupported", inputs: []string{"unsupported.a"}, want: []string{"t.rejected.prepare unsupported test_reason of STUDIES/1 in-t-unsupported.a"}},
		{name: "transient then success", inputs: []string{"flaky.a"}, want: []string{"prepared a rev 1 cause in-t-flaky.a"}, retry: map[fault.Kind]int{fault.Transient: 1}},
		{name: "two outputs", inputs: []string{"two.a"}, want: []string{"prepared a1 rev 1 cause in-t-two.a", "prepared a2 rev 1 cause in-t-two.a"}},
		{name: "output too large", inputs: []string{"huge.a"}, want: []string{"t.rejected.prepare unsupported event_too_large of STUDIES/1 in-t-huge.a"}},
		{name: "batch with one bad", inputs: []string{"ok.a", "invalid.b", "ok.c"}, want: []string{
			"prepared a rev 1 cause in-t-ok.a", "prepared c rev 1 cause in-t-ok.c", "t.rejected.prepare invalid test_reason of STUDIES/2 in-t-invalid.b"}},
		{name: "conflicts in a batch", inputs: []string{"same.a", "same.b", "same.c", "same.d"}, want: []string{
			"prepared same rev 1", "prepared same rev 2", "prepared same rev 3", "prepared same rev 4"}},
		{name: "conflicts between workers", inputs: many("same", 30), config: func(c *stage.Config) { c.Workers, c.MaxBatch = 4, 2 }, want: revisions(30)},
		{name: "several workers", inputs: many("ok", 100), config: func(c *stage.Config) { c.Workers, c.MaxBatch = 4, 7 }, want: keys(100)},
		{name: "bad JSON", raw: func(t *testing.T, b natsBus) { b.raw(t, "rad.v1.t.study.arrived", json(v1), "{") },
			want: []string{"t.rejected.prepare invalid malformed_event of STUDIES/1 " + string(event.MessageID("j").Public())}},
		{name: "good JSON", raw: func(t *testing.T, b natsBus) {
			b.raw(t, "rad.v1.t.study.arrived", json(v1), `{"studyUid": "ok.a"}`)
		}, want: []string{"prepared a rev 1 cause " + string(event.MessageID("j").Public())}},
		{name: "unknown version", raw: func(t *testing.T, b natsBus) {
			b.raw(t, "rad.v1.t.study.arrived", json("org.radstream.study.arrived.v9"), "{}")
		}, want: []string{"t.rejected.prepare unsupported unknown_event_version of STUDIES/1 " + string(event.MessageID("j").Public())}},
		{name: "no headers", raw: func(t *testing.T, b natsBus) { b.raw(t, "rad.v1.t.study.arrived", nil, "{}") },
			want: []string{"t.rejected.prepare unsupported unknown_event_type of STUDIES/1 " + string(event.ID("place", "STUDIES", "1"))}},
		{name: "no tenant", raw: func(t *testing.T, b natsBus) {
			b.raw(t, "rad.v1.Not_A_Tenant.study.arrived", json(v1), `{"studyUid": "ok.a"}`)
		}, want: []string{"unknown.rejected.prepare invalid malformed_subject of STUDIES/1 " + string(event.MessageID("j").Public())}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := openNATS(t)
			n := len(c.inputs)
			for _, uid := range c.inputs {
				if err := b.Publish(t.Context(), study(t, "t", uid), nil); err != nil {
					t.Fatal(err)
				}
			}
			if c.raw != nil {
				c.raw(t, b)
				n++
			}
			retried := runUntil(t, b, &fake{last: b.lastPrepared}, n, c.config)
			got := lines(t, b.outcome(t, map[string]event.Subject{}))
			for i := range got { // which arrival got which revision of "same" is open
				if strings.HasPrefix(got[i], "prepared same") {
					got[i], _, _ = strings.Cut(got[i], " cause")
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("stored (-want +got):\n%s", d)
			}
			if c.retry == nil {
				c.retry = map[fault.Kind]int{}
			}
			if d := cmp.Diff(c.retry, retried); d != "" {
				t.Errorf("retried (-want +got):\n%s", d)
			}
		})
	}
}

func many(what string, n int) (uids []string) {
	for i := range n {
		uids = append(uids, fmt.Sprintf("%s.%03d", what, i))
	}
	return uids
}

func keys(n int) (want []string) {
	for i := range n {
		want = append(want, fmt.Sprintf("prepared %03d rev 1 cause in-t-ok.%03d", i, i))
	}
	return want
}

func revisions(n int) (want []string) {
	for i := range n {
		want = append(want, fmt.Sprintf("prepared same rev %d", i+1))
	}
	slices.Sort(want)
	return want
}

func TestSameIDs(t *testing.T) {
	var inputs []stage.Input
	for i, uid := range []string{"ok.a", "two.b", "invalid.c"} {
		inputs = append(inputs, stage.Input{Envelope: study(t, "t", uid), Stream: event.StreamStudies, Sequence: uint64(i) + 1, Attempt: 1})
	}
	stagetest.SameIDs(t, &fake{}, inputs, func() {})
}

func TestNewRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*stage.Config){
		"name must":      func(c *stage.Config) { c.Name = "A.b" },
		"max batch":      func(c *stage.Config) { c.MaxBatch = 0 },
		"batch deadline": func(c *stage.Config) { c.BatchDeadline = -1 },
		"workers":        func(c *stage.Config) { c.Workers = 0 },
		"keep alive":     func(c *stage.Config) { c.KeepAlive = 0 },
		"grace":          func(c *stage.Config) { c.Grace = -1 },
	} {
		c := stage.DefaultConfig("prepare")
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		spoil(&c)
		if _, err := stage.New(c, nil, nil, &fake{}, stage.Deps{}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := stage.New(stage.DefaultConfig("a"), nil, nil, &fake{}, stage.Deps{}); fault.KindOf(err) != fault.Internal {
		t.Errorf("nothing given: %v", err)
	}
}
