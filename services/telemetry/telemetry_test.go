package telemetry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
)

// used is a process in which each thing happened once.
func used() *Metrics {
	m := New("v1")
	s := m.Stage("prepare")
	s.Batch(3)()
	s.Handled(stage.Input{}, 1, 50*time.Millisecond)
	s.Rejected(stage.Input{}, fault.Wrap("outer", fault.Reject("x", fault.Invalid, "blank", "the text of an error is no label")))
	s.Retried(stage.Input{}, fault.E("x", fault.Unavailable, errors.New("the text of an error is no label")), time.Second)
	s.Retried(stage.Input{}, errors.New("nobody classified it"), 0)
	m.Encoded("text", time.Millisecond)
	m.Indexed("search", nil, time.Millisecond)
	m.Indexed("search", fault.E("x", fault.Transient, errors.New("busy")), time.Millisecond)
	m.Answered("POST /v1/search", 200, time.Millisecond)
	m.Model("tiny@1.0.0")
	m.Model("tiny@1.1.0")
	m.Depths(func(context.Context) ([]Depth, error) {
		return []Depth{{Stage: "prepare", Pending: 7, Working: 2}}, nil
	})
	return m
}

func TestMetrics(t *testing.T) {
	m := used()
	const want = `
# HELP radstream_model_info The model that encodes in this process; always 1.
# TYPE radstream_model_info gauge
radstream_model_info{model="tiny@1.1.0"} 1
# HELP radstream_query_requests_total Requests that were answered, by route and HTTP status.
# TYPE radstream_query_requests_total counter
radstream_query_requests_total{route="POST /v1/search",status="200"} 1
# HELP radstream_stage_handled_total Messages that were handled, with their outputs stored.
# TYPE radstream_stage_handled_total counter
radstream_stage_handled_total{stage="prepare"} 1
# HELP radstream_stage_pending_messages Messages of the stage's stream that were not delivered yet.
# TYPE radstream_stage_pending_messages gauge
radstream_stage_pending_messages{stage="prepare"} 7
# HELP radstream_stage_rejected_total Messages that became dead letters, by reason.
# TYPE radstream_stage_rejected_total counter
radstream_stage_rejected_total{reason="blank",stage="prepare"} 1
# HELP radstream_stage_retried_total Deliveries that will come again, by reason.
# TYPE radstream_stage_retried_total counter
radstream_stage_retried_total{reason="internal",stage="prepare"} 1
radstream_stage_retried_total{reason="unavailable",stage="prepare"} 1
# HELP radstream_stage_unacknowledged_messages Messages that were delivered to the stage, in whatever process, and not acknowledged yet.
# TYPE radstream_stage_unacknowledged_messages gauge
radstream_stage_unacknowledged_messages{stage="prepare"} 2
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "radstream_model_info", "radstream_query_requests_total",
		"radstream_stage_handled_total", "radstream_stage_pending_messages", "radstream_stage_rejected_total",
		"radstream_stage_retried_total", "radstream_stage_unacknowledged_messages"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("not by Prometheus' conventions: %v, %v", problems, err)
	}
	text := scrape(t, m)
	for _, name := range []string{"radstream_stage_message_duration_seconds_count", "radstream_stage_batch_duration_seconds_count", "radstream_stage_batch_size_sum",
		"radstream_query_encode_duration_seconds_count", `radstream_index_duration_seconds_count{operation="search",outcome="transient"}`,
		"radstream_query_request_duration_seconds_count", "radstream_build_info", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("%s is missing", name)
		}
	}
	if strings.Contains(text, "label of an error") || strings.Contains(text, "classified") {
		t.Error("the text of an error became a label")
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// TestDepthsUnknown: a bus that does not answer costs its own figures, and no others.
func TestDepthsUnknown(t *testing.T) {
	m := New("v1")
	m.Depths(func(context.Context) ([]Depth, error) { return nil, errors.New("no bus") })
	h := m.Handler()
	for range 2 { // the count of failed scrapes is part of the next one
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "go_goroutines") || strings.Contains(w.Body.String(), "pending") {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader("")); err == nil {
		t.Error("the scrape failed without a trace")
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var down error
	served := make(chan error, 1)
	go func() { served <- used().Serve(ctx, l, func(context.Context) error { return down }) }()
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v1/search": 404} {
		if code, body := get(path); code != want {
			t.Errorf("%s: %d, %s", path, code, body)
		}
	}
	down = errors.New("QXCANARY")
	if code, body := get("/readyz"); code != 503 || body != "not ready\n" {
		t.Errorf("not ready: %d, %q", code, body)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
