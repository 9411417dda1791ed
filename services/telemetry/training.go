package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/trainer"
)

// Training is what a process that trains tells: of the run that is under way or was the last,
// and of the rounds of `radtrain serve`. Make one with [Metrics.Training]; it is safe for
// concurrent use, and a nil one counts nothing.
type Training struct {
	rounds *prometheus.CounterVec // decision

	mu      sync.Mutex
	model   model.Ref                 // that the run makes; zero before the first run
	last    *trainer.Progress         // of the run; nil before its first step
	decided *radstreamv1.ModelDecided // by the last round; nil before it
	at      time.Time                 // of that
	ready   func(context.Context) error
	pending func(context.Context) (int, error)
}

// Decision is what became of a round.
type Decision string

// The decisions. Failed is a round that ended in an error; Skipped one that was due before there
// were enough studies.
const (
	Promoted Decision = "promoted"
	Refused  Decision = "refused"
	Failed   Decision = "failed"
	Skipped  Decision = "skipped"
)

// Training adds the metrics of training to those of the process. It is called once.
func (m *Metrics) Training() *Training {
	t := &Training{rounds: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "radstream_training_rounds_total", Help: "Rounds that came to an end, by what was decided.",
	}, []string{"decision"})}
	m.registry.MustRegister(t.rounds, t)
	return t
}

// Run says that the run that makes the model begins: figures of an earlier one are gone.
func (t *Training) Run(of model.Ref) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.model, t.last = of, nil
}

// Step takes what the last step of the run measured.
func (t *Training) Step(p trainer.Progress) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = &p
}

// Rounds says that rounds are run here. ready tells whether they can be, and pending how many
// studies no round has seen yet; it is asked at every scrape.
func (t *Training) Rounds(ready func(context.Context) error, pending func(context.Context) (int, error)) {
	if t == nil {
		return
	}
	for _, d := range []Decision{Promoted, Refused, Failed, Skipped} {
		t.rounds.WithLabelValues(string(d)) // there from the start, so that a rate can be taken
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ready, t.pending = ready, pending
}

// Ready returns nil when rounds can be run; see [Metrics.Serve].
func (t *Training) Ready(ctx context.Context) error {
	t.mu.Lock()
	ready := t.ready
	t.mu.Unlock()
	if ready == nil {
		return fault.Errorf("telemetry.Ready", fault.Unavailable, "no rounds are run yet")
	}
	return ready(ctx)
}

// Round counts a round that came to an end.
func (t *Training) Round(d Decision) {
	if t != nil {
		t.rounds.WithLabelValues(string(d)).Inc()
	}
}

// Decided says what the last round decided, in whatever process, and when.
func (t *Training) Decided(d *radstreamv1.ModelDecided, at time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decided, t.at = d, at
}

// Describe implements prometheus.Collector. It describes nothing, because the terms of a loss
// depend on the run; the registry then checks the metrics as they come.
func (t *Training) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector: all figures of a run are those of one step.
func (t *Training) Collect(out chan<- prometheus.Metric) {
	t.mu.Lock()
	of, last, decided, at, pending := t.model, t.last, t.decided, t.at, t.pending
	t.mu.Unlock()
	desc := func(name, help string, labels prometheus.Labels) *prometheus.Desc {
		return prometheus.NewDesc("radstream_training_"+name, help, nil, labels)
	}
	gauge := func(name, help string, v float64, labels prometheus.Labels) {
		out <- prometheus.MustNewConstMetric(desc(name, help, labels), prometheus.GaugeValue, v)
	}
	if of != (model.Ref{}) {
		gauge("run_info", "The model that the run makes; always 1.", 1, prometheus.Labels{"model": of.String()})
	}
	if last != nil {
		s := last.Stats
		gauge("step", "Updates of the run that are done.", float64(last.Step), nil)
		gauge("planned_steps", "Updates that the run is to make.", float64(last.Steps), nil)
		gauge("loss", "What the last step minimised.", s.Loss, nil)
		for name, v := range s.Terms {
			gauge("loss_term", "The terms of the loss of the last step, unweighted.", v, prometheus.Labels{"term": name})
		}
		gauge("gradient_norm", "L2 norm of the gradient of the last step, before clipping.", s.GradNorm, nil)
		gauge("learning_rate", "Learning rate of the last step.", last.LearningRate, nil)
		for side, v := range map[string]trainer.Spread{"image": s.Image, "text": s.Text} {
			gauge("cosine", "Mean off-diagonal cosine of the vectors of the last step; above 0.95 they are all alike.", v.Cosine, prometheus.Labels{"side": side})
			gauge("effective_rank", "Effective rank of the vectors of the last step, 1 to studies of a batch.", v.Rank, prometheus.Labels{"side": side})
		}
		for scope, v := range map[string]float64{"global": s.Temperature, "local": s.LocalTemperature} {
			gauge("temperature", "What the last step divided cosines by.", v, prometheus.Labels{"scope": scope})
		}
		gauge("step_duration_seconds", "The last step, without waiting for its batch.", last.Took.Seconds(), nil)
		gauge("steps_per_second", "Mean since the run began or went on, validations included.", last.StepsPerSecond, nil)
		gauge("loading_ratio", "Share of the time of the steps so far that was spent waiting for data.", last.Loading, nil)
	}
	if decided != nil {
		gauge("last_round_timestamp_seconds", "When the last round decided, in whatever process.", float64(at.UnixMilli())/1e3, nil)
		for _, c := range decided.GetChecks() {
			switch c.GetName() {
			case "image_to_text_r10", "text_to_image_r10", "zero_shot_auc": // of one unit: shares
				for role, v := range map[string]float64{"champion": c.GetChampion(), "candidate": c.GetCandidate()} {
					gauge("gate_ratio", "What the last gate measured of both models on the same patients.", v, prometheus.Labels{"check": c.GetName(), "role": role})
				}
			}
		}
	}
	if pending != nil {
		const name, help = "pending_studies", "Studies with a revision that no round has seen yet."
		ctx, cancel := context.WithTimeout(context.Background(), depthTimeout)
		defer cancel()
		n, err := pending(ctx)
		if err != nil {
			out <- prometheus.NewInvalidMetric(desc(name, help, nil), err)
			return
		}
		gauge(name, help, float64(n), nil)
	}
}
