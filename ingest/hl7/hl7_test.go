package hl7_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/radstream/radstream/ingest/hl7"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/ingest/report/reporttest"
	"github.com/radstream/radstream/schemas/fault"
)

// unordered leaves out what puts versions in order, which has a test of its own.
var unordered = cmpopts.IgnoreFields(report.Message{}, "ReportID", "Issued", "Made", "Names", "IDs")

// lines makes a message of segments.
func lines(segments ...string) string { return strings.Join(segments, "\r") + "\r" }

// msh is the first segment of a message of type kind.
func msh(kind string) string {
	return `MSH|^~\&|RIS|HOSP|RAD|HOSP|20240102030405||` + kind + `|7|P|2.5.1`
}

const (
	pid = "PID|1||555^^^HOSP^SS~P77^^^HOSP&1.2&ISO^MR||DOE^JANE"
	obr = "OBR|1|PL1^CPOE|FI1^RIS|36643-5^XR CHEST 2V^LN|||202401011230+0100|||||||||||ACC1|||||||F"
)

func one(t *testing.T, message string) report.Message {
	t.Helper()
	messages, err := hl7.Parse([]byte(message))
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	return messages[0]
}

func TestResult(t *testing.T) {
	got := one(t, lines(msh("ORU^R01^ORU_R01"), pid, "ORC|RE|PL1|FI1", obr,
		"OBX|1|ST|113014^DICOM Study^DCM||1.2.3.4||||||O",
		"OBX|2|TX|36643-5&GDT^XR CHEST^LN||Heart size is normal.||||||F",
		"OBX|3|TX|36643-5&GDT^XR CHEST^LN||No effusion \\T\\ no pneumothorax.||||||F",
		"OBX|4|FT|36643-5&IMP^XR CHEST^LN||Normal chest.\\.br\\No change.||||||F",
	))
	want := report.Message{
		Kind: report.KindReport, Status: report.StatusFinal,
		Text:      "FINDINGS:\nHeart size is normal.\nNo effusion & no pneumothorax.\nIMPRESSION:\nNormal chest.\nNo change.",
		Accession: "ACC1", StudyUID: "1.2.3.4", PatientID: "P77",
	}
	if diff := cmp.Diff(want, got, unordered); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []string{fmt.Sprint(got), fmt.Sprintf("%+v", got), fmt.Sprintf("%#v", got)} {
		if text != "report.Message(report final)" {
			t.Errorf("prints as %q", text)
		}
	}
	if diff := cmp.Diff([]report.Section{
		{Name: "findings", Text: "Heart size is normal.\nNo effusion & no pneumothorax."},
		{Name: "impression", Text: "Normal chest.\nNo change."},
	}, reporttest.Sections(t, got.Text)); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
}

// TestZone: the zone of MSH-7 is that of the times of its message that have none.
func TestZone(t *testing.T) {
	for _, c := range []struct{ made, issued, want string }{
		{"20240102030405+0900", "20240102020000", "2024-01-01T17:00:00Z"},
		{"20240102030405+0900", "20240102020000-0500", "2024-01-02T07:00:00Z"},
		{"20240102030405+0900", "", "2024-01-01T18:04:05Z"},
		{"20240102030405", "20240102020000", "2024-01-02T02:00:00Z"},
		{"2024-01-02T03:04:05", "20240102020000", "2024-01-02T02:00:00Z"},
	} {
		head := strings.Replace(msh("ORU^R01"), "20240102030405", c.made, 1)
		at := one(t, lines(head, pid, strings.Replace(obr, "|ACC1|||||||F", "|ACC1||||"+c.issued+"|||F", 1), "OBX|1|TX|||Clear.")).Issued
		if got := at.Format(time.RFC3339); got != c.want {
			t.Errorf("MSH-7 %s and OBR-22 %q give %s, not %s", c.made, c.issued, got, c.want)
		}
	}
}

// TestText: what OBX say, by type and heading.
func TestText(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("FINDINGS: Clear.\nIMPRESSION: Normal."))
	for _, c := range []struct {
		name string
		obx  []string
		want string
	}{
		{"one heading only", []string{"OBX|1|TX|FIND^FINDINGS^L||Clear.", "OBX|2|TX|FIND^FINDINGS^L||Dry."}, "Clear.\nDry."},
		{"a whole report", []string{"OBX|1|FT|&GDT^REPORT||HISTORY: cough.\\.br\\FINDINGS: clear."}, "HISTORY: cough.\nFINDINGS: clear."},
		{"LOINC sections", []string{"OBX|1|TX|18785-6^^LN||Cough.", "OBX|2|TX|59776-5^^LN||Clear.", "OBX|3|TX|19005-8^^LN||Normal."},
			"INDICATION:\nCough.\nFINDINGS:\nClear.\nIMPRESSION:\nNormal."},
		{"alternate code", []string{"OBX|1|TX|77^x^L^19005-8^^LN||Normal."}, "IMPRESSION:\nNormal."},
		{"no code before an impression", []string{"OBX|1|TX|71020^CHEST^L||Clear.", "OBX|2|TX|71020&IMP^CHEST^L||Normal."},
			"FINDINGS:\nClear.\nIMPRESSION:\nNormal."},
		{"letterhead", []string{"OBX|1|TX|71020^CHEST^L||HOSP", "OBX|2|TX|71020&GDT^CHEST^L||Clear.", "OBX|3|TX|71020&IMP^CHEST^L||Normal."},
			"HOSP\nFINDINGS:\nClear.\nIMPRESSION:\nNormal."},
		{"repetitions are lines", []string{"OBX|1|TX|^^||Clear.~Dry.~~End."}, "Clear.\nDry.\n\nEnd."},
		{"empty lines stay", []string{"OBX|1|TX|||Clear.", "OBX|2|TX|||", "OBX|3|TX|||Dry."}, "Clear.\n\nDry."},
		{"typed separators", []string{"OBX|1|TX|||Hila & apices at T^4."}, "Hila & apices at T^4."},
		{"coded", []string{"OBX|1|CWE|||123^Pneumonia^SCT~^Effusion"}, "Pneumonia\nEffusion"},
		{"coded answers", []string{"OBX|1|CWE|1^Pneumothorax^L||2^Absent^L", "OBX|2|CE|3^Effusion^L||N^No", "OBX|4|CWE|5^Scar^L||U^Unknown", "OBX|3|CWE|19005-8^Study impression^LN||4^Normal"}, "FINDINGS:\nPneumothorax Absent.\nNo Effusion.\nUnknown\nIMPRESSION:\nNormal"},
		{"encapsulated", []string{"OBX|1|ED|||RIS^TEXT^plain^Base64^" + encoded}, "FINDINGS: Clear.\nIMPRESSION: Normal."},
		{"encapsulated twice", []string{"OBX|1|ED|||^TEXT^^Base64^" + encoded + "~^TEXT^^A^Dry."}, "FINDINGS: Clear.\nIMPRESSION: Normal.\nDry."},
		{"encapsulated, typed separators", []string{"OBX|1|ED|||^TEXT^^A^Clear.~Dry ^ and~~small.~^TEXT^plain^A^More.~End.^^"}, "Clear.\nDry ^ and\n\nsmall.\nMore.\nEnd."},
		{"encapsulated, escaped", []string{"OBX|1|ED|||^TEXT^^A^\\R\\5 cm~\\S\\"}, "~5 cm\n^"},
		{"encapsulated, nothing behind base64", []string{"OBX|1|ED|||^TEXT^^Base64^" + encoded + "^~x"}, "FINDINGS: Clear.\nIMPRESSION: Normal."},
		{"encapsulated, no text behind base64", []string{"OBX|1|ED|||^TEXT^^Base64^" + encoded + "~x"}, "FINDINGS: Clear.\nIMPRESSION: Normal."},
		{"notes on a line", []string{"OBX|1|TX|&GDT||Clear.", "NTE|1|L|Dry.~Thin.", "NTE|2||No \\T\\ air.", "OBX|2|TX|&IMP||Normal.", "PRT|1", "NTE|1|L|Seen by two.|RE"},
			"FINDINGS:\nClear.\nDry.\nThin.\nNo & air.\nIMPRESSION:\nNormal.\nSeen by two."},
		{"notes on the whole", []string{"NTE|1||Rotated.", "NTE|2||Supine.", "OBX|1|TX|&GDT||Clear."}, "Clear."},
		{"notes alone", []string{"NTE|1||FINDINGS: Clear.", "ZXX|1", "NTE|2||IMPRESSION: Normal.", "OBX|1|ST|113014^DICOM Study^DCM||1.2.3", "NTE|1||x"}, "FINDINGS: Clear.\nIMPRESSION: Normal."},
		{"a note under an empty line", []string{"OBX|1|TX|&GDT||", "NTE|1||Clear."}, "Clear."},
		{"notes of others", []string{"TQ1|1", "NTE|1||Twice.", "OBX|1|TX|||Clear.", "NTE|1|P|Exclude mass.", "NTE|2||Cough.|1R^Reason", "NTE|3||\"\"", "NTE|4|| ", "SPM|1", "NTE|1||Specimen.",
			"OBX|2|NM|||42", "NTE|1||A number.", "OBX|3|TX|||Wrong.||||||D", "NTE|1||Wrong too."}, "Clear."},
		{"a note that is a file", []string{"OBX|1|TX|||Clear.", "NTE|1||JVBERi0xLjQ="}, "Clear."},
		{"without a type", []string{"OBX|1|||| Clear.", "OBX|2|TX|||Dry."}, " Clear.\nDry."},
		{"continued in ADD", []string{"OBX|1|TX|||Clear at b", "ADD|oth ba", "ADD|ses.||||||F", "OBX|2|TX|||Dry."}, "Clear at both bases.\nDry."},
		{"text beside a PDF", []string{"OBX|1|ED|||RIS^AP^PDF^Base64^JVBERi0xLjQ=", "OBX|2|TX|||Clear."}, "Clear."},
		{"numbers are no text", []string{"OBX|1|NM|||42", "OBX|2|TX|||Clear."}, "Clear."},
		{"a line taken back", []string{"OBX|1|TX|||Wrong.||||||D", "OBX|2|TX|||Clear.||||||F"}, "Clear."},
		{"a line wrapped by hand", []string{"OBX|1|TX|||Clear at\nboth bases.||||||F"}, "Clear at\nboth bases."},
		{"wrapped by hand at a word of three capitals", []string{"OBX|1|TX|||Exam:\nCXR\nLarge effusion.||||||F"}, "Exam:\nCXR\nLarge effusion."},
		{"run together", []string{"OBX|1|TX|||Clear.|||  OBX|2|TX|||Dry."}, "Clear.\nDry."},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := one(t, lines(append([]string{msh("ORU^R01"), pid, obr}, c.obx...)...))
			if diff := cmp.Diff(c.want, got.Text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		kind, result, line, txa string
		want                    report.Status
	}{
		{"ORU^R01", "F", "F", "", report.StatusFinal},
		{"ORU^R01", "P", "F", "", report.StatusPreliminary},
		{"ORU^R01", "C", "F", "", report.StatusCorrected},
		{"ORU^R01", "X", "", "", report.StatusRetracted},
		{"ORU^R01", "F", "C", "", report.StatusCorrected},
		{"ORU^R01", "", "P", "", report.StatusPreliminary},
		{"ORU^R01", "", "F", "", report.StatusFinal},
		{"ORU^R01", "", "", "", ""},
		{"ORU^R01", "F", "W", "", report.StatusRetracted},
		{"MDM^T02", "", "", "LA", report.StatusFinal},
		{"MDM^T02", "", "", "DI", report.StatusPreliminary},
		{"MDM^T06", "", "", "AU", report.StatusAddendum},
		{"MDM^T08", "", "", "AU", report.StatusCorrected},
		{"MDM^T10", "", "", "AU", report.StatusCorrected},
		{"MDM^T11", "", "", "AU", report.StatusRetracted},
		{"MDM^T02", "", "", "LA||CA", report.StatusRetracted},
		{"MDM^T02", "", "X", "AU", report.StatusRetracted},
	} {
		segments := []string{msh(c.kind), pid, "OBR|1||FI1|" + strings.Repeat("|", 21) + c.result}
		if c.txa != "" {
			segments = append(segments, "TXA|1|DI|TX"+strings.Repeat("|", 14)+c.txa)
		}
		segments = append(segments, "OBX|1|TX|||Clear.||||||"+c.line)
		if got := one(t, lines(segments...)); got.Status != c.want {
			t.Errorf("%s, OBR-25 %q, OBX-11 %q, TXA-17 %q: %q, want %q", c.kind, c.result, c.line, c.txa, got.Status, c.want)
		}
	}
	addendum := one(t, lines(msh("ORU^R01"), pid, obr, "OBX|1|TX|&GDT||Clear.||||||F", "OBX|2|TX|&ADT||A nodule.||||||F"))
	if addendum.Status != report.StatusAddendum || addendum.Text != "FINDINGS:\nClear.\nADDENDUM:\nA nodule." {
		t.Errorf("%v: %q", addendum, addendum.Text)
	}
	if got := one(t, lines(msh("MDM^T11"), pid, obr, "TXA|1|DI")); got.Status != report.StatusRetracted || got.Accession != "ACC1" || got.Text != "" {
		t.Errorf("a cancelled document without text: %v", got)
	}
}

func TestIdentifiers(t *testing.T) {
	for _, c := range []struct {
		name     string
		segments []string
		want     report.Message
	}{
		{"placer field", []string{pid, obr}, report.Message{Accession: "ACC1", PatientID: "P77"}},
		{"filler", []string{pid, "OBR|1|PL1^X|FI1^Y"}, report.Message{Accession: "FI1", PatientID: "P77"}},
		{"filler of ORC", []string{pid, "ORC|RE|PL9|FI9", "OBR|1|PL1"}, report.Message{Accession: "FI9", PatientID: "P77"}},
		{"placer", []string{pid, "OBR|1|PL1^X"}, report.Message{Accession: "PL1", PatientID: "P77"}},
		{"placer of ORC", []string{pid, "ORC|RE|PL9", "OBR|1"}, report.Message{Accession: "PL9", PatientID: "P77"}},
		{"ZDS", []string{pid, "OBR|1||FI1", "ZDS|1.2.840.1^RIS^Application^DICOM"}, report.Message{Accession: "FI1", PatientID: "P77", StudyUID: "1.2.840.1"}},
		{"no UID in ZDS", []string{pid, "OBR|1||FI1", "ZDS|DOE^JANE"}, report.Message{Accession: "FI1", PatientID: "P77"}},
		{"first identifier", []string{"PID|1||A1~B2", "OBR|1"}, report.Message{PatientID: "A1"}},
		{"internal identifier", []string{"PID|1||A1^^^H^AN~B2^^^H^PI", "OBR|1"}, report.Message{PatientID: "B2"}},
		{"old senders", []string{"PID|1|C3", "OBR|1"}, report.Message{PatientID: "C3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := one(t, lines(append(append([]string{msh("ORU^R01")}, c.segments...), "OBX|1|TX|||Clear.")...))
			got.Kind, got.Status, got.Text = "", "", ""
			if diff := cmp.Diff(c.want, got, unordered); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNotesOf: which notes are of which report, and none of the patient or the order.
func TestNotesOf(t *testing.T) {
	got, err := hl7.Parse([]byte(lines(msh("ORU^R01"), pid, "NTE|1||Of the patient.", "PV1|1", "NTE|1||Of the visit.",
		"ORC|RE", "NTE|1||Of the order.", "OBR|1||A1", "OBX|1|TX|||One.", "NTE|1||Of one.||7^Vexley^Quorra", "ORC|RE", "NTE|1||Of the order.",
		"OBR|2||A2", "NTE|1||Of two.", "PID|1||P2", "NTE|1||Of the patient.", "OBX|1|TX|||Of the patient.")))
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if got[0].Text != "One.\nOf one." || got[1].Text != "Of two." || !slices.Contains(got[0].Names, "Vexley Quorra") {
		t.Errorf("%q %q %q", got[0].Text, got[1].Text, got[0].Names)
	}
	document := one(t, lines(msh("MDM^T02"), pid, "NTE|1||Of the patient.", obr, "NTE|1||Of the order.", "TXA|1|DI", "OBX|1|TX|||One.", "NTE|1||Of one."))
	if document.Text != "One.\nOf one." {
		t.Errorf("a document: %q", document.Text)
	}
	// What is taken back stays so, whatever is noted on it.
	back := one(t, lines(msh("MDM^T02"), pid, obr, "TXA|1|DI", "OBX|1|TX|||Wrong.||||||X", "NTE|1||Not done."))
	if back.Status != report.StatusRetracted || back.Text != "" {
		t.Errorf("taken back: %v %q", back, back.Text)
	}
}

// TestSeveral: each order is a report; those with one accession number are one.
func TestSeveral(t *testing.T) {
	got, err := hl7.Parse([]byte(lines(msh("ORU^R01"), pid,
		"OBR|1||A1", "OBX|1|TX|||One.", "OBR|2||A2", "OBR|3||A3", "OBX|1|TX|||Three.", "OBR|4||A1", "OBX|1|TX|&IMP||Four.",
		"PID|1||P2", "OBR|1||A1", "OBX|1|TX|||Other.",
	)))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, m := range got {
		texts = append(texts, string(m.PatientID)+" "+string(m.Accession)+" "+m.Text)
	}
	want := []string{"P77 A1 One.\n\nIMPRESSION:\nFour.", "P77 A3 Three.", "P2 A1 Other."}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCancelledProcedure: of two procedures under one accession number one is cancelled, and
// what is said of the other stands, whichever comes first.
func TestCancelledProcedure(t *testing.T) {
	said := []string{"OBR|1||FI1|" + strings.Repeat("|", 21) + "F", "OBX|1|TX|||Clear.||||||F"}
	cancelled := []string{"OBR|2||FI1|" + strings.Repeat("|", 21) + "X", "OBX|1|TX|||Not done.||||||X"}
	for _, c := range []struct {
		orders [][]string
		want   report.Status
		text   string
	}{
		{[][]string{said, cancelled}, report.StatusFinal, "Clear."},
		{[][]string{cancelled, said}, report.StatusFinal, "Clear."},
		{[][]string{cancelled, cancelled}, report.StatusRetracted, ""},
	} {
		got := one(t, lines(append([]string{msh("ORU^R01"), pid}, slices.Concat(c.orders...)...)...))
		if got.Status != c.want || got.Text != c.text {
			t.Errorf("%v: %q %q", c.orders, got.Status, got.Text)
		}
	}
	// One of another number takes back what that number said before.
	obr := func(filler, status string) string {
		return "OBR|1||" + filler + strings.Repeat("|", 15) + "AC" + strings.Repeat("|", 7) + status
	}
	said[0] = obr("FI1", "F")
	other := obr("FI2", "X")
	for _, orders := range [][]string{append(slices.Clone(said), other, other), append([]string{other, other}, said...)} {
		all, err := hl7.Parse([]byte(lines(append([]string{msh("ORU^R01"), pid}, orders...)...)))
		if err != nil || len(all) != 2 || all[0].Status != report.StatusFinal || all[0].ReportID != "FI1" || all[0].Text != "Clear." ||
			all[1].Status != report.StatusRetracted || all[1].ReportID != "FI2" || all[0].Accession != "AC" || all[1].Accession != "AC" {
			t.Errorf("%v %v", all, err)
		}
	}
}

func TestPatients(t *testing.T) {
	for _, c := range []struct {
		name     string
		segments []string
		want     []report.Message
	}{
		{"A08", []string{msh("ADT^A08"), "EVN|A08", pid}, []report.Message{{Kind: report.KindPatient, PatientID: "P77"}}},
		{"A31", []string{msh("ADT^A31"), "EVN||20240101", pid}, []report.Message{{Kind: report.KindPatient, PatientID: "P77"}}},
		{"A40", []string{msh("ADT^A40^ADT_A39"), "EVN||20240101", pid, "MRG|OLD^^^HOSP^MR", "PID|||Q", "MRG|R"}, []report.Message{
			{Kind: report.KindMerge, PatientID: "P77", PatientMerge: "OLD"},
			{Kind: report.KindMerge, PatientID: "Q", PatientMerge: "R"},
		}},
		{"A34 by EVN", []string{msh("ADT"), "EVN|A34", pid, "MRG|OLD"}, []report.Message{{Kind: report.KindMerge, PatientID: "P77", PatientMerge: "OLD"}}},
	} {
		got, err := hl7.Parse([]byte(lines(c.segments...)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got, unordered); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestForms: the same message however it is wrapped is the same report.
func TestForms(t *testing.T) {
	message := lines(msh("ORU^R01"), pid, obr, "OBX|1|TX|||Clear.||||||F")
	want := one(t, message)
	other := strings.NewReplacer("|", "!", "^", "*", "~", "%", "\\", "/", "&", "$").Replace(message)
	for name, form := range map[string]string{
		"LF":               strings.ReplaceAll(message, "\r", "\n"),
		"CRLF":             strings.ReplaceAll(message, "\r", "\r\n"),
		"MLLP":             "\x0b" + message + "\x1c\r",
		"byte order mark":  "\ufeff" + message,
		"batch":            "FHS|^~\\&|X\rBHS|^~\\&\r" + message + "BTS|1\rFTS|1\r",
		"no last line end": strings.TrimSuffix(message, "\r"),
		"other separators": other,
		"truncation":       strings.Replace(message, `^~\&|`, `^~\&#|`, 1),
	} {
		if diff := cmp.Diff(want, one(t, form), unordered); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	raw, err := hl7.Split([]byte("\x0b" + message + "\x1c\r\x0b" + message + "\x1c\r"))
	if err != nil || len(raw) != 2 || !bytes.HasPrefix(raw[1], []byte("MSH|")) {
		t.Errorf("two frames: %d, %v", len(raw), err)
	}
	got, err := hl7.Parse([]byte("BHS|^~\\&\r" + message + lines(msh("ORM^O01")) + message + "BTS|3\r"))
	if len(got) != 2 || fault.ReasonOf(err) != hl7.ReasonOrder || fault.KindOf(err) != fault.Unsupported {
		t.Errorf("a batch with an order: %d reports, %v", len(got), err)
	}
}

func TestCharacters(t *testing.T) {
	text := func(charset, word string) (string, error) {
		head := msh("ORU^R01") + strings.Repeat("|", 6) + charset
		m, err := hl7.Parse([]byte(lines(head, pid, obr, "OBX|1|TX|||"+word)))
		if err != nil {
			return "", err
		}
		return m[0].Text, nil
	}
	for _, c := range []struct{ charset, word, want string }{
		{"", "caf\xc3\xa9", "café"},
		{"", "caf\xe9 \x93x\x94", "café “x”"},
		{"ASCII", "caf\xe9", "café"},
		{"UNICODE UTF-8", "caf\xc3\xa9", "café"},
		{"8859/1", "caf\xc3\xa9", "cafÃ©"},
		{"8859/1~8859/15", "caf\xe9", "café"},
		{"UNICODE UTF-8", "caf\xe9", "invalid hl7_character_set"},
		{"ISO IR87", "x", "unsupported hl7_character_set"},
	} {
		got, err := text(c.charset, c.word)
		if err != nil {
			got = fault.KindOf(err).String() + " " + string(fault.ReasonOf(err))
		}
		if got != c.want {
			t.Errorf("%s %q: %q, want %q", c.charset, c.word, got, c.want)
		}
	}
}

// TestRefusals: each has its kind and reason, names a field, and holds no value.
func TestRefusals(t *testing.T) {
	secret := "SECRET"
	var people strings.Builder
	for i := range hl7.MaxPeople + 1 {
		fmt.Fprintf(&people, "NK1|1|%s%d\r", secret, i)
	}
	file := func(kind, subtype, data string) string {
		return lines(msh("ORU^R01"), "PID|||"+secret, "OBR|1||"+secret, "OBX|1|ED|||"+kind+"^"+kind+"^"+subtype+"^Base64^"+base64.StdEncoding.EncodeToString([]byte(data)))
	}
	for _, c := range []struct {
		name, message string
		kind          fault.Kind
		reason        fault.Reason
		names         string
	}{
		{"empty", "", fault.Invalid, hl7.ReasonNotHL7, "MSH"},
		{"something else", secret, fault.Invalid, hl7.ReasonNotHL7, "MSH"},
		{"JSON", `{"resourceType":"DiagnosticReport"}`, fault.Invalid, hl7.ReasonNotHL7, "MSH"},
		{"a batch of nothing", "FHS|^~\\&\rFTS|0\r", fault.Invalid, hl7.ReasonNotHL7, "MSH"},
		{"too large", "MSH|^~\\&|" + strings.Repeat("x", hl7.MaxBytes), fault.Invalid, hl7.ReasonTooLarge, "bytes"},
		{"too many segments", lines(msh("ORU^R01")) + strings.Repeat("OBX|\r", hl7.MaxSegments), fault.Invalid, hl7.ReasonTooLarge, "segments"},
		{"too many people", lines(msh("ORU^R01"), "OBR|1||A1", "OBX|1|TX|||Clear.") + people.String(), fault.Invalid, hl7.ReasonTooLarge, "names"},
		{"too many messages", strings.Repeat("MSH|\r", hl7.MaxMessages+1), fault.Invalid, hl7.ReasonTooLarge, "messages"},
		{"separators", "MSH|^~|" + secret, fault.Invalid, hl7.ReasonSeparators, "MSH-2"},
		{"equal separators", `MSH|^~\\&|` + secret, fault.Invalid, hl7.ReasonSeparators, "MSH-2"},
		{"version 3", strings.Replace(lines(msh("ORU^R01")), "2.5.1", "3.0"+secret, 1), fault.Unsupported, hl7.ReasonVersion, "MSH-12"},
		{"no type", lines(msh("")), fault.Unsupported, hl7.ReasonType, "MSH-9"},
		{"schedule", lines(msh("SIU^S12"), "PID|||"+secret), fault.Unsupported, hl7.ReasonType, "MSH-9"},
		{"admission", lines(msh("ADT^A01"), "PID|||"+secret), fault.Unsupported, hl7.ReasonType, "MSH-9"},
		{"order", lines(msh("ORM^O01"), "PID|||"+secret), fault.Unsupported, hl7.ReasonOrder, "ORU^R01"},
		{"imaging order", lines(msh("OMI^O23"), "PID|||"+secret), fault.Unsupported, hl7.ReasonOrder, "MSH-9"},
		{"no OBR", lines(msh("ORU^R01"), "PID|||"+secret), fault.Unsupported, hl7.ReasonNoText, "OBR"},
		{"no OBX", lines(msh("ORU^R01"), "OBR|1||"+secret), fault.Unsupported, hl7.ReasonNoText, "OBX-5"},
		{"numbers", lines(msh("ORU^R01"), "OBR|1", "OBX|1|NM|||"+secret), fault.Unsupported, hl7.ReasonNoText, "OBX-5"},
		{"announcement", lines(msh("MDM^T01"), "TXA|1|"+secret), fault.Unsupported, hl7.ReasonNoText, "T02"},
		{"PDF", file(secret, "PDF", "%PDF-1.4 "+secret), fault.Unsupported, hl7.ReasonDocument, "a PDF"},
		{"PDF named text", file("TEXT", "plain", "%PDF-1.4 "+secret), fault.Unsupported, hl7.ReasonDocument, "a PDF"},
		{"RTF", file("AP", "", `{\rtf1 `+secret+"}"), fault.Unsupported, hl7.ReasonDocument, "an RTF"},
		{"RTF in a text", lines(msh("ORU^R01"), "OBR|1", `OBX|1|FT|||{\E\rtf1 `+secret+"}"), fault.Unsupported, hl7.ReasonDocument, "an RTF"},
		{"image", file("IM", "JPEG", secret), fault.Unsupported, hl7.ReasonDocument, "image"},
		{"PDF in a note", lines(msh("ORU^R01"), "OBR|1", "NTE|1||JVBERi0"+secret), fault.Unsupported, hl7.ReasonDocument, "NTE-3"},
		{"PDF with notes", file("AP", "PDF", "%PDF") + lines("NTE|1||"+secret), fault.Unsupported, hl7.ReasonDocument, "a PDF"},
		{"number with notes", lines(msh("ORU^R01"), "OBR|1", "NTE|1||"+secret, "OBX|1|NM|||42", "NTE|1||"+secret), fault.Unsupported, hl7.ReasonNoText, "OBX-5"},
		{"only the orderer's notes", lines(msh("ORU^R01"), "OBR|1", "NTE|1|P|"+secret), fault.Unsupported, hl7.ReasonNoText, "OBX-5"},
		{"not base64", lines(msh("ORU^R01"), "OBR|1", "OBX|1|ED|||^TEXT^^Base64^@@"+secret), fault.Invalid, hl7.ReasonDocument, "OBX-5.4"},
		{"update of nobody", lines(msh("ADT^A08"), "PID|1"), fault.Invalid, hl7.ReasonNoPatient, "PID-3"},
		{"merge with nobody", lines(msh("ADT^A40"), "PID|||"+secret, "MRG|"), fault.Invalid, hl7.ReasonNoPatient, "MRG-1"},
		{"merge without MRG", lines(msh("ADT^A40"), "PID|||"+secret), fault.Invalid, hl7.ReasonNoPatient, "MRG-1"},
	} {
		messages, err := hl7.Parse([]byte(c.message))
		if len(messages) > 0 || err == nil {
			t.Errorf("%s: %d messages, %v", c.name, len(messages), err)
			continue
		}
		if fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.names) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %s %s %q", c.name, fault.KindOf(err), fault.ReasonOf(err), err)
		}
	}
}

// TestPeople: whom the segments beside PID and OBR name must leave the text as well.
func TestPeople(t *testing.T) {
	for _, segment := range []string{
		"PD1||||4711^VEXLEY^QUORRA", "NK1|1|VEXLEY^QUORRA", "GT1|1||VEXLEY^QUORRA", "IN1|1|||||||||||||||VEXLEY^QUORRA",
		"ROL|1|AD|PP|4711^VEXLEY^QUORRA", "PV1||I|||||||||||||||||||" + strings.Repeat("|", 31) + "4711^VEXLEY^QUORRA",
		"PRT|1|AD||PI|4711^VEXLEY^QUORRA",
	} {
		if r := one(t, lines(msh("ORU^R01"), pid, segment, obr, "OBX|1|TX|||Clear.")); !slices.Contains(r.Names, "VEXLEY QUORRA") {
			t.Errorf("%.3s: the names are %q", segment, r.Names)
		}
	}
}

// TestManyRepetitions: a name behind many others is known too, or the message is refused.
func TestManyRepetitions(t *testing.T) {
	physicians := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = "D1^Same^Name"
		}
		return strings.Join(append(all, "D2^Vexley^Quorra"), "~")
	}
	message := func(n int) []byte {
		return []byte(lines(msh("ORU^R01"), pid, "OBR|1||FI1"+strings.Repeat("|", 25)+physicians(n), "OBX|1|TX|||Clear.||||||F"))
	}
	if m, err := hl7.Parse(message(100)); err != nil || !slices.Contains(m[0].Names, "Vexley Quorra") {
		t.Errorf("%v %v", m, err)
	}
	if m, err := hl7.Parse(message(hl7.MaxPeople)); fault.ReasonOf(err) != hl7.ReasonTooLarge {
		t.Errorf("too many: %v %v", m, err)
	}
}

func TestIs(t *testing.T) {
	for data, want := range map[string]bool{
		"MSH|^~\\&|": true, "\x0bMSH!*%/+": true, "\xef\xbb\xbf\r\nFHS|": true, "BHS|": true, "MSH": true,
		"": false, "PID|": false, "MSHA": false, "MSH was seen.": false, "{}": false, "<ClinicalDocument>": false,
	} {
		if hl7.Is([]byte(data)) != want {
			t.Errorf("%q: %t", data, !want)
		}
	}
}
