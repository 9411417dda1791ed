package train

import (
	"context"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer/eval"
)

// ProgressionOptions are one call of `radtrain eval progression`.
type ProgressionOptions struct {
	Pairs    int // to measure on, of EvaluationSeed
	Training int // pairs of each set that probes are trained on
	Sets     int // how many, each of another seed
	Side     int // pixels of a film; 0 is the phantoms' default
}

// DefaultProgression is what figures are quoted from.
func DefaultProgression() ProgressionOptions {
	return ProgressionOptions{Pairs: 240, Training: 320, Sets: 3}
}

// ProgressionResult is the counterpart of the paper's Table 5.
type ProgressionResult struct {
	Model    string                `json:"model"`
	Training int                   `json:"training_pairs"`
	Sets     int                   `json:"sets"`
	Side     int                   `json:"side"`
	Rows     []eval.ProgressionRow `json:"findings"`
}

// changingKinds are the findings of MS-CXR-T that phantoms have.
var changingKinds = []phantom.Kind{phantom.Consolidation, phantom.Edema, phantom.Effusion, phantom.Pneumothorax}

// changing returns phantoms with a prior each, frontal views alone.
func changing(pairs int, seed uint64) phantom.Config {
	c := eval.PhantomConfig(2*pairs, seed)
	c.Kinds, c.PriorShare, c.LateralShare = changingKinds, 1, 0
	return c
}

// EvaluateProgression measures how well the vectors of a study and of its prior tell whether a
// finding improved, stayed or worsened, and how well that of the study alone does.
func EvaluateProgression(ctx context.Context, dir string, o ProgressionOptions, progress func(done, total int)) (ProgressionResult, error) {
	const op = "train.EvaluateProgression"
	out := ProgressionResult{Training: o.Training, Sets: o.Sets}
	if least := 8 * len(changingKinds); o.Pairs < least || o.Training < least || o.Sets < 1 || o.Sets > lastKeptSeed-ValidationSeed {
		return out, fault.Errorf(op, fault.Usage, "an evaluation needs at least %d pairs to measure and to train on, and 1 to %d sets", least, lastKeptSeed-ValidationSeed)
	}
	preparer, err := newPreparer()
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	total, done := 2*(o.Pairs+o.Sets*o.Training), 0
	err = withModel(ctx, dir, preparer.Version(), func(e *embedder.Encoder) error {
		out.Model = e.Model().Ref.String()
		changes := func(pairs int, seed uint64) ([]eval.Change, error) {
			c := changing(pairs, seed)
			if o.Side > 0 {
				c.Side = o.Side
			}
			out.Side = c.Side
			samples, err := eval.PhantomSamples(ctx, c, preparer, readerOf(e), func(now, _ int) {
				if progress != nil {
					progress(done+now, total)
				}
			})
			if err != nil {
				return nil, err
			}
			done += 2 * pairs
			cases, err := eval.Cases(ctx, e, samples)
			return eval.Changes(samples, cases), err
		}
		all, err := changes(o.Pairs, EvaluationSeed)
		if err != nil {
			return err
		}
		span := func(from, to int) (out []int) {
			for i := from; i < to; i++ {
				out = append(out, i)
			}
			return out
		}
		test := span(0, len(all))
		var sets []eval.ProgressionSet
		for set := range o.Sets {
			c, err := changes(o.Training, ValidationSeed+1+uint64(set))
			if err != nil {
				return err
			}
			sets = append(sets, eval.ProgressionSet{Training: span(len(all), len(all)+len(c)), Test: test})
			all = append(all, c...)
		}
		out.Rows = eval.Progression(all, sets)
		return nil
	})
	return out, fault.Wrap(op, err)
}
