// Package ort is the only owner of the process-wide ONNX Runtime (onnxruntime_go). Whoever
// wires a process opens it once and hands sessions to the encoders, the text recogniser and
// the view classifier; those see [Session] and [Tensor] and never the library.
//
// The library is a shared object that is opened at run time (see [FindLibrary]); `make setup`
// fetches it. A session's inputs go in as Go slices, its outputs come back as Go slices, and
// every native handle made on the way is freed before Run returns. Sessions are the only
// handles that outlive a call: Close reports each that nobody closed, with the stack that
// opened it. CGO_ENABLED=0 builds leave the runtime out, since onnxruntime_go is cgo.
package ort

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/radstream/radstream/schemas/fault"
)

// LibraryName is the file that [FindLibrary] looks for; its version is pinned.
const LibraryName = "libonnxruntime.so.1.31.1"

// LibraryEnv names the environment variable that holds the path of the library.
const LibraryEnv = "RADSTREAM_ONNXRUNTIME"

// process serialises opening and closing, since the library's environment is the process's.
var process sync.Mutex

// Options tune a runtime. The zero value is the default.
type Options struct {
	// IntraThreads is how many threads one operator may use; 0 is one a physical core.
	IntraThreads int
}

// Runtime is the opened library. Its methods are safe for concurrent use.
type Runtime struct {
	options   Options
	operators map[string]operators // by kernel
	tensors   atomic.Int64         // native tensors that are alive

	mu       sync.Mutex
	closed   bool
	sessions map[*Session]struct{}
}

// Open loads the library at path, or where [FindLibrary] finds it when path is empty. Only one
// Runtime can be open in a process: a second Open is a Conflict. A library that is missing
// or of another version is Unavailable.
func Open(path string, o Options) (*Runtime, error) {
	const op = "ort.Open"
	if path == "" {
		found, err := FindLibrary()
		if err != nil {
			return nil, err
		}
		path = found
	}
	process.Lock()
	defer process.Unlock()
	if onnx.IsInitialized() {
		return nil, fault.Errorf(op, fault.Conflict, "ONNX Runtime is open already; a process has one, whose owner hands out sessions")
	}
	if _, err := os.Stat(path); err != nil {
		return nil, missing(op, path)
	}
	onnx.SetSharedLibraryPath(path)
	// Its warnings (fallbacks, unused initialisers) are for authors of graphs, not operators.
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelError()); err != nil {
		return nil, fault.Errorf(op, fault.Unavailable, "%s is not a usable ONNX Runtime (make setup fetches the right one): %w", path, err)
	}
	r := &Runtime{options: o, operators: make(map[string]operators), sessions: make(map[*Session]struct{})}
	for i, name := range Kernels() {
		ops, err := openOperators(path, i)
		if err != nil {
			return nil, fault.Errorf(op, fault.Unavailable, "%s: %w", path, errors.Join(err, r.destroy()))
		}
		r.operators[name] = ops
	}
	return r, nil
}

// destroy frees the library behind its operators; process is held.
func (r *Runtime) destroy() error {
	for _, o := range r.operators {
		o.close()
	}
	return onnx.DestroyEnvironment()
}

// Close frees the library. Sessions that are still open are freed too, after the runs in
// flight, and reported as an error with the stack that opened each. A second Close does nothing.
func (r *Runtime) Close() error {
	const op = "ort.Runtime.Close"
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	leaked := make([]*Session, 0, len(r.sessions))
	for s := range r.sessions {
		leaked = append(leaked, s)
	}
	r.mu.Unlock()

	var faults []error
	for _, s := range leaked {
		faults = append(faults, fmt.Errorf("session %s was never closed; opened by\n%s", s.name, s.opener))
		faults = append(faults, s.Close())
	}
	process.Lock()
	defer process.Unlock()
	faults = append(faults, r.destroy())
	return fault.E(op, fault.Internal, errors.Join(faults...))
}

// Live returns the number of native sessions and tensors that exist now. With no Run in
// flight tensors is 0; tests hold it to that.
func (r *Runtime) Live() (sessions, tensors int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions), int(r.tensors.Load())
}

// Model is an ONNX graph: the bytes, or a file when Data is nil.
type Model struct {
	Name string // for messages; Path if empty
	Path string
	Data []byte
	// Threads is how many threads one operator may use; 0 takes the runtime's. A fixed number
	// keeps the order of float sums, and so the bits of the outputs, the same on every machine
	// of one kind.
	Threads int
	Device  Device // "" is CPU; else what [Runtime.Device] returned
	Kernel  string // of the operators of [Domain], of [Kernels]; "" is the fastest
	// Varying says that the shape of the inputs changes from run to run. The library then plans no
	// memory for a shape: the plans of many shapes together hold several times what a run takes.
	Varying bool
}

// Session loads a graph that takes inputs and computes outputs, in this order; nil means all
// of the graph's. What no requested output needs is not computed. Close it after use.
// A graph that the library refuses, or without such an input or output, is Invalid.
func (r *Runtime) Session(m Model, inputs, outputs []string) (*Session, error) {
	const op = "ort.Runtime.Session"
	if m.Name == "" {
		m.Name = m.Path
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fault.Errorf(op, fault.Conflict, "the runtime is closed")
	}
	options, err := r.sessionOptions(m)
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	defer options.Destroy()

	if inputs, outputs, err = graphNames(m, inputs, outputs); err != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonGraph, "%s: %w", m.Name, err)
	}
	s := &Session{runtime: r, name: m.Name, inputs: inputs, outputs: outputs, opener: string(debug.Stack())}
	if m.Data != nil {
		s.native, err = onnx.NewDynamicAdvancedSessionWithONNXData(m.Data, inputs, outputs, options)
	} else {
		s.native, err = onnx.NewDynamicAdvancedSession(m.Path, inputs, outputs, options)
	}
	if err != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonGraph, "%s: %w", m.Name, err)
	}
	r.sessions[s] = struct{}{}
	return s, nil
}

// ReasonGraph is the fault reason of an ONNX graph that cannot be used.
const ReasonGraph fault.Reason = "onnx_graph"

func (r *Runtime) sessionOptions(m Model) (*onnx.SessionOptions, error) {
	o, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		o.SetIntraOpNumThreads(cmp.Or(m.Threads, r.options.IntraThreads)),
		// Idle worker threads that spin would keep a core busy: other stages share the machine.
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
	)
	if m.Varying {
		err = errors.Join(err, o.SetMemPattern(false))
	}
	if err == nil && m.Device == CUDA {
		err = appendCUDA(o)
	}
	kernels := Kernels()
	operators, ok := r.operators[cmp.Or(m.Kernel, kernels[len(kernels)-1])]
	switch {
	case !ok:
		err = errors.Join(err, fmt.Errorf("this CPU has no kernel %q, only %q", m.Kernel, kernels))
	case err == nil:
		err = operators.add(o)
	}
	if err != nil {
		return nil, errors.Join(err, o.Destroy())
	}
	return o, nil
}

func choose(what string, chosen, names []string) ([]string, error) {
	if chosen == nil {
		return names, nil
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no %s is chosen", what)
	}
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("there is no %s %q, only %q", what, name, names)
		}
	}
	return slices.Clone(chosen), nil
}

// FindLibrary returns the path of the library: $RADSTREAM_ONNXRUNTIME, else the first of
// [Candidates] of onnxruntime/lib, else right beside the executable. Where there is none the
// error says how to get it.
func FindLibrary() (string, error) {
	const op = "ort.FindLibrary"
	if path := os.Getenv(LibraryEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", missing(op, path+" (from "+LibraryEnv+")")
		}
		return path, nil
	}
	candidates := Candidates(filepath.Join("onnxruntime", "lib", LibraryName))
	if exe, err := executable(); err == nil { // a release archive has the library beside the program
		candidates = append(candidates, filepath.Join(filepath.Dir(exe), LibraryName))
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", missing(op, LibraryName)
}

// Candidates lists where a file or folder that `make setup` fetches may be, path being its
// place below .deps: in .deps of the working directory or a folder above it, else of the
// executable's folder or one above that.
func Candidates(path string) []string {
	var all []string
	upward := func(dir string) {
		for parent := ""; dir != parent; dir, parent = filepath.Dir(dir), dir {
			all = append(all, filepath.Join(dir, ".deps", path))
		}
	}
	if wd, err := os.Getwd(); err == nil {
		upward(wd)
	}
	if exe, err := executable(); err == nil {
		upward(filepath.Dir(exe))
	}
	return all
}

// executable returns the path of the running program, behind links.
func executable() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	if target, err := filepath.EvalSymlinks(exe); err == nil {
		exe = target
	}
	return exe, nil
}

func missing(op, what string) error {
	return fault.Errorf(op, fault.Unavailable, "ONNX Runtime is missing: no %s; run `make setup` in the checkout or set %s", what, LibraryEnv)
}
