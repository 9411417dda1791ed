package app

import (
	"context"
	"strings"

	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
)

// relation is a change on the subject of a study: a revision or a tombstone.
type relation struct {
	in        stage.Input
	tenant    event.Tenant
	patient   event.PatientKey // of the subject
	study     event.StudyKey
	movedFrom event.PatientKey // the revision moved the study from there
}

// relateHandler reads PREPARED and mends what one study's revision means for others of its
// patient, and what a process that prepared another one at the same time could not see:
//
//   - a prior that came late, moved or changed its time revises its follow-ups;
//   - a study that moved gets its tombstone on the subject that it left;
//   - a study that was stored under a patient while that patient was merged moves;
//   - a prior that was erased revises its follow-ups, which name it no more.
//
// It reads after the message was stored, so of two studies that are prepared at once the
// later one to be read sees both. It works from what the archive holds now, not from
// what the message says: handling a message once more, or late, does no harm. What it stores
// comes back to it, and ends when there is nothing to mend.
type relateHandler struct{ *prepareHandler }

func (h *relateHandler) Decode(in stage.Input) (relation, error) {
	const op = "app.relate"
	tokens := strings.Split(string(in.Subject), ".")
	t, err := in.Tenant()
	if err != nil {
		return relation{}, err
	}
	if len(tokens) != 6 { // rad.v1.<tenant>.prepared.<patient>.<study>
		return relation{}, fault.Reject(op, fault.Invalid, event.ReasonSubject, "a subject of %s names a patient and a study by their keys", in.Stream)
	}
	r := relation{in: in, tenant: t, patient: event.PatientKey(tokens[4]), study: event.StudyKey(tokens[5])}
	m, err := in.Message()
	if err != nil {
		return relation{}, err
	}
	if s, ok := m.(*radstreamv1.StudyPrepared); ok {
		r.movedFrom = event.PatientKey(s.GetProvenance().GetMovedFrom())
	}
	return r, nil
}

func (h *relateHandler) Handle(ctx context.Context, batch []relation) []stage.Result {
	results := make([]stage.Result, len(batch))
	for i, r := range batch {
		results[i].Out, results[i].Err = h.relate(ctx, r)
	}
	return results
}

func (h *relateHandler) relate(ctx context.Context, r relation) ([]stage.Output, error) {
	var outs []stage.Output
	var err error
	if r.movedFrom != "" {
		if outs, err = h.tombstone(ctx, r); err != nil {
			return nil, err
		}
	}
	moved, err := h.moved(ctx, func() (deid.Key, error) { return h.key(ctx, r.in, r.tenant) }, r.tenant, r.study)
	if err != nil && fault.KindOf(err) != fault.Erased { // which is why its follow-ups are looked at
		return nil, err
	}
	outs = append(outs, moved...)
	relatives, studies, err := h.relatives(ctx, r.tenant, r.patient)
	if fault.ReasonOf(err) == bus.ReasonTooMany {
		return outs, nil
	}
	if err != nil {
		return nil, err
	}
	for _, s := range studies {
		if len(moved) > 0 && s.GetStudyKey() == string(r.study) {
			continue // its revision under the other patient will come here
		}
		if _, changed := assemble.WithPrior(s, relatives, 0); !changed {
			continue
		}
		known, last, err := h.known(ctx, r.tenant, event.StudyKey(s.GetStudyKey()))
		if fault.KindOf(err) == fault.Erased && err != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		if known.GetPatientKey() != string(r.patient) {
			continue
		}
		if next, changed := assemble.WithPrior(known, relatives, known.GetRev()+1); changed {
			outs = append(outs, h.revision(r.tenant, next, last))
		}
	}
	return outs, nil
}

// tombstone is what a study leaves on the subject that it moved from, unless it is there.
func (h *relateHandler) tombstone(ctx context.Context, r relation) ([]stage.Output, error) {
	old := event.PreparedSubject(r.tenant, r.movedFrom, r.study)
	env, seq, err := h.archive.LastForSubject(ctx, event.StreamPrepared, old)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return nil, nil // it was erased: nothing is left there
	}
	if err != nil {
		return nil, err
	}
	known, _, err := h.known(ctx, r.tenant, r.study)
	if fault.KindOf(err) == fault.Erased && err != nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if env.Type != event.StudyPrepared || known.GetPatientKey() == string(r.movedFrom) {
		return nil, nil
	}
	return []stage.Output{{
		ID:      event.ID("moved", string(r.tenant), string(old), string(env.ID)),
		Subject: old,
		Body:    &radstreamv1.StudyMoved{StudyKey: string(r.study), PatientKey: string(r.movedFrom), MovedTo: known.GetPatientKey()},
		Rev:     event.Rev(known.GetRev()),
		Expect:  &stage.Expect{Last: seq},
	}}, nil
}

// mostRelatives bounds the studies of one patient among which priors are looked for. Who has more
// is no person: a sender gave all studies one number, and each would cost as much as all.
const mostRelatives = 500

// relatives returns the studies on the subjects of a patient. Errors: Unsupported with
// bus.ReasonTooMany for more than mostRelatives.
func (h *prepareHandler) relatives(ctx context.Context, t event.Tenant, p event.PatientKey) ([]assemble.Relative, []*radstreamv1.StudyPrepared, error) {
	found, err := h.archive.LastPerSubject(ctx, event.StreamPrepared, event.PreparedOfPatient(t, p), bus.Last{Most: mostRelatives})
	if err != nil {
		return nil, nil, err
	}
	var relatives []assemble.Relative
	var studies []*radstreamv1.StudyPrepared
	for _, m := range found {
		if m.Type != event.StudyPrepared { // a tombstone
			continue
		}
		body, err := m.Message()
		if err != nil {
			return nil, nil, fault.Errorf("app.relatives", fault.Corrupt, "message %d of %s is no prepared study", m.Sequence, event.StreamPrepared)
		}
		s := body.(*radstreamv1.StudyPrepared)
		studies = append(studies, s)
		r := assemble.Relative{StudyKey: event.StudyKey(s.GetStudyKey())}
		if s.GetShiftedTime() != nil {
			r.ShiftedTime = s.GetShiftedTime().AsTime()
		}
		relatives = append(relatives, r)
	}
	return relatives, studies, nil
}
