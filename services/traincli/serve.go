package traincli

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

func (c *cli) serve() *cobra.Command {
	conf := trainer.DefaultConfig()
	// A round goes on from a model that can tell studies apart already.
	conf.Steps, conf.UnmaskedSteps, conf.HoldText, conf.LearningRate, conf.Warmup, conf.ValidateEvery = 1000, 600, 0, 2e-4, 50, 0
	o := train.ServeOptions{
		NATS: bus.DefaultConfig(), Dir: "rounds", Validation: 0.1, Gate: eval.DefaultGate(),
		Fit: train.FitOptions{Objective: "clinvla", Trainer: conf, Version: c.Version, CheckpointEvery: 250},
	}
	tenant := string(event.DefaultTenant)
	metrics := c.metrics()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Train again and again from a running radstream, and promote what is better",
		Long: `Wait until a round is due, by the clock or after a number of new studies. Then freeze the
archive, train on from the model that serves, and measure both models on the same patients, that
neither was trained on. The candidate takes the other's place if it is no worse: retrieval both
ways and the mean zero-shot AUC (labels are those that ingest reads in the reports) at or above
the lower end of the other's 95 % interval, its vectors differ, no label is lost, and time and
memory stay within budget. What was decided and why is an event of the stream TRAINING, and
every candidate stays in the registry: see radstream models list. radstream models rollback
undoes a promotion. A running radstream up takes up what was promoted: see radstream models --help.

Ctrl-C ends a round; the run in its folder can be ended by radtrain fit --resume.`,
		Example: `  radtrain serve --after 500
  radtrain serve --schedule "0 0 3 * * *" --dir work/rounds     every night at three, UTC
  radtrain serve --schedule @weekly --after 2000 --steps 3000`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Tenant, err = event.ParseTenant(tenant); err != nil {
				return err
			}
			if err := bf16(cmd.Flags(), &o.Fit); err != nil {
				return err
			}
			show, finish := c.fitProgress()
			defer finish()
			hooks := train.ServeHooks{
				Waiting: func(serving model.Ref) {
					if serving != (model.Ref{}) {
						fmt.Fprintf(c.Stderr, "%s serves; waiting until a round is due\n", serving)
					}
				},
				Begun: func(candidate, champion model.Ref, train, validation int) {
					fmt.Fprintf(c.Stderr, "training %s on from %s: %d studies, %d held out\n", candidate, champion, train, validation)
				},
				Fit:     train.FitHooks{Load: c.progress("studies"), Progress: show, Metrics: metrics.training},
				Skipped: func(err error) { fmt.Fprintf(c.Stderr, "a round was due: %s\n", fault.Detail(err)) },
				Decided: func(d *radstreamv1.ModelDecided) {
					finish()
					if err := c.printDecision(d); err != nil {
						fmt.Fprintln(c.Stderr, err)
					}
				},
			}
			return metrics.serve(cmd.Context(), metrics.training.Ready, func(ctx context.Context) error { return train.Serve(ctx, o, hooks) })
		},
	}
	f, t := cmd.Flags(), &o.Fit.Trainer
	natsFlags(f, &o.NATS)
	metrics.flag(f)
	f.StringVar(&tenant, "tenant", tenant, "tenant")
	f.StringVar(&o.Schedule, "schedule", "", "when rounds are due, in UTC: a cron expression with seconds first, @daily, @every 6h")
	f.IntVar(&o.After, "after", 0, "a round is due after so many new or changed studies; 0 is never")
	f.IntVar(&o.Rounds, "rounds", 0, "end after so many rounds; 0 is never")
	f.StringVar(&o.Dir, "dir", o.Dir, "folder of the rounds")
	f.Float64Var(&o.Validation, "validation", o.Validation, "share of patients that is never trained on")
	f.IntVar(&o.Gate.MinStudies, "min-held-out", o.Gate.MinStudies, "held-out studies without which no round is run")
	f.Float64Var(&o.Gate.MaxSlower, "max-slower", o.Gate.MaxSlower, "times that a study may take under the candidate, of its time under the model that serves")
	f.StringVar(&o.Fit.Objective, "objective", o.Fit.Objective, "loss: clinvla, paper, convirt, gloria or mrm")
	modeFlag(f, &o.Fit.Mode)
	deviceFlag(f, &o.Fit.Device)
	f.IntVar(&o.Fit.Threads, "threads", 0, "threads of the arithmetic; 0 is one a core")
	f.BoolVar(&o.Fit.BFloat16, "bf16", cpu.X86.HasAVX512BF16, "matrix products in bfloat16; the default is true on CPUs that multiply such numbers")
	f.Uint64Var(&t.Seed, "seed", t.Seed, "of order, augmentation and masks")
	f.IntVar(&t.Batch, "batch", t.Batch, "studies a step")
	f.IntVar(&t.Steps, "steps", t.Steps, "updates of a round")
	f.IntVar(&t.UnmaskedSteps, "unmasked-steps", t.UnmaskedSteps, "how many of them, the last, see every patch")
	f.IntVar(&t.Warmup, "warmup", t.Warmup, "steps of linear rise")
	f.Float64Var(&t.LearningRate, "lr", t.LearningRate, "learning rate at its highest")
	return cmd
}

// printDecision says what was decided, on standard output.
func (c *cli) printDecision(d *radstreamv1.ModelDecided) error {
	if c.JSON {
		text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(d)
		if err != nil {
			return fault.E("traincli.printDecision", fault.Internal, err)
		}
		_, err = fmt.Fprintf(c.Stdout, "%s\n", text)
		return fault.E("traincli.printDecision", fault.Internal, err)
	}
	what := "REFUSED"
	if d.GetPromoted() {
		what = "PROMOTED"
	}
	fmt.Fprintf(c.Stdout, "%s %s: %s\n\n", d.GetModelRef(), what, d.GetReason())
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\t%s\tcandidate\tlimit\t\n", d.GetChampionRef())
	for _, k := range d.GetChecks() {
		mark := ""
		if !k.GetPassed() {
			mark = "failed"
		}
		fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%.4g\t%s\n", k.GetName(), k.GetChampion(), k.GetCandidate(), k.GetLimit(), mark)
	}
	if err := w.Flush(); err != nil {
		return fault.E("traincli.printDecision", fault.Internal, err)
	}
	fmt.Fprintf(c.Stdout, "\n%d studies held out; %.0f %% of the nearest neighbours stay\n", d.GetValidationStudies(), 100*d.GetNeighboursOverlap())
	return nil
}
