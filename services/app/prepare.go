package app

import (
	"cmp"
	"context"
	"encoding/hex"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/stage"
)

// Names of the stages; they stand in Rejected.stage and in consumers' names.
const (
	stagePrepare = "prepare"
	stageEmbed   = "embed"
	stageIndex   = "index"
)

// Reasons for which the prepare stage refuses an arrival by itself.
const (
	reasonErase      fault.Reason = "erase_not_available"
	reasonNoObjects  fault.Reason = "empty_arrival"
	reasonTooMany    fault.Reason = "too_many_objects"
	reasonUnreadable fault.Reason = "object_unreadable"
)

// objects hands out the bytes of an object; services/blob.
type objects interface {
	Get(ctx context.Context, ref *radstreamv1.ObjectRef) ([]byte, error)
}

// archive reads what is known; services/bus.
type archive interface {
	// LastForSubject returns the newest message on a subject, which may hold wildcards, and
	// its sequence. NotFound when there is none.
	LastForSubject(ctx context.Context, stream string, subject event.Subject) (event.Envelope, uint64, error)
}

// identities remembers which StudyUID a study key stands for; KV identity.
type identities interface {
	PutStudy(ctx context.Context, t event.Tenant, k event.StudyKey, uid event.StudyUID) error
	CheckKey(ctx context.Context, t event.Tenant, k deid.Key) error
}

// keys holds the tenants' secrets; services/keyring.
type keys interface {
	Key(t event.Tenant) (deid.Key, error)
}

// arrived is an arrival of either kind, decoded.
type arrived struct {
	in      stage.Input
	tenant  event.Tenant
	arrival ingest.Arrival // without its objects' bytes
	objects []*radstreamv1.StudyObject
}

// parts counts what can be rejected by itself.
func (a arrived) parts() int {
	if a.arrival.HasReport {
		return len(a.objects) + 1
	}
	return len(a.objects)
}

// prepareHandler turns arrivals into revisions of their studies.
type prepareHandler struct {
	preparer   *ingest.Preparer
	objects    objects
	archive    archive
	identities identities
	keys       keys
	parallel   int // arrivals prepared at once; 0 is one a core
	maxObject  uint64
	memory     *semaphore.Weighted // of arrivalBytes; a place for each byte of objects that is held
}

// arrivalBytes bounds the objects of one arrival, and of all that are held at once.
const arrivalBytes = 1 << 30

// weight is how many bytes the objects of an arrival will take.
func (h *prepareHandler) weight(a arrived) uint64 {
	sum := uint64(0)
	for _, o := range a.objects {
		size := o.GetRef().GetSize()
		if size == 0 || size > h.maxObject { // not said, or refused when it is read
			size = h.maxObject
		}
		sum += size
	}
	return sum
}

func (h *prepareHandler) Decode(in stage.Input) (arrived, error) {
	const op = "app.prepare"
	m, err := in.Message()
	if err != nil {
		return arrived{}, err
	}
	a := arrived{in: in}
	if a.tenant, err = in.Tenant(); err != nil {
		return arrived{}, err
	}
	a.arrival.ID = in.ID.Public()
	switch m := m.(type) {
	case *radstreamv1.StudyArrived:
		a.objects = m.GetObjects()
		a.arrival.StudyUID, a.arrival.PatientID = event.StudyUID(m.GetStudyUid()), event.PatientID(m.GetPatientId())
		if m.GetStudyTime() != nil {
			a.arrival.StudyTime = m.GetStudyTime().AsTime()
		}
		a.arrival.HasReport, a.arrival.Report = m.GetReport() != nil, m.GetReport().GetText()
	case *radstreamv1.ReportArrived:
		a.arrival.StudyUID, a.arrival.PatientID = event.StudyUID(m.GetStudyUid()), event.PatientID(m.GetPatientId())
		a.arrival.HasReport, a.arrival.Report = true, m.GetReport().GetText()
	case *radstreamv1.StudyErased:
		return arrived{}, fault.Reject(op, fault.Unsupported, reasonErase, "erasing is not available in this version; the request stays in %s", in.Stream)
	default:
		return arrived{}, fault.Reject(op, fault.Unsupported, event.ReasonType, "the stream %s takes arrivals and erasures only", in.Stream)
	}
	switch {
	case len(a.objects) > event.MaxObjects:
		return arrived{}, fault.Reject(op, fault.Unsupported, reasonTooMany, "an arrival has at most %d objects, this one %d: send several", event.MaxObjects, len(a.objects))
	case len(a.objects) == 0 && !a.arrival.HasReport:
		return arrived{}, fault.Reject(op, fault.Invalid, reasonNoObjects, "an arrival brings at least one object or a report")
	}
	if h.weight(a) > arrivalBytes {
		return arrived{}, fault.Reject(op, fault.Unsupported, reasonTooMany, "the objects of an arrival have at most %d bytes together, and each says its size: send several", arrivalBytes)
	}
	return a, nil
}

func (h *prepareHandler) Handle(ctx context.Context, batch []arrived) []stage.Result {
	results := make([]stage.Result, len(batch))
	var g errgroup.Group
	g.SetLimit(cmp.Or(h.parallel, runtime.GOMAXPROCS(0)))
	for i, a := range batch {
		g.Go(func() error {
			// The loop recovers its own goroutine only.
			defer func() {
				if p := recover(); p != nil {
					results[i] = stage.Result{Err: fault.Errorf("app.prepare", fault.Internal, "the preparation panicked with a %T", p)}
				}
			}()
			results[i].Out, results[i].Err = h.one(ctx, a)
			return nil
		})
	}
	_ = g.Wait() // the functions report through results
	return results
}

// one prepares a single arrival. Its outputs are the next revision or StudyUnchanged, and
// one Rejected for each part that was refused.
func (h *prepareHandler) one(ctx context.Context, a arrived) ([]stage.Output, error) {
	key, err := h.keys.Key(a.tenant)
	if err == nil {
		err = h.identities.CheckKey(ctx, a.tenant, key)
	}
	if err != nil {
		return nil, err
	}
	weight := int64(h.weight(a))
	if err := h.memory.Acquire(ctx, weight); err != nil {
		return nil, fault.Wrap("app.prepare", err)
	}
	defer h.memory.Release(weight)
	for _, o := range a.objects {
		object := ingest.Object{Ref: o.GetRef(), Projection: o.GetProjection()}
		object.Data, err = h.objects.Get(ctx, o.GetRef())
		if object.Err = blame(err); err != nil && object.Err == nil {
			return nil, err
		}
		a.arrival.Objects = append(a.arrival.Objects, object)
	}
	facts, refusals, err := h.preparer.Prepare(ctx, key, a.arrival)
	var outs []stage.Output
	for _, r := range refusals {
		outs = append(outs, h.rejected(a, facts.StudyKey, r))
	}
	if fault.ReasonOf(err) == ingest.ReasonNoStudy && len(refusals) == a.parts() {
		return outs, nil // nobody could say the study, since nothing could be read: that is the reason
	}
	if err != nil {
		return nil, err
	}
	if len(facts.Views) == 0 && facts.Report == nil {
		return outs, nil
	}
	known, last, err := h.known(ctx, a.tenant, facts.StudyKey)
	if err != nil {
		return nil, err
	}
	next, changed, err := assemble.Next(known, facts, h.preparer.Version())
	if err != nil {
		return nil, err
	}
	if !changed {
		return append(outs, stage.Output{
			ID:      event.ID("unchanged", string(a.in.ID), known.GetPrepId()),
			Subject: event.UnchangedSubject(a.tenant, facts.StudyKey),
			Body:    &radstreamv1.StudyUnchanged{StudyKey: string(facts.StudyKey), Rev: known.GetRev()},
			Rev:     event.Rev(known.GetRev()),
		}), nil
	}
	// Whoever finds the study must be able to name it, so the name comes first.
	if err := h.identities.PutStudy(ctx, a.tenant, facts.StudyKey, facts.StudyUID); err != nil {
		return nil, err
	}
	return append(outs, stage.Output{
		ID:      event.MessageID(next.GetPrepId()),
		Subject: event.PreparedSubject(a.tenant, event.PatientKey(next.GetPatientKey()), facts.StudyKey),
		Body:    next,
		Rev:     event.Rev(next.GetRev()),
		// On any subject of the study: it moves to another when its patient becomes known.
		Expect: &stage.Expect{Last: last, On: event.PreparedOf(a.tenant, facts.StudyKey)},
	}), nil
}

// known returns the study as the archive has it, nil when it has none, and the sequence
// of the message that says so.
func (h *prepareHandler) known(ctx context.Context, t event.Tenant, k event.StudyKey) (*radstreamv1.StudyPrepared, uint64, error) {
	env, seq, err := h.archive.LastForSubject(ctx, event.StreamPrepared, event.PreparedOf(t, k))
	if fault.KindOf(err) == fault.NotFound {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	m, err := env.Message()
	study, ok := m.(*radstreamv1.StudyPrepared)
	if err != nil || !ok {
		return nil, 0, fault.Errorf("app.known", fault.Corrupt, "message %d of %s is no prepared study", seq, event.StreamPrepared)
	}
	return study, seq, nil
}

// rejected is the dead letter of one part of an arrival.
func (h *prepareHandler) rejected(a arrived, k event.StudyKey, r ingest.Refusal) stage.Output {
	body := &radstreamv1.Rejected{
		Stage: stagePrepare, Kind: fault.KindOf(r.Err).String(), Reason: string(fault.ReasonOf(r.Err)), Detail: fault.Detail(r.Err),
		Input:    &radstreamv1.InputRef{Stream: a.in.Stream, Sequence: a.in.Sequence, EventId: string(a.in.ID.Public())},
		StudyKey: string(k), Part: "report",
	}
	part := "report"
	if r.Ref != nil {
		body.Part, part = "object", hex.EncodeToString(r.Ref.GetSha256())
		body.Object = publicRef(r.Ref)
	}
	return stage.Output{
		ID:      event.ID("rejected", stagePrepare, string(a.in.ID), part),
		Subject: event.RejectedSubject(a.tenant, stagePrepare),
		Body:    body,
	}
}

// blame returns err if the input is to blame for it, so that only the part is rejected,
// and nil if the same call may succeed later.
func blame(err error) error {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Unsupported, fault.Corrupt, fault.Erased:
		if fault.ReasonOf(err) == "" {
			return fault.Reject("app.prepare", fault.KindOf(err), reasonUnreadable, "%s", fault.Detail(err))
		}
		return err
	}
	return nil
}
