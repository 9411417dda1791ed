package onnxexport_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// runtime is the process's ONNX Runtime, which can be opened once only.
var runtime *ort.Runtime

func TestMain(m *testing.M) {
	r, err := ort.Open("", ort.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	runtime = r
	code := m.Run()
	if err := r.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// small is an architecture with everything that tiny has not: a CLS token, a whole vocabulary
// embedding, another patch, the paper's task residual.
func small() model.Config {
	return model.Config{
		Image: model.ImageConfig{Tower: model.Tower{Width: 24, Layers: 2, Heads: 3, MLPRatio: 2, Epsilon: 1e-6}, Size: 56, Patch: 14, CLS: true, Mean: 0.45, Std: 0.3},
		Text:  model.TextConfig{Tower: model.Tower{Width: 16, Layers: 2, Heads: 2, MLPRatio: 3, Epsilon: 1e-12}, Vocabulary: 50, MaxLength: 12},
		Joint: 10, Adapter: 4, Invertible: true, TAResidual: model.ResidualR,
	}
}

// shaken returns weights in which nothing is zero or one by construction.
func shaken(c model.Config, seed uint64) onnxexport.Weights {
	w := onnxexport.Untrained(c, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, row := range onnxexport.Shapes(c) {
		for i := range w[row.Name].Data {
			w[row.Name].Data[i] += float32(0.1 * rng.NormFloat64())
		}
	}
	return w
}

func TestImageGraphEqualsReference(t *testing.T) {
	plain := small()
	plain.Adapter, plain.Invertible, plain.Image.CLS = 0, false, false
	for name, c := range map[string]struct {
		config  model.Config
		weights onnxexport.Weights
	}{
		"tiny, untrained":     {model.Tiny(), onnxexport.Untrained(model.Tiny(), 1)},
		"tiny, every weight":  {model.Tiny(), shaken(model.Tiny(), 2)},
		"CLS, residual r":     {small(), shaken(small(), 3)},
		"no adapters, no CLS": {plain, shaken(plain, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			in := images(c.config, 2, 5)
			got := runImage(t, c.config, c.weights, onnxexport.FP32, in)
			for i := range in {
				want := reference{c: c.config, w: c.weights}.image(in[i])
				near(t, "m", 1e-4, []float64{got[i].m}, []float64{want.m})
				near(t, "s", 1e-4, []float64{got[i].s}, []float64{want.s})
				near(t, "v/s", 1e-4, scaled(got[i].v, 1/got[i].s), scaled(want.v, 1/want.s))
				for n := range want.tokens {
					if in[i].mask[n] {
						near(t, fmt.Sprint("token ", n), 1e-4, got[i].tokens[n], want.tokens[n])
					}
				}
			}
		})
	}
}

func TestTextGraphEqualsReference(t *testing.T) {
	for name, c := range map[string]struct {
		config  model.Config
		weights onnxexport.Weights
	}{
		"tiny, untrained":              {model.Tiny(), onnxexport.Untrained(model.Tiny(), 1)},
		"tiny, every weight":           {model.Tiny(), shaken(model.Tiny(), 2)},
		"whole vocabulary, residual r": {small(), shaken(small(), 3)},
	} {
		t.Run(name, func(t *testing.T) {
			texts := [][]int32{{1, 7, 3, 9, 2}, {1, 49, 2}, {1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 2}}
			got, hidden := runText(t, c.config, c.weights, onnxexport.FP32, texts)
			for i, ids := range texts {
				want, states := reference{c: c.config, w: c.weights}.text(ids)
				near(t, "text", 1e-4, got[i], want)
				for p := range ids {
					near(t, "hidden", 1e-4, hidden[i][p], states[p])
				}
			}
		})
	}
}

func TestHalfPrecision(t *testing.T) {
	c := model.Tiny()
	w := shaken(c, 6)
	in := images(c, 3, 7)
	full, half := runImage(t, c, w, onnxexport.FP32, in), runImage(t, c, w, onnxexport.FP16, in)
	for i := range in {
		if cos := dot(normalised(full[i].v), normalised(half[i].v)); cos < 0.9995 {
			t.Errorf("image %d: cosine of fp16 to fp32 is %.6f", i, cos)
		}
	}
	texts := [][]int32{{101, 1302, 185, 1513, 102}, {101, 4641, 2060, 102}}
	fullText, _ := runText(t, c, w, onnxexport.FP32, texts)
	halfText, _ := runText(t, c, w, onnxexport.FP16, texts)
	for i := range texts {
		if cos := dot(fullText[i], halfText[i]); cos < 0.9995 {
			t.Errorf("text %d: cosine of fp16 to fp32 is %.6f", i, cos)
		}
	}
	w["image.patch.weight"].Data[3] = 1e5
	if _, err := onnxexport.ImageGraph(c, w, onnxexport.FP16); fault.ReasonOf(err) != onnxexport.ReasonWeights {
		t.Errorf("1e5 as float16: %v", err)
	}
}

func TestPaddingIsInvisible(t *testing.T) {
	c := small()
	w := shaken(c, 8)
	in := images(c, 2, 9)
	in[1] = in[0]
	in[1].pixels = bytes.Clone(in[0].pixels)
	side, changed := c.Image.Size/c.Image.Patch, 0
	for y := range c.Image.Size {
		for x := range c.Image.Size {
			if !in[0].mask[y/c.Image.Patch*side+x/c.Image.Patch] {
				in[1].pixels[y*c.Image.Size+x] ^= 0xff
				changed++
			}
		}
	}
	// One run each: the place in a batch may change the last bit of a product.
	run := func() []imageOutput {
		return append(runImage(t, c, w, onnxexport.FP32, in[:1]), runImage(t, c, w, onnxexport.FP32, in[1:])...)
	}
	out := run()
	if changed == 0 || out[0].m != out[1].m || out[0].s != out[1].s || fmt.Sprint(out[0].v) != fmt.Sprint(out[1].v) {
		t.Errorf("%d pixels of padding changed the output: %v, %v", changed, out[0].v, out[1].v)
	}
	// It is not encoded at all: what is not a number would be seen behind any mask.
	position := w["image.position"]
	sound := slices.Clone(position.Data)
	for n, token := range in[0].mask {
		if !token { // behind the position of CLS
			position.Data[(n+1)*c.Image.Width] = float32(math.NaN())
		}
	}
	if holes := run(); fmt.Sprint(holes[0].v) != fmt.Sprint(out[0].v) {
		t.Errorf("padding is encoded: %v", holes[0].v)
	}
	copy(position.Data, sound)
	in[1].mask = make([]bool, len(in[0].mask))
	for i := range in[1].mask {
		in[1].mask[i] = true
	}
	if out := run(); fmt.Sprint(out[0].v) == fmt.Sprint(out[1].v) {
		t.Error("the same pixels as tokens change nothing: the test sees nothing")
	}
}

func TestBatchEqualsSingles(t *testing.T) {
	c := model.Tiny()
	w := shaken(c, 10)
	in := images(c, 3, 11)
	batch := runImage(t, c, w, onnxexport.FP32, in)
	for i := range in {
		one := runImage(t, c, w, onnxexport.FP32, in[i:i+1])
		near(t, "v", 1e-5, batch[i].v, one[0].v)
		near(t, "m, s", 1e-5, []float64{batch[i].m, batch[i].s}, []float64{one[0].m, one[0].s})
	}
}

func TestAdapters(t *testing.T) {
	with := model.Tiny()
	without := with
	without.Adapter, without.Invertible = 0, false
	w := onnxexport.Untrained(with, 12)
	base := make(onnxexport.Weights)
	for _, row := range onnxexport.Shapes(without) {
		base[row.Name] = w[row.Name]
	}
	in := images(with, 1, 13)
	texts := [][]int32{{101, 7, 8, 102}}
	plain := runImage(t, without, base, onnxexport.FP32, in)[0].v
	near(t, "fresh adapters, image", 1e-6, runImage(t, with, w, onnxexport.FP32, in)[0].v, plain)
	plainText, _ := runText(t, without, base, onnxexport.FP32, texts)
	freshText, _ := runText(t, with, w, onnxexport.FP32, texts)
	near(t, "fresh adapters, text", 1e-6, freshText[0], plainText[0])

	for _, group := range []onnxexport.Group{onnxexport.Invertible, onnxexport.Language, onnxexport.Task} {
		trained := onnxexport.Untrained(with, 12)
		for _, row := range onnxexport.Shapes(with) {
			if row.Group == group && strings.HasSuffix(row.Name, ".up") {
				row.Init.Std = 0.3
				trained[row.Name] = row.New(14)
			}
		}
		got := runImage(t, with, trained, onnxexport.FP32, in)[0].v
		near(t, string(group), 1e-4, got, reference{c: with, w: trained}.image(in[0]).v)
		if dot(normalised(got), normalised(plain)) > 0.9999 {
			t.Errorf("%s adapters change nothing in the image", group)
		}
		text, _ := runText(t, with, trained, onnxexport.FP32, texts)
		if dot(text[0], plainText[0]) > 0.9999 {
			t.Errorf("%s adapters change nothing in the text", group)
		}
	}
}

func TestUntrainedIsReproducible(t *testing.T) {
	c := model.Tiny()
	file := func(seed uint64) []byte {
		b, err := onnxexport.ImageGraph(c, onnxexport.Untrained(c, seed), onnxexport.FP16)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(file(1), file(1)) {
		t.Error("the same seed gives other bytes")
	}
	if bytes.Equal(file(1), file(2)) {
		t.Error("another seed gives the same bytes")
	}
}

func TestUntrainedSpreadsFilms(t *testing.T) {
	dir := realdata.Path(t, "nih14/images")
	if dir == "" {
		return
	}
	films, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil || len(films) < 30 {
		t.Fatalf("%d films, %v", len(films), err)
	}
	c := model.Tiny()
	w := onnxexport.Untrained(c, 1)
	var in []imageInput
	for _, f := range films[:30] {
		in = append(in, film(t, f, c))
	}
	vectors := make([][]float64, 0, len(in))
	for _, o := range runImage(t, c, w, onnxexport.FP16, in) {
		vectors = append(vectors, normalised(o.v))
	}
	var sum, highest float64
	pairs := 0
	for i := range vectors {
		for j := range i {
			cos := dot(vectors[i], vectors[j])
			sum, highest, pairs = sum+cos, max(highest, cos), pairs+1
		}
	}
	t.Logf("off-diagonal cosine of %d films: mean %.4f, highest %.4f", len(in), sum/float64(pairs), highest)
	if sum/float64(pairs) > 0.95 || highest > 0.9999 {
		t.Errorf("untrained vectors lie together: mean cosine %.4f, highest %.6f", sum/float64(pairs), highest)
	}
}

func TestWriteModel(t *testing.T) {
	k, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	c := model.Tiny()
	w := onnxexport.Untrained(c, 1)
	manifest := model.Manifest{
		Ref: model.Ref{Name: "tiny", Version: "0.0.1"}, Preprocessing: "1", Temperature: 0.07,
		Provenance: model.Provenance{CreatedBy: "test", Seed: 1}, Untrained: true,
	}
	var size int64
	var first map[string]string
	for range 2 {
		dir := t.TempDir()
		if err := onnxexport.WriteModel(dir, c, w, onnxexport.FP16, k, manifest); err != nil {
			t.Fatal(err)
		}
		m, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !m.Untrained || m.Config != c || m.Tokenizer.ID != k.ID() || m.Precision != "fp16" {
			t.Errorf("manifest %+v", m)
		}
		if first != nil && fmt.Sprint(first) != fmt.Sprint(m.Files) {
			t.Errorf("written twice: %v and %v", first, m.Files)
		}
		first, size = m.Files, 0
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			i, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			size += i.Size()
		}
	}
	t.Logf("tiny in fp16: %d bytes", size)
	if size >= 6e6 {
		t.Errorf("tiny in fp16 has %d bytes, want under 6 MB", size)
	}
	if err := onnxexport.WriteModel(t.TempDir(), small(), shaken(small(), 1), onnxexport.FP16, k, manifest); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a tokenizer of another size: %v", err)
	}
}

// TestReadModel: what was written comes back: exactly of fp32, rounded once of fp16 and half.
func TestReadModel(t *testing.T) {
	k, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	tiny := model.Tiny()
	other := small()
	other.Text.Vocabulary = k.Size()
	for name, c := range map[string]model.Config{"tiny": tiny, "small": other} {
		for _, p := range []onnxexport.Precision{onnxexport.FP32, onnxexport.FP16, onnxexport.HALF} {
			t.Run(name+" "+string(p), func(t *testing.T) {
				w := shaken(c, 3)
				dir, again := t.TempDir(), t.TempDir()
				m := model.Manifest{Ref: model.Ref{Name: "m", Version: "1"}, Preprocessing: "1", Temperature: 0.1}
				if err := onnxexport.WriteModel(dir, c, w, p, k, m); err != nil {
					t.Fatal(err)
				}
				have, read, err := onnxexport.ReadModel(dir)
				if err != nil {
					t.Fatal(err)
				}
				if have.Ref != m.Ref {
					t.Errorf("the manifest of %s", have.Ref)
				}
				if p == onnxexport.FP32 && !cmp.Equal(w, read) {
					t.Error("the weights are others than those that were written")
				}
				if err := onnxexport.WriteModel(again, c, read, p, k, m); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{model.ImageGraph, model.TextGraph, model.ManifestFile} {
					a, errA := os.ReadFile(filepath.Join(dir, name))
					b, errB := os.ReadFile(filepath.Join(again, name))
					if errA != nil || errB != nil || !bytes.Equal(a, b) {
						t.Errorf("%s is another when written again: %v %v", name, errA, errB)
					}
				}
			})
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, damage := range map[string]func(onnxexport.Weights){
		"missing":  func(w onnxexport.Weights) { delete(w, "image.cls") },
		"too many": func(w onnxexport.Weights) { w["extra"] = onnxexport.Tensor{} },
		"shape": func(w onnxexport.Weights) {
			w["image.cls"] = onnxexport.Tensor{Shape: []int{3}, Data: make([]float32, 3)}
		},
		"numbers": func(w onnxexport.Weights) {
			w["image.cls"] = onnxexport.Tensor{Shape: []int{24}, Data: make([]float32, 3)}
		},
	} {
		w := onnxexport.Untrained(small(), 1)
		damage(w)
		if err := w.Check(small()); fault.ReasonOf(err) != onnxexport.ReasonWeights {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := small()
	c.Joint = 0
	if _, err := onnxexport.TextGraph(c, onnxexport.Untrained(small(), 1), onnxexport.FP32); fault.ReasonOf(err) != model.ReasonConfig {
		t.Errorf("a bad configuration: %v", err)
	}
}
