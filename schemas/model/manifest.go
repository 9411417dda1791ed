package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/radstream/radstream/schemas/fault"
)

// The files that every model directory has; the vocabulary's name is in the manifest.
const (
	ManifestFile = "manifest.json"
	ImageGraph   = "image.onnx"
	TextGraph    = "text.onnx"
)

// Format is the version of manifest.json that this package writes and reads. It grows when a
// field changes its meaning; a new field that old readers may ignore does not change it.
const Format = 1

// ReasonManifest is the fault reason of a manifest that cannot be used.
const ReasonManifest fault.Reason = "model_manifest"

// maxManifest bounds manifest.json, which holds prompts and figures, never weights.
const maxManifest = 16 << 20

// Manifest is manifest.json: everything about a model but its weights.
type Manifest struct {
	Format int `json:"format"`
	Ref    Ref `json:"ref"`
	// Files gives the lower-case hex SHA-256 of every other file of the directory by name.
	Files map[string]string `json:"files"`
	// Preprocessing is the version of the image and report preparation it was trained with.
	Preprocessing string    `json:"preprocessing"`
	Tokenizer     Tokenizer `json:"tokenizer"`
	Config        Config    `json:"config"`
	// Precision is how the graphs store weights, "fp32" or "fp16"; arithmetic is fp32. With "int8"
	// the large products of the graphs are of int8; with "half" weights are stored as with "fp16",
	// and the layers of both graphs compute in float16.
	Precision string `json:"precision"`
	// Temperature divides cosine differences of zero-shot scores; above 0.
	Temperature float64 `json:"temperature"`
	Labels      []Label `json:"labels"` // by name, ascending
	// Evaluation is what the evaluation commands measured, as they wrote it.
	Evaluation map[string]json.RawMessage `json:"evaluation,omitempty"`
	// DataManifests are the ids of the frozen data sets that it saw.
	DataManifests []string   `json:"data_manifests,omitempty"`
	Provenance    Provenance `json:"provenance"`
	// Untrained says that the weights are random: fit for tests of the machinery only.
	Untrained bool `json:"untrained"`
}

// Tokenizer says how text becomes token ids.
type Tokenizer struct {
	Type       string `json:"type"`       // "wordpiece"
	ID         string `json:"id"`         // identity, such as wordpiece/bert-base-cased/eeaa9875b23b
	Vocabulary string `json:"vocabulary"` // file of the directory
	Cased      bool   `json:"cased"`
	MaxLength  int    `json:"max_length"` // tokens, [CLS] and [SEP] included
}

// Label is one zero-shot label.
type Label struct {
	Name        string      `json:"name"`     // snake_case
	Positive    []string    `json:"positive"` // prompts that say the finding is there
	Negative    []string    `json:"negative"` // prompts that say it is not
	Calibration Calibration `json:"calibration"`
}

// Calibration is a logistic on the score difference: sigmoid(A*x + B), x = (cos+ - cos-) / temperature.
type Calibration struct {
	A float64 `json:"a"` // above 0, so that calibration never reorders
	B float64 `json:"b"`
}

// Identity is the calibration of a label that nobody calibrated.
func Identity() Calibration { return Calibration{A: 1} }

// Provenance says how the weights came to be.
type Provenance struct {
	CreatedBy   string `json:"created_by"` // the command
	Seed        uint64 `json:"seed"`
	Steps       int64  `json:"steps"`
	CodeVersion string `json:"code_version"`
}

// Load reads and checks the manifest of the model in dir: its format, its fields and the
// SHA-256 of every file it names. Faults: NotFound (no manifest), Unsupported (another format),
// Invalid (a field), Corrupt naming the file (missing or changed since it was written).
func Load(dir string) (*Manifest, error) {
	const op = "model.Load"
	m, err := read(filepath.Join(dir, ManifestFile))
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if err := m.Validate(); err != nil {
		return nil, fault.Wrap(op, err)
	}
	for _, name := range m.fileNames() {
		sum, err := hashFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fault.Errorf(op, fault.Corrupt, "model %s: file %s is missing", m.Ref, name)
		case err != nil:
			return nil, fault.E(op, fault.Internal, err)
		case sum != m.Files[name]:
			return nil, fault.Errorf(op, fault.Corrupt, "model %s: file %s does not match its SHA-256 in the manifest", m.Ref, name)
		}
	}
	return m, nil
}

// Write hashes the named files of dir, which must be there, into m.Files and then writes
// manifest.json whole or not at all. Equal models give equal bytes.
func (m *Manifest) Write(dir string, files ...string) error {
	const op = "model.Manifest.Write"
	m.Format = Format
	m.Files = make(map[string]string, len(files))
	for _, name := range files {
		if !isName(name) {
			return fault.Reject(op, fault.Invalid, ReasonManifest, "file %q is not a name inside the directory", name)
		}
		sum, err := hashFile(filepath.Join(dir, name))
		if err != nil {
			return fault.E(op, fault.Internal, err)
		}
		m.Files[name] = sum
	}
	slices.SortFunc(m.Labels, func(a, b Label) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	if err := m.Validate(); err != nil {
		return fault.Wrap(op, err)
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	return fault.E(op, fault.Internal, renameio.WriteFile(filepath.Join(dir, ManifestFile), append(b, '\n'), 0o644))
}

// Validate lists every fault of the fields; it does not look at files.
func (m *Manifest) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	if _, err := ParseRef(m.Ref.String()); err != nil {
		faults = append(faults, err)
	}
	for _, name := range []string{ImageGraph, TextGraph, m.Tokenizer.Vocabulary} {
		check(m.Files[name] != "", "files does not name %q", name)
	}
	for _, name := range m.fileNames() {
		check(isName(name), "files: %q is not a name inside the directory", name)
		sum, err := hex.DecodeString(m.Files[name])
		check(err == nil && len(sum) == sha256.Size, "files: %s has no SHA-256 of 64 hex digits", name)
	}
	check(m.Preprocessing != "", "preprocessing is empty")
	check(m.Tokenizer.Type == "wordpiece", "tokenizer is %q; only wordpiece is known", m.Tokenizer.Type)
	check(m.Tokenizer.ID != "", "tokenizer.id is empty")
	check(m.Tokenizer.MaxLength >= 2 && m.Tokenizer.MaxLength <= m.Config.Text.MaxLength, "tokenizer.max_length is %d, not 2 to config.text.max_length", m.Tokenizer.MaxLength)
	check(slices.Contains([]string{"fp32", "fp16", "half", "int8"}, m.Precision), "precision is %q, not fp32, fp16, half or int8", m.Precision)
	check(m.Temperature > 0, "temperature is %g, not above 0", m.Temperature)
	for i, l := range m.Labels {
		check(l.Name != "" && (i == 0 || m.Labels[i-1].Name < l.Name), "labels[%d] %q is empty, doubled or out of order", i, l.Name)
		check(len(l.Positive) > 0 && len(l.Negative) > 0, "labels[%d] %q needs a positive and a negative prompt", i, l.Name)
		check(l.Calibration.A > 0, "labels[%d] %q: calibration.a is %g, not above 0", i, l.Name, l.Calibration.A)
	}
	if err := m.Config.Validate(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) == 0 {
		return nil
	}
	return fault.Reject("model.Manifest.Validate", fault.Invalid, ReasonManifest, "%w", errors.Join(faults...))
}

// isName says whether name is a file inside the directory, other than the manifest.
func isName(name string) bool { return fs.ValidPath(name) && name != "." && name != ManifestFile }

func (m *Manifest) fileNames() []string {
	names := make([]string, 0, len(m.Files))
	for name := range m.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func read(path string) (*Manifest, error) {
	const op = "model.read"
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(op, fault.NotFound, "no model here: %s does not exist", path)
	}
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	if len(b) > maxManifest {
		return nil, fault.Reject(op, fault.Invalid, ReasonManifest, "%s is larger than %d bytes", ManifestFile, maxManifest)
	}
	// The format first: the rest of another format need not even parse.
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonManifest, "%s is not JSON: %w", ManifestFile, err)
	}
	if head.Format != Format {
		return nil, fault.Reject(op, fault.Unsupported, ReasonManifest, "%s has format %d; this version reads %d", ManifestFile, head.Format, Format)
	}
	m := new(Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonManifest, "%s: %w", ManifestFile, err)
	}
	return m, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
