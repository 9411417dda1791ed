package ort_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
)

// runtime is the process's ONNX Runtime, which can be opened once only.
var runtime *ort.Runtime

func TestMain(m *testing.M) {
	// Opened and closed once before: the library can be loaded again.
	for range 2 {
		r, err := ort.Open("", ort.Options{IntraThreads: 1})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if runtime == nil {
			if err := r.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		runtime = r
	}
	code := m.Run()
	if err := errors.Join(runtime.Close(), runtime.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// affine is an ONNX graph in bytes: y = x + x, z = x * x for float x [N]; both are outputs.
var affine = func() []byte {
	field := func(n byte, b string) string { return string([]byte{n<<3 | 2, byte(len(b))}) + b }
	node := func(op, out string) string {
		return field(1, field(1, "x")+field(1, "x")+field(2, out)+field(4, op))
	}
	shape := field(2, field(1, field(2, "N")))
	info := func(n byte, name string) string {
		return field(n, field(1, name)+field(2, field(1, "\x08\x01"+shape)))
	}
	graph := node("Add", "y") + node("Mul", "z") + field(2, "affine") + info(11, "x") + info(12, "y") + info(12, "z")
	return []byte("\x08\x09" + field(7, graph) + field(8, "\x10\x14"))
}()

func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "affine.onnx")
	if err := os.WriteFile(path, affine, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]ort.Model{"bytes": {Name: "affine", Data: affine}, "file": {Path: path}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, m, nil, nil)
			got, err := s.Run(t.Context(), ort.Tensor{Shape: []int64{3}, Data: []float32{1, 2, 3}})
			want := []ort.Tensor{{Shape: []int64{3}, Data: []float32{2, 4, 6}}, {Shape: []int64{3}, Data: []float32{1, 4, 9}}}
			if d := cmp.Diff(want, got); err != nil || d != "" {
				t.Errorf("%v (-want +got)\n%s", err, d)
			}
			one := open(t, m, nil, []string{"z"})
			got, err = one.Run(t.Context(), ort.Tensor{Shape: []int64{1}, Data: []float32{-2}})
			if d := cmp.Diff([]ort.Tensor{{Shape: []int64{1}, Data: []float32{4}}}, got); err != nil || d != "" {
				t.Errorf("%v (-want +got)\n%s", err, d)
			}
		})
	}
	if sessions, tensors := runtime.Live(); sessions != 0 || tensors != 0 {
		t.Errorf("%d sessions and %d tensors are left", sessions, tensors)
	}
}

func TestMetadata(t *testing.T) {
	// ModelProto.metadata_props (14) holds key (1) and value (2).
	data := append([]byte(nil), affine...)
	data = append(data, "\x72\x0a\x0a\x04name\x12\x02xy"...)
	s := open(t, ort.Model{Name: "affine", Data: data, Threads: 1}, nil, nil)
	if v, ok, err := s.Metadata("name"); v != "xy" || !ok || err != nil {
		t.Errorf("got %q, %v, %v", v, ok, err)
	}
	if v, ok, err := s.Metadata("none"); v != "" || ok || err != nil {
		t.Errorf("of a key that is not there: %q, %v, %v", v, ok, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Metadata("name"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("closed: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	s := open(t, ort.Model{Name: "affine", Data: affine}, nil, []string{"y"})
	for name, c := range map[string]struct {
		inputs []ort.Tensor
		kind   fault.Kind
	}{
		"number":     {nil, fault.Invalid},
		"length":     {[]ort.Tensor{{Shape: []int64{3}, Data: []float32{1}}}, fault.Invalid},
		"no shape":   {[]ort.Tensor{{Data: []float32{1}}}, fault.Invalid},
		"negative":   {[]ort.Tensor{{Shape: []int64{-1}, Data: []float32{1}}}, fault.Invalid},
		"Go type":    {[]ort.Tensor{{Shape: []int64{1}, Data: []string{"a"}}}, fault.Invalid},
		"graph type": {[]ort.Tensor{{Shape: []int64{1}, Data: []int64{1}}}, fault.Internal},
	} {
		if _, err := s.Run(t.Context(), c.inputs...); fault.KindOf(err) != c.kind || err == nil {
			t.Errorf("%s: %v (%v)", name, err, fault.KindOf(err))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, ort.Tensor{Shape: []int64{1}, Data: []float32{1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context(), ort.Tensor{Shape: []int64{1}, Data: []float32{1}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("closed: %v", err)
	}
	if _, tensors := runtime.Live(); tensors != 0 {
		t.Errorf("%d tensors are left", tensors)
	}
}

func TestRunConcurrently(t *testing.T) {
	s := open(t, ort.Model{Name: "affine", Data: affine}, nil, []string{"y"})
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			for i := range 200 {
				x := float32(g*1000 + i)
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 {
					go cancel() // at any moment: before, during or after
				}
				out, err := s.Run(ctx, ort.Tensor{Shape: []int64{1}, Data: []float32{x}})
				cancel()
				if err == nil && out[0].Data.([]float32)[0] != 2*x || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%g gives %v, %v", x, out, err)
				}
			}
		})
	}
	wait.Wait()
	if _, tensors := runtime.Live(); tensors != 0 {
		t.Errorf("%d tensors are left", tensors)
	}
}

func TestSessionRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		model   ort.Model
		outputs []string
	}{
		"no graph":  {ort.Model{Name: "x", Data: []byte("x")}, nil},
		"empty":     {ort.Model{Name: "x", Data: []byte{}}, nil},
		"no file":   {ort.Model{Path: filepath.Join(t.TempDir(), "x.onnx")}, nil},
		"none":      {ort.Model{Name: "x", Data: affine}, []string{}},
		"no output": {ort.Model{Name: "x", Data: affine}, []string{"y", "w"}},
	} {
		if s, err := runtime.Session(c.model, nil, c.outputs); fault.ReasonOf(err) != ort.ReasonGraph {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if sessions, _ := runtime.Live(); sessions != 0 {
		t.Errorf("%d sessions are left", sessions)
	}
}

// TestDevice: without CUDA, which the pinned library lacks, asking for it says what to do, and auto
// is the CPU, with the reason; sessions run there.
func TestDevice(t *testing.T) {
	if _, _, err := runtime.Device(ort.CUDA); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "CUDA was asked for and cannot be used") || !strings.Contains(err.Error(), "onnxruntime.library") {
		t.Errorf("CUDA: %v", err)
	}
	for _, wanted := range []ort.Device{ort.Auto, ort.CPU} {
		d, why, err := runtime.Device(wanted)
		if err != nil || d != ort.CPU || (why == nil) != (wanted == ort.CPU) {
			t.Errorf("%s is %s, %v, %v", wanted, d, why, err)
		}
		s := open(t, ort.Model{Name: "affine", Data: affine, Device: d}, nil, []string{"y"})
		if out, err := s.Run(t.Context(), ort.Tensor{Shape: []int64{1}, Data: []float32{2}}); err != nil || out[0].Data.([]float32)[0] != 4 {
			t.Errorf("%v, %v", out, err)
		}
	}
	if _, err := runtime.Session(ort.Model{Name: "affine", Data: affine, Device: ort.CUDA}, nil, nil); err == nil {
		t.Error("a session on a GPU that is not there")
	}
	if sessions, _ := runtime.Live(); sessions != 2 {
		t.Errorf("%d sessions are open, want 2", sessions)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	if _, err := ort.Open("", ort.Options{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v", err)
	}
}

// TestLeakNamesItsOpener closes the runtime and leaves another in its place.
func TestLeakNamesItsOpener(t *testing.T) {
	if _, err := runtime.Session(ort.Model{Name: "affine", Data: affine}, nil, nil); err != nil {
		t.Fatal(err)
	}
	err := runtime.Close()
	if err == nil || !strings.Contains(err.Error(), "affine was never closed") || !strings.Contains(err.Error(), "TestLeakNamesItsOpener") {
		t.Errorf("Close says %v", err)
	}
	if _, err := runtime.Session(ort.Model{Name: "affine", Data: affine}, nil, nil); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a session of a closed runtime: %v", err)
	}
	if runtime, err = ort.Open("", ort.Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestFindLibrary(t *testing.T) {
	found, err := ort.FindLibrary()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(ort.LibraryEnv, found)
	t.Chdir(t.TempDir())
	if got, err := ort.FindLibrary(); got != found || err != nil {
		t.Errorf("from the environment: %q, %v", got, err)
	}
	for _, path := range []string{"", filepath.Join(t.TempDir(), "none.so")} {
		t.Setenv(ort.LibraryEnv, path)
		_, err := ort.FindLibrary()
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "make setup") {
			t.Errorf("%s=%q: %v", ort.LibraryEnv, path, err)
		}
	}
	dir := t.TempDir()
	lib := filepath.Join(dir, ".deps", "onnxruntime", "lib")
	deep := filepath.Join(dir, "a", "b")
	for _, d := range []string{lib, deep} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(lib, ort.LibraryName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(ort.LibraryEnv, "")
	t.Chdir(deep)
	if got, err := ort.FindLibrary(); err != nil || !strings.HasSuffix(got, ort.LibraryName) {
		t.Errorf("upward: %q, %v", got, err)
	}
}

func open(t *testing.T, m ort.Model, inputs, outputs []string) *ort.Session {
	t.Helper()
	s, err := runtime.Session(m, inputs, outputs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
