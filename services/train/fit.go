package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/telemetry"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// The parts of a run's folder.
const (
	ModelDir      = "model"      // the exported model: a model directory
	checkpointDir = "checkpoint" // the model as it was at the last validation
	settingsFile  = "run.json"
	stateFile     = "state.safetensors" // of a run that is not at its end
	weightsFile   = "weights.safetensors"
	lockFile      = "LOCK" // flock(2)ed while a process trains
)

// temperatureKey is that of the temperature in the metadata of weights.
const temperatureKey = "radstream.temperature"

// validationStudies bounds how many studies a validation during training looks at.
const validationStudies = 300

// FitOptions are one run of `radtrain fit`.
type FitOptions struct {
	Preset    string    // tiny, small or base; not used with From
	From      string    // directory of a model whose architecture, tokenizer and weights are the start; "" starts anew
	Ref       model.Ref // of the model that is made
	Data      []string  // paths of data manifests
	Out       string    // folder of the run; made when missing
	Objective string    // clinvla, paper, convirt, gloria or mrm
	// Weights of the masked-modelling terms, where they are not 0 in the place of the objective's.
	MaskedImage, MaskedText float64
	Without                 []string // of [Parts]: what the run goes without
	Mode                    string   // which weights train: full, adapters, task or heads; see [trainer.Modes]
	Threads                 int      // 0 is one a core
	BFloat16                bool     // matrix products in bfloat16
	Device                  string   // cpu, cuda or auto
	Trainer                 trainer.Config
	NATS                    bus.Config // for manifests of a stream
	Version                 string     // of the code, for the model's manifest
	Measure                 bool       // measure the model on phantoms when it is done

	Resume          bool // go on with the run in Out; see [ResumeOptions]
	CheckpointEvery int  // steps between checkpoints; 0 is never but when interrupted
}

// FitReport says what a run made; a model's manifest holds it as evaluation.training.
type FitReport struct {
	Parameters  int     `json:"parameters"` // of the model
	Trained     int     `json:"trained"`    // of them, in the mode of the run
	Steps       int     `json:"steps"`
	FirstLoss   float64 `json:"first_loss"`    // mean of the first 20 steps
	LastLoss    float64 `json:"last_loss"`     // mean of the last 20 steps
	Loading     float64 `json:"loading_share"` // of the time of steps, waiting for batches
	Collapsed   bool    `json:"collapsed"`
	Interrupted bool    `json:"interrupted"`
	Seconds     float64 `json:"seconds"`
}

// FitHooks are called as a run goes on; each may be nil.
type FitHooks struct {
	Load     func(done, total int)
	Progress func(trainer.Progress)
	Measure  func(done, total int)
	Metrics  *telemetry.Training // is told of the run and its steps; nil for none
}

// Fit trains a model and writes it to Out/model, with the curves and settings of the run
// beside it. When ctx ends, what was reached is exported all the same, without being measured,
// and kept so that the run can go on. Killed, it can go on from the last checkpoint. A run that
// goes on ends with the same weights, bit for bit, as one that was never stopped.
//
// Errors: Usage for wrong options, for a program without libtorch, for a folder with a model or an
// interrupted run when there is no Resume, for none when there is, and for a folder that another
// process trains in; NotFound, Invalid and
// Corrupt for the data; Internal when the loss is no number.
func Fit(ctx context.Context, o FitOptions, h FitHooks) (FitReport, error) {
	const op = "train.Fit"
	if err := o.Trainer.Validate(); err != nil {
		return FitReport{}, err
	}
	if err := o.check(); err != nil {
		return FitReport{}, err
	}
	if !canTrain { // said before data are loaded, which takes a while
		return FitReport{}, fault.Errorf(op, fault.Usage, "this radtrain was built without libtorch: make radtrain")
	}
	var err error
	if o, err = o.settled(); err != nil {
		return FitReport{}, fault.Wrap(op, err)
	}
	r := run{options: o, maker: "radtrain fit"}
	weights, temperature, err := r.begin()
	if err == nil {
		o.architecture(&r.config, weights)
		r.data, err = Load(ctx, o.Data, o.NATS, newReader(r.tokenizer, r.config.Text.MaxLength), h.Load)
	}
	if err == nil && o.Objective != "mrm" && !r.data.Differs() {
		err = fault.Reject(op, fault.Invalid, trainer.ReasonData, "all %d reports to train on say the same, so that there is nothing to tell apart: add studies of other findings (--data)", len(r.data.Train))
	}
	var from *trainer.Checkpoint
	if err == nil {
		from, err = r.resume()
	}
	if err == nil {
		err = r.start()
	}
	if err != nil {
		return FitReport{}, fault.Wrap(op, err)
	}
	defer r.lock.Close()
	h.Metrics.Run(o.Ref)
	// The films are most of the heap and hold no pointers, so that a collection is cheap; left to
	// grow, what batches leave behind doubles the process.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	debug.FreeOSMemory() // what decoding left behind
	if weights == nil {
		weights = trainer.Start(r.config, r.data, o.Trainer.Seed)
	}
	stepper, err := newStepper(r.config, weights, temperature, o)
	if err != nil {
		return FitReport{}, fault.Wrap(op, err)
	}
	var last trainer.Progress
	result, err := trainer.Fit(ctx, o.Trainer, r.config, r.data, stepper, from, trainer.Hooks{
		Validate: r.validate, Checkpoint: r.checkpoint, CheckpointEvery: o.CheckpointEvery,
		Progress: func(p trainer.Progress) {
			last = p
			h.Metrics.Step(p)
			if h.Progress != nil {
				h.Progress(p)
			}
		},
	})
	err = errors.Join(err, result.Curves.Write(o.Out), stepper.Close())
	first, final := result.Curves.Loss(20)
	mode, _ := trainer.FindMode(o.Mode) // the stepper has found it
	trained, all := mode.Parameters(r.config)
	report := FitReport{Parameters: all, Trained: trained, Steps: result.Steps, FirstLoss: first, LastLoss: final, Loading: result.Loading, Collapsed: result.Collapsed, Interrupted: result.Interrupted, Seconds: last.Elapsed.Seconds()}
	if err != nil {
		return report, fault.Wrap(op, err)
	}
	err = trainer.WriteTensors(filepath.Join(o.Out, weightsFile), result.Weights, map[string]string{
		temperatureKey: strconv.FormatFloat(result.Temperature, 'g', -1, 64),
	})
	if err == nil {
		err = r.finish(ctx, result, &report, h.Measure)
	}
	if err != nil || result.Interrupted {
		return report, fault.Wrap(op, err)
	}
	if ctx.Err() != nil {
		err = fault.Errorf(op, fault.Canceled, "stopped behind the last step: the model in %s is whole, but was not measured (radtrain eval retrieval measures it)", filepath.Join(o.Out, ModelDir))
	}
	if gone := os.Remove(filepath.Join(o.Out, stateFile)); !os.IsNotExist(gone) {
		err = errors.Join(err, fault.E(op, fault.Usage, gone))
	}
	return report, err
}

// run is what the steps of Fit share.
type run struct {
	options   FitOptions
	maker     string // for the model's manifest
	config    model.Config
	tokenizer *tokenizer.Tokenizer
	data      *trainer.Dataset
	from      *model.Manifest // of the model that the weights start from; nil for none
	lock      *os.File        // held while the run writes its folder
}

// begin finds out what is trained. Weights are nil, and the temperature 0, where the run starts
// anew.
func (r *run) begin() (w onnxexport.Weights, temperature float64, err error) {
	const op = "train.begin"
	o := r.options
	if o.From == "" {
		if r.config, err = preset(o.Preset); err == nil {
			r.tokenizer, err = tokenizer.BERTBaseCased()
		}
		return nil, 0, err
	}
	if r.from, w, err = onnxexport.ReadModel(o.From); err != nil {
		return nil, 0, fault.Wrap(op, err)
	}
	if r.from.Ref == o.Ref {
		return nil, 0, fault.Errorf(op, fault.Usage, "the model that is made is named %s like the one it starts from: give it another version (--model)", o.Ref)
	}
	r.config = r.from.Config
	r.tokenizer, err = embedder.ReadTokenizer(o.From, r.from)
	return w, r.from.Temperature, fault.Wrap(op, err)
}

// start makes the run's folder, takes it for this process alone and writes down its settings.
func (r *run) start() (err error) {
	const op = "train.start"
	o := r.options
	for _, dir := range []string{ModelDir, checkpointDir} {
		if err := os.MkdirAll(filepath.Join(o.Out, dir), 0o755); err != nil {
			return fault.E(op, fault.Usage, err)
		}
	}
	if r.lock, err = os.OpenFile(filepath.Join(o.Out, lockFile), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	defer func() {
		if err != nil {
			r.lock.Close()
		}
	}()
	if err := syscall.Flock(int(r.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fault.Errorf(op, fault.Usage, "another process trains in %s (its %s is held): wait for it, or name another folder (--out)", o.Out, lockFile)
	}
	text, err := json.MarshalIndent(settings{
		o.Ref, o.Preset, o.From, o.Objective, o.MaskedImage, o.MaskedText, o.Without, o.Mode, o.Device, o.BFloat16, o.Threads, o.Data, r.data.Manifests, len(r.data.Train), len(r.data.Validation), o.Version, o.Trainer,
	}, "", "  ")
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	return fault.E(op, fault.Usage, renameio.WriteFile(filepath.Join(o.Out, settingsFile), append(text, '\n'), 0o644))
}

// settings is what a run's folder says of it.
type settings struct {
	Model       model.Ref      `json:"model"`
	Preset      string         `json:"preset,omitempty"`
	From        string         `json:"from,omitempty"` // model directory
	Objective   string         `json:"objective"`
	MaskedImage float64        `json:"masked_image,omitempty"`
	MaskedText  float64        `json:"masked_text,omitempty"`
	Without     []string       `json:"without,omitempty"`
	Mode        string         `json:"mode"`
	Device      string         `json:"device"`
	BFloat16    bool           `json:"bfloat16"`
	Threads     int            `json:"threads"`
	Data        []string       `json:"data"` // paths
	Manifests   []string       `json:"data_manifests"`
	Train       int            `json:"train_studies"`
	Validation  int            `json:"validation_studies"`
	CodeVersion string         `json:"code_version"`
	Trainer     trainer.Config `json:"trainer"`
}

// ResumeOptions returns the options of the run in a folder, to go on with it. The paths of its
// data are those that it was told: relative ones count from where it was started. Errors: Usage
// when there is no run.
func ResumeOptions(out string) (FitOptions, error) {
	const op = "train.ResumeOptions"
	text, err := os.ReadFile(filepath.Join(out, settingsFile))
	if err != nil {
		return FitOptions{}, fault.Errorf(op, fault.Usage, "there is no run to go on with in %s: %w", out, err)
	}
	var s settings
	if err := json.Unmarshal(text, &s); err != nil {
		return FitOptions{}, fault.Errorf(op, fault.Corrupt, "%s: %w", filepath.Join(out, settingsFile), err)
	}
	return FitOptions{
		Preset: s.Preset, From: s.From, Ref: s.Model, Data: s.Data, Out: out, Objective: s.Objective, MaskedImage: s.MaskedImage, MaskedText: s.MaskedText, Without: s.Without, Mode: s.Mode, Device: s.Device, Threads: s.Threads, BFloat16: s.BFloat16,
		Trainer: s.Trainer, Resume: true,
	}, nil
}

// labels say what a run depends on besides its trainer's settings.
func (r *run) labels() map[string]string {
	o := r.options
	return map[string]string{
		"preset": o.Preset, "from": o.From, "objective": o.Objective, "masked": fmt.Sprint(o.MaskedImage, o.MaskedText), "without": strings.Join(o.Without, " "), "mode": o.Mode, "device": o.Device, "bf16": strconv.FormatBool(o.BFloat16), "threads": strconv.Itoa(o.Threads),
		"data": strings.Join(r.data.Manifests, " "),
	}
}

// resume returns the checkpoint to go on from, nil for a new run.
func (r *run) resume() (*trainer.Checkpoint, error) {
	const op = "train.resume"
	path := filepath.Join(r.options.Out, stateFile)
	c, err := trainer.ReadCheckpoint(path)
	switch {
	case fault.KindOf(err) == fault.NotFound && !r.options.Resume:
		return nil, wantNoModel(filepath.Join(r.options.Out, ModelDir))
	case fault.KindOf(err) == fault.NotFound:
		return nil, fault.Errorf(op, fault.Usage, "there is no interrupted run in %s: it has no %s, as a run that is at its end, or was killed before its first checkpoint", r.options.Out, stateFile)
	case err != nil:
		return nil, fault.Errorf(op, fault.KindOf(err), "%w; the run in %s cannot go on from it: name another folder (--out) and begin anew", err, r.options.Out)
	case !r.options.Resume:
		return nil, fault.Errorf(op, fault.Usage, "%s holds an interrupted run: go on with it (--resume), or name another folder (--out)", r.options.Out)
	}
	for name, want := range r.labels() {
		if have := c.Labels[name]; have != want {
			return nil, fault.Errorf(op, fault.Usage, "the run in %s had %s %q, not %q: with another it would not be the same run", r.options.Out, name, have, want)
		}
	}
	return c, nil
}

func (r *run) checkpoint(c *trainer.Checkpoint) error {
	c.Labels = r.labels()
	if err := trainer.WriteCheckpoint(filepath.Join(r.options.Out, stateFile), c); err != nil {
		return fault.Errorf("train.checkpoint", fault.KindOf(err), "the checkpoint of step %d was not written, the one before it stays: mend what is named here and go on from there (radtrain fit --resume --out %s): %w", c.Step, r.options.Out, err)
	}
	return nil
}

// manifest is what a model's manifest says before it is calibrated and measured.
func (r *run) manifest(steps int, temperature float64) (model.Manifest, error) {
	labels, err := zeroshot.DefaultLabels()
	return model.Manifest{
		Ref: r.options.Ref, Preprocessing: r.data.Preparation, Temperature: temperature, Labels: labels,
		DataManifests: r.saw(),
		Provenance:    model.Provenance{CreatedBy: r.maker, Seed: r.options.Trainer.Seed, Steps: int64(steps), CodeVersion: r.options.Version},
	}, err
}

// saw returns the data manifests that the weights come from, those of the model they started
// from too: an erasure asks for them.
func (r *run) saw() []string {
	if r.from == nil {
		return r.data.Manifests
	}
	all := slices.Concat(r.from.DataManifests, r.data.Manifests)
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *run) export(dir string, w onnxexport.Weights, m model.Manifest) error {
	return onnxexport.WriteModel(filepath.Join(r.options.Out, dir), r.config, w, onnxexport.FP16, r.tokenizer, m)
}

// validate measures a model as it is: exported, and seen through the embedder. Retrieval by
// class is over the validation studies with exactly one known label, pairs are over the same,
// or over all where labels are not known.
func (r *run) validate(ctx context.Context, w onnxexport.Weights, temperature float64) (map[string]float64, error) {
	m, err := r.manifest(0, temperature)
	if err != nil {
		return nil, err
	}
	if err := r.export(checkpointDir, w, m); err != nil {
		return nil, err
	}
	var single []eval.Sample
	var studies []*trainer.Study
	for _, s := range r.data.Validation {
		if s.Labelled && len(s.Labels) == 1 && s.Labels[0] != trainer.NoFinding && len(single) < validationStudies {
			single = append(single, eval.Sample{Study: s, Class: s.Labels[0]})
		}
		if !s.Labelled && len(studies) < validationStudies {
			studies = append(studies, s)
		}
	}
	for _, s := range single {
		studies = append(studies, s.Study)
	}
	figures := map[string]float64{}
	if len(studies) == 0 {
		return figures, nil
	}
	err = withModel(ctx, filepath.Join(r.options.Out, checkpointDir), r.data.Preparation, func(e *embedder.Encoder) error {
		encoded, err := eval.Encode(ctx, e, studies)
		if err != nil {
			return err
		}
		var pairs []eval.Pair
		for _, v := range encoded {
			pairs = append(pairs, v.Pair(""))
		}
		table := eval.Pairs(pairs)
		figures["image_to_text_r10"], figures["text_to_image_r10"] = table.ImageToText.R10, table.TextToImage.R10
		if len(single) < 20 {
			return nil
		}
		table2, err := measure(ctx, e, single, 0, nil)
		figures["image_to_image_p10"], figures["text_to_image_p10"] = table2.ImageToImage.P10, table2.TextToImage.P10
		figures["zero_shot_auc"] = table2.ZeroShot.AUC
		return err
	})
	return figures, err
}

// finish exports the model, calibrates its labels on the validation studies, and measures it.
// report is nil for weights that were not trained here.
func (r *run) finish(ctx context.Context, result trainer.Result, report *FitReport, progress func(done, total int)) error {
	// What there is gets exported also when ctx has ended.
	whole := context.WithoutCancel(ctx)
	m, err := r.manifest(result.Steps, result.Temperature)
	if err != nil {
		return err
	}
	if report != nil {
		if m.Evaluation, err = record(m.Evaluation, "training", report); err != nil {
			return err
		}
	}
	if err := r.export(ModelDir, result.Weights, m); err != nil {
		return err
	}
	if m.Labels, err = r.calibrate(whole, m.Labels); err != nil {
		return err
	}
	if err := r.export(ModelDir, result.Weights, m); err != nil {
		return err
	}
	if !r.options.Measure || ctx.Err() != nil {
		return nil
	}
	table, err := EvaluateRetrieval(ctx, filepath.Join(r.options.Out, ModelDir), DefaultRetrieval(), progress)
	if err != nil {
		return err
	}
	if m.Evaluation, err = record(m.Evaluation, "retrieval", table); err != nil {
		return err
	}
	return r.export(ModelDir, result.Weights, m)
}

// calibrate fits the labels' scores to the validation studies whose labels are known. A label
// that they do not show often enough keeps the calibration of the model that the run started
// from; where it has none, the label is left out of the model: nobody could say what its score
// means. Where no labels are known, all stay, uncalibrated.
func (r *run) calibrate(ctx context.Context, labels []model.Label) ([]model.Label, error) {
	var known []*trainer.Study
	for _, s := range r.data.Validation {
		if s.Labelled {
			known = append(known, s)
		}
	}
	if len(known) == 0 {
		return labels, nil
	}
	var kept []model.Label
	err := withModel(ctx, filepath.Join(r.options.Out, ModelDir), r.data.Preparation, func(e *embedder.Encoder) error {
		encoded, err := eval.Encode(ctx, e, known)
		if err != nil {
			return err
		}
		for _, l := range labels {
			x, present := make([]float64, len(known)), make([]bool, len(known))
			for i, s := range known {
				x[i] = encoded[i].Logits[l.Name]
				for _, name := range s.Labels {
					present[i] = present[i] || name == l.Name
				}
			}
			var ok bool
			if l.Calibration, ok = trainer.Calibrate(x, present); !ok && r.from != nil {
				for _, had := range r.from.Labels {
					if had.Name == l.Name {
						l.Calibration, ok = had.Calibration, true
					}
				}
			}
			if ok {
				kept = append(kept, l)
			}
		}
		return nil
	})
	if len(kept) == 0 { // too few studies to say anything: as if none were known
		return labels, err
	}
	return kept, err
}

// record adds what was measured to a manifest's evaluation.
func record(all map[string]json.RawMessage, name string, v any) (map[string]json.RawMessage, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fault.E("train.record", fault.Internal, err)
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	all[name] = text
	return all, nil
}

func preset(name string) (model.Config, error) {
	switch name {
	case "tiny":
		return model.Tiny(), nil
	case "small":
		return model.Small(), nil
	case "base":
		return model.Base(), nil
	}
	return model.Config{}, fault.Errorf("train.Fit", fault.Usage, "the preset is tiny, small or base")
}
