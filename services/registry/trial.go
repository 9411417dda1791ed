package registry

import (
	"context"
	"encoding/json"
	"time"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
)

// Trial is a model that is at work beside what serves: it embeds the archive and what comes, answers
// who names it, and takes nothing's place.
type Trial struct {
	Ref   model.Ref `json:"ref"`
	Since time.Time `json:"since"`
	// Refused is why a process cannot use the model; the trial has ended then, and the record stays for
	// those who wait for it.
	Refused string `json:"refused,omitempty"`
}

// Trial returns the model on trial; NotFound when there is none.
func (r *Registry) Trial(ctx context.Context) (t Trial, err error) {
	return t, r.read(ctx, trialKey, &t)
}

// SetTrial puts a model on trial, in the place of another. NotFound: it was not pushed.
func (r *Registry) SetTrial(ctx context.Context, ref model.Ref) error {
	const op = "registry.SetTrial"
	if _, err := r.Record(ctx, ref); err != nil {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, r.write(ctx, trialKey, Trial{Ref: ref, Since: time.Now().UTC()}))
}

// RefuseTrial ends a trial, and records why. One that ended, or another, is no error.
func (r *Registry) RefuseTrial(ctx context.Context, t Trial, why string) error {
	const op = "registry.RefuseTrial"
	text, revision, err := r.kv.Get(ctx, trialKey)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return fault.Wrap(op, err)
	}
	var now Trial
	if err := json.Unmarshal(text, &now); err != nil || now.Ref != t.Ref || !now.Since.Equal(t.Since) {
		return fault.E(op, fault.Corrupt, err)
	}
	now.Refused = why
	if text, err = json.Marshal(now); err != nil {
		return fault.E(op, fault.Internal, err)
	}
	if _, err = r.kv.Update(ctx, trialKey, text, revision); fault.KindOf(err) == fault.Conflict && err != nil {
		return nil // another process refused it too, or somebody began the next one
	}
	return fault.Wrap(op, err)
}

// EndTrial frees the model on trial, unless it serves by now. None, or another than ref, is no error;
// the zero Ref is any.
func (r *Registry) EndTrial(ctx context.Context, ref model.Ref) error {
	const op = "registry.EndTrial"
	if ref != (model.Ref{}) {
		t, err := r.Trial(ctx)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return fault.Wrap(op, err)
		}
		if t.Ref != ref {
			return nil
		}
	}
	return fault.Wrap(op, r.kv.Delete(ctx, trialKey))
}

// Queries returns the texts by which models are compared; none when none were stored.
func (r *Registry) Queries(ctx context.Context) (texts []string, err error) {
	if err = r.read(ctx, queriesKey, &texts); err != nil && fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return texts, err
}

// SetQueries stores the texts by which models are compared; none removes those that were.
func (r *Registry) SetQueries(ctx context.Context, texts []string) error {
	if len(texts) == 0 {
		return fault.Wrap("registry.SetQueries", r.kv.Delete(ctx, queriesKey))
	}
	return fault.Wrap("registry.SetQueries", r.write(ctx, queriesKey, texts))
}

// read reads the JSON of a key. NotFound: there is none.
func (r *Registry) read(ctx context.Context, key string, into any) error {
	const op = "registry.read"
	text, _, err := r.kv.Get(ctx, key)
	if err != nil {
		return fault.Wrap(op, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fault.Errorf(op, fault.Corrupt, "the key %s of the bucket %s cannot be read", key, bus.BucketModels)
	}
	return nil
}

func (r *Registry) write(ctx context.Context, key string, value any) error {
	const op = "registry.write"
	text, err := json.Marshal(value)
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	_, err = r.kv.Put(ctx, key, text)
	return fault.Wrap(op, err)
}
