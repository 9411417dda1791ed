package train

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/eval"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TablesOptions say what a model is measured on.
type TablesOptions struct {
	Studies    int     // phantoms of EvaluationSeed
	Validation int     // phantoms of ValidationSeed, for the thresholds of zero-shot answers
	Side       int     // pixels of a film; 0 is the phantoms' default
	Keep       float64 // share of patches that a masked training step keeps
}

// DefaultTables is what figures are quoted from.
func DefaultTables() TablesOptions { return TablesOptions{Studies: 240, Validation: 240, Keep: 0.25} }

// ValidationSeed is the seed of the phantoms that thresholds come from. Like [EvaluationSeed] it is
// never trained on.
const ValidationSeed = 20261

// lastKeptSeed is the last of the seeds that no model is trained on; probes are trained on those
// behind ValidationSeed.
const lastKeptSeed = 20279

// Tables are the counterparts of the paper's Tables 3, 4 and 7 for one model, on phantoms.
type Tables struct {
	Model     string              `json:"model"`
	Studies   int                 `json:"studies"`
	Side      int                 `json:"side"`
	Retrieval eval.Table          `json:"retrieval"` // Table 3
	Answers   eval.Classification `json:"answers"`   // Table 4
	Cost      TimedCost           `json:"cost"`      // Table 7
	Coverage  eval.Coverage       `json:"coverage"`  // of lesions by what a masked step keeps
	Paper     json.RawMessage     `json:"paper"`

	// samples and vectors are kept for the pictures of a report.
	samples []eval.Sample
	cases   []eval.Case
	queries []eval.Query
}

// TimedCost is Table 7: what was counted, and what it takes here.
type TimedCost struct {
	onnxexport.Cost
	TextTokens int     `json:"text_tokens"`
	Millis     float64 `json:"image_millis_batch_1"` // median, of one image from pixels to vector
	Best       float64 `json:"image_millis_best"`    // of one image, in the batch that is fastest
	BestBatch  int     `json:"best_batch"`
}

// MeasureTables measures the model in dir.
func MeasureTables(ctx context.Context, dir string, o TablesOptions, progress func(done, total int)) (*Tables, error) {
	const op = "train.MeasureTables"
	c, v := eval.PhantomConfig(o.Studies, EvaluationSeed), eval.PhantomConfig(o.Validation, ValidationSeed)
	if o.Side > 0 {
		c.Side, v.Side = o.Side, o.Side
	}
	if o.Studies < 2*len(c.Kinds) || o.Validation < 2*len(c.Kinds) || !(o.Keep > 0 && o.Keep <= 1) {
		return nil, fault.Errorf(op, fault.Usage, "the tables need at least %d studies to measure and to validate on, and a share of patches above 0, to 1", 2*len(c.Kinds))
	}
	preparer, err := newPreparer()
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	out := &Tables{Studies: o.Studies, Side: c.Side, Paper: eval.Paper()}
	err = withModel(ctx, dir, preparer.Version(), func(e *embedder.Encoder) error {
		out.Model = e.Model().Ref.String()
		samples := func(c phantom.Config, from, total int) ([]eval.Sample, []eval.Case, error) {
			s, err := eval.PhantomSamples(ctx, c, preparer, readerOf(e), func(done, _ int) {
				if progress != nil {
					progress(from+done, total)
				}
			})
			if err != nil {
				return nil, nil, err
			}
			cases, err := eval.Cases(ctx, e, s)
			return s, cases, err
		}
		_, validation, err := samples(v, 0, o.Validation+o.Studies)
		if err != nil {
			return err
		}
		if out.samples, out.cases, err = samples(c, o.Validation, o.Validation+o.Studies); err != nil {
			return err
		}
		if out.queries, err = eval.PhantomQueries(ctx, e, out.samples); err != nil {
			return err
		}
		out.Retrieval = eval.Retrieval(out.cases, out.queries)
		out.Answers = eval.Classify(labelled(validation, e.Model().Labels), labelled(out.cases, e.Model().Labels), eval.CheXpertClasses)
		out.Coverage = eval.Cover(out.samples, e.Model().Config.Image, o.Keep)
		out.Cost, err = timeCost(ctx, e, out.samples)
		return err
	})
	return out, fault.Wrap(op, err)
}

// labelled says of phantoms with one finding what they show of a model's labels, and what they do
// not show.
func labelled(cases []eval.Case, labels []model.Label) []eval.Labelled {
	out := make([]eval.Labelled, len(cases))
	for i, c := range cases {
		truth := map[string]bool{}
		for _, l := range labels {
			if l.Name != "no_finding" {
				truth[l.Name] = l.Name == c.Class
			}
		}
		out[i] = eval.Labelled{Scores: c.Scores, Truth: truth}
	}
	return out
}

// timeCost times the image encoder on one image and on batches.
func timeCost(ctx context.Context, e *embedder.Encoder, samples []eval.Sample) (TimedCost, error) {
	const passes = 5
	c := TimedCost{TextTokens: 64, BestBatch: 1}
	c.Cost = onnxexport.CostOf(e.Model().Config, c.TextTokens)
	for _, batch := range []int{1, 2, 4, 8, 16} {
		inputs := make([]embedder.StudyInput, 0, batch)
		for i := range batch {
			inputs = append(inputs, embedder.StudyInput{Images: samples[i%len(samples)].Study.Images[:1]})
		}
		var millis []float64
		for range passes {
			start := time.Now()
			if _, err := e.EncodeStudies(ctx, inputs); err != nil {
				return c, err
			}
			millis = append(millis, float64(time.Since(start).Microseconds())/1000/float64(batch))
		}
		slices.Sort(millis)
		median := millis[passes/2]
		if batch == 1 {
			c.Millis, c.Best = median, median
		}
		if median < c.Best {
			c.Best, c.BestBatch = median, batch
		}
	}
	return c, nil
}
