package ingest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// TestMessages: what becomes of hospitals' messages as events; a bad one harms no other.
func TestMessages(t *testing.T) {
	const msh = `MSH|^~\&|RIS|H|||20260102030405||`
	oru := func(obr, obx string) string {
		return strings.Join([]string{msh + "ORU^R01|1|P|2.5", "PID|1||P1^^^H^MR", obr, obx}, "\r") + "\r"
	}
	at := func(h int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2026, 1, 2, h, 4, 5, 0, time.UTC))
	}
	report := func(change func(*radstreamv1.ReportArrived)) proto.Message {
		r := &radstreamv1.ReportArrived{PatientId: "P1", AccessionNumber: "A1", ReportId: "F1", Report: &radstreamv1.Report{Text: "Clear."},
			Status: radstreamv1.ReportStatus_REPORT_STATUS_FINAL, ReportTime: at(3), MessageTime: at(3)}
		change(r)
		return r
	}
	for _, c := range []struct {
		name, data string
		want       []proto.Message
		refused    []fault.Reason
	}{
		{"result", oru("OBR|1||F1|CXR"+strings.Repeat("|", 14)+"A1", "OBX|1|TX|||Clear.||||||F"), []proto.Message{report(func(*radstreamv1.ReportArrived) {})}, nil},
		{"status time", oru("OBR|1||F1|CXR"+strings.Repeat("|", 14)+"A1||||20260102010405|||C", "OBX|1|TX|||Clear.||||||F"), []proto.Message{report(func(r *radstreamv1.ReportArrived) {
			r.Status, r.ReportTime = radstreamv1.ReportStatus_REPORT_STATUS_CORRECTED, at(1)
		})}, nil},
		{"retraction without text", oru("OBR|1||F1|CXR"+strings.Repeat("|", 14)+"A1|||||||X", ""), []proto.Message{report(func(r *radstreamv1.ReportArrived) {
			r.Status, r.Report.Text = radstreamv1.ReportStatus_REPORT_STATUS_RETRACTED, ""
		})}, nil},
		{"merge", msh + "ADT^A40|1|P|2.5\rPID|1||B\rMRG|A\r", []proto.Message{&radstreamv1.PatientMerged{PatientId: "B", MergedPatientId: "A"}}, nil},
		{"changed facts", msh + "ADT^A08|1|P|2.5\rPID|1||B\r", nil, []fault.Reason{ingest.ReasonPatientChange}},
		{"no study", oru("OBR|1", "OBX|1|TX|||Clear.||||||F"), nil, []fault.Reason{ingest.ReasonUnnamed}},
		{"batch", "BHS|^~\\&\r" + oru("OBR|1", "OBX|1|TX|||Clear.||||||F") + msh + "ORM^O01|1|P|2.5\r" + msh + "ADT^A40|1|P|2.5\rPID|1||B\rMRG|A\r",
			[]proto.Message{&radstreamv1.PatientMerged{PatientId: "B", MergedPatientId: "A"}}, []fault.Reason{ingest.ReasonUnnamed, "order_no_report"}},
		{"FHIR", `{"resourceType":"DiagnosticReport","status":"entered-in-error","issued":"2026-01-02T03:04:05Z","subject":{"identifier":{"value":"P1"}},
			"identifier":[{"type":{"coding":[{"code":"ACSN"}]},"value":"A1"},{"type":{"coding":[{"code":"FILL"}]},"value":"F1"}]}`, []proto.Message{report(func(r *radstreamv1.ReportArrived) {
			r.Status, r.Report.Text, r.MessageTime = radstreamv1.ReportStatus_REPORT_STATUS_RETRACTED, "", nil
		})}, nil},
		{"neither", "hello", nil, []fault.Reason{"not_fhir"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, refused := ingest.Messages([]byte(c.data))
			if d := cmp.Diff(c.want, got, protocmp.Transform(), protocmp.IgnoreFields(&radstreamv1.ReportArrived{}, "identifiers")); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			var reasons []fault.Reason
			for _, err := range refused {
				reasons = append(reasons, fault.ReasonOf(err))
			}
			if d := cmp.Diff(c.refused, reasons); d != "" {
				t.Errorf("refused (-want +got):\n%s", d)
			}
		})
	}
}

// FuzzMessages: no input panics, and what is refused has a reason.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("MSH|^~\\&|||||||ADT^A40|1|P|2.5\rPID|1||B\rMRG|A\r"))
	f.Add([]byte(`{"resourceType":"DiagnosticReport","conclusion":"Clear."}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		events, refused := ingest.Messages(data)
		if len(events)+len(refused) == 0 {
			t.Error("nothing came of it")
		}
		for _, err := range refused {
			if fault.ReasonOf(err) == "" {
				t.Errorf("no reason: %v", err)
			}
		}
	})
}

// TestPeopleOfMessages: the people whom a message names leave its report, whatever its form.
func TestPeopleOfMessages(t *testing.T) {
	const text = "FINDINGS: Zyxwell was seen, quorra vexley read it, 88-231. No effusion."
	const want = "[name] was seen, [name] [name] read it, [id]. No effusion."
	for name, data := range map[string]string{
		"HL7 v2": "MSH|^~\\&|RIS|H|||20260102030405||ORU^R01|1|P|2.5\rPID|1||P1^^^H^MR~88-231^^^H^SS||Zyxwell^Ann\rOBR|1||F1|CXR" +
			strings.Repeat("|", 14) + "A1" + strings.Repeat("|", 14) + "D7&Vexley&Quorra\rOBX|1|TX|||" + text + "||||||F\r",
		"FHIR": `{"resourceType":"DiagnosticReport","status":"final","subject":{"reference":"#p"},"conclusion":"` + text + `",
			"resultsInterpreter":[{"reference":"Practitioner/1","display":"Dr. Quorra Vexley"},{"reference":"Organization/2","display":"No Effusion Department"}],
			"contained":[{"resourceType":"Patient","id":"p","name":[{"family":"Zyxwell","given":["Ann"]}],"identifier":[{"value":"P1"},{"value":"88-231"}]}],
			"identifier":[{"type":{"coding":[{"code":"ACSN"}]},"value":"A1"}]}`,
		"C-CDA": `<ClinicalDocument xmlns="urn:hl7-org:v3"><recordTarget><patientRole><id extension="P1"/><id extension="88-231"/><patient><name><given>Ann</given><family>Zyxwell</family></name></patient></patientRole></recordTarget>
			<author><assignedAuthor><assignedPerson><name>Quorra Vexley</name></assignedPerson></assignedAuthor></author>
			<inFulfillmentOf><order><id extension="A1"/></order></inFulfillmentOf>
			<component><structuredBody><component><section><text>` + text + `</text></section></component></structuredBody></component></ClinicalDocument>`,
	} {
		t.Run(name, func(t *testing.T) {
			events, refused := ingest.Messages([]byte(data))
			if len(events) != 1 || len(refused) > 0 {
				t.Fatal(events, refused)
			}
			m := events[0].(*radstreamv1.ReportArrived)
			f, refusals, err := preparer(t).Prepare(t.Context(), key(t), ingest.Arrival{
				ID: "a", StudyUID: "1.2.3", PatientID: event.PatientID(m.GetPatientId()), Report: m.GetReport().GetText(), HasReport: true,
				People: deid.Known{Names: m.GetNames(), IDs: m.GetIdentifiers()},
			})
			if err != nil || len(refusals) > 0 {
				t.Fatal(err, refusals)
			}
			if got := f.Report.GetSections()[0].GetText(); !strings.HasSuffix(got, want) {
				t.Errorf("the report is %q, not %q", got, want)
			}
		})
	}
}
