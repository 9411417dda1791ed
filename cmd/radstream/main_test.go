package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/services/app"
	"github.com/radstream/radstream/services/publish"
)

// The tests of this package are those of a stranger: they run the program as a process. It
// is the test binary under another name, so that go test knows when its results are old.

var binary string

// asProgram is set for every process that a test starts. It has no prefix: radstream warns of
// settings that it does not know.
const asProgram = "TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "radstream-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	binary = filepath.Join(dir, "radstream")
	if err := errors.Join(err, os.Symlink(self, binary), os.Setenv(asProgram, "1")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// run runs radstream with args to its end.
func run(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return runCommand(t, exec.CommandContext(ctx, binary, args...))
}

func runCommand(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// server is a running `radstream up`.
type server struct {
	app.Addresses
	cmd *exec.Cmd
	dir string
}

// ports are free loopback addresses, kept over restarts.
type ports struct{ nats, qdrant, query string }

// freePorts lie below the range from which the kernel gives out ports to outgoing connections:
// one of those took the port of a killed server before the next could.
func freePorts(t *testing.T) ports {
	t.Helper()
	var free []string
	for port := 20000 + rand.IntN(8000); len(free) < 3; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		free = append(free, l.Addr().String())
		_ = l.Close()
	}
	return ports{free[0], free[1], free[2]}
}

// anyPorts lets a server choose; it says which. Only one that is started again at its old address
// needs freePorts, which another program may be quicker to take.
var anyPorts = ports{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}

// up starts radstream over dir and returns when it is ready.
func up(t *testing.T, dir string, p ports, args ...string) *server {
	t.Helper()
	args = append([]string{"up", "--json", "--data", dir, "--log-level", "error",
		"--nats-listen", p.nats, "--qdrant-listen", p.qdrant, "--query-listen", p.query}, args...)
	s := &server{cmd: exec.Command(binary, args...), dir: dir}
	s.cmd.Stderr = os.Stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t) })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("up did not come up: %v", err)
	}
	if err := json.Unmarshal(line, &s.Addresses); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return s
}

// stop asks the server to end and checks that it ends well. More than once is harmless.
func (s *server) stop(t *testing.T) {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	killer := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer killer.Stop()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("up ended badly: %v", err)
	}
}

// kill is kill -9.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // it was killed: that is its error
}

// publish runs `radstream publish --wait --json` and returns the summary.
func (s *server) publish(t *testing.T, args ...string) publish.Summary {
	t.Helper()
	r := run(t, append([]string{"publish", "--wait", "--json", "--nats-url", s.NATS}, args...)...)
	if r.code != 0 {
		t.Fatalf("publish ended with %d: %s", r.code, r.stderr)
	}
	var sum publish.Summary
	if err := json.Unmarshal([]byte(r.stdout), &sum); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	return sum
}

// realData returns a folder of the real data. Where there is none the test is skipped.
func realData(t *testing.T, name string) string {
	t.Helper()
	dir := realdata.Path(t, name)
	if dir == "" {
		t.Skip("no real data")
	}
	return dir
}
