package stage_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/services/stage/stagetest"
)

// told is a span that notes what it is told.
type told struct {
	in stage.Input
	l  *ledger
}

type ledger struct {
	mu    sync.Mutex
	lines []string
}

func (l *ledger) note(in stage.Input, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%d.%d ", in.Sequence, in.Attempt)+fmt.Sprintf(format, args...))
}

func (s told) Trace() event.Trace {
	return event.Trace{Parent: fmt.Sprintf("00-%032d-%016d-01", s.in.Sequence, s.in.Attempt)}
}

func (s told) Batch(n int) func() {
	s.l.note(s.in, "batch of %d", n)
	return func() { s.l.note(s.in, "batch over") }
}

func (s told) End(o stage.Outcome, err error) { s.l.note(s.in, "%s %v", o, fault.ReasonOf(err)) }

// TestTraces: each delivery has one span, whatever becomes of it, and what it leaves carries it on;
// without spans it carries on the trace of the input.
func TestTraces(t *testing.T) {
	const sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, c := range map[string]struct {
		spans bool
		want  []string // the traces of the outputs
	}{
		"spans": {true, []string{
			"prepared a 00-00000000000000000000000000000001-0000000000000001-01",
			"prepared c 00-00000000000000000000000000000003-0000000000000002-01", // the second delivery
			"rejected 00-00000000000000000000000000000002-0000000000000001-01"}},
		"no spans": {false, []string{"prepared a " + sent, "prepared c " + sent, "rejected " + sent}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := stagetest.NewMemory(event.StreamStudies, 10*time.Second, func(s event.Subject) bool { return s == event.StudyArrivedSubject("t") })
				for _, uid := range []string{"ok.a", "invalid.b", "flaky.c"} {
					e := study(t, "t", uid)
					e.Trace.Parent = sent
					if err := m.Publish(t.Context(), e, nil); err != nil {
						t.Fatal(err)
					}
				}
				ctx, stop := context.WithCancel(t.Context())
				left := 3
				var mu sync.Mutex
				settled := func(in stage.Input) {
					mu.Lock()
					defer mu.Unlock()
					if left--; left == 0 {
						stop()
					}
					if (in.Trace.Parent == sent) == c.spans {
						t.Errorf("a callback is told of trace %+v", in.Trace)
					}
				}
				l := &ledger{}
				d := stage.Deps{Log: zerolog.Nop(), Now: clock, Attempts: m, Events: stage.Events{
					Handled:  func(in stage.Input, _ int, _ time.Duration) { settled(in) },
					Rejected: func(in stage.Input, _ error) { settled(in) },
				}}
				if c.spans {
					d.Begin = func(in stage.Input) stage.Span { return told{in, l} }
				}
				s, err := stage.New(stage.DefaultConfig("prepare"), m, m, &fake{}, d)
				if err == nil {
					err = s.Run(ctx)
				}
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, e := range m.Events()[3:] {
					what := "rejected"
					if e.Type == event.StudyPrepared {
						what = "prepared " + string(e.StudyKey())
					}
					got = append(got, what+" "+e.Trace.Parent)
				}
				slices.Sort(got)
				if d := cmp.Diff(c.want, got); d != "" {
					t.Errorf("traces of the outputs (-want +got):\n%s", d)
				}
				slices.Sort(l.lines)
				if d := cmp.Diff([]string{
					"1.1 acked ", "1.1 batch of 3", "1.1 batch over", "2.1 batch of 3", "2.1 batch over", "2.1 dead_lettered test_reason",
					"3.1 batch of 3", "3.1 batch over", "3.1 retried ", "3.2 acked ", "3.2 batch of 1", "3.2 batch over",
				}, l.lines); c.spans && d != "" {
					t.Errorf("spans (-want +got):\n%s", d)
				}
			})
		})
	}
}
