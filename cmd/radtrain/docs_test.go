//go:build torch

package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/radstream/radstream/embedder/ort"
)

// TestTheGuide runs the shell blocks of docs/TRAINING.md as they stand there: a first run, and
// the way from a stream to a model that serves. Only addresses are others, so that no server
// of somebody else is met.
func TestTheGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/TRAINING.md")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, args := range map[string][]string{"radtrain": {"-tags", "torch"}, "radstream": nil} {
		args = append(append([]string{"build"}, args...), "-o", filepath.Join(bin, name), "../"+name)
		if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", name, err, out)
		}
	}
	library, err := ort.FindLibrary()
	if err != nil {
		t.Fatal(err)
	}
	graphs, err := filepath.Abs("../../.deps/ocr")
	if err != nil {
		t.Fatal(err)
	}
	nats, query := free(t), free(t)
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "RADSTREAM_NATS_LISTEN="+nats, "RADSTREAM_QDRANT_LISTEN="+free(t),
		"RADSTREAM_QUERY_LISTEN="+query, "RADSTREAM_SERVER="+query, ort.LibraryEnv+"="+library, "RADSTREAM_INGEST_OCR_DIR="+graphs)
	ours := strings.NewReplacer("127.0.0.1:4222", nats, "radstream publish studies", "radstream publish studies --nats-url nats://"+nats)
	blocks := strings.Split(string(text), "```sh\n")[1:]
	if len(blocks) != 2 {
		t.Fatalf("the guide has %d shell blocks, want 2", len(blocks))
	}
	var last string
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		last = shell(t, ours.Replace(block), env)
	}
	if !strings.Contains(last, " of mine@1.0.0") {
		t.Errorf("the search was not answered by the model that was trained:\n%s", last)
	}
}

// shell runs script in a folder of its own and returns what it printed. A server that the
// script leaves in the background, as it does when a line fails, is ended with it: it would
// hold the output open, and the test would wait for it and never say which line that was.
func shell(t *testing.T, script string, env []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euxo", "pipefail", "-c", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"+script)
	cmd.Dir, cmd.Env = t.TempDir(), env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil { // the dumps of what did not end are long
		lines := slices.DeleteFunc(strings.Split(string(out), "\n"), func(l string) bool {
			return !strings.HasPrefix(l, "+ radstream ") && !strings.HasPrefix(l, "+ radtrain ")
		})
		t.Fatalf("%v:\n%s\n%v behind these:\n%s", err, out, err, strings.Join(lines, "\n"))
	}
	return string(out)
}

// free returns an address that nothing listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
