// Package deadletter deals with what a stage refused: it lists the dead letters of REJECTED, and
// takes each off it, by putting its input before the stage once more or for good.
//
//	REJECTED --> List, Get
//	         --> Requeue: the input is stored in its stream again -> the stage handles it anew
//	         --> Drop
//
// The input of a dead letter stays in its own stream, and its objects in the Object Store: a
// requeue needs nothing from the sender. It goes by event id like any repetition, so what of an
// arrival was taken before is not taken twice. What is refused once more leaves a new dead letter.
// Dead letters say nothing that identifies a patient.
package deadletter

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
)

// Reasons for which a dead letter cannot be requeued.
const (
	ReasonInputGone  fault.Reason = "input_gone"
	ReasonSuperseded fault.Reason = "superseded"
	ReasonUnreadable fault.Reason = "unreadable_letter"
)

// Letter is one dead letter.
type Letter struct {
	Sequence uint64         `json:"seq"` // in REJECTED; names the letter
	Time     time.Time      `json:"time"`
	Tenant   event.Tenant   `json:"tenant"`
	Stage    string         `json:"stage"`  // prepare, embed or index
	Kind     string         `json:"kind"`   // a word of schemas/fault
	Reason   string         `json:"reason"` // stable code
	Detail   string         `json:"detail"`
	Stream   string         `json:"input_stream"`
	Input    uint64         `json:"input_seq"`
	Study    event.StudyKey `json:"study_key,omitempty"`
	Part     string         `json:"part,omitempty"`   // what of the input; empty for all of it
	Object   string         `json:"object,omitempty"` // sha256 of the object to blame, in hex
	Trace    event.Trace    `json:"trace,omitzero"`
}

// Filter keeps the letters that have all that is set.
type Filter struct {
	Tenant event.Tenant
	Stage  string
	Reason string
}

func (f Filter) keeps(l Letter) bool {
	return (f.Tenant == "" || f.Tenant == l.Tenant) && (f.Stage == "" || f.Stage == l.Stage) && (f.Reason == "" || f.Reason == l.Reason)
}

// List calls each with the letters, oldest first, and stops at its first error.
func List(ctx context.Context, b *bus.Bus, f Filter, each func(Letter) error) error {
	const op = "deadletter.List"
	return fault.Wrap(op, b.Each(ctx, bus.WatchConfig{Stream: event.StreamRejected, Start: bus.FromAll()}, func(m bus.Message) error {
		if l := letter(m); f.keeps(l) {
			return each(l)
		}
		return nil
	}))
}

// Get returns one letter. NotFound when there is none, or not any more.
func Get(ctx context.Context, b *bus.Bus, seq uint64) (Letter, error) {
	const op = "deadletter.Get"
	m, err := b.Get(ctx, event.StreamRejected, seq)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return Letter{}, fault.Errorf(op, fault.NotFound, "there is no dead letter %d: `radstream dlq list` shows those there are", seq)
	}
	if err != nil {
		return Letter{}, fault.Wrap(op, err)
	}
	return letter(m), nil
}

// letter reads a message of REJECTED. One that is no dead letter, or one of a newer version, is a
// letter too, so that it stands in nobody's way and can be dropped.
func letter(m bus.Message) Letter {
	tenant, err := m.Tenant()
	var r *radstreamv1.Rejected
	if err == nil {
		var body proto.Message
		if body, err = m.Message(); err == nil {
			r, _ = body.(*radstreamv1.Rejected)
		}
	}
	if r == nil {
		if err == nil {
			err = fault.Errorf("deadletter.letter", fault.Corrupt, "it is of type %s", m.Type)
		}
		return Letter{
			Sequence: m.Sequence, Time: m.Stored, Tenant: tenant, Kind: fault.Corrupt.String(), Reason: string(ReasonUnreadable),
			Detail: "the message is no dead letter that can be read here: " + fault.Detail(err), Trace: m.Trace,
		}
	}
	return Letter{
		Sequence: m.Sequence, Time: m.Stored, Tenant: tenant, Stage: r.GetStage(), Kind: r.GetKind(), Reason: r.GetReason(), Detail: r.GetDetail(),
		Stream: r.GetInput().GetStream(), Input: r.GetInput().GetSequence(), Study: event.StudyKey(r.GetStudyKey()),
		Part: r.GetPart(), Object: hex.EncodeToString(r.GetObject().GetSha256()), Trace: m.Trace,
	}
}

// Requeue puts the input of a letter before its stage once more, then takes the letter away. Of
// several letters of one input each does so; the repetitions change nothing. A call that was broken
// off may be repeated.
//
// Errors: NotFound with ReasonInputGone; Conflict with ReasonSuperseded when a newer revision of
// the study took the input's place, so that there is nothing to do again; Corrupt with
// ReasonUnreadable when the letter does not say what it is about; the bus's own. The letter stays
// then.
func Requeue(ctx context.Context, b *bus.Bus, l Letter) error {
	const op = "deadletter.Requeue"
	if l.Reason == string(ReasonUnreadable) {
		return fault.Reject(op, fault.Corrupt, ReasonUnreadable, "dead letter %d cannot be read here, so that nothing says what it is about: drop it", l.Sequence)
	}
	input, err := b.Get(ctx, l.Stream, l.Input)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return fault.Reject(op, fault.NotFound, ReasonInputGone, "what dead letter %d is about is not in %s any more: publish it again, and drop the letter", l.Sequence, l.Stream)
	}
	if err != nil {
		return fault.Wrap(op, err)
	}
	if l.Trace != (event.Trace{}) { // which may have begun with the refusal
		input.Trace = l.Trace
	}
	// Arrivals are facts that stay true in any order. Past STUDIES the last message of a subject is
	// what is known of a study, and an older one must not become it.
	_, err = b.PublishAgain(ctx, input, event.ID("requeued", strconv.FormatUint(l.Sequence, 10)), l.Stream != event.StreamStudies)
	if err != nil && fault.KindOf(err) == fault.Conflict {
		return fault.Reject(op, fault.Conflict, ReasonSuperseded, "a newer revision took the place of what dead letter %d is about: drop the letter", l.Sequence)
	}
	if err != nil {
		return fault.Wrap(op, err)
	}
	// A request to erase names who is to be erased and removes itself when it is carried out: what was
	// refused of it goes now, or nobody would remove it.
	if input.Type == event.StudyErased {
		if err := b.SecureDelete(ctx, l.Stream, l.Input); err != nil {
			return fault.Wrap(op, err)
		}
	}
	return fault.Wrap(op, Drop(ctx, b, l))
}

// Drop takes a letter away for good. Its input stays where it is. One that is gone is no error.
func Drop(ctx context.Context, b *bus.Bus, l Letter) error {
	return fault.Wrap("deadletter.Drop", b.SecureDelete(ctx, event.StreamRejected, l.Sequence))
}

// Each does what with the letters that f keeps, and goes on behind those that cannot be requeued.
// It returns how many were dealt with, and the faults of the others, joined.
func Each(ctx context.Context, b *bus.Bus, f Filter, what func(context.Context, *bus.Bus, Letter) error) (done int, err error) {
	var letters []Letter // first all: what is requeued may come back at once
	if err := List(ctx, b, f, func(l Letter) error { letters = append(letters, l); return nil }); err != nil {
		return 0, err
	}
	var faults []error
	for _, l := range letters {
		switch err := what(ctx, b, l); {
		case err == nil:
			done++
		case slices.Contains([]fault.Reason{ReasonInputGone, ReasonSuperseded, ReasonUnreadable}, fault.ReasonOf(err)):
			faults = append(faults, err)
		default:
			return done, errors.Join(append(faults, err)...)
		}
	}
	return done, errors.Join(faults...)
}
