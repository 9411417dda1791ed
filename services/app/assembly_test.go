package app

import (
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
)

// sendRaw publishes a message of a hospital as it is.
func (s *system) sendRaw(t *testing.T, id string, typ event.Type, contentType, body string) {
	t.Helper()
	subject := event.ReportArrivedSubject(tenant)
	if typ == event.PatientMerged {
		subject = event.PatientMergedSubject(tenant)
	}
	e := event.Envelope{ID: event.MessageID(id), Source: "test", Type: typ, Time: time.Now(), ContentType: contentType, Subject: subject, Body: []byte(body)}
	if err := s.bus.Publish(t.Context(), e, nil); err != nil {
		t.Fatal(err)
	}
}

// oru is a result with one line of findings.
func oru(accession, patient, at, status, text string) string {
	return strings.Join([]string{`MSH|^~\&|RIS|HOSP|RAD|HOSP|` + at + `||ORU^R01|7|P|2.5.1`, "PID|1||" + patient + "^^^H^MR",
		"OBR|1||" + accession + "|CXR" + strings.Repeat("|", 18) + at + "|||" + status, "OBX|1|TX|&GDT||" + text + "||||||" + status}, "\r") + "\r"
}

// TestReportByAccession: a report of HL7 v2 waits for its study, joins every study of its
// number, is corrected and retracted, and never meets another patient or tenant.
func TestReportByAccession(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	s.sendRaw(t, "final", event.ReportArrived, event.HL7v2, oru("A-1", "P-1", "20260102030405", "F", "Small left pleural effusion."))
	if m := s.await(t, "final"); m.Type != event.ArrivalNoted {
		t.Fatalf("a report without a study ends as %s: %s", m.Type, m.Body)
	}
	if n := s.messages(t, event.StreamPrepared); n != 0 {
		t.Fatalf("it made %d revisions", n)
	}
	one := study("2.25.1", s.object(t, film(t, 1), frontal))
	one.PatientId, one.AccessionNumber = "P-1", "A-1"
	elsewhere := proto.CloneOf(one)
	s.sendAs(t, "south", "elsewhere", elsewhere)
	s.send(t, "one", one)
	s.expect(t, "one", event.StudyIndexed, 1)
	text := func(uid string) string {
		t.Helper()
		m, _ := s.prepared(t, tenant, uid)
		return m.GetReport().GetText()
	}
	if got := text("2.25.1"); got != "Small left pleural effusion." {
		t.Errorf("the study has the report %q", got)
	}
	s.expect(t, "elsewhere", event.StudyIndexed, 1)
	if m, _ := s.prepared(t, "south", "2.25.1"); m.GetReport() != nil {
		t.Error("two tenants met")
	}
	two := study("2.25.2", s.object(t, film(t, 2), frontal))
	two.PatientId, two.AccessionNumber = "P-1", "A-1"
	s.send(t, "two", two)
	s.expect(t, "two", event.StudyIndexed, 1)
	if got := text("2.25.2"); got != "Small left pleural effusion." {
		t.Errorf("the second study of the order has the report %q", got)
	}
	s.sendRaw(t, "corrected", event.ReportArrived, event.HL7v2, oru("A-1", "P-1", "20260102040000", "C", "Small right pleural effusion."))
	s.expect(t, "corrected", event.StudyIndexed, 2)
	s.sendRaw(t, "late", event.ReportArrived, event.HL7v2, oru("A-1", "P-1", "20260102030405", "F", "Small left pleural effusion."))
	s.expect(t, "late", event.StudyUnchanged, 2)
	if got := text("2.25.1"); got != "Small right pleural effusion." {
		t.Errorf("after the correction the report is %q", got)
	}
	s.sendRaw(t, "stranger", event.ReportArrived, event.HL7v2, oru("A-1", "P-2", "20260102050000", "F", "Enlarged heart."))
	if m := s.await(t, "stranger"); m.Type != event.Rejected || !strings.Contains(string(m.Body), string(assemble.ReasonPatient)) {
		t.Errorf("the report of another patient ends as %s", m.Type)
	}
	s.sendRaw(t, "retracted", event.ReportArrived, event.HL7v2, oru("A-1", "P-1", "20260102060000", "X", ""))
	s.await(t, "retracted")
	if m, _ := s.prepared(t, tenant, "2.25.1"); m.GetReport() != nil || len(m.GetViews()) != 1 {
		t.Errorf("after the retraction the report is %v", m.GetReport())
	}

	// A batch of three, of which one is no message.
	batch := "BHS|^~\\&\r" + oru("A-9", "P-1", "20260102030405", "F", "Clear lungs.") + "MSH|^~\\&|||||||ORM^O01|8|P|2.5\r" + oru("", "P-1", "20260102030405", "F", "Clear lungs.")
	s.sendRaw(t, "batch", event.ReportArrived, event.HL7v2, batch)
	missing := map[string]bool{"order_no_report": true, "report_names_no_study": true}
	awaitMessage(t, s.bus, event.StreamRejected, event.RejectedSubject(tenant, stagePrepare), func(m bus.Message) bool { // they come one by one
		if m.Cause != event.MessageID("batch").Public() {
			return false
		}
		body, err := m.Message()
		if err != nil {
			t.Fatal(err)
		}
		delete(missing, body.(*radstreamv1.Rejected).GetReason())
		return len(missing) == 0
	})
	s.sendRaw(t, "fhir", event.ReportArrived, event.FHIR, `{"resourceType":"DiagnosticReport","status":"final","code":{"text":"x"},"issued":"2026-02-01T00:00:00Z",
		"subject":{"identifier":{"value":"P-1"}},"identifier":[{"type":{"coding":[{"code":"ACSN"}]},"value":"A-1"}],"conclusion":"Resolved effusion."}`)
	for _, uid := range []string{"2.25.1", "2.25.2"} { // the answer is that of one of the two
		s.awaitPrepared(t, uid, func(m *radstreamv1.StudyPrepared, _ event.Subject) bool {
			return m.GetReport().GetText() == "Resolved effusion."
		})
	}
}

// awaitPrepared waits until the study is as ok wants it: some revisions are set off by other
// studies, so no answer tells of them.
func (s *system) awaitPrepared(t *testing.T, uid string, ok func(*radstreamv1.StudyPrepared, event.Subject) bool) *radstreamv1.StudyPrepared {
	t.Helper()
	key := s.key(t, tenant).Study(event.StudyUID(uid))
	return awaitRevision(t, s.bus, event.PreparedOf(tenant, key), ok)
}

// TestPriors: a study names the newest earlier study of its patient, also when that comes late.
func TestPriors(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	at := func(uid, patient string, day int) proto.Message {
		m := study(uid, s.object(t, film(t, day), frontal))
		m.PatientId, m.StudyTime = patient, timestamppb.New(time.Date(2026, 1, day, 12, 0, 0, 0, time.UTC))
		return m
	}
	prior := func(uid string, days uint32) func(*radstreamv1.StudyPrepared, event.Subject) bool {
		want := ""
		if uid != "" {
			want = string(s.key(t, tenant).Study(event.StudyUID(uid)))
		}
		return func(m *radstreamv1.StudyPrepared, _ event.Subject) bool {
			return m.GetPrior().GetStudyKey() == want && m.GetPrior().GetDays() == days
		}
	}
	send := func(uid, patient string, day int) {
		t.Helper()
		s.send(t, uid, at(uid, patient, day))
		s.await(t, uid)
	}
	send("2.25.20", "P-1", 20)
	send("2.25.21", "P-2", 10)
	s.awaitPrepared(t, "2.25.20", prior("", 0))
	send("2.25.25", "P-1", 25)
	if m, _ := s.prepared(t, tenant, "2.25.25"); m.GetRev() != 1 || !prior("2.25.20", 5)(m, "") {
		t.Errorf("with an earlier study there, the first revision says %v", m.GetPrior())
	}
	send("2.25.10", "P-1", 10) // late
	if m := s.awaitPrepared(t, "2.25.20", prior("2.25.10", 10)); m.GetRev() != 2 {
		t.Errorf("the late prior made revision %d", m.GetRev())
	}
	send("2.25.23", "P-1", 23) // between the two
	s.awaitPrepared(t, "2.25.25", prior("2.25.23", 2))
	s.awaitPrepared(t, "2.25.23", prior("2.25.20", 3))
	// The prior turns out to be another patient's: its follow-up gets the one before.
	s.send(t, "correction", &radstreamv1.PatientMerged{StudyUid: "2.25.23", MergedPatientId: "P-1", PatientId: "P-2"})
	s.await(t, "correction")
	s.awaitPrepared(t, "2.25.25", prior("2.25.20", 5))
	s.awaitPrepared(t, "2.25.23", prior("2.25.21", 13))
}

// TestMerge: merges move what is there and what comes, in a chain, and take up what was refused
// for its patient.
func TestMerge(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	key := s.key(t, tenant)
	of := func(patient string) func(*radstreamv1.StudyPrepared, event.Subject) bool {
		want := string(key.Patient(event.PatientID(patient), ""))
		return func(m *radstreamv1.StudyPrepared, on event.Subject) bool {
			return m.GetPatientKey() == want && strings.Contains(string(on), "."+want+".")
		}
	}
	a := study("2.25.1", s.object(t, film(t, 1), frontal))
	a.PatientId = "A"
	s.send(t, "a", a)
	s.expect(t, "a", event.StudyIndexed, 1)
	refused := report("2.25.1", "FINDINGS: Small nodule.")
	refused.PatientId = "B"
	s.send(t, "refused", refused)
	s.expect(t, "refused", event.Rejected, 0)

	s.sendRaw(t, "merge", event.PatientMerged, event.HL7v2, "MSH|^~\\&|ADT|H|||20260101||ADT^A40^ADT_A39|1|P|2.5\rEVN||20260101\rPID|1||B^^^H^MR\rMRG|A^^^H^MR\r")
	if m := s.await(t, "merge"); m.Type != event.ArrivalNoted && m.Type != event.StudyIndexed {
		t.Fatalf("the merge ends as %s: %s", m.Type, m.Body)
	}
	m := s.awaitPrepared(t, "2.25.1", func(m *radstreamv1.StudyPrepared, on event.Subject) bool {
		return of("B")(m, on) && m.GetReport() != nil
	})
	if m.GetReport().GetText() != "Small nodule." || len(m.GetViews()) != 1 {
		t.Errorf("after the merge the study is %v", m)
	}
	old := event.PreparedSubject(tenant, key.Patient("A", ""), key.Study("2.25.1"))
	awaitType(t, s.bus, old, event.StudyMoved)

	// The old identifier goes on to arrive.
	a = study("2.25.1", s.object(t, film(t, 2), lateral))
	a.PatientId = "A"
	s.send(t, "a again", a)
	s.await(t, "a again")
	s.awaitPrepared(t, "2.25.1", func(m *radstreamv1.StudyPrepared, on event.Subject) bool {
		return of("B")(m, on) && len(m.GetViews()) == 2
	})
	s.send(t, "chain", &radstreamv1.PatientMerged{PatientId: "C", MergedPatientId: "B"})
	m = s.awaitPrepared(t, "2.25.1", of("C"))
	late := study("2.25.2", s.object(t, film(t, 3), frontal))
	late.PatientId = "A"
	s.send(t, "late", late)
	s.await(t, "late")
	s.awaitPrepared(t, "2.25.2", of("C"))

	// The index follows: one point, the same id, the surviving patient.
	awaitIndexed(t, s.bus, key.Study("2.25.1"), event.Rev(m.GetRev()))
	if p := s.points(t)[string(key.Study("2.25.1"))]; p.PatientKey != string(key.Patient("C", "")) {
		t.Errorf("the index has the patient %s at revision %d", p.PatientKey, p.Rev)
	}
	s.findsItself(t, "2.25.1")
	for id, m := range map[string]*radstreamv1.PatientMerged{
		"blank":  {PatientId: " ", MergedPatientId: "P-1"},
		"padded": {PatientId: "P-1 ", MergedPatientId: "P-1"},
		"back":   {PatientId: "A", MergedPatientId: "C"}, "elsewhere": {PatientId: "D", MergedPatientId: "A"}, "itself": {PatientId: "A", MergedPatientId: "A"},
	} {
		s.send(t, id, m)
		s.expect(t, id, event.Rejected, 0)
	}
}
