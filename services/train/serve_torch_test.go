//go:build torch

package train_test

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/registry"
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

	for i, m := range all[:10] {
		publish(t, b, tenant, m, m.PrepId)
		if i == 3 {
			if err := train.Serve(ctx, o, hooks); fault.KindOf(err) != fault.Usage {
				t.Fatalf("nothing serves: %v", err)
			}
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
	hooks.Skipped = func(error) { // ten are too few; the others come while it waits
		skipped++
		for _, m := range all[10:] {
			publish(t, b, tenant, m, m.PrepId)
		}
	}
	if err := train.Serve(ctx, o, hooks); err != nil || skipped != 1 {
		t.Fatalf("%d rounds skipped, %v", skipped, err)
	}
	if decided == nil || !decided.GetPromoted() || decided.GetChampionRef() != "tiny@0" || len(decided.GetChecks()) < 8 || decided.GetTrainStudies() == 0 {
		t.Fatalf("the first candidate: %v", decided)
	}
	better := decided
	t.Logf("promoted: %v", better.GetChecks())
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
	if err != nil || len(records) != 3 || !records[1].Serving || !strings.Contains(string(records[2].Decision), "limit") {
		t.Errorf("%+v, %v", records, err)
	}
	saw, unknown, err := models.Saw(ctx, event.StudyKey(all[0].StudyKey))
	if err != nil || len(saw) != 2 || saw[0] != records[1].Ref || saw[1] != records[2].Ref || len(unknown) != 0 {
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
}
