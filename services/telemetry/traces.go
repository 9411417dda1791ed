package telemetry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
)

// Attributes that the semantic conventions have no name for.
const (
	keySequence = attribute.Key("radstream.sequence") // in the stream
	keyAttempt  = attribute.Key("radstream.attempt")  // delivery, from 1
	keyOutcome  = attribute.Key("radstream.outcome")  // a stage.Outcome
	keyModel    = attribute.Key("radstream.model")    // name@version
)

// Traces makes the spans of one process and sends them to a collector. Make one with [OpenTraces]; it
// is safe for concurrent use. A nil one makes none and costs nothing.
//
// What a span says is bounded like the labels of the metrics, but for sequences in streams.
type Traces struct {
	provider *sdktrace.TracerProvider
	exporter sdktrace.SpanExporter
	tracer   trace.Tracer
	log      zerolog.Logger
}

// OpenTraces sends spans by OTLP over HTTP to the collector whose base URL is collector; nil where that
// is "". percent, 0 to 100, of the traces that begin here are sent; of others who began them decides.
// Headers, certificates and the like come from the standard variables OTEL_EXPORTER_OTLP_*.
//
// A collector that is away costs the spans that do not fit into a queue, and one line of the log.
//
// Errors: Usage for a collector that is no URL, and for headers that are not well-formed. The library passes
// over other variables that are not.
func OpenTraces(ctx context.Context, collector string, percent int, version string, log zerolog.Logger) (*Traces, error) {
	const op = "telemetry.OpenTraces"
	if collector == "" {
		return nil, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		if !wellFormed(os.Getenv(name)) { // the library would print it, secrets and all, and go on without
			return nil, fault.Errorf(op, fault.Usage, "%s is not of the form name=value,name=value, with %% and other special characters as in URLs", name)
		}
	}
	at, err := url.JoinPath(collector, "v1/traces")
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	otlp, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(at))
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&exporter{SpanExporter: otlp, log: log.With().Str("collector", at).Logger()}),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(percent)/100))),
		sdktrace.WithResource(resource.NewWithAttributes(semconv.SchemaURL, semconv.ServiceName("radstream"), semconv.ServiceVersion(version))),
	)
	return &Traces{provider: provider, exporter: otlp, tracer: provider.Tracer("github.com/radstream/radstream"), log: log}, nil
}

// wellFormed tells whether the library can read headers from a variable.
func wellFormed(headers string) bool {
	if headers == "" {
		return true
	}
	for header := range strings.SplitSeq(headers, ",") {
		name, value, found := strings.Cut(header, "=")
		_, err := url.PathUnescape(value)
		if !found || err != nil || strings.TrimSpace(name) == "" {
			return false
		}
	}
	return true
}

// Close sends what is left and returns when that is done or ctx ends.
func (t *Traces) Close(ctx context.Context) {
	if t == nil {
		return
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn().Err(short(err)).Msg("the last spans were not sent")
		_ = t.exporter.Shutdown(ctx) // ends the uploads that Shutdown waited for in vain
	}
}

// exporter says once that the collector is away, and once that it is back. The library would tell
// each try to its global handler of errors.
type exporter struct {
	sdktrace.SpanExporter
	log  zerolog.Logger
	away atomic.Bool
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch was := e.away.Swap(err != nil); {
	case err != nil && !was:
		e.log.Warn().Err(short(err)).Msg("the collector of traces does not take spans: they are dropped until it does")
	case err == nil && was:
		e.log.Info().Msg("the collector of traces takes spans again")
	}
	return nil
}

// short cuts what a collector, or a proxy before it, answered: it can be a whole page.
func short(err error) error {
	const most = 200
	if text := err.Error(); len(text) > most {
		return errors.New(strings.ToValidUTF8(text[:most], "") + "...")
	}
	return err
}

// Stage returns what begins the spans of a stage, as [stage.Deps] wants it; model is "" for a stage
// that works under none.
func (t *Traces) Stage(name, stream, durable, model string) func(stage.Input) stage.Span {
	if t == nil {
		return nil
	}
	fixed := []attribute.KeyValue{
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName(name),
		semconv.MessagingDestinationName(stream), semconv.MessagingConsumerGroupName(durable),
	}
	if model != "" {
		fixed = append(fixed, keyModel.String(model))
	}
	consumes := trace.WithAttributes(fixed...)
	return func(in stage.Input) stage.Span {
		ctx, span := t.tracer.Start(carried(context.Background(), in.Trace), name+" "+stream, trace.WithSpanKind(trace.SpanKindConsumer), consumes)
		if span.IsRecording() {
			span.SetAttributes(keySequence.Int64(int64(in.Sequence)), keyAttempt.Int64(int64(in.Attempt)))
			if in.Type.Known() { // or it is text of the sender
				span.SetAttributes(semconv.CloudEventsEventType(string(in.Type)))
			}
		}
		return message{t: t, stage: name, ctx: ctx, span: span}
	}
}

// message is the span of one delivery of a message to a stage.
type message struct {
	t     *Traces
	stage string
	ctx   context.Context
	span  trace.Span
}

func (m message) Trace() event.Trace {
	h := propagation.HeaderCarrier{}
	propagation.TraceContext{}.Inject(m.ctx, h)
	return event.TraceOf(h)
}

func (m message) Batch(inputs int) (ended func()) {
	if !m.span.IsRecording() {
		return func() {}
	}
	_, span := m.t.tracer.Start(m.ctx, m.stage+" batch", trace.WithAttributes(semconv.MessagingBatchMessageCount(inputs)))
	return func() { span.End() }
}

func (m message) End(o stage.Outcome, err error) {
	m.span.SetAttributes(keyOutcome.String(string(o)))
	fail(m.span, err)
	m.span.End()
}

// fail marks a span with the reason of an error, if there is one; its text stays out.
func fail(span trace.Span, err error) {
	if err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(reason(err)))
		span.SetStatus(codes.Error, "")
	}
}

// carried puts the trace of an event or a request into a context.
func carried(ctx context.Context, from event.Trace) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": from.Parent, "tracestate": from.State})
}

// HTTP begins the span of a request of a route; end takes the status that it was answered with.
func (t *Traces) HTTP(ctx context.Context, from event.Trace, method, route string) (_ context.Context, end func(status int)) {
	return t.request(ctx, from, method+" "+route, func(status int) attribute.KeyValue { return semconv.HTTPResponseStatusCode(status) },
		semconv.HTTPRequestMethodKey.String(method), semconv.HTTPRoute(route))
}

// NATS begins the span of a request of an endpoint on the bus; subject is its own, without a tenant.
func (t *Traces) NATS(ctx context.Context, from event.Trace, subject string) (_ context.Context, end func(status int)) {
	return t.request(ctx, from, subject, func(status int) attribute.KeyValue { return semconv.RPCResponseStatusCode(strconv.Itoa(status)) },
		semconv.RPCSystemNameKey.String("nats"), semconv.RPCMethod(subject))
}

func (t *Traces) request(ctx context.Context, from event.Trace, name string, answered func(int) attribute.KeyValue, about ...attribute.KeyValue) (context.Context, func(int)) {
	if t == nil {
		return ctx, func(int) {}
	}
	ctx, span := t.tracer.Start(carried(ctx, from), name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(about...))
	return ctx, func(status int) {
		status = cmp.Or(status, http.StatusInternalServerError) // it panicked
		span.SetAttributes(answered(status))
		if status >= http.StatusInternalServerError { // else it is the caller's
			span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Encoded adds to the span of a request that its input, text or film, was encoded since begun.
func (t *Traces) Encoded(ctx context.Context, input, model string, begun time.Time, err error) {
	t.step(ctx, "encode "+input, trace.SpanKindInternal, begun, err, keyModel.String(model))
}

// Indexed adds to the span of a request what the index was asked for since begun.
func (t *Traces) Indexed(ctx context.Context, operation, collection string, begun time.Time, err error) {
	t.step(ctx, operation+" "+collection, trace.SpanKindClient, begun, err,
		semconv.DBSystemNameKey.String("qdrant"), semconv.DBOperationName(operation), semconv.DBCollectionName(collection))
}

func (t *Traces) step(ctx context.Context, name string, kind trace.SpanKind, begun time.Time, err error, about ...attribute.KeyValue) {
	if t == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(begun), trace.WithAttributes(about...))
	fail(span, err)
	span.End()
}
