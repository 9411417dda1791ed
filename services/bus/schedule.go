package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Schedule makes the server publish e on the subject target whenever a schedule says so: a cron
// expression of six fields from seconds to weekday, in UTC, or @hourly, @daily, @every 90m and
// the like. It replaces what was scheduled on the subject of e, and outlives this process. The
// ids that the server publishes under are its own.
//
// Errors: Usage for a schedule that the server does not understand; the bus's own.
func (b *Bus) Schedule(ctx context.Context, e event.Envelope, schedule string, target event.Subject) error {
	const op = "bus.Schedule"
	if schedule == "" {
		return fault.Errorf(op, fault.Usage, "a schedule is a cron expression of six fields, or such as @daily")
	}
	m := &nats.Msg{Subject: string(e.Subject), Data: e.Body, Header: e.Header()}
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	_, err := b.js.PublishMsg(ctx, m, jetstream.WithScheduleCron(schedule), jetstream.WithScheduleTarget(string(target)))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeSchedulePatternInvalid {
		return fault.Errorf(op, fault.Usage, "the schedule %q is none: a cron expression has six fields, seconds first, such as \"0 0 3 * * *\"; @daily and @every 6h are schedules too", schedule)
	}
	return Failure(op, err)
}

// Unschedule ends what is scheduled on a subject; nothing there is no error.
func (b *Bus) Unschedule(ctx context.Context, stream string, subject event.Subject) error {
	const op = "bus.Unschedule"
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return Failure(op, err)
	}
	return Failure(op, s.Purge(ctx, jetstream.WithPurgeSubject(string(subject))))
}
