//go:build torch

package torch

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/sugarme/gotch/libtch"
)

// tensor is a handle of libtorch: gotch's pointer to an at::Tensor. gotch's own wrapper
// (ts.Tensor) takes 100 KB of Go heap each, leaks a little C memory with each operator and
// waits for the garbage collector; a step makes a thousand tensors.
type tensor = libtch.Ctensor

// ledger knows every open tensor of a trainer.
type ledger struct {
	open   map[tensor]string // by handle: what made it and where (where only if trace is set)
	trace  bool
	device device // where tensors are
}

func newLedger(d device, trace bool) *ledger {
	return &ledger{open: make(map[tensor]string), trace: trace, device: d}
}

// origins lists what made the tensors that are open, sorted.
func (l *ledger) origins() []string {
	out := make([]string, 0, len(l.open))
	for _, origin := range l.open {
		out = append(out, origin)
	}
	slices.Sort(out)
	return out
}

// arena makes tensors and frees them together. Its methods are the operators: after the first
// that fails, the others do nothing and return nil, and err says what went wrong, so that a
// formula reads as a formula. An arena stays on one OS thread: libtorch keeps its last error
// there.
type arena struct {
	ledger *ledger
	kind   kind // of floating-point tensors
	made   []tensor
	err    error
}

// kind is libtorch's number of an element type.
type kind int32

const (
	uint8Kind   kind = 0
	int64Kind   kind = 4
	float32Kind kind = 6
	float64Kind kind = 7
	boolKind    kind = 11
)

func (l *ledger) arena(k kind) *arena { return &arena{ledger: l, kind: k} }

// free frees every tensor that the arena made.
func (a *arena) free() {
	for _, t := range a.made {
		libtch.AtFree(t)
		delete(a.ledger.open, t)
	}
	a.made = nil
}

// keep takes over what an operator returned.
func (a *arena) keep(op string, t tensor) tensor {
	if err := lastError(); err != nil && a.err == nil {
		a.err = fmt.Errorf("%s: %w", op, err)
	}
	if t == nil {
		return nil
	}
	a.made = append(a.made, t)
	if a.ledger.trace {
		op += " " + caller()
	}
	a.ledger.open[t] = op
	return t
}

// do runs one operator of libtch.
func (a *arena) do(op string, run func(out *tensor)) tensor {
	if a.err != nil {
		return nil
	}
	var out tensor
	run(&out)
	return a.keep(op, out)
}

// caller names the lines outside this file that led to an operator.
func caller() string {
	var pcs [8]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var out string
	for {
		f, more := frames.Next()
		out += fmt.Sprintf("< %s:%d ", f.Function, f.Line)
		if !more {
			return out
		}
	}
}
