//go:build torch

package torch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TestLocalSimilarityIsTheLosss holds what an evaluation computes of an exported model to the matrix
// of the local loss: the cosine of each sentence with the region that it attends to in each
// study, of studies with laterals, priors and padding.
func TestLocalSimilarityIsTheLosss(t *testing.T) {
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]model.Config{"micro": micro(), "other": other()} {
		t.Run(name, func(t *testing.T) {
			w := shaken(c, 7)
			b := toy(c, 9, false, true, rand.New(rand.NewPCG(5, 5)))
			want := regionsOf(t, open(t, c, w, Options{Objective: "gloria"}), b)

			words := []string{tokenizer.Padding, tokenizer.Unknown, tokenizer.Start, tokenizer.End}
			for len(words) < c.Text.Vocabulary {
				words = append(words, fmt.Sprint("w", len(words)))
			}
			k, err := tokenizer.Read("toy", tokenizer.Cased, strings.NewReader(strings.Join(words, "\n")+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			err = onnxexport.WriteModel(dir, c, w, onnxexport.FP32, k, model.Manifest{Ref: model.Ref{Name: "toy", Version: "1"}, Preprocessing: "test", Temperature: 0.07, Untrained: true})
			if err != nil {
				t.Fatal(err)
			}
			e, err := embedder.Open(t.Context(), dir, runtime, embedder.Options{Local: true})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			studies := make([]*trainer.Study, len(b.Texts))
			for i, text := range b.Texts {
				studies[i] = &trainer.Study{Report: trainer.Report{Tokens: text.Tokens}}
				for _, s := range text.Sentences {
					studies[i].Report.Sentences = append(studies[i].Report.Sentences, text.Tokens[s.Start:s.End])
				}
			}
			area := c.Image.Size * c.Image.Size
			for i, img := range b.Images {
				s := studies[img.Study]
				s.Images = append(s.Images, embedder.Image{Pixels: b.Pixels[i*area : (i+1)*area], Exposed: img.Exposed, View: img.View, Prior: img.Prior, Days: img.Days})
			}
			encoded, err := eval.EncodeScored(t.Context(), e, nil, studies)
			if err != nil {
				t.Fatal(err)
			}
			sentence := 0
			for _, text := range encoded {
				for _, u := range text.Sentences {
					for i, study := range encoded {
						got := eval.LocalSimilarity(study.Patches, [][]float32{u})
						if d := math.Abs(got - want[i][sentence]); !(d < 1e-4) {
							t.Errorf("study %d, sentence %d: %g, want %g", i, sentence, got, want[i][sentence])
						}
					}
					sentence++
				}
			}
			if sentence != len(want[0]) || sentence <= len(studies) {
				t.Errorf("%d sentences, want %d", sentence, len(want[0]))
			}
		})
	}
}

// regionsOf returns the matrix that the local terms are made of: one row a study, one column a
// sentence.
func regionsOf(t *testing.T, tr *Trainer, b trainer.Batch) (out [][]float64) {
	t.Helper()
	l, err := arrange(b, tr.config)
	if err != nil {
		t.Fatal(err)
	}
	err = tr.call(func() error {
		a := tr.ledger.arena(tr.lasting.kind)
		defer a.free()
		n := &network{arena: a, config: tr.config, weights: tr.weights}
		_, tokens := n.images(l)
		_, sentences := n.texts(l)
		columns := len(l.owner)
		numbers := a.numbers(a.regions(l, tokens, sentences), l.studies*columns)
		for i := range l.studies {
			out = append(out, numbers[i*columns:(i+1)*columns])
		}
		return a.err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
