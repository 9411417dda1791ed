package cli

import (
	"context"
	"errors"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/app"
	"github.com/radstream/radstream/services/config"
)

// ocrDirEnv is the variable of ingest.ocr_dir, which commands without settings read too.
const ocrDirEnv = "RADSTREAM_INGEST_OCR_DIR"

// textReader is what a command that runs without a server reads burned-in text with.
type textReader struct {
	*app.Text
	runtime *ort.Runtime // nil when nobody looks for text
}

// openText opens what c asks for. Close it after use.
func openText(c config.Ingest) (_ *textReader, err error) {
	const op = "cli.openText"
	r := &textReader{}
	switch policy := deid.TextPolicy(c.BurnedInText); policy {
	case deid.TextOff:
	case deid.TextRemove, deid.TextRemoveAll:
		if r.runtime, err = ort.Open("", ort.Options{}); err != nil {
			return nil, err
		}
	default:
		return nil, fault.Errorf(op, fault.Usage, "--burned-in-text must be one of %v", deid.TextPolicies())
	}
	if r.Text, err = app.OpenText(c, r.runtime); err != nil {
		if r.runtime != nil {
			err = errors.Join(err, r.runtime.Close())
		}
		return nil, err
	}
	return r, nil
}

// Close frees the graphs, then the runtime.
func (r *textReader) Close() error {
	err := r.Text.Close()
	if r.runtime != nil {
		err = errors.Join(err, r.runtime.Close())
	}
	return err
}

// look adds the burned-in text of a file to what is told of it.
func (r *textReader) look(ctx context.Context, i *ingest.Inspection, data []byte) error {
	if r.Burned == nil {
		return nil
	}
	if err := i.FindText(ctx, r.Burned, data); fault.ReasonOf(err) == "" { // not the film's fault
		return err
	}
	return nil
}
