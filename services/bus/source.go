package bus

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
)

// SourceConfig is a durable consumer of one stream. All processes that use the same name
// share its messages. Start with [DefaultSourceConfig].
type SourceConfig struct {
	Stream  string
	Durable string // name of the consumer: letters, digits, '-', '_'
	// Subjects filters the stream; empty takes everything.
	Subjects []event.Subject
	// AckWait is after what time without an answer the server delivers again; default
	// 60 s. It must exceed the time for all that is prefetched to have its turn.
	AckWait time.Duration
	// MaxAckPending bounds what is delivered and not settled over all processes; default
	// 256, a few batches. Retries that wait for their delay count.
	MaxAckPending int
	// Prefetch bounds the messages that wait in this process, default 32: one batch.
	Prefetch int
	// Start says where a new consumer begins; an existing one goes on where it was.
	Start Start
}

// DefaultSourceConfig reads the whole stream from its start.
func DefaultSourceConfig(stream, durable string) SourceConfig {
	return SourceConfig{Stream: stream, Durable: durable, AckWait: time.Minute, MaxAckPending: 256, Prefetch: 32, Start: FromAll()}
}

// Start is the message at which a consumer or a watcher begins. The zero value is FromAll.
type Start struct {
	policy jetstream.DeliverPolicy
	seq    uint64
	time   *time.Time
}

// FromAll begins with the oldest message.
func FromAll() Start { return Start{policy: jetstream.DeliverAllPolicy} }

// FromLast begins with the last message of each subject, and goes on with what is stored after them.
func FromLast() Start { return Start{policy: jetstream.DeliverLastPerSubjectPolicy} }

// FromNow begins with the next message to be stored.
func FromNow() Start { return Start{policy: jetstream.DeliverNewPolicy} }

// FromSeq begins with stream sequence n, at least 1.
func FromSeq(n uint64) Start {
	return Start{policy: jetstream.DeliverByStartSequencePolicy, seq: max(n, 1)}
}

// FromTime begins with the first message stored at t or later.
func FromTime(t time.Time) Start {
	return Start{policy: jetstream.DeliverByStartTimePolicy, time: &t}
}

// LastPerSubject begins with the last message of each subject and goes on with new ones.
// Where a watcher had to resume after a lost connection, older messages of a subject may
// come as well, before its last: the last one that comes is the one that counts.
func LastPerSubject() Start { return Start{policy: jetstream.DeliverLastPerSubjectPolicy} }

// Source is a [stage.Source] over a durable consumer. Make one with [Bus.Source].
type Source struct {
	b    *Bus
	cons jetstream.Consumer
	it   jetstream.MessagesContext
	gone error // why the library closed it, once it did
}

var _ stage.Source = (*Source)(nil)

// heartbeat is how often the server says on a silent consumer that it is still there;
// twice that without a word is looked into.
const heartbeat = 10 * time.Second

// Source creates the consumer, or takes up the one that exists, and starts to prefetch.
// A consumer's limits follow the configuration; where it starts cannot be changed.
//
// Errors: NotFound where the stream is missing, Usage where the server refuses the
// consumer, or the bus's own.
func (b *Bus) Source(ctx context.Context, c SourceConfig) (*Source, error) {
	const op = "bus.Source"
	if c.Stream == "" || c.Durable == "" || c.AckWait <= 0 || c.Prefetch < 1 || c.MaxAckPending < c.Prefetch {
		return nil, fault.Errorf(op, fault.Usage, "a source needs a stream, a durable name, an ack wait above zero and 1 <= prefetch <= max ack pending")
	}
	cc := jetstream.ConsumerConfig{
		Durable:        c.Durable,
		DeliverPolicy:  c.Start.policy,
		OptStartSeq:    c.Start.seq,
		OptStartTime:   c.Start.time,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        c.AckWait,
		MaxDeliver:     -1,
		MaxAckPending:  c.MaxAckPending,
		FilterSubjects: filters(c.Subjects),
	}
	cons, err := b.js.CreateOrUpdateConsumer(ctx, c.Stream, cc)
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.Code == 400 || api.ErrorCode == jetstream.JSErrCodeConsumerCreate) {
		return nil, fault.Errorf(op, fault.Usage, "consumer %s of stream %s: %w", c.Durable, c.Stream, err)
	}
	if err != nil {
		return nil, Failure(op, err)
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(c.Prefetch), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return nil, Failure(op, err)
	}
	return &Source{b: b, cons: cons, it: it}, nil
}

func filters(subjects []event.Subject) []string {
	fs := make([]string, len(subjects))
	for i, s := range subjects {
		fs[i] = string(s)
	}
	return fs
}

// Next returns the next delivery; see [stage.Source]. A consumer that was deleted is
// NotFound, a closed source or connection Unavailable.
func (s *Source) Next(ctx context.Context) (stage.Delivery, error) {
	const op = "bus.Next"
	for {
		m, err := s.it.Next(jetstream.NextContext(ctx))
		switch {
		case err == nil:
			return newDelivery(s.b, m)
		case ctx.Err() != nil:
			return nil, fault.Wrap(op, ctx.Err())
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			// The server is away, or the consumer is gone while it was.
			if _, err := s.cons.Info(ctx); err != nil {
				return nil, Failure(op, err)
			}
		case errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return nil, cmp.Or(s.gone, fault.E(op, fault.Unavailable, err))
		default:
			s.gone = Failure(op, err) // the next call would only be told that it is closed
			return nil, s.gone
		}
	}
}

// Close hands back what was prefetched, so that another process gets it at once. ctx
// bounds the time for it; what it cuts off comes again after AckWait.
func (s *Source) Close(ctx context.Context) error {
	const op = "bus.Close"
	ctx, cancel := s.b.bounded(ctx)
	defer cancel()
	s.it.Drain()
	for {
		m, err := s.it.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return Failure(op, s.b.nc.FlushWithContext(ctx))
		}
		if ctx.Err() != nil {
			s.it.Stop()
			return Failure(op, ctx.Err())
		}
		if err == nil {
			if err := m.NakWithDelay(time.Millisecond); err != nil {
				return Failure(op, err)
			}
		}
	}
}

// delivery adapts a JetStream message.
type delivery struct {
	b  *Bus
	m  jetstream.Msg
	in stage.Input
}

func newDelivery(b *Bus, m jetstream.Msg) (stage.Delivery, error) {
	md, err := m.Metadata()
	if err != nil {
		return nil, fault.E("bus.Next", fault.Internal, err)
	}
	e := envelope(m.Subject(), m.Headers(), m.Data(), md.Stream, md.Sequence.Stream)
	return &delivery{b: b, m: m, in: stage.Input{Envelope: e, Stream: md.Stream, Sequence: md.Sequence.Stream, Attempt: md.NumDelivered}}, nil
}

func (d *delivery) Input() stage.Input { return d.in }

func (d *delivery) Done(ctx context.Context) error {
	return Failure("bus.Done", d.m.DoubleAck(ctx))
}

// Drop waits for the server's confirmation, which the library's TermWithReason does not.
func (d *delivery) Drop(ctx context.Context, reason string) error {
	ctx, cancel := d.b.bounded(ctx)
	defer cancel()
	_, err := d.b.nc.RequestWithContext(ctx, d.m.Reply(), []byte("+TERM "+reason))
	return Failure("bus.Drop", err)
}

func (d *delivery) Retry(after time.Duration) error {
	if after <= 0 { // the client library would turn it into a bare NAK
		return fault.Errorf("bus.Retry", fault.Internal, "a retry needs a delay above zero")
	}
	return Failure("bus.Retry", d.m.NakWithDelay(after))
}

func (d *delivery) Working() error {
	return Failure("bus.Working", d.m.InProgress())
}
