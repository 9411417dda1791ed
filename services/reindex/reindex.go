// Package reindex embeds the archive under another model beside the one that answers, compares the two
// by stored queries, and lets the other one answer:
//
//	SetTrial -> every running radstream embeds the archive into the model's own collection, and from
//	            then on what arrives goes into both; erasures reach both
//	caught up -> each query is asked twice, of either model by name
//	Promote  -> alias, registry and queries turn to it at once, since nothing is missing
//
// Whoever asks is answered by the model before, from its full collection, until the last step. All
// state is in the registry, so a process that dies goes on at its next start, and asking once more
// finds what is done. `radstream models rollback` goes back.
package reindex

import (
	"context"
	"slices"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/registry"
)

// Reasons why a model does not take the place of the one that serves.
const (
	ReasonDiffers fault.Reason = "answers_differ" // its answers are too far from those of the other
	ReasonRefused fault.Reason = "model_refused"  // a process that is to work with it cannot load it
)

// pollEvery is how often the streams are asked how far the model is.
const pollEvery = 250 * time.Millisecond

// Request is one reindexing.
type Request struct {
	Ref        model.Ref
	Tenant     event.Tenant // whose studies the queries search
	K          int          // hits that are compared, at least 1
	MinOverlap float64      // of the mean, 0 to 1: below it nothing is switched
	NoSwitch   bool         // compare only; the model stays on trial
	Progress   func(stage string, done, total uint64)
}

// Report says how the two compare. Its JSON field names are a promise.
type Report struct {
	Old      model.Ref `json:"old"`
	New      model.Ref `json:"new"`
	K        int       `json:"k"`
	Overlap  float64   `json:"overlap"` // mean of the queries that have hits
	Same     float64   `json:"same_first"`
	Queries  []Query   `json:"queries"`
	Switched bool      `json:"switched"`
}

// Query is one query, asked of both.
type Query struct {
	Text    string   `json:"text"`
	Overlap float64  `json:"overlap"` // of the first k: the share that both have
	Old     []string `json:"old"`     // study keys, nearest first
	New     []string `json:"new"`
}

// Run does it. Errors: NotFound for a model that was not pushed; Conflict with [ReasonDiffers] below
// MinOverlap, with the report, and where another model is promoted at last; Invalid with [ReasonRefused] where a process cannot use it, which ends
// the trial; Unavailable where nobody runs that could embed.
func Run(ctx context.Context, b *bus.Bus, client *query.Client, r Request) (report Report, err error) {
	const op = "reindex.Run"
	models, err := registry.Open(ctx, b)
	if err != nil {
		return report, fault.Wrap(op, err)
	}
	report = Report{New: r.Ref, K: r.K}
	if report.Old, err = models.Answers(ctx); err != nil {
		return report, fault.Wrap(op, err)
	}
	if report.Old == r.Ref { // somebody ended who waited for this
		return report, fault.Wrap(op, report.end(ctx, models))
	}
	if err := models.SetTrial(ctx, r.Ref); err != nil {
		return report, fault.Wrap(op, err)
	}
	if err := caughtUp(ctx, b, models, r.Ref, r.Progress); err != nil {
		return report, fault.Wrap(op, err)
	}
	if err := atWork(ctx, client, models, r); err != nil {
		return report, fault.Wrap(op, err)
	}
	for {
		if report.Old, err = models.Answers(ctx); err != nil {
			return report, fault.Wrap(op, err)
		}
		texts, err := queries(ctx, models, report.Old)
		if err != nil {
			return report, fault.Wrap(op, err)
		}
		if err = report.compare(ctx, client, r, texts); err == nil {
			break
		}
		// A promotion or rollback that was under way ends meanwhile, and what answered is gone.
		if fault.ReasonOf(err) != query.ReasonOtherModel || pause(ctx) != nil {
			return report, fault.Wrap(op, err)
		}
		report = Report{New: r.Ref, K: r.K}
	}
	if report.Overlap < r.MinOverlap {
		return report, fault.Reject(op, fault.Conflict, ReasonDiffers, "the first %d hits of both agree by %.2f on average, less than %.2f: %s goes on answering; %s stays on trial, until it is promoted (radstream models promote %s) or freed (radstream reindex --cancel)",
			r.K, report.Overlap, r.MinOverlap, report.Old, r.Ref, r.Ref)
	}
	if r.NoSwitch {
		return report, nil
	}
	if _, err := models.Promote(ctx, r.Ref, report.Old, registry.ByOperator); err != nil {
		return report, fault.Wrap(op, err)
	}
	return report, fault.Wrap(op, report.end(ctx, models))
}

// end returns when the new model answers, and ends its trial.
func (r *Report) end(ctx context.Context, models *registry.Registry) error {
	const op = "reindex.end"
	for {
		serving, err := models.Serving(ctx)
		if err == nil && serving.Ref != r.New {
			return fault.Errorf(op, fault.Conflict, "%s was promoted since, and takes the place of %s: see radstream status", serving.Ref, r.New)
		}
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		answers, err := models.Answers(ctx)
		if err != nil {
			return err
		}
		if answers == r.New {
			break
		}
		if err := pause(ctx); err != nil {
			return fault.Errorf(op, fault.Unavailable, "%s was promoted, and does not answer yet: see radstream status: %w", r.New, err)
		}
	}
	r.Switched = true
	return models.EndTrial(ctx, r.New)
}

// caughtUp returns when a model has embedded the archive as it is now, and the index has all of it.
func caughtUp(ctx context.Context, b *bus.Bus, models *registry.Registry, ref model.Ref, progress func(string, uint64, uint64)) error {
	prepared, err := b.StreamState(ctx, event.StreamPrepared)
	if err != nil {
		return err
	}
	if err := reached(ctx, b, models, event.StreamPrepared, event.PreparedSubject("*", "*", "*"), "embed", ref, prepared.LastSeq, progress); err != nil {
		return err
	}
	embedded := event.EmbeddedSubject("*", ref.Key(), "*")
	_, last, err := b.LastForSubject(ctx, event.StreamEmbedded, embedded)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil // nothing in the archive can be embedded
	}
	if err != nil {
		return err
	}
	return reached(ctx, b, models, event.StreamEmbedded, embedded, "index", ref, last, progress)
}

// reached returns when a stage has settled everything of its stream up to a sequence.
func reached(ctx context.Context, b *bus.Bus, models *registry.Registry, stream string, subjects event.Subject, stage string, ref model.Ref, to uint64, progress func(string, uint64, uint64)) error {
	for {
		done, state, err := b.Settled(ctx, stream, stage+"_"+ref.Key(), subjects, to)
		switch {
		case err != nil && fault.KindOf(err) != fault.NotFound:
			return err
		case err == nil:
			if progress != nil {
				progress(stage, min(state.AckedTo, to), to)
			}
			if done {
				return nil
			}
		}
		if err := refused(ctx, models, ref); err != nil {
			return err
		}
		if err := pause(ctx); err != nil {
			return fault.Errorf("reindex.reached", fault.Unavailable, "%s has not embedded the archive yet: radstream up must run, without --model-dir; asking once more goes on: %w", ref, err)
		}
	}
}

// atWork returns when requests may name the model: one that embedded the archive before may only be
// starting.
func atWork(ctx context.Context, client *query.Client, models *registry.Registry, r Request) error {
	for {
		_, err := client.Search(ctx, query.Request{Tenant: r.Tenant, Text: "chest", K: 1, Model: r.Ref.String()})
		if err == nil || fault.ReasonOf(err) != query.ReasonOtherModel {
			return err
		}
		if err := refused(ctx, models, r.Ref); err != nil {
			return err
		}
		if ended := pause(ctx); ended != nil {
			return err
		}
	}
}

// refused returns why a process cannot work with the model, when one said so.
func refused(ctx context.Context, models *registry.Registry, ref model.Ref) error {
	trial, err := models.Trial(ctx)
	switch {
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return err
	case trial.Ref == ref && trial.Refused != "":
		return fault.Reject("reindex.refused", fault.Invalid, ReasonRefused, "%s cannot be used, and its trial has ended: %s", ref, trial.Refused)
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollEvery):
		return nil
	}
}

// queries are the texts that were stored, or else what the labels in force say of a finding.
func queries(ctx context.Context, models *registry.Registry, old model.Ref) ([]string, error) {
	texts, err := models.Queries(ctx)
	if err != nil || len(texts) > 0 {
		return texts, err
	}
	set, err := models.LabelSet(ctx)
	if err != nil {
		return nil, err
	}
	m, err := models.Manifest(ctx, old)
	if err != nil {
		return nil, err
	}
	for _, l := range set.Of(m) {
		texts = append(texts, l.Positive...)
	}
	return texts, nil
}

// compare asks every query of both models.
func (p *Report) compare(ctx context.Context, client *query.Client, r Request, texts []string) error {
	counted := 0
	for i, text := range texts {
		q := Query{Text: text}
		for _, side := range []struct {
			ref  model.Ref
			keys *[]string
		}{{p.Old, &q.Old}, {p.New, &q.New}} {
			found, err := client.Search(ctx, query.Request{Tenant: r.Tenant, Text: text, K: r.K, Model: side.ref.String()})
			if err != nil {
				return err
			}
			for _, h := range found.Hits {
				*side.keys = append(*side.keys, string(h.Key))
			}
		}
		if len(q.Old)+len(q.New) > 0 {
			q.Overlap = overlap(q.Old, q.New)
			counted++
			p.Overlap += q.Overlap
			if len(q.Old) > 0 && len(q.New) > 0 && q.Old[0] == q.New[0] {
				p.Same++
			}
		}
		p.Queries = append(p.Queries, q)
		if r.Progress != nil {
			r.Progress("compare", uint64(i+1), uint64(len(texts)))
		}
	}
	if counted == 0 {
		return fault.Errorf("reindex.compare", fault.NotFound, "no query has a hit among the studies of tenant %s: there is nothing to compare by", r.Tenant)
	}
	p.Overlap, p.Same = p.Overlap/float64(counted), p.Same/float64(counted)
	return nil
}

// overlap is the share of the longer list that both have; 0 of empty ones.
func overlap(a, b []string) float64 {
	both := 0
	for _, key := range a {
		if slices.Contains(b, key) {
			both++
		}
	}
	return float64(both) / float64(max(len(a), len(b), 1))
}
