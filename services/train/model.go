package train

import (
	"context"
	"errors"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer"
)

// readerOf is how a model reads reports.
func readerOf(e *embedder.Encoder) trainer.Reader {
	return newReader(e.Tokenizer(), e.Model().Tokenizer.MaxLength)
}

func newReader(t *tokenizer.Tokenizer, maxTokens int) trainer.Reader {
	return trainer.Reader{Tokenizer: t, MaxTokens: maxTokens, Mask: t.Mask()}
}

// withModel opens the model in dir and closes it behind f. preparation, if not empty, is what
// it will be fed: a model that was trained on another is refused.
func withModel(ctx context.Context, dir, preparation string, f func(*embedder.Encoder) error) (err error) {
	const op = "train.withModel"
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	e, err := embedder.Open(ctx, dir, runtime, embedder.Options{})
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if m := e.Model(); !m.Untrained && preparation != "" && ingest.Rendering(m.Preprocessing) != ingest.Rendering(preparation) {
		return fault.Errorf(op, fault.Usage, "model %s was made for preparation %s, but ingest prepares %s", m.Ref, m.Preprocessing, preparation)
	}
	return f(e)
}
