package qdrantd

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/radstream/radstream/indexer/flat"
)

// serve starts a server over dir on a free loopback port; it stops with the test, or when
// stop is called.
func serve(t testing.TB, dir string) (addr string, stop func()) {
	t.Helper()
	db, err := flat.Open(dir, flat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(db)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.Stop(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}
