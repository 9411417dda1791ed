package app

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
)

// mortal counts the operations of a process on the bus. Behind the last one nothing reaches
// the bus any more; whether that one still does alternates.
type mortal struct {
	after int // operations; -1 lives on
	die   context.CancelFunc

	mu   sync.Mutex
	ops  int
	gone bool
}

var errDead = fault.Errorf("mortal", fault.Transient, "the process is dead")

func (f *mortal) dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

func (f *mortal) do(effect func() error) error {
	f.mu.Lock()
	f.ops++
	last := f.after >= 0 && f.ops == f.after
	gone := f.gone
	f.gone = f.gone || last
	f.mu.Unlock()
	switch {
	case gone:
		return errDead
	case !last:
		return effect()
	}
	if f.after%2 == 0 {
		_ = effect() // its answer is lost
	}
	f.die()
	return errDead
}

// live runs one ingest process until it dies or everything is settled.
func (r *rig) live(ctx context.Context, f *mortal) error {
	ctx, f.die = context.WithCancel(ctx)
	defer f.die()
	b, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer b.Close() // takes what was delivered and not settled along, as a crash does
	ids, err := openIdentity(ctx, b)
	if err != nil {
		return err
	}
	pending, err := b.KV(ctx, bus.BucketPending, 0)
	if err != nil {
		return err
	}
	bucket, stream, err := b.ObjectStore(ctx, bus.BucketObjects)
	if err != nil {
		return err
	}
	h := &prepareHandler{
		preparer: r.preparer, objects: blob.NewJetStream(bucket, stream, 1<<20), archive: mortalArchive{b, f}, identities: mortalIdentity{ids, f},
		accessions: mortalWords{words{ids.kv, "_accession.", listLimit}, f}, pending: mortalWords{words{pending, "", listLimit}, f},
		keys: r, parallel: 2, maxObject: 1 << 20, memory: semaphore.NewWeighted(arrivalBytes),
	}
	var workers sync.WaitGroup
	failed := make(chan error, 2)
	workers.Go(func() { failed <- work(ctx, r, b, f, stagePrepare, event.StreamStudies, h) })
	workers.Go(func() { failed <- work(ctx, r, b, f, stageRelate, event.StreamPrepared, &relateHandler{h}) })
	for ctx.Err() == nil && !r.settled(ctx) { // nobody hears of an ack whose process died meanwhile
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	f.die()
	workers.Wait()
	close(failed)
	for err := range failed {
		if err != nil && !f.dead() {
			return err
		}
	}
	return nil
}

// work is one stage of a process.
func work[In any](ctx context.Context, r *rig, b *bus.Bus, f *mortal, name, stream string, h stage.Handler[In]) error {
	sc := bus.DefaultSourceConfig(stream, name)
	sc.AckWait, sc.Prefetch = 2*time.Second, 8
	src, err := b.Source(ctx, sc)
	if err != nil {
		return fault.Wrap("work", err)
	}
	c := stage.DefaultConfig(name)
	c.MaxBatch, c.BatchDeadline, c.KeepAlive, c.Grace = 8, time.Millisecond, 500*time.Millisecond, 0
	s, err := stage.New(c, mortalSource{src, f}, mortalPublisher{b, f}, h, stage.Deps{Log: zerolog.Nop(), Now: time.Now, Attempts: forgetful{},
		Events: stage.Events{Retried: func(in stage.Input, err error, _ time.Duration) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.retries = append(r.retries[max(0, len(r.retries)-20):], fmt.Sprintf("%s %s %d: %v", name, in.Stream, in.Sequence, err))
		}}})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// forgetful keeps no marks: poison is not what is tried here.
type forgetful struct{}

func (forgetful) Load(context.Context, string) (int, error) { return 0, nil }
func (forgetful) Store(context.Context, string, int) error  { return nil }

type mortalSource struct {
	stage.Source
	f *mortal
}

func (s mortalSource) Next(ctx context.Context) (stage.Delivery, error) {
	d, err := s.Source.Next(ctx)
	if err != nil || s.f.dead() {
		return nil, cmp.Or(err, errDead)
	}
	return mortalDelivery{d, s.f}, nil
}

type mortalDelivery struct {
	stage.Delivery
	f *mortal
}

func (d mortalDelivery) Done(ctx context.Context) error {
	return d.f.do(func() error { return d.Delivery.Done(ctx) })
}

func (d mortalDelivery) Drop(ctx context.Context, reason string) error {
	return d.f.do(func() error { return d.Delivery.Drop(ctx, reason) })
}

func (d mortalDelivery) Retry(after time.Duration) error {
	return d.f.do(func() error { return d.Delivery.Retry(after) })
}

type mortalPublisher struct {
	stage.Publisher
	f *mortal
}

func (p mortalPublisher) Publish(ctx context.Context, e event.Envelope, expect *stage.Expect) error {
	return p.f.do(func() error { return p.Publisher.Publish(ctx, e, expect) })
}

type mortalArchive struct {
	archive
	f *mortal
}

func (a mortalArchive) LastPerSubject(ctx context.Context, stream string, subject event.Subject, o bus.Last) (all []bus.Message, err error) {
	err = a.f.do(func() (err error) { all, err = a.archive.LastPerSubject(ctx, stream, subject, o); return err })
	return all, err
}

type mortalIdentity struct {
	identities
	f *mortal
}

func (i mortalIdentity) PutStudy(ctx context.Context, t event.Tenant, k event.StudyKey, uid event.StudyUID) error {
	return i.f.do(func() error { return i.identities.PutStudy(ctx, t, k, uid) })
}

func (i mortalIdentity) PutMerge(ctx context.Context, t event.Tenant, k event.StudyKey, from, to event.PatientKey) error {
	return i.f.do(func() error { return i.identities.PutMerge(ctx, t, k, from, to) })
}

type mortalWords struct {
	lists
	f *mortal
}

func (w mortalWords) Add(ctx context.Context, t event.Tenant, list, word string) error {
	return w.f.do(func() error { return w.lists.Add(ctx, t, list, word) })
}
