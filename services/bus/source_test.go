package bus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/natsd"
	"github.com/radstream/radstream/services/stage/stagetest"
)

func TestCloseHandsBack(t *testing.T) {
	b := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 20 {
		if err := b.Publish(ctx, stagetest.Arrival(t, fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	c := bus.DefaultSourceConfig(event.StreamStudies, "d")
	c.AckWait = time.Hour // what is not handed back would not come again
	first, err := b.Source(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	d, err := first.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Done(ctx); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Next(ctx); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("after close: %v", err)
	}
	second, err := b.Source(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[event.MessageID]bool{}
	for len(seen) < 19 {
		d, err := second.Next(ctx)
		if err != nil {
			t.Fatalf("after %d: %v", len(seen), err)
		}
		seen[d.Input().ID] = true
		if err := d.Done(ctx); err != nil {
			t.Fatal(err)
		}
	}
	st, err := b.ConsumerState(ctx, event.StreamStudies, "d")
	if err != nil || st.Pending != 0 || st.AckPending != 0 || st.AckedTo != 20 {
		t.Fatalf("%+v %v", st, err)
	}
}

func TestServerRestart(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	b := bustest.Connect(t, s.ClientURL())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	src, err := b.Source(ctx, bus.DefaultSourceConfig(event.StreamStudies, "d"))
	if err != nil {
		t.Fatal(err)
	}
	var port int
	if _, err := fmt.Sscanf(s.ClientURL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if k := fault.KindOf(b.Publish(short, stagetest.Arrival(t, "a"), nil)); k != fault.Transient && k != fault.Unavailable {
		t.Fatalf("publish without a server: %s", k)
	}
	c := natsd.DefaultConfig(dir)
	c.Port = port
	s, err = natsd.Start(ctx, c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	if err := b.Publish(ctx, stagetest.Arrival(t, "a"), nil); err != nil { // waits for the reconnect
		t.Fatal(err)
	}
	if d, err := src.Next(ctx); err != nil || d.Input().ID != "a" {
		t.Fatalf("after the restart: %v", err)
	}
}

// TestRefusedAgain: a server that refuses the client for a while, such as one that is being set up
// anew, is no reason to be without a connection for ever.
func TestRefusedAgain(t *testing.T) {
	c := natsd.DefaultConfig(t.TempDir())
	c.Port, c.Token = 0, "right"
	s, err := natsd.Start(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	conf := bus.DefaultConfig()
	conf.URL, conf.Token = s.ClientURL(), "right"
	refused := make(refusals, 100)
	b, err := bus.Connect(t.Context(), conf, zerolog.New(refused))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(s.ClientURL(), "nats://127.0.0.1:%d", &c.Port); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"wrong", "right"} {
		s.Shutdown()
		c.Token = token
		if s, err = natsd.Start(t.Context(), c, zerolog.Nop()); err != nil {
			t.Fatal(err)
		}
		defer s.Shutdown()
		for n := 0; token == "wrong" && n < 3; n++ {
			select {
			case <-refused:
			case <-time.After(time.Minute):
				t.Fatalf("the client asked %d times, and not again", n)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.Publish(ctx, stagetest.Arrival(t, "a"), nil); err != nil {
		t.Fatal(err)
	}
}

// refusals is a log that tells when the server refused the client.
type refusals chan struct{}

func (r refusals) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "authorization violation") {
		r <- struct{}{}
	}
	return len(line), nil
}

func TestSourceErrors(t *testing.T) {
	b := open(t)
	c := bus.DefaultSourceConfig("NONE", "d")
	if _, err := b.Source(t.Context(), c); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no stream: %v", err)
	}
	c.Stream, c.Prefetch = event.StreamStudies, 0
	if _, err := b.Source(t.Context(), c); fault.KindOf(err) != fault.Usage {
		t.Errorf("config: %v", err)
	}
	c.Prefetch = 1
	if _, err := b.Source(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.Start = bus.FromSeq(5)
	if _, err := b.Source(t.Context(), c); fault.KindOf(err) != fault.Usage {
		t.Errorf("another start: %v", err)
	}
}

func TestDeletedConsumer(t *testing.T) {
	s := serve(t, t.TempDir())
	b := bustest.Connect(t, s.ClientURL())
	src, err := b.Source(t.Context(), bus.DefaultSourceConfig(event.StreamStudies, "d"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	// One delivery shows that the pull has reached the server; deleted before that, only
	// the missing heartbeat tells, and the test would take twenty seconds.
	if err := b.Publish(t.Context(), stagetest.Arrival(t, "a"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := src.Next(t.Context()); ended <- err }()
	if _, err := nc.Request("$JS.API.CONSUMER.DELETE.STUDIES.d", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; fault.KindOf(err) != fault.NotFound {
		t.Fatal(err)
	}
	if _, err := src.Next(t.Context()); fault.KindOf(err) != fault.NotFound { // who filled a batch did not look at the first
		t.Fatal("asked once more:", err)
	}
	if _, err := b.ConsumerState(t.Context(), event.StreamStudies, "d"); fault.KindOf(err) != fault.NotFound {
		t.Fatal(err)
	}
}
