package train

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/services/telemetry"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

// ServeOptions are one `radtrain serve`.
type ServeOptions struct {
	NATS   bus.Config
	Tenant event.Tenant
	// Fit holds the settings of every run. What is trained from, on which data, into which folder
	// and under which name is decided anew in each round.
	Fit        FitOptions
	Dir        string  // a folder for each round is made below it
	Validation float64 // share of patients that is never trained on
	Gate       eval.Gate

	Schedule string // when rounds are due, see [bus.Bus.Schedule]; "" is never
	After    int    // new studies that make a round due; 0 is any number never
	Rounds   int    // rounds to run; 0 is until ctx ends
}

// ServeHooks are called as rounds go on; each may be nil.
type ServeHooks struct {
	Waiting func(serving model.Ref)
	Begun   func(candidate, champion model.Ref, train, validation int)
	Fit     FitHooks    // of each run; its Metrics are told of the rounds too
	Skipped func(error) // a round was due and there are too few studies yet
	Decided func(*radstreamv1.ModelDecided)
}

// maxGolden bounds what is looked at for the overlap of neighbours.
const maxGolden, neighbours = 50, 10

// maxHeldOut bounds the held-out studies that models are measured on.
const maxHeldOut = 1000

// Serve trains round after round: when one is due it freezes the archive, trains on from the model
// that serves, measures both on the same held-out patients, and promotes the candidate if it
// passes the gate. Every decision is an event of TRAINING, and a candidate stays in the registry
// whatever was decided.
//
//	schedule of TRAINING, or studies of PREPARED -> due
//	  -> manifest -> Fit from the champion -> eval.Measure of both -> eval.Gate
//	  -> registry: candidate with its decision; serving -> ModelDecided
//
// Several processes may serve one tenant: a message that says a round is due goes to one of them,
// and a promotion instead of a model that serves no more is refused.
//
// Errors: Usage where nothing serves, and for wrong options; Canceled, with the way to go on, when ctx
// ends during a round, and nil when it ends between two; what ends a round ends Serve, but for data
// that cannot be trained on yet.
func Serve(ctx context.Context, o ServeOptions, h ServeHooks) error {
	const op = "train.Serve"
	if o.After < 0 || o.Rounds < 0 || o.Schedule == "" && o.After == 0 {
		return fault.Errorf(op, fault.Usage, "say when a round is due: on a schedule, or after a number of new studies")
	}
	if !canTrain {
		return fault.Errorf(op, fault.Usage, "this radtrain was built without libtorch: make radtrain")
	}
	b, err := bus.Connect(ctx, o.NATS, zerolog.Nop())
	if err != nil {
		return fault.Wrap(op, err)
	}
	defer b.Close()
	if err := b.EnsureStreams(ctx); err != nil {
		return fault.Wrap(op, err)
	}
	s := server{options: o, hooks: h, bus: b, metrics: h.Fit.Metrics, news: map[event.StudyKey]uint64{}}
	if s.models, err = registry.Open(ctx, b); err != nil {
		return fault.Wrap(op, err)
	}
	if s.state, err = b.KV(ctx, bus.BucketModels, 0); err != nil {
		return fault.Wrap(op, err)
	}
	s.metrics.Rounds(func(ctx context.Context) error { _, err := s.seen(ctx); return err }, s.pending)
	if err := s.takeUp(ctx); err != nil {
		return fault.Wrap(op, err)
	}
	if err := s.schedule(ctx); err != nil {
		return fault.Wrap(op, err)
	}
	for round := 0; o.Rounds == 0 || round < o.Rounds; {
		if h.Waiting != nil {
			serving, err := s.models.Serving(ctx)
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return fault.Wrap(op, err)
			}
			h.Waiting(serving.Ref)
		}
		due, err := s.due(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fault.Wrap(op, err)
		}
		err = s.working(ctx, due, s.round)
		switch {
		case ctx.Err() != nil: // what is left of the round is told
			return fault.Wrap(op, err)
		case fault.ReasonOf(err) == trainer.ReasonData:
			s.metrics.Round(telemetry.Skipped)
			if h.Skipped != nil {
				h.Skipped(err)
			}
		case err != nil:
			s.metrics.Round(telemetry.Failed)
			return fault.Wrap(op, err)
		default:
			round++
		}
		if due != nil {
			if err := due.Done(ctx); err != nil {
				return fault.Wrap(op, err)
			}
		}
	}
	return nil
}

// server is a running Serve.
type server struct {
	options ServeOptions
	hooks   ServeHooks
	bus     *bus.Bus
	models  *registry.Registry
	state   *bus.KV
	dues    *bus.Source // nil without a schedule
	metrics *telemetry.Training
	skipped atomic.Uint64 // sequence of PREPARED up to which there was too little

	mu   sync.Mutex
	read uint64                    // sequence of PREPARED up to which pending has read
	news map[event.StudyKey]uint64 // sequences of the newest revisions that it found
}

// durable is the consumer that hands out what is due.
func (s *server) durable() string { return "train-" + string(s.options.Tenant) }

// schedule starts what the options say, and ends what another run had said.
func (s *server) schedule(ctx context.Context) (err error) {
	t := s.options.Tenant
	if s.options.Schedule == "" {
		return s.bus.Unschedule(ctx, event.StreamTraining, event.TrainingScheduleSubject(t))
	}
	c := bus.DefaultSourceConfig(event.StreamTraining, s.durable())
	c.Subjects, c.Prefetch, c.MaxAckPending, c.AckWait = []event.Subject{event.TrainingDueSubject(t)}, 1, 1, time.Minute
	c.Start = bus.FromNow()
	if s.dues, err = s.bus.Source(ctx, c); err != nil {
		return err
	}
	e, err := event.New(event.ID("training", string(t)), "radtrain serve", event.TrainingScheduleSubject(t), time.Now(), &radstreamv1.TrainingDue{Reason: "schedule"})
	if err != nil {
		return err
	}
	return s.bus.Schedule(ctx, e, s.options.Schedule, event.TrainingDueSubject(t))
}

// due waits until a round is due. The delivery is nil when studies made it so.
func (s *server) due(ctx context.Context) (stage.Delivery, error) {
	ctx, cancel := context.WithCancel(ctx)
	type answer struct {
		due stage.Delivery
		err error
	}
	answers := make(chan answer, 2)
	waiting := 0
	if s.dues != nil {
		waiting++
		go func() {
			d, err := s.dues.Next(ctx)
			answers <- answer{d, err}
		}()
	}
	if s.options.After > 0 {
		waiting++
		go func() { answers <- answer{nil, s.newStudies(ctx)} }()
	}
	first := <-answers
	cancel()
	for range waiting - 1 {
		if other := <-answers; other.due != nil { // both at once: one round does for both
			first.due = other.due
		}
	}
	return first.due, first.err
}

// newStudies returns when as many studies as the options ask for have a revision that the last
// round did not see.
func (s *server) newStudies(ctx context.Context) error {
	seen, err := s.seen(ctx)
	if err != nil {
		return err
	}
	w, err := s.bus.Watch(ctx, bus.WatchConfig{
		Stream: event.StreamPrepared, Subjects: []event.Subject{event.PreparedSubject(s.options.Tenant, "*", "*")}, Start: bus.FromSeq(seen + 1), HeadersOnly: true,
	})
	if err != nil {
		return err
	}
	defer w.Close()
	studies := map[event.StudyKey]bool{}
	for len(studies) < s.options.After {
		m, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if m.Type == event.StudyPrepared {
			studies[m.StudyKey()] = true
		}
	}
	return nil
}

// pending counts the studies that have a revision which the last round did not see. It reads each
// message once, whoever asks how often.
func (s *server) pending(ctx context.Context) (int, error) {
	const op = "train.pending"
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, err := s.seen(ctx)
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	s.read = max(s.read, seen)
	found, err := s.bus.LastPerSubject(ctx, event.StreamPrepared, event.PreparedSubject(s.options.Tenant, "*", "*"), bus.Last{HeadersOnly: true, From: s.read + 1})
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	for _, m := range found {
		if s.read = m.Sequence; m.Type == event.StudyPrepared {
			s.news[m.StudyKey()] = m.Sequence
		}
	}
	maps.DeleteFunc(s.news, func(_ event.StudyKey, seq uint64) bool { return seq <= seen })
	return len(s.news), nil
}

func (s *server) seenKey() string { return "trained." + string(s.options.Tenant) }

// seen returns the last sequence of PREPARED that a round has frozen, or has found too little in
// here; 0 before the first.
func (s *server) seen(ctx context.Context) (uint64, error) {
	text, _, err := s.state.Get(ctx, s.seenKey())
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return s.skipped.Load(), nil
	}
	var seq uint64
	if err == nil && json.Unmarshal(text, &seq) != nil {
		err = fault.Errorf("train.seen", fault.Corrupt, "the bucket %s does not say how far training came", bus.BucketModels)
	}
	return max(seq, s.skipped.Load()), err
}

// working runs f and tells the server meanwhile that what is due is being worked on.
func (s *server) working(ctx context.Context, due stage.Delivery, f func(context.Context) error) error {
	if due == nil {
		return f(ctx)
	}
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			_ = due.Working() // else it is due again after a minute, here or elsewhere
		}
	}
}

// round trains one candidate and decides. Errors: with trainer.ReasonData when nothing is new, or
// there are too few studies yet. This process then waits for others; the next one tries them again,
// since it may be asked for less.
func (s *server) round(ctx context.Context) error {
	const op = "train.round"
	archive, err := s.bus.StreamState(ctx, event.StreamPrepared)
	if err != nil {
		return fault.Wrap(op, err)
	}
	seen, err := s.seen(ctx)
	if err != nil {
		return fault.Wrap(op, err)
	}
	if archive.LastSeq <= seen { // such as when many came due while nobody served
		return fault.Reject(op, fault.Invalid, trainer.ReasonData, "the archive is as it was at the last round")
	}
	if err := s.candidate(ctx); err != nil {
		if fault.ReasonOf(err) == trainer.ReasonData {
			s.skipped.Store(archive.LastSeq)
		}
		return fault.Wrap(op, err)
	}
	last, err := json.Marshal(archive.LastSeq)
	if err == nil {
		_, err = s.state.Put(ctx, s.seenKey(), last)
	}
	return fault.Wrap(op, err)
}

func (s *server) candidate(ctx context.Context) error {
	const op = "train.candidate"
	o := s.options
	serving, err := s.models.Serving(ctx)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return fault.Errorf(op, fault.Usage, "no model serves yet: start radstream up, or radstream models push DIR and promote it")
	}
	if err != nil {
		return fault.Wrap(op, err)
	}
	began := time.Now().UTC()
	dir := filepath.Join(o.Dir, began.Format("20060102-150405"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	m, held, err := s.freeze(ctx, serving.Ref)
	if err == nil && (m.Count(trainer.Train) < o.Fit.Trainer.Batch || held < o.Gate.MinStudies) {
		err = fault.Reject(op, fault.Invalid, trainer.ReasonData, "%d studies to train on and %d held out are too few: publish more, hold out another share (--validation), or ask for fewer (--min-held-out, --batch)", m.Count(trainer.Train), held)
	}
	if err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	data := filepath.Join(dir, ManifestFile)
	if err := m.Write(data); err != nil {
		return fault.Wrap(op, err)
	}
	if err := s.models.PutData(ctx, m, data); err != nil {
		return fault.Wrap(op, err)
	}
	champion := filepath.Join(dir, "champion")
	if err := s.models.Pull(ctx, serving.Ref, champion); err != nil {
		return fault.Wrap(op, err)
	}
	fit := o.Fit
	fit.NATS, fit.Data, fit.Out, fit.From, fit.Measure = o.NATS, []string{data}, filepath.Join(dir, "run"), champion, false
	fit.Ref = model.Ref{Name: serving.Ref.Name, Version: began.Format("20060102.150405")}
	if s.hooks.Begun != nil {
		s.hooks.Begun(fit.Ref, serving.Ref, m.Count(trainer.Train), m.Count(trainer.Validation))
	}
	report, err := Fit(ctx, fit, s.hooks.Fit)
	if err != nil {
		return fault.Wrap(op, erased(err, dir))
	}
	if report.Interrupted {
		return fault.Errorf(op, fault.Canceled, "stopped: radtrain fit --resume --out %s ends the run", fit.Out)
	}
	decision, err := s.decide(ctx, serving.Ref, champion, filepath.Join(fit.Out, ModelDir), report, data)
	if err != nil {
		return fault.Wrap(op, erased(err, dir))
	}
	text, err := protojson.Marshal(decision)
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	rec, err := s.models.Push(ctx, filepath.Join(fit.Out, ModelDir), o.Tenant, text)
	if err != nil {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, s.conclude(ctx, rec))
}

// erased tells of a round that is skipped since a study was erased under way. What it left in dir
// may have seen the study, and goes.
func erased(err error, dir string) error {
	if fault.ReasonOf(err) != reasonGone {
		return err
	}
	err = fault.Reject("train.candidate", fault.Invalid, trainer.ReasonData, "a study was erased while the round ran, whose candidate is given up; the next round trains without it: %w", err)
	return errors.Join(err, os.RemoveAll(dir))
}

// freeze freezes the archive and counts the held-out studies that a model was not trained on.
func (s *server) freeze(ctx context.Context, serving model.Ref) (m *trainer.Manifest, held int, err error) {
	m, err = Freeze(ctx, s.options.NATS, s.options.Tenant, Range{}, s.options.Validation, nil)
	if err != nil {
		return nil, 0, err
	}
	rec, err := s.models.Record(ctx, serving)
	if err != nil {
		return nil, 0, err
	}
	trained, err := s.models.TrainedOn(ctx, rec.Data)
	for _, e := range m.Studies {
		if e.Split == trainer.Validation && !trained[event.StudyKey(e.StudyKey)] {
			held++
		}
	}
	return m, held, err
}
