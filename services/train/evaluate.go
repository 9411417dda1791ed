package train

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/publish"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

// RetrievalResult is what `radtrain eval retrieval` prints and what a model's manifest holds.
type RetrievalResult struct {
	Model   string `json:"model"`
	Studies int    `json:"studies"`
	Seed    uint64 `json:"seed"`
	Side    int    `json:"side"`
	// Local is the weight of the local similarity in text to image and image to text; see
	// [eval.LocalSimilarity].
	Local float64 `json:"local,omitempty"`
	eval.Table
}

// RetrievalOptions say which phantoms a model is measured on; see [eval.PhantomConfig].
type RetrievalOptions struct {
	Studies int
	Seed    uint64
	Side    int     // pixels of a film; 0 is the phantoms' default
	Local   float64 // weight of the local similarity of text and image beside the global cosine, 0 or more
}

// DefaultRetrieval is the evaluation that figures are quoted from.
func DefaultRetrieval() RetrievalOptions { return RetrievalOptions{Studies: 240, Seed: EvaluationSeed} }

// EvaluateRetrieval measures a model on phantoms that no model may be trained on.
func EvaluateRetrieval(ctx context.Context, dir string, o RetrievalOptions, progress func(done, total int)) (RetrievalResult, error) {
	const op = "train.EvaluateRetrieval"
	c := eval.PhantomConfig(o.Studies, o.Seed)
	if o.Side > 0 {
		c.Side = o.Side
	}
	if o.Studies < 2*len(c.Kinds) {
		return RetrievalResult{}, fault.Errorf(op, fault.Usage, "an evaluation needs at least %d studies, two of each finding", 2*len(c.Kinds))
	}
	if err := checkLocal(o.Local, o.Studies); err != nil {
		return RetrievalResult{}, fault.Wrap(op, err)
	}
	out := RetrievalResult{Studies: o.Studies, Seed: o.Seed, Side: c.Side, Local: o.Local}
	preparer, err := newPreparer()
	if err != nil {
		return out, err
	}
	err = withOptions(ctx, dir, preparer.Version(), embedder.Options{Local: o.Local > 0}, func(e *embedder.Encoder) error {
		out.Model = e.Model().Ref.String()
		samples, err := eval.PhantomSamples(ctx, c, preparer, readerOf(e), progress)
		if err != nil {
			return err
		}
		out.Table, err = measure(ctx, e, samples, o.Local, progress)
		return err
	})
	return out, fault.Wrap(op, err)
}

// Reproduces holds a measurement against the one that the manifest of the model in dir holds:
// P@10 both ways must lie in the other's 95 % interval. Errors: Invalid where that model was not
// measured on the same phantoms, Internal where it is not reproduced.
func Reproduces(dir string, r RetrievalResult) error {
	const op = "train.Reproduces"
	m, err := model.Load(dir)
	if err != nil {
		return fault.Wrap(op, err)
	}
	var want RetrievalResult
	if err := json.Unmarshal(m.Evaluation["retrieval"], &want); err != nil || want.Studies != r.Studies || want.Seed != r.Seed || want.Side != r.Side {
		return fault.Reject(op, fault.Invalid, ReasonStudies, "the manifest of %s has no measurement on the same phantoms", m.Ref)
	}
	for _, c := range []struct {
		name      string
		got, want eval.Precision
	}{{"image to image", r.ImageToImage, want.ImageToImage}, {"text to image", r.TextToImage, want.TextToImage}} {
		if c.got.P10 < c.want.P10CI[0] || c.got.P10 > c.want.P10CI[1] {
			return fault.Errorf(op, fault.Internal, "%s P@10 is %.3f, but %s has %.3f (%.3f to %.3f)", c.name, c.got.P10, m.Ref, c.want.P10, c.want.P10CI[0], c.want.P10CI[1])
		}
	}
	return nil
}

// measure ranks samples by global cosines and, with a weight above 0, by local similarities too.
func measure(ctx context.Context, e *embedder.Encoder, samples []eval.Sample, local float64, progress func(done, total int)) (eval.Table, error) {
	cases, err := eval.Cases(ctx, e, samples)
	if err != nil {
		return eval.Table{}, err
	}
	queries, err := eval.PhantomQueries(ctx, e, samples)
	if err == nil && local > 0 {
		err = eval.AddLocal(ctx, local, cases, queries, progress)
	}
	if err != nil {
		return eval.Table{}, err
	}
	return eval.Retrieval(cases, queries), nil
}

// PairsResult is what `radtrain eval pairs` prints.
type PairsResult struct {
	Model string `json:"model"`
	eval.PairsTable
	Local   float64         `json:"local,omitempty"` // weight of the local similarity; see [eval.LocalSimilarity]
	Skipped int             `json:"skipped"`         // studies without an image or a report that ingest takes
	Gain    *eval.PairsGain `json:"gain,omitempty"`
}

// PairsOptions are one call of `radtrain eval pairs`.
type PairsOptions struct {
	Models  []string   // directories: one, or one for each of Data
	Against []string   // of models to compare with, as many; or none
	Path    string     // folder or CSV in the layout that radstream publish reads
	Data    []string   // or data manifests, whose validation studies count
	NATS    bus.Config // for manifests of a stream
	Local   float64    // weight of the local similarity of text and image beside the global cosine, 0 or more
}

// EvaluatePairs measures how well a model finds the report of an image and the image of a
// report, and how much better than another. Of several manifests, the splits of one set, each is
// ranked by its own model, and the queries of all are taken together.
func EvaluatePairs(ctx context.Context, o PairsOptions, progress func(done, total int)) (PairsResult, error) {
	const op = "train.EvaluatePairs"
	if n := len(o.Models); n != max(1, len(o.Data)) || len(o.Against) != 0 && len(o.Against) != n {
		return PairsResult{}, fault.Errorf(op, fault.Usage, "name one model for each data manifest, and as many or none to compare with")
	}
	if err := checkLocal(o.Local, 0); err != nil {
		return PairsResult{}, fault.Wrap(op, err)
	}
	out, sets, err := pairsOfAll(ctx, o, o.Models, progress)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	if out.PairsTable = eval.Pairs(sets...); out.Pairs == 0 {
		return out, fault.Reject(op, fault.Invalid, ReasonStudies, "no study there has both an image and a report that ingest takes")
	}
	if len(o.Against) == 0 {
		return out, nil
	}
	other, against, err := pairsOfAll(ctx, o, o.Against, progress)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	gain := eval.ComparePairs(sets, against)
	gain.Against = other.Model
	out.Gain = &gain
	return out, nil
}

// pairsOfAll encodes the studies of each manifest with its model, or those of a CSV.
func pairsOfAll(ctx context.Context, o PairsOptions, models []string, progress func(done, total int)) (out PairsResult, sets [][]eval.Pair, err error) {
	out.Local = o.Local
	for i, dir := range models {
		data := ""
		if len(o.Data) > 0 {
			data = o.Data[i]
		}
		one, pairs, err := pairsOf(ctx, o, dir, data, progress)
		if err != nil {
			return out, nil, err
		}
		out.Model, out.Skipped = one.Model, out.Skipped+one.Skipped
		sets = append(sets, pairs)
	}
	return out, sets, nil
}

// pairsOf encodes the studies with one model, and compares them by local vectors if o says so.
func pairsOf(ctx context.Context, o PairsOptions, dir, data string, progress func(done, total int)) (out PairsResult, pairs []eval.Pair, err error) {
	take := func(e *embedder.Encoder, encoded []eval.Encoded, patient func(int) string) error {
		var patches, texts [][][]float32
		out.Model = e.Model().Ref.String()
		for i, v := range encoded {
			if v.Image == nil || v.Text == nil {
				out.Skipped++
				continue
			}
			pairs = append(pairs, v.Pair(patient(i)))
			patches, texts = append(patches, v.Patches), append(texts, v.Sentences)
		}
		if o.Local == 0 {
			return nil
		}
		rows, err := eval.LocalSimilarities(ctx, o.Local, patches, texts, progress)
		for i := range pairs {
			pairs[i].Local = rows[i]
		}
		return err
	}
	if data == "" {
		studies, err := scan(ctx, o.Path)
		if err == nil {
			err = checkLocal(o.Local, len(studies))
		}
		if err != nil {
			return out, nil, err
		}
		err = withCoder(ctx, dir, nil, embedder.Options{Local: o.Local > 0}, func(c *coder) error {
			encoded, err := c.encode(ctx, studies, progress)
			if err != nil {
				return err
			}
			return take(c.Encoder, encoded, func(i int) string { return patientOf(studies[i]) })
		})
		return out, pairs, err
	}
	m, err := trainer.ReadManifest(data)
	if err != nil {
		return out, nil, err
	}
	err = withOptions(ctx, dir, m.Preparation, embedder.Options{Local: o.Local > 0}, func(e *embedder.Encoder) error {
		d, err := Load(ctx, []string{data}, o.NATS, readerOf(e), progress)
		if err == nil {
			err = checkLocal(o.Local, len(d.Validation))
		}
		if err != nil {
			return err
		}
		encoded, err := eval.Encode(ctx, e, d.Validation)
		if err != nil {
			return err
		}
		return take(e, encoded, func(i int) string { return d.Validation[i].Patient })
	})
	return out, pairs, err
}

// patientOf is whose study it is, itself where nobody says.
func patientOf(s publish.Study) string { return cmp.Or(string(s.PatientID), string(s.UID)) }

// ZeroShotResult is what `radtrain eval zeroshot` prints.
type ZeroShotResult struct {
	Model string `json:"model"`
	eval.ZeroShotTable
	Skipped int `json:"skipped"` // studies without an image that ingest takes
	// Probe is what linear probes on the same image vectors reach, out of fold by patient.
	Probe *eval.ZeroShotTable `json:"probe,omitempty"`
}

// ZeroShotOptions are one call of `radtrain eval zeroshot`.
type ZeroShotOptions struct {
	Models []string   // directories: one, or one for each of Data
	Path   string     // CSV with label columns; see [labelColumns]
	Data   []string   // or data manifests, whose validation studies with known labels count
	Probe  bool       // train and measure linear probes too
	NATS   bus.Config // for manifests of a stream
}

// EvaluateZeroShot measures a model's label scores against what is known. Of several manifests, the
// splits of one set, each is scored by its own model; so that scores of different models can be
// ranked together, they are then replaced by their ranks inside the split, and there are no
// calibration errors; nor are there any of a model on the data that it was trained on, whose held-out
// studies calibrated it.
func EvaluateZeroShot(ctx context.Context, o ZeroShotOptions, progress func(done, total int)) (ZeroShotResult, error) {
	const op = "train.EvaluateZeroShot"
	var out ZeroShotResult
	if len(o.Models) != max(1, len(o.Data)) {
		return out, fault.Errorf(op, fault.Usage, "name one model for each data manifest")
	}
	if o.Probe && len(o.Data) > 1 {
		return out, fault.Errorf(op, fault.Usage, "probes are of one model: name one data manifest or a CSV")
	}
	var all scored
	for i, dir := range o.Models {
		s, err := scoredBy(ctx, o, i, dir, progress)
		if err != nil {
			return out, fault.Wrap(op, err)
		}
		if len(o.Models) > 1 {
			eval.Rank(s.labelled)
		}
		out.Model, out.Skipped = s.model, out.Skipped+s.skipped
		all.labelled = append(all.labelled, s.labelled...)
		all.calibrated = s.calibrated
		all.vectors, all.patients = append(all.vectors, s.vectors...), append(all.patients, s.patients...)
	}
	if out.ZeroShotTable = eval.ZeroShot(all.labelled); len(out.Labels) == 0 {
		return out, fault.Reject(op, fault.Invalid, ReasonStudies, "no label has both studies that show it and studies that do not")
	}
	if len(o.Models) > 1 || all.calibrated {
		for i := range out.Labels {
			out.Labels[i].Calibration = nil
		}
	}
	if o.Probe {
		truth := make([]map[string]bool, len(all.labelled))
		for i, l := range all.labelled {
			truth[i] = l.Truth
		}
		table := eval.ZeroShot(eval.Probed(all.vectors, truth, all.patients))
		out.Probe = &table
	}
	return out, nil
}

// scored is what one model says of studies whose labels are known.
type scored struct {
	model    string
	labelled []eval.Labelled
	vectors  [][]float32
	patients []string
	skipped  int
	// calibrated: these are studies on which its scores were calibrated.
	calibrated bool
}

func (s *scored) add(v eval.Encoded, truth map[string]bool, patient string) {
	if v.Image == nil {
		s.skipped++
		return
	}
	s.labelled = append(s.labelled, eval.Labelled{Scores: v.Scores, Truth: truth, Patient: patient})
	s.vectors, s.patients = append(s.vectors, v.Image), append(s.patients, patient)
}

// scoredBy scores the studies of the CSV, or those that manifest i holds out.
func scoredBy(ctx context.Context, o ZeroShotOptions, i int, dir string, progress func(done, total int)) (out scored, err error) {
	if len(o.Data) == 0 {
		manifest, err := model.Load(dir)
		if err != nil {
			return out, err
		}
		truth, err := labelColumns(o.Path, manifest.Labels)
		if err != nil {
			return out, err
		}
		studies, err := scan(ctx, o.Path)
		if err != nil {
			return out, err
		}
		err = withCoder(ctx, dir, nil, embedder.Options{}, func(c *coder) error {
			out.model = c.Model().Ref.String()
			encoded, err := c.encode(ctx, studies, progress)
			for i, v := range encoded {
				out.add(v, truth[studies[i].UID], patientOf(studies[i]))
			}
			return err
		})
		return out, err
	}
	m, err := trainer.ReadManifest(o.Data[i])
	if err != nil {
		return out, err
	}
	err = withModel(ctx, dir, m.Preparation, func(e *embedder.Encoder) error {
		out.model, out.calibrated = e.Model().Ref.String(), slices.Contains(e.Model().DataManifests, m.ID)
		d, err := Load(ctx, []string{o.Data[i]}, o.NATS, readerOf(e), progress)
		if err != nil {
			return err
		}
		known := slices.DeleteFunc(d.Validation, func(s *trainer.Study) bool { return !s.Labelled })
		encoded, err := eval.Encode(ctx, e, known)
		for j, v := range encoded {
			truth := map[string]bool{}
			for _, l := range e.Model().Labels {
				truth[l.Name] = slices.Contains(known[j].Labels, l.Name)
			}
			out.add(v, truth, known[j].Patient)
		}
		return err
	})
	return out, err
}
