package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// untrainedSeed makes the built-in model the same on every machine.
const untrainedSeed = 1

// builtinRef names the model that is there without any download. Its version changes with
// its weights, so that vectors of two versions never meet in a collection.
var builtinRef = model.Ref{Name: "tiny-untrained", Version: "1"}

// builtinModel returns the directory of the built-in model, below dir, and writes it there
// when it is missing.
func builtinModel(dir, preparation string) (string, error) {
	const op = "app.builtinModel"
	home := filepath.Join(dir, builtinRef.Key())
	if _, err := os.Stat(home); err == nil {
		return home, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fault.E(op, fault.Internal, err)
	}
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		return "", fault.Wrap(op, err)
	}
	labels, err := zeroshot.DefaultLabels()
	if err != nil {
		return "", fault.Wrap(op, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	tmp, err := os.MkdirTemp(dir, ".making-*")
	if err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	defer os.RemoveAll(tmp)
	config := model.Tiny()
	err = onnxexport.WriteModel(tmp, config, onnxexport.Untrained(config, untrainedSeed), onnxexport.FP16, tok, model.Manifest{
		Ref: builtinRef, Preprocessing: preparation, Temperature: 0.07, Labels: labels, Untrained: true,
		Provenance: model.Provenance{CreatedBy: "radstream", Seed: untrainedSeed},
	})
	if err != nil {
		return "", fault.Wrap(op, err)
	}
	// Another process may have been quicker; its model has the same bytes.
	if err := os.Rename(tmp, home); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fault.E(op, fault.Internal, err)
	}
	return home, nil
}

// loadedModel is a model that is ready to encode.
type loadedModel struct {
	runtime *ort.Runtime
	encoder *embedder.Encoder
	labels  []zeroshot.Label
}

// loadModel opens the runtime and the model in dir. preparation is the version of what the
// model will be fed.
func loadModel(ctx context.Context, c config.Config, dir, preparation string) (_ *loadedModel, err error) {
	const op = "app.loadModel"
	m := &loadedModel{}
	if m.runtime, err = ort.Open(c.ONNXRuntime.Library, ort.Options{IntraThreads: c.ONNXRuntime.Threads}); err != nil {
		return nil, fault.Wrap(op, err)
	}
	if m.encoder, err = embedder.Open(ctx, dir, m.runtime, embedder.Options{MaxBatch: c.Embed.BatchSize}); err == nil {
		m.labels, err = m.encoder.Labels(ctx)
	}
	if err == nil {
		manifest := m.encoder.Model()
		if !manifest.Untrained && manifest.Preprocessing != preparation {
			err = fault.Errorf(op, fault.Usage, "model %s was made for preparation %s, but ingest prepares %s: choose the matching ingest.window_policy, or another model",
				manifest.Ref, manifest.Preprocessing, preparation)
		}
	}
	if err != nil {
		return nil, fault.Wrap(op, errors.Join(err, m.Close()))
	}
	return m, nil
}

// Close frees the model, then the runtime.
func (m *loadedModel) Close() error {
	var err error
	if m.encoder != nil {
		err = m.encoder.Close()
	}
	return errors.Join(err, m.runtime.Close())
}
