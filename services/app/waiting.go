package app

import (
	"context"
	"fmt"
	"strings"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
)

// Reasons of ArrivalNoted.
const (
	notedWaiting = "waiting_for_study"
	notedMerged  = "patients_merged"
)

// byAccession handles a report that names its study by the accession number. It joins each
// study of that number, and is kept for those to come.
//
// The reference stays when a study was found: the second study of an order gets the report as
// well, whichever of the three came first.
func (h *prepareHandler) byAccession(ctx context.Context, key deid.Key, a arrived) ([]stage.Output, error) {
	// A report that no study could take is refused now and not when its study arrives.
	trial := a
	trial.arrival.StudyUID = "2.25.0"
	f, outs, err := h.prepare(ctx, key, trial)
	if err != nil || f.Report == nil {
		for _, o := range outs {
			o.Body.(*radstreamv1.Rejected).StudyKey = "" // of no study yet
		}
		return outs, err
	}
	number := key.Accession(strings.TrimSpace(a.arrival.Accession))
	if err := h.pending.Add(ctx, a.tenant, number, reference(a)); err != nil {
		return nil, err
	}
	studies, err := h.accessions.Get(ctx, a.tenant, number)
	if err != nil {
		return nil, err
	}
	if !f.PatientKnown {
		patients, err := h.patients(ctx, key, a.tenant, a.arrival.Accession, assemble.Facts{})
		if err != nil {
			return nil, err
		}
		if len(patients) > 1 {
			return nil, h.anybodys(ctx, a, patients)
		}
	}
	var mismatch error
	for _, study := range studies {
		if _, _, err := h.known(ctx, a.tenant, event.StudyKey(study)); fault.KindOf(err) == fault.Erased && err != nil {
			continue
		}
		if a.arrival.StudyUID, err = h.identities.Study(ctx, a.tenant, event.StudyKey(study)); err != nil {
			return nil, err
		}
		facts, _, err := h.prepare(ctx, key, a)
		if err != nil {
			return nil, err
		}
		joined, err := h.join(ctx, []arrived{a}, []assemble.Facts{facts})
		switch {
		case fault.ReasonOf(err) == assemble.ReasonPatient:
			mismatch = err // of no matter when another study of the number is this patient's
			continue
		case err != nil && (len(studies) == 1 || blame(err) == nil):
			return nil, err
		case err != nil:
			joined = []stage.Output{h.rejected(a, facts.StudyKey, ingest.Refusal{Err: err})}
		}
		outs = append(outs, joined...)
	}
	if len(studies) == 0 {
		outs = append(outs, noted(a, number, notedWaiting, 0))
	}
	if len(outs) == 0 {
		return nil, mismatch
	}
	return outs, nil
}

// patients returns whose studies bear an accession number: numbers are given again, and some
// systems write 0. f may be a study that is not stored yet.
func (h *prepareHandler) patients(ctx context.Context, key deid.Key, t event.Tenant, number string, f assemble.Facts) (map[event.PatientKey]bool, error) {
	studies, err := h.accessions.Get(ctx, t, key.Accession(strings.TrimSpace(number)))
	if err != nil {
		return nil, err
	}
	all := map[event.PatientKey]bool{}
	add := func(study event.StudyKey, p event.PatientKey) error {
		r := h.resolver(ctx, t, study)
		all[r.resolve(p)] = true
		return r.err
	}
	if f.PatientKnown {
		if err := add(f.StudyKey, f.PatientKey); err != nil {
			return nil, err
		}
	}
	for _, study := range studies {
		k := event.StudyKey(study)
		known, _, err := h.known(ctx, t, k)
		if fault.KindOf(err) == fault.Erased && err != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		uid, err := h.identities.Study(ctx, t, k)
		if err != nil {
			return nil, err
		}
		if p := event.PatientKey(known.GetPatientKey()); known != nil && p != key.Patient("", uid) {
			if err := add(k, p); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// anybodys refuses a report that could be that of any of these patients, and remembers it for a
// merge that makes them one.
func (h *prepareHandler) anybodys(ctx context.Context, a arrived, patients map[event.PatientKey]bool) error {
	for p := range patients {
		if err := h.pending.Add(ctx, a.tenant, string(p), reference(a)); err != nil && fault.ReasonOf(err) != reasonLongList {
			return err
		}
	}
	return fault.Reject("app.byAccession", fault.Invalid, reasonAnybody, "several patients have studies of this accession number: a report of one of them names its patient, or the Study Instance UID")
}

// noted answers an arrival that makes no revision of its own. about is a pseudonym.
func noted(a arrived, about, reason string, studies int) stage.Output {
	return stage.Output{
		ID:      event.ID("noted", string(a.tenant), string(a.in.ID), reference(a)),
		Subject: event.UnchangedSubject(a.tenant, event.StudyKey(about)),
		Body:    &radstreamv1.ArrivalNoted{Reason: reason, Studies: uint32(studies)},
	}
}

// reference names an arrival by its place: sequence in STUDIES and part.
func reference(a arrived) string { return fmt.Sprintf("%d.%d", a.in.Sequence, a.part) }

// waiting returns the arrivals that a list of pending names, and the dead letters of those that
// this version cannot read any more. What STUDIES does not keep any more is left out.
func (h *prepareHandler) waiting(ctx context.Context, t event.Tenant, list string) (all []arrived, dead []stage.Output, err error) {
	references, err := h.pending.Get(ctx, t, list)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range references {
		var seq uint64
		var part int
		if _, err := fmt.Sscanf(r, "%d.%d", &seq, &part); err != nil {
			return nil, nil, fault.Errorf("app.waiting", fault.Corrupt, "a reference in the bucket pending is not a sequence and a part")
		}
		m, err := h.archive.Get(ctx, event.StreamStudies, seq)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		message := stage.Input{Envelope: m.Envelope, Stream: event.StreamStudies, Sequence: seq, Attempt: 1}
		in, err := h.Decode(message)
		if err != nil {
			if blame(err) == nil {
				return nil, nil, err
			}
			dead = append(dead, h.rejected(arrived{in: message, tenant: t, part: part}, "", ingest.Refusal{Err: err}))
			continue
		}
		for _, a := range in.all {
			if a.part == part {
				all = append(all, a)
			}
		}
	}
	return all, dead, nil
}

// merge makes two patients one, or corrects the patient of one study: it is remembered for
// what is to come, what is there moves, and what was refused for its patient is tried again.
func (h *prepareHandler) merge(ctx context.Context, key deid.Key, a arrived) ([]stage.Output, error) {
	from, to := key.Patient(event.PatientID(a.merge.GetMergedPatientId()), ""), key.Patient(event.PatientID(a.merge.GetPatientId()), "")
	var only event.StudyKey
	if uid := a.merge.GetStudyUid(); uid != "" {
		only = key.Study(event.StudyUID(uid))
	}
	r := h.resolver(ctx, a.tenant, only)
	stays := r.resolve(to)
	if r.err == nil && stays == from {
		return nil, fault.Reject("app.merge", fault.Invalid, reasonMerged, "the patient that is to stay was merged into the other one before")
	}
	if r.err != nil {
		return nil, r.err
	}
	if err := h.identities.PutMerge(ctx, a.tenant, only, from, to); err != nil {
		return nil, err
	}
	// The merge is stored: who prepares a study from here on sees it, and a study that was
	// prepared before is there to be found, or is found by the relate stage.
	studies := []event.StudyKey{only}
	if only == "" {
		studies = nil
		found, err := h.archive.LastPerSubject(ctx, event.StreamPrepared, event.PreparedOfPatient(a.tenant, from), bus.Last{HeadersOnly: true})
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			studies = append(studies, m.StudyKey())
		}
	}
	var outs []stage.Output
	for _, study := range studies {
		out, err := h.moved(ctx, func() (deid.Key, error) { return key, nil }, a.tenant, study)
		if fault.KindOf(err) == fault.Erased && err != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		outs = append(outs, out...)
	}
	n := len(outs)
	for _, p := range []event.PatientKey{from, to, stays} {
		waiting, dead, err := h.waiting(ctx, a.tenant, string(p))
		if err != nil {
			return nil, err
		}
		outs = append(outs, dead...)
		for _, w := range waiting {
			again, err := h.one(ctx, key, w)
			if err != nil && blame(err) == nil {
				return nil, err
			}
			for _, o := range again { // what is still refused was said before
				if _, revision := o.Body.(*radstreamv1.StudyPrepared); revision {
					outs = append(outs, o)
				}
			}
		}
	}
	return append(outs, noted(a, string(from), notedMerged, n)), nil
}

// moved is the revision of a study under the patient that its patient was merged into; none
// when it is where it belongs. key is asked for only when the study moves.
func (h *prepareHandler) moved(ctx context.Context, key func() (deid.Key, error), t event.Tenant, study event.StudyKey) ([]stage.Output, error) {
	known, last, err := h.known(ctx, t, study)
	if err != nil || known == nil {
		return nil, err
	}
	r := h.resolver(ctx, t, study)
	to := r.resolve(event.PatientKey(known.GetPatientKey()))
	if r.err != nil || string(to) == known.GetPatientKey() {
		return nil, r.err
	}
	secret, err := key()
	if err != nil {
		return nil, err
	}
	next, _ := assemble.Move(known, to, secret.Shift)
	return []stage.Output{h.revision(t, next, last)}, nil
}

// resolver follows the merges of a tenant and the corrections of one study. The first error
// ends it: it then answers what it is asked, and the answers must not be used.
type resolver struct {
	h      *prepareHandler
	ctx    context.Context
	tenant event.Tenant
	study  event.StudyKey
	cache  map[event.PatientKey]event.PatientKey
	err    error
}

func (h *prepareHandler) resolver(ctx context.Context, t event.Tenant, study event.StudyKey) *resolver {
	return &resolver{h: h, ctx: ctx, tenant: t, study: study, cache: map[event.PatientKey]event.PatientKey{}}
}

// resolve returns the patient that p was merged into in the end. Merges that go round in a
// circle, which two that are stored at once can make, end at the smallest key of it.
func (r *resolver) resolve(p event.PatientKey) event.PatientKey {
	if to, ok := r.cache[p]; ok {
		return to
	}
	path := []event.PatientKey{p}
	for r.err == nil {
		at := path[len(path)-1]
		next, err := r.h.identities.Merged(r.ctx, r.tenant, r.study, at)
		if fault.KindOf(err) == fault.NotFound && err != nil {
			r.cache[p] = at
			return at
		}
		if r.err = err; err != nil {
			break
		}
		for i, seen := range path {
			if seen != next {
				continue
			}
			least := next
			for _, other := range path[i:] {
				least = min(least, other)
			}
			r.cache[p] = least
			return least
		}
		path = append(path, next)
	}
	return p
}
