package app

import (
	"cmp"
	"context"
	"encoding/hex"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/keyring"
	"github.com/radstream/radstream/services/stage"
)

// Names of the stages; they stand in Rejected.stage and in consumers' names.
const (
	stagePrepare = "prepare"
	stageRelate  = "relate"
	stageEmbed   = "embed"
	stageIndex   = "index"
)

// serviceEncoder is the service that holds a model's encoder.
const serviceEncoder = "encoder"

// serviceLabels is the service that follows the label set.
const serviceLabels = "labels"

// Reasons for which the prepare stage refuses an arrival by itself.
const (
	reasonErased     fault.Reason = "erased"
	reasonErase      fault.Reason = "malformed_erasure"
	reasonNoObjects  fault.Reason = "empty_arrival"
	reasonTooMany    fault.Reason = "too_many_objects"
	reasonUnreadable fault.Reason = "object_unreadable"
	reasonMerge      fault.Reason = "malformed_merge"
	reasonMerged     fault.Reason = "merge_contradiction"
	reasonAnybody    fault.Reason = "accession_of_several_patients"
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
	// LastPerSubject returns the newest message of each subject that matches.
	LastPerSubject(ctx context.Context, stream string, subject event.Subject, o bus.Last) ([]bus.Message, error)
	// Get returns one message. NotFound when it is not there any more.
	Get(ctx context.Context, stream string, seq uint64) (bus.Message, error)
}

// identities remembers what the keys stand for, and which are the same; KV identity.
type identities interface {
	CheckKey(ctx context.Context, t event.Tenant, k deid.Key) error
	PutStudy(ctx context.Context, t event.Tenant, k event.StudyKey, uid event.StudyUID) error
	Study(ctx context.Context, t event.Tenant, k event.StudyKey) (event.StudyUID, error)
	// Forget erases what k stands for, and tells whether it was there.
	Forget(ctx context.Context, t event.Tenant, k event.StudyKey) (bool, error)
	PutMerge(ctx context.Context, t event.Tenant, k event.StudyKey, from, to event.PatientKey) error
	Merged(ctx context.Context, t event.Tenant, k event.StudyKey, from event.PatientKey) (event.PatientKey, error)
}

// lists holds short lists; KV buckets identity and pending.
type lists interface {
	Add(ctx context.Context, t event.Tenant, list, word string) error
	Get(ctx context.Context, t event.Tenant, list string) ([]string, error)
	Remove(ctx context.Context, t event.Tenant, list string, gone map[string]bool) (bool, error)
}

// keys holds the tenants' secrets; services/keyring.
type keys interface {
	Key(t event.Tenant) (deid.Key, error)
	// Forget has the secret read again.
	Forget(t event.Tenant)
}

// prepareHandler turns arrivals into revisions of their studies.
type prepareHandler struct {
	preparer   *ingest.Preparer
	objects    objects
	archive    archive
	identities identities
	accessions lists // accession number -> study keys
	pending    lists // accession number or patient -> arrivals that wait for it
	keys       keys
	parallel   int // arrivals prepared at once; 0 is one a core
	maxObject  uint64
	memory     *semaphore.Weighted // of arrivalBytes; a place for each byte of objects that is held
	eraser     *eraser
}

// listLimit bounds the studies and the waiting reports of one accession number, and what waits
// for one patient.
const listLimit = 256

// arrivalBytes bounds the objects of one arrival, and of all that are held at once.
const arrivalBytes = 1 << 30

func (h *prepareHandler) Handle(ctx context.Context, batch []input) []stage.Result {
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
			results[i].Out, results[i].Err = h.input(ctx, a)
			return nil
		})
	}
	_ = g.Wait() // the functions report through results
	return results
}

// input handles all that a message holds. Of several events one that is refused does not harm
// the others.
func (h *prepareHandler) input(ctx context.Context, i input) ([]stage.Output, error) {
	var key deid.Key
	if len(i.all) > 0 { // once for all, so that a message without a key is one dead letter
		var err error
		if key, err = h.key(ctx, i.in, i.tenant); err != nil {
			return nil, err
		}
	}
	var outs []stage.Output
	for n, err := range i.refused {
		outs = append(outs, h.rejected(arrived{in: i.in, tenant: i.tenant, part: -1 - n}, "", ingest.Refusal{Err: err}))
	}
	for _, a := range i.all {
		some, err := h.one(ctx, key, a)
		if err != nil && (len(i.all) == 1 && len(i.refused) == 0 || blame(err) == nil) {
			return nil, err
		}
		if err != nil {
			some = []stage.Output{h.rejected(a, "", ingest.Refusal{Err: err})}
		}
		outs = append(outs, some...)
	}
	return outs, nil
}

// keyTries is how many deliveries an input gets whose tenant's key cannot be read or written, by a
// fault that may pass: about 4 s.
const keyTries = 5

// key returns the secret of an input's tenant, if it is the one that the archive's pseudonyms were
// made with.
//
// One that cannot be used makes dead letters of what needs it. Retried until somebody restores the
// file, the inputs of one tenant would take all the places of the consumer that feeds every tenant
// (bus.SourceConfig.MaxAckPending). Errors: Corrupt keyring.ReasonKey, Transient before the last of
// keyTries; the bus's own.
func (h *prepareHandler) key(ctx context.Context, in stage.Input, t event.Tenant) (deid.Key, error) {
	key, err := h.keys.Key(t)
	if fault.ReasonOf(err) == keyring.ReasonKey && in.Attempt >= keyTries {
		err = fault.Reject("app.key", fault.Corrupt, keyring.ReasonKey, "%s", fault.Detail(err))
	}
	if err == nil {
		err = h.identities.CheckKey(ctx, t, key)
		if fault.ReasonOf(err) == keyring.ReasonKey {
			h.keys.Forget(t) // so that the file counts as soon as it is restored
		}
	}
	return key, err
}

// one prepares a single arrival. Its outputs are the next revision, StudyUnchanged or
// ArrivalNoted, and one Rejected for each part that was refused.
func (h *prepareHandler) one(ctx context.Context, key deid.Key, a arrived) ([]stage.Output, error) {
	if a.erase != nil {
		return nil, h.eraser.erase(ctx, key, a)
	}
	if a.merge != nil {
		return h.merge(ctx, key, a)
	}
	if a.arrival.StudyUID == "" && len(a.objects) == 0 && strings.TrimSpace(a.arrival.Accession) != "" {
		return h.byAccession(ctx, key, a)
	}
	facts, outs, err := h.prepare(ctx, key, a)
	if err != nil || len(facts.Views) == 0 && facts.Report == nil {
		return outs, err
	}
	all, inputs := []assemble.Facts{facts}, []arrived{a}
	var refused []stage.Output // reports that wait for the study's number, and will not join it
	fits, err := h.fits(ctx, a.tenant, facts)
	if err != nil {
		return nil, err
	}
	if fits && len(facts.Accessions) > 0 {
		// First the study is there for reports to find, then what waits for it is looked up; a
		// report does the two the other way round, so that one of them sees the other.
		if err := h.identities.PutStudy(ctx, a.tenant, facts.StudyKey, facts.StudyUID); err != nil {
			return nil, err
		}
		for i, number := range facts.Accessions {
			err := h.accessions.Add(ctx, a.tenant, key.Accession(number), string(facts.StudyKey))
			if fault.ReasonOf(err) == reasonLongList { // no report will find the study by it
				outs = append(outs, h.rejected(a, facts.StudyKey, ingest.Refusal{Err: err}, "accession", strconv.Itoa(i)))
				continue
			}
			if err != nil {
				return nil, err
			}
			waiting, dead, err := h.waiting(ctx, a.tenant, key.Accession(number))
			if err != nil {
				return nil, err
			}
			refused = append(refused, dead...)
			var patients map[event.PatientKey]bool
			if len(waiting) > 0 {
				if patients, err = h.patients(ctx, key, a.tenant, number, facts); err != nil {
					return nil, err
				}
			}
			for _, w := range waiting {
				w.arrival.StudyUID = facts.StudyUID
				f, _, err := h.prepare(ctx, key, w)
				if err != nil {
					return nil, err
				}
				switch {
				case f.Report == nil:
				case len(patients) > 1 && !f.PatientKnown:
					err := h.anybodys(ctx, w, patients)
					if blame(err) == nil {
						return nil, err
					}
					refused = append(refused, h.rejected(w, facts.StudyKey, ingest.Refusal{Err: err}))
				default:
					all, inputs = append(all, f), append(inputs, w)
				}
			}
		}
	}
	joined, err := h.join(ctx, inputs, all)
	for _, o := range joined {
		if _, revision := o.Body.(*radstreamv1.StudyPrepared); revision { // else they were told when the study became what it is
			outs = append(outs, refused...)
		}
	}
	return append(outs, joined...), err
}

// fits tells whether f may be about its study: what names another patient claims no accession
// number for it, and is refused by join.
func (h *prepareHandler) fits(ctx context.Context, t event.Tenant, f assemble.Facts) (bool, error) {
	known, _, err := h.known(ctx, t, f.StudyKey)
	if known == nil || err != nil {
		return true, h.forget(ctx, t, f.StudyKey, err)
	}
	r := h.resolver(ctx, t, f.StudyKey)
	f.Resolve = r.resolve
	_, contradicts := assemble.PatientOf(known, f)
	return contradicts == nil, r.err
}

// prepare reads the objects of an arrival and prepares it. Without an error and without views
// or report in the facts, all of it was refused.
func (h *prepareHandler) prepare(ctx context.Context, key deid.Key, a arrived) (assemble.Facts, []stage.Output, error) {
	weight := int64(h.weight(a))
	if err := h.memory.Acquire(ctx, weight); err != nil {
		return assemble.Facts{}, nil, fault.Wrap("app.prepare", err)
	}
	defer h.memory.Release(weight)
	for _, o := range a.objects {
		object := ingest.Object{Ref: o.GetRef(), Projection: o.GetProjection()}
		var err error
		object.Data, err = h.objects.Get(ctx, o.GetRef())
		if object.Err = blame(err); err != nil && object.Err == nil {
			return assemble.Facts{}, nil, err
		}
		a.arrival.Objects = append(a.arrival.Objects, object)
	}
	var lookUp error
	a.arrival.Same = func(study event.StudyUID, one, other event.PatientID) bool {
		r := h.resolver(ctx, a.tenant, key.Study(study))
		same := r.resolve(key.Patient(one, study)) == r.resolve(key.Patient(other, study))
		lookUp = cmp.Or(lookUp, r.err)
		return same
	}
	facts, refusals, err := h.preparer.Prepare(ctx, key, a.arrival)
	if lookUp != nil {
		return assemble.Facts{}, nil, lookUp
	}
	var outs []stage.Output
	for _, r := range refusals {
		outs = append(outs, h.rejected(a, facts.StudyKey, r))
	}
	if fault.ReasonOf(err) == ingest.ReasonNoStudy && len(refusals) == a.parts() {
		return assemble.Facts{}, outs, nil // nobody could say the study, since nothing could be read: that is the reason
	}
	return facts, outs, err
}

// join adds facts about one study to what is known of it. The first are those of the arrival
// that is handled; of the others, which waited for the study, a refusal is a dead letter of
// its own.
func (h *prepareHandler) join(ctx context.Context, inputs []arrived, all []assemble.Facts) ([]stage.Output, error) {
	a, facts := inputs[0], all[0]
	known, last, err := h.known(ctx, a.tenant, facts.StudyKey)
	if err != nil {
		return nil, h.forget(ctx, a.tenant, facts.StudyKey, err)
	}
	r := h.resolver(ctx, a.tenant, facts.StudyKey)
	for i := range all {
		all[i].Resolve = r.resolve
	}
	next, changed, refused := assemble.Join(known, all...)
	if r.err != nil {
		return nil, r.err
	}
	var outs []stage.Output
	for i, err := range refused {
		if fault.ReasonOf(err) == assemble.ReasonPatient { // a merge may still make them one
			said, have := r.resolve(all[i].PatientKey), r.resolve(event.PatientKey(next.GetPatientKey()))
			for _, p := range []event.PatientKey{said, have} {
				err := h.pending.Add(ctx, a.tenant, string(p), reference(inputs[i]))
				if err != nil && fault.ReasonOf(err) != reasonLongList { // else it is refused all the same, and a merge will not find it
					return nil, err
				}
			}
		}
		switch {
		case err == nil:
		case i == 0 || blame(err) == nil:
			return nil, cmp.Or(r.err, err)
		case changed: // else it was said when the study became what it is
			outs = append(outs, h.rejected(inputs[i], facts.StudyKey, ingest.Refusal{Err: err}))
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if !changed {
		return append(outs, stage.Output{
			ID:      event.ID("unchanged", string(a.tenant), string(a.in.ID), known.GetPrepId()),
			Subject: event.UnchangedSubject(a.tenant, facts.StudyKey),
			Body:    &radstreamv1.StudyUnchanged{StudyKey: string(facts.StudyKey), Rev: known.GetRev()},
			Rev:     event.Rev(known.GetRev()),
		}), nil
	}
	if next.GetShiftedTime() != nil && next.GetPatientKey() != string(facts.Stranger) {
		relatives, _, err := h.relatives(ctx, a.tenant, event.PatientKey(next.GetPatientKey()))
		switch {
		case err == nil:
			next, _ = assemble.WithPrior(next, relatives, next.GetRev())
		case fault.ReasonOf(err) != bus.ReasonTooMany:
			return nil, err
		}
	}
	// Whoever finds the study must be able to name it, so the name comes first.
	if err := h.identities.PutStudy(ctx, a.tenant, facts.StudyKey, facts.StudyUID); err != nil {
		return nil, err
	}
	out := h.revision(a.tenant, next, last)
	if a.part != 0 { // two messages of a batch may differ in what the id of a revision leaves out
		out.ID = event.ID(string(out.ID), strconv.Itoa(a.part))
	}
	return append(outs, out), nil
}

// forget takes back the name of a study that was erased while its arrival was prepared, and returns
// err, which says so.
func (h *prepareHandler) forget(ctx context.Context, t event.Tenant, k event.StudyKey, err error) error {
	if fault.KindOf(err) == fault.Erased && err != nil {
		_, failed := h.identities.Forget(ctx, t, k)
		return cmp.Or(failed, err)
	}
	return err
}

// revision publishes the next revision of a study; last is the sequence of the message that
// says what was known.
func (h *prepareHandler) revision(t event.Tenant, next *radstreamv1.StudyPrepared, last uint64) stage.Output {
	study := event.StudyKey(next.GetStudyKey())
	return stage.Output{
		ID:      event.ID("prepared", string(t), next.GetPrepId()), // an id spans the subjects of a stream
		Subject: event.PreparedSubject(t, event.PatientKey(next.GetPatientKey()), study),
		Body:    next,
		Rev:     event.Rev(next.GetRev()),
		// On any subject of the study: it moves to another when its patient becomes known.
		Expect: &stage.Expect{Last: last, On: event.PreparedOf(t, study)},
	}
}

// known returns the study as the archive has it, nil when it has none, and the sequence
// of the last message on any of its subjects, which may be a tombstone that says where it is.
// Errors: Erased erased.
func (h *prepareHandler) known(ctx context.Context, t event.Tenant, k event.StudyKey) (*radstreamv1.StudyPrepared, uint64, error) {
	const op = "app.known"
	m, _, last, err := h.standing(ctx, t, k)
	if err != nil || m == nil {
		return nil, last, err
	}
	if _, erased := m.(*radstreamv1.StudyRemoved); erased {
		return nil, last, fault.Reject(op, fault.Erased, reasonErased, "the study was erased on request: what arrives of it is not taken")
	}
	return m.(*radstreamv1.StudyPrepared), last, nil
}

// standing returns what stands for a study in the archive, a StudyPrepared or a StudyRemoved, with
// its subject; nil when it has neither. last is as of known.
func (h *prepareHandler) standing(ctx context.Context, t event.Tenant, k event.StudyKey) (m proto.Message, on event.Subject, last uint64, err error) {
	const op = "app.known"
	subject := event.PreparedOf(t, k)
	for range maxMoves {
		env, seq, err := h.archive.LastForSubject(ctx, event.StreamPrepared, subject)
		if fault.KindOf(err) == fault.NotFound && last == 0 {
			return nil, "", 0, nil
		}
		if err != nil {
			return nil, "", 0, err
		}
		if last == 0 {
			last = seq
		}
		m, err := env.Message()
		if err != nil {
			return nil, "", 0, fault.Errorf(op, fault.Corrupt, "message %d of %s is no prepared study", seq, event.StreamPrepared)
		}
		switch m := m.(type) {
		case *radstreamv1.StudyPrepared, *radstreamv1.StudyRemoved:
			return m, env.Subject, last, nil
		case *radstreamv1.StudyMoved:
			subject = event.PreparedSubject(t, event.PatientKey(m.GetMovedTo()), k)
		default:
			return nil, "", 0, fault.Errorf(op, fault.Corrupt, "message %d of %s is no prepared study", seq, event.StreamPrepared)
		}
	}
	return nil, "", 0, fault.Errorf(op, fault.Corrupt, "the tombstones of study %s lead nowhere", k)
}

// preparedStudies is the archive for who reads studies out of it.
type preparedStudies struct{ *bus.Bus }

// Prepared returns the newest revision of a study. Errors: NotFound, Erased; the bus's own.
func (p preparedStudies) Prepared(ctx context.Context, t event.Tenant, k event.StudyKey) (*radstreamv1.StudyPrepared, error) {
	m, _, err := (&prepareHandler{archive: p.Bus}).known(ctx, t, k)
	if err == nil && m == nil {
		err = fault.Errorf("app.Prepared", fault.NotFound, "the study is not in the archive")
	}
	return m, err
}

// maxMoves bounds the tombstones that are followed: one, or a few more while the study moves.
const maxMoves = 8

// rejected is the dead letter of one part of an arrival: an object, the report, or what part
// says.
func (h *prepareHandler) rejected(a arrived, k event.StudyKey, r ingest.Refusal, part ...string) stage.Output {
	body := &radstreamv1.Rejected{
		Stage: stagePrepare, Kind: fault.KindOf(r.Err).String(), Reason: string(fault.ReasonOf(r.Err)), Detail: fault.Detail(r.Err),
		Input:    &radstreamv1.InputRef{Stream: a.in.Stream, Sequence: a.in.Sequence, EventId: string(a.in.ID.Public())},
		StudyKey: string(k), Part: "report",
	}
	switch {
	case r.Ref != nil:
		body.Part, body.Object = "object", publicRef(r.Ref)
		part = []string{"object", hex.EncodeToString(r.Ref.GetSha256())}
	case len(part) > 0:
		body.Part = part[0]
	}
	return stage.Output{
		ID:      event.ID(append([]string{"rejected", stagePrepare, string(a.tenant), string(a.in.ID), reference(a), string(k)}, part...)...),
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
