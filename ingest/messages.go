package ingest

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/ingest/fhir"
	"github.com/radstream/radstream/ingest/hl7"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Reasons for which a message of a hospital makes no event.
const (
	ReasonPatientChange fault.Reason = "patient_change_unused"
	ReasonUnnamed       fault.Reason = "report_names_no_study"
)

// Messages reads what a hospital's message says as events: HL7 v2 (a message or a batch), FHIR
// JSON or C-CDA, told apart by their first bytes. Each event is a ReportArrived or a
// PatientMerged. refused has one error for each message or report that makes none; the others
// are not harmed. Errors: those of packages hl7 and fhir; Unsupported patient_change_unused for
// a change of facts that nothing here keeps, Invalid report_names_no_study.
func Messages(data []byte) (events []proto.Message, refused []error) {
	add := func(messages []report.Message, err error) {
		for _, m := range messages {
			e, err := eventOf(m)
			if err != nil {
				refused = append(refused, err)
				continue
			}
			events = append(events, e)
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			refused = append(refused, joined.Unwrap()...)
		} else if err != nil {
			refused = append(refused, err)
		}
	}
	if !hl7.Is(data) {
		add(fhir.Parse(data))
		return events, refused
	}
	raw, err := hl7.Split(data)
	if err != nil {
		return nil, []error{err}
	}
	for i, one := range raw {
		messages, err := hl7.Parse(one)
		if err != nil && len(raw) > 1 {
			err = fault.Wrap(fmt.Sprintf("message %d of %d", i+1, len(raw)), err)
		}
		add(messages, err)
	}
	return events, refused
}

var statuses = map[report.Status]radstreamv1.ReportStatus{
	"":                       radstreamv1.ReportStatus_REPORT_STATUS_FINAL,
	report.StatusPreliminary: radstreamv1.ReportStatus_REPORT_STATUS_PRELIMINARY,
	report.StatusFinal:       radstreamv1.ReportStatus_REPORT_STATUS_FINAL,
	report.StatusCorrected:   radstreamv1.ReportStatus_REPORT_STATUS_CORRECTED,
	report.StatusAddendum:    radstreamv1.ReportStatus_REPORT_STATUS_ADDENDUM,
	report.StatusRetracted:   radstreamv1.ReportStatus_REPORT_STATUS_RETRACTED,
}

// eventOf is the event that says what m says.
func eventOf(m report.Message) (proto.Message, error) {
	const op = "ingest.Messages"
	stamp := func(t time.Time) *timestamppb.Timestamp {
		if t.IsZero() {
			return nil
		}
		return timestamppb.New(t)
	}
	switch {
	case m.Kind == report.KindMerge:
		return &radstreamv1.PatientMerged{PatientId: string(m.PatientID), MergedPatientId: string(m.PatientMerge)}, nil
	case m.Kind != report.KindReport:
		return nil, fault.Reject(op, fault.Unsupported, ReasonPatientChange, "ADT^A08 and A31 change a patient's facts, of which none is kept here: only merges are taken")
	case m.StudyUID == "" && m.Accession == "":
		return nil, fault.Reject(op, fault.Invalid, ReasonUnnamed, "a report names its study by an accession number or a Study Instance UID")
	}
	return &radstreamv1.ReportArrived{
		StudyUid: string(m.StudyUID), PatientId: string(m.PatientID), AccessionNumber: string(m.Accession),
		Report: &radstreamv1.Report{Text: m.Text}, ReportId: m.ReportID, Status: statuses[m.Status],
		ReportTime: stamp(m.Issued), MessageTime: stamp(m.Made), Names: m.Names, Identifiers: m.IDs,
	}, nil
}
