package natsd

import (
	"fmt"
	"sync"

	"github.com/rs/zerolog"
)

// serverLog hands the server's log on. What the server calls fatal it only logs (a plain
// nats-server exits there), so the first such line is kept for [Start].
type serverLog struct {
	log   zerolog.Logger
	mu    sync.Mutex
	first error
}

// fatal returns the first fatal error, with the cause in its chain, or nil.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Fatalf keeps the error.
func (l *serverLog) Fatalf(format string, v ...any) {
	err := &causeError{text: fmt.Sprintf(format, v...)}
	for _, a := range v {
		if cause, ok := a.(error); ok {
			err.cause = cause
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = err
	}
}

// Errorf and the methods below log at the level of their name, one below for notices:
// normal operation is quiet.
func (l *serverLog) Errorf(format string, v ...any) { l.log.Error().Msgf("nats-server: "+format, v...) }

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, v ...any) { l.log.Warn().Msgf("nats-server: "+format, v...) }

// Noticef logs at debug level.
func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug().Msgf("nats-server: "+format, v...)
}

// Debugf is never asked for.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef is never asked for.
func (l *serverLog) Tracef(string, ...any) {}

// causeError has the server's text and the system's cause, if it gave one.
type causeError struct {
	text  string
	cause error
}

func (e *causeError) Error() string { return e.text }
func (e *causeError) Unwrap() error { return e.cause }
