package train_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TestImport: weights of another program become a model of their architecture, and what is not
// such weights is refused.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	generate(t, dir, small(12))
	weights := onnxexport.Untrained(model.Tiny(), 5)
	o := train.ImportOptions{
		Weights: filepath.Join(dir, "weights.safetensors"), Preset: "tiny", Ref: model.Ref{Name: "theirs", Version: "0.1.0"},
		Data: []string{filepath.Join(dir, train.ManifestFile)}, Out: filepath.Join(dir, "imported"), Temperature: 0.07, Version: "test",
	}
	write := func(w onnxexport.Weights, metadata map[string]string) {
		t.Helper()
		if err := trainer.WriteTensors(o.Weights, w, metadata); err != nil {
			t.Fatal(err)
		}
	}
	if err := train.Import(t.Context(), o, train.FitHooks{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no file: %v", err)
	}
	write(weights, nil)
	if err := train.Import(t.Context(), o, train.FitHooks{}); err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(filepath.Join(o.Out, train.ModelDir))
	if err != nil {
		t.Fatal(err)
	}
	if m.Ref != o.Ref || m.Temperature != 0.07 || m.Provenance.CreatedBy != "radtrain import" || len(m.DataManifests) != 1 || m.Preprocessing == "" || m.Untrained {
		t.Errorf("%+v", m)
	}
	if _, err := train.EvaluateRetrieval(t.Context(), filepath.Join(o.Out, train.ModelDir), train.RetrievalOptions{Studies: 16, Seed: 9, Side: 128}, nil); err != nil {
		t.Errorf("the model cannot be measured: %v", err)
	}
	first, err := os.ReadFile(filepath.Join(o.Out, train.ModelDir, "image.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	write(weights, map[string]string{"radstream.temperature": "0.05"})
	o.Temperature = 0
	if err := train.Import(t.Context(), o, train.FitHooks{}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "holds a model") {
		t.Errorf("over a model: %v", err)
	}
	o.Out = filepath.Join(dir, "again")
	if err := train.Import(t.Context(), o, train.FitHooks{}); err != nil {
		t.Fatal(err)
	}
	if m, err = model.Load(filepath.Join(o.Out, train.ModelDir)); err != nil || m.Temperature != 0.05 {
		t.Errorf("temperature %g, %v", m.Temperature, err)
	}
	if again, err := os.ReadFile(filepath.Join(o.Out, train.ModelDir, "image.onnx")); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the same weights gave another graph: %v", err)
	}

	write(weights, nil)
	o.Out = filepath.Join(dir, "refused")
	if err := train.Import(t.Context(), o, train.FitHooks{}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--temperature") {
		t.Errorf("no temperature: %v", err)
	}
	o.Temperature = 0.05
	o.Preset = "small"
	if err := train.Import(t.Context(), o, train.FitHooks{}); fault.ReasonOf(err) != onnxexport.ReasonWeights {
		t.Errorf("weights of another architecture: %v", err)
	}
}
