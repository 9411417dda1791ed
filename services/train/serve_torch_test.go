//go:build torch

package train_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/telemetry"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TestServe: two rounds over one archive. The first candidate is better than the random model that
// serves, and takes its place; the second is ruined by its learning rate, and is refused, kept and
// explained. A rollback returns to what served before.
func TestServe(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	c := small(160)
	c.SingleFinding, c.LateralShare, c.PriorShare = true, 0, 0
	generate(t, dir, c)
	conf, b := serve(t)
	var all []*radstreamv1.StudyPrepared
	if err := (trainer.Archive{Path: filepath.Join(dir, "prepared.pb")}).Each(ctx, func(r trainer.Record) error {
		m := new(radstreamv1.StudyPrepared)
		all = append(all, m)
		return proto.Unmarshal(r.Body, m)
	}); err != nil {
		t.Fatal(err)
	}
	o := train.ServeOptions{
		NATS: conf, Tenant: tenant, Dir: t.TempDir(), Validation: 0.4, Gate: eval.DefaultGate(), After: 3, Rounds: 1,
		Fit: train.FitOptions{Preset: "tiny", Objective: "clinvla", Version: "test", Trainer: trainer.DefaultConfig()},
	}
	o.Gate.MinStudies, o.Gate.MaxSlower = 5, 1000 // no test depends on time
	f := &o.Fit.Trainer
	f.Batch, f.Steps, f.UnmaskedSteps, f.HoldText, f.Warmup, f.ValidateEvery = 8, 160, 80, 20, 10, 0
	f.Shift, f.Intensity, f.Noise = 0, 0, 0
	var decided *radstreamv1.ModelDecided
	hooks := train.ServeHooks{Decided: func(d *radstreamv1.ModelDecided) { decided = d }}
	watched := watch(&hooks)

	for i, m := range all[:10] {
		publish(t, b, tenant, m, m.PrepId)
		if i == 3 {
			if err := train.Serve(ctx, o, hooks); fault.KindOf(err) != fault.Usage {
				t.Fatalf("nothing serves: %v", err)
			}
			watched.want(t, map[string]float64{`rounds_total{decision="failed"}`: 1, `rounds_total{decision="promoted"}`: 0})
		}
	}
	models, err := registry.Open(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	labels, err := zeroshot.DefaultLabels()
	if err != nil {
		t.Fatal(err)
	}
	random := model.Manifest{Ref: model.Ref{Name: "tiny", Version: "0"}, Preprocessing: all[0].Provenance.PreparationVersion, Temperature: 0.07, Labels: labels}
	first := t.TempDir()
	if err := onnxexport.WriteModel(first, model.Tiny(), onnxexport.Untrained(model.Tiny(), 1), onnxexport.FP16, tok, random); err != nil {
		t.Fatal(err)
	}
	if _, err := models.Push(ctx, first, "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := models.Promote(ctx, random.Ref, model.Ref{}, registry.ByOperator); err != nil {
		t.Fatal(err)
	}
	skipped := 0
	early, end := context.WithCancel(ctx)
	defer end()
	hooks.Skipped = func(error) { skipped++; end() }
	if err := train.Serve(early, o, hooks); err != nil || skipped != 1 {
		t.Fatalf("%d rounds skipped, %v", skipped, err)
	}
	hooks.Skipped = func(error) { // the next process tries the ten again; the others come while it waits
		skipped++
		for _, m := range all[10:] {
			publish(t, b, tenant, m, m.PrepId)
		}
	}
	watched = watch(&hooks)
	began := time.Now()
	var pending []float64
	hooks.Waiting = func(model.Ref) {
		pending = append(pending, watched.figures(t)["pending_studies"])
		if err := watched.training.Ready(ctx); err != nil {
			t.Errorf("waiting, and not ready: %v", err)
		}
	}
	if err := train.Serve(ctx, o, hooks); err != nil || skipped != 2 {
		t.Fatalf("%d rounds skipped, %v", skipped, err)
	}
	hooks.Skipped = nil
	if !slices.Equal(pending, []float64{10, float64(len(all) - 10)}) {
		t.Errorf("%v studies were pending", pending)
	}
	if err := watched.training.Ready(ctx); err == nil {
		t.Error("ready behind the end")
	}
	if decided == nil || !decided.GetPromoted() || decided.GetChampionRef() != "tiny@0" || len(decided.GetChecks()) < 8 || decided.GetTrainStudies() == 0 {
		t.Fatalf("the first candidate: %v", decided)
	}
	better := decided
	t.Logf("promoted: %v", better.GetChecks())
	figures := watched.gate(t, better)
	watched.want(t, map[string]float64{`rounds_total{decision="promoted"}`: 1, `rounds_total{decision="refused"}`: 0, `rounds_total{decision="failed"}`: 0, `rounds_total{decision="skipped"}`: 1,
		`run_info{model="` + better.GetModelRef() + `"}`: 1, "step": 160})
	if at := figures["last_round_timestamp_seconds"]; at < float64(began.Unix()) || at > float64(time.Now().Unix()+1) {
		t.Errorf("the last round was at %f", at)
	}
	serving, err := models.Serving(ctx)
	if err != nil || serving.Ref.String() != better.GetModelRef() {
		t.Fatalf("%+v serves, %v", serving, err)
	}

	// As if the process had died before it could say so: the next one says it.
	_, seq, err := b.LastForSubject(ctx, event.StreamTraining, event.ModelDecidedSubject(tenant))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SecureDelete(ctx, event.StreamTraining, seq); err != nil {
		t.Fatal(err)
	}
	var said []*radstreamv1.ModelDecided
	hooks.Decided = func(d *radstreamv1.ModelDecided) { said = append(said, d) }

	for i, m := range all[:3] { // three studies change
		m.Rev++
		publish(t, b, tenant, m, m.PrepId+"again"+string(rune('0'+i)))
	}
	f.LearningRate, f.Steps, f.UnmaskedSteps, f.HoldText, f.Warmup = 0.1, 10, 5, 0, 0
	watched, pending = watch(&hooks), nil
	if err := train.Serve(ctx, o, hooks); err != nil {
		t.Fatal(err)
	}
	if len(said) != 2 || !proto.Equal(said[0], better) {
		t.Fatalf("said: %v", said)
	}
	decided = said[1]
	if decided.GetPromoted() || decided.GetChampionRef() != better.GetModelRef() || !strings.Contains(decided.GetReason(), "limit") {
		t.Fatalf("the second candidate: %v", decided)
	}
	t.Logf("refused: %s", decided.GetReason())
	if !slices.Equal(pending, []float64{3}) {
		t.Errorf("%v studies were pending", pending)
	}
	watched.gate(t, decided)
	watched.want(t, map[string]float64{`rounds_total{decision="promoted"}`: 1, `rounds_total{decision="refused"}`: 1, `run_info{model="` + decided.GetModelRef() + `"}`: 1, "step": 10})

	// A round that holds out more measures on those that the champion was not trained on.
	all[3].Rev++
	publish(t, b, tenant, all[3], all[3].PrepId+"again")
	more := o
	more.After, more.Validation = 1, 0.7
	if err := train.Serve(ctx, more, hooks); err != nil {
		t.Fatal(err)
	}
	if third := said[len(said)-1]; len(said) != 3 || third.GetTrainStudies() >= decided.GetTrainStudies() || third.GetValidationStudies() != decided.GetValidationStudies() {
		t.Errorf("held out more: %v", said[2:])
	}
	decided = said[len(said)-1]
	figures = watched.gate(t, decided)

	// Another process knows what the last one decided, and has decided nothing itself.
	watched = watch(&hooks)
	stopping, stop := context.WithCancel(ctx)
	hooks.Waiting = func(model.Ref) { stop() }
	if err := train.Serve(stopping, o, hooks); err != nil {
		t.Fatal(err)
	}
	watched.gate(t, decided)
	watched.want(t, map[string]float64{`rounds_total{decision="refused"}`: 0, "last_round_timestamp_seconds": figures["last_round_timestamp_seconds"]})
	if serving, err = models.Serving(ctx); err != nil || serving.Ref.String() != better.GetModelRef() {
		t.Errorf("%+v serves, %v", serving, err)
	}
	e, _, err := b.LastForSubject(ctx, event.StreamTraining, event.ModelDecidedSubject(tenant))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := e.Message(); err != nil || !proto.Equal(body, decided) {
		t.Errorf("announced: %v, %v", body, err)
	}
	records, err := models.List(ctx)
	if err != nil || len(records) != 4 || !records[1].Serving || !strings.Contains(string(records[2].Decision), "limit") {
		t.Errorf("%+v, %v", records, err)
	}
	saw, unknown, err := models.Saw(ctx, event.StudyKey(all[0].StudyKey))
	if err != nil || len(saw) != 3 || saw[0] != records[1].Ref || saw[1] != records[2].Ref || len(unknown) != 0 {
		t.Errorf("a study was seen by %v, and perhaps %v: %v", saw, unknown, err)
	}
	if saw, unknown, err = models.Saw(ctx, "nobody"); err != nil || len(saw)+len(unknown) != 0 {
		t.Errorf("a study that is not there was seen by %v %v: %v", saw, unknown, err)
	}
	back, err := models.Rollback(ctx)
	if err != nil || back.Ref != random.Ref {
		t.Errorf("back to %v, %v", back.Ref, err)
	}
	kept := filepath.Join(t.TempDir(), "kept")
	if err := models.Pull(ctx, records[2].Ref, kept); err != nil {
		t.Fatal(err)
	}
	if m, err := model.Load(kept); err != nil || len(m.DataManifests) != 2 { // the champion's data and its own
		t.Errorf("the refused model saw %+v, %v", m, err)
	}

	// A study that is erased while a round runs ends the round, and not the process.
	all[4].Rev++
	publish(t, b, tenant, all[4], all[4].PrepId+"again")
	hooks.Waiting = nil
	hooks.Begun = func(model.Ref, model.Ref, int, int) {
		_, seq, err := b.LastForSubject(ctx, event.StreamPrepared, event.PreparedSubject(tenant, event.PatientKey(all[5].PatientKey), event.StudyKey(all[5].StudyKey)))
		if err == nil {
			err = b.SecureDelete(ctx, event.StreamPrepared, seq)
		}
		if err != nil {
			t.Error(err)
		}
	}
	before, err := os.ReadDir(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var why error
	stopping, stop = context.WithCancel(ctx)
	hooks.Skipped = func(err error) { why = err; stop() }
	if err := train.Serve(stopping, more, hooks); err != nil || why == nil || !strings.Contains(why.Error(), "erased while") {
		t.Errorf("a study was erased: %v, skipped for %v", err, why)
	}
	if after, err := os.ReadDir(o.Dir); err != nil || len(after) != len(before) {
		t.Errorf("the folder of the round that was given up is left: %v, %v", after, err)
	}
}

// watched are the metrics of one radtrain serve.
type watched struct {
	process  *telemetry.Metrics
	training *telemetry.Training
}

// watch gives hooks the metrics of a process that has just begun.
func watch(h *train.ServeHooks) watched {
	w := watched{process: telemetry.New("test")}
	w.training = w.process.Training()
	h.Fit.Metrics = w.training
	return w
}

// figures returns the metrics of training as Prometheus reads them, by name and labels.
func (w watched) figures(t *testing.T) map[string]float64 {
	t.Helper()
	page := httptest.NewRecorder()
	w.process.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	figures := map[string]float64{}
	for line := range strings.Lines(page.Body.String()) {
		name, figure, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name, ok := strings.CutPrefix(name, "radstream_training_"); ok {
			v, err := strconv.ParseFloat(figure, 64)
			if err != nil {
				t.Fatal(err)
			}
			figures[name] = v
		}
	}
	return figures
}

func (w watched) want(t *testing.T, want map[string]float64) {
	t.Helper()
	figures := w.figures(t)
	for name, v := range want {
		if got, ok := figures[name]; !ok || got != v {
			t.Errorf("%s is %g (%t), want %g", name, got, ok, v)
		}
	}
}

// gate holds the figures of the last gate against the decision.
func (w watched) gate(t *testing.T, d *radstreamv1.ModelDecided) map[string]float64 {
	t.Helper()
	want, checks := map[string]float64{}, 0
	for _, c := range d.GetChecks() {
		if strings.HasSuffix(c.GetName(), "_r10") || strings.HasSuffix(c.GetName(), "_auc") {
			want[`gate_ratio{check="`+c.GetName()+`",role="champion"}`] = c.GetChampion()
			want[`gate_ratio{check="`+c.GetName()+`",role="candidate"}`] = c.GetCandidate()
			checks++
		}
	}
	if checks != 3 {
		t.Errorf("the gate had %d of the checks that are metrics", checks)
	}
	w.want(t, want)
	return w.figures(t)
}
