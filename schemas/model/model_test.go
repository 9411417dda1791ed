package model_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

var update = flag.Bool("update", false, "rewrite the goldens in testdata")

func TestRefRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-z][a-z0-9-]{0,39}@[a-z0-9][a-z0-9.-]{0,39}`).Draw(t, "ref")
		r, err := model.ParseRef(s)
		if err != nil {
			t.Fatal(err)
		}
		if r.String() != s {
			t.Fatalf("%q came back as %q", s, r)
		}
		if strings.ContainsAny(r.Key(), ". *>/@") {
			t.Fatalf("key %q is not one subject token", r.Key())
		}
		if k, err := model.ParseKey(r.Key()); err != nil || k != r {
			t.Fatalf("key %q came back as %v, %v", r.Key(), k, err)
		}
	})
}

func TestRefRefuses(t *testing.T) {
	for _, s := range []string{"", "tiny", "tiny@", "@1", "Tiny@1", "ti_ny@1", "tiny@1@2", "tiny@1*", "tiny@../x", "1tiny@1", strings.Repeat("a", 41) + "@1"} {
		if _, err := model.ParseRef(s); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != model.ReasonRef {
			t.Errorf("ParseRef(%q): %v", s, err)
		}
	}
	for _, s := range []string{"tiny", "tiny_1.0", "tiny@1"} {
		if _, err := model.ParseKey(s); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseKey(%q): %v", s, err)
		}
	}
}

func TestPresets(t *testing.T) {
	type sizes struct{ IW, IL, IH, Patch, Tokens, TW, TL, TH, P int }
	for name, c := range map[string]struct {
		config model.Config
		want   sizes
	}{
		"tiny":  {model.Tiny(), sizes{128, 4, 4, 16, 196, 128, 2, 4, 128}},
		"small": {model.Small(), sizes{384, 12, 6, 14, 257, 384, 6, 12, 256}},
		"base":  {model.Base(), sizes{768, 12, 12, 16, 196, 768, 12, 12, 512}},
	} {
		if err := c.config.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		i, x := c.config.Image, c.config.Text
		got := sizes{i.Width, i.Layers, i.Heads, i.Patch, i.Tokens(), x.Width, x.Layers, x.Heads, c.config.Joint}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
	if model.Tiny().Text.VocabularyWidth == 0 {
		t.Error("tiny has no factorised vocabulary embedding")
	}
}

func TestValidateListsEveryFault(t *testing.T) {
	err := model.Config{}.Validate()
	for _, want := range []string{"image.width", "image.layers", "image.heads", "image.mlp_ratio", "image.epsilon", "image.size", "image.std",
		"text.width", "text.vocabulary", "text.max_length", "joint", "ta_residual"} {
		if err == nil || !strings.Contains(err.Error(), want+" is") {
			t.Errorf("Validate does not mention %s: %v", want, err)
		}
	}
	if fault.ReasonOf(err) != model.ReasonConfig {
		t.Errorf("reason %q", fault.ReasonOf(err))
	}
}

// example returns a manifest over three small files in a new directory.
func example(t *testing.T) (*model.Manifest, string) {
	t.Helper()
	dir := t.TempDir()
	files := []string{model.ImageGraph, model.TextGraph, "vocab.txt"}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := &model.Manifest{
		Ref:           model.Ref{Name: "tiny", Version: "1.0.0"},
		Preprocessing: "1",
		Tokenizer:     model.Tokenizer{Type: "wordpiece", ID: "wordpiece/bert-base-cased/eeaa9875b23b", Vocabulary: "vocab.txt", Cased: true, MaxLength: 128},
		Config:        model.Tiny(), Precision: "fp16", Temperature: 0.07,
		Labels: []model.Label{
			{Name: "pneumothorax", Positive: []string{"There is a pneumothorax."}, Negative: []string{"No pneumothorax."}, Calibration: model.Calibration{A: 0.5, B: -1}},
			{Name: "edema", Positive: []string{"Pulmonary edema."}, Negative: []string{"No edema."}, Calibration: model.Identity()},
		},
		Evaluation:    map[string]json.RawMessage{"table3": json.RawMessage(`{"p_at_5":0.5}`)},
		DataManifests: []string{"phantom-1"},
		Provenance:    model.Provenance{CreatedBy: "radtrain fit", Seed: 7, Steps: 100, CodeVersion: "v0.1.0"},
	}
	if err := m.Write(dir, files...); err != nil {
		t.Fatal(err)
	}
	return m, dir
}

func TestManifestGolden(t *testing.T) {
	m, dir := example(t)
	got, err := os.ReadFile(filepath.Join(dir, model.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/manifest_v1.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("manifest.json (-want +got)\n%s", d)
	}
	back, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	// RawMessage keeps the indentation of the file.
	m.Evaluation, back.Evaluation = nil, nil
	if d := cmp.Diff(m, back); d != "" {
		t.Errorf("read back (-wrote +read)\n%s", d)
	}
}

func TestLoadRefuses(t *testing.T) {
	edit := func(t *testing.T, dir, old, new string) {
		path := filepath.Join(dir, model.ManifestFile)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s := strings.Replace(string(b), old, new, 1)
		if s == string(b) {
			t.Fatalf("%q is not in the manifest", old)
		}
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		kind   fault.Kind
		text   string
	}{
		"changed file": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, model.TextGraph), []byte("text.onnY"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, fault.Corrupt, model.TextGraph},
		"missing file": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "vocab.txt")); err != nil {
				t.Fatal(err)
			}
		}, fault.Corrupt, "vocab.txt"},
		"no manifest": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, model.ManifestFile)); err != nil {
				t.Fatal(err)
			}
		}, fault.NotFound, model.ManifestFile},
		"newer format":   {func(t *testing.T, dir string) { edit(t, dir, `"format": 1`, `"format": 2`) }, fault.Unsupported, "format 2"},
		"not JSON":       {func(t *testing.T, dir string) { edit(t, dir, `"format"`, `format`) }, fault.Invalid, "not JSON"},
		"outside":        {func(t *testing.T, dir string) { edit(t, dir, `"vocab.txt":`, `"../vocab.txt":`) }, fault.Invalid, "not a name inside"},
		"impossible":     {func(t *testing.T, dir string) { edit(t, dir, `"heads": 4`, `"heads": 5`) }, fault.Invalid, "heads"},
		"wrong ref":      {func(t *testing.T, dir string) { edit(t, dir, `tiny@1.0.0`, `tiny`) }, fault.Invalid, "name@version"},
		"zero gradient":  {func(t *testing.T, dir string) { edit(t, dir, `"a": 0.5`, `"a": 0`) }, fault.Invalid, "calibration.a"},
		"no temperature": {func(t *testing.T, dir string) { edit(t, dir, `"temperature": 0.07`, `"temperature": 0`) }, fault.Invalid, "temperature"},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := example(t)
			c.damage(t, dir)
			_, err := model.Load(dir)
			if fault.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v (%v), want %v about %q", err, fault.KindOf(err), c.kind, c.text)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	golden, err := os.ReadFile("testdata/manifest_v1.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(golden), "", "{}", `{"format":1}`, `{"format":1,"files":{"../x":""}}`, `{"format":1,"config":{"image":{"patch":-1,"size":3}}}`} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, model.ManifestFile), b, 0o644); err != nil {
			t.Fatal(err)
		}
		// No such files are there, so every manifest fails in one way or another.
		if _, err := model.Load(dir); fault.KindOf(err) == fault.Internal {
			t.Fatalf("not classified: %v", err)
		}
	})
}
