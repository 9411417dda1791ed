package telemetry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

// Probes adds what a supervisor asks of every process:
//
//	GET /healthz   200 while the process lives
//	GET /readyz    200 while ready gives no error, else 503
//
// The answers are a word each. What is wrong is in the log and in `radstream status`.
func Probes(mux *http.ServeMux, ready func(context.Context) error) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), depthTimeout)
		defer cancel()
		if ready(ctx) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "not ready\n")
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
}

// Serve answers GET /healthz, /readyz and /metrics on l until ctx ends. It is for processes
// that serve no query API, and for those that keep it apart.
func (m *Metrics) Serve(ctx context.Context, l net.Listener, ready func(context.Context) error) error {
	mux := http.NewServeMux()
	Probes(mux, ready)
	mux.Handle("GET /metrics", m.Handler())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // nobody waits for a scrape
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fault.E("telemetry.Serve", fault.Internal, err)
	}
	return nil
}
