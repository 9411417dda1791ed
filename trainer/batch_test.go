package trainer_test

import (
	"image"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
)

// dataset returns n small studies in memory, all to train on.
func dataset(t testing.TB, n int, edit func(*phantom.Config)) *trainer.Dataset {
	t.Helper()
	bodies, _ := phantoms(t, n, edit)
	part := trainer.Part{Manifest: freeze(t, bodies, 0), Source: archive(t, filepath.Join(t.TempDir(), "a.pb"), bodies)}
	d, err := trainer.Load(t.Context(), []trainer.Part{part}, words(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// small is a run over few studies.
func small() trainer.Config {
	c := trainer.DefaultConfig()
	c.Batch, c.Steps, c.UnmaskedSteps, c.HoldText, c.Warmup, c.ValidateEvery = 4, 12, 4, 3, 2, 5
	return c
}

func TestBatchesAreReproducible(t *testing.T) {
	d := dataset(t, 10, nil)
	c := small()
	a, b := trainer.NewBatcher(c, model.Tiny(), d), trainer.NewBatcher(c, model.Tiny(), d)
	for _, step := range []int{7, 0, 11} { // in any order
		if d := cmp.Diff(a.Batch(step), b.Batch(step)); d != "" {
			t.Fatalf("batch %d differs from itself:\n%.500s", step, d)
		}
	}
	if cmp.Equal(a.Batch(0).Pixels, a.Batch(1).Pixels) {
		t.Error("two steps have the same pixels")
	}
	c.Seed++
	if cmp.Equal(a.Batch(0), trainer.NewBatcher(c, model.Tiny(), d).Batch(0)) {
		t.Error("another seed has the same batch")
	}
}

func TestBatchKeepsItsPromises(t *testing.T) {
	d := dataset(t, 10, func(c *phantom.Config) { c.PriorShare = 1 })
	c := small()
	c.PriorUse = 1
	m := model.Tiny().Image
	b := trainer.NewBatcher(c, model.Tiny(), d)
	priors := 0
	for step := range c.Steps {
		batch := b.Batch(step)
		if len(batch.Texts) != c.Batch || len(batch.Pixels) != len(batch.Images)*m.Size*m.Size {
			t.Fatalf("step %d: %d texts, %d pixels of %d images", step, len(batch.Texts), len(batch.Pixels), len(batch.Images))
		}
		seen := make([]bool, c.Batch)
		for i, e := range batch.Images {
			if i > 0 && e.Study < batch.Images[i-1].Study {
				t.Errorf("step %d: images are out of order", step)
			}
			seen[e.Study] = seen[e.Study] || !e.Prior
			if e.Prior {
				if priors++; e.Days < 1 {
					t.Errorf("step %d: a prior is %g days old", step, e.Days)
				}
			}
			checkImage(t, batch, i, m)
			masked := step < c.Steps-c.UnmaskedSteps
			if masked != (e.Keep != nil) {
				t.Errorf("step %d: masked %t, but %d patches are kept", step, masked, len(e.Keep))
			}
			if masked && len(e.Keep) != 49 {
				t.Errorf("step %d: %d patches are kept, want 49", step, len(e.Keep))
			}
		}
		if slices.Contains(seen, false) {
			t.Errorf("step %d: a study has no image of its own", step)
		}
		for i, text := range batch.Texts {
			end := 1
			for _, s := range text.Sentences {
				if s.Start != end || s.End <= s.Start {
					t.Errorf("step %d, text %d: sentences are not side by side: %+v", step, i, text.Sentences)
				}
				end = s.End
			}
			if end != len(text.Tokens)-1 || text.Tokens[0] != 101 || text.Tokens[end] != 102 {
				t.Errorf("step %d, text %d: it is not [CLS], sentences, [SEP]", step, i)
			}
		}
	}
	if priors == 0 {
		t.Error("no batch has a prior")
	}
	c.FrontalOnly = true
	b = trainer.NewBatcher(c, model.Tiny(), d)
	priors = 0
	for step := range c.Steps {
		for _, e := range b.Batch(step).Images {
			if e.View != embedder.Frontal {
				t.Errorf("step %d: a view that was to be left out", step)
			}
			if e.Prior {
				priors++
			}
		}
	}
	if priors == 0 {
		t.Error("no batch has a frontal view of a prior")
	}
}

// checkImage holds the kept patches ascending and exposed, and what is not exposed black.
func checkImage(t *testing.T, b trainer.Batch, i int, m model.ImageConfig) {
	t.Helper()
	e, side := b.Images[i], m.Size/m.Patch
	for n, p := range e.Keep {
		x, y := int(p)%side*m.Patch, int(p)/side*m.Patch
		if n > 0 && p <= e.Keep[n-1] || !e.Exposed.Overlaps(image.Rect(x, y, x+m.Patch, y+m.Patch)) {
			t.Fatalf("image %d keeps patch %d, out of order or not exposed", i, p)
		}
	}
	for p, v := range b.Pixels[i*m.Size*m.Size:][:m.Size*m.Size] {
		if v != 0 && !image.Pt(p%m.Size, p/m.Size).In(e.Exposed) {
			t.Fatalf("image %d is not black outside the exposed box", i)
		}
	}
}

func TestEveryStudyOnceAnEpoch(t *testing.T) {
	d := dataset(t, 12, func(c *phantom.Config) { c.PriorShare = 0 })
	c := small()
	c.ImpressionShare, c.SentenceShare = 0, 0
	c.Shift, c.Intensity, c.Noise, c.ViewDrop = 0, 0, 0, 0
	b := trainer.NewBatcher(c, model.Tiny(), d)
	want := map[string]int{}
	for _, s := range d.Train {
		want[string(s.Images[0].Pixels)] = 2
	}
	for step := range 6 { // two epochs
		batch, last := b.Batch(step), -1
		for i, e := range batch.Images {
			if e.Study != last {
				last = e.Study
				want[string(batch.Pixels[i*224*224:][:224*224])]--
			}
		}
	}
	for _, left := range want {
		if left != 0 {
			t.Fatalf("a study was seen %d times in two epochs", 2-left)
		}
	}
}

// TestStudiesOfAPatientComeTogether: six patients with four variants each, four studies a batch.
func TestStudiesOfAPatientComeTogether(t *testing.T) {
	d := dataset(t, 24, func(c *phantom.Config) { c.PriorShare, c.Variants = 0, 4 })
	patient := map[string]string{}
	for _, s := range d.Train {
		patient[string(s.Images[0].Pixels)] = s.Patient
	}
	c := small()
	c.Shift, c.Intensity, c.Noise, c.ViewDrop = 0, 0, 0, 0
	b := trainer.NewBatcher(c, model.Tiny(), d)
	var order []string
	for step := range 6 {
		batch, of, last := b.Batch(step), map[string]bool{}, -1
		for i, e := range batch.Images {
			if e.Study != last {
				last = e.Study
				of[patient[string(batch.Pixels[i*224*224:][:224*224])]] = true
			}
		}
		if len(of) != 1 {
			t.Errorf("batch %d has %d patients", step, len(of))
		}
		for p := range of {
			order = append(order, p)
		}
	}
	if slices.Sort(order); len(slices.Compact(order)) != 6 {
		t.Error("an epoch does not have every patient once")
	}
}

func TestEqualSentencesShareAGroup(t *testing.T) {
	d := dataset(t, 16, nil)
	c := small()
	c.Batch, c.ImpressionShare, c.SentenceShare = 16, 0, 0
	batch := trainer.NewBatcher(c, model.Tiny(), d).Batch(0)
	byText, shared := map[string]int{}, 0
	for _, text := range batch.Texts {
		for _, s := range text.Sentences {
			key := ""
			for _, id := range text.Tokens[s.Start:s.End] {
				key += string(rune(id))
			}
			if g, known := byText[key]; known {
				if shared++; g != s.Group {
					t.Error("equal sentences have different groups")
				}
			}
			byText[key] = s.Group
		}
	}
	if shared == 0 {
		t.Error("no sentence occurs twice: the test shows nothing")
	}
}

func TestSentenceAndImpressionShares(t *testing.T) {
	d := dataset(t, 8, nil)
	c := small()
	c.Batch = 8
	count := func() (sentences, tokens int) {
		for _, text := range trainer.NewBatcher(c, model.Tiny(), d).Batch(3).Texts {
			sentences += len(text.Sentences)
			tokens += len(text.Tokens)
		}
		return sentences, tokens
	}
	c.ImpressionShare, c.SentenceShare = 0, 1
	if n, _ := count(); n != 8 {
		t.Errorf("single sentences: %d of 8 studies", n)
	}
	c.ImpressionShare, c.SentenceShare = 1, 0
	_, impression := count()
	c.ImpressionShare = 0
	if _, whole := count(); impression*2 > whole {
		t.Errorf("impressions have %d tokens, whole reports %d", impression, whole)
	}
}
