package embedder_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// micro is a model of 8 numbers with random weights; trainer/onnxexport TestMicroModel makes it.
const micro = "testdata/micro"

// runtime is the process's ONNX Runtime, which can be opened once only.
var runtime *ort.Runtime

func TestMain(m *testing.M) {
	flag.Parse()
	r, err := ort.Open("", ort.Options{IntraThreads: 1})
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

func open(t testing.TB, o embedder.Options) *embedder.Encoder {
	t.Helper()
	return openModel(t, micro, o)
}

func openModel(t testing.TB, dir string, o embedder.Options) *embedder.Encoder {
	t.Helper()
	e, err := embedder.Open(t.Context(), dir, runtime, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// film makes an image of coarse blocks that differ with seed.
func film(seed uint64, view embedder.View) embedder.Image {
	rng := rand.New(rand.NewPCG(seed, 0))
	pixels := make([]byte, 224*224)
	for y := 0; y < 224; y += 14 {
		for x := 0; x < 224; x += 14 {
			v := byte(rng.IntN(256))
			for i := range 14 * 14 {
				pixels[(y+i/14)*224+x+i%14] = v
			}
		}
	}
	return embedder.Image{Pixels: pixels, Exposed: image.Rect(0, 0, 224, 224), View: view}
}

var approximately = cmpopts.EquateApprox(0, 1e-5)

func TestStudiesEqualSingles(t *testing.T) {
	e := open(t, embedder.Options{MaxBatch: 3})
	frontal, lateral, prior := film(1, embedder.Frontal), film(2, embedder.Lateral), film(3, embedder.Frontal)
	prior.Prior, prior.Days = true, 90
	tokens := e.Tokenizer().Encode("Small effusion.")
	studies := []embedder.StudyInput{
		{Images: []embedder.Image{frontal, lateral, prior}, Tokens: tokens},
		{},
		{Images: []embedder.Image{lateral}},
		{Tokens: e.Tokenizer().Encode("No effusion, no nodule, no fracture.")},
		{Images: []embedder.Image{prior}},
		{Images: []embedder.Image{frontal, film(4, embedder.Frontal)}, Tokens: tokens},
	}
	all, err := e.EncodeStudies(t.Context(), studies)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range studies {
		one, err := e.EncodeStudies(t.Context(), []embedder.StudyInput{s})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(one[0], all[i], approximately); d != "" {
			t.Errorf("study %d alone and among others (-alone +among)\n%s", i, d)
		}
	}
	type present struct{ Image, Frontal, Lateral, Prior, Text bool }
	want := []present{{true, true, true, true, true}, {}, {Image: true, Lateral: true}, {Text: true}, {Prior: true}, {Image: true, Frontal: true, Text: true}}
	for i, v := range all {
		got := present{v.Image != nil, v.Frontal != nil, v.Lateral != nil, v.Prior != nil, v.Text != nil}
		if d := cmp.Diff(want[i], got); d != "" {
			t.Errorf("study %d: vectors that are there (-want +got)\n%s", i, d)
		}
		for _, x := range []embedder.Vector{v.Image, v.Frontal, v.Lateral, v.Prior, v.Text} {
			if x != nil && math.Abs(norm(x)-1) > 1e-5 {
				t.Errorf("study %d: a vector has length %g", i, norm(x))
			}
		}
	}
	if d := cmp.Diff(all[2].Image, all[2].Lateral); d != "" {
		t.Errorf("a study of one lateral view: %s", d)
	}
	// The prior leaves no trace in the current vectors.
	without, err := e.EncodeStudies(t.Context(), []embedder.StudyInput{{Images: []embedder.Image{frontal, lateral}}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(without[0].Image, all[0].Image, approximately); d != "" {
		t.Errorf("without and with a prior:\n%s", d)
	}
	if cmp.Equal(all[0].Image, all[0].Frontal, approximately) {
		t.Error("the lateral view changes nothing")
	}
}

// TestShippedModelUnderLoad: whatever else runs with a request of the model that ships, in
// whatever batch, its vector is the one that it has alone.
func TestShippedModelUnderLoad(t *testing.T) {
	e := openModel(t, "../services/app/tiny", embedder.Options{})
	films, texts := make([]embedder.Image, 7), []string{"Effusion.", "No acute disease.", "Stable small nodule in the left upper lobe, no change since the last examination, which was a year ago."}
	alone, said := make([]embedder.Vector, len(films)), make([]embedder.Vector, len(texts))
	var err error
	for i := range films {
		films[i] = film(uint64(i), embedder.View(i%2))
		if alone[i], err = e.EncodeFilm(t.Context(), films[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range texts {
		if said[i], err = e.EncodeText(t.Context(), texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	for g := range 3 {
		wait.Go(func() {
			for i := range 6 {
				var studies []embedder.StudyInput
				for j := range 1 + (g+i)%4 {
					n := g + i + j
					studies = append(studies, embedder.StudyInput{Images: []embedder.Image{films[n%len(films)]}, Tokens: e.Tokenizer().Encode(texts[n%len(texts)])})
				}
				got, err := e.EncodeStudies(t.Context(), studies)
				if err != nil {
					t.Error(err)
					return
				}
				for j, v := range got {
					n := g + i + j
					want := embedder.StudyVectors{Image: alone[n%len(films)], Text: said[n%len(texts)]}
					if d := cmp.Diff(want, v, approximately, cmpopts.IgnoreFields(v, "Frontal", "Lateral")); d != "" {
						t.Errorf("among others (-alone +among)\n%s", d)
					}
				}
				v, err := e.EncodeFilm(t.Context(), films[(g+i)%len(films)])
				if d := cmp.Diff(alone[(g+i)%len(films)], v, approximately); err != nil || d != "" {
					t.Errorf("a query among bulk work: %v\n%s", err, d)
				}
			}
		})
	}
	wait.Wait()
}

func TestWhatAnImageDependsOn(t *testing.T) {
	e := open(t, embedder.Options{})
	encode := func(i embedder.Image) embedder.Piece {
		p, err := e.EncodeImages(t.Context(), []embedder.Image{i})
		if err != nil {
			t.Fatal(err)
		}
		return p[0]
	}
	base := film(5, embedder.Frontal)
	base.Exposed = image.Rect(0, 0, 170, 224) // 170 lies inside a patch of 28: columns from 196 are padding
	first := encode(base)

	changed := base
	changed.Pixels = append([]byte(nil), base.Pixels...)
	for y := range 224 {
		for x := 196; x < 224; x++ {
			changed.Pixels[y*224+x] ^= 0x55
		}
	}
	if d := cmp.Diff(first, encode(changed)); d != "" {
		t.Errorf("padding shows:\n%s", d)
	}
	for name, change := range map[string]func(*embedder.Image){
		"pixels":  func(i *embedder.Image) { i.Pixels = film(6, embedder.Frontal).Pixels },
		"exposed": func(i *embedder.Image) { i.Exposed = image.Rect(0, 0, 224, 224) },
		"view":    func(i *embedder.Image) { i.View = embedder.Lateral },
		"prior":   func(i *embedder.Image) { i.Prior = true },
	} {
		c := base
		change(&c)
		if cmp.Equal(first, encode(c)) {
			t.Errorf("%s changes nothing", name)
		}
	}
	prior := base
	prior.Prior = true
	later := prior
	later.Days = 400
	if cmp.Equal(encode(prior), encode(later)) {
		t.Error("the age of a prior changes nothing")
	}
	later.Prior = false
	if !cmp.Equal(first, encode(later)) {
		t.Error("a current image has an age")
	}
}

func TestTextsAnyOrderAnyPadding(t *testing.T) {
	e := open(t, embedder.Options{MaxBatch: 2})
	texts := []string{"Effusion.", "", "No acute disease of the heart, no effusion and no nodule.", "a", "Stable small nodule.", "Normal."}
	var tokens [][]int32
	for _, s := range texts {
		tokens = append(tokens, e.Tokenizer().Encode(s))
	}
	got, err := e.EncodeTexts(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range texts {
		one, err := e.EncodeText(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(one, got[i], approximately); d != "" {
			t.Errorf("%q alone and in a batch:\n%s", s, d)
		}
		for j := range i {
			if cmp.Equal(got[i], got[j], approximately) {
				t.Errorf("%q and %q are the same", s, texts[j])
			}
		}
	}
	if _, err := e.EncodeText(t.Context(), texts[2]+texts[2]+texts[2]); err != nil {
		t.Errorf("a query longer than the model takes: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	e := open(t, embedder.Options{})
	for name, change := range map[string]func(*embedder.Image){
		"pixels":   func(i *embedder.Image) { i.Pixels = i.Pixels[1:] },
		"no film":  func(i *embedder.Image) { i.Exposed = image.Rectangle{} },
		"outside":  func(i *embedder.Image) { i.Exposed.Max.X = 225 },
		"view":     func(i *embedder.Image) { i.View = 2 },
		"days":     func(i *embedder.Image) { i.Days = -1 },
		"NaN days": func(i *embedder.Image) { i.Days = float32(math.NaN()) },
	} {
		i := film(1, embedder.Frontal)
		change(&i)
		if _, err := e.EncodeImages(t.Context(), []embedder.Image{i}); fault.ReasonOf(err) != embedder.ReasonEncoderInput {
			t.Errorf("%s: %v", name, err)
		}
		if err := e.Check(embedder.StudyInput{Images: []embedder.Image{i}}); fault.ReasonOf(err) != embedder.ReasonEncoderInput {
			t.Errorf("Check, %s: %v", name, err)
		}
	}
	for name, ids := range map[string][]int32{"empty": {}, "too long": make([]int32, 65), "negative": {-1}, "too large": {int32(e.Tokenizer().Size())}} {
		if _, err := e.EncodeTexts(t.Context(), [][]int32{ids}); fault.ReasonOf(err) != embedder.ReasonEncoderInput {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.Check(embedder.StudyInput{Tokens: []int32{-1}}); fault.ReasonOf(err) != embedder.ReasonEncoderInput {
		t.Errorf("Check of tokens: %v", err)
	}
	for _, s := range []embedder.StudyInput{{}, {Images: []embedder.Image{film(1, embedder.Frontal)}, Tokens: []int32{2, 3}}} {
		if err := e.Check(s); err != nil {
			t.Errorf("a good study: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.EncodeText(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	before, _ := runtime.Live()
	if _, err := embedder.Open(t.Context(), t.TempDir(), runtime, embedder.Options{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no model: %v", err)
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string, m *model.Manifest)
		kind   fault.Kind
	}{
		"another vocabulary": {func(t *testing.T, dir string, m *model.Manifest) { m.Tokenizer.ID = "wordpiece/micro/000000000000" }, fault.Invalid},
		"not an id":          {func(t *testing.T, dir string, m *model.Manifest) { m.Tokenizer.ID = "micro" }, fault.Invalid},
		"another width":      {func(t *testing.T, dir string, m *model.Manifest) { m.Config.Joint = 9 }, fault.Invalid},
		"no graph": {func(t *testing.T, dir string, m *model.Manifest) {
			if err := os.WriteFile(filepath.Join(dir, model.TextGraph), []byte("text"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, fault.Invalid},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(micro)); err != nil {
			t.Fatal(err)
		}
		m, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.damage(t, dir, m)
		if err := m.Write(dir, model.ImageGraph, model.TextGraph, "vocab.txt"); err != nil {
			t.Fatal(err)
		}
		if _, err := embedder.Open(t.Context(), dir, runtime, embedder.Options{}); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, _ := runtime.Live(); after != before {
		t.Errorf("%d sessions before, %d after failed loads", before, after)
	}
}

func TestLabels(t *testing.T) {
	e := open(t, embedder.Options{})
	labels, err := e.Labels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	scores, err := zeroshot.Scores(labels[0].Positive, labels, e.Model().Temperature)
	if err != nil {
		t.Fatal(err)
	}
	if len(scores) != 3 || scores[0].Label != "effusion" || scores[0].Value <= 0.5 {
		t.Errorf("the effusion prompts score %v", scores)
	}
	// The ensemble is that of the manifest's prompts, encoded one by one.
	for i, l := range e.Model().Labels {
		var vectors [][]float32
		for _, p := range l.Negative {
			v, err := e.EncodeText(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			vectors = append(vectors, v)
		}
		want, err := zeroshot.Ensemble(vectors)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, labels[i].Negative, approximately); d != "" || labels[i].Name != l.Name {
			t.Errorf("%s: negative prompts\n%s", l.Name, d)
		}
	}
}

// batches is how many batches TestNothingAccumulates runs; make proof asks for 100,000.
var batches = flag.Int("batches", 5000, "batches of TestNothingAccumulates")

// TestNothingAccumulates runs thousands of batches of changing sizes, lengths and lanes from several
// goroutines.
func TestNothingAccumulates(t *testing.T) {
	e := open(t, embedder.Options{MaxBatch: 4})
	films := []embedder.Image{film(1, embedder.Frontal), film(2, embedder.Lateral), film(3, embedder.Frontal), film(4, embedder.Lateral), film(5, embedder.Frontal)}
	round := func(runs int) {
		var wait sync.WaitGroup
		for g := range 4 {
			wait.Go(func() {
				for i := range runs / 4 {
					var err error
					switch text := "No acute disease of the heart and lungs."[:1+(i*7+g)%40]; i % 4 {
					case 0:
						_, err = e.EncodeImages(t.Context(), films[:1+(i+g)%len(films)])
					case 1:
						_, err = e.EncodeText(t.Context(), text)
					case 2:
						_, err = e.EncodeFilm(t.Context(), films[i%len(films)])
					default:
						_, err = e.EncodeTexts(t.Context(), slices.Repeat([][]int32{e.Tokenizer().Encode(text)}, 1+i%5))
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wait.Wait()
		goruntime.GC()
	}
	round(400) // every shape has been seen, every arena has its size
	before := resident(t)
	round(*batches)
	sessions, tensors := runtime.Live()
	if sessions != 2 || tensors != 0 {
		t.Errorf("%d sessions and %d tensors are alive, want 2 and 0", sessions, tensors)
	}
	grown := resident(t) - before
	t.Logf("resident memory grew by %d KiB in %d batches", grown/1024, *batches)
	// Leaking only the smallest input of a run of images, 50 KB of pixels, would be 120 MB.
	if grown > 24<<20 {
		t.Errorf("resident memory grew by %d KiB in %d batches", grown/1024, *batches)
	}
}

// resident returns the bytes of the process that are in memory (Linux).
func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func norm(v embedder.Vector) float64 {
	square := 0.0
	for _, x := range v {
		square += float64(x) * float64(x)
	}
	return math.Sqrt(square)
}

// TestLocal: an encoder that is asked for them has a local vector of each patch of the current
// views that is no padding, the same whatever else is in the batch, and one of each token.
func TestLocal(t *testing.T) {
	e := open(t, embedder.Options{MaxBatch: 4, Local: true})
	narrow, whole, prior := film(1, embedder.Frontal), film(2, embedder.Lateral), film(3, embedder.Frontal)
	narrow.Exposed = image.Rect(57, 0, 170, 224) // of the 8 columns of patches, 28 wide, the third to the seventh
	prior.Prior = true
	tokens := e.Tokenizer().Encode("Small effusion.")
	got, err := e.EncodeStudies(t.Context(), []embedder.StudyInput{{Images: []embedder.Image{narrow, whole, prior}, Tokens: tokens}, {Images: []embedder.Image{whole}}})
	if err != nil {
		t.Fatal(err)
	}
	if n, m := len(got[0].Patches), len(got[1].Patches); n != 5*8+64 || m != 64 {
		t.Fatalf("%d and %d patches", n, m)
	}
	for _, x := range got[0].Patches {
		if math.Abs(norm(x)-1) > 1e-5 {
			t.Errorf("a patch has length %g", norm(x))
		}
	}
	alone, err := e.EncodeStudies(t.Context(), []embedder.StudyInput{{Images: []embedder.Image{narrow}}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(alone[0].Patches, got[0].Patches[:40], approximately); d != "" {
		t.Errorf("alone and beside another view (-alone +beside)\n%s", d)
	}
	if d := cmp.Diff(got[1].Patches, got[0].Patches[40:], approximately); d != "" {
		t.Errorf("of one study and of another\n%s", d)
	}
	if len(got[0].Tokens) != len(tokens) || len(got[0].Tokens[0]) != e.Width() || got[1].Tokens != nil {
		t.Errorf("%d vectors of %d tokens", len(got[0].Tokens), len(tokens))
	}
	plain, err := open(t, embedder.Options{}).EncodeStudies(t.Context(), []embedder.StudyInput{{Images: []embedder.Image{whole}, Tokens: tokens}})
	if err != nil || plain[0].Patches != nil || plain[0].Tokens != nil {
		t.Errorf("not asked for: %v, %v", plain, err)
	}
	if d := cmp.Diff(plain[0].Text, got[0].Text, approximately); d != "" {
		t.Errorf("the text's vector without and with local ones\n%s", d)
	}
}
