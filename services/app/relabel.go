package app

import (
	"context"
	"slices"
	"time"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/stage"
)

// What findings are scored may change while the system runs:
//
//	radstream relabel -> registry, key labels, under the next number
//	  -> every model at work encodes the prompts; what it embeds from then on is scored by the new set
//	  -> what it embedded before is scored again, from the vectors in EMBEDDED, and published once more
//	     with the number, in the place of the last message of its study only
//	  -> index takes it: the later label set wins over an earlier one of the same revision
//
// No image is encoded again. A process that dies goes on at its next start: what is scored already
// says so by its number.

// labelSet is what a version scores.
type labelSet struct {
	number  uint64
	name    string // empty: the manifest's own
	labels  []model.Label
	prompts []zeroshot.Label // the same, encoded
	problem string           // why these are the manifest's own in the place of the set's
}

// labelSet returns what is scored by now. Errors: the bus's; those of the encoder.
func (v *version) labelSet(ctx context.Context) (*labelSet, error) {
	set, err := v.app.models.LabelSet(ctx)
	if err != nil {
		return nil, err
	}
	v.labelsMu.Lock()
	defer v.labelsMu.Unlock()
	now := v.labels.Load()
	if now != nil && now.number == set.Number {
		return now, nil
	}
	next := &labelSet{number: set.Number, name: set.Name, labels: set.Of(v.manifest)}
	next.prompts, err = v.model.encoder.EncodeLabels(ctx, next.labels)
	if err != nil && fault.KindOf(err) == fault.Invalid {
		v.app.opt.Log.Error().Str("model", v.manifest.Ref.String()).Str("labels", set.Name).Err(err).Msg("the label set cannot be used: the model scores its own labels")
		next.problem, err = fault.Detail(err), nil
		next.name, next.labels, next.prompts = "", v.manifest.Labels, v.model.labels
	}
	if err == nil && now != nil && v.app.store != nil { // what filters ask for has an index before it has data
		err = v.app.store.Ensure(ctx, v.indexSpec(next.labels))
	}
	if err != nil {
		return nil, err
	}
	v.labels.Store(next)
	return next, nil
}

// scoredBy is the label set that queries name; that of the moment before, while another is taken up.
func (v *version) scoredBy() query.LabelSet {
	s := v.labels.Load()
	return query.LabelSet{Number: s.number, Name: s.name, Labels: s.labels}
}

// startLabels follows the label set, and scores again what was embedded before it changed.
func (v *version) startLabels(ctx context.Context) (running, error) {
	if _, err := v.labelSet(ctx); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		again := followEvery
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(again):
			}
			again = followEvery
			if err := v.relabel(ctx); err != nil && ctx.Err() == nil {
				v.app.opt.Log.Warn().Err(err).Dur("again_after", followAgain).Msg("could not follow the label set")
				again = followAgain
			}
		}
	}, nil
}

// relabel takes up the label set in force, and goes on with what is to be scored by it.
func (v *version) relabel(ctx context.Context) error {
	set, err := v.labelSet(ctx)
	if err != nil || set.number == 0 || !slices.Contains(v.app.conf.Target, "embed") {
		return err
	}
	scored, err := v.app.models.Scored(ctx, v.manifest.Ref)
	if err != nil || scored.Number > set.number || scored.Number == set.number && scored.Done {
		return err
	}
	if v.rescored.Number != set.number || !v.rescored.Done {
		v.rescored = registry.Scored{Number: set.number, Problem: set.problem}
		if err := v.rescore(ctx, set); err != nil {
			return err
		}
		_, last, err := v.app.bus.LastForSubject(ctx, event.StreamEmbedded, v.embedded())
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		v.rescoredTo, v.rescored.Done = last, true // before anybody is told: the index may not have followed
		v.app.opt.Log.Info().Str("model", v.manifest.Ref.String()).Uint64("label_set", set.number).Int("studies", v.rescored.Studies).Msg("what was embedded before is scored by the label set")
	}
	if v.rescoredTo > 0 { // else nothing was ever embedded
		if indexed, err := v.reached(ctx, stageIndex, v.rescoredTo); !indexed || err != nil {
			return err
		}
	}
	return v.app.models.SetScored(ctx, v.manifest.Ref, v.rescored)
}

// rescore scores all that was embedded before set came.
func (v *version) rescore(ctx context.Context, set *labelSet) error {
	embed, err := v.app.bus.ConsumerState(ctx, event.StreamPrepared, v.durable(stageEmbed))
	if err != nil {
		return err
	}
	stored, err := v.app.bus.StreamState(ctx, event.StreamEmbedded)
	if err != nil {
		return err
	}
	if err := v.rescorePass(ctx, set, stored.LastSeq); err != nil {
		return err
	}
	// What was being embedded when the set changed may have come with the scores of the one before.
	for {
		state, err := v.app.bus.ConsumerState(ctx, event.StreamPrepared, v.durable(stageEmbed))
		if err != nil {
			return err
		}
		if state.AckedTo >= embed.Delivered || state.AckPending == 0 {
			return v.rescorePass(ctx, set, 0)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
	}
}

// rescorePass scores what is in EMBEDDED by another set. It counts the studies that lie up to a
// sequence: behind it is what came since, from here too.
func (v *version) rescorePass(ctx context.Context, set *labelSet, counted uint64) error {
	var told time.Time
	left := 0 // of those to be counted
	err := v.app.bus.Each(ctx, bus.WatchConfig{Stream: event.StreamEmbedded, Subjects: []event.Subject{v.embedded()}, Start: bus.FromLast()}, func(m bus.Message) error {
		scored, err := v.rescoreMessage(ctx, m, set)
		if err != nil || m.Sequence > counted {
			return err
		}
		if told.IsZero() {
			left = int(m.Pending) + 1
		}
		left--
		if scored {
			v.rescored.Studies++
		}
		v.rescored.Total = v.rescored.Studies + left
		if time.Since(told) < time.Second {
			return nil
		}
		told = time.Now()
		return v.app.models.SetScored(ctx, v.manifest.Ref, v.rescored)
	})
	v.rescored.Total = v.rescored.Studies // the rest was replaced before its turn
	return err
}

// rescoreMessage scores the study of a message of EMBEDDED by a set, and tells whether it is.
func (v *version) rescoreMessage(ctx context.Context, m bus.Message, set *labelSet) (scored bool, err error) {
	again, err := v.rescoredMessage(m, set)
	if err != nil { // index has a dead letter of it
		v.app.opt.Log.Warn().Uint64("sequence", m.Sequence).Err(err).Msg("a message of EMBEDDED cannot be scored again and is passed over")
		return false, nil
	}
	if again == nil {
		return m.Type == event.StudyEmbedded, nil
	}
	err = v.app.bus.Publish(ctx, *again, &stage.Expect{Last: m.Sequence})
	if err != nil && fault.KindOf(err) == fault.Conflict { // something newer took its place, or it is erased
		return false, nil
	}
	return err == nil, err
}

// rescoredMessage is a message of EMBEDDED with the scores of a set; nil where nothing is to be done.
func (v *version) rescoredMessage(m bus.Message, set *labelSet) (*event.Envelope, error) {
	body, err := m.Message()
	if err != nil {
		return nil, err
	}
	study, ok := body.(*radstreamv1.StudyEmbedded)
	if !ok || study.GetLabelSet() >= set.number { // a tombstone, or scored by now
		return nil, nil
	}
	study.LabelSet, study.LabelScores = set.number, nil
	for _, vector := range study.GetVectors() {
		if vector.GetName() == radstreamv1.VectorName_VECTOR_NAME_IMAGE {
			if study.LabelScores, err = labelScores(vector.GetValues(), set, v.manifest.Temperature); err != nil {
				return nil, err
			}
		}
	}
	tenant, err := m.Tenant()
	if err != nil {
		return nil, err
	}
	e, err := event.New(embeddedID(tenant, study), stageEmbed, m.Subject, time.Now(), study)
	e.Rev, e.Cause, e.Trace = m.Rev, m.Cause, m.Trace
	return &e, err
}

// labelScores scores an image vector.
func labelScores(image embedder.Vector, set *labelSet, temperature float64) ([]*radstreamv1.LabelScore, error) {
	scores, err := zeroshot.Scores(image, set.prompts, temperature)
	if err != nil {
		return nil, err
	}
	out := make([]*radstreamv1.LabelScore, len(scores))
	for i, s := range scores {
		out[i] = &radstreamv1.LabelScore{Label: s.Label, Score: s.Value}
	}
	return out, nil
}

// indexSpec describes the version's collection, with an index for each of labels.
func (v *version) indexSpec(labels []model.Label) indexer.Spec {
	names := make([]string, len(labels))
	for i, l := range labels {
		names[i] = l.Name
	}
	return indexSpec(v.manifest.Ref.Key(), v.app.conf.Index.Collection, v.manifest.Config.Joint, names)
}
