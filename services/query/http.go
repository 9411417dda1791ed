package query

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/telemetry"
)

// answerer is what the HTTP side needs: Service.
type answerer interface {
	Search(ctx context.Context, r Request) (Response, error)
	Labels(ctx context.Context, t event.Tenant, s event.StudyUID) (LabelsResponse, error)
	Study(ctx context.Context, t event.Tenant, s event.StudyUID) (StudyResponse, error)
}

// maxBody bounds a request: an image in base64 and little else.
const maxBody = MaxImage/3*4 + 1<<20

// Server serves the HTTP API.
type Server struct {
	answer answerer
	ServerConfig
}

// ServerConfig is what a Server is given. All of it is required.
type ServerConfig struct {
	Status  func(context.Context) (Status, error) // how the system is
	Ready   func(context.Context) error           // nil while searches can be answered
	Metrics *telemetry.Metrics                    // counts the requests
	// MetricsElsewhere says that the metrics have an address of their own.
	MetricsElsewhere bool
	Log              zerolog.Logger
}

// NewServer answers with s.
func NewServer(s *Service, c ServerConfig) *Server { return &Server{s, c} }

// Handler routes the API.
//
//	POST /v1/search   Request -> Response
//	GET  /v1/labels?study=UID&tenant=T -> LabelsResponse
//	GET  /v1/status   -> Status
//	GET  /healthz     200 while the process lives
//	GET  /readyz      200 when searches can be answered, else 503
//	GET  /metrics     Prometheus, unless the metrics have an address of their own
//
// Errors are application/problem+json.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/search", s.search)
	mux.HandleFunc("GET /v1/labels", s.labels)
	mux.HandleFunc("GET /v1/studies/{id}", s.study)
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		status, err := s.Status(r.Context())
		s.reply(w, status, err)
	})
	telemetry.Probes(mux, s.Ready)
	if !s.MetricsElsewhere {
		mux.Handle("GET /metrics", s.Metrics.Handler())
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.reply(w, nil, fault.Reject("query.Handler", fault.NotFound, "no_such_call", "the API has POST /v1/search, GET /v1/labels, GET /v1/status, GET /healthz, GET /readyz and GET /metrics"))
	})
	return s.counted(mux)
}

// counted counts the requests that mux answers, by the pattern that they met.
func (s *Server) counted(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun, answer := time.Now(), &answer{ResponseWriter: w, status: http.StatusOK}
		mux.ServeHTTP(answer, r)
		route := r.Pattern
		if route == "/" {
			route = "none"
		}
		s.Metrics.Answered(route, answer.status, time.Since(begun))
	})
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

// Serve answers on l until ctx ends, then lets running requests finish for up to grace.
func (s *Server) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
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

func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	const op = "query.search"
	var body []byte
	err := error(nil)
	if r.ContentLength <= maxBody { // else it is not read at all
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	if err != nil || r.ContentLength > maxBody {
		s.reply(w, nil, fault.Reject(op, fault.Invalid, "too_large", "the request has more than %d bytes or was cut off", maxBody))
		return
	}
	req, err := decodeRequest(body)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	resp, err := s.answer.Search(r.Context(), req)
	s.reply(w, resp, err)
}

func (s *Server) labels(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	resp, err := s.answer.Labels(r.Context(), event.Tenant(q.Get("tenant")), event.StudyUID(q.Get("study")))
	s.reply(w, resp, err)
}

func (s *Server) study(w http.ResponseWriter, r *http.Request) {
	resp, err := s.answer.Study(r.Context(), event.Tenant(r.URL.Query().Get("tenant")), event.StudyUID(r.PathValue("id")))
	s.reply(w, resp, err)
}

// reply writes v, or err as a problem.
func (s *Server) reply(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status = httpStatus(fault.KindOf(err))
		if status == http.StatusInternalServerError {
			s.Log.Error().Err(err).Msg("a request failed")
		}
		w.Header().Set("Content-Type", "application/problem+json")
		v = Problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
			Detail: fault.Detail(err), Kind: fault.KindOf(err).String(), Reason: string(fault.ReasonOf(err))}
	}
	data, err := json.Marshal(v)
	if err != nil {
		s.Log.Error().Err(err).Msg("an answer could not be encoded")
		status, data = http.StatusInternalServerError, nil
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the client is gone if this fails
}

func httpStatus(k fault.Kind) int {
	switch k {
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
