package onnxexport

import (
	"os"
	"path/filepath"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// vocabularyFile is the name of the vocabulary in a model directory.
const vocabularyFile = "vocab.txt"

// WriteModel writes a model directory: image.onnx, text.onnx, vocab.txt and manifest.json.
// dir must exist; files of these names in it are replaced, the manifest last, so that a
// directory that was cut short does not load.
//
// The caller fills in the manifest's reference, preprocessing version, temperature, labels,
// evaluation, provenance and Untrained; architecture, precision, tokenizer and hashes are set
// here. Equal arguments give equal bytes.
func WriteModel(dir string, c model.Config, w Weights, p Precision, k *tokenizer.Tokenizer, m model.Manifest) error {
	const op = "onnxexport.WriteModel"
	image, err := ImageGraph(c, w, p)
	if err != nil {
		return fault.Wrap(op, err)
	}
	text, err := TextGraph(c, w, p)
	if err != nil {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, write(dir, c, p, image, text, k, m))
}

// WriteInt8Model is [WriteModel] with graphs in int8; r was measured on films, and on reports if the text
// graph is to be.
func WriteInt8Model(dir string, c model.Config, w Weights, r Ranges, k *tokenizer.Tokenizer, m model.Manifest) error {
	const op = "onnxexport.WriteInt8Model"
	image, err := Int8ImageGraph(c, w, r)
	if err != nil {
		return fault.Wrap(op, err)
	}
	text, err := Int8TextGraph(c, w, r)
	if err != nil {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, write(dir, c, INT8, image, text, k, m))
}

// write writes a model directory of precision p.
func write(dir string, c model.Config, p Precision, image, text []byte, k *tokenizer.Tokenizer, m model.Manifest) error {
	const op = "onnxexport.write"
	if k.Size() != c.Text.Vocabulary {
		return fault.Reject(op, fault.Invalid, ReasonWeights, "the tokenizer has %d entries, the model %d", k.Size(), c.Text.Vocabulary)
	}
	if err := os.Remove(filepath.Join(dir, model.ManifestFile)); err != nil && !os.IsNotExist(err) {
		return fault.E(op, fault.Internal, err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{model.ImageGraph, image}, {model.TextGraph, text}, {vocabularyFile, k.Vocabulary()}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.data, 0o644); err != nil {
			return fault.E(op, fault.Internal, err)
		}
	}
	m.Config, m.Precision = c, string(p)
	m.Tokenizer = model.Tokenizer{Type: "wordpiece", ID: k.ID(), Vocabulary: vocabularyFile, Cased: bool(k.Case()), MaxLength: c.Text.MaxLength}
	return fault.Wrap(op, m.Write(dir, model.ImageGraph, model.TextGraph, vocabularyFile))
}
