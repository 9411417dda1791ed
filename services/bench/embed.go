package bench

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bench/venv"
	"github.com/radstream/radstream/trainer/onnxexport"
)

//go:embed embedpeer/embed.py
var embedScript []byte

//go:embed embedpeer/requirements.txt
var embedPins []byte

// EmbedConfig says what [Embed] measures.
type EmbedConfig struct {
	Venv     string         // the peers' virtual environment; made on first use
	Batch    int            // images of one run, for all
	Rounds   int            // each runs once in every round
	Seconds  float64        // a run takes this long at least, and one batch
	Threads  int            // of an inference; 0 is one a core
	Queries  int            // whose latency is measured, idle and under load; 0 is none
	Peers    []string       // a part of [EmbedPeers]; empty is all, "none" alone is none
	Progress func(runs int) // may be nil
}

// EmbedPeers are who ours is measured against.
func EmbedPeers() []string {
	return []string{"ONNX-Runtime fp32", "ONNX-Runtime int8", "PyTorch fp32", "PyTorch bf16", "OpenVINO fp32", "OpenVINO bf16"}
}

// EmbedFigures is what [Embed] found.
type EmbedFigures struct {
	CPU     []string     `json:"cpu"` // what it can do of that which matters here
	Threads int          `json:"threads"`
	Batch   int          `json:"batch"`
	Rows    []EmbedSpeed `json:"rows"`
	Best    string       `json:"best_peer,omitempty"`
	// Ratio is our fastest over the best peer, the median of what the rounds have: above 1 ours is faster.
	Ratio   float64       `json:"ratio,omitempty"`
	RatioCI [2]float64    `json:"ratio_ci"` // 95 %, bootstrap of the median
	Queries *EmbedLatency `json:"queries,omitempty"`
}

// EmbedSpeed is one way to encode.
type EmbedSpeed struct {
	Name    string    `json:"name"`
	Ours    bool      `json:"ours"`
	Speed   float64   `json:"images_per_s"` // median of the rounds
	Rounds  []float64 `json:"rounds"`
	Cosine  float64   `json:"cosine"` // to our fp32, the least over the batch
	Version string    `json:"version,omitempty"`
	Note    string    `json:"note,omitempty"`
	Error   string    `json:"error,omitempty"` // why it was not measured
}

// EmbedLatency is how long films wait that somebody asks about, in ms, in fp32.
type EmbedLatency struct {
	Idle   [2]float64 `json:"idle_ms"`   // p50, p99
	Loaded [2]float64 `json:"loaded_ms"` // while the archive is encoded as fast as it can be
}

// Embed times a ViT-B/16 at 224 with 196 tokens, from bytes in memory to vectors in memory, in our
// encoder and beside PyTorch, ONNX Runtime and OpenVINO in Python, on the same random weights and
// images; rounds take turns. Adapters are left out, since the peers have none; the text encoder is
// a small one, which is not measured.
//
// Errors: Unavailable where the peers cannot be installed; one that cannot run is told in its row.
func Embed(ctx context.Context, c EmbedConfig) (_ EmbedFigures, err error) {
	const op = "bench.Embed"
	figures := EmbedFigures{CPU: cpuFeatures(), Threads: c.Threads, Batch: c.Batch}
	if figures.Threads == 0 {
		figures.Threads = runtime.NumCPU()
	}
	if c.Batch < 1 || c.Rounds < 1 || c.Queries < 0 {
		return figures, fault.Errorf(op, fault.Usage, "a batch and a round are at least one")
	}
	switch {
	case len(c.Peers) == 0:
		c.Peers = EmbedPeers()
	case slices.Equal(c.Peers, []string{"none"}):
		c.Peers = nil
	}
	for _, p := range c.Peers {
		if !slices.Contains(EmbedPeers(), p) {
			return figures, fault.Errorf(op, fault.Usage, "%q is no peer: they are %s, or none", p, strings.Join(EmbedPeers(), ", "))
		}
	}
	var python string
	if len(c.Peers) > 0 {
		if python, err = venv.Make(ctx, c.Venv, embedPins); err != nil {
			return figures, fault.Wrap(op, err)
		}
	}
	dir, err := os.MkdirTemp("", "radstream-bench-*")
	if err != nil {
		return figures, fault.E(op, fault.Usage, err)
	}
	defer os.RemoveAll(dir)
	lib, err := ort.Open("", ort.Options{IntraThreads: figures.Threads})
	if err != nil {
		return figures, fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, lib.Close()) }()
	b := embedBench{conf: c, lib: lib, dir: dir, images: noise(c.Batch)}
	if err := b.write(ctx); err != nil {
		return figures, fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.open(ctx); err != nil {
		return figures, fault.Wrap(op, err)
	}
	if len(c.Peers) > 0 {
		script := filepath.Join(dir, "embed.py")
		if err := os.WriteFile(script, embedScript, 0o644); err != nil {
			return figures, fault.E(op, fault.Usage, err)
		}
		threads := strconv.Itoa(figures.Threads)
		b.peer, err = startPython(ctx, python, []string{"-W", "ignore", script, filepath.Join(dir, "weights"), threads}, "OMP_NUM_THREADS="+threads)
		if err != nil {
			return figures, fault.Wrap(op, err)
		}
	}
	if err := b.measure(ctx, &figures); err != nil {
		return figures, fault.Wrap(op, err)
	}
	if c.Queries > 0 {
		if figures.Queries, err = b.latency(ctx); err != nil {
			return figures, fault.Wrap(op, err)
		}
	}
	return figures, nil
}

// embedBench is one call of [Embed].
type embedBench struct {
	conf   EmbedConfig
	lib    *ort.Runtime
	dir    string
	images []embedder.Image
	ours   map[string]*embedder.Encoder // by precision
	peer   *peer
}

var embedPrecisions = []string{"fp32", "int8"}

// embedModel is what is measured.
func embedModel() model.Config {
	c := model.Base()
	c.Text, c.Adapter, c.Invertible = model.Tiny().Text, 0, false
	return c
}

// write writes our models, and the weights for the peers.
func (b *embedBench) write(ctx context.Context) error {
	c := embedModel()
	w := onnxexport.Untrained(c, 1)
	k, err := tokenizer.BERTBaseCased()
	if err != nil {
		return err
	}
	ranges, err := onnxexport.MeasureRanges(ctx, b.lib, c, w, noise(8), nil)
	if err != nil {
		return err
	}
	for _, precision := range embedPrecisions {
		dir := filepath.Join(b.dir, precision)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fault.E("bench.Embed", fault.Usage, err)
		}
		m := model.Manifest{Ref: model.Ref{Name: "bench", Version: precision}, Preprocessing: "bench", Temperature: 0.07, Untrained: true}
		if precision == "int8" {
			err = onnxexport.WriteInt8Model(dir, c, w, ranges, k, m)
		} else {
			err = onnxexport.WriteModel(dir, c, w, onnxexport.FP32, k, m)
		}
		if err != nil {
			return err
		}
	}
	return writeWeights(filepath.Join(b.dir, "weights"), c, w)
}

// writeWeights writes the weights of the image tower as embed.py reads them.
func writeWeights(path string, c model.Config, w onnxexport.Weights) error {
	const op = "bench.writeWeights"
	var raw []byte
	var tensors [][2]any
	for _, row := range onnxexport.Shapes(c) {
		t := w[row.Name]
		if len(row.Name) < 6 || row.Name[:6] != "image." {
			continue
		}
		tensors = append(tensors, [2]any{row.Name, t.Shape})
		for _, x := range t.Data {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
	}
	text, err := json.Marshal(map[string]any{"config": c.Image, "tensors": tensors})
	return fault.E(op, fault.Internal, errors.Join(err, os.WriteFile(path+".json", text, 0o644), os.WriteFile(path+".bin", raw, 0o644)))
}

func (b *embedBench) open(ctx context.Context) error {
	b.ours = map[string]*embedder.Encoder{}
	for _, precision := range embedPrecisions {
		e, err := embedder.Open(ctx, filepath.Join(b.dir, precision), b.lib, embedder.Options{MaxBatch: b.conf.Batch})
		if err != nil {
			return err
		}
		b.ours[precision] = e
	}
	return nil
}

func (b *embedBench) close() error {
	var errs []error
	if b.peer != nil {
		errs = append(errs, b.peer.close())
	}
	for _, e := range b.ours {
		errs = append(errs, e.Close())
	}
	return errors.Join(errs...)
}

// embedAnswer is what embed.py answers.
type embedAnswer struct {
	Version string      `json:"version"`
	Note    string      `json:"note"`
	Speed   float64     `json:"images_per_s"`
	Vectors [][]float32 `json:"vectors"`
	Error   string      `json:"error"`
}

// measure fills in the rows.
func (b *embedBench) measure(ctx context.Context, f *EmbedFigures) error {
	for _, precision := range embedPrecisions {
		f.Rows = append(f.Rows, EmbedSpeed{Name: precision, Ours: true})
	}
	for _, name := range b.conf.Peers {
		row := EmbedSpeed{Name: name}
		var a embedAnswer
		if err := b.peer.exchange(map[string]any{"load": name, "dir": b.dir}, &a); err != nil {
			return err
		}
		row.Version, row.Note, row.Error = a.Version, a.Note, a.Error
		f.Rows = append(f.Rows, row)
	}
	var reference [][]float32
	done := 0
	for round := -1; round < b.conf.Rounds; round++ { // the first is not counted
		for i := range f.Rows {
			row := &f.Rows[i]
			if row.Error != "" {
				continue
			}
			speed, vectors, err := b.run(ctx, row)
			if err != nil {
				return err
			}
			if reference == nil {
				reference = vectors
			}
			if row.Error != "" {
				continue
			}
			if round < 0 {
				row.Cosine = leastCosine(vectors, reference)
				continue
			}
			row.Rounds = append(row.Rounds, speed)
			if done++; b.conf.Progress != nil {
				b.conf.Progress(done)
			}
		}
	}
	best, fastest := -1, 0
	for i := range f.Rows {
		if f.Rows[i].Error != "" {
			continue
		}
		f.Rows[i].Speed = median(f.Rows[i].Rounds)
		switch {
		case f.Rows[i].Ours && f.Rows[i].Speed > f.Rows[fastest].Speed:
			fastest = i
		case !f.Rows[i].Ours && (best < 0 || f.Rows[i].Speed > f.Rows[best].Speed):
			best = i
		}
	}
	if best >= 0 {
		ratios := make([]float64, b.conf.Rounds)
		for i := range ratios {
			ratios[i] = f.Rows[fastest].Rounds[i] / f.Rows[best].Rounds[i]
		}
		f.Best, f.Ratio, f.RatioCI = f.Rows[best].Name, median(ratios), medianCI(ratios)
	}
	return nil
}

// run runs one row for a while.
func (b *embedBench) run(ctx context.Context, row *EmbedSpeed) (speed float64, vectors [][]float32, err error) {
	if !row.Ours {
		var pixels []byte
		for _, i := range b.images {
			pixels = append(pixels, i.Pixels...)
		}
		var a embedAnswer
		err := b.peer.exchange(map[string]any{"run": row.Name, "images": base64.StdEncoding.EncodeToString(pixels),
			"batch": b.conf.Batch, "seconds": b.conf.Seconds}, &a)
		row.Error = a.Error
		return a.Speed, a.Vectors, err
	}
	studies := make([]embedder.StudyInput, len(b.images))
	for i, img := range b.images {
		studies[i] = embedder.StudyInput{Images: []embedder.Image{img}}
	}
	start, images := time.Now(), 0
	for images == 0 || time.Since(start).Seconds() < b.conf.Seconds {
		out, err := b.ours[row.Name].EncodeStudies(ctx, studies)
		if err != nil {
			return 0, nil, err
		}
		vectors = vectors[:0]
		for _, v := range out {
			vectors = append(vectors, v.Image)
		}
		images += len(out)
	}
	return float64(images) / time.Since(start).Seconds(), vectors, nil
}

// latency times films that somebody asks about, idle and while another goroutine has more to
// encode than fits.
func (b *embedBench) latency(ctx context.Context) (*EmbedLatency, error) {
	e := b.ours["fp32"]
	measure := func() (at [2]float64, err error) {
		took := make([]float64, b.conf.Queries)
		for i := range took {
			start := time.Now()
			if _, err := e.EncodeFilm(ctx, b.images[i%len(b.images)]); err != nil {
				return at, err
			}
			took[i] = float64(time.Since(start).Microseconds()) / 1000
		}
		slices.Sort(took)
		return [2]float64{took[len(took)/2], took[len(took)*99/100]}, nil
	}
	var l EmbedLatency
	var err error
	if l.Idle, err = measure(); err != nil {
		return nil, err
	}
	load, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for load.Err() == nil {
			_, _ = e.EncodeImages(load, slices.Repeat(b.images, 4)) // ends with load, or is tried again
		}
	}()
	l.Loaded, err = measure()
	stop()
	<-ended
	return &l, err
}

// noise makes n films without padding: speed does not depend on what is on them.
func noise(n int) []embedder.Image {
	rng := rand.New(rand.NewPCG(1, 0))
	out := make([]embedder.Image, n)
	for i := range out {
		pixels := make([]byte, 224*224)
		for j := range pixels {
			pixels[j] = byte(rng.IntN(256))
		}
		out[i] = embedder.Image{Pixels: pixels, Exposed: image.Rect(0, 0, 224, 224)}
	}
	return out
}

// leastCosine compares unit vectors pair by pair.
func leastCosine(a, b [][]float32) float64 {
	least := 1.0
	for i := range a {
		sum := 0.0
		for j := range a[i] {
			sum += float64(a[i][j]) * float64(b[i][j])
		}
		least = min(least, sum)
	}
	return least
}
