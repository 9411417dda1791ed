package registry

import (
	"context"
	"encoding/json"
	"time"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
)

// LabelSet is what findings are scored under every model.
type LabelSet struct {
	// Number grows with every change, so that of two scorings of a study the later one is known; 0
	// when nothing was ever chosen.
	Number uint64        `json:"number"`
	Name   string        `json:"name,omitempty"`   // empty: each model scores what its own manifest names
	Labels []model.Label `json:"labels,omitempty"` // by name, ascending; with A of 0 a label has the calibration of the model's manifest
	Since  time.Time     `json:"since"`
}

// Of returns the labels that a model scores, and how, under the set.
func (s LabelSet) Of(m *model.Manifest) []model.Label {
	if s.Name == "" {
		return m.Labels
	}
	labels := make([]model.Label, len(s.Labels))
	for i, l := range s.Labels {
		if l.Calibration.A == 0 {
			l.Calibration = model.Identity()
			for _, own := range m.Labels {
				if own.Name == l.Name {
					l.Calibration = own.Calibration
				}
			}
		}
		labels[i] = l
	}
	return labels
}

// LabelSet returns the set in force.
func (r *Registry) LabelSet(ctx context.Context) (LabelSet, error) {
	s, _, err := r.labelSet(ctx)
	return s, err
}

func (r *Registry) labelSet(ctx context.Context) (s LabelSet, revision uint64, err error) {
	const op = "registry.LabelSet"
	text, revision, err := r.kv.Get(ctx, labelsKey)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return s, 0, nil
		}
		return s, 0, fault.Wrap(op, err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, 0, fault.Errorf(op, fault.Corrupt, "the label set cannot be read from the bucket %s", bus.BucketModels)
	}
	return s, revision, nil
}

// SetLabels puts a label set in force; without a name that of each model's manifest. labels are
// valid (package zeroshot). Conflict: somebody else did at the same time.
func (r *Registry) SetLabels(ctx context.Context, name string, labels []model.Label) (LabelSet, error) {
	const op = "registry.SetLabels"
	now, revision, err := r.labelSet(ctx)
	if err != nil {
		return LabelSet{}, fault.Wrap(op, err)
	}
	next := LabelSet{Number: now.Number + 1, Name: name, Labels: labels, Since: time.Now().UTC()}
	text, err := json.Marshal(next)
	if err != nil {
		return LabelSet{}, fault.E(op, fault.Internal, err)
	}
	_, err = r.kv.Update(ctx, labelsKey, text, revision)
	return next, fault.Wrap(op, err)
}

// Scored says how far what a model embedded is scored by the label set in force.
type Scored struct {
	Number  uint64 `json:"number"`  // of the set
	Studies int    `json:"studies"` // of those that were there when it began: are scored by it
	Total   int    `json:"total"`   // how many of those there are, less by each that turns out to be erased or replaced
	Done    bool   `json:"done"`    // all are, in the index too
	// Problem is why the model cannot use the set; it scores its manifest's own labels then.
	Problem string `json:"problem,omitempty"`
}

// Scored returns how far a model is; the zero value before its first set.
func (r *Registry) Scored(ctx context.Context, ref model.Ref) (s Scored, err error) {
	if err = r.read(ctx, scoredPrefix+ref.Key(), &s); err != nil && fault.KindOf(err) == fault.NotFound {
		return s, nil
	}
	return s, err
}

// SetScored records how far a model is.
func (r *Registry) SetScored(ctx context.Context, ref model.Ref, s Scored) error {
	return fault.Wrap("registry.SetScored", r.write(ctx, scoredPrefix+ref.Key(), s))
}
