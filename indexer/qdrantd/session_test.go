package qdrantd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/radstream/radstream/indexer/flat"
)

// TestSession replays a session of the official Python client, whose answers were recorded
// from a real Qdrant 1.17.1, against this server. Every step has to come out the same.
func TestSession(t *testing.T) {
	script, ok := sessionScript(t)
	if !ok {
		return
	}
	python := venv(t)
	addr, _ := serve(t, t.TempDir())
	_, port, _ := net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, script, "--port", port, "--check", filepath.Join(filepath.Dir(script), "transcript.json"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("session.py: %v\n%s", err, out)
	}
	if want := "170 same, 0 different, 0 not implemented of 170"; !bytes.Contains(out, []byte(want)) {
		t.Errorf("session.py did not report %q:\n%s", want, out)
	}
}

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
	s := New(db, Config{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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

// repoRoot is the folder with go.mod.
func repoRoot(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return root
}

// sessionScript finds the recording among the real data. Where there is none, the test
// fails in CI and otherwise says loudly that it did not run.
func sessionScript(t testing.TB) (script string, ok bool) {
	t.Helper()
	data := os.Getenv("RADSTREAM_DATA")
	if data == "" {
		data = filepath.Join(repoRoot(t), "..", "shared", "data")
	}
	script = filepath.Join(data, "qdrant", "session.py")
	if _, err := os.Stat(script); err != nil {
		if on, _ := strconv.ParseBool(os.Getenv("CI")); on {
			t.Fatalf("the recorded Qdrant session is missing (set RADSTREAM_DATA): %v", err)
		}
		fmt.Fprintf(os.Stderr, "NOT RUN: %s: the recorded Qdrant session is missing (set RADSTREAM_DATA): %v\n", t.Name(), err)
		return "", false
	}
	return script, true
}

// venv makes .deps/venv-qdrant with the pinned client on first use and returns its Python.
func venv(t testing.TB) string {
	t.Helper()
	want, err := os.ReadFile("testdata/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(repoRoot(t), ".deps", "venv-qdrant")
	python, done := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "installed.txt")
	if have, err := os.ReadFile(done); err == nil && bytes.Equal(have, want) {
		return python
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", dir},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps", "-r", "testdata/requirements.txt"},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("the Python client cannot be installed (is the package index reachable?): %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if err := os.WriteFile(done, want, 0o644); err != nil {
		t.Fatal(err)
	}
	return python
}
