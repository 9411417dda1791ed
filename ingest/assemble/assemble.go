// Package assemble makes the next revision of a study: what is known of it, and what
// arrived, give what is known after. Its functions are pure and hold no state.
//
//	last message on the study's subject ----\
//	                                         Next -> revision + 1, or nothing new
//	facts of one arrival (package ingest) --/
//
// A study is a function of the set of facts that arrived, not of their order or number:
// a revision keeps every statement that may still count (each view, each version of the
// report, when it was said first), and views, report and time follow from them by rules that
// put the statements themselves in order:
//
//   - Views: all that arrived. Of two images of one instance (SOP Instance UID) the one with
//     the later content counts, then the one that was announced later; equal pixels in one
//     projection are one view.
//   - Report: the last version that was said, with its addenda after it; see reportOf.
//   - Time: the earliest that was said.
//   - Patient: all must name the same, after merges and corrections (Facts.Resolve).
//
// What was said before and is said again changes nothing, unless another version of the
// preparation made it. What passes a limit ([MaxViews], [MaxStatements], the size of an event) or
// contradicts the patient is refused: of two that do not go together, the one that came last.
package assemble

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// MaxViews bounds the views of one study, and those they took the place of; a radiographic
// study of the chest has 1 to 4.
const MaxViews = 16

// MaxStatements bounds the versions of a study's reports.
const MaxStatements = 64

// Reasons for which an arrival cannot join its study.
const (
	ReasonTooManyViews   fault.Reason = "too_many_views"
	ReasonTooManyReports fault.Reason = "too_many_reports"
	ReasonPatient        fault.Reason = "patient_mismatch"
)

// Facts is what one arrival says about a study, prepared.
type Facts struct {
	ArrivalID event.MessageID
	// StudyUID and Accessions name the study as its sender does. They may point at a person
	// and are never part of a revision.
	StudyUID   event.StudyUID
	Accessions []string
	StudyKey   event.StudyKey
	// PatientKey is the patient's, or [Facts.Stranger] when PatientKnown is false.
	PatientKey   event.PatientKey
	PatientKnown bool
	// Stranger is the patient key of the study as long as nobody said whose it is.
	Stranger event.PatientKey
	// ShiftedTime is the time of the study, zero when it is not known. It and the times in
	// Views and Report are moved by the offset of PatientKey.
	ShiftedTime time.Time
	// Shift moves a time by the offset of a patient (deid.Key.Shift), by the same for any time. Needed
	// when the arrival and what is known name the patient by different keys.
	Shift func(event.PatientKey, time.Time) time.Time
	// Resolve follows merges and corrections of patients to the key that stays; nil when there
	// are none.
	Resolve func(event.PatientKey) event.PatientKey
	Views   []*radstreamv1.PreparedView
	// Report is nil when the arrival brings none.
	Report *radstreamv1.ReportStatement
	// Compose cleans the sections of a report and its addenda (report.Compose).
	Compose   func([]*radstreamv1.Section) (*radstreamv1.PreparedReport, error)
	Tokenizer string // made the tokens of what Compose returns
}

// Next returns the revision of a study after f: known, which is nil for a study that was
// never seen, with what f adds. changed is false, and next is known, when that is nothing.
// A view or text that is known from another version of the preparation is replaced. Neither
// argument is modified; next may share their parts.
//
// A study whose patient becomes known, or is merged, changes its patient key, and so its
// subject: the caller compares the two revisions.
//
// Errors: Invalid patient_mismatch when both name a patient, but not the same; Unsupported
// too_many_views, too_many_reports.
func Next(known *radstreamv1.StudyPrepared, f Facts) (next *radstreamv1.StudyPrepared, changed bool, err error) {
	next, changed, refused := Join(known, f)
	return next, changed, refused[0]
}

// Join is [Next] for several facts at once, which make one revision. refused has one element
// for each; facts with an error there are left out.
func Join(known *radstreamv1.StudyPrepared, facts ...Facts) (next *radstreamv1.StudyPrepared, changed bool, refused []error) {
	refused = make([]error, len(facts))
	next = known
	for i, f := range facts {
		joined, err := one(next, f)
		if refused[i] = err; err == nil {
			next = joined
		}
	}
	if next == known {
		return known, false, refused
	}
	next.Rev = known.GetRev() + 1
	if from := known.GetPatientKey(); from != "" && from != next.PatientKey {
		next.Provenance.MovedFrom = from
	}
	next.PrepId = prepID(next)
	return next, true, refused
}

// one returns known with f, or known itself when f adds nothing. Rev and PrepId are left to
// the caller.
func one(known *radstreamv1.StudyPrepared, f Facts) (*radstreamv1.StudyPrepared, error) {
	const op = "assemble.Next"
	if known != nil && known.StudyKey != string(f.StudyKey) {
		return nil, fault.Errorf(op, fault.Internal, "what is known is of another study")
	}
	old := current(known)
	if known == nil {
		old = &radstreamv1.StudyPrepared{StudyKey: string(f.StudyKey), PatientKey: string(f.PatientKey)}
	}
	patient, err := PatientOf(old, f)
	if err != nil {
		return nil, err
	}
	m := mover{f.Shift, patient}
	next := m.study(old)
	next.Provenance.MovedFrom = ""

	views := withPixels(append(next.Views, next.SupersededViews...))
	for _, v := range f.Views {
		views = addView(views, m.view(v, f.PatientKey))
	}
	next.Views, next.SupersededViews = counting(views)
	if len(next.Views) > MaxViews {
		return nil, fault.Reject(op, fault.Unsupported, ReasonTooManyViews, "a study may have %d different views", MaxViews)
	}
	if len(next.SupersededViews) > MaxViews {
		return nil, fault.Reject(op, fault.Unsupported, ReasonTooManyViews, "%d views of a study may be replaced by others of the same SOP Instance UID (0008,0018) or the same pixels", MaxViews)
	}
	if f.Report != nil {
		next.ReportStatements = addStatement(next.ReportStatements, m.statement(f.Report, f.PatientKey))
		if len(next.ReportStatements) > MaxStatements {
			return nil, fault.Reject(op, fault.Unsupported, ReasonTooManyReports, "a study may have %d versions of its reports", MaxStatements)
		}
		if next.Report, err = reportOf(next.ReportStatements, f.Compose); err != nil {
			return nil, fault.Wrap(op, err)
		}
		if next.Provenance.Tokenizer = f.Tokenizer; next.Report == nil {
			next.Provenance.Tokenizer = ""
		}
	}
	next.ShiftedTime = earliest(next.ShiftedTime, m.time(stamp(f.ShiftedTime), f.PatientKey))
	if known != nil && sameStudy(old, next) {
		return known, nil
	}
	next.Provenance.PreparationVersion = versions(next)
	if id := string(f.ArrivalID); !slices.Contains(next.Provenance.ArrivalIds, id) {
		next.Provenance.ArrivalIds = append(next.Provenance.ArrivalIds, id)
	}
	return next, nil
}

// sameStudy tells whether two revisions say the same. How they came about is no part of it.
func sameStudy(a, b *radstreamv1.StudyPrepared) bool {
	says := func(s *radstreamv1.StudyPrepared) *radstreamv1.StudyPrepared {
		return &radstreamv1.StudyPrepared{
			StudyKey: s.StudyKey, PatientKey: s.PatientKey, Views: s.Views, Report: s.Report, ShiftedTime: s.ShiftedTime,
			Prior: s.Prior, ReportStatements: s.ReportStatements, SupersededViews: s.SupersededViews,
		}
	}
	return proto.Equal(says(a), says(b))
}

// PatientOf decides whose the study is that is known and that f is about. Errors: Invalid
// patient_mismatch.
func PatientOf(known *radstreamv1.StudyPrepared, f Facts) (event.PatientKey, error) {
	resolve := f.Resolve
	if resolve == nil {
		resolve = func(p event.PatientKey) event.PatientKey { return p }
	}
	have, said := resolve(event.PatientKey(known.PatientKey)), resolve(f.PatientKey)
	switch {
	case !f.PatientKnown, have == said:
		return have, nil
	case event.PatientKey(known.PatientKey) == f.Stranger:
		return said, nil
	}
	return "", fault.Reject("assemble.Next", fault.Invalid, ReasonPatient, "all that arrives of a study must name the same patient; a merge (ADT^A40) or a correction (PatientMerged with study_uid) says that two identifiers are one")
}

// Move returns the study as the next revision under patient to; known itself when it is there
// already. Its prior stays as it is: see [WithPrior].
func Move(known *radstreamv1.StudyPrepared, to event.PatientKey, shift func(event.PatientKey, time.Time) time.Time) (next *radstreamv1.StudyPrepared, changed bool) {
	if known.PatientKey == string(to) {
		return known, false
	}
	next = mover{shift, to}.study(known)
	next.Rev, next.Provenance.MovedFrom = known.Rev+1, known.PatientKey
	next.PrepId = prepID(next)
	return next, true
}

// mover moves times to the offset of a patient.
type mover struct {
	shift func(event.PatientKey, time.Time) time.Time
	to    event.PatientKey
}

// time moves t from the offset of another patient.
func (m mover) time(t *timestamppb.Timestamp, from event.PatientKey) *timestamppb.Timestamp {
	if t == nil || from == m.to {
		return t
	}
	was := t.AsTime()
	return timestamppb.New(was.Add(m.shift(m.to, was).Sub(m.shift(from, was)))) // the same for any t
}

func (m mover) view(v *radstreamv1.PreparedView, from event.PatientKey) *radstreamv1.PreparedView {
	if from == m.to {
		return v
	}
	v = proto.CloneOf(v)
	v.ShiftedContentTime, v.ShiftedSaidTime = m.time(v.ShiftedContentTime, from), m.time(v.ShiftedSaidTime, from)
	return v
}

func (m mover) statement(s *radstreamv1.ReportStatement, from event.PatientKey) *radstreamv1.ReportStatement {
	if from == m.to {
		return s
	}
	s = proto.CloneOf(s)
	s.ShiftedTime, s.ShiftedSaidTime = m.time(s.ShiftedTime, from), m.time(s.ShiftedSaidTime, from)
	return s
}

// study copies s, moved; parts that stay the same are shared.
func (m mover) study(s *radstreamv1.StudyPrepared) *radstreamv1.StudyPrepared {
	from := event.PatientKey(s.PatientKey)
	next := &radstreamv1.StudyPrepared{
		StudyKey: s.StudyKey, PatientKey: string(m.to), Report: s.Report, Prior: s.Prior,
		ShiftedTime: m.time(s.ShiftedTime, from), Provenance: proto.CloneOf(s.Provenance),
	}
	if next.Provenance == nil {
		next.Provenance = &radstreamv1.Provenance{}
	}
	for _, v := range s.Views {
		next.Views = append(next.Views, m.view(v, from))
	}
	for _, v := range s.SupersededViews {
		next.SupersededViews = append(next.SupersededViews, m.view(v, from))
	}
	for _, r := range s.ReportStatements {
		next.ReportStatements = append(next.ReportStatements, m.statement(r, from))
	}
	return next
}

// stamp is t as an event has it; nil when it is zero.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// earliest returns the earlier of two times that may be missing.
func earliest(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if a == nil || b != nil && b.AsTime().Before(a.AsTime()) {
		return b
	}
	return a
}

// compareTimes orders times; a missing one is before all others.
func compareTimes(a, b *timestamppb.Timestamp) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return a.AsTime().Compare(b.AsTime())
}
