package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/ocr"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/config"
)

// Files of the text recognition graphs, as deploy/setup.sh unpacks them.
const (
	detectionGraph   = "ch_PP-OCRv4_det_infer.onnx"
	recognitionGraph = "ch_PP-OCRv4_rec_infer.onnx"
)

// alphabetKey is where the recognition graph lists its characters, one a line.
const alphabetKey = "character"

// Text removes burned-in text, over sessions that it owns. Burned is nil where the
// configuration turns it off.
type Text struct {
	Burned   *deid.Burned
	sessions []*ort.Session
}

// OpenText opens what c asks for about burned-in text; runtime may be nil when that is nothing.
// Close it after use.
//
// Errors: Unavailable when the graphs are missing, Corrupt when they are not what they must be.
func OpenText(c config.Ingest, runtime *ort.Runtime) (_ *Text, err error) {
	const op = "app.OpenText"
	t := &Text{}
	policy := deid.TextPolicy(c.BurnedInText)
	if policy == deid.TextOff {
		return t, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	dir, err := findOCR(c.OCRDir)
	if err != nil {
		return nil, err
	}
	identity := sha256.New()
	for _, name := range []string{detectionGraph, recognitionGraph} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, missingOCR(filepath.Join(dir, name))
		}
		identity.Write(data)
		// One thread: the same numbers whatever the machine, and films are read in parallel.
		s, err := runtime.Session(ort.Model{Path: filepath.Join(dir, name), Threads: 1, Varying: true}, nil, nil)
		if err != nil {
			return nil, fault.Errorf(op, fault.Corrupt, "%s is not the graph that make setup fetches: %w", filepath.Join(dir, name), err)
		}
		t.sessions = append(t.sessions, s)
	}
	characters, _, err := t.sessions[1].Metadata(alphabetKey)
	if err != nil {
		return nil, err
	}
	var alphabet []string
	if characters != "" {
		alphabet = strings.Split(strings.TrimSuffix(characters, "\n"), "\n")
	}
	id := "ppocr4." + hex.EncodeToString(identity.Sum(nil)[:4])
	reader, err := ocr.New(graph{t.sessions[0]}, graph{t.sessions[1]}, alphabet, id)
	if err != nil {
		return nil, err
	}
	t.Burned, err = deid.NewBurned(policy, reader)
	return t, err
}

// Close frees the sessions. A second Close does nothing.
func (t *Text) Close() error {
	var faults []error
	for _, s := range t.sessions {
		faults = append(faults, s.Close())
	}
	return errors.Join(faults...)
}

// graph is a session as package ocr sees it.
type graph struct{ session *ort.Session }

var _ ocr.Graph = graph{}

func (g graph) Run(ctx context.Context, shape []int64, data []float32) ([]int64, []float32, error) {
	out, err := g.session.Run(ctx, ort.Tensor{Shape: shape, Data: data})
	if err != nil {
		return nil, nil, err
	}
	if len(out) != 1 {
		return nil, nil, fault.Errorf("app.graph", fault.Corrupt, "a text recognition graph gives one tensor, this one %d", len(out))
	}
	values, ok := out[0].Data.([]float32)
	if !ok {
		return nil, nil, fault.Errorf("app.graph", fault.Corrupt, "a text recognition graph gives floats, this one %T", out[0].Data)
	}
	return out[0].Shape, values, nil
}

// findOCR returns the folder of the graphs.
func findOCR(dir string) (string, error) {
	if dir != "" {
		if _, err := os.Stat(dir); err != nil {
			return "", missingOCR(dir)
		}
		return dir, nil
	}
	for _, path := range ort.Candidates("ocr") {
		if _, err := os.Stat(filepath.Join(path, detectionGraph)); err == nil {
			return path, nil
		}
	}
	return "", missingOCR(".deps/ocr")
}

func missingOCR(what string) error {
	return fault.Errorf("app.OpenText", fault.Unavailable,
		"the text recognition graphs are missing: no %s; run `make setup` in the checkout, name their folder with ingest.ocr_dir, or leave text in the films with ingest.burned_in_text: off", what)
}
