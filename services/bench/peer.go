package bench

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/radstream/radstream/schemas/fault"
)

//go:embed peer/peer.py
var peerScript []byte

//go:embed peer/requirements.txt
var peerPins []byte

// peer is the Python process that ours are measured against.
type peer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// peerAnswer is what peer.py answers.
type peerAnswer struct {
	MS    float64 `json:"ms"`
	Error string  `json:"error"`
	Files []struct {
		Name  string `json:"name"`
		Path  string `json:"path"`
		Lossy bool   `json:"lossy"`
	} `json:"files"`
}

// startPeer starts the peer on one core's threads, in the virtual environment venv, which it
// makes on first use. Errors: Unavailable, python3 or the package index is missing.
func startPeer(ctx context.Context, venv string) (_ *peer, err error) {
	const op = "bench.startPeer"
	python := filepath.Join(venv, "bin", "python")
	if err := makeVenv(ctx, venv, python); err != nil {
		return nil, err
	}
	p := &peer{cmd: exec.CommandContext(ctx, python, "-c", string(peerScript))}
	p.cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1")
	p.cmd.Stderr = os.Stderr
	var stdout io.Reader
	if p.in, err = p.cmd.StdinPipe(); err == nil {
		stdout, err = p.cmd.StdoutPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	p.out = bufio.NewReader(stdout)
	return p, nil
}

// makeVenv makes the virtual environment unless it is there; one process at a time.
func makeVenv(ctx context.Context, venv, python string) (err error) {
	const op = "bench.makeVenv"
	if err := os.MkdirAll(filepath.Dir(venv), 0o755); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	lock, err := os.OpenFile(venv+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fault.E(op, fault.Usage, err)
	}
	defer lock.Close() // which gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	pins, done := filepath.Join(venv, "requirements.txt"), filepath.Join(venv, "installed.txt")
	if have, _ := os.ReadFile(done); bytes.Equal(have, peerPins) {
		return nil
	}
	if out, err := exec.CommandContext(ctx, "python3", "-m", "venv", "--clear", venv).CombinedOutput(); err != nil {
		return fault.Errorf(op, fault.Unavailable, "the peer needs python3 with venv: %w\n%s", err, out)
	}
	if err := os.WriteFile(pins, peerPins, 0o644); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	install := []string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "-r", pins}
	if out, err := exec.CommandContext(ctx, python, install...).CombinedOutput(); err != nil {
		return fault.Errorf(op, fault.Unavailable, "the peer's packages cannot be installed (is the package index reachable?): %w\n%s", err, out)
	}
	return fault.E(op, fault.Usage, os.WriteFile(done, peerPins, 0o644))
}

// ask sends a request. An error that the peer tells is in the answer.
func (p *peer) ask(request map[string]any) (peerAnswer, error) {
	const op = "bench.peer"
	var a peerAnswer
	line, err := json.Marshal(request)
	if err == nil {
		_, err = fmt.Fprintf(p.in, "%s\n", line)
	}
	if err == nil {
		line, err = p.out.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	return a, fault.E(op, fault.Internal, err)
}

// close ends the process.
func (p *peer) close() error {
	err := errors.Join(p.in.Close(), p.cmd.Wait())
	return fault.E("bench.peer", fault.Internal, err)
}
