package train

import (
	"context"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer/eval"
)

// MultiViewResult is what `radtrain eval multiview` prints.
type MultiViewResult struct {
	Model   string              `json:"model"`
	Studies int                 `json:"studies"`
	Seed    uint64              `json:"seed"`
	Side    int                 `json:"side"`
	Rows    []eval.MultiViewRow `json:"findings"`
}

// EvaluateMultiView measures what the model in dir gains from lateral views, on phantoms of all
// findings, some of which only the lateral view shows.
func EvaluateMultiView(ctx context.Context, dir string, o RetrievalOptions, progress func(done, total int)) (MultiViewResult, error) {
	const op = "train.EvaluateMultiView"
	c := eval.PhantomConfig(o.Studies, o.Seed)
	c.Kinds = nil // all
	if o.Side > 0 {
		c.Side = o.Side
	}
	out := MultiViewResult{Studies: o.Studies, Seed: o.Seed, Side: c.Side}
	if o.Studies < 2*len(phantom.Ranges()) {
		return out, fault.Errorf(op, fault.Usage, "an evaluation needs at least %d studies, two of each finding", 2*len(phantom.Ranges()))
	}
	preparer, err := newPreparer()
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	err = withModel(ctx, dir, preparer.Version(), func(e *embedder.Encoder) error {
		out.Model = e.Model().Ref.String()
		samples, err := eval.PhantomSamples(ctx, c, preparer, readerOf(e), progress)
		if err != nil {
			return err
		}
		both, err := eval.Cases(ctx, e, samples)
		if err != nil {
			return err
		}
		frontal, err := eval.Cases(ctx, e, viewsOf(samples, true))
		out.Rows = eval.MultiView(samples, both, frontal)
		return err
	})
	return out, fault.Wrap(op, err)
}
