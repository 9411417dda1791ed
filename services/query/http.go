package query

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
	"github.com/radstream/radstream/services/telemetry"
)

// answerer is what a Server needs: Service.
type answerer interface {
	EmbedText(ctx context.Context, r EmbedRequest) (EmbedResponse, error)
	Search(ctx context.Context, r Request) (Response, error)
	Labels(ctx context.Context, t event.Tenant, s event.StudyUID) (LabelsResponse, error)
	Study(ctx context.Context, t event.Tenant, s event.StudyUID) (StudyResponse, error)
	Explain(ctx context.Context, r ExplainRequest) (Explanation, error)
}

var _ answerer = (*Service)(nil)

// maxBody bounds a request: an image in base64 and little else.
const maxBody = MaxImage/3*4 + 1<<20

// Reasons of the Server.
const (
	reasonNoCall    fault.Reason = "no_such_call"
	reasonMethod    fault.Reason = "no_such_method"
	reasonTooLarge  fault.Reason = "too_large"
	reasonMedia     fault.Reason = "not_json"
	reasonRate      fault.Reason = "too_many_requests"
	reasonBusy      fault.Reason = "busy"
	reasonSlow      fault.Reason = "slow_request"
	reasonHost      fault.Reason = "foreign_host"
	reasonForbidden              = auth.ReasonForbidden
)

// Server serves the API over HTTP and on the bus, within limits that hold for both together.
type Server struct {
	answer answerer
	ServerConfig
	limit *auth.Limiter

	mu     sync.Mutex
	held   map[string]int // requests that are being answered, by caller; none is 0
	placed int            // sum of held
}

// ServerConfig is what a Server is given. All of it is required but Traces, Auth and TLS.
type ServerConfig struct {
	Version string
	Status  func(context.Context) (Status, error) // how the system is
	Ready   func(context.Context) error           // nil while searches can be answered
	Metrics *telemetry.Metrics                    // counts the requests
	Traces  *telemetry.Traces                     // has a span of each call
	// MetricsElsewhere says that the metrics have an address of their own.
	MetricsElsewhere bool
	Log              zerolog.Logger
	// Auth tells who asks over HTTP; nil lets everybody ask for any tenant who reaches the
	// loopback address that it must then be.
	Auth *auth.Authenticator
	TLS  *tls.Config // nil: plain HTTP

	Rate        float64       // requests a second of one caller
	Burst       int           // of one caller, at once
	Concurrency int           // requests being answered at once, all callers together; with Auth one may have three of four
	Timeout     time.Duration // of one request
}

// NewServer answers with s.
func NewServer(s answerer, c ServerConfig) *Server {
	return &Server{answer: s, ServerConfig: c, held: map[string]int{}, limit: auth.NewLimiter(c.Rate, c.Burst)}
}

// Handler routes the API: the calls of routes, which GET /openapi.json describes, and for
// supervisors GET /healthz, /readyz and, unless they have an address of their own, /metrics.
// Those four are open to everybody. Errors are application/problem+json.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	known := map[string]bool{}
	handle := func(pattern string, h http.Handler) {
		known[pattern] = true
		mux.Handle(pattern, h)
	}
	var calls []string
	for _, r := range routes() {
		calls = append(calls, r.method+" "+r.path)
		handle(r.method+" "+r.path, s.call(r))
	}
	document, err := OpenAPI(s.Version)
	handle("GET /openapi.json", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			s.reply(w, nil, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document)
	}))
	telemetry.Probes(mux, s.Ready)
	known["GET /healthz"], known["GET /readyz"] = true, true
	if !s.MetricsElsewhere {
		handle("GET /metrics", s.Metrics.Handler())
	}
	// Without these the answer to another method would be that of "/".
	for pattern := range known {
		method, path, _ := strings.Cut(pattern, " ")
		if method == http.MethodGet {
			method = "GET, HEAD" // the mux answers both
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", method)
			s.reply(w, nil, fault.Reject("query.Handler", fault.Invalid, reasonMethod, "the methods of this call are %s", method))
		})
	}
	missing := fault.Reject("query.Handler", fault.NotFound, reasonNoCall, "there is no such call; GET /openapi.json describes %s", strings.Join(calls, ", "))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { s.reply(w, nil, missing) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun, answer := time.Now(), &answer{ResponseWriter: w, status: http.StatusOK}
		if s.Auth == nil && !onLoopback(r.Host) {
			s.reply(answer, nil, fault.Reject("query.Handler", fault.Usage, reasonHost, "without query.tokens or query.oidc_issuer only requests to localhost are answered, by that name"))
		} else {
			mux.ServeHTTP(answer, r)
		}
		route := r.Pattern
		if !known[route] { // a pattern of ours, or the label could be anything
			route = "none"
		}
		s.Metrics.Answered(route, answer.status, time.Since(begun))
	})
}

// onLoopback reports whether a Host header names this machine by an address that no name
// server gives out: a web page that had its own name point here is not let in.
func onLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// call answers one route: who asks, may they, is there room, then the route's own work.
func (s *Server) call(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := auth.Caller{ID: "anybody"}
		if s.Auth != nil {
			var err error
			if caller, err = s.Auth.Authenticate(r.Context(), r.Header.Get("Authorization")); err != nil {
				s.reply(w, nil, err)
				return
			}
		}
		ctx, done, err := s.admit(r.Context(), caller.ID)
		if err != nil {
			s.reply(w, nil, err)
			return
		}
		defer done()
		// Not before: strangers could fill the queue of spans.
		ctx, end := s.Traces.HTTP(ctx, event.TraceOf(r.Header), route.method, route.path)
		var status int
		defer func() { end(status) }()
		v, err := route.answer(s, w, r.WithContext(ctx), caller)
		status = s.reply(w, v, err)
	})
}

// admit lets a request of a caller in, unless it asks too often or there is no room, and bounds
// its time by the context that it returns. done makes room for another.
func (s *Server) admit(ctx context.Context, caller string) (_ context.Context, done func(), err error) {
	const op = "query.admit"
	if wait, ok := s.limit.Allow(caller); !ok {
		return nil, nil, later{fault.Reject(op, fault.Transient, reasonRate, "this caller may ask %g times a second", s.Rate), wait}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if share := s.share(); s.placed >= s.Concurrency || s.held[caller] >= share {
		return nil, nil, fault.Reject(op, fault.Unavailable, reasonBusy, "%d requests are being answered already, or %d of this caller", s.Concurrency, share)
	}
	s.held[caller]++
	s.placed++
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.placed--
		if s.held[caller]--; s.held[caller] == 0 {
			delete(s.held, caller)
		}
	}, nil
}

// share is how many of the places one caller may hold: not all, where callers are told apart, or one
// whose requests hang would keep the others out.
func (s *Server) share() int {
	if s.Auth == nil {
		return s.Concurrency
	}
	return max(1, 3*s.Concurrency/4)
}

// later is a refusal of what may be asked again after some time.
type later struct {
	error
	after time.Duration
}

func (l later) Unwrap() error { return l.error }

// setRetryAfter says in whole seconds when to ask again what failed with err, if that helps.
func setRetryAfter(h http.Header, err error) {
	wait := later{after: time.Second}
	if errors.As(err, &wait) || httpStatus(err) == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.after.Seconds()))))
	}
}

// tenant returns the tenant that a request is about: the caller's, whatever it says itself.
// Where nobody is asked for a credential, the request chooses.
func (s *Server) tenant(c auth.Caller, asked event.Tenant) (event.Tenant, error) {
	if s.Auth == nil {
		return asked, nil
	}
	if asked != "" && asked != c.Tenant {
		return "", fault.Reject("query.tenant", fault.Usage, reasonForbidden, "the credential is for another tenant than the one that is named")
	}
	return c.Tenant, nil
}

// body reads the body of a request, which must be JSON: a form of some web page is not. It waits
// for the body as long as a request may take: others wait for the place meanwhile.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	const op = "query.body"
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return nil, fault.Reject(op, fault.Invalid, reasonMedia, "the request needs the header Content-Type: application/json")
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fault.Reject(op, fault.Invalid, reasonMedia, "a request is taken without Content-Encoding only: it must not be compressed")
	}
	if r.ContentLength > maxBody { // it is not read at all
		return nil, errTooLarge()
	}
	if end, ok := r.Context().Deadline(); ok {
		_ = http.NewResponseController(w).SetReadDeadline(end) // where there is no connection there is nothing to wait for
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return nil, errTooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fault.Reject(op, fault.Transient, reasonSlow, "the request did not come in the time that one may take")
	}
	if err != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonRequest, "the request was cut off")
	}
	return data, nil
}

func errTooLarge() error {
	return fault.Reject("query.body", fault.Invalid, reasonTooLarge, "a request has at most %d bytes", maxBody)
}

// Serve answers on l until ctx ends, then lets running requests finish for up to grace.
func (s *Server) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	if s.TLS != nil {
		l = tls.NewListener(l, s.TLS)
	}
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2*time.Minute + s.Timeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: log.New(warnings{s.Log}, "", 0)}
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			s.Log.Warn().Err(err).Msg("requests were cut off by the shutdown")
		}
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fault.E("query.Serve", fault.Internal, err)
	}
	<-drained // Serve returns as soon as Shutdown begins
	return nil
}

// warnings takes what the HTTP library has to say, such as of handshakes that failed.
type warnings struct{ zerolog.Logger }

func (w warnings) Write(line []byte) (int, error) {
	w.Warn().Msg(string(bytes.TrimSpace(line)))
	return len(line), nil
}

// reply writes v, or err as a problem, and returns the status.
func (s *Server) reply(w http.ResponseWriter, v any, err error) (status int) {
	status = http.StatusOK
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err != nil {
		p := s.problem(err)
		if v, status = p, p.Status; status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		setRetryAfter(w.Header(), err)
		w.Header().Set("Content-Type", "application/problem+json")
	}
	data, err := json.Marshal(v)
	if err != nil {
		s.Log.Error().Err(err).Msg("an answer could not be encoded")
		status, data = http.StatusInternalServerError, nil
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the client is gone if this fails
	return status
}

// problem is an error as the caller sees it; one that the caller can do nothing about is logged.
func (s *Server) problem(err error) Problem {
	status := httpStatus(err)
	if status == http.StatusInternalServerError {
		s.Log.Error().Err(err).Msg("a request failed")
	}
	return Problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: fault.Detail(err), Kind: fault.KindOf(err).String(), Reason: string(fault.ReasonOf(err))}
}

func httpStatus(err error) int {
	switch fault.ReasonOf(err) {
	case auth.ReasonUnauthenticated:
		return http.StatusUnauthorized
	case reasonForbidden, reasonHost:
		return http.StatusForbidden
	case reasonMethod:
		return http.StatusMethodNotAllowed
	case reasonTooLarge:
		return http.StatusRequestEntityTooLarge
	case reasonMedia:
		return http.StatusUnsupportedMediaType
	case reasonRate:
		return http.StatusTooManyRequests
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Usage:
		return http.StatusBadRequest
	case fault.Unsupported:
		return http.StatusUnprocessableEntity
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Erased:
		return http.StatusGone
	case fault.Conflict:
		return http.StatusConflict
	case fault.Transient, fault.Unavailable, fault.Canceled:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// statuses are those that any call may be answered with, besides its own.
func statuses(own ...int) []int {
	all := append([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable}, own...)
	slices.Sort(all)
	return all
}
