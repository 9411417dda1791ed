package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSession replays a session of the official Python client, whose answers were recorded
// from a real Qdrant 1.17.1, against a running radstream. Every step has to come out the
// same. It is the one test that needs .deps/venv-qdrant, which it makes on first use.
func TestSession(t *testing.T) {
	recorded := realData(t, "qdrant")
	python := venv(t)
	s := up(t, t.TempDir(), anyPorts)
	_, port, err := net.SplitHostPort(s.Qdrant)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := runCommand(t, exec.CommandContext(ctx, python, filepath.Join(recorded, "session.py"),
		"--port", port, "--check", filepath.Join(recorded, "transcript.json")))
	if want := "170 same, 0 different, 0 not implemented of 170"; r.code != 0 || !strings.Contains(r.stdout, want) {
		t.Errorf("session.py ended with %d, want 0 and %q:\n%s%s", r.code, want, r.stdout, r.stderr)
	}
}

// venv makes .deps/venv-qdrant with the pinned client on first use and returns its Python.
func venv(t *testing.T) string {
	t.Helper()
	const pins = "testdata/qdrant-client.txt"
	want, err := os.ReadFile(pins)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(filepath.Join("..", "..", ".deps", "venv-qdrant"))
	if err != nil {
		t.Fatal(err)
	}
	python, done := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "installed.txt")
	if have, err := os.ReadFile(done); err == nil && bytes.Equal(have, want) {
		return python
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", dir},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps", "-r", pins},
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
