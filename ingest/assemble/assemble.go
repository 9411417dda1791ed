// Package assemble makes the next revision of a study: what is known of it, and what
// arrived, give what is known after. It is a pure function and holds no state.
//
//	last message on the study's subject ----\
//	                                         Next -> revision + 1, or nothing new
//	facts of one arrival (package ingest) --/
//
// Arrivals come in any order and more than once. The views of a study are the union of
// what arrived, in an order of their own, so that neither the order of arrivals nor
// repeats show. A later report takes the place of an earlier one. An arrival that brings
// nothing new makes no revision.
package assemble

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// MaxViews bounds the views of one study; a radiographic study of the chest has 1 to 4.
const MaxViews = 16

// Reasons for which an arrival cannot join its study.
const (
	ReasonTooManyViews fault.Reason = "too_many_views"
	ReasonPatient      fault.Reason = "patient_mismatch"
)

// Facts is what one arrival says about a study, prepared.
type Facts struct {
	ArrivalID event.MessageID
	// StudyUID names the study as its sender does. It may point at a person and is never
	// part of a revision.
	StudyUID event.StudyUID
	StudyKey event.StudyKey
	// PatientKey is the patient's, or [Facts.Stranger] when PatientKnown is false.
	PatientKey   event.PatientKey
	PatientKnown bool
	// Stranger is the patient key of the study as long as nobody said whose it is.
	Stranger event.PatientKey
	// ShiftedTime is the time of the study, moved by the offset of PatientKey; zero when
	// it is not known.
	ShiftedTime time.Time
	// Shift moves a time by the offset of a patient (deid.Key.Shift). Needed when the
	// arrival and what is known name the patient by different keys.
	Shift func(event.PatientKey, time.Time) time.Time
	Views []*radstreamv1.PreparedView
	// Report is nil when the arrival brings none.
	Report    *radstreamv1.PreparedReport
	Tokenizer string // made the tokens of Report
}

// Next returns the revision of a study after f: known, which is nil for a study that was
// never seen, with what f adds. changed is false, and next is known, when that is nothing.
// version names the preparation that made f; a view or report that is known from another
// version is replaced. Neither argument is modified; next shares their views and report.
//
// A study whose patient becomes known changes its patient key, and so its subject: the
// caller compares the two revisions.
//
// Errors: Invalid patient_mismatch when both name a patient, but not the same; Unsupported
// too_many_views.
func Next(known *radstreamv1.StudyPrepared, f Facts, version string) (next *radstreamv1.StudyPrepared, changed bool, err error) {
	const op = "assemble.Next"
	if known == nil {
		known = &radstreamv1.StudyPrepared{StudyKey: string(f.StudyKey), PatientKey: string(f.PatientKey)}
		changed = true
	}
	if known.StudyKey != string(f.StudyKey) {
		return nil, false, fault.Errorf(op, fault.Internal, "what is known is of another study")
	}
	patient, err := patientOf(known, f)
	if err != nil {
		return nil, false, err
	}
	next = &radstreamv1.StudyPrepared{
		StudyKey: known.StudyKey, PatientKey: string(patient), Rev: known.Rev + 1,
		Views: slices.Clone(known.Views), Report: known.Report,
		ShiftedTime: earliest(known, f, patient),
		Provenance:  proto.CloneOf(known.Provenance),
	}
	if next.Provenance == nil {
		next.Provenance = &radstreamv1.Provenance{}
	}
	from := next.Provenance
	changed = changed || next.PatientKey != known.PatientKey || !proto.Equal(next.ShiftedTime, known.ShiftedTime)
	newVersion := from.PreparationVersion != version
	for _, v := range f.Views {
		changed = addView(next, v, newVersion) || changed
	}
	if len(next.Views) > MaxViews {
		return nil, false, fault.Reject(op, fault.Unsupported, ReasonTooManyViews, "a study may have %d different views", MaxViews)
	}
	repeated := slices.Contains(from.ArrivalIds, string(f.ArrivalID))
	if replaces(next.Report, f.Report, newVersion, repeated) {
		next.Report, from.Tokenizer, changed = f.Report, f.Tokenizer, true
	}
	if !changed {
		return known, false, nil
	}
	from.PreparationVersion = version
	if !repeated {
		from.ArrivalIds = append(from.ArrivalIds, string(f.ArrivalID))
	}
	slices.SortFunc(next.Views, func(a, b *radstreamv1.PreparedView) int {
		return cmp.Or(cmp.Compare(a.Projection, b.Projection), bytes.Compare(a.PixelsSha256, b.PixelsSha256))
	})
	next.PrepId = prepID(next)
	return next, true, nil
}

// patientOf decides whose the study is.
func patientOf(known *radstreamv1.StudyPrepared, f Facts) (event.PatientKey, error) {
	have := event.PatientKey(known.PatientKey)
	switch {
	case !f.PatientKnown, have == f.PatientKey:
		return have, nil
	case have == f.Stranger:
		return f.PatientKey, nil
	}
	return "", fault.Reject("assemble.Next", fault.Invalid, ReasonPatient, "all that arrives of a study must name the same patient")
}

// earliest returns the earlier of the two times of the study, moved by the patient's
// offset, so that the order of arrivals does not matter; nil when there is none.
func earliest(known *radstreamv1.StudyPrepared, f Facts, patient event.PatientKey) *timestamppb.Timestamp {
	move := func(t time.Time, from event.PatientKey) time.Time {
		if from == patient {
			return t
		}
		return t.Add(f.Shift(patient, t).Sub(f.Shift(from, t))) // the same seconds for any t
	}
	var times []time.Time
	if known.ShiftedTime != nil {
		times = append(times, move(known.ShiftedTime.AsTime(), event.PatientKey(known.PatientKey)))
	}
	if !f.ShiftedTime.IsZero() {
		times = append(times, move(f.ShiftedTime.UTC(), f.PatientKey))
	}
	if len(times) == 0 {
		return nil
	}
	return timestamppb.New(slices.MinFunc(times, time.Time.Compare))
}

// addView adds v to the study unless it is known: made from the same object, or with the
// same pixels in the same projection. It tells whether the study changed.
func addView(s *radstreamv1.StudyPrepared, v *radstreamv1.PreparedView, newVersion bool) bool {
	for i, have := range s.Views {
		sameObject := bytes.Equal(have.ObjectSha256, v.ObjectSha256)
		if sameObject && newVersion && !proto.Equal(have, v) {
			s.Views[i] = v
			return true
		}
		if sameObject || have.Projection == v.Projection && bytes.Equal(have.PixelsSha256, v.PixelsSha256) {
			return false
		}
	}
	s.Views = append(s.Views, v)
	return true
}

// replaces tells whether the report that arrived takes the place of the one there is. A
// repeat of an arrival does not bring an older report back.
func replaces(have, arrived *radstreamv1.PreparedReport, newVersion, repeated bool) bool {
	switch {
	case arrived == nil:
		return false
	case have == nil:
		return true
	case bytes.Equal(have.ReportSha256, arrived.ReportSha256):
		return newVersion && !proto.Equal(have, arrived)
	}
	return !repeated
}

// prepID identifies a revision by its inputs: sha256 over each behind its length, in hex.
func prepID(s *radstreamv1.StudyPrepared) string {
	h := sha256.New()
	var n [8]byte
	add := func(part []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	number := func(v uint64) { add(binary.BigEndian.AppendUint64(nil, v)) }
	add([]byte(s.StudyKey))
	add([]byte(s.PatientKey))
	number(s.Rev)
	add([]byte(s.Provenance.PreparationVersion))
	number(uint64(s.ShiftedTime.GetSeconds()))
	number(uint64(s.ShiftedTime.GetNanos()))
	add(s.Report.GetReportSha256())
	number(uint64(len(s.Views)))
	for _, v := range s.Views {
		number(uint64(v.Projection))
		add(v.PixelsSha256)
	}
	return hex.EncodeToString(h.Sum(nil))
}
