// Package bustest gives tests a NATS server of their own, and a bus on it.
package bustest

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/natsd"
)

// Serve starts a server on a free port of loopback, which lives as long as the test, and returns
// its URL.
func Serve(t testing.TB) string {
	t.Helper()
	c := natsd.DefaultConfig(t.TempDir())
	c.Port = 0
	srv, err := natsd.Start(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv.ClientURL()
}

// Connect dials a server and makes the streams that are missing.
func Connect(t testing.TB, url string) *bus.Bus {
	t.Helper()
	c := bus.DefaultConfig()
	c.URL = url
	b, err := bus.Connect(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}
