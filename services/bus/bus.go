// Package bus turns Radstream's streams, events and stores into those of NATS JetStream and back:
//
//	stage.Source, stage.Publisher, stage.Attempts   the worker loop (services/stage)
//	EnsureStreams, StreamState, ConsumerState       creation and status of the streams
//	LastForSubject, Get, Watch, SecureDelete        reading, replay and erasing
//	KV, ObjectStore                                 buckets
//
// Beside it only services/blob and services/registry speak JetStream, to the buckets it gives them.
//
// An embedded server (services/natsd) and a cluster are dialled alike. After the first
// connect the connection is restored for as long as it takes, and calls made meanwhile
// fail as Transient or Unavailable when their time is over, so that callers wait instead
// of giving up. Waiting is always event-driven: nothing here polls.
package bus

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/fault"
)

// ReasonTooLarge is the reason for events that the server does not take for their size.
const ReasonTooLarge fault.Reason = "event_too_large"

// Config says where the server is and who asks. Start with [DefaultConfig].
type Config struct {
	// URL of the server, or several with commas between; default nats://127.0.0.1:4222.
	URL string
	// Name of this client in the server's lists; default radstream.
	Name string
	// At most one of these is set: a token, or a file with a JWT and its seed (.creds). A user
	// with password may stand in URL.
	Token     string
	CredsFile string
	// Timeout of a call whose context has no deadline; default 10 s.
	Timeout time.Duration
}

// DefaultConfig dials the server on this machine.
func DefaultConfig() Config {
	return Config{URL: "nats://127.0.0.1:4222", Name: "radstream", Timeout: 10 * time.Second}
}

// Validate returns a [fault.Usage] that lists everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	wrong := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	wrong(c.URL == "", "url must be the address of a NATS server, such as nats://127.0.0.1:4222")
	wrong(c.Timeout <= 0, "timeout must be above zero")
	wrong(c.Token != "" && c.CredsFile != "", "only one of token and creds file may be set")
	return fault.E("bus.Config", fault.Usage, errors.Join(errs...))
}

// Bus is a connection to JetStream. Make one with [Connect]; it is safe for concurrent use.
type Bus struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	timeout time.Duration // of calls whose context has no deadline

	full atomic.Bool // see Full

	mu      sync.Mutex
	streams map[string]jetstream.Stream
}

// Connect dials the server.
//
// Errors: Usage for a wrong configuration or refused credentials, Unavailable, naming the
// URL, when no server answers or it has no JetStream.
func Connect(ctx context.Context, c Config, log zerolog.Logger) (*Bus, error) {
	const op = "bus.Connect"
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.E(op, fault.Canceled, err)
	}
	nc, err := nats.Connect(c.URL, options(ctx, c, log)...)
	if err != nil {
		kind := fault.Unavailable
		if wrong := (*url.Error)(nil); errors.As(err, &wrong) { // which repeats the address
			kind, err = fault.Usage, wrong.Err
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			kind = fault.Usage
		}
		return nil, fault.Errorf(op, kind, "cannot connect to NATS at %s: %w", Redacted(c.URL), err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(c.Timeout))
	if err == nil {
		_, err = js.AccountInfo(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, fault.Errorf(op, fault.Unavailable, "the NATS server at %s has no JetStream for this client: %w", Redacted(c.URL), err)
	}
	return &Bus{nc: nc, js: js, timeout: c.Timeout, streams: map[string]jetstream.Stream{}}, nil
}

// Close sends what is buffered and closes the connection; the Bus is of no use after.
func (b *Bus) Close() {
	// Without a connection there is nothing to flush to; either way it closes.
	_ = b.nc.FlushTimeout(2 * time.Second)
	b.nc.Close()
}

// stream returns a handle to read from. It is asked for once: the answer grows with the
// stream, and every read of ingest would pay for it.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.mu.Lock()
	s := b.streams[name]
	b.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.streams[name] = s
	b.mu.Unlock()
	return s, nil
}

// bounded gives ctx a deadline if it has none, as the client's jetstream package does.
func (b *Bus) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, b.timeout)
}

func options(ctx context.Context, c Config, log zerolog.Logger) []nats.Option {
	dial := 5 * time.Second
	if end, ok := ctx.Deadline(); ok {
		dial = max(min(dial, time.Until(end)), time.Millisecond)
	}
	o := []nats.Option{
		nats.Name(c.Name),
		nats.Timeout(dial),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // else a server that refuses twice, as while it is set up anew, ends the connection for good
		nats.ReconnectWait(500 * time.Millisecond),
		nats.PingInterval(20 * time.Second), // a dead peer is noticed within a minute
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: we closed it
				log.Warn().Err(err).Msg("lost the connection to NATS; connecting again until it is back")
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info().Str("url", nc.ConnectedUrlRedacted()).Msg("connected to NATS again")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn().Err(err).Msg("NATS client")
		}),
	}
	switch {
	case c.Token != "":
		o = append(o, nats.Token(c.Token))
	case c.CredsFile != "":
		o = append(o, nats.UserCredentials(c.CredsFile))
	}
	return o
}

// Redacted returns addresses as [Config.URL] has them, without the credentials that may stand in
// each before an @.
func Redacted(addresses string) string {
	all := strings.Split(addresses, ",")
	for i, a := range all {
		scheme, rest, found := strings.Cut(a, "://")
		if !found {
			scheme, rest = "", a
		}
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			rest = rest[at+1:]
		}
		if all[i] = rest; found {
			all[i] = scheme + "://" + rest
		}
	}
	return strings.Join(all, ",")
}

// The server's codes for a write that it has no room for (nats-server, errors.json:
// JSAccountResourcesExceededErr, which has the status of a bad request, JSInsufficientResourcesErr
// and JSStorageResourcesExceededErr).
const (
	accountFull jetstream.ErrorCode = 10002
	serverFull  jetstream.ErrorCode = 10023
	storageFull jetstream.ErrorCode = 10047
)

// Failure gives a JetStream error its kind. An error that nobody foresaw is Transient:
// the bus must never be the reason why an input is rejected.
func Failure(op string, err error) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	isAny := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case isAny(context.Canceled):
		return fault.E(op, fault.Canceled, err)
	case isAny(jetstream.ErrMsgNotFound, jetstream.ErrKeyNotFound, jetstream.ErrBucketNotFound, jetstream.ErrStreamNotFound,
		jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDoesNotExist, jetstream.ErrConsumerDeleted, jetstream.ErrObjectNotFound):
		return fault.E(op, fault.NotFound, err)
	case isAny(jetstream.ErrKeyExists):
		return fault.E(op, fault.Conflict, err)
	case isAny(nats.ErrMaxPayload):
		return fault.Reject(op, fault.Unsupported, ReasonTooLarge, "the event does not fit on the bus: %w", err)
	case isAny(nats.ErrNoResponders, jetstream.ErrNoStreamResponse, nats.ErrConnectionClosed, nats.ErrConnectionDraining,
		nats.ErrDisconnected, nats.ErrReconnectBufExceeded):
		return fault.E(op, fault.Unavailable, err)
	case errors.As(err, &api):
		switch {
		case api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence, api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return fault.E(op, fault.Conflict, err)
		case api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum:
			return fault.Reject(op, fault.Unsupported, ReasonTooLarge, "the event does not fit in the stream: %w", err)
		case api.ErrorCode == accountFull:
			return fault.E(op, fault.Unavailable, err)
		case api.Code == 429: // too many requests at once
			return fault.E(op, fault.Transient, err)
		case api.Code >= 500: // no space left, no quorum, shutting down
			return fault.E(op, fault.Unavailable, err)
		}
		return fault.E(op, fault.Internal, err) // the server says that the request is wrong
	}
	return fault.E(op, fault.Transient, err) // timeouts above all
}
