package train

import (
	"context"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer/eval"
)

// ExplainResult is what `radtrain eval explain` prints.
type ExplainResult struct {
	Model   string            `json:"model"`
	Studies int               `json:"studies"`
	Seed    uint64            `json:"seed"`
	Side    int               `json:"side"`
	Rows    []eval.ExplainRow `json:"findings"`
}

// EvaluateExplain measures whether the heat maps of the model in dir point at what they should,
// on phantoms with one finding each.
func EvaluateExplain(ctx context.Context, dir string, o RetrievalOptions, progress func(done, total int)) (ExplainResult, error) {
	const op = "train.EvaluateExplain"
	c := eval.PhantomConfig(o.Studies, o.Seed)
	if o.Side > 0 {
		c.Side = o.Side
	}
	out := ExplainResult{Studies: o.Studies, Seed: o.Seed, Side: c.Side}
	if o.Studies < len(c.Kinds) {
		return out, fault.Errorf(op, fault.Usage, "an evaluation needs at least %d studies, one of each finding", len(c.Kinds))
	}
	preparer, err := newPreparer()
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	half := func(before int) func(done, total int) {
		if progress == nil {
			return nil
		}
		return func(done, total int) { progress(before+done, 2*total) }
	}
	err = withModel(ctx, dir, preparer.Version(), func(e *embedder.Encoder) error {
		out.Model = e.Model().Ref.String()
		samples, err := eval.PhantomSamples(ctx, c, preparer, readerOf(e), half(0))
		if err != nil {
			return err
		}
		queries, err := eval.PhantomQueries(ctx, e, samples)
		if err == nil {
			out.Rows, err = eval.Explain(ctx, e, samples, queries, half(o.Studies))
		}
		return err
	})
	return out, fault.Wrap(op, err)
}
