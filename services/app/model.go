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
	"github.com/radstream/radstream/services/registry"
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

// servingModel returns the directory, below dir, of the model that serves by the registry. Where
// nobody has chosen one yet, it is the model that ships.
func servingModel(ctx context.Context, models *registry.Registry, dir string) (string, error) {
	const op = "app.servingModel"
	serving, err := models.Serving(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", fault.Wrap(op, err)
	}
	if err != nil || serving.By == registry.ByDefault {
		home, err := shippedModel(dir)
		if err != nil {
			return "", fault.Wrap(op, err)
		}
		rec, err := models.Push(ctx, home, "", nil)
		if err == nil {
			_, err = models.Promote(ctx, rec.Ref, serving.Ref, registry.ByDefault)
		}
		if fault.KindOf(err) == fault.Conflict && err != nil { // another process was quicker, or a person
			if serving, err = models.Serving(ctx); err == nil && serving.Ref != rec.Ref {
				return pulled(ctx, models, serving.Ref, dir)
			}
		}
		return home, fault.Wrap(op, err)
	}
	return pulled(ctx, models, serving.Ref, dir)
}

// pulled returns the directory, below dir, of a model of the registry.
func pulled(ctx context.Context, models *registry.Registry, ref model.Ref, dir string) (string, error) {
	const op = "app.pulled"
	home := filepath.Join(dir, ref.Key())
	err := models.Pull(ctx, ref, home)
	if err == nil || fault.KindOf(err) != fault.Conflict {
		return home, fault.Wrap(op, err)
	}
	rec, err := models.Record(ctx, ref)
	if err != nil {
		return "", fault.Wrap(op, err)
	}
	if have, err := os.ReadFile(filepath.Join(home, model.ManifestFile)); err != nil || !rec.Holds(model.ManifestFile, have) {
		return "", fault.Errorf(op, fault.Usage, "%s holds another model than %s of the registry: move it away", home, ref)
	}
	return home, nil
}

// loadedModel is a model that is ready to encode.
type loadedModel struct {
	encoder *embedder.Encoder
	labels  []zeroshot.Label
}

// loadModel opens the model in dir. preparation is the version of what the model will be fed; stalled
// is told when a graph hangs.
func loadModel(ctx context.Context, c config.Config, runtime *ort.Runtime, device ort.Device, dir, preparation string, stalled func(string, bool)) (_ *loadedModel, err error) {
	const op = "app.loadModel"
	m := &loadedModel{}
	if m.encoder, err = embedder.Open(ctx, dir, runtime, embedder.Options{MaxBatch: c.Embed.BatchSize, Device: device, Deadline: c.Embed.BatchDeadline, Patience: c.Embed.Patience, Stalled: stalled}); err == nil {
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
