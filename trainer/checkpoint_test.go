package trainer_test

import (
	"bufio"
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// someCheckpoint is one of a step, with numbers that text would lose.
func someCheckpoint(step int) *trainer.Checkpoint {
	data := make([]float32, 50_000)
	for i := range data {
		data[i] = float32(step) + float32(i)/3
	}
	data[0], data[1] = float32(math.Inf(1)), math.SmallestNonzeroFloat32
	return &trainer.Checkpoint{
		Step: 0, Config: small(), Labels: map[string]string{"data": "a b"},
		State: trainer.State{
			Tensors:  map[string]onnxexport.Tensor{"w": {Shape: []int{50, 1000}, Data: data}, "one": {Shape: []int{}, Data: []float32{float32(step)}}},
			Counters: map[string]int{"step": step},
		},
	}
}

func TestCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.safetensors")
	if _, err := trainer.ReadCheckpoint(path); fault.KindOf(err) != fault.NotFound {
		t.Errorf("none: %v", err)
	}
	want := someCheckpoint(7)
	if err := trainer.WriteCheckpoint(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := trainer.ReadCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(trainer.Curves{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"empty": nil, "cut": whole[:len(whole)-1], "cut in the header": whole[:100], "another byte": flipped(whole, len(whole)-9),
		"another header": flipped(whole, bytes.Index(whole, []byte("batch"))+9), "another shape": flipped(whole, bytes.Index(whole, []byte("[50,"))+1), "a long header": append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, whole...),
	} {
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := trainer.ReadCheckpoint(path); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.ReadCheckpoint(path); fault.KindOf(err) != fault.Invalid {
		t.Errorf("tensors of another program: %v", err)
	}
	if err := trainer.WriteCheckpoint(filepath.Join(path, "below"), want); fault.KindOf(err) != fault.Usage {
		t.Errorf("no folder: %v", err)
	}
}

func flipped(data []byte, at int) []byte {
	data = slices.Clone(data)
	data[at] ^= 1
	return data
}

// TestCheckpointSurvivesAKill: whenever the process is killed, there is a whole checkpoint, and
// none older than the last that was written.
func TestCheckpointSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.safetensors")
	r := rand.New(rand.NewPCG(3, 3))
	last := 0
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_WRITE_CHECKPOINTS="+path)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		written := 0
		lines := bufio.NewScanner(out)
		for n := r.IntN(4); written <= n && lines.Scan(); {
			written++
		}
		time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond) // into the next write, somewhere
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what was said before the kill
			written++
		}
		_ = cmd.Wait() // killed
		c, err := trainer.ReadCheckpoint(path)
		if err != nil {
			t.Fatal(err)
		}
		step := c.State.Counters["step"]
		if d := cmp.Diff(someCheckpoint(step), c, cmpopts.IgnoreUnexported(trainer.Curves{})); d != "" {
			t.Fatal(d)
		}
		if step < last+written {
			t.Errorf("step %d was kept, %d had been written", step, last+written)
		}
		last = step
	}
}

// TestCheckpointOnAFullDisk: what cannot be written whole is an error that says why, and leaves the
// checkpoint before it and nothing else. A limit on the size of files stands for the disk.
func TestCheckpointOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.safetensors")
	if err := trainer.WriteCheckpoint(path, someCheckpoint(1)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_WRITE_CHECKPOINTS="+path, "TEST_LARGEST_FILE=512")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "file too large") {
		t.Errorf("%v: %s", err, out)
	}
	c, err := trainer.ReadCheckpoint(path)
	if err != nil || c.State.Counters["step"] != 1 {
		t.Errorf("the checkpoint before: %+v, %v", c, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// writeCheckpoints goes on from the checkpoint at path, and says so behind each.
func writeCheckpoints(path string) {
	if n, err := strconv.ParseUint(os.Getenv("TEST_LARGEST_FILE"), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			panic(err)
		}
	}
	step := 0
	if c, err := trainer.ReadCheckpoint(path); err == nil {
		step = c.State.Counters["step"]
	} else if fault.KindOf(err) != fault.NotFound {
		panic(err)
	}
	for {
		step++
		if err := trainer.WriteCheckpoint(path, someCheckpoint(step)); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("written\n")
	}
}

// TestTensorsLeaveDevices: root may rename a file over /dev/full, and the device would be gone.
func TestTensorsLeaveDevices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := trainer.WriteTensors(path, nil, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("over a pipe: %v", err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is gone: %v, %v", info, err)
	}
}

func TestMain(m *testing.M) {
	if path := os.Getenv("TEST_WRITE_CHECKPOINTS"); path != "" {
		writeCheckpoints(path)
	}
	os.Exit(m.Run())
}

// TestFitGoesOn: a run that goes on has the batches, rates and curves of one that never stopped.
func TestFitGoesOn(t *testing.T) {
	d, c := dataset(t, 8, nil), small()
	s := &counter{}
	whole, err := trainer.Fit(t.Context(), c, model.Tiny(), d, s, nil, trainer.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	var kept *trainer.Checkpoint
	path := filepath.Join(t.TempDir(), "state.safetensors")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hooks := trainer.Hooks{
		CheckpointEvery: 4,
		Checkpoint:      func(c *trainer.Checkpoint) error { kept = c; return trainer.WriteCheckpoint(path, c) },
		Progress: func(p trainer.Progress) {
			if p.Step == 7 {
				cancel()
			}
		},
	}
	if r, err := trainer.Fit(ctx, c, model.Tiny(), d, &counter{}, nil, hooks); err != nil || !r.Interrupted || kept.Step != 7 {
		t.Fatalf("%+v, kept %+v, %v", r, kept, err)
	}
	if kept, err = trainer.ReadCheckpoint(path); err != nil {
		t.Fatal(err)
	}
	other := c
	other.LearningRate *= 2
	if _, err := trainer.Fit(t.Context(), other, model.Tiny(), d, &counter{}, kept, trainer.Hooks{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("with another rate: %v", err)
	}
	again := &counter{}
	r, err := trainer.Fit(t.Context(), c, model.Tiny(), d, again, kept, trainer.Hooks{})
	if err != nil || r.Steps != c.Steps || r.Interrupted {
		t.Fatalf("%+v, %v", r, err)
	}
	for i := 7; i < c.Steps; i++ {
		if again.rates[i] != s.rates[i] || again.masked[i] != s.masked[i] {
			t.Errorf("step %d: rate %g, want %g; masked %t", i, again.rates[i], s.rates[i], again.masked[i])
		}
	}
	firstWant, lastWant := whole.Curves.Loss(3)
	first, last := r.Curves.Loss(3)
	if first != firstWant || last != lastWant {
		t.Errorf("losses %g, %g, want %g, %g", first, last, firstWant, lastWant)
	}
}
