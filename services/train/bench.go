package train

import (
	"bytes"
	"context"
	_ "embed" // the peer
	"encoding/json"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bench/venv"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
	"github.com/radstream/radstream/trainer/onnxexport"
)

//go:embed peer/train.py
var peerScript []byte

//go:embed peer/requirements.txt
var peerPins []byte

// BenchOptions are one call of `radtrain bench`.
type BenchOptions struct {
	Preset   string
	Mode     string // see [trainer.Modes]
	BFloat16 bool
	Device   string // cpu, cuda or auto
	Batch    int    // studies, of two images and a text of 48 words each
	Kept     float64
	Steps    int // of each side in a round
	Warmup   int // steps before them
	Rounds   int
	Threads  int    // 0 is one a core
	Venv     string // folder of the virtual environment; made where it is missing
}

// BenchResult is what `radtrain bench` prints: how fast training steps are beside those of the same
// model in PyTorch.
type BenchResult struct {
	Preset   string  `json:"preset"`
	Mode     string  `json:"mode"`
	BFloat16 bool    `json:"bfloat16"`
	Device   string  `json:"device"`
	Batch    int     `json:"batch"`
	Kept     float64 `json:"kept"`
	Threads  int     `json:"threads"`
	PyTorch  string  `json:"pytorch"` // version
	// Differs is by how much a term of the loss differs at most, on the same weights and batch.
	Differs float64 `json:"loss_differs"`
	// Steps a second, one number a round; the ratio is ours over theirs, paired by round.
	Ours   []float64 `json:"ours"`
	Theirs []float64 `json:"theirs"`
	Ratio  eval.Rate `json:"ratio"`
}

// benchText is how many tokens and sentences a text of the benchmark has.
const benchText, benchSentences = 48, 3

// Bench trains on one batch made up for it, in turns here and in PyTorch, and compares.
//
// Errors: Usage for wrong options and a program without libtorch; Unavailable where the peer
// cannot be installed or run.
func Bench(ctx context.Context, o BenchOptions, progress func(done, total int)) (BenchResult, error) {
	const op = "train.Bench"
	out := BenchResult{Preset: o.Preset, Mode: o.Mode, BFloat16: o.BFloat16, Batch: o.Batch, Kept: o.Kept, Threads: o.Threads}
	c, err := preset(o.Preset)
	if err != nil {
		return out, err
	}
	if !canTrain {
		return out, fault.Errorf(op, fault.Usage, "this radtrain was built without libtorch: make radtrain")
	}
	if o.Mode != "full" && o.Mode != "adapters" {
		return out, fault.Errorf(op, fault.Usage, "the peer trains in mode full or adapters")
	}
	if o.Batch < 2 || o.Steps < 1 || o.Warmup < 0 || o.Rounds < 1 || !(o.Kept > 0 && o.Kept <= 1) {
		return out, fault.Errorf(op, fault.Usage, "a benchmark has 2 studies, one step and one round at least, and keeps a share of patches above 0, to 1")
	}
	if out.Threads == 0 {
		out.Threads = runtime.NumCPU()
	}
	if out.Device, err = Device(o.Device); err != nil {
		return out, fault.Wrap(op, err)
	}
	python, err := venv.Make(ctx, o.Venv, peerPins)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	dir, err := os.MkdirTemp("", "radtrain-bench")
	if err != nil {
		return out, fault.E(op, fault.Usage, err)
	}
	defer os.RemoveAll(dir)
	weights, batch := onnxexport.Untrained(c, 1), benchBatch(c, o.Batch, o.Kept)
	p := peer{python: python, options: o, threads: out.Threads, device: out.Device, dir: dir}
	if err := p.prepare(c, weights, batch); err != nil {
		return out, fault.Wrap(op, err)
	}
	stepper, err := newStepper(c, weights, 0, FitOptions{
		Objective: "clinvla", Mode: o.Mode, BFloat16: o.BFloat16, Device: out.Device, Threads: out.Threads,
	})
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	defer stepper.Close()
	if out.Differs, err = p.compare(ctx, stepper, batch); err != nil {
		return out, fault.Wrap(op, err)
	}
	var ratios []float64
	for round := range o.Rounds {
		theirs, version, err := p.steps(ctx)
		if err != nil {
			return out, fault.Wrap(op, err)
		}
		start := time.Now()
		for i := range o.Warmup + o.Steps {
			if i == o.Warmup {
				start = time.Now()
			}
			if _, err := stepper.Step(ctx, batch, 1e-4); err != nil {
				return out, fault.Wrap(op, err)
			}
		}
		ours := float64(o.Steps) / time.Since(start).Seconds()
		out.PyTorch, out.Ours, out.Theirs = version, append(out.Ours, ours), append(out.Theirs, theirs)
		ratios = append(ratios, ours/theirs)
		if progress != nil {
			progress(round+1, o.Rounds)
		}
	}
	out.Ratio = eval.MeanRate(ratios)
	return out, nil
}

// peer is the same training in PyTorch.
type peer struct {
	python  string
	options BenchOptions
	threads int
	device  string
	dir     string // of its files
}

// The files of a peer.
const peerConfig, peerWeights, peerBatch = "config.json", "weights.safetensors", "batch.json"

// prepare writes what both train on; peer/train.py says what the files hold.
func (p peer) prepare(c model.Config, w onnxexport.Weights, b trainer.Batch) error {
	const op = "train.peer.prepare"
	cls := c.Image.Tokens() - c.Image.Patches()
	side, area := c.Image.Size/c.Image.Patch, c.Image.Patch*c.Image.Patch
	var patches []byte
	var position, ids [][]int
	var view, prior, study, lengths, groups []int
	var sentences [][4]int
	for i, img := range b.Images {
		row := make([]int, cls)
		pixels := b.Pixels[i*c.Image.Size*c.Image.Size:]
		for _, k := range img.Keep {
			row = append(row, cls+int(k))
			at := len(patches)
			patches = append(patches, make([]byte, area)...)
			for y := range c.Image.Patch {
				from := (int(k)/side*c.Image.Patch+y)*c.Image.Size + int(k)%side*c.Image.Patch
				copy(patches[at+y*c.Image.Patch:], pixels[from:from+c.Image.Patch])
			}
		}
		position, view, prior, study = append(position, row), append(view, int(img.View)), append(prior, 0), append(study, img.Study)
	}
	for s, t := range b.Texts {
		row := make([]int, len(t.Tokens))
		for i, id := range t.Tokens {
			row[i] = int(id)
		}
		ids, lengths, groups = append(ids, row), append(lengths, len(row)), append(groups, t.Group)
		for _, x := range t.Sentences {
			sentences = append(sentences, [4]int{s, x.Start, x.End, x.Group})
		}
	}
	for name, v := range map[string]any{peerConfig: c, peerBatch: map[string]any{
		"patches": patches, "position": position, "view": view, "prior": prior, "image_study": study,
		"ids": ids, "lengths": lengths, "sentences": sentences, "text_group": groups,
	}} {
		text, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(p.dir, name), text, 0o600)
		}
		if err != nil {
			return fault.E(op, fault.Usage, err)
		}
	}
	return fault.Wrap(op, trainer.WriteTensors(filepath.Join(p.dir, peerWeights), w, nil))
}

// run runs the peer with further arguments and reads what it answers.
func (p peer) run(ctx context.Context, answer any, args ...string) error {
	const op = "train.peer.run"
	args = append([]string{
		"-c", string(peerScript), "--config", filepath.Join(p.dir, peerConfig), "--weights", filepath.Join(p.dir, peerWeights),
		"--batch-file", filepath.Join(p.dir, peerBatch), "--mode", p.options.Mode, "--threads", strconv.Itoa(p.threads), "--device", p.device,
	}, args...)
	if p.options.BFloat16 {
		args = append(args, "--bf16")
	}
	cmd := exec.CommandContext(ctx, p.python, args...)
	// PyTorch runs as it comes, not with what radtrain told its own libgomp.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOMP_SPINCOUNT=") })
	var errs bytes.Buffer
	cmd.Stderr = &errs
	text, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		return fault.Errorf(op, fault.Unavailable, "the peer failed: %w\n%s", err, errs.String())
	}
	return nil
}

// compare returns by how much a term of the loss differs at most. A ratio of different models
// would mean nothing: more than a hundredth is an error.
func (p peer) compare(ctx context.Context, s trainer.Stepper, b trainer.Batch) (worst float64, err error) {
	var theirs map[string]any
	if err := p.run(ctx, &theirs, "--check"); err != nil {
		return 0, err
	}
	ours, err := s.Step(ctx, b, 0)
	if err != nil {
		return 0, err
	}
	for name, v := range ours.Terms {
		their, ok := theirs[name].(float64)
		if !ok {
			return 0, fault.Errorf("train.peer.compare", fault.Internal, "the peer has no term %s", name)
		}
		worst = max(worst, math.Abs(v-their))
	}
	if !(worst < 0.01) || len(ours.Terms) == 0 {
		return worst, fault.Errorf("train.peer.compare", fault.Internal, "the peer's loss differs by %g: %v, here %v", worst, theirs, ours.Terms)
	}
	return worst, nil
}

// steps returns the peer's steps a second.
func (p peer) steps(ctx context.Context) (rate float64, version string, err error) {
	var answer struct {
		Torch   string    `json:"torch"`
		Seconds []float64 `json:"seconds"`
	}
	err = p.run(ctx, &answer, "--steps", strconv.Itoa(p.options.Steps), "--warmup", strconv.Itoa(p.options.Warmup), "--lr", "1e-4")
	if err != nil {
		return 0, "", err
	}
	total := 0.0
	for _, s := range answer.Seconds {
		total += s
	}
	return float64(len(answer.Seconds)) / total, answer.Torch, nil
}

// benchBatch makes up a batch: two images and a text a study.
func benchBatch(c model.Config, studies int, share float64) (b trainer.Batch) {
	r := rand.New(rand.NewPCG(1, 1))
	whole := image.Rect(0, 0, c.Image.Size, c.Image.Size)
	for s := range studies {
		for v := range 2 {
			b.Images = append(b.Images, trainer.BatchImage{Study: s, View: embedder.View(v), Exposed: whole, Keep: trainer.Keep(whole, c.Image, share, r)})
		}
		t := trainer.BatchText{Tokens: make([]int32, benchText), Group: s}
		for i := range t.Tokens {
			t.Tokens[i] = int32(r.IntN(c.Text.Vocabulary))
		}
		for i := range benchSentences {
			n := (benchText - 2) / benchSentences
			t.Sentences = append(t.Sentences, trainer.Span{Start: 1 + i*n, End: 1 + (i+1)*n, Group: s*benchSentences + i})
		}
		b.Texts = append(b.Texts, t)
	}
	b.Pixels = make([]byte, len(b.Images)*c.Image.Size*c.Image.Size)
	for i := range b.Pixels {
		b.Pixels[i] = uint8(r.IntN(256))
	}
	return b
}
