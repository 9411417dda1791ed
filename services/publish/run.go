package publish

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
)

// objects is where the bytes go; services/blob.
type objects interface {
	Put(ctx context.Context, data []byte) (*radstreamv1.ObjectRef, error)
}

// Config of a run.
type Config struct {
	Tenant event.Tenant
	// Wait follows every arrival until it is settled; else Run ends when all are published.
	Wait bool
	// Patience is how long a server may be away before the run gives up; default 2 minutes.
	Patience time.Duration
	// MaxBytes bounds one file; larger ones become problems. Default blob.DefaultMaxBytes.
	MaxBytes int64
	// Progress is called after every change; calls do not overlap. May be nil.
	Progress func(Progress)
}

// Summary is what came of a run. Published = Indexed + Rejected + Noted when it waited.
type Summary struct {
	Published  int            `json:"published"` // studies, reports and merges announced
	Indexed    int            `json:"indexed"`   // of these, can be found
	Rejected   int            `json:"rejected"`  // of these, nothing was taken
	Noted      int            `json:"noted"`     // of these, taken without a revision: a report that waits for its study, a merge
	Waited     bool           `json:"waited"`    // whether indexed and rejected were followed to the end
	Objects    int            `json:"objects"`   // files and reports announced
	Rejections []Rejection    `json:"rejections"`
	Problems   []Problem      `json:"problems"` // what was not published
	Ignored    map[string]int `json:"ignored"`  // files of other kinds, by extension
	Seconds    float64        `json:"seconds"`
}

// Publisher publishes plans.
type Publisher struct {
	bus     *bus.Bus
	objects objects
	config  Config
	run     string // random

	mu sync.Mutex
	t  *tracker
	// settled is closed when every arrival is published and settled.
	settled chan struct{}
}

// New makes a publisher for one run.
func New(b *bus.Bus, o objects, c Config) *Publisher {
	if c.Patience <= 0 {
		c.Patience = 2 * time.Minute
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = blob.DefaultMaxBytes
	}
	return &Publisher{bus: b, objects: o, config: c, run: rand.Text(), t: newTracker(), settled: make(chan struct{})}
}

// Run publishes the plan. It returns what was reached even with an error.
//
// Errors: Unavailable when the server was away for longer than the patience, Canceled.
func (p *Publisher) Run(ctx context.Context, plan Plan) (Summary, error) {
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, ctx := errgroup.WithContext(ctx)
	if p.config.Wait {
		// Everything that the run sets off comes after what the streams hold now.
		if err := p.watch(ctx, watch); err != nil {
			return p.summary(plan, start), err
		}
	}
	p.mu.Lock()
	p.t.Total = plan.Arrivals()
	p.mu.Unlock()
	send, sendCtx := errgroup.WithContext(ctx)
	send.SetLimit(4) // so many are published at once
	for _, s := range split(plan.Studies) {
		send.Go(func() error { return p.send(sendCtx, s) })
	}
	for _, m := range plan.Messages {
		send.Go(func() error { return p.sendMessage(sendCtx, m) })
	}
	err := send.Wait()
	if err == nil && p.config.Wait {
		p.update(func() {}) // an empty plan is settled at once
		select {
		case <-p.settled:
		case <-ctx.Done():
		}
	}
	cancel()
	if broken := watch.Wait(); broken != nil { // it ended the rest
		err = broken
	}
	if err == nil && p.config.Wait && !p.isSettled() {
		err = fault.E("publish.Run", fault.Canceled, context.Canceled)
	}
	return p.summary(plan, start), err
}

// split cuts studies into what one arrival may carry; the report goes with the first.
func split(studies []Study) []Study {
	var out []Study
	for _, s := range studies {
		for len(s.Objects) > event.MaxObjects {
			first := s
			first.Objects = s.Objects[:event.MaxObjects]
			out = append(out, first)
			s.Objects, s.Report = s.Objects[event.MaxObjects:], ""
		}
		out = append(out, s)
	}
	return out
}

func (p *Publisher) isSettled() bool {
	select {
	case <-p.settled:
		return true
	default:
		return false
	}
}

// send publishes one study.
func (p *Publisher) send(ctx context.Context, s Study) error {
	m := &radstreamv1.StudyArrived{StudyUid: string(s.UID), PatientId: string(s.PatientID), AccessionNumber: s.Accession}
	a := &arrival{uid: s.UID, paths: map[string]string{}}
	// The run is part of the id: published once more in another run it is a new event, and
	// gets an answer.
	parts := []string{p.run, string(event.StudyArrived), string(p.config.Tenant), string(s.UID), string(s.PatientID)}
	if !s.Time.IsZero() {
		m.StudyTime = timestamppb.New(s.Time)
	}
	for _, o := range s.Objects {
		data, problem := p.read(o.Path)
		if problem != nil {
			p.update(func() { p.t.problems = append(p.t.problems, *problem) })
			continue
		}
		var ref *radstreamv1.ObjectRef
		err := p.patiently(ctx, func() (err error) {
			ref, err = p.objects.Put(ctx, data)
			return err
		})
		if err != nil {
			return err
		}
		sum := hex.EncodeToString(ref.GetSha256())
		if _, twice := a.paths[sum]; twice {
			continue // the same bytes under two names are one object
		}
		ref.MediaType = o.MediaType
		a.paths[sum] = o.Path
		a.parts++
		parts = append(parts, sum, o.Projection.String())
		m.Objects = append(m.Objects, &radstreamv1.StudyObject{Ref: ref, Projection: o.Projection})
	}
	if s.Report != "" {
		a.parts++
		m.Report = &radstreamv1.Report{Text: s.Report}
		parts = append(parts, "report", s.Report)
	}
	if a.parts == 0 { // every file of it became a problem
		p.update(func() { p.t.Total-- })
		return nil
	}
	return p.announce(ctx, event.ID(parts...), event.StudyArrivedSubject(p.config.Tenant), m, a, s.name())
}

// sendMessage publishes what one message of a hospital says.
func (p *Publisher) sendMessage(ctx context.Context, m Message) error {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Body)
	if err != nil {
		return fault.E("publish.Run", fault.Internal, err)
	}
	a := &arrival{parts: 1, paths: map[string]string{"": m.Path}}
	subject := event.ReportArrivedSubject(p.config.Tenant)
	switch e := m.Body.(type) {
	case *radstreamv1.ReportArrived:
		a.uid = event.StudyUID(e.GetStudyUid())
	case *radstreamv1.PatientMerged:
		subject, a.merge = event.PatientMergedSubject(p.config.Tenant), true
	}
	return p.announce(ctx, event.ID(p.run, string(subject), string(body)), subject, m.Body, a, m.Path)
}

// announce publishes one event and expects what becomes of it. name says to the user what it is.
func (p *Publisher) announce(ctx context.Context, id event.MessageID, subject event.Subject, m proto.Message, a *arrival, name string) error {
	env, err := event.New(id, "radstream publish", subject, time.Now(), m)
	if fault.ReasonOf(err) == bus.ReasonTooLarge {
		p.update(func() {
			p.t.Total--
			p.t.problems = append(p.t.problems, Problem{name, ReasonTooLarge, fault.Detail(err)})
		})
		return nil
	}
	if err != nil {
		return err
	}
	first := false
	p.update(func() { first = p.t.expect(env.ID, a) })
	if !first {
		return nil
	}
	if err := p.patiently(ctx, func() error { return p.bus.Publish(ctx, env, nil) }); err != nil {
		return err
	}
	p.update(func() { p.t.Published++ })
	return nil
}

func (p *Publisher) read(path string) ([]byte, *Problem) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > p.config.MaxBytes {
		return nil, &Problem{path, ReasonTooLarge, "the file is larger than what is taken"}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &Problem{path, ReasonUnread, fault.WithoutPath(err).Error()}
	}
	return data, nil
}

// patiently repeats f while a server is away, for as long as the patience lasts.
func (p *Publisher) patiently(ctx context.Context, f func() error) error {
	return p.retry(ctx, func(func()) error { return f() })
}

// retry is patiently for an f that lives long: the patience is for failures in a row, and f
// calls alive when something answered.
func (p *Publisher) retry(ctx context.Context, f func(alive func()) error) error {
	const shortest, longest = 50 * time.Millisecond, 2 * time.Second
	var failing time.Time // since when
	wait := shortest
	for {
		err := f(func() { failing, wait = time.Time{}, shortest })
		if failing.IsZero() {
			failing = time.Now()
		}
		k := fault.KindOf(err)
		switch {
		case ctx.Err() != nil:
			return fault.E("publish.Run", fault.Canceled, ctx.Err())
		case err == nil, k != fault.Transient && k != fault.Unavailable:
			return err
		case time.Since(failing) > p.config.Patience:
			return fault.Errorf("publish.Run", fault.Unavailable, "the NATS server has not answered for %v: %s", p.config.Patience, fault.Detail(err))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, longest)
	}
}

// watch follows the streams from their present ends on.
func (p *Publisher) watch(ctx context.Context, g *errgroup.Group) error {
	for _, stream := range []string{event.StreamPrepared, event.StreamEmbedded, event.StreamIndexed, event.StreamRejected, event.StreamAnswers} {
		var from uint64
		err := p.patiently(ctx, func() error {
			state, err := p.bus.StreamState(ctx, stream)
			from = state.LastSeq + 1
			return err
		})
		if err != nil {
			return err
		}
		g.Go(func() error {
			err := p.retry(ctx, func(alive func()) error { return p.follow(ctx, stream, &from, alive) })
			if ctx.Err() != nil { // the run is over
				return nil
			}
			return err
		})
	}
	return nil
}

// follow feeds the events of one stream to the tracker, from sequence *from on, until it
// fails or ctx ends. It leaves *from where another call has to go on.
func (p *Publisher) follow(ctx context.Context, stream string, from *uint64, alive func()) error {
	w, err := p.bus.Watch(ctx, bus.WatchConfig{
		Stream: stream, Subjects: []event.Subject{event.TenantSubjects(p.config.Tenant)},
		Start: bus.FromSeq(*from), HeadersOnly: stream != event.StreamRejected,
	})
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		alive()
		m, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if err := p.see(ctx, m.Envelope); err != nil {
			return err
		}
		*from = m.Sequence + 1
	}
}

func (p *Publisher) see(ctx context.Context, e event.Envelope) error {
	if e.Type == event.Rejected {
		if m, err := e.Message(); err == nil { // one that cannot be read is of no arrival of this run
			p.update(func() { p.t.dead(e, m.(*radstreamv1.Rejected)) })
		}
		return nil
	}
	lookUp := false
	p.update(func() { lookUp = p.t.see(e) })
	if !lookUp {
		return nil
	}
	known, _, err := p.bus.LastForSubject(ctx, event.StreamIndexed, event.IndexedSubject(p.config.Tenant, e.StudyKey()))
	if fault.KindOf(err) == fault.NotFound {
		return p.refused(ctx, e.StudyKey()) // else on its way: the watch of INDEXED will see it
	}
	if err == nil {
		p.update(func() { p.t.see(known) })
	}
	return err
}

// refused looks for the dead letters of the stages behind prepare that are about a study: a
// revision that was refused before this run will not come again.
func (p *Publisher) refused(ctx context.Context, key event.StudyKey) error {
	return p.bus.Each(ctx, bus.WatchConfig{
		Stream: event.StreamRejected, Start: bus.FromAll(),
		Subjects: []event.Subject{event.RejectedSubject(p.config.Tenant, "embed"), event.RejectedSubject(p.config.Tenant, "index")},
	}, func(m bus.Message) error {
		body, err := m.Message()
		if r, ok := body.(*radstreamv1.Rejected); err == nil && ok && r.GetStudyKey() == string(key) {
			p.update(func() { p.t.dead(m.Envelope, r) })
		}
		return nil // one that cannot be read is about no study of this run
	})
}

// update changes the tracker and tells about it.
func (p *Publisher) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	if p.config.Progress != nil {
		p.config.Progress(p.t.Progress)
	}
	if p.t.done() && !p.isSettled() {
		close(p.settled)
	}
}

func (p *Publisher) summary(plan Plan, start time.Time) Summary {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Summary{
		Published: p.t.Published, Indexed: p.t.Indexed, Rejected: p.t.Rejected, Noted: p.t.Noted, Waited: p.config.Wait,
		Rejections: append([]Rejection{}, p.t.rejections...), Problems: append(append([]Problem{}, plan.Problems...), p.t.problems...),
		Ignored: plan.Ignored, Seconds: time.Since(start).Seconds(),
	}
	for _, a := range p.t.arrivals {
		s.Objects += a.parts
	}
	return s
}
