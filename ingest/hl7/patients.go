package hl7

import (
	"strings"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// patients reads ADT: changes of a patient's facts (A08, A31; HL7 v2 3.3.8, 3.3.31) and
// merges, where PID names the patient that stays and MRG the one that goes (A40 and its
// forerunners A18, A34, A36; A47, a changed identifier; HL7 v2 3.3.40, 3.4.9). A40 may
// hold several pairs.
func (m message) patients(trigger string) ([]report.Message, error) {
	const op = "hl7.patients"
	merge := false
	switch trigger {
	case "A08", "A31":
	case "A18", "A34", "A36", "A40", "A47":
		merge = true
	default:
		return nil, unsupportedType(op)
	}
	base := report.Message{Kind: report.KindPatient, Made: m.time}
	if !merge {
		base.PatientID = anyPatientID(m.first("PID"))
		if base.PatientID == "" {
			return nil, fault.Reject(op, fault.Invalid, ReasonNoPatient, "PID-3 names the patient")
		}
		return []report.Message{base}, nil
	}
	base.Kind = report.KindMerge
	var merges []report.Message
	for _, s := range m.segments {
		switch s.name {
		case "PID":
			base.PatientID = anyPatientID(s)
		case "MRG":
			one := base
			one.PatientMerge = patientID(s, 1)
			if one.PatientID == "" || one.PatientMerge == "" {
				return nil, fault.Reject(op, fault.Invalid, ReasonNoPatient, "PID-3 names the patient that stays and MRG-1 the one that goes")
			}
			merges = append(merges, one)
		}
	}
	if len(merges) == 0 {
		return nil, fault.Reject(op, fault.Invalid, ReasonNoPatient, "a merge has a segment MRG behind its PID, and MRG-1 names the patient that goes")
	}
	return merges, nil
}

// anyPatientID returns the identifier of PID-3, or of PID-2 where old senders put it.
func anyPatientID(pid segment) event.PatientID {
	if id := patientID(pid, 3); id != "" {
		return id
	}
	return patientID(pid, 2)
}

// patientID returns the identifier of field n, a repeated CX, that is typed MR, else PI,
// else the first (HL7 table 0203).
func patientID(s segment, n int) event.PatientID {
	best, rank := "", 0
	for _, r := range s.repetitions(n) {
		id := s.text(nth(nth(r, s.sep.component, 0), s.sep.sub, 0))
		if id == "" {
			continue
		}
		score := 1
		switch strings.ToUpper(s.text(nth(nth(r, s.sep.component, 4), s.sep.sub, 0))) {
		case "MR":
			score = 3
		case "PI":
			score = 2
		}
		if score > rank {
			best, rank = id, score
		}
	}
	return event.PatientID(best)
}
