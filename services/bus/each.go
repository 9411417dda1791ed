package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Each calls f for every message that a stream holds, in order, and ends when there is none left.
// A message that is removed before its turn is passed over: a [Watcher], which knows only how many
// there were, would wait for it. The first error of f ends it.
func (b *Bus) Each(ctx context.Context, c WatchConfig, f func(Message) error) error {
	const op, batchSize = "bus.Each", 64
	cons, err := b.js.CreateConsumer(ctx, c.Stream, jetstream.ConsumerConfig{
		FilterSubjects: filters(c.Subjects), DeliverPolicy: c.Start.policy, OptStartSeq: c.Start.seq, OptStartTime: c.Start.time,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: c.HeadersOnly, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: 10 * time.Minute, // should this process die; f may take its time
	})
	if err != nil {
		return Failure(op, err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
		defer cancel()
		_ = b.js.DeleteConsumer(end, c.Stream, cons.CachedInfo().Name) // else the server does, for its inactivity
	}()
	for {
		batch, err := cons.FetchNoWait(batchSize)
		if err != nil {
			return Failure(op, err)
		}
		n := 0
		var failed error
		for m := range batch.Messages() {
			n++
			if failed != nil { // the rest of the batch, which the library would wait to hand out
				continue
			}
			md, err := m.Metadata()
			if err != nil {
				return fault.E(op, fault.Internal, err)
			}
			failed = f(Message{Envelope: envelope(m.Subject(), m.Headers(), m.Data(), c.Stream, md.Sequence.Stream),
				Stream: c.Stream, Sequence: md.Sequence.Stream, Stored: md.Timestamp, Pending: md.NumPending})
		}
		if failed != nil {
			return failed
		}
		if err := batch.Error(); err != nil {
			return Failure(op, err)
		}
		if err := ctx.Err(); err != nil {
			return Failure(op, err)
		}
		if n == 0 {
			return nil
		}
	}
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
