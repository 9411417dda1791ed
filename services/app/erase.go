package app

import (
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/stage"
)

// eraser carries out requests to erase, in the prepare stage. The order makes each step one that
// can be done again, so that a request that was broken off is finished by its next delivery, or by
// another request:
//
//	tombstone on PREPARED    from here on nothing that arrives, or is being prepared, is taken
//	its revisions            overwritten, one by one: a plain delete would leave the bytes for good
//	EMBEDDED, INDEXED, ANSWERS, REJECTED
//	objects, then the arrivals in STUDIES that name them, then what waits for them
//	KV identity              last of what names the study: until then it can be looked up
//	ErasureReported          then the request itself, which names the study or patient
//
// The index follows by the tombstone: embed and index hand it on (see removedOutput).
type eraser struct {
	h        *prepareHandler
	bus      *bus.Bus
	store    *blob.JetStream
	identity identity
	models   *registry.Registry
	// journal keeps, for a request under way, which arrivals go that nothing but their objects tells
	// to be of it: when these are gone, nobody could tell any more.
	journal words
}

// mostErased bounds the arrivals of a journal.
const mostErased = 1 << 16

// erasure is one request under way.
type erasure struct {
	*eraser
	key    deid.Key
	tenant event.Tenant
	in     arrived
	dry    bool

	only     event.StudyKey // of a request for a study
	uid      event.StudyUID
	patients map[event.PatientKey]bool // of a request for a patient: all keys of that person
	patient  event.PatientID

	places map[event.StudyKey]event.Subject // of the tombstones
	report *radstreamv1.ErasureReported
}

// erase carries out a request. Of a study or patient that nothing is known of, the answer lists no
// study.
func (e *eraser) erase(ctx context.Context, key deid.Key, a arrived) error {
	x := &erasure{eraser: e, key: key, tenant: a.tenant, in: a, dry: a.erase.GetDryRun(),
		uid: deid.Bare(event.StudyUID(a.erase.GetStudyUid())), patient: deid.Bare(event.PatientID(a.erase.GetPatientId())),
		patients: map[event.PatientKey]bool{}, places: map[event.StudyKey]event.Subject{},
		report: &radstreamv1.ErasureReported{DryRun: a.erase.GetDryRun()}}
	if err := x.targets(ctx); err != nil {
		return err
	}
	f, err := x.find(ctx)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context, *found) error{x.streams, x.deadLetters, x.objects, x.arrivals, x.names, x.saw} {
		if err := step(ctx, f); err != nil {
			return err
		}
	}
	about := string(x.only)
	if about == "" {
		about = string(key.Patient(x.patient, ""))
	}
	answer, err := event.New(event.ID("erasure", string(a.tenant), reference(a)), stagePrepare, event.UnchangedSubject(a.tenant, event.StudyKey(about)), time.Now(), x.report)
	if err != nil {
		return err
	}
	answer.Cause, answer.Trace = a.in.ID.Public(), a.in.Trace
	if err := e.bus.Publish(ctx, answer, nil); err != nil {
		return err
	}
	return e.bus.SecureDelete(ctx, a.in.Stream, a.in.Sequence)
}

// targets finds the studies that are in the archive, and stops what arrives of them.
func (x *erasure) targets(ctx context.Context) error {
	if x.uid != "" {
		x.only = x.key.Study(x.uid)
		return x.target(ctx, x.only, "")
	}
	r := x.h.resolver(ctx, x.tenant, "")
	said := x.key.Patient(x.patient, "")
	stays := r.resolve(said)
	merged, err := x.identity.MergedInto(ctx, x.tenant, stays, r.resolve)
	if err = cmp.Or(err, r.err); err != nil {
		return err
	}
	for _, p := range append(merged, said, stays) {
		x.patients[p] = true
	}
	for p := range x.patients {
		on, err := x.bus.LastPerSubject(ctx, event.StreamPrepared, event.PreparedOfPatient(x.tenant, p), bus.Last{HeadersOnly: true})
		if err != nil {
			return err
		}
		for _, m := range on {
			if m.Type == event.StudyMoved { // to another patient, or to this one's other key
				continue
			}
			if err := x.target(ctx, m.StudyKey(), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// target puts a tombstone in the place of a study. One that the archive does not have gets it on
// the given subject; none means that it is not to have one.
func (x *erasure) target(ctx context.Context, k event.StudyKey, otherwise event.Subject) error {
	for {
		standing, on, last, err := x.h.standing(ctx, x.tenant, k)
		if err != nil {
			return err
		}
		if on = cmp.Or(on, otherwise); on == "" {
			return nil
		}
		_, erased := standing.(*radstreamv1.StudyRemoved)
		if x.places[k] = on; erased || x.dry {
			return nil
		}
		o := removedOutput("prepared", x.tenant, on)
		e, err := event.New(o.ID, stagePrepare, o.Subject, time.Now(), o.Body)
		if err != nil {
			return err
		}
		e.Cause, e.Trace = x.in.in.ID.Public(), x.in.in.Trace
		err = x.bus.Publish(ctx, e, &stage.Expect{Last: last, On: event.PreparedOf(x.tenant, k)})
		if err == nil || fault.KindOf(err) != fault.Conflict {
			return err
		}
		if err := ctx.Err(); err != nil { // somebody was quicker: look again
			return fault.Wrap("app.erase", err)
		}
	}
}

// keys lists the studies of the request, in order.
func (x *erasure) keys() []event.StudyKey { return slices.Sorted(maps.Keys(x.places)) }

// remove overwrites a message, unless nothing is to be removed.
func (x *erasure) remove(ctx context.Context, m bus.Message) error {
	if x.dry {
		return nil
	}
	return x.bus.SecureDelete(ctx, m.Stream, m.Sequence)
}

// streams removes what the streams hold of the studies, behind STUDIES.
func (x *erasure) streams(ctx context.Context, _ *found) error {
	of := map[event.StudyKey]*radstreamv1.ErasedStudy{}
	for _, k := range x.keys() {
		of[k] = &radstreamv1.ErasedStudy{StudyKey: string(k)}
		x.report.Studies = append(x.report.Studies, of[k])
	}
	for _, s := range []struct {
		stream string
		on     func(event.StudyKey) event.Subject
		count  func(*radstreamv1.ErasedStudy, uint64)
	}{
		{event.StreamPrepared, func(k event.StudyKey) event.Subject { return event.PreparedOf(x.tenant, k) },
			func(r *radstreamv1.ErasedStudy, seq uint64) { r.PreparedSequences = append(r.PreparedSequences, seq) }},
		{event.StreamEmbedded, func(k event.StudyKey) event.Subject { return event.EmbeddedSubject(x.tenant, "*", k) },
			func(r *radstreamv1.ErasedStudy, _ uint64) { r.Embedded++ }},
		{event.StreamIndexed, func(k event.StudyKey) event.Subject { return event.IndexedSubject(x.tenant, k) },
			func(r *radstreamv1.ErasedStudy, _ uint64) { r.Announcements++ }},
		{event.StreamAnswers, func(k event.StudyKey) event.Subject { return event.UnchangedSubject(x.tenant, k) },
			func(r *radstreamv1.ErasedStudy, _ uint64) { r.Announcements++ }},
	} {
		for part := range slices.Chunk(x.keys(), 64) { // a consumer's filters travel in one message
			subjects := make([]event.Subject, len(part))
			for i, k := range part {
				subjects[i] = s.on(k)
			}
			all, err := x.bus.On(ctx, s.stream, subjects...)
			if err != nil {
				return err
			}
			for _, m := range all {
				if m.Type == event.StudyRemoved || m.Type == event.ErasureReported {
					continue
				}
				if err := x.remove(ctx, m); err != nil {
					return err
				}
				s.count(of[m.StudyKey()], m.Sequence)
			}
		}
	}
	return nil
}

// deadLetters removes those that are about the studies, or about the arrivals that go.
func (x *erasure) deadLetters(ctx context.Context, f *found) error {
	var all []bus.Message
	err := x.bus.Each(ctx, bus.WatchConfig{Stream: event.StreamRejected, Subjects: []event.Subject{event.RejectedSubject(x.tenant, "*")}}, func(m bus.Message) error {
		body, err := m.Message()
		r, ok := body.(*radstreamv1.Rejected)
		if err != nil || !ok {
			return nil // nobody's
		}
		_, about := x.places[event.StudyKey(r.GetStudyKey())]
		if in := r.GetInput(); about || in.GetStream() == event.StreamStudies && f.gone[in.GetSequence()] {
			all = append(all, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	x.report.DeadLetters = uint32(len(all))
	for _, m := range all {
		if err := x.remove(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// objects removes those that no other study uses.
func (x *erasure) objects(ctx context.Context, f *found) error {
	for _, seq := range f.byHeader {
		if x.dry {
			break
		}
		if err := x.journal.Add(ctx, x.tenant, x.request(), strconv.FormatUint(seq, 10)); err != nil {
			return err
		}
	}
	for _, sum := range slices.Sorted(maps.Keys(f.objects)) {
		ref := f.objects[sum]
		if f.used[sum] {
			x.report.ObjectsShared++
			continue
		}
		switch _, err := x.store.Stat(ctx, ref); {
		case fault.ReasonOf(err) == blob.ReasonMissing:
			continue
		case err != nil && blame(err) == nil: // else it is there, be it too large to be read
			return err
		}
		if !x.dry {
			if err := x.store.Delete(ctx, ref); err != nil {
				return err
			}
		}
		hash, err := hex.DecodeString(sum)
		if err != nil {
			return fault.E("app.erase", fault.Internal, err)
		}
		x.report.ObjectSha256 = append(x.report.ObjectSha256, hash)
	}
	x.report.ObjectsElsewhere = uint32(len(f.elsewhere))
	x.report.ReportsShared = f.reportsShared
	return nil
}

// arrivals removes messages of STUDIES. What a message says of other studies beside is published
// as messages of its own first.
func (x *erasure) arrivals(ctx context.Context, f *found) error {
	for _, keep := range f.keep {
		if x.dry {
			break
		}
		if err := x.bus.Publish(ctx, keep, nil); err != nil {
			return err
		}
	}
	for _, m := range f.messages {
		if err := x.remove(ctx, m); err != nil {
			return err
		}
		x.report.Arrivals++
	}
	if x.dry {
		return nil
	}
	return x.journal.Drop(ctx, x.tenant, x.request())
}

// request names the request in the journal, also when it was requeued.
func (x *erasure) request() string { return string(x.in.in.ID.Public()) }

// names removes what the buckets hold of the studies: what waits, accession numbers, corrections,
// and at last what the studies' keys stand for.
func (x *erasure) names(ctx context.Context, f *found) error {
	if x.dry {
		for _, k := range x.keys() {
			_, err := x.identity.Study(ctx, x.tenant, k)
			switch {
			case err == nil:
				x.report.Identities++
			case fault.KindOf(err) != fault.NotFound:
				return err
			}
		}
		return nil
	}
	studies := map[string]bool{}
	for _, k := range x.keys() {
		studies[string(k)] = true
	}
	count := func(removed bool, err error) error {
		if removed {
			x.report.Identities++
		}
		return err
	}
	pending := slices.Collect(maps.Keys(f.accessions))
	for p := range f.patients {
		pending = append(pending, string(p))
	}
	for _, list := range pending {
		if err := count(x.h.pending.Remove(ctx, x.tenant, list, f.references)); err != nil {
			return err
		}
	}
	for list := range f.accessions {
		if err := count(x.h.accessions.Remove(ctx, x.tenant, list, studies)); err != nil {
			return err
		}
	}
	for _, k := range x.keys() {
		n, err := x.identity.Corrections(ctx, x.tenant, k)
		x.report.Identities += uint32(n)
		if err == nil {
			err = count(x.identity.Forget(ctx, x.tenant, k))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// saw says which models must be trained anew. The model that ships saw phantoms alone.
func (x *erasure) saw(ctx context.Context, _ *found) error {
	const op = "app.erase"
	ships, err := shipped.ReadFile("tiny/" + model.ManifestFile)
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	for _, s := range x.report.Studies {
		saw, unknown, err := x.models.Saw(ctx, event.StudyKey(s.StudyKey))
		if err != nil {
			return err
		}
		s.ModelsSaw = refs(saw)
		for _, ref := range unknown {
			rec, err := x.models.Record(ctx, ref)
			if err != nil {
				return err
			}
			if !rec.Holds(model.ManifestFile, ships) {
				s.ModelsUnknown = append(s.ModelsUnknown, ref.String())
			}
		}
	}
	return nil
}

func refs(all []model.Ref) []string {
	var out []string
	for _, r := range all {
		out = append(out, r.String())
	}
	return out
}

// quotes tells whether a message that nobody could read holds an identifier of the request, as a
// word of its own. Short ones are words of anything.
func (x *erasure) quotes(body []byte) bool {
	const shortest = 6
	for _, word := range []string{string(x.uid), string(x.patient)} {
		if len(word) < shortest {
			continue
		}
		for rest := string(body); ; {
			before, after, cut := strings.Cut(rest, word)
			if !cut {
				break
			}
			if !endsInWord(before) && !beginsWithWord(after) {
				return true
			}
			rest = after
		}
	}
	return false
}

func wordByte(c byte) bool {
	return c == '.' || c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func endsInWord(s string) bool     { return s != "" && wordByte(s[len(s)-1]) }
func beginsWithWord(s string) bool { return s != "" && wordByte(s[0]) }

// published is a message of STUDIES, to be stored beside others.
func published(id event.MessageID, from bus.Message, m proto.Message) (event.Envelope, error) {
	t, err := from.Tenant()
	if err != nil {
		return event.Envelope{}, err
	}
	on := event.ReportArrivedSubject(t)
	if _, merge := m.(*radstreamv1.PatientMerged); merge {
		on = event.PatientMergedSubject(t)
	}
	e, err := event.New(id, from.Source, on, from.Time, m)
	e.Trace = from.Trace
	return e, err
}
