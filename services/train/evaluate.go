package train

import (
	"context"
	"encoding/json"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

// RetrievalResult is what `radtrain eval retrieval` prints and what a model's manifest holds.
type RetrievalResult struct {
	Model   string `json:"model"`
	Studies int    `json:"studies"`
	Seed    uint64 `json:"seed"`
	Side    int    `json:"side"`
	eval.Table
}

// RetrievalOptions say which phantoms a model is measured on; see [eval.PhantomConfig].
type RetrievalOptions struct {
	Studies int
	Seed    uint64
	Side    int // pixels of a film; 0 is the phantoms' default
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
	out := RetrievalResult{Studies: o.Studies, Seed: o.Seed, Side: c.Side}
	preparer, err := newPreparer()
	if err != nil {
		return out, err
	}
	err = withModel(ctx, dir, preparer.Version(), func(e *embedder.Encoder) error {
		out.Model = e.Model().Ref.String()
		samples, err := eval.PhantomSamples(ctx, c, preparer, readerOf(e), progress)
		if err != nil {
			return err
		}
		out.Table, err = measure(ctx, e, samples)
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

func measure(ctx context.Context, e *embedder.Encoder, samples []eval.Sample) (eval.Table, error) {
	cases, err := eval.Cases(ctx, e, samples)
	if err != nil {
		return eval.Table{}, err
	}
	queries, err := eval.PhantomQueries(ctx, e, samples)
	if err != nil {
		return eval.Table{}, err
	}
	return eval.Retrieval(cases, queries), nil
}

// PairsResult is what `radtrain eval pairs` prints.
type PairsResult struct {
	Model string `json:"model"`
	eval.PairsTable
	Skipped int             `json:"skipped"` // studies without an image or a report that ingest takes
	Gain    *eval.PairsGain `json:"gain,omitempty"`
}

// PairsOptions are one call of `radtrain eval pairs`.
type PairsOptions struct {
	Model   string     // directory
	Against string     // of a model to compare with, or ""
	Path    string     // folder or CSV in the layout that radstream publish reads
	Data    string     // or data manifest, whose validation studies count
	NATS    bus.Config // for manifests of a stream
}

// EvaluatePairs measures how well a model finds the report of an image and the image of a
// report, and how much better than another.
func EvaluatePairs(ctx context.Context, o PairsOptions, progress func(done, total int)) (PairsResult, error) {
	const op = "train.EvaluatePairs"
	out, pairs, err := pairsOf(ctx, o, o.Model, progress)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	if len(pairs) == 0 {
		return out, fault.Reject(op, fault.Invalid, ReasonStudies, "no study there has both an image and a report that ingest takes")
	}
	out.PairsTable = eval.Pairs(pairs)
	if o.Against == "" {
		return out, nil
	}
	other, against, err := pairsOf(ctx, o, o.Against, progress)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	gain := eval.ComparePairs(pairs, against)
	gain.Against = other.Model
	out.Gain = &gain
	return out, nil
}

// pairsOf encodes the studies with one model.
func pairsOf(ctx context.Context, o PairsOptions, dir string, progress func(done, total int)) (out PairsResult, pairs []eval.Pair, err error) {
	take := func(e *embedder.Encoder, encoded []eval.Encoded) {
		out.Model = e.Model().Ref.String()
		for _, v := range encoded {
			if v.Image == nil || v.Text == nil {
				out.Skipped++
				continue
			}
			pairs = append(pairs, eval.Pair{Image: v.Image, Text: v.Text})
		}
	}
	if o.Data == "" {
		studies, err := scan(ctx, o.Path)
		if err != nil {
			return out, nil, err
		}
		err = withCoder(ctx, dir, nil, func(c *coder) error {
			encoded, err := c.encode(ctx, studies, progress)
			take(c.Encoder, encoded)
			return err
		})
		return out, pairs, err
	}
	m, err := trainer.ReadManifest(o.Data)
	if err != nil {
		return out, nil, err
	}
	err = withModel(ctx, dir, m.Preparation, func(e *embedder.Encoder) error {
		d, err := Load(ctx, []string{o.Data}, o.NATS, readerOf(e), progress)
		if err != nil {
			return err
		}
		encoded, err := eval.Encode(ctx, e, d.Validation)
		take(e, encoded)
		return err
	})
	return out, pairs, err
}

// ZeroShotResult is what `radtrain eval zeroshot` prints.
type ZeroShotResult struct {
	Model string `json:"model"`
	eval.ZeroShotTable
	Skipped int `json:"skipped"` // studies without an image that ingest takes
}

// EvaluateZeroShot measures a model's label scores against the label columns of a CSV; see
// [labelColumns].
func EvaluateZeroShot(ctx context.Context, dir, path string, progress func(done, total int)) (ZeroShotResult, error) {
	const op = "train.EvaluateZeroShot"
	var out ZeroShotResult
	manifest, err := model.Load(dir)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	truth, err := labelColumns(path, manifest.Labels)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	studies, err := scan(ctx, path)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	err = withCoder(ctx, dir, nil, func(c *coder) error {
		out.Model = c.Model().Ref.String()
		encoded, err := c.encode(ctx, studies, progress)
		if err != nil {
			return err
		}
		var labelled []eval.Labelled
		for i, v := range encoded {
			if v.Image == nil {
				out.Skipped++
				continue
			}
			labelled = append(labelled, eval.Labelled{Scores: v.Scores, Truth: truth[studies[i].UID]})
		}
		out.ZeroShotTable = eval.ZeroShot(labelled)
		if len(out.Labels) == 0 {
			return fault.Reject(op, fault.Invalid, ReasonStudies, "no label has both studies that show it and studies that do not")
		}
		return nil
	})
	return out, fault.Wrap(op, err)
}
