package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

const (
	// keep is how long streams that are no archive keep a message.
	keep = 7 * 24 * time.Hour
	// duplicates is the least window in which a repeated message id is dropped.
	duplicates = 2 * time.Minute
)

// streamConfig is how the server is asked to keep s. Replicas, placement and compression
// are the operator's: set them on the stream, they are not compared.
func streamConfig(s event.Stream) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:              s.Name,
		Description:       s.About,
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardOld,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		MaxMsgsPerSubject: -1,
		Replicas:          1,
		Duplicates:        duplicates,
		AllowDirect:       true,
	}
	for _, subject := range s.Subjects {
		c.Subjects = append(c.Subjects, string(subject))
	}
	if s.PerSubject > 0 {
		c.MaxMsgsPerSubject = s.PerSubject
	}
	if !s.Archive {
		c.MaxAge = keep
	}
	// The server turns rollups on beside schedules: a schedule replaces the one before it.
	c.AllowMsgSchedules, c.AllowRollup = s.Schedules, s.Schedules
	return c
}

// EnsureStreams creates the streams of [event.Streams] that are missing. A stream that
// exists is left as it is, unless an earlier version of Radstream made it so; where its settings
// differ from what Radstream relies on, the error (Usage) lists every difference of every stream.
func (b *Bus) EnsureStreams(ctx context.Context) error {
	const op = "bus.EnsureStreams"
	var all []string
	for _, s := range event.Streams() {
		want := streamConfig(s)
		stream, err := b.js.Stream(ctx, s.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = b.js.CreateStream(ctx, want)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody was quicker
				stream, err = b.js.Stream(ctx, s.Name)
			}
		}
		var api *jetstream.APIError
		if errors.As(err, &api) && api.Code == 400 { // above all: another stream has the subjects
			return fault.Errorf(op, fault.Usage, "stream %s cannot be created: %w", s.Name, err)
		}
		if err != nil {
			return fault.Errorf(op, fault.KindOf(Failure(op, err)), "stream %s: %w", s.Name, err)
		}
		if have := stream.CachedInfo().Config; outdated(have) {
			have.MaxAge, have.MaxMsgsPerSubject, have.Description = want.MaxAge, want.MaxMsgsPerSubject, want.Description
			if stream, err = b.js.UpdateStream(ctx, have); err != nil {
				return fault.Errorf(op, fault.KindOf(Failure(op, err)), "stream %s: %w", s.Name, err)
			}
		}
		for _, d := range differences(stream.CachedInfo().Config, want) {
			all = append(all, s.Name+": "+d)
		}
	}
	if len(all) > 0 {
		return fault.Errorf(op, fault.Usage, "streams exist with other settings, which are left as they are: %s", strings.Join(all, "; "))
	}
	return nil
}

// outdated tells whether a stream is EMBEDDED as it was at first, which kept vectors for a week
// and lost those of an index stage that was away for longer.
func outdated(c jetstream.StreamConfig) bool {
	return c.Name == event.StreamEmbedded && c.MaxAge == keep && c.MaxMsgsPerSubject == -1
}

// differences names the settings of have that Radstream cannot work with.
func differences(have, want jetstream.StreamConfig) []string {
	var ds []string
	check := func(name string, have, want any) {
		if h, w := fmt.Sprint(have), fmt.Sprint(want); h != w {
			ds = append(ds, fmt.Sprintf("%s is %s, expected %s", name, h, w))
		}
	}
	slices.Sort(have.Subjects)
	slices.Sort(want.Subjects)
	check("subjects", have.Subjects, want.Subjects)
	check("retention", have.Retention, want.Retention)
	check("storage", have.Storage, want.Storage)
	check("max_age", have.MaxAge, want.MaxAge)
	check("max_msgs", have.MaxMsgs, want.MaxMsgs)
	check("max_bytes", have.MaxBytes, want.MaxBytes)
	check("max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	check("max_msg_size", have.MaxMsgSize, want.MaxMsgSize)
	check("allow_direct", have.AllowDirect, want.AllowDirect)
	check("deny_delete", have.DenyDelete, want.DenyDelete) // erasing needs it
	check("no_ack", have.NoAck, want.NoAck)
	check("allow_msg_schedules", have.AllowMsgSchedules, want.AllowMsgSchedules)
	check("sealed", have.Sealed, want.Sealed)
	check("mirror", have.Mirror != nil, false)
	check("sources", len(have.Sources), 0)
	check("subject_transform", have.SubjectTransform != nil, false)
	check("async persist_mode", have.PersistMode == jetstream.AsyncPersistMode, false) // acknowledges before it is on disk
	if have.Duplicates < want.Duplicates {
		ds = append(ds, fmt.Sprintf("duplicate_window is %s, expected %s or more", have.Duplicates, want.Duplicates))
	}
	return ds
}

// StreamState is what a stream holds.
type StreamState struct {
	Messages uint64
	Bytes    uint64
	Subjects uint64
	FirstSeq uint64 // of the oldest message; LastSeq + 1 where there is none
	LastSeq  uint64
}

// StreamState asks the server about a stream. Errors: NotFound, or the bus's own.
func (b *Bus) StreamState(ctx context.Context, stream string) (StreamState, error) {
	const op = "bus.StreamState"
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return StreamState{}, Failure(op, err)
	}
	st := s.CachedInfo().State
	return StreamState{Messages: st.Msgs, Bytes: st.Bytes, Subjects: st.NumSubjects, FirstSeq: st.FirstSeq, LastSeq: st.LastSeq}, nil
}

// ConsumerState is how far a durable consumer came.
type ConsumerState struct {
	Pending    uint64 // messages never delivered yet
	AckPending int    // delivered, not settled
	AckedTo    uint64 // every message up to this stream sequence is settled
	Delivered  uint64 // stream sequence of the last message that was delivered
}

// ConsumerState asks the server about a consumer. Errors: NotFound, or the bus's own.
func (b *Bus) ConsumerState(ctx context.Context, stream, durable string) (ConsumerState, error) {
	const op = "bus.ConsumerState"
	c, err := b.js.Consumer(ctx, stream, durable)
	if err != nil {
		return ConsumerState{}, Failure(op, err)
	}
	i := c.CachedInfo()
	return ConsumerState{Pending: i.NumPending, AckPending: i.NumAckPending, AckedTo: i.AckFloor.Stream, Delivered: i.Delivered.Stream}, nil
}

// Settled tells whether a durable consumer of a stream's messages on subjects has settled all of them
// up to a sequence: none that is still there is to be delivered or is worked on. state is how far it
// is. Errors: NotFound, or the bus's own.
func (b *Bus) Settled(ctx context.Context, stream, durable string, subjects event.Subject, to uint64) (done bool, state ConsumerState, err error) {
	const op = "bus.Settled"
	if state, err = b.ConsumerState(ctx, stream, durable); err != nil {
		return false, state, fault.Wrap(op, err)
	}
	if state.AckedTo >= to {
		return true, state, nil
	}
	if state.AckPending > 0 {
		return false, state, nil
	}
	// The last messages may have been replaced or erased, so that nothing is left to settle. The server's
	// count of what is pending does not say so: it lags behind the stream.
	_, last, err := b.LastForSubject(ctx, stream, subjects)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return true, state, nil
	}
	return err == nil && state.Delivered >= last, state, fault.Wrap(op, err)
}

// Rewind makes a durable consumer read its stream from the start again: it is deleted, and made
// anew by the next [Bus.Source]. One that is not there is no error.
func (b *Bus) Rewind(ctx context.Context, stream, durable string) error {
	err := b.js.DeleteConsumer(ctx, stream, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return Failure("bus.Rewind", err)
}

// RewindAll is [Bus.Rewind] of every durable consumer of a stream whose name begins with prefix.
func (b *Bus) RewindAll(ctx context.Context, stream, prefix string) error {
	const op = "bus.RewindAll"
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return Failure(op, err)
	}
	names := s.ConsumerNames(ctx)
	var all []string
	for name := range names.Name() {
		if strings.HasPrefix(name, prefix) {
			all = append(all, name)
		}
	}
	if err := names.Err(); err != nil {
		return Failure(op, err)
	}
	for _, name := range all {
		if err := b.Rewind(ctx, stream, name); err != nil {
			return fault.Wrap(op, err)
		}
	}
	return nil
}

// Sync says when a server writes what it acknowledges to disk.
type Sync string

// What a server does.
const (
	SyncAlways   Sync = "always"   // before it acknowledges
	SyncInterval Sync = "interval" // some time after: a power cut loses what was acknowledged
	SyncUnknown  Sync = "unknown"  // this client may not ask
)

// Sync asks the server when it syncs. It answers SyncUnknown where the client's account
// does not import the system service $SYS.REQ.SERVER.PING.JSZ (natsd and deploy share
// it). In a cluster, one server answers.
func (b *Bus) Sync(ctx context.Context) Sync {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, "$SYS.REQ.SERVER.PING.JSZ", nil)
	if err != nil {
		return SyncUnknown
	}
	var answer struct {
		Data struct {
			Config *struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"data"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil || answer.Data.Config == nil:
		return SyncUnknown
	case answer.Data.Config.SyncAlways:
		return SyncAlways
	}
	return SyncInterval
}
