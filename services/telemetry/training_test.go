package telemetry

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/trainer"
)

// TestTraining: of a run its last step is told, and nothing of the run before it; of rounds the
// last decision.
func TestTraining(t *testing.T) {
	m := New("v1")
	training := m.Training()
	if names := trainingNames(t, m); len(names) > 0 {
		t.Errorf("before anything: %v", names)
	}
	if err := training.Ready(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("ready before rounds are run: %v", err)
	}
	training.Run(model.Ref{Name: "tiny", Version: "1.0.0"})
	training.Step(trainer.Progress{Step: 9, Stats: trainer.StepStats{Terms: map[string]float64{"masked_image": 1}}})
	training.Run(model.Ref{Name: "tiny", Version: "1.1.0"})
	if text := scrape(t, m); strings.Contains(text, "training_step") || !strings.Contains(text, `radstream_training_run_info{model="tiny@1.1.0"} 1`) {
		t.Errorf("of a run that has not made a step:\n%s", text)
	}
	training.Step(trainer.Progress{
		Step: 2, Steps: 24, LearningRate: 0.001, Took: 250 * time.Millisecond, StepsPerSecond: 3, Loading: 0.125,
		Stats: trainer.StepStats{
			Loss: 7.5, Terms: map[string]float64{"global": 4, "local": 3.5}, GradNorm: 2,
			Image: trainer.Spread{Cosine: 0.5, Rank: 6}, Text: trainer.Spread{Cosine: 0.25, Rank: 7}, Temperature: 0.07, LocalTemperature: 0.1,
		},
	})
	var unread error
	training.Rounds(func(context.Context) error { return unread }, func(context.Context) (int, error) { return 5, unread })
	training.Round(Refused)
	training.Decided(&radstreamv1.ModelDecided{Checks: []*radstreamv1.ModelCheck{
		{Name: "zero_shot_auc", Champion: 0.75, Candidate: 0.5, Limit: 0.625}, {Name: "bytes", Champion: 5e6, Candidate: 5e6},
	}}, time.UnixMilli(1700000000500))
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(`
# HELP radstream_training_cosine Mean off-diagonal cosine of the vectors of the last step; above 0.95 they are all alike.
# TYPE radstream_training_cosine gauge
radstream_training_cosine{side="image"} 0.5
radstream_training_cosine{side="text"} 0.25
# HELP radstream_training_effective_rank Effective rank of the vectors of the last step, 1 to studies of a batch.
# TYPE radstream_training_effective_rank gauge
radstream_training_effective_rank{side="image"} 6
radstream_training_effective_rank{side="text"} 7
# HELP radstream_training_gate_ratio What the last gate measured of both models on the same patients.
# TYPE radstream_training_gate_ratio gauge
radstream_training_gate_ratio{check="zero_shot_auc",role="candidate"} 0.5
radstream_training_gate_ratio{check="zero_shot_auc",role="champion"} 0.75
# HELP radstream_training_gradient_norm L2 norm of the gradient of the last step, before clipping.
# TYPE radstream_training_gradient_norm gauge
radstream_training_gradient_norm 2
# HELP radstream_training_last_round_timestamp_seconds When the last round decided, in whatever process.
# TYPE radstream_training_last_round_timestamp_seconds gauge
radstream_training_last_round_timestamp_seconds 1.7000000005e+09
# HELP radstream_training_learning_rate Learning rate of the last step.
# TYPE radstream_training_learning_rate gauge
radstream_training_learning_rate 0.001
# HELP radstream_training_loading_ratio Share of the time of the steps so far that was spent waiting for data.
# TYPE radstream_training_loading_ratio gauge
radstream_training_loading_ratio 0.125
# HELP radstream_training_loss What the last step minimised.
# TYPE radstream_training_loss gauge
radstream_training_loss 7.5
# HELP radstream_training_loss_term The terms of the loss of the last step, unweighted.
# TYPE radstream_training_loss_term gauge
radstream_training_loss_term{term="global"} 4
radstream_training_loss_term{term="local"} 3.5
# HELP radstream_training_pending_studies Studies with a revision that no round has seen yet.
# TYPE radstream_training_pending_studies gauge
radstream_training_pending_studies 5
# HELP radstream_training_planned_steps Updates that the run is to make.
# TYPE radstream_training_planned_steps gauge
radstream_training_planned_steps 24
# HELP radstream_training_rounds_total Rounds that came to an end, by what was decided.
# TYPE radstream_training_rounds_total counter
radstream_training_rounds_total{decision="failed"} 0
radstream_training_rounds_total{decision="promoted"} 0
radstream_training_rounds_total{decision="refused"} 1
radstream_training_rounds_total{decision="skipped"} 0
# HELP radstream_training_run_info The model that the run makes; always 1.
# TYPE radstream_training_run_info gauge
radstream_training_run_info{model="tiny@1.1.0"} 1
# HELP radstream_training_step Updates of the run that are done.
# TYPE radstream_training_step gauge
radstream_training_step 2
# HELP radstream_training_step_duration_seconds The last step, without waiting for its batch.
# TYPE radstream_training_step_duration_seconds gauge
radstream_training_step_duration_seconds 0.25
# HELP radstream_training_steps_per_second Mean since the run began or went on, validations included.
# TYPE radstream_training_steps_per_second gauge
radstream_training_steps_per_second 3
# HELP radstream_training_temperature What the last step divided cosines by.
# TYPE radstream_training_temperature gauge
radstream_training_temperature{scope="global"} 0.07
radstream_training_temperature{scope="local"} 0.1
`), trainingNames(t, m)...); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("not by Prometheus' conventions: %v, %v", problems, err)
	}
	if err := training.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	unread = errors.New("no bus")
	if err := training.Ready(t.Context()); !errors.Is(err, unread) {
		t.Errorf("ready without a bus: %v", err)
	}
	if text := scrape(t, m); strings.Contains(text, "pending_studies") || !strings.Contains(text, "radstream_training_loss 7.5") {
		t.Errorf("a bus that does not answer costs more than its own figure:\n%s", text)
	}
}

// trainingNames returns the names of all metrics of training that there are.
func trainingNames(t *testing.T, m *Metrics) (names []string) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "radstream_training_") {
			names = append(names, f.GetName())
		}
	}
	return names
}

// TestNobodyWatches: what trains need not know whether somebody asks for metrics.
func TestNobodyWatches(t *testing.T) {
	var none *Training
	none.Run(model.Ref{})
	none.Step(trainer.Progress{})
	none.Rounds(nil, nil)
	none.Round(Promoted)
	none.Decided(nil, time.Time{})
}
