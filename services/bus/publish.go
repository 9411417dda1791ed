package bus

import (
	"context"
	"errors"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
)

var _ stage.Publisher = (*Bus)(nil)

// Publish stores e in the stream of its subject and returns after the stream confirmed
// it. An id that the stream saw within its duplicate window is stored once, so a call
// whose outcome is unknown may be repeated. See [stage.Publisher] for expect.
//
// Errors: Conflict, Unsupported (too large), Unavailable (no server, no such stream, no
// space), Transient (no answer in time), Canceled.
func (b *Bus) Publish(ctx context.Context, e event.Envelope, expect *stage.Expect) error {
	_, err := b.PublishSeq(ctx, e, expect)
	return err
}

// PublishSeq is [Bus.Publish] that also returns the stream sequence of the event, that of
// the first copy where this was a repetition.
func (b *Bus) PublishSeq(ctx context.Context, e event.Envelope, expect *stage.Expect) (uint64, error) {
	seq, err := b.publish(ctx, e, e.ID, expect)
	if err != nil && fault.KindOf(err) == fault.Conflict {
		if seq := b.stored(ctx, e); seq != 0 {
			return seq, nil
		}
	}
	return seq, err
}

// PublishAgain stores a message of a stream once more and unchanged, so that the stages that read
// the stream handle it anew, and returns its new sequence. id is for duplicate detection alone: the
// event keeps its own. Errors: those of [Bus.Publish], of which Conflict says that onlyLast was set
// and the message is not the last one of its subject any more.
func (b *Bus) PublishAgain(ctx context.Context, m Message, id event.MessageID, onlyLast bool) (uint64, error) {
	var expect *stage.Expect
	if onlyLast {
		expect = &stage.Expect{Last: m.Sequence}
	}
	return b.publish(ctx, m.Envelope, id, expect)
}

func (b *Bus) publish(ctx context.Context, e event.Envelope, id event.MessageID, expect *stage.Expect) (uint64, error) {
	m := &nats.Msg{Subject: string(e.Subject), Data: e.Body, Header: e.Header()}
	m.Header.Set(jetstream.MsgIDHeader, string(id))
	if expect != nil {
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect.Last, 10))
		if expect.On != "" {
			m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, string(expect.On))
		}
	}
	ack, err := b.js.PublishMsg(ctx, m)
	if err != nil {
		if api := (*jetstream.APIError)(nil); errors.As(err, &api) && (api.ErrorCode == accountFull || api.ErrorCode == serverFull || api.ErrorCode == storageFull) {
			b.full.Store(true)
		}
		return 0, Failure("bus.Publish", err)
	}
	b.full.Store(false)
	return ack.Sequence, nil
}

// Full reports whether the server had no room for the last event that was published here.
func (b *Bus) Full() bool { return b.full.Load() }

// stored returns the sequence of e where it is the last message on its subject, else 0.
// The server looks at the expected sequence before it looks for duplicates, so the
// repetition of a publish whose PubAck was lost would conflict with itself. An event of
// the same id that another input set off is somebody else's.
func (b *Bus) stored(ctx context.Context, e event.Envelope) uint64 {
	stream, err := b.js.StreamNameBySubject(ctx, string(e.Subject))
	if err != nil {
		return 0 // the conflict stands
	}
	if last, seq, err := b.LastForSubject(ctx, stream, e.Subject); err == nil && last.ID == e.ID && last.Cause == e.Cause {
		return seq
	}
	return 0
}
