package train

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	Model     string               // directory of the model
	Precision onnxexport.Precision // INT8 or HALF
	Ref       model.Ref            // of the model that is made: its vectors are others, so its collection is too
	Data      []string             // paths of data manifests
	NATS      bus.Config
	Films     int // of the training part, and reports, on which ranges are measured
	// Least is the mean cosine to the float model that is wanted: products stay in float until films and
	// reports of the training part have it. 0: all are in int8. Of INT8 only.
	Least   float64
	Out     string
	Version string // of the program
}

// Quantized says what came of it.
type Quantized struct {
	Ref      model.Ref `json:"ref"`
	Films    int       `json:"films"`    // that were measured
	Reports  int       `json:"reports"`  // likewise; 0 leaves the text encoder of an int8 model in float
	Compared int       `json:"compared"` // films of the validation part
	Cosine   float64   `json:"cosine"`   // mean over those, to the model that it was made of
	Least    float64   `json:"least_cosine"`
	// Of reports of the validation part: how many, the mean and the least; cosines are 0 where there are none.
	Texts      int     `json:"texts"`
	TextCosine float64 `json:"text_cosine"`
	LeastText  float64 `json:"least_text_cosine"`
	// Of INT8 only.
	Float    []string `json:"float"`    // products that stay in float, of Products
	Products int      `json:"products"` // that could be in int8
	// Of HALF only.
	Largest float64 `json:"largest,omitempty"` // number in float16, without its sign, over films and reports of the training part
}

// trialInputs is on how many films, and reports, it is tried what int8 costs.
const trialInputs = 24

// Quantize writes a model whose encoders multiply in int8, or whose encoders compute in float16,
// and compares its vectors with those of the model that it was made of. Errors: Usage for options;
// Invalid with onnxexport.ReasonWeights where float16 would overflow; those of the files.
//
// progress hears of studies that were read, tried of graphs; either may be nil.
func Quantize(ctx context.Context, o QuantizeOptions, progress, tried func(done, total int)) (q Quantized, err error) {
	const op = "train.Quantize"
	m, w, err := onnxexport.ReadModel(o.Model)
	if err != nil {
		return q, fault.Wrap(op, err)
	}
	if o.Precision != onnxexport.INT8 && o.Precision != onnxexport.HALF {
		return q, fault.Errorf(op, fault.Usage, "a model is made in %s or %s, not %q", onnxexport.INT8, onnxexport.HALF, o.Precision)
	}
	if !(o.Least >= 0 && o.Least < 1) {
		return q, fault.Errorf(op, fault.Usage, "a cosine of at least %g cannot be had: give 0 to below 1", o.Least)
	}
	if o.Films < 1 || o.Ref == m.Ref {
		return q, fault.Errorf(op, fault.Usage, "ranges are measured on one film at least, and the %s model needs another name or version than %s", o.Precision, m.Ref)
	}
	if err := wantNoModel(o.Out); err != nil {
		return q, err
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
	texts := textsOf(d.Train)
	texts = texts[:min(o.Films, len(texts))]
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		return q, fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	q = Quantized{Ref: o.Ref, Films: len(films), Reports: len(texts)}
	saw := slices.Concat(m.DataManifests, d.Manifests)
	slices.Sort(saw)
	made := model.Manifest{
		Ref: o.Ref, Preprocessing: m.Preprocessing, Temperature: m.Temperature, Labels: m.Labels, Untrained: m.Untrained, DataManifests: slices.Compact(saw),
		Provenance: model.Provenance{CodeVersion: o.Version},
	}
	write := func() error {
		made.Provenance.CreatedBy = fmt.Sprintf("radtrain quantize of %s to half", m.Ref)
		return onnxexport.WriteModel(o.Out, m.Config, w, onnxexport.HALF, tok, made)
	}
	if o.Precision == onnxexport.HALF {
		if q.Largest, err = onnxexport.MeasureLargest(ctx, runtime, m.Config, w, films, texts); err != nil {
			return q, fault.Wrap(op, err)
		}
		if !(q.Largest <= onnxexport.LargestFloat16) {
			return q, fault.Reject(op, fault.Invalid, onnxexport.ReasonWeights, "the layers of %s compute numbers up to %.3g, and float16 ends at %d: keep the float model", m.Ref, q.Largest, onnxexport.LargestFloat16)
		}
	} else {
		ranges, err := onnxexport.MeasureRanges(ctx, runtime, m.Config, w, films, texts)
		if err != nil {
			return q, fault.Wrap(op, err)
		}
		q.Products = len(ranges)
		if ranges, q.Float, err = ranges.Enough(ctx, runtime, m.Config, w, films[:min(trialInputs, len(films))], texts[:min(trialInputs, len(texts))], o.Least, tried); err != nil {
			return q, fault.Wrap(op, err)
		}
		write = func() error {
			made.Provenance.CreatedBy = fmt.Sprintf("radtrain quantize of %s on %d films and %d reports, %d of %d products in float", m.Ref, len(films), len(texts), len(q.Float), q.Products)
			return onnxexport.WriteInt8Model(o.Out, m.Config, w, ranges, tok, made)
		}
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return q, fault.E(op, fault.Usage, err)
	}
	if err := write(); err != nil {
		return q, fault.Wrap(op, err)
	}
	return q, fault.Wrap(op, q.compare(ctx, runtime, o, filmsOf(d.Validation), textsOf(d.Validation)))
}

// filmsOf lists the films of studies.
func filmsOf(studies []*trainer.Study) []embedder.Image {
	var films []embedder.Image
	for _, s := range studies {
		films = append(films, s.Images...)
	}
	return films
}

// textsOf lists the reports of studies that have one.
func textsOf(studies []*trainer.Study) [][]int32 {
	var texts [][]int32
	for _, s := range studies {
		if s.Report.Tokens != nil {
			texts = append(texts, s.Report.Tokens)
		}
	}
	return texts
}

// compare encodes films and texts with both models.
func (q *Quantized) compare(ctx context.Context, runtime *ort.Runtime, o QuantizeOptions, films []embedder.Image, texts [][]int32) error {
	var studies []embedder.StudyInput
	for _, f := range films {
		studies = append(studies, embedder.StudyInput{Images: []embedder.Image{f}})
	}
	for _, t := range texts {
		studies = append(studies, embedder.StudyInput{Tokens: t})
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
	cosine := func(a, b embedder.Vector) (sum float64) {
		for i := range a {
			sum += float64(a[i]) * float64(b[i])
		}
		return sum
	}
	q.Compared, q.Least = len(films), 1
	for i := range films {
		c := cosine(by[0][i].Image, by[1][i].Image)
		q.Cosine += c / float64(len(films))
		q.Least = min(q.Least, c)
	}
	if q.Texts = len(texts); q.Texts > 0 {
		q.LeastText = 1
	}
	for i := len(films); i < len(studies); i++ {
		c := cosine(by[0][i].Text, by[1][i].Text)
		q.TextCosine += c / float64(len(texts))
		q.LeastText = min(q.LeastText, c)
	}
	return nil
}
