package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// QuantizeOptions are one call of `radtrain quantize`.
type QuantizeOptions struct {
	Model string    // directory of the model
	Ref   model.Ref // of the int8 model: its vectors are others, so its collection is too
	Data  []string  // paths of data manifests
	NATS  bus.Config
	Films int // of the training part, on which ranges are measured
	// Least is the mean cosine to the float model that is wanted: products stay in float until films of
	// the training part have it. 0: all are in int8.
	Least   float64
	Out     string
	Version string // of the program
}

// Quantized says what came of it.
type Quantized struct {
	Ref      model.Ref `json:"ref"`
	Films    int       `json:"films"`    // whose ranges were measured
	Compared int       `json:"compared"` // films of the validation part
	Cosine   float64   `json:"cosine"`   // mean over those, to the model that it was made of
	Least    float64   `json:"least_cosine"`
	Float    []string  `json:"float"`    // products that stay in float, of Products
	Products int       `json:"products"` // that could be in int8
}

// trialFilms is on how many films it is tried what int8 costs.
const trialFilms = 24

// Quantize writes a model whose image encoder multiplies in int8, and compares its vectors with those
// of the model that it was made of. Errors: Usage for options; those of the files.
//
// progress hears of studies that were read, tried of graphs; either may be nil.
func Quantize(ctx context.Context, o QuantizeOptions, progress, tried func(done, total int)) (q Quantized, err error) {
	const op = "train.Quantize"
	m, w, err := onnxexport.ReadModel(o.Model)
	if err != nil {
		return q, fault.Wrap(op, err)
	}
	if !(o.Least >= 0 && o.Least < 1) {
		return q, fault.Errorf(op, fault.Usage, "a cosine of at least %g cannot be had: give 0 to below 1", o.Least)
	}
	if o.Films < 1 || o.Ref == m.Ref {
		return q, fault.Errorf(op, fault.Usage, "ranges are measured on one film at least, and the int8 model needs another name or version than %s", m.Ref)
	}
	if _, err := os.Stat(filepath.Join(o.Out, model.ManifestFile)); err == nil {
		return q, fault.Errorf(op, fault.Usage, "%s holds a model already: name another folder (--out)", o.Out)
	}
	tok, err := embedder.ReadTokenizer(o.Model, m)
	if err != nil {
		return q, fault.Wrap(op, err)
	}
	d, err := Load(ctx, o.Data, o.NATS, newReader(tok, m.Tokenizer.MaxLength), progress)
	if err != nil {
		return q, fault.Wrap(op, err)
	}
	films := filmsOf(d.Train)
	films = films[:min(o.Films, len(films))]
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		return q, fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	ranges, err := onnxexport.MeasureRanges(ctx, runtime, m.Config, w, films)
	if err != nil {
		return q, fault.Wrap(op, err)
	}
	q = Quantized{Ref: o.Ref, Films: len(films), Products: len(ranges)}
	if ranges, q.Float, err = ranges.Enough(ctx, runtime, m.Config, w, films[:min(trialFilms, len(films))], o.Least, tried); err != nil {
		return q, fault.Wrap(op, err)
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return q, fault.E(op, fault.Usage, err)
	}
	saw := slices.Concat(m.DataManifests, d.Manifests)
	slices.Sort(saw)
	err = onnxexport.WriteInt8Model(o.Out, m.Config, w, ranges, tok, model.Manifest{
		Ref: o.Ref, Preprocessing: m.Preprocessing, Temperature: m.Temperature, Labels: m.Labels, Untrained: m.Untrained, DataManifests: slices.Compact(saw),
		Provenance: model.Provenance{CreatedBy: fmt.Sprintf("radtrain quantize of %s on %d films, %d of %d products in float", m.Ref, len(films), len(q.Float), q.Products), CodeVersion: o.Version},
	})
	if err != nil {
		return q, fault.Wrap(op, err)
	}
	return q, fault.Wrap(op, q.compare(ctx, runtime, o, filmsOf(d.Validation)))
}

// filmsOf lists the films of studies.
func filmsOf(studies []*trainer.Study) []embedder.Image {
	var films []embedder.Image
	for _, s := range studies {
		films = append(films, s.Images...)
	}
	return films
}

// compare encodes films with both models.
func (q *Quantized) compare(ctx context.Context, runtime *ort.Runtime, o QuantizeOptions, films []embedder.Image) error {
	studies := make([]embedder.StudyInput, len(films))
	for i, f := range films {
		studies[i] = embedder.StudyInput{Images: []embedder.Image{f}}
	}
	var by [2][]embedder.StudyVectors
	for i, dir := range []string{o.Model, o.Out} {
		e, err := embedder.Open(ctx, dir, runtime, embedder.Options{})
		if err != nil {
			return err
		}
		by[i], err = e.EncodeStudies(ctx, studies)
		if err := errors.Join(err, e.Close()); err != nil {
			return err
		}
	}
	q.Compared, q.Least = len(films), 1
	for i := range films {
		cosine := 0.0
		for j, x := range by[0][i].Image {
			cosine += float64(x) * float64(by[1][i].Image[j])
		}
		q.Cosine += cosine / float64(len(films))
		q.Least = min(q.Least, cosine)
	}
	return nil
}
