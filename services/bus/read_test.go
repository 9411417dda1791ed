package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/stage/stagetest"
)

func TestWatch(t *testing.T) {
	b := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, id := range []string{"a", "b", "c"} {
		if err := b.Publish(ctx, stagetest.Arrival(t, id), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		start bus.Start
		want  string
	}{
		{"all", bus.FromAll(), "abc"},
		{"zero value", bus.Start{}, "abc"},
		{"seq", bus.FromSeq(2), "bc"},
		{"time", bus.FromTime(time.Now().Add(-time.Hour)), "abc"},
		{"last", bus.LastPerSubject(), "c"},
	} {
		w, err := b.Watch(ctx, bus.WatchConfig{Stream: event.StreamStudies, Subjects: []event.Subject{"rad.v1.t.study.>"}, Start: c.start, HeadersOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for range c.want {
			m, err := w.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Body) != 0 {
				t.Errorf("%s: a body came along", c.name)
			}
			got += string(m.ID)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		w.Close()
	}
	w, err := b.Watch(ctx, bus.WatchConfig{Stream: event.StreamStudies, Start: bus.FromNow()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := b.Publish(ctx, stagetest.Arrival(t, "d"), nil); err != nil {
		t.Fatal(err)
	}
	if m, err := w.Next(ctx); err != nil || m.ID != "d" || m.Sequence != 4 || len(m.Body) == 0 {
		t.Fatalf("from now: %+v %v", m, err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := w.Next(ended); fault.KindOf(err) != fault.Canceled {
		t.Fatalf("ended context: %v", err)
	}
}

// TestWatchFromNow: what is stored after the watch began comes, also where the connection was lost
// before the first message.
func TestWatchFromNow(t *testing.T) {
	url := bustest.Serve(t)
	direct := bustest.Connect(t, url)
	wire := newWire(t, strings.TrimPrefix(url, "nats://"))
	b := bustest.Connect(t, "nats://"+wire.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := direct.Publish(ctx, stagetest.Arrival(t, "before"), nil); err != nil {
		t.Fatal(err)
	}
	w, err := b.Watch(ctx, bus.WatchConfig{Stream: event.StreamStudies, Start: bus.FromNow()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	wire.cut()
	if err := direct.Publish(ctx, stagetest.Arrival(t, "after"), nil); err != nil { // half a second before the client is back
		t.Fatal(err)
	}
	if m, err := w.Next(ctx); err != nil || m.ID != "after" {
		t.Errorf("%q came, %v", m.ID, err)
	}
}

// TestWatchEnds: who asks goes when he is told to, also while nothing answers.
func TestWatchEnds(t *testing.T) {
	url := bustest.Serve(t)
	wire := newWire(t, strings.TrimPrefix(url, "nats://"))
	b := bustest.Connect(t, "nats://"+wire.Addr().String())
	w, err := b.Watch(t.Context(), bus.WatchConfig{Stream: event.StreamStudies, Start: bus.FromNow()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := w.Next(ctx)
		w.Close()
		ended <- err
	}()
	wire.mutes.Store(true)
	wire.cut()
	<-wire.muted // the client is back, and what it asks for to go on does not come
	cancel()
	select {
	case err := <-ended:
		if fault.KindOf(err) != fault.Canceled {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it did not end within five seconds")
	}
}
