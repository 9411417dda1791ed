package train

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
)

// wantNoModel refuses a folder whose model would be lost.
func wantNoModel(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, model.ManifestFile)); err == nil {
		return fault.Errorf("train.wantNoModel", fault.Usage, "%s holds a model already: name another folder (--out)", dir)
	}
	return nil
}

// readerOf is how a model reads reports.
func readerOf(e *embedder.Encoder) trainer.Reader {
	return newReader(e.Tokenizer(), e.Model().Tokenizer.MaxLength)
}

func newReader(t *tokenizer.Tokenizer, maxTokens int) trainer.Reader {
	return trainer.Reader{Tokenizer: t, MaxTokens: maxTokens, Mask: t.Mask()}
}

// withModel opens the model in dir and closes it behind f. preparation, if not empty, is what
// it will be fed: a model that was trained on another is refused.
func withModel(ctx context.Context, dir, preparation string, f func(*embedder.Encoder) error) error {
	return withOptions(ctx, dir, preparation, embedder.Options{}, f)
}

// withOptions is [withModel] for an encoder with options.
func withOptions(ctx context.Context, dir, preparation string, o embedder.Options, f func(*embedder.Encoder) error) (err error) {
	const op = "train.withModel"
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	e, err := embedder.Open(ctx, dir, runtime, o)
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if m := e.Model(); !m.Untrained && preparation != "" && ingest.Rendering(m.Preprocessing) != ingest.Rendering(preparation) {
		return fault.Errorf(op, fault.Usage, "model %s was made for preparation %s, but ingest prepares %s", m.Ref, m.Preprocessing, preparation)
	}
	return f(e)
}

// mostLocal is how many studies are compared by local vectors at most: the patches of all are in
// memory (256 of 256 numbers take 262 kB an image), and the time grows with the square.
const mostLocal = 4096

// checkLocal refuses weights of local similarities that are none, and more studies than can be
// compared by them.
func checkLocal(weight float64, studies int) error {
	const op = "train.checkLocal"
	if !(weight >= 0) || math.IsInf(weight, 0) {
		return fault.Errorf(op, fault.Usage, "the weight of local similarities (--local) is 0 or more")
	}
	if weight > 0 && studies > mostLocal {
		return fault.Errorf(op, fault.Usage, "local similarities (--local) are of at most %d studies, not of %d", mostLocal, studies)
	}
	return nil
}
