package publish

import (
	"testing"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

const (
	mergeMessage  = "MSH|^~\\&|||||||ADT^A40|1|P|2.5\rPID|1||B\rMRG|A\r"
	reportMessage = "MSH|^~\\&|||||||ORU^R01|2|P|2.5\rPID|1||B\rOBR|1||A1\rOBX|1|TX|||Clear lungs.||||||F\r"
)

// TestMessages: a batch with an order among its messages is published but for the order, and
// each message is settled by its own answer.
func TestMessages(t *testing.T) {
	b, objects := station(t)
	dir := folder(t, map[string]string{
		"batch.hl7":   mergeMessage + "MSH|^~\\&|||||||ORM^O01|3|P|2.5\r" + reportMessage,
		"other.json":  "{}", // not named, so it is some list and no message
		"studies.csv": "study_id,image,report\n1,,Clear.\n",
	})
	named := folder(t, map[string]string{"report.json": `{"resourceType":"DiagnosticReport","status":"final","conclusion":"Clear.",` +
		`"identifier":[{"type":{"coding":[{"code":"ACSN"}]},"value":"A1"}]}`, "bad.json": "{"})
	plan, err := Scan(t.Context(), []string{dir, named + "/report.json", named + "/bad.json"})
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, p := range plan.Problems {
		reasons = append(reasons, p.Reason)
	}
	if len(plan.Messages) != 3 || len(plan.Studies) != 1 || len(reasons) != 2 || plan.Ignored[".json"] != 1 {
		t.Fatalf("%d messages, %d studies, problems %v, passed over %v", len(plan.Messages), len(plan.Studies), reasons, plan.Ignored)
	}
	if _, err := New(b, objects, Config{Tenant: tenant}).Run(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	types := map[event.Type]int{}
	for seq := uint64(1); seq <= 4; seq++ {
		m, err := b.Get(t.Context(), event.StreamStudies, seq)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Message(); err != nil {
			t.Error(err)
		}
		types[m.Type]++
	}
	if types[event.ReportArrived] != 2 || types[event.PatientMerged] != 1 || types[event.StudyArrived] != 1 {
		t.Errorf("published %v", types)
	}
}

// TestTrackNoted: reports that wait and merges are settled by ArrivalNoted, and a dead letter
// about a report that waited does not settle the study that it waited for.
func TestTrackNoted(t *testing.T) {
	tr := newTracker()
	tr.expect("waits", &arrival{parts: 1, paths: map[string]string{"": "a.hl7"}})
	tr.expect("merge", &arrival{parts: 1, merge: true})
	tr.expect("study", &arrival{parts: 1})
	tr.Total, tr.Published = 3, 3
	noted := func(cause event.MessageID) event.Envelope {
		return event.Envelope{Type: event.ArrivalNoted, Subject: event.UnchangedSubject(tenant, "x"), Cause: cause}
	}
	tr.see(noted("waits"))
	tr.see(prepared("merge", "k1", 2))
	tr.see(indexed("k1", 2))
	tr.see(noted("merge"))
	tr.reject("study", &radstreamv1.Rejected{Reason: "patient_mismatch", Part: "report", Input: &radstreamv1.InputRef{EventId: "waits"}})
	if tr.done() || tr.Noted != 2 || tr.Rejected != 0 || len(tr.rejections) != 1 {
		t.Fatalf("%+v, %v", tr.Progress, tr.rejections)
	}
	tr.see(prepared("study", "k2", 1))
	tr.see(indexed("k2", 1))
	if !tr.done() || tr.Indexed != 1 {
		t.Errorf("%+v", tr.Progress)
	}
}
