package telemetry

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/services/telemetry/tracetest"
)

const (
	sent     = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	noSample = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

func open(t *testing.T, collector string, percent int) *Traces {
	t.Helper()
	traces, err := OpenTraces(t.Context(), collector, percent, "v1", zerolog.New(t.Output()))
	if err != nil {
		t.Fatal(err)
	}
	return traces
}

// TestSpans: what a span of each kind says, and what it leaves out.
func TestSpans(t *testing.T) {
	c := tracetest.Serve(t)
	traces := open(t, c.URL, 100)

	begin := traces.Stage("embed", "PREPARED", "embed_tiny", "tiny@1.0.0")
	in := stage.Input{Stream: "PREPARED", Sequence: 7, Attempt: 2}
	in.Type, in.Trace = event.StudyPrepared, event.Trace{Parent: sent, State: "ot=th:8"}
	s := begin(in)
	s.Batch(3)()
	next := s.Trace()
	s.End(stage.Acked, nil)
	if next.ID() != traceID || next.Parent == sent || next.State != "ot=th:8" {
		t.Errorf("outputs carry on %+v", next)
	}
	in.Type, in.Subject, in.ID, in.Source = "org.QXCANARY.v1", "rad.v1.north.prepared.QXCANARY.QXCANARY", "QXCANARY", "QXCANARY"
	begin(in).End(stage.DeadLettered, fault.Reject("x", fault.Invalid, "blank", "QXCANARY"))
	begin(in).End(stage.Retried, errors.New("QXCANARY"))

	ctx, end := traces.HTTP(t.Context(), event.Trace{Parent: sent}, "POST", "/v1/search")
	traces.Encoded(ctx, "text", "tiny@1.0.0", time.Now(), nil)
	traces.Indexed(ctx, "search", "studies", time.Now(), fault.E("x", fault.Transient, errors.New("QXCANARY")))
	end(400)
	_, end = traces.NATS(t.Context(), event.Trace{Parent: sent}, "radstream.search")
	end(503)
	traces.Indexed(t.Context(), "get", "studies", time.Now(), nil) // of no request: no span
	traces.Close(t.Context())

	process := func(more map[string]string) map[string]string {
		more["messaging.system"], more["messaging.operation.type"], more["messaging.operation.name"] = "nats", "process", "embed"
		more["messaging.destination.name"], more["messaging.consumer.group.name"] = "PREPARED", "embed_tiny"
		more["radstream.model"], more["radstream.sequence"], more["radstream.attempt"] = "tiny@1.0.0", "7", "2"
		return more
	}
	want := []tracetest.Span{
		{Name: "embed batch", Attributes: map[string]string{"messaging.batch.message_count": "3"}},
		{Name: "embed PREPARED", Attributes: process(map[string]string{"cloudevents.event_type": string(event.StudyPrepared), "radstream.outcome": "acked"})},
		{Name: "embed PREPARED", Failed: true, Attributes: process(map[string]string{"radstream.outcome": "dead_lettered", "error.type": "blank"})},
		{Name: "embed PREPARED", Failed: true, Attributes: process(map[string]string{"radstream.outcome": "retried", "error.type": "internal"})},
		{Name: "encode text", Attributes: map[string]string{"radstream.model": "tiny@1.0.0"}},
		{Name: "search studies", Failed: true, Attributes: map[string]string{"db.system.name": "qdrant", "db.operation.name": "search", "db.collection.name": "studies", "error.type": "transient"}},
		{Name: "POST /v1/search", Attributes: map[string]string{"http.request.method": "POST", "http.route": "/v1/search", "http.response.status_code": "400"}},
		{Name: "radstream.search", Failed: true, Attributes: map[string]string{"rpc.system.name": "nats", "rpc.method": "radstream.search", "rpc.response.status_code": "503", "error.type": "503"}},
	}
	got := c.Spans()
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(tracetest.Span{}, "Trace", "ID", "Parent")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, s := range got {
		if s.Trace != traceID {
			t.Errorf("%s is of trace %s", s.Name, s.Trace)
		}
	}
	if bytes.Contains(c.Bytes(), []byte("QXCANARY")) {
		t.Error("a canary was sent")
	}
}

// TestSampling: the share is of what begins here; what others began they have decided on.
func TestSampling(t *testing.T) {
	c := tracetest.Serve(t)
	traces := open(t, c.URL, 0)
	begin := traces.Stage("prepare", "STUDIES", "prepare", "")
	for _, parent := range []string{sent, noSample, ""} {
		s := begin(stage.Input{Envelope: event.Envelope{Trace: event.Trace{Parent: parent}}})
		next := s.Trace()
		if sampled := strings.HasSuffix(next.Parent, "1"); sampled != (parent == sent) || next.ID() == "" {
			t.Errorf("%q is carried on as %+v", parent, next)
		}
		s.Batch(1)()
		s.End(stage.Acked, nil)
	}
	traces.Close(t.Context())
	if got := c.Spans(); len(got) != 2 || got[1].Name != "prepare STUDIES" || got[1].Parent != "b7ad6b7169203331" {
		t.Errorf("%+v", got)
	}
}

// TestOff: without a collector everything may be called, and nothing is made.
func TestOff(t *testing.T) {
	traces := open(t, "", 100)
	if traces != nil || traces.Stage("prepare", "STUDIES", "prepare", "") != nil {
		t.Error("spans are made")
	}
	ctx, end := traces.HTTP(t.Context(), event.Trace{Parent: sent}, "POST", "/v1/search")
	traces.Encoded(ctx, "text", "m", time.Now(), nil)
	traces.Indexed(ctx, "search", "studies", time.Now(), nil)
	end(200)
	traces.Close(t.Context())
}

// failing is an exporter whose collector answers with errs, one after another.
type failing struct {
	sdktrace.SpanExporter
	errs []error
}

func (f *failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	err := f.errs[0]
	f.errs = f.errs[1:]
	return err
}

// TestCollectorAway: it is said once, and once that it is back.
func TestCollectorAway(t *testing.T) {
	var log bytes.Buffer
	down := errors.New("connection refused")
	e := &exporter{SpanExporter: &failing{errs: []error{nil, down, down, down, nil, nil, down}}, log: zerolog.New(&log)}
	for range 7 {
		if err := e.ExportSpans(t.Context(), nil); err != nil {
			t.Errorf("the library is told: %v", err)
		}
	}
	if lines := log.String(); strings.Count(lines, "does not take spans") != 2 || strings.Count(lines, "again") != 1 || strings.Count(lines, "\n") != 3 {
		t.Errorf("the log says\n%s", lines)
	}
}

// TestCollectorHangs: spans that find no room are dropped, and the end is not waited for too long.
func TestCollectorHangs(t *testing.T) {
	free := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-free }))
	defer srv.Close()
	defer close(free)
	traces := open(t, srv.URL, 100)
	begin := traces.Stage("prepare", "STUDIES", "prepare", "")
	for range 10_000 { // five times what the queue holds
		begin(stage.Input{}).End(stage.Acked, nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	traces.Close(ctx)
	if ctx.Err() == nil {
		t.Error("the collector does not hang")
	}
}

// TestHeaders: headers that are not well-formed stop the start, and are not told.
func TestHeaders(t *testing.T) {
	for value, want := range map[string]bool{
		"": true, "a=b": true, "Authorization=Bearer%20QXCANARY,x=": true,
		"Authorization Bearer QXCANARY": false, "a=QXCANARY%": false, "a=b,": false, "=QXCANARY": false,
	} {
		t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", value)
		traces, err := OpenTraces(t.Context(), "http://127.0.0.1:1", 100, "v1", zerolog.Nop())
		traces.Close(t.Context())
		if (err == nil) != want || err != nil && (fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), "QXCANARY")) {
			t.Errorf("%q: %v", value, err)
		}
	}
}
