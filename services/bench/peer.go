package bench

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bench/venv"
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

// startPeer starts the peer on one core's threads, in the virtual environment dir, which it
// makes on first use. Errors: Unavailable, python3 or the package index is missing.
func startPeer(ctx context.Context, dir string) (_ *peer, err error) {
	python, err := venv.Make(ctx, dir, peerPins)
	if err != nil {
		return nil, err
	}
	return startPython(ctx, python, []string{"-c", string(peerScript)}, "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1")
}

// startPython starts a script that answers lines with lines.
func startPython(ctx context.Context, python string, args []string, env ...string) (_ *peer, err error) {
	const op = "bench.startPython"
	p := &peer{cmd: exec.CommandContext(ctx, python, args...)}
	p.cmd.Env = append(os.Environ(), env...)
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

// ask sends a request. An error that the peer tells is in the answer.
func (p *peer) ask(request map[string]any) (peerAnswer, error) {
	var a peerAnswer
	err := p.exchange(request, &a)
	return a, err
}

// exchange sends a request and reads the answer.
func (p *peer) exchange(request map[string]any, answer any) error {
	const op = "bench.peer"
	line, err := json.Marshal(request)
	if err == nil {
		_, err = fmt.Fprintf(p.in, "%s\n", line)
	}
	if err == nil {
		line, err = p.out.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, answer)
	}
	return fault.E(op, fault.Internal, err)
}

// close ends the process.
func (p *peer) close() error {
	err := errors.Join(p.in.Close(), p.cmd.Wait())
	return fault.E("bench.peer", fault.Internal, err)
}
