package app

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/deadletter"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/telemetry/tracetest"
)

// parent is the traceparent of a hospital's publisher, or of who asks; n is a hex digit.
func parent(n string) string {
	return "00-000000000000000000000000000000a" + n + "-00000000000000b" + n + "-01"
}

// sendIn publishes an arrival of a hospital that names its trace in a header.
func (s *system) sendIn(t *testing.T, id, header, parent string, m proto.Message) {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.Addresses().NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	h := nats.Header{"ce-id": {id}, "ce-type": {string(event.StudyArrived)}, "content-type": {event.Protobuf}, header: {parent}}
	if _, err := js.PublishMsg(&nats.Msg{Subject: string(event.StudyArrivedSubject(tenant)), Header: h, Data: body}); err != nil {
		t.Fatal(err)
	}
}

// traced lists the spans of a trace but those of relate, which nobody waits for: each with its
// outcome behind the one that it comes from.
func traced(c *tracetest.Collector, n string) []string {
	trace := parent(n)[3:35]
	names := map[string]string{parent(n)[36:52]: "outside"}
	var of []tracetest.Span
	for _, s := range c.Spans() {
		if s.Trace == trace {
			names[s.ID], of = s.Name, append(of, s)
		}
	}
	var out []string
	for _, s := range of {
		if !strings.HasPrefix(s.Name, stageRelate) {
			out = append(out, strings.TrimSpace(names[s.Parent]+" > "+s.Name+" "+s.Attributes["radstream.outcome"]+" "+s.Attributes["error.type"]))
		}
	}
	slices.Sort(out)
	return out
}

// TestTraces follows a film from the hospital's publisher to the index, one that is refused to its
// dead letter and beyond, and requests, by what a collector was told.
func TestTraces(t *testing.T) {
	c := tracetest.Serve(t)
	var log lockedBuffer
	s := start(t, t.TempDir(), io.MultiWriter(&log, t.Output()), func(conf *config.Config) {
		conf.Telemetry.Traces, conf.Telemetry.TracesPercent, conf.Log.Level = c.URL, 0, "info" // others decide of their own traces
		conf.Ingest.BurnedInText = "off"
	})
	s.sendIn(t, "film", "traceparent", parent("1"), study("1.2.3", s.object(t, film(t, 0), radstreamv1.Projection_PROJECTION_FRONTAL)))
	if m := s.await(t, "film"); m.Type != event.StudyIndexed || m.Trace.ID() != parent("1")[3:35] {
		t.Fatalf("the film ends as %s in trace %q", m.Type, m.Trace.ID())
	}
	s.sendIn(t, "empty", "ce-traceparent", parent("2"), study("1.2.4"))
	s.expect(t, "empty", event.Rejected, 0)
	if n, err := deadletter.Each(t.Context(), s.bus, deadletter.Filter{}, deadletter.Requeue); n != 1 || err != nil {
		t.Fatalf("%d letters were requeued: %v", n, err)
	}
	s.expect(t, "empty", event.Rejected, 0)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addresses().Query+"/v1/search", strings.NewReader(`{"text":"effusion","tenant":"north"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("traceparent", parent("3"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	nc, err := nats.Connect(s.Addresses().NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if m, err := nc.RequestMsg(&nats.Msg{Subject: query.SubjectEmbedText + ".north", Header: nats.Header{"traceparent": {parent("4")}}, Data: []byte(`{"text":"effusion"}`)}, patience); err != nil || m.Header.Get("Nats-Service-Error") != "" {
		t.Fatal(err, m)
	}
	s.stop(t)

	collection := s.current.collection
	for n, want := range map[string][]string{
		"1": {
			"embed PREPARED > embed batch", "embed PREPARED > index EMBEDDED acked", "index EMBEDDED > index batch",
			"outside > prepare STUDIES acked", "prepare STUDIES > embed PREPARED acked", "prepare STUDIES > prepare batch",
		},
		"2": {"outside > prepare STUDIES dead_lettered empty_arrival", "prepare STUDIES > prepare STUDIES dead_lettered empty_arrival"},
		"3": {"POST /v1/search > encode text", "POST /v1/search > search " + collection, "outside > POST /v1/search"},
		"4": {"outside > radstream.embed.text", "radstream.embed.text > encode text"},
	} {
		if d := cmp.Diff(want, traced(c, n)); d != "" {
			t.Errorf("trace %s (-want +got):\n%s", n, d)
		}
	}
	if n := bytes.Count(log.Bytes(), []byte(`"trace_id":"`+parent("2")[3:35]+`"`)); n != 2 {
		t.Errorf("the log names the trace of the arrival that was refused %d times, want 2", n)
	}
}

// TestTracesOff: nothing is sent unless radstream's own settings say so, and what others began is
// carried on all the same.
func TestTracesOff(t *testing.T) {
	c := tracetest.Serve(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	s := start(t, t.TempDir(), t.Output(), func(conf *config.Config) { conf.Ingest.BurnedInText = "off" })
	s.sendIn(t, "film", "traceparent", parent("1"), study("1.2.3", s.object(t, film(t, 0), radstreamv1.Projection_PROJECTION_FRONTAL)))
	if m := s.await(t, "film"); m.Type != event.StudyIndexed || m.Trace.Parent != parent("1") {
		t.Errorf("the film ends as %s in %+v", m.Type, m.Trace)
	}
	s.send(t, "no trace", study("1.2.5", s.object(t, film(t, 1), radstreamv1.Projection_PROJECTION_FRONTAL)))
	if m := s.await(t, "no trace"); m.Type != event.StudyIndexed || m.Trace != (event.Trace{}) {
		t.Errorf("a film without a trace ends as %s in %+v", m.Type, m.Trace)
	}
	s.stop(t)
	if n := len(c.Bytes()); n > 0 {
		t.Errorf("the collector was sent %d bytes", n)
	}
}

// TestTracesCollectorAway: studies are indexed, the process ends well, and one line of the log says it.
func TestTracesCollectorAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	s := start(t, t.TempDir(), &log, func(conf *config.Config) { conf.Telemetry.Traces, conf.Ingest.BurnedInText = nobody, "off" })
	s.send(t, "film", study("1.2.3", s.object(t, film(t, 0), radstreamv1.Projection_PROJECTION_FRONTAL)))
	if m := s.await(t, "film"); m.Type != event.StudyIndexed || m.Trace == (event.Trace{}) {
		t.Errorf("the film ends as %s in trace %+v", m.Type, m.Trace)
	}
	s.stop(t)
	if n := bytes.Count(log.Bytes(), []byte("the collector of traces does not take spans")); n != 1 {
		t.Errorf("%d lines tell of the collector:\n%s", n, log.Bytes())
	}
}
