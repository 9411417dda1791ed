package train

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/ingest/report/label"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/trainer"
)

// Range is the part of a stream that is frozen: sequences First to Last, both in it, of what was
// stored from From on and before To. A Last of 0 is all there is now, and so is a zero To.
type Range struct {
	First, Last uint64
	From, To    time.Time
}

// Freeze freezes a range of PREPARED: the newest revision in the range of every study of a
// tenant, by hash; erased studies are left out. Later revisions change nothing. validation is the share of patients, 0 to
// 1, that is never trained on.
//
// Errors: Usage for an empty range, Invalid where there is nothing to train on, and the bus's.
func Freeze(ctx context.Context, nats bus.Config, tenant event.Tenant, r Range, validation float64, progress func(done, total int)) (*trainer.Manifest, error) {
	const op = "train.Freeze"
	if r.Last != 0 && r.Last < r.First || !r.To.IsZero() && !r.From.Before(r.To) {
		return nil, fault.Errorf(op, fault.Usage, "the range ends before it begins")
	}
	b, err := bus.Connect(ctx, nats, zerolog.Nop())
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	defer b.Close()
	state, err := b.StreamState(ctx, event.StreamPrepared)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	r.First = max(r.First, 1)
	if r.Last == 0 || r.Last > state.LastSeq {
		r.Last = state.LastSeq
	}
	freezer := trainer.NewFreezer(trainer.HeldOut{Share: validation})
	if err := freeze(ctx, b, tenant, &r, freezer, progress); err != nil {
		return nil, fault.Wrap(op, err)
	}
	if err := leaveErasedOut(ctx, b, tenant, freezer); err != nil {
		return nil, fault.Wrap(op, err)
	}
	m, err := freezer.Manifest(trainer.Origin{Stream: event.StreamPrepared, First: r.First, Last: r.Last})
	return m, fault.Wrap(op, err)
}

// leaveErasedOut drops the studies whose subject ends in a tombstone by now, be it behind the range:
// the messages of one that is being erased may still be there.
func leaveErasedOut(ctx context.Context, b *bus.Bus, tenant event.Tenant, f *trainer.Freezer) error {
	c := bus.WatchConfig{Stream: event.StreamPrepared, Subjects: []event.Subject{event.PreparedSubject(tenant, "*", "*")}, Start: bus.LastPerSubject(), HeadersOnly: true}
	return b.Each(ctx, c, func(m bus.Message) error {
		if m.Type == event.StudyRemoved {
			f.Drop(string(m.StudyKey()))
		}
		return nil
	})
}

// freeze hands the messages of the range to f. A range by time becomes one by sequence.
func freeze(ctx context.Context, b *bus.Bus, tenant event.Tenant, r *Range, f *trainer.Freezer, progress func(done, total int)) error {
	start := bus.FromSeq(r.First)
	if !r.From.IsZero() && r.First == 1 {
		start = bus.FromTime(r.From)
	}
	begun := false
	err := b.Each(ctx, bus.WatchConfig{
		Stream: event.StreamPrepared, Subjects: []event.Subject{event.PreparedSubject(tenant, "*", "*")}, Start: start,
	}, func(m bus.Message) error {
		if m.Sequence > r.Last {
			return errRangeEnds
		}
		if m.Stored.Before(r.From) {
			return nil
		}
		if !begun && !r.From.IsZero() {
			r.First, begun = m.Sequence, true
		}
		if !r.To.IsZero() && !m.Stored.Before(r.To) {
			r.Last = m.Sequence - 1
			return errRangeEnds
		}
		if m.Type != event.StudyPrepared {
			return nil
		}
		body, err := m.Message()
		if err != nil {
			return fault.Errorf("train.freeze", fault.Corrupt, "message %d of %s is no prepared study", m.Sequence, m.Stream)
		}
		labels, known := reportLabels(body.(*radstreamv1.StudyPrepared).GetReport())
		if err := f.Add(trainer.Record{Sequence: m.Sequence, Body: m.Body}, known, labels); err != nil {
			return err
		}
		if progress != nil {
			progress(int(m.Sequence-r.First+1), int(r.Last-r.First+1))
		}
		return nil
	})
	if errors.Is(err, errRangeEnds) {
		return nil
	}
	return err
}

var errRangeEnds = errors.New("the range ends")

// reportLabels returns the labels, as models name them, that a report says are there. known is
// false for a report that leaves one of them open.
func reportLabels(r *radstreamv1.PreparedReport) (labels []string, known bool) {
	if r == nil {
		return nil, false
	}
	for _, l := range r.GetLabels() {
		switch l.GetMention() {
		case label.Positive.String():
			labels = append(labels, modelName(l.GetLabel()))
		case label.Uncertain.String():
			return nil, false
		}
	}
	return labels, true
}

// modelName returns how models call what the CheXpert data set calls name.
func modelName(name string) string {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")
	for _, alias := range labelNames {
		if name == alias[0] {
			return alias[1]
		}
	}
	return name
}
