package train

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/report/label"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/telemetry"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

// decide measures both models on the held-out studies of the data and holds the one against the
// other.
func (s *server) decide(ctx context.Context, serving model.Ref, champion, candidate string, report FitReport, data string) (*radstreamv1.ModelDecided, error) {
	m, err := model.Load(champion)
	if err != nil {
		return nil, err
	}
	tok, err := embedder.ReadTokenizer(champion, m) // the candidate's too
	if err != nil {
		return nil, err
	}
	d, err := Load(ctx, []string{data}, s.options.NATS, newReader(tok, m.Tokenizer.MaxLength), nil)
	if err != nil {
		return nil, err
	}
	held, err := s.unseen(ctx, d, m.DataManifests)
	if err != nil {
		return nil, err
	}
	held = held[:min(len(held), maxHeldOut)]
	measure := func(dir string) (m eval.Measured, encoded []eval.Encoded, err error) {
		var bytes int64
		for _, name := range []string{model.ImageGraph, model.TextGraph} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				return m, nil, fault.E("train.decide", fault.Internal, err)
			}
			bytes += info.Size()
		}
		err = withModel(ctx, dir, d.Preparation, func(e *embedder.Encoder) error {
			m, encoded, err = eval.Measure(ctx, e, bytes, held, saidLabels)
			return err
		})
		return m, encoded, err
	}
	was, before, err := measure(champion)
	if err != nil {
		return nil, err
	}
	is, after, err := measure(candidate)
	if err != nil {
		return nil, err
	}
	out := &radstreamv1.ModelDecided{
		ModelRef: is.Model, ChampionRef: serving.String(), Promoted: true, Reason: "no worse than the model that serves, on all counts",
		ManifestId: d.Manifests[0], TrainStudies: uint32(len(d.Train)), ValidationStudies: uint32(len(held)),
		NeighboursOverlap: eval.Overlap(before, after, maxGolden, neighbours),
	}
	var failed []string
	for _, c := range s.options.Gate.Judge(was, is, report.Collapsed) {
		out.Checks = append(out.Checks, &radstreamv1.ModelCheck{Name: c.Name, Champion: c.Champion, Candidate: c.Candidate, Limit: c.Limit, Passed: c.Passed})
		if !c.Passed {
			failed = append(failed, fmt.Sprintf("%s is %.4g, and the limit is %.4g", c.Name, c.Candidate, c.Limit))
		}
	}
	if len(failed) > 0 {
		out.Promoted, out.Reason = false, strings.Join(failed, "; ")
	}
	return out, nil
}

// unseen returns the held-out studies of patients none of whose studies were trained on with the data
// that the champion saw: a round may hold out more patients than those before it.
func (s *server) unseen(ctx context.Context, d *trainer.Dataset, saw []string) ([]*trainer.Study, error) {
	trained, err := s.models.TrainedOn(ctx, saw)
	if err != nil {
		return nil, err
	}
	patients := map[string]bool{}
	for _, study := range slices.Concat(d.Train, d.Validation) {
		patients[study.Patient] = patients[study.Patient] || trained[event.StudyKey(study.Key)]
	}
	return slices.DeleteFunc(slices.Clone(d.Validation), func(study *trainer.Study) bool { return patients[study.Patient] }), nil
}

// saidLabels says what the report of a study says of the labels that reports are searched for.
func saidLabels(s *trainer.Study) map[string]bool {
	if !s.Labelled {
		return nil
	}
	truth := map[string]bool{}
	for _, l := range label.Labels() {
		name := modelName(string(l))
		truth[name] = slices.Contains(s.Labels, name)
	}
	return truth
}

// conclude does what was decided of the model of a record, and publishes it. The id of the event
// is the candidate's, so that once more does no harm.
func (s *server) conclude(ctx context.Context, rec registry.Record) error {
	const op = "train.conclude"
	var d radstreamv1.ModelDecided
	if err := protojson.Unmarshal(rec.Decision, &d); err != nil {
		return fault.Errorf(op, fault.Corrupt, "the decision of %s cannot be read", rec.Ref)
	}
	champion, err := model.ParseRef(d.GetChampionRef())
	if err != nil {
		return fault.Wrap(op, err)
	}
	if d.GetPromoted() {
		_, err := s.models.Promote(ctx, rec.Ref, champion, registry.ByGate)
		if err != nil && fault.KindOf(err) == fault.Conflict {
			d.Promoted, d.Reason = false, "another model serves by now than the one it was measured against"
			var text []byte
			if text, err = protojson.Marshal(&d); err == nil {
				err = s.models.SetDecision(ctx, rec.Ref, text)
			}
		}
		if err != nil {
			return fault.Wrap(op, err)
		}
	}
	t, now := s.options.Tenant, time.Now()
	e, err := event.New(decisionID(t, rec.Ref), "radtrain serve", event.ModelDecidedSubject(t), now, &d)
	if err == nil {
		err = s.bus.Publish(ctx, e, nil)
	}
	if err != nil {
		return fault.Wrap(op, err)
	}
	became := telemetry.Refused
	if d.GetPromoted() {
		became = telemetry.Promoted
	}
	s.metrics.Round(became)
	s.metrics.Decided(&d, now)
	if s.hooks.Decided != nil {
		s.hooks.Decided(&d)
	}
	return nil
}

func decisionID(t event.Tenant, candidate model.Ref) event.MessageID {
	return event.ID("decided", string(t), candidate.String())
}

// takeUp concludes the last decision if a process died before it could.
func (s *server) takeUp(ctx context.Context) error {
	all, err := s.models.List(ctx)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(r registry.Record) bool { return r.Decision == nil || r.Tenant != s.options.Tenant })
	if len(all) == 0 {
		return nil
	}
	last := all[len(all)-1]
	said, _, err := s.bus.LastForSubject(ctx, event.StreamTraining, event.ModelDecidedSubject(s.options.Tenant))
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err == nil && said.ID == decisionID(s.options.Tenant, last.Ref) {
		body, err := said.Message()
		if err != nil {
			return err
		}
		if d, ok := body.(*radstreamv1.ModelDecided); ok {
			s.metrics.Decided(d, said.Time)
		}
		return nil
	}
	return s.conclude(ctx, last)
}
