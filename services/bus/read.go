package bus

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Message is an event as it lies in a stream.
type Message struct {
	event.Envelope
	Stream   string
	Sequence uint64
	Stored   time.Time // when the server stored it
	Pending  uint64    // of those that are read in order: how many were to come behind it when it was sent
}

// message is a message as a consumer of a stream delivers it.
func message(stream string, m jetstream.Msg, md *jetstream.MsgMetadata) Message {
	return Message{Envelope: envelope(m.Subject(), m.Headers(), m.Data(), stream, md.Sequence.Stream),
		Stream: stream, Sequence: md.Sequence.Stream, Stored: md.Timestamp, Pending: md.NumPending}
}

// envelope reads a NATS message. An event without a ce-id takes its Nats-Msg-Id, and
// without that an id made of its place in the stream, so that every input has one and has
// the same one at each delivery.
func envelope(subject string, h nats.Header, body []byte, stream string, seq uint64) event.Envelope {
	e := event.FromMessage(subject, h, body)
	if e.ID == "" {
		e.ID = event.MessageID(h.Get(jetstream.MsgIDHeader))
	}
	if e.ID == "" {
		e.ID = event.ID("place", stream, strconv.FormatUint(seq, 10))
	}
	return e
}

// LastForSubject returns the last message on subject, which may hold wildcards, and its
// stream sequence. Errors: NotFound where there is none, or the bus's own.
func (b *Bus) LastForSubject(ctx context.Context, stream string, subject event.Subject) (event.Envelope, uint64, error) {
	const op = "bus.LastForSubject"
	s, err := b.stream(ctx, stream)
	if err != nil {
		return event.Envelope{}, 0, Failure(op, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, string(subject))
	if err != nil {
		return event.Envelope{}, 0, Failure(op, err)
	}
	return envelope(m.Subject, m.Header, m.Data, stream, m.Sequence), m.Sequence, nil
}

// Last says what [Bus.LastPerSubject] returns.
type Last struct {
	HeadersOnly bool   // messages come without their bodies
	From        uint64 // only what was stored with this sequence or later; 0 is all
	// Most bounds the subjects, with From the messages: more are an error; 0 is no bound.
	Most int
}

// ReasonTooMany refuses a list of more messages than the caller wants to hold.
const ReasonTooMany fault.Reason = "too_many_messages"

// LastPerSubject returns the last message of each subject that matches, oldest first. Errors:
// Unsupported with ReasonTooMany; the bus's own.
func (b *Bus) LastPerSubject(ctx context.Context, stream string, subject event.Subject, o Last) ([]Message, error) {
	const op = "bus.LastPerSubject"
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	start := LastPerSubject()
	if o.From > 0 {
		start = FromSeq(o.From)
	}
	var all []Message
	newest := map[event.Subject]uint64{} // a subject comes twice when it got another message meanwhile
	err := b.drain(ctx, WatchConfig{Stream: stream, Subjects: []event.Subject{subject}, Start: start, HeadersOnly: o.HeadersOnly}, o.Most, func(raw jetstream.Msg, md *jetstream.MsgMetadata) error {
		m := message(stream, raw, md)
		all = append(all, m)
		newest[m.Subject] = m.Sequence
		return nil
	})
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	return slices.DeleteFunc(all, func(m Message) bool { return m.Sequence != newest[m.Subject] }), nil
}

// Get returns one message by its sequence. Errors: NotFound, or the bus's own.
func (b *Bus) Get(ctx context.Context, stream string, seq uint64) (Message, error) {
	const op = "bus.Get"
	s, err := b.stream(ctx, stream)
	if err != nil {
		return Message{}, Failure(op, err)
	}
	m, err := s.GetMsg(ctx, seq)
	if err != nil {
		return Message{}, Failure(op, err)
	}
	return Message{Envelope: envelope(m.Subject, m.Header, m.Data, stream, seq), Stream: stream, Sequence: seq, Stored: m.Time}, nil
}

// SecureDelete removes a message and overwrites its bytes on disk. A message that is not
// there any more is no error.
func (b *Bus) SecureDelete(ctx context.Context, stream string, seq uint64) error {
	const op = "bus.SecureDelete"
	if _, err := b.Get(ctx, stream, seq); err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}
		return fault.Wrap(op, err)
	}
	s, err := b.stream(ctx, stream)
	if err != nil {
		return Failure(op, err)
	}
	failed := s.SecureDeleteMsg(ctx, seq)
	if failed == nil {
		return nil
	}
	if _, err := b.Get(ctx, stream, seq); fault.KindOf(err) == fault.NotFound && err != nil {
		return nil // somebody else was quicker
	}
	return Failure(op, failed)
}

// WatchConfig says what a [Watcher] reads.
type WatchConfig struct {
	Stream   string
	Subjects []event.Subject // may hold wildcards; empty is everything
	Start    Start
	// HeadersOnly leaves the bodies out: attributes are enough to follow a study.
	HeadersOnly bool
}

// Watcher reads a stream in order, without acknowledging, and waits for what is to come: [Bus.Each]
// reads what there is. It is used from one goroutine.
type Watcher struct {
	stream string
	it     jetstream.MessagesContext
	read   chan jetstream.Msg // until err
	err    error              // what ended it
	ended  context.Context
	end    context.CancelFunc
}

// Watch starts reading. Errors: NotFound where the stream is missing, or the bus's own.
func (b *Bus) Watch(ctx context.Context, c WatchConfig) (*Watcher, error) {
	const op = "bus.Watch"
	if c.Start.policy == jetstream.DeliverNewPolicy {
		// The library asks for what is new once more after a lost connection, as long as nothing has
		// come: what was stored in between would be passed over.
		state, err := b.StreamState(ctx, c.Stream)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		c.Start = FromSeq(state.LastSeq + 1)
	}
	cons, err := b.js.OrderedConsumer(ctx, c.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: filters(c.Subjects),
		DeliverPolicy:  c.Start.policy,
		OptStartSeq:    c.Start.seq,
		OptStartTime:   c.Start.time,
		HeadersOnly:    c.HeadersOnly,
		// About a minute of trying to resume; then Next says so.
		MaxResetAttempts: 8,
	})
	if err != nil {
		return nil, Failure(op, err)
	}
	it, err := cons.Messages()
	if err != nil {
		return nil, Failure(op, err)
	}
	w := &Watcher{stream: c.Stream, it: it, read: make(chan jetstream.Msg)}
	w.ended, w.end = context.WithCancel(context.Background())
	context.AfterFunc(w.ended, it.Stop) // which waits while the library tries to resume
	go w.run()
	return w, nil
}

// run reads beside who asks: while the library tries to resume it heeds no context.
func (w *Watcher) run() {
	defer close(w.read)
	for {
		var m jetstream.Msg
		if m, w.err = w.it.Next(); w.err != nil {
			return
		}
		select {
		case w.read <- m:
		case <-w.ended.Done():
			w.err = jetstream.ErrMsgIteratorClosed
			return
		}
	}
}

// Next returns the next message, waiting for one to be stored where there is none. After
// a lost connection it goes on behind the last message it returned; when that fails for
// about a minute the error is Unavailable and another Watch has to be opened.
func (w *Watcher) Next(ctx context.Context) (Message, error) {
	const op = "bus.Watcher.Next"
	var m jetstream.Msg
	select {
	case <-ctx.Done():
		return Message{}, fault.Wrap(op, ctx.Err())
	case m = <-w.read:
	}
	switch {
	case m == nil && errors.Is(w.err, jetstream.ErrMsgIteratorClosed):
		return Message{}, fault.E(op, fault.Unavailable, w.err)
	case m == nil:
		return Message{}, Failure(op, w.err)
	}
	md, err := m.Metadata()
	if err != nil {
		return Message{}, fault.E(op, fault.Internal, err)
	}
	return message(w.stream, m, md), nil
}

// Close ends the watch.
func (w *Watcher) Close() { w.end() }
