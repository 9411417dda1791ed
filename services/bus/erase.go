package bus

import (
	"context"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Each calls f for every message that a stream holds on subjects now, which may hold wildcards,
// in order; none is the whole stream. The first error of f ends it.
func (b *Bus) Each(ctx context.Context, c WatchConfig, f func(Message) error) error {
	const op = "bus.Each"
	w, err := b.Watch(ctx, c)
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer w.Close()
	for w.Pending() > 0 {
		m, err := w.Next(ctx)
		if err != nil {
			return fault.Wrap(op, err)
		}
		if err := f(m); err != nil {
			return err
		}
	}
	return nil
}

// On returns the messages that a stream holds on subjects, without their bodies.
func (b *Bus) On(ctx context.Context, stream string, subjects ...event.Subject) ([]Message, error) {
	var all []Message
	err := b.Each(ctx, WatchConfig{Stream: stream, Subjects: subjects, HeadersOnly: true}, func(m Message) error {
		all = append(all, m)
		return nil
	})
	return all, err
}
