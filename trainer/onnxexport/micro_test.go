package onnxexport_test

import (
	"flag"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

var update = flag.Bool("update", false, "rewrite the micro model in embedder/testdata")

// TestMicroModel holds the model directory that the tests of other packages load to what
// WriteModel writes now, byte for byte. A difference means that exported models changed.
func TestMicroModel(t *testing.T) {
	vocabulary := []string{tokenizer.Padding, tokenizer.Unknown, tokenizer.Start, tokenizer.End, ".", ",", "-"}
	for r := 'a'; r <= 'z'; r++ {
		vocabulary = append(vocabulary, string(r), "##"+string(r), strings.ToUpper(string(r)))
	}
	k, err := tokenizer.Read("micro", tokenizer.Cased, strings.NewReader(strings.Join(vocabulary, "\n")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	c := model.Tiny()
	c.Image.Width, c.Image.Layers, c.Image.Heads, c.Image.MLPRatio, c.Image.Patch = 8, 1, 2, 2, 28
	c.Text.Width, c.Text.Layers, c.Text.Heads, c.Text.MLPRatio = 8, 1, 2, 2
	c.Text.Vocabulary, c.Text.VocabularyWidth, c.Text.MaxLength = k.Size(), 4, 64
	c.Joint, c.Adapter = 8, 2
	labels, err := zeroshot.DefaultLabels()
	if err != nil {
		t.Fatal(err)
	}
	labels = slices.DeleteFunc(labels, func(l model.Label) bool {
		return l.Name != "effusion" && l.Name != "pneumothorax" && l.Name != "no_finding"
	})
	dir := t.TempDir()
	const golden = "../../embedder/testdata/micro"
	if *update {
		dir = golden
	}
	err = onnxexport.WriteModel(dir, c, onnxexport.Untrained(c, 1), onnxexport.FP16, k, model.Manifest{
		Ref: model.Ref{Name: "micro", Version: "1"}, Preprocessing: "test", Temperature: 0.07, Labels: labels,
		Provenance: model.Provenance{CreatedBy: "trainer/onnxexport TestMicroModel", Seed: 1}, Untrained: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{model.ManifestFile, model.ImageGraph, model.TextGraph, "vocab.txt"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(golden, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s differs from %s (-update rewrites it):\n%s", name, golden, cmp.Diff(string(want[:min(len(want), 2000)]), string(got[:min(len(got), 2000)])))
		}
	}
}

// BenchmarkTiny times the tiny model in the encoder that serves it.
func BenchmarkTiny(b *testing.B) {
	k, err := tokenizer.BERTBaseCased()
	if err != nil {
		b.Fatal(err)
	}
	c, dir := model.Tiny(), b.TempDir()
	err = onnxexport.WriteModel(dir, c, onnxexport.Untrained(c, 1), onnxexport.FP16, k,
		model.Manifest{Ref: model.Ref{Name: "tiny", Version: "0"}, Preprocessing: "test", Temperature: 0.07, Untrained: true})
	if err != nil {
		b.Fatal(err)
	}
	e, err := embedder.Open(b.Context(), dir, runtime, embedder.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	for name, n := range map[string]int{"image": 1, "16 images": 16} {
		var in []embedder.Image
		for _, i := range images(c, n, 1) {
			in = append(in, embedder.Image{Pixels: i.pixels, Exposed: image.Rect(0, 0, c.Image.Size, c.Image.Size)})
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := e.EncodeImages(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
	b.Run("text", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.EncodeText(b.Context(), "Small left pleural effusion with adjacent atelectasis. No pneumothorax."); err != nil {
				b.Fatal(err)
			}
		}
	})
}
