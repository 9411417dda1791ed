package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

// Variant is one way to train, beside the whole model on the same data at the same budget.
type Variant struct {
	Name, About string
	change      func(*FitOptions)
}

// Variants are the ablations of the paper's Table 6 and the losses of others, the whole model first.
var Variants = []Variant{
	{"full", "all of ClinVLA", func(*FitOptions) {}},
	{"no-adapters", "without Transformer-Adapt: no language and task adapters", leaveOut(partAdapters)},
	{"no-invertible", "without invertible adapters", leaveOut(partInvertible)},
	{"no-multi-view", "frontal views only, also when it is measured", leaveOut(partLateral)},
	{"no-temporal-multi-view", "the same, and no prior", leaveOut(partLateral, partPrior)},
	{"no-local", "without the terms of sentences and regions", leaveOut(partLocal)},
	{"no-global", "without the terms of whole studies and texts", leaveOut(partGlobal)},
	{"heads", "the encoders stay as they start; two linear projections learn", func(o *FitOptions) { o.Mode = "heads" }},
	{"convirt", "ConVIRT's loss: whole studies and texts with negatives", objective("convirt")},
	{gloria, "GLoRIA's: regions and sentences too; one more row scores texts and images by them as well", objective(gloria)},
	{"mrm", "masked image and record modelling alone, every step masked", func(o *FitOptions) {
		o.Objective, o.Trainer.UnmaskedSteps, o.Trainer.HoldText = "mrm", 0, 0
	}},
	{"paper", "the paper's loss as it is printed, without negatives", objective("paper")},
}

// gloria is the variant that is scored by local similarities too, as GLoRIA was: with the weight of
// the global ones.
const gloria, gloriaLocal = "gloria", 1

func leaveOut(parts ...string) func(*FitOptions) {
	return func(o *FitOptions) { o.Without = parts }
}

func objective(name string) func(*FitOptions) {
	return func(o *FitOptions) { o.Objective = name }
}

// CompareOptions are one call of `radtrain compare`.
type CompareOptions struct {
	Fit      FitOptions // of the whole model; Out is a folder that gets one for each run
	Variants []string   // names of [Variants]; none is all. The whole model is always run.
	Seeds    int        // runs of each, from Fit.Trainer.Seed on
	Studies  int        // phantoms of EvaluationSeed to measure on
	Training int        // phantoms that probes are trained on, of kept seeds
	Side     int        // pixels of their films; 0 is the phantoms' default
}

// Comparison is the counterpart of the paper's Table 6, with the baselines beside it.
type Comparison struct {
	Steps   int                  `json:"steps"`
	Batch   int                  `json:"batch"`
	Studies int                  `json:"studies"`
	Rows    []eval.ComparisonRow `json:"rows"` // the whole model first
	// Collapsed are the runs whose vectors ended all alike, by folder.
	Collapsed []string `json:"collapsed,omitempty"`
}

// CompareHooks are called as a comparison goes on; each may be nil.
type CompareHooks struct {
	Run     func(name string, at, total int) // a run begins, or is found done
	Fit     FitHooks
	Measure func(done, total int)
}

// Compare trains the whole model and the variants, each with the same data, steps and seeds, and
// measures them on the same phantoms. Runs that a call before this one completed with the same
// settings are measured as they are, one that was interrupted goes on.
//
// Errors: those of [Fit]; Usage for variants that do not exist and for a folder whose runs had
// other settings.
func Compare(ctx context.Context, o CompareOptions, h CompareHooks) (*Comparison, error) {
	const op = "train.Compare"
	chosen, err := choose(o.Variants)
	if err != nil {
		return nil, err
	}
	c := eval.PhantomConfig(o.Studies, EvaluationSeed)
	if least := 4 * len(c.Kinds); o.Studies < least || o.Training < least || o.Seeds < 1 {
		return nil, fault.Errorf(op, fault.Usage, "a comparison needs at least %d phantoms to measure and to train probes on, and a seed", least)
	}
	if slices.ContainsFunc(chosen, func(v Variant) bool { return v.Name == gloria }) {
		if err := checkLocal(gloriaLocal, o.Studies); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	runs, collapsed, err := fitAll(ctx, o, chosen, h)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	p := viewer{options: o, progress: h.Measure}
	out := &Comparison{Steps: o.Fit.Trainer.Steps, Batch: o.Fit.Trainer.Batch, Studies: o.Studies, Collapsed: collapsed}
	var whole []eval.Run
	for i, v := range chosen {
		var all []eval.Run
		var training [][]eval.Case
		var changes [][]eval.Change
		for _, r := range runs[i] {
			m, err := p.see(ctx, r)
			if err != nil {
				return nil, fault.Wrap(op, err)
			}
			all, training, changes = append(all, m.run), append(training, m.training), append(changes, m.changes)
		}
		if i == 0 {
			whole = all
			out.Rows = append(out.Rows, eval.Compare(v.Name, all, nil, training, changes))
			continue
		}
		out.Rows = append(out.Rows, eval.Compare(v.Name, all, whole, training, changes))
		if v.Name != gloria {
			continue
		}
		for n, r := range runs[i] {
			if all[n].Cases, all[n].Queries, err = p.seeLocal(ctx, r); err != nil {
				return nil, fault.Wrap(op, err)
			}
		}
		out.Rows = append(out.Rows, eval.Compare(v.Name+", G + L", all, whole, training, changes))
	}
	return out, nil
}

// choose returns the variants of those names, the whole model before them; all for none.
func choose(names []string) ([]Variant, error) {
	if len(names) == 0 {
		return Variants, nil
	}
	out := Variants[:1:1]
	for _, name := range names {
		i := slices.IndexFunc(Variants, func(v Variant) bool { return v.Name == name })
		if i < 0 {
			var all []string
			for _, v := range Variants {
				all = append(all, v.Name)
			}
			return nil, fault.Errorf("train.Compare", fault.Usage, "the variants are %s", strings.Join(all, ", "))
		}
		if !slices.ContainsFunc(out, func(v Variant) bool { return v.Name == name }) {
			out = append(out, Variants[i])
		}
	}
	return out, nil
}

// fitAll trains what is not there yet. It returns the options of all runs, by variant and seed.
func fitAll(ctx context.Context, o CompareOptions, variants []Variant, h CompareHooks) (runs [][]FitOptions, collapsed []string, err error) {
	for i, v := range variants {
		runs = append(runs, nil)
		for seed := range o.Seeds {
			f := o.Fit
			f.Trainer.Seed += uint64(seed)
			v.change(&f)
			name := fmt.Sprintf("%s-%d", v.Name, f.Trainer.Seed)
			f.Out, f.Measure = filepath.Join(o.Fit.Out, name), false
			f.Ref = model.Ref{Name: v.Name, Version: o.Fit.Ref.Version}
			if h.Run != nil {
				h.Run(name, i*o.Seeds+seed+1, len(variants)*o.Seeds)
			}
			report, err := fitOnce(ctx, f, h.Fit)
			if err != nil {
				return nil, nil, err
			}
			if report.Interrupted {
				return nil, nil, fault.Errorf("train.Compare", fault.Canceled, "stopped in run %s: the same command goes on there", name)
			}
			if report.Collapsed {
				collapsed = append(collapsed, name)
			}
			runs[i] = append(runs[i], f)
		}
	}
	return runs, collapsed, nil
}

// fitOnce returns the report of a run that is complete, and trains it where it is not.
func fitOnce(ctx context.Context, o FitOptions, h FitHooks) (FitReport, error) {
	if _, err := os.Stat(filepath.Join(o.Out, settingsFile)); errors.Is(err, fs.ErrNotExist) {
		return Fit(ctx, o, h)
	}
	had, err := ResumeOptions(o.Out)
	if err != nil {
		return FitReport{}, err
	}
	same, err := sameRun(o, had)
	if err != nil {
		return FitReport{}, err
	}
	if !same {
		return FitReport{}, fault.Errorf("train.Compare", fault.Usage, "the run in %s had other settings: name another folder (--out)", o.Out)
	}
	if _, err := os.Stat(filepath.Join(o.Out, stateFile)); err == nil {
		had.Resume, had.NATS, had.Version, had.CheckpointEvery = true, o.NATS, o.Version, o.CheckpointEvery
		return Fit(ctx, had, h)
	}
	m, err := model.Load(filepath.Join(o.Out, ModelDir))
	if fault.KindOf(err) == fault.NotFound { // it was killed before its first checkpoint
		return Fit(ctx, o, h)
	}
	var report FitReport
	if err == nil {
		err = json.Unmarshal(m.Evaluation["training"], &report)
	}
	return report, err
}

// sameRun says whether a run that is told o makes what the one that had these options makes.
func sameRun(o, had FitOptions) (bool, error) {
	var err error
	if o, err = o.settled(); err != nil {
		return false, err
	}
	for _, x := range []*FitOptions{&o, &had} {
		x.Out, x.NATS, x.Version, x.Measure, x.Resume, x.CheckpointEvery = "", bus.Config{}, "", false, false, 0
	}
	return reflect.DeepEqual(o, had), nil
}

// viewer shows runs the phantoms that they are measured on. These are made once.
type viewer struct {
	options  CompareOptions
	progress func(done, total int)

	test, training      []eval.Sample
	pairs, trainingPair []eval.Sample // each with its prior before it
}

// seen is what one run says of the phantoms.
type seen struct {
	run      eval.Run
	training []eval.Case
	changes  []eval.Change
}

// see encodes the phantoms with the model of a run, without the views that the run went without.
func (v *viewer) see(ctx context.Context, run FitOptions) (out seen, err error) {
	preparer, err := newPreparer()
	if err != nil {
		return out, err
	}
	err = withModel(ctx, filepath.Join(run.Out, ModelDir), preparer.Version(), func(e *embedder.Encoder) error {
		if err := v.make(ctx, preparer, readerOf(e)); err != nil {
			return err
		}
		frontal := slices.Contains(run.Without, partLateral)
		cases := func(samples []eval.Sample) (encoded []eval.Case) {
			if err != nil {
				return nil
			}
			encoded, err = eval.Cases(ctx, e, viewsOf(samples, frontal))
			return encoded
		}
		out.run.Cases, out.training = cases(v.test), cases(v.training)
		pairs, others := cases(v.pairs), cases(v.trainingPair)
		if err != nil {
			return err
		}
		out.run.Changes, out.changes = eval.Changes(v.pairs, pairs), eval.Changes(v.trainingPair, others)
		out.run.Queries, err = eval.PhantomQueries(ctx, e, v.test)
		return err
	})
	return out, err
}

// seeLocal encodes the phantoms that are measured once more, and compares them with texts by local
// vectors too. see was called before.
func (v *viewer) seeLocal(ctx context.Context, run FitOptions) (cases []eval.Case, queries []eval.Query, err error) {
	err = withOptions(ctx, filepath.Join(run.Out, ModelDir), "", embedder.Options{Local: true}, func(e *embedder.Encoder) error {
		cases, err = eval.Cases(ctx, e, viewsOf(v.test, slices.Contains(run.Without, partLateral)))
		if err == nil {
			queries, err = eval.PhantomQueries(ctx, e, v.test)
		}
		if err != nil {
			return err
		}
		return eval.AddLocal(ctx, gloriaLocal, cases, queries, v.progress)
	})
	return cases, queries, err
}

// make makes the phantoms, which all runs see: their tokenizer is the same.
func (v *viewer) make(ctx context.Context, p *ingest.Preparer, t trainer.Reader) error {
	if v.test != nil {
		return nil
	}
	o := v.options
	done, total := 0, o.Studies+o.Training+2*(o.Studies+o.Training)
	draw := func(c phantom.Config) ([]eval.Sample, error) {
		if o.Side > 0 {
			c.Side = o.Side
		}
		defer func() { done += c.Studies }()
		return eval.PhantomSamples(ctx, c, p, t, func(now, _ int) {
			if v.progress != nil {
				v.progress(done+now, total)
			}
		})
	}
	test, err := draw(eval.PhantomConfig(o.Studies, EvaluationSeed))
	if err == nil {
		v.training, err = draw(eval.PhantomConfig(o.Training, ValidationSeed+1))
	}
	if err == nil {
		v.pairs, err = draw(changing(o.Studies, EvaluationSeed))
	}
	if err == nil {
		v.trainingPair, err = draw(changing(o.Training, ValidationSeed+1))
	}
	v.test = test
	return err
}

// viewsOf returns samples with their frontal views alone, if frontal says so.
func viewsOf(samples []eval.Sample, frontal bool) []eval.Sample {
	if !frontal {
		return samples
	}
	out := slices.Clone(samples)
	for i, s := range out {
		study := *s.Study
		study.Images = trainer.Frontal(study.Images)
		out[i].Study = &study
	}
	return out
}
