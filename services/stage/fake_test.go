package stage_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/natsd"
	"github.com/radstream/radstream/services/stage"
)

// fake is a handler that does what the study uid says: "<what>.<name>".
type fake struct {
	// last reads the last message on a subject; only "same" needs it.
	last func(ctx context.Context, s event.Subject) (event.Envelope, uint64, error)
	// hook runs before an input is handled, when set; an error becomes its result.
	hook func(ctx context.Context, uid string, call int) error

	mu      sync.Mutex
	calls   map[string]int
	batches []int
}

type arrival struct {
	in  stage.Input
	uid string
}

const reasonTest fault.Reason = "test_reason"

func (f *fake) Decode(in stage.Input) (arrival, error) {
	m, err := in.Message()
	if err != nil {
		return arrival{}, err
	}
	a, ok := m.(*radstreamv1.StudyArrived)
	if !ok {
		return arrival{}, fault.Reject("fake", fault.Unsupported, "wrong_event", "a StudyArrived is expected")
	}
	if a.GetStudyUid() == "decodepanic.x" {
		panic("in decode")
	}
	return arrival{in, a.GetStudyUid()}, nil
}

func (f *fake) Handle(ctx context.Context, batch []arrival) []stage.Result {
	f.mu.Lock()
	f.batches = append(f.batches, len(batch))
	f.mu.Unlock()
	results := make([]stage.Result, len(batch))
	for i, a := range batch {
		if a.uid == "short.x" {
			return results[:i]
		}
		results[i] = f.one(ctx, a)
	}
	return results
}

func (f *fake) one(ctx context.Context, a arrival) stage.Result {
	f.mu.Lock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[a.uid]++
	call := f.calls[a.uid]
	f.mu.Unlock()
	if f.hook != nil {
		if err := f.hook(ctx, a.uid, call); err != nil {
			return stage.Result{Err: err}
		}
	}
	what, name, _ := strings.Cut(a.uid, ".")
	switch what {
	case "invalid":
		return stage.Result{Err: fault.Reject("fake", fault.Invalid, reasonTest, "an expected form")}
	case "unsupported":
		return stage.Result{Err: fault.Reject("fake", fault.Unsupported, reasonTest, "an expected form")}
	case "flaky":
		if call == 1 {
			return stage.Result{Err: fault.Errorf("fake", fault.Transient, "not now")}
		}
	case "internal":
		return stage.Result{Err: fmt.Errorf("nobody classified this")}
	case "panic":
		_ = a.uid[len(a.uid):][0]
	case "two":
		return stage.Result{Out: []stage.Output{prepared(a, name+"1", 1, nil), prepared(a, name+"2", 1, nil)}}
	case "huge":
		o := prepared(a, name, 1, nil)
		o.Body.(*radstreamv1.StudyPrepared).PrepId = strings.Repeat("x", event.MaxBody)
		return stage.Result{Out: []stage.Output{o}}
	case "same": // every arrival is the next revision of one study
		return f.revise(ctx, a)
	}
	return stage.Result{Out: []stage.Output{prepared(a, name, 1, nil)}}
}

func (f *fake) revise(ctx context.Context, a arrival) stage.Result {
	tenant, _ := a.in.Tenant()
	e, seq, err := f.last(ctx, event.PreparedSubject(tenant, "p", "same"))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return stage.Result{Out: []stage.Output{prepared(a, "same", 1, []string{string(a.in.ID)}, seq)}}
	}
	if err != nil {
		return stage.Result{Err: err}
	}
	m, err := e.Message()
	if err != nil {
		return stage.Result{Err: err}
	}
	ids := m.(*radstreamv1.StudyPrepared).GetProvenance().GetArrivalIds()
	if slices.Contains(ids, string(a.in.ID)) {
		return stage.Result{}
	}
	return stage.Result{Out: []stage.Output{prepared(a, "same", uint64(e.Rev)+1, append(ids, string(a.in.ID)), seq)}}
}

func prepared(a arrival, key string, rev uint64, ids []string, expect ...uint64) stage.Output {
	tenant, _ := a.in.Tenant()
	o := stage.Output{
		ID:      event.ID("prepared", string(a.in.ID), key), // duplicate detection spans tenants
		Subject: event.PreparedSubject(tenant, "p", event.StudyKey(key)),
		Body:    &radstreamv1.StudyPrepared{StudyKey: key, Rev: rev, Provenance: &radstreamv1.Provenance{ArrivalIds: ids}},
		Rev:     event.Rev(rev),
	}
	if len(expect) > 0 {
		o.Expect = &stage.Expect{Last: expect[0]}
	}
	return o
}

// arrivalID hides text in an id of 32 hex digits, which passes through the stage as it is.
func arrivalID(t testing.TB, text string) event.MessageID {
	t.Helper()
	if len(text) > 16 {
		t.Fatalf("%q has more than 16 bytes", text)
	}
	return event.MessageID(hex.EncodeToString(append([]byte(text), make([]byte, 16-len(text))...)))
}

// readable shows the text that arrivalID hid, and any other id as it is.
func readable(id string) string {
	text, err := hex.DecodeString(id)
	if text = bytes.TrimRight(text, "\x00"); err != nil || bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return id
	}
	return "in-" + string(text)
}

// study makes the arrival that fake will read as uid.
func study(t testing.TB, tenant event.Tenant, uid string) event.Envelope {
	t.Helper()
	e, err := event.New(arrivalID(t, string(tenant)+"-"+uid), "test", event.StudyArrivedSubject(tenant), time.Unix(1, 0), &radstreamv1.StudyArrived{StudyUid: uid})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func clock() time.Time { return time.Unix(100, 0).UTC() }

// lines shows events as sorted lines, for comparison.
func lines(t testing.TB, events []event.Envelope) []string {
	t.Helper()
	var out []string
	for _, e := range events {
		m, err := e.Message()
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != event.StudyArrived && (e.Source != "prepare" || !e.Time.Equal(clock())) {
			t.Errorf("source %s, time %v", e.Source, e.Time)
		}
		switch m := m.(type) {
		case *radstreamv1.StudyPrepared:
			out = append(out, fmt.Sprintf("prepared %s rev %d cause %s", m.GetStudyKey(), e.Rev, readable(string(e.Cause))))
		case *radstreamv1.Rejected:
			in := m.GetInput()
			out = append(out, fmt.Sprintf("%s %s %s of %s/%d %s", strings.TrimPrefix(string(e.Subject), "rad.v1."), m.GetKind(), m.GetReason(), in.GetStream(), in.GetSequence(), readable(in.GetEventId())))
		}
	}
	slices.Sort(out)
	return out
}

// natsBus is a real server with the streams made.
type natsBus struct {
	*bus.Bus
	url string
}

func openNATS(t testing.TB) natsBus {
	t.Helper()
	c := natsd.DefaultConfig(t.TempDir())
	c.Port = 0
	s, err := natsd.Start(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	bc := bus.DefaultConfig()
	bc.URL = s.ClientURL()
	b, err := bus.Connect(t.Context(), bc, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return natsBus{b, s.ClientURL()}
}

func (b natsBus) lastPrepared(ctx context.Context, s event.Subject) (event.Envelope, uint64, error) {
	return b.LastForSubject(ctx, event.StreamPrepared, s)
}

// raw publishes a message as a hospital might, with headers of its own.
func (b natsBus) raw(t testing.TB, subject string, h nats.Header, body string) {
	t.Helper()
	nc, err := nats.Connect(b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.RequestMsg(&nats.Msg{Subject: subject, Header: h, Data: []byte(body)}, time.Minute); err != nil {
		t.Fatal(err)
	}
}

// outcome reads everything under a subject filter, oldest first.
func (b natsBus) outcome(t testing.TB, streams map[string]event.Subject) []event.Envelope {
	t.Helper()
	var out []event.Envelope
	for _, stream := range []string{event.StreamPrepared, event.StreamRejected} {
		c := bus.WatchConfig{Stream: stream, Start: bus.FromAll()}
		if on := streams[stream]; on != "" {
			c.Subjects = []event.Subject{on}
		}
		if err := b.Each(t.Context(), c, func(m bus.Message) error { out = append(out, m.Envelope); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
