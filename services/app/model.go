package app

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/config"
)

// shipped is the model that is there without any download: tiny, as `make model` trains it on
// phantoms. Its version changes with its weights, so that vectors of two versions never meet
// in a collection.
//
//go:embed tiny
var shipped embed.FS

// shippedModel returns the directory of the model that ships, below dir, and writes it there
// when it is missing.
func shippedModel(dir string) (string, error) {
	const op = "app.shippedModel"
	files, err := fs.Sub(shipped, "tiny")
	if err != nil {
		return "", fault.E(op, fault.Internal, err)
	}
	want, err := fs.ReadFile(files, model.ManifestFile)
	if err != nil {
		return "", fault.E(op, fault.Internal, err)
	}
	var m model.Manifest
	if err := json.Unmarshal(want, &m); err != nil {
		return "", fault.E(op, fault.Internal, err)
	}
	home := filepath.Join(dir, m.Ref.Key())
	switch have, err := os.ReadFile(filepath.Join(home, model.ManifestFile)); {
	case err == nil && bytes.Equal(have, want):
		return home, nil
	case err == nil:
		return "", fault.Errorf(op, fault.Usage, "%s holds another model named %s than this program: give one of them another version", home, m.Ref)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fault.E(op, fault.Internal, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	tmp, err := os.MkdirTemp(dir, ".making-*")
	if err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	defer os.RemoveAll(tmp)
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return renameio.WriteFile(filepath.Join(tmp, name), data, 0o644) // synced: half a model would stay for good
	})
	if err != nil {
		return "", fault.E(op, fault.Internal, err)
	}
	// Another process may have been quicker; its model has the same bytes.
	if err := os.Rename(tmp, home); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fault.E(op, fault.Internal, err)
	}
	return home, nil
}

// loadedModel is a model that is ready to encode.
type loadedModel struct {
	encoder *embedder.Encoder
	labels  []zeroshot.Label
}

// loadModel opens the model in dir. preparation is the version of what the model will be fed.
func loadModel(ctx context.Context, c config.Config, runtime *ort.Runtime, dir, preparation string) (_ *loadedModel, err error) {
	const op = "app.loadModel"
	m := &loadedModel{}
	if m.encoder, err = embedder.Open(ctx, dir, runtime, embedder.Options{MaxBatch: c.Embed.BatchSize}); err == nil {
		m.labels, err = m.encoder.Labels(ctx)
	}
	if err == nil {
		manifest := m.encoder.Model()
		if !manifest.Untrained && ingest.Rendering(manifest.Preprocessing) != ingest.Rendering(preparation) {
			err = fault.Errorf(op, fault.Usage, "model %s was made for preparation %s, but ingest prepares %s: choose the matching ingest.window_policy, or another model",
				manifest.Ref, manifest.Preprocessing, preparation)
		}
	}
	if err != nil {
		return nil, fault.Wrap(op, errors.Join(err, m.Close()))
	}
	return m, nil
}

// Close frees the model.
func (m *loadedModel) Close() error {
	if m.encoder == nil {
		return nil
	}
	return m.encoder.Close()
}
