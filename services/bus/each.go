package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Each calls f for every message that a stream holds, in order, and ends when there is none left.
// A message that is removed before its turn is passed over. The first error of f ends it.
//
// Errors: Unavailable where a message was lost on the way, as with a connection; the bus's own.
func (b *Bus) Each(ctx context.Context, c WatchConfig, f func(Message) error) error {
	return b.drain(ctx, c, 0, func(m jetstream.Msg, md *jetstream.MsgMetadata) error { return f(message(c.Stream, m, md)) })
}

// drain is Each, or an error with ReasonTooMany where there are more messages than most, unless
// most is 0.
//
// It keeps one subscription until the end. A fetch of the client library would close its own a
// second after the last message, and look like the end of the stream where the server was slow.
func (b *Bus) drain(ctx context.Context, c WatchConfig, most int, f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	const op = "bus.Each"
	cons, err := b.js.CreateConsumer(ctx, c.Stream, jetstream.ConsumerConfig{
		FilterSubjects: filters(c.Subjects), DeliverPolicy: c.Start.policy, OptStartSeq: c.Start.seq, OptStartTime: c.Start.time,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: c.HeadersOnly, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: 10 * time.Minute, // should this process die; f may take its time
	})
	if err != nil {
		return Failure(op, err)
	}
	info := cons.CachedInfo()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
		defer cancel()
		_ = b.js.DeleteConsumer(end, c.Stream, info.Name) // else the server does, for its inactivity
	}()
	if most > 0 && info.NumPending > uint64(most) {
		return fault.Reject(op, fault.Unsupported, ReasonTooMany, "%d messages match, more than %d", info.NumPending, most)
	}
	if info.NumPending == 0 {
		return nil
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return Failure(op, err)
	}
	defer it.Stop()
	heard, taken := time.Now(), uint64(0)
	for pending := info.NumPending; pending > 0; {
		m, err := next(ctx, it)
		switch {
		case ctx.Err() != nil:
			return Failure(op, ctx.Err())
		case errors.Is(err, context.DeadlineExceeded): // what was pending is removed, or the server is slow
			if time.Since(heard) > b.timeout {
				return fault.Errorf(op, fault.Unavailable, "%d messages of %s did not come within %v", pending, c.Stream, b.timeout)
			}
			pending = 0
		case err != nil:
			return gone(op, err)
		default:
			md, err := m.Metadata()
			if err != nil {
				return fault.E(op, fault.Internal, err)
			}
			if taken++; md.Sequence.Consumer != taken {
				return fault.Errorf(op, fault.Unavailable, "messages of %s were lost on the way", c.Stream)
			}
			pending = md.NumPending
			if err := f(m, md); err != nil {
				return err
			}
			heard = time.Now()
		}
		if pending == 0 { // as far as is known here
			info, err := cons.Info(ctx)
			if err != nil {
				return gone(op, err)
			}
			pending = info.NumPending + info.Delivered.Consumer - taken
		}
	}
	return nil
}

// gone is Failure of a reading that had begun: that the server forgot its consumer, as when it was
// started anew, does not say that a stream is not there.
func gone(op string, err error) error {
	if err = Failure(op, err); fault.KindOf(err) == fault.NotFound {
		return fault.Errorf(op, fault.Unavailable, "the server has forgotten what was being read: %w", err)
	}
	return err
}

// next waits for a message, a second at most.
func next(ctx context.Context, it jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return it.Next(jetstream.NextContext(ctx))
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
