package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The sessions of this file are those of the official clients for Python, Go and Node: 170
// steps whose answers were recorded from a real Qdrant 1.17.1 by way of the first. Every step has
// to come out the same. They need Python, and .deps/venv-qdrant, which is made on first use; the
// last needs Node and npm, and .deps/node-qdrant.

// TestSession replays the session of the Python client by the script that recorded it.
func TestSession(t *testing.T) {
	recorded := realData(t, "qdrant")
	python := venv(t)
	s := up(t, t.TempDir(), anyPorts)
	_, port, err := net.SplitHostPort(s.Qdrant)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r := runCommand(t, exec.CommandContext(ctx, python, filepath.Join(recorded, "session.py"),
		"--port", port, "--check", filepath.Join(recorded, "transcript.json")))
	if want := "170 same, 0 different, 0 not implemented of 170"; r.code != 0 || !strings.Contains(r.stdout, want) {
		t.Errorf("session.py ended with %d, want 0 and %q:\n%s%s", r.code, want, r.stdout, r.stderr)
	}
}

// step is one step of a session as transcript.json has it: an answer, or the name of a gRPC code.
type step struct {
	Name  string `json:"step"`
	Kind  string `json:"kind,omitempty"` // "hits" of equal score may swap
	OK    any    `json:"ok,omitempty"`
	Error string `json:"error,omitempty"`
}

// checkSession holds steps to the recorded ones by the rules of session.py.
func checkSession(t *testing.T, steps []step) {
	t.Helper()
	encoded, err := os.ReadFile(filepath.Join(realData(t, "qdrant"), "transcript.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want []step
	if err := json.Unmarshal(encoded, &want); err != nil {
		t.Fatal(err)
	}
	got := map[string]step{}
	for _, s := range steps {
		got[s.Name] = s
	}
	if len(got) != len(want) || len(steps) != len(want) {
		t.Errorf("%d steps of %d names, %d were recorded", len(steps), len(got), len(want))
	}
	for _, w := range want {
		g, ran := got[w.Name]
		if !ran {
			t.Errorf("step %q did not run", w.Name)
			continue
		}
		same := g.Error == w.Error && alike(g.OK, w.OK)
		if !same && w.Kind == "hits" && g.Error == "" && w.Error == "" {
			same = alike(tieSorted(g.OK), tieSorted(w.OK))
		}
		if !same {
			t.Errorf("step %q:\ngot  %s\nwant %s", w.Name, brief(g), brief(w))
		}
	}
}

// alike compares what was decoded from JSON; numbers within 1e-4.
func alike(a, b any) bool {
	switch a := a.(type) {
	case float64:
		b, ok := b.(float64)
		return ok && math.Abs(a-b) <= 1e-4
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, alike)
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if other, has := b[k]; !has || !alike(v, other) {
				return false
			}
		}
		return true
	default:
		return a == b
	}
}

// tieSorted orders hits by score, those of (nearly) equal score by id.
func tieSorted(hits any) any {
	list, ok := hits.([]any)
	if !ok {
		return hits
	}
	key := func(hit any) (float64, string) {
		h, _ := hit.(map[string]any)
		score, _ := h["score"].(float64)
		return -math.Round(score*1000) / 1000, fmt.Sprint(h["id"])
	}
	return slices.SortedFunc(slices.Values(list), func(a, b any) int {
		scoreA, idA := key(a)
		scoreB, idB := key(b)
		return cmp.Or(cmp.Compare(scoreA, scoreB), strings.Compare(idA, idB))
	})
}

func brief(s step) string {
	b, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(b[:min(len(b), 400)])
}

// sessionData is what the recorded session makes up, as JSON (see testdata/session_data.py).
func sessionData(t *testing.T) []byte {
	t.Helper()
	r := runCommand(t, exec.CommandContext(t.Context(), venv(t), filepath.Join("testdata", "session_data.py"), filepath.Join(realData(t, "qdrant"), "session.py")))
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	return []byte(r.stdout)
}

// TestSessionNode takes the steps with the official client for Node, which compresses its requests.
func TestSessionNode(t *testing.T) {
	data := sessionData(t)
	dir := nodeModules(t)
	host, port, err := net.SplitHostPort(up(t, t.TempDir(), anyPorts).Qdrant)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "session.mjs"), host, port)
	cmd.Stdin = bytes.NewReader(data)
	r := runCommand(t, cmd)
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	var steps []step
	if err := json.Unmarshal([]byte(r.stdout), &steps); err != nil {
		t.Fatal(err)
	}
	checkSession(t, steps)
}

// nodeModules makes .deps/node-qdrant of testdata/node, with the pinned client, and returns it.
// Where there is no Node, the test fails in CI and otherwise says loudly that it did not run.
func nodeModules(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			if ci, _ := strconv.ParseBool(os.Getenv("CI")); ci {
				t.Fatal(err)
			}
			t.Skipf("NOT RUN: %v", err)
		}
	}
	from, dir := os.DirFS(filepath.Join("testdata", "node")), filepath.Join("..", "..", ".deps", "node-qdrant")
	lock, err := fs.ReadFile(from, "package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(filepath.Join(dir, "installed.json"))
	fresh := err == nil && bytes.Equal(have, lock)
	for _, name := range []string{"package.json", "package-lock.json", "session.mjs"} {
		b, err := fs.ReadFile(from, name)
		if err == nil {
			err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), b, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if fresh {
		return dir
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--omit=peer", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the client for Node cannot be installed (is the package registry reachable?): %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "installed.json"), lock, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
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
