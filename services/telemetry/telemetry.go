// Package telemetry is what a process tells its operator: Prometheus metrics, whether it lives and
// is ready, and the spans of traces.
//
//	stage loop --Events--> [Stage] ----\
//	query API  --requests, encoding----> [Metrics] --> GET /metrics (Prometheus text)
//	index      --operations------------/
//	radtrain   --steps, decisions--> [Training]
//
//	stage loop --spans of messages-----> [Traces] ---> a collector (OTLP over HTTP)
//	query API  --spans of requests-----/
//
// Every label comes from a set that the code or the operator bounds: stages, reasons, routes,
// statuses, operations, models, terms of a loss, decisions. None is an identifier of a patient or a study, none is text
// that somebody sent, and no metric is by tenant. docs/OPERATIONS.md says what to watch for.
package telemetry

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
)

// Buckets in seconds: a study takes milliseconds on a GPU and seconds on a busy CPU; a search
// takes less than one of either.
var (
	slow = prometheus.ExponentialBuckets(0.004, 2, 15)  // 4 ms to 65 s
	fast = prometheus.ExponentialBuckets(0.0005, 2, 15) // 0.5 ms to 8 s
	size = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}
)

// Metrics holds the figures of one process. Make one with [New]; it is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	handled  *prometheus.CounterVec   // stage
	rejected *prometheus.CounterVec   // stage, reason
	retried  *prometheus.CounterVec   // stage, reason
	message  *prometheus.HistogramVec // stage
	batch    *prometheus.HistogramVec // stage
	inputs   *prometheus.HistogramVec // stage
	encode   *prometheus.HistogramVec // input
	index    *prometheus.HistogramVec // operation, outcome
	requests *prometheus.CounterVec   // route, status
	request  *prometheus.HistogramVec // route
	model    *prometheus.GaugeVec     // model
}

// New makes the metrics of a process that runs the given version of radstream.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "radstream_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "radstream_" + name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "radstream_" + name, Help: help}, labels)
		m.registry.MustRegister(g)
		return g
	}
	m.handled = counter("stage_handled_total", "Messages that were handled, with their outputs stored.", "stage")
	m.rejected = counter("stage_rejected_total", "Messages that became dead letters, by reason.", "stage", "reason")
	m.retried = counter("stage_retried_total", "Deliveries that will come again, by reason.", "stage", "reason")
	m.message = histogram("stage_message_duration_seconds", "From the start of a message's batch to its confirmed end.", slow, "stage")
	m.batch = histogram("stage_batch_duration_seconds", "One call of the stage's handler: for embed the encoding of a batch, for index its upsert.", slow, "stage")
	m.inputs = histogram("stage_batch_size", "Messages in one call of the stage's handler.", size, "stage")
	m.encode = histogram("query_encode_duration_seconds", "Encoding of the text or film of a query, preparation of the film included.", fast, "input")
	m.index = histogram("index_duration_seconds", "Operations of this process on the index, waiting for the disk included.", fast, "operation", "outcome")
	m.requests = counter("query_requests_total", "Requests that were answered, by route and HTTP status.", "route", "status")
	m.request = histogram("query_request_duration_seconds", "From the head of a request to the end of its answer.", fast, "route")
	m.model = gauge("model_info", "The model that encodes in this process; always 1.", "model")
	gauge("build_info", "What runs; always 1.", "version", "goversion").WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics. What cannot be read at the moment is left out, and counted by
// promhttp_metric_handler_errors_total.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Stage returns the callbacks of the worker loop that count for one stage.
func (m *Metrics) Stage(name string) stage.Events {
	m.handled.WithLabelValues(name) // there from the start, so that a rate can be taken
	return stage.Events{
		Handled: func(_ stage.Input, _ int, took time.Duration) {
			m.handled.WithLabelValues(name).Inc()
			m.message.WithLabelValues(name).Observe(took.Seconds())
		},
		Rejected: func(_ stage.Input, err error) { m.rejected.WithLabelValues(name, reason(err)).Inc() },
		Retried:  func(_ stage.Input, err error, _ time.Duration) { m.retried.WithLabelValues(name, reason(err)).Inc() },
		Batch: func(n int) (ended func()) {
			begun := time.Now()
			return func() {
				m.inputs.WithLabelValues(name).Observe(float64(n))
				m.batch.WithLabelValues(name).Observe(time.Since(begun).Seconds())
			}
		},
	}
}

// reason is a stable code of the program: the reason of a fault, or its kind.
func reason(err error) string {
	if r := fault.ReasonOf(err); r != "" {
		return string(r)
	}
	return fault.KindOf(err).String()
}

// Model says that the model serves from now on, and no other.
func (m *Metrics) Model(ref string) {
	m.model.Reset()
	m.model.WithLabelValues(ref).Set(1)
}

// Encoded counts the encoding of a query's input: text or film.
func (m *Metrics) Encoded(input string, took time.Duration) {
	m.encode.WithLabelValues(input).Observe(took.Seconds())
}

// Indexed counts one operation on the index.
func (m *Metrics) Indexed(operation string, err error, took time.Duration) {
	outcome := "ok"
	if err != nil {
		outcome = fault.KindOf(err).String()
	}
	m.index.WithLabelValues(operation, outcome).Observe(took.Seconds())
}

// Answered counts one request. route is the pattern that it met, never its path.
func (m *Metrics) Answered(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.request.WithLabelValues(route).Observe(took.Seconds())
}
