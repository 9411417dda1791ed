package traincli

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/cpu"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/progress"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
)

func (c *cli) fit() *cobra.Command {
	o := train.FitOptions{Trainer: trainer.DefaultConfig(), NATS: bus.DefaultConfig(), Version: c.Version}
	ref := "tiny@1.0.0"
	metrics := c.metrics()
	cmd := &cobra.Command{
		Use:   "fit",
		Short: "Train a model from frozen data",
		Long: `Train a model from frozen data and write a run's folder:

  model/          the model, ready for radstream and for radtrain eval
  weights.safetensors
                  its weights, for radtrain import and other programs
  run.json        what the run was told, and which data it saw
  steps.csv, validation.csv, *.svg
                  loss, collapse figures and validation over the steps
  checkpoint/     the model at the last validation
  state.safetensors
                  of a run that is not at its end: weights, moments, curves

Ctrl-C stops after the current step and exports what there is. With --resume the run in --out
goes on, after Ctrl-C from that step, after a kill or a power cut from the last checkpoint, with
the settings that it had; its model is then the same, bit for bit, as if it had not been stopped.
Gradients are not accumulated: the negatives of a contrastive step are the studies of one batch.`,
		Example: `  radtrain fit --preset tiny --data work/data/manifest.json --out work/run
  radtrain fit --data work/data/manifest.json --data work/more/manifest.json --steps 200 --out work/try
  radtrain fit --resume --out work/run
  radtrain fit --from work/run/model --model tiny@1.1.0 --lr 2e-4 --hold-text 0 --data new.json --out work/next
  radtrain fit --from work/small/model --mode adapters --model small@1.0.0 --hold-text 0 --data work/rocov2/split1.json --out work/films`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Ref, err = model.ParseRef(ref); err != nil {
				return err
			}
			if o.Resume {
				if err := resume(cmd.Flags(), &o); err != nil {
					return err
				}
			}
			if !o.Resume {
				if err := bf16(cmd.Flags(), &o); err != nil {
					return err
				}
			}
			show, finish := c.fitProgress()
			hooks := train.FitHooks{Load: c.progress("studies"), Progress: show, Measure: c.progress("phantoms"), Metrics: metrics.training}
			always := func(context.Context) error { return nil } // it works while it lives
			var report train.FitReport
			err = metrics.serve(cmd.Context(), always, func(ctx context.Context) (err error) {
				report, err = train.Fit(ctx, o, hooks)
				return err
			})
			finish()
			if err != nil {
				return err
			}
			return c.printFit(report, filepath.Join(o.Out, train.ModelDir))
		},
	}
	f := cmd.Flags()
	fitFlags(cmd, &o)
	f.StringVar(&ref, "model", ref, "name@version of the model that is made")
	f.StringVar(&o.Out, "out", "run", "folder of the run")
	f.StringVar(&o.Objective, "objective", "clinvla", "loss: clinvla, paper, convirt, gloria or mrm")
	modeFlag(f, &o.Mode)
	f.StringArrayVar(&o.Without, "without", nil, "leave out a part, to see what it is worth; may be repeated: "+strings.Join(train.Parts, ", "))
	f.BoolVar(&o.Measure, "measure", true, "measure the model on phantoms when it is done")
	metrics.flag(f)
	f.BoolVar(&o.Resume, "resume", false, "go on with the interrupted run in --out, with its settings")
	return cmd
}

// fitFlags are those of every run, alone or one of many.
func fitFlags(cmd *cobra.Command, o *train.FitOptions) {
	f, t := cmd.Flags(), &o.Trainer
	f.StringVar(&o.Preset, "preset", "tiny", "architecture: tiny, small or base")
	f.StringVar(&o.From, "from", "", "directory of a model to go on from, with its architecture; without it, weights start anew")
	cmd.MarkFlagsMutuallyExclusive("preset", "from")
	deviceFlag(f, &o.Device)
	f.StringArrayVar(&o.Data, "data", nil, "data manifest; may be repeated")
	f.Float64Var(&o.MaskedImage, "masked-image", 0, "weight of the masked-image term beside the loss; mrm has it at 1")
	f.Float64Var(&o.MaskedText, "masked-text", 0, "weight of the masked-language term beside the loss; mrm has it at 1")
	f.IntVar(&o.Threads, "threads", 0, "threads of the arithmetic; 0 is one a core")
	f.BoolVar(&o.BFloat16, "bf16", cpu.X86.HasAVX512BF16, "matrix products in bfloat16; the default is true on CPUs that multiply such numbers")
	f.IntVar(&o.CheckpointEvery, "checkpoint-every", 250, "steps between checkpoints; 0 is never but when interrupted")
	natsFlags(f, &o.NATS)
	f.Uint64Var(&t.Seed, "seed", t.Seed, "of weights, order, augmentation and masks")
	f.IntVar(&t.Batch, "batch", t.Batch, "studies a step")
	f.IntVar(&t.Steps, "steps", t.Steps, "updates")
	f.IntVar(&t.UnmaskedSteps, "unmasked-steps", t.UnmaskedSteps, "how many of them, the last, see every patch")
	f.Float64Var(&t.KeepShare, "keep", t.KeepShare, "share of patches that a masked step sees")
	f.IntVar(&t.HoldText, "hold-text", t.HoldText, "how many of them, the first, leave the text tower as it is")
	f.Float64Var(&t.LearningRate, "lr", t.LearningRate, "learning rate at its highest")
	f.IntVar(&t.Warmup, "warmup", t.Warmup, "steps of linear rise")
	f.Float64Var(&t.ImpressionShare, "impression-share", t.ImpressionShare, "share of steps that see the impressions alone")
	f.Float64Var(&t.SentenceShare, "sentence-share", t.SentenceShare, "share of steps that see one sentence of each report")
	f.Float64Var(&t.HideShare, "hide-share", t.HideShare, "share of the words that a masked-language term hides")
	f.IntVar(&t.Shift, "shift", t.Shift, "pixels that a film moves at most")
	f.Float64Var(&t.Intensity, "intensity", t.Intensity, "change of brightness, contrast and gamma")
	f.Float64Var(&t.Noise, "noise", t.Noise, "added noise at most, grey values")
	f.Float64Var(&t.ViewDrop, "view-drop", t.ViewDrop, "share of studies that lack one of their views")
	f.Float64Var(&t.PriorUse, "prior-use", t.PriorUse, "share of studies with a prior that show it")
	f.IntVar(&t.ValidateEvery, "validate-every", t.ValidateEvery, "steps between validations; 0 is never")
}

func deviceFlag(f *pflag.FlagSet, device *string) {
	f.StringVar(device, "device", "auto", "what computes: cpu, cuda, or auto for cuda where there is one")
}

// bf16 says whether to multiply in bfloat16 where nobody said: on GPUs, and on CPUs that do.
func bf16(f *pflag.FlagSet, o *train.FitOptions) error {
	name, err := train.Device(o.Device)
	if err == nil && name == "cuda" && !f.Changed("bf16") {
		o.BFloat16 = true
	}
	return err
}

func modeFlag(f *pflag.FlagSet, mode *string) {
	var names []string
	for _, m := range trainer.Modes {
		names = append(names, m.Name)
	}
	f.StringVar(mode, "mode", trainer.Modes[0].Name, "what trains: "+strings.Join(names, ", ")+"; the encoders stay as they are but in full")
}

// resume replaces o by the options of the run in its folder, but for those that do not change
// what the run makes.
func resume(f *pflag.FlagSet, o *train.FitOptions) error {
	var others []string
	f.Visit(func(f *pflag.Flag) {
		if !slices.Contains([]string{"resume", "out", "data", "nats", "nats-token", "nats-creds", "measure", "checkpoint-every", "telemetry-listen", "json"}, f.Name) {
			others = append(others, "--"+f.Name)
		}
	})
	if len(others) > 0 {
		return fault.Errorf("traincli.resume", fault.Usage, "a run goes on with the settings that it had: leave out %s", strings.Join(others, ", "))
	}
	was, err := train.ResumeOptions(o.Out)
	if err != nil {
		return err
	}
	if f.Changed("data") { // it may lie elsewhere now
		was.Data = o.Data
	}
	was.NATS, was.Version, was.Measure, was.CheckpointEvery = o.NATS, o.Version, o.Measure, o.CheckpointEvery
	*o = was
	return nil
}

// fitProgress returns a function that shows a run as a bar on a terminal, elsewhere as a line
// every few seconds, and a line for each validation; and one that gives the terminal back.
func (c *cli) fitProgress() (show func(trainer.Progress), finish func()) {
	var bars *progress.Bars
	var bar *progress.Bar
	var last time.Time
	terminal := progress.Terminal(c.Stderr)
	finish = func() {
		if bars != nil {
			bars.Finish()
			bars = nil
		}
	}
	show = func(p trainer.Progress) {
		out := c.Stderr
		if terminal && bars == nil {
			bars = progress.New(c.Stderr, c.JSON)
			bar = bars.Add("steps", p.Steps)
		}
		if terminal {
			out = bars
		}
		rate := p.StepsPerSecond
		left := time.Duration(float64(p.Steps-p.Step) / rate * float64(time.Second)).Round(time.Second)
		if terminal {
			bar.Note(fmt.Sprintf("loss %.3f, %.1f steps/s, %s left", p.Stats.Loss, rate, left))
			bar.Set(p.Step)
		} else if p.Validation != nil || time.Since(last) >= 5*time.Second || p.Step == p.Steps {
			last = time.Now()
			fmt.Fprintf(out, "step %d/%d  loss %.4f  cosine %.3f %.3f  rank %.1f %.1f  t %.4f  %.1f steps/s, %s left\n", p.Step, p.Steps, p.Stats.Loss,
				p.Stats.Image.Cosine, p.Stats.Text.Cosine, p.Stats.Image.Rank, p.Stats.Text.Rank, p.Stats.Temperature, rate, left)
		}
		if p.Validation != nil {
			var parts []string
			for _, name := range slices.Sorted(maps.Keys(p.Validation)) {
				parts = append(parts, fmt.Sprintf("%s %.3f", name, p.Validation[name]))
			}
			fmt.Fprintf(out, "validation at step %d: %s\n", p.Step, strings.Join(parts, "  "))
		}
		if p.Step == p.Steps { // what follows has a bar of its own
			finish()
		}
	}
	return show, finish
}

func (c *cli) printFit(r train.FitReport, dir string) error {
	if c.JSON {
		return c.PrintJSON(struct {
			Model string `json:"model"`
			train.FitReport
		}{dir, r})
	}
	fmt.Fprintf(c.Stdout, "%d steps in %.0f s, loss %.4f -> %.4f, %.1f %% of the time waiting for data, %d of %d parameters trained (%.1f %%), model in %s\n", r.Steps, r.Seconds, r.FirstLoss, r.LastLoss,
		100*r.Loading, r.Trained, r.Parameters, 100*float64(r.Trained)/float64(max(r.Parameters, 1)), dir)
	if r.Interrupted {
		fmt.Fprintf(c.Stdout, "The run was interrupted: the model is what was reached, and was not measured. To go on: radtrain fit --resume --out %s\n", filepath.Dir(dir))
	}
	if r.Collapsed {
		fmt.Fprintln(c.Stdout, "The run COLLAPSED: its vectors are all alike. Do not use this model.")
	}
	fmt.Fprintf(c.Stdout, "next: radtrain eval retrieval --model %s\n", dir)
	return nil
}
