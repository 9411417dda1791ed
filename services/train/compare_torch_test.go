//go:build torch

package train_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
)

// TestCompare trains two variants for a few steps. Stopped on the way, the comparison goes on
// there; once more, it trains nothing; and it refuses runs of other settings.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	c := small(24)
	c.SingleFinding, c.LateralShare, c.PriorShare = true, 1, 0.5
	generate(t, dir, c)
	o := train.CompareOptions{
		Fit: train.FitOptions{
			Preset: "tiny", Ref: model.Ref{Version: "0.0.1"}, Data: []string{filepath.Join(dir, train.ManifestFile)},
			Out: filepath.Join(dir, "runs"), Objective: "clinvla", Mode: "full", Version: "test", Trainer: trainer.DefaultConfig(),
		},
		Variants: []string{"no-adapters", "no-temporal-multi-view", "gloria"}, Seeds: 1, Studies: 32, Training: 32, Side: 128,
	}
	f := &o.Fit.Trainer
	f.Batch, f.Steps, f.UnmaskedSteps, f.HoldText, f.Warmup, f.ValidateEvery = 8, 3, 1, 1, 1, 0
	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	count := train.CompareHooks{Fit: train.FitHooks{Progress: func(trainer.Progress) {
		if steps++; steps == 2 {
			cancel()
		}
	}}}
	if _, err := train.Compare(ctx, o, count); fault.KindOf(err) != fault.Canceled || !strings.Contains(err.Error(), "full-1") {
		t.Fatalf("stopped: %v", err)
	}
	r, err := train.Compare(t.Context(), o, count)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 5 || r.Rows[0].Name != "full" || r.Rows[2].Name != "no-temporal-multi-view" || r.Rows[1].Runs != 1 || steps != 4*3 {
		t.Fatalf("%d steps, %+v", steps, r)
	}
	// The same runs, scored by local similarities too where texts and images are compared.
	global, both := r.Rows[3], r.Rows[4]
	if global.Name != "gloria" || both.Name != "gloria, G + L" || both.ImageToImage != global.ImageToImage || both.ZeroShot != global.ZeroShot ||
		both.Progression != global.Progression || both.ImageToText == global.ImageToText && both.TextToImage == global.TextToImage {
		t.Errorf("%+v\n%+v", global, both)
	}
	for _, row := range r.Rows {
		if row.ImageToImage.Mean == 0 || row.ZeroShot.Mean == 0 || row.Progression.Mean == 0 || row.Supervised.Mean == 0 {
			t.Errorf("not measured: %+v", row)
		}
	}
	for name, want := range map[string]bool{"full-1": true, "no-adapters-1": false} {
		m, err := model.Load(filepath.Join(o.Fit.Out, name, train.ModelDir))
		if err != nil || (m.Config.Adapter > 0) != want {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if run, err := os.ReadFile(filepath.Join(o.Fit.Out, "no-temporal-multi-view-1", "run.json")); err != nil || !bytes.Contains(run, []byte(`"frontal_only": true`)) || !bytes.Contains(run, []byte(`"prior_use": 0,`)) {
		t.Errorf("%s, %v", run, err)
	}
	if _, err := train.Compare(t.Context(), o, count); err != nil || steps != 4*3 {
		t.Errorf("once more: %d steps, %v", steps, err)
	}
	other := o
	other.Fit.Trainer.LearningRate /= 2
	if _, err := train.Compare(t.Context(), other, count); fault.KindOf(err) != fault.Usage {
		t.Errorf("other settings: %v", err)
	}
	other = o
	other.Variants = []string{"chexnet"}
	if _, err := train.Compare(t.Context(), other, count); fault.KindOf(err) != fault.Usage {
		t.Errorf("a variant that does not exist: %v", err)
	}
}
