package fhir_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/ingest/fhir"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/ingest/report/reporttest"
	"github.com/radstream/radstream/schemas/fault"
)

// unordered leaves out what puts versions in order, which has a test of its own.
var unordered = cmpopts.IgnoreFields(report.Message{}, "ReportID", "Issued", "Made", "Names", "IDs")

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// dr makes a DiagnosticReport with more fields.
func dr(fields string) string {
	return `{"resourceType":"DiagnosticReport","id":"r","status":"final","code":{"text":"x"}` + fields + `}`
}

func form(kind, text string) string {
	return `{"contentType":"` + kind + `","data":"` + b64(text) + `"}`
}

func one(t *testing.T, message string) report.Message {
	t.Helper()
	messages, err := fhir.Parse([]byte(message))
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	return messages[0]
}

const bundle = `{"resourceType":"Bundle","type":"collection","identifier":{"value":"b"},"entry":[
	{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","id":"p","identifier":[
		{"use":"usual","value":"U1"},{"type":{"coding":[{"code":"MR"}]},"value":"M2"}]}},
	{"fullUrl":"http://hosp/fhir/ImagingStudy/s","resource":{"resourceType":"ImagingStudy","id":"s","started":"2024-01-01T10:00:00Z",
		"identifier":[{"system":"urn:dicom:uid","value":"urn:oid:1.2.3"}],"basedOn":[{"reference":"ServiceRequest/o"}]}},
	{"resource":{"resourceType":"ServiceRequest","id":"o","identifier":[
		{"type":{"coding":[{"code":"PLAC"}]},"value":"PL"},{"type":{"coding":[{"code":"ACSN"}]},"value":"AC"}]}},
	{"resource":{"resourceType":"Observation","id":"f","status":"final","code":{"coding":[{"code":"59776-5"}]},"valueString":"Clear."}},
	{"resource":{"resourceType":"Observation","id":"g","status":"entered-in-error","code":{"text":"Findings"},"valueString":"Wrong."}},
	{"resource":{"resourceType":"Observation","id":"n","status":"final","code":{"text":"n"},"valueQuantity":{"value":3}}},
	{"resource":{"resourceType":"Questionnaire","id":"q","identifier":7}},
	{"request":{"method":"DELETE"}},
	{"fullUrl":"urn:uuid:9","resource":{"resourceType":"DiagnosticReport","id":"r","status":"amended","code":{"text":"CXR"},
		"identifier":[{"value":"REPORT-9"}],"subject":{"reference":"urn:uuid:1"},
		"%s":[{"reference":"ImagingStudy/s/_history/2"}],
		"result":[{"reference":"Observation/f"},{"reference":"Observation/g"},{"reference":"Observation/n"},{"reference":"Observation/elsewhere"}],
		"conclusion":"Normal chest."}}]}`

func TestBundle(t *testing.T) {
	want := report.Message{
		Kind: report.KindReport, Status: report.StatusCorrected, Text: "FINDINGS:\nClear.\nIMPRESSION:\nNormal chest.",
		Accession: "AC", StudyUID: "1.2.3", PatientID: "M2",
	}
	for _, field := range []string{"imagingStudy", "study"} { // R4, R5
		got := one(t, fmt.Sprintf(bundle, field))
		if diff := cmp.Diff(want, got, unordered); diff != "" {
			t.Errorf("%s (-want +got):\n%s", field, diff)
		}
		if diff := cmp.Diff([]report.Section{{Name: "findings", Text: "Clear."}, {Name: "impression", Text: "Normal chest."}}, reporttest.Sections(t, got.Text)); diff != "" {
			t.Errorf("sections (-want +got):\n%s", diff)
		}
	}
}

func TestText(t *testing.T) {
	html := "<html><head><title>x</title><style>p{}</style></head><body><p>Findings:<br>Lungs &lt; clear &amp; dry.</p><!-- no --><p><b>Impression:</b> Normal.</p></body></html>"
	div := `,"text":{"div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><h3>Impression</h3><p>Normal.</p></div>"}`
	observation := func(id, more string) string {
		return `{"resourceType":"Observation","id":"` + id + `","status":"final"` + more + `}`
	}
	for _, c := range []struct{ name, fields, want string }{
		{"conclusion", `,"conclusion":"Normal."` + div, "IMPRESSION:\nNormal."},
		{"narrative", div, "Impression\n\nNormal."},
		{"plain form", `,"presentedForm":[` + form("text/plain", "FINDINGS: Clear.\r\nIMPRESSION: Normal chest.\r\n") + `],"conclusion":"normal  chest."`, "FINDINGS: Clear.\nIMPRESSION: Normal chest."},
		{"form without the conclusion", `,"presentedForm":[` + form("text/plain", "Clear.") + `],"conclusion":"Normal."`, "Clear.\n\nIMPRESSION:\nNormal."},
		{"Latin-1 form", `,"presentedForm":[` + form("text/plain; charset=iso-8859-1", "caf\xe9") + `]`, "café"},
		{"UTF-16 form", `,"presentedForm":[` + form("text/plain;charset=UTF-16LE", "N\x00\xe9\x00") + `]`, "Né"},
		{"UTF-16 HTML form with a mark", `,"presentedForm":[` + form("text/html", "\xfe\xff\x00<\x00p\x00>\x00N\x00o") + `]`, "No"},
		{"ASCII form of another character set", `,"presentedForm":[` + form("text/plain; charset=windows-1250", "Clear.") + `]`, "Clear."},
		{"HTML list", `,"presentedForm":[` + form("text/html", "<p>No:</p><ul><li><p>edema</p></li>\n<li>mass</li></ul>Clear.") + `]`, "No:\n\n- edema\n\n- mass\n\nClear."},
		{"HTML with words struck out", `,"presentedForm":[` + form("text/html", `<p>Clear. <s class="x">Left <span>mass</span>.</s><DEL>Scar.</DEL> <content revised="delete">Edema.</content><content revised="insert">Dry.</content></p>`) + `]`, "Clear. Dry."},
		{"HTML with tags in what is struck out", `,"presentedForm":[` + form("text/html", `<p>Clear. <content revised='delete'><content>Mass.</content> Scar.</content><del/><n:del>Edema.</n:del><del>Rib.</del > Dry.</p>`) + `]`, "Clear. Dry."},
		{"HTML with tags that are never closed in what is struck out", `,"presentedForm":[` + form("text/html", `<p>Clear. <s>Mass. <del>Cyst.</del> Air.</p><p>Scar. <s>Rib</s> Lung. <strike>Pacer &lt; <br>Small <s>right<s> left effusion.<table><tr><td><del>Old</td><td>New.`) + `]`, "Clear.\n\nScar. Lung.\nSmall\n\nNew."},
		{"HTML form", `,"presentedForm":[` + form("text/html", html) + `]`, "Findings:\nLungs < clear & dry.\n\nImpression: Normal."},
		{"text before HTML", `,"presentedForm":[` + form("text/html", html) + `,` + form("text/plain", "Clear.") + `]`, "Clear."},
		{"text beside a PDF", `,"presentedForm":[` + form("application/pdf", "%PDF-1.4") + `,` + form("text/plain", "Clear.") + `]`, "Clear."},
		{"conclusion beside a PDF", `,"presentedForm":[` + form("application/pdf", "%PDF-1.4") + `],"conclusion":"Normal."`, "IMPRESSION:\nNormal."},
		{"contained results", `,"contained":[` + observation("a", `,"code":{"text":"Impression"},"valueString":"Normal."`) + `,` + observation("b", `,"valueCodeableConcept":{"coding":[{"display":"Effusion"}]}`) +
			`],"result":[{"reference":"#b"},{"reference":"#a"},{"reference":"#c"}]`, "FINDINGS:\nEffusion\nIMPRESSION:\nNormal."},
		{"coded answers", `,"contained":[` + observation("a", `,"code":{"text":"Pneumothorax"},"valueCodeableConcept":{"text":"Absent"},"component":[{"code":{"coding":[{"display":"Effusion"}]},"valueCodeableConcept":{"coding":[{"display":"Yes"}]}}]`) +
			`],"result":[{"reference":"#a"}]`, "Pneumothorax Absent.\nEffusion."},
		{"components", `,"contained":[` + observation("a", `,"component":[{"code":{"text":"Findings"},"valueString":"Clear."},{"code":{"text":"Impression"},"valueCodeableConcept":{"text":"Normal."}}]`) +
			`],"result":[{"reference":"#a"}]`, "FINDINGS:\nClear.\nIMPRESSION:\nNormal."},
		{"notes of results", `,"contained":[` + observation("a", `,"code":{"text":"Impression"},"valueString":"Normal.","component":[{"valueString":"Dry."}],"note":[{"text":" Seen by two. "},{"text":" "}]`) + `,` +
			observation("b", `,"code":{"text":"Findings"},"note":[{"authorString":"x","text":"Clear."}]`) + `,` + observation("c", `,"valueQuantity":{"value":3},"note":[{"text":"A number."}]`) + `,` +
			strings.Replace(observation("d", `,"valueString":"Wrong.","note":[{"text":"Wrong too."}]`), "final", "entered-in-error", 1) +
			`],"result":[{"reference":"#b"},{"reference":"#a"},{"reference":"#c"},{"reference":"#d"}]`, "FINDINGS:\nClear.\nIMPRESSION:\nNormal.\nFINDINGS:\nDry.\nIMPRESSION:\nSeen by two."},
		{"notes of the report", `,"conclusion":"Normal.","note":[{"text":"Rotated."},{"text":"Supine."}]`, "IMPRESSION:\nNormal.\nRotated.\nSupine."},
		{"notes beside results", `,"contained":[` + observation("a", `,"valueString":"Clear."`) + `],"result":[{"reference":"#a"}],"note":[{"text":"Supine."}]`, "FINDINGS:\nClear.\nIMPRESSION:\nSupine."},
		{"notes beside a form", `,"presentedForm":[` + form("text/plain", "Clear. Supine.") + `],"conclusion":"Normal.","note":[{"text":"Rotated."}]`, "Clear. Supine.\n\nIMPRESSION:\nNormal.\nRotated."},
		{"notes that the form holds", `,"presentedForm":[` + form("text/plain", "Clear. Supine.") + `],"note":[{"text":"supine."}]`, "Clear. Supine."},
		{"notes beside a narrative", div + `,"note":[{"text":"Rotated."}]`, "Impression\n\nNormal.\n\nIMPRESSION:\nRotated."},
		{"notes of results beside a narrative", div + `,"contained":[` + observation("a", `,"valueInteger":3,"note":[{"text":"Counted."},{"text":"Dry."}]`) + `],"result":[{"reference":"#a"}],"note":[{"text":"Rotated."}]`,
			"Impression\n\nNormal.\n\nIMPRESSION:\nCounted.\nDry.\nRotated."},
		{"notes alone", `,"note":[{"text":"FINDINGS: Clear."}]`, "FINDINGS: Clear."},
		{"codes alone", `,"conclusionCode":[{"coding":[{"code":"1"},{"display":"Pneumonia"}]},{"text":"Effusion"},{}],"note":[{"text":"Supine."}]`, "IMPRESSION:\nPneumonia\nEffusion\nSupine."},
		{"codes beside results", `,"contained":[` + observation("a", `,"valueString":"Opacity."`) + `],"result":[{"reference":"#a"}],"conclusionCode":[{"text":"Pneumonia"}]`, "FINDINGS:\nOpacity.\nIMPRESSION:\nPneumonia"},
		{"codes beside an impression", `,"contained":[` + observation("a", `,"code":{"text":"Impression"},"valueString":"Normal."`) + `],"result":[{"reference":"#a"}],"conclusionCode":[{"text":"Healthy"}]`, "IMPRESSION:\nNormal."},
		{"codes beside a conclusion", `,"conclusion":"Normal.","conclusionCode":[{"text":"Healthy"}]`, "IMPRESSION:\nNormal."},
		{"codes beside a form", `,"presentedForm":[` + form("text/plain", "Clear.") + `],"conclusionCode":[{"text":"Healthy"}]`, "Clear."},
		{"codes beside a narrative", div + `,"conclusionCode":[{"text":"Healthy"}]`, "Impression\n\nNormal."},
		{"panel that holds itself", `,"contained":[` + observation("a", `,"hasMember":[{"reference":"#a"},{"reference":"#b"}]`) + `,` + observation("b", `,"valueString":"Clear."`) + `],"result":[{"reference":"#a"}]`, "Clear."},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, one(t, dr(c.fields)).Text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for word, want := range map[string]report.Status{
		"registered": report.StatusPreliminary, "partial": report.StatusPreliminary, "preliminary": report.StatusPreliminary, "final": report.StatusFinal,
		"amended": report.StatusCorrected, "corrected": report.StatusCorrected, "modified": report.StatusCorrected, "appended": report.StatusAddendum,
		"cancelled": report.StatusRetracted, "entered-in-error": report.StatusRetracted, "unknown": "",
	} {
		if got := one(t, strings.Replace(dr(`,"conclusion":"Normal."`), `"final"`, `"`+word+`"`, 1)); got.Status != want {
			t.Errorf("%s: %q, want %q", word, got.Status, want)
		}
	}
	if got := one(t, `{"resourceType":"DiagnosticReport","status":"entered-in-error"}`); got.Status != report.StatusRetracted || got.Text != "" {
		t.Errorf("retracted without text: %v", got)
	}
}

func TestIdentifiers(t *testing.T) {
	typed := func(kind, value string) string {
		return `{"type":{"coding":[{"code":"` + kind + `"}]},"value":"` + value + `"}`
	}
	for _, c := range []struct {
		name, fields string
		want         report.Message
	}{
		{"of the report", `,"identifier":[{"value":"X"},` + typed("FILL", "F") + `,` + typed("ACSN", "A") + `]`, report.Message{Accession: "A"}},
		{"filler", `,"identifier":[` + typed("PLAC", "P") + `,` + typed("FILL", "F") + `]`, report.Message{Accession: "F"}},
		{"logical references", `,"basedOn":[{"identifier":` + typed("ACSN", "B") + `}],"imagingStudy":[{"identifier":{"system":"urn:dicom:uid","value":"urn:oid:1.2.4"}}],"subject":{"identifier":{"value":"S"}}`,
			report.Message{Accession: "B", StudyUID: "1.2.4", PatientID: "S"}},
		{"the report's own UID", `,"identifier":[{"system":"urn:dicom:uid","value":"urn:oid:1.2.5"}]`, report.Message{}},
		{"no UID", `,"study":[{"identifier":{"system":"urn:dicom:uid","value":"urn:oid:DOE"}}]`, report.Message{}},
		{"the server's ids", `,"subject":{"reference":"Patient/123"},"imagingStudy":[{"reference":"ImagingStudy/1"}]`, report.Message{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := one(t, dr(`,"conclusion":"Normal."`+c.fields))
			got.Kind, got.Status, got.Text = "", "", ""
			if diff := cmp.Diff(c.want, got, unordered); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

const document = `<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:p="urn:dicom-org:ps3-20"><effectiveTime value="20240103"/>
<recordTarget><patientRole><id root="1.2"/><id root="1.2" extension="P1"/></patientRole></recordTarget>
<legalAuthenticator><time value="20240104"/></legalAuthenticator>
<inFulfillmentOf><order><id extension="PL1"/><p:accessionNumber extension="AC1"/></order></inFulfillmentOf>
<documentationOf><serviceEvent><id root="1.2" extension="x"/><id root="1.2.3.4"/><effectiveTime><low value="20240102"/></effectiveTime></serviceEvent></documentationOf>
<relatedDocument typeCode="RPLC"/>
<component><structuredBody>
<component><section><code code="121181"/><title>DICOM Object Catalog</title><text>1.2.3</text></section></component>
<component><section><code code="1"/><title>Patient History</title><text>Cough.</text></section></component>
<component><section><code code="59776-5"/><title>x</title><text><paragraph>Clear.</paragraph><list><item>Dry.</item></list></text>
	<component><section><code code="2"/><title>Impression</title><text>Normal.</text></section></component></section></component>
</structuredBody></component></ClinicalDocument>`

func TestDocument(t *testing.T) {
	want := report.Message{
		Kind: report.KindReport, Status: report.StatusCorrected, Text: "PATIENT HISTORY:\nCough.\nFINDINGS:\nClear.\n\n- Dry.\nIMPRESSION:\nNormal.",
		Accession: "AC1", StudyUID: "1.2.3.4", PatientID: "P1",
	}
	got := one(t, document)
	if diff := cmp.Diff(want, got, unordered); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]report.Section{{Name: "findings", Text: "Clear.\n\n- Dry."}, {Name: "impression", Text: "Normal."}}, reporttest.Sections(t, got.Text)); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
}

// TestRefusals: each has its kind and reason, says what is expected, and holds no value.
func TestRefusals(t *testing.T) {
	secret := "SECRET"
	var people strings.Builder
	for i := range fhir.MaxPeople + 1 {
		fmt.Fprintf(&people, `,{"resource":{"resourceType":"Practitioner","name":[{"family":"%s%d"}]}}`, secret, i)
	}
	nested := dr(`,"conclusion":"x"`)
	for range fhir.MaxDepth + 1 {
		nested = `{"resourceType":"Bundle","entry":[{"resource":` + nested + `}]}`
	}
	for _, c := range []struct {
		name, message string
		kind          fault.Kind
		reason        fault.Reason
		says          string
	}{
		{"empty", "", fault.Invalid, fhir.ReasonNotFHIR, "JSON"},
		{"something else", secret, fault.Invalid, fhir.ReasonNotFHIR, "JSON"},
		{"a list", "[]", fault.Invalid, fhir.ReasonNotFHIR, "JSON"},
		{"no type", `{"id":"` + secret + `"}`, fault.Invalid, fhir.ReasonNotFHIR, "resourceType"},
		{"too large", strings.Repeat(" ", fhir.MaxBytes) + "{}", fault.Invalid, fhir.ReasonTooLarge, "bytes"},
		{"not UTF-8", `{"resourceType":"Patient","id":"` + "\xff" + `"}`, fault.Invalid, fhir.ReasonMalformed, "UTF-8"},
		{"cut off", dr("")[:60], fault.Invalid, fhir.ReasonMalformed, "JSON"},
		{"wrong type of a field", dr(`,"conclusion":12345`), fault.Invalid, fhir.ReasonMalformed, "conclusion"},
		{"too many people", `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"DiagnosticReport","conclusion":"Clear."}}` + people.String() + "]}", fault.Invalid, fhir.ReasonTooLarge, "names"},
		{"deep bundles", nested, fault.Invalid, fhir.ReasonTooLarge, "nest"},
		{"another resource", `{"resourceType":"Patient","id":"` + secret + `"}`, fault.Unsupported, fhir.ReasonType, "DiagnosticReport"},
		{"bundle without a report", `{"resourceType":"Bundle"}`, fault.Unsupported, fhir.ReasonType, "DiagnosticReport"},
		{"no text", dr(`,"subject":{"display":"` + secret + `"}`), fault.Unsupported, fhir.ReasonNoText, "conclusion"},
		{"PDF", dr(`,"presentedForm":[` + form("application/pdf", secret) + `]`), fault.Unsupported, fhir.ReasonDocument, "a PDF"},
		{"PDF with codes and notes", dr(`,"presentedForm":[` + form("application/pdf", secret) + `],"conclusionCode":[{"text":"` + secret + `"}],"note":[{"text":"` + secret + `"}]`), fault.Unsupported, fhir.ReasonDocument, "a PDF"},
		{"PDF with a note of a result", dr(`,"presentedForm":[` + form("application/pdf", secret) + `],"contained":[{"resourceType":"Observation","id":"a","status":"final","note":[{"text":"` + secret + `"}]}],"result":[{"reference":"#a"}]`), fault.Unsupported, fhir.ReasonDocument, "a PDF"},
		{"PDF without its type", dr(`,"presentedForm":[` + form("", "%PDF-1.4"+secret) + `]`), fault.Unsupported, fhir.ReasonDocument, "a PDF"},
		{"form of another character set", dr(`,"presentedForm":[` + form("text/plain; charset=iso-8859-2", "\xb1"+secret) + `]`), fault.Unsupported, fhir.ReasonDocument, "charset"},
		{"RTF", dr(`,"presentedForm":[` + form("text/plain", `{\rtf1 `+secret) + `]`), fault.Unsupported, fhir.ReasonDocument, "an RTF"},
		{"image", dr(`,"presentedForm":[` + form("image/png", secret) + `]`), fault.Unsupported, fhir.ReasonDocument, "neither"},
		{"elsewhere", dr(`,"presentedForm":[{"url":"http://` + secret + `"}]`), fault.Unsupported, fhir.ReasonDocument, "url"},
		{"not base64", dr(`,"presentedForm":[{"data":"@` + secret + `"}]`), fault.Invalid, fhir.ReasonMalformed, "base64"},
		{"FHIR as XML", `<DiagnosticReport xmlns="http://hl7.org/fhir"><id value="` + secret + `"/></DiagnosticReport>`, fault.Unsupported, fhir.ReasonXML, "application/fhir+json"},
		{"FHIR as XML with a prefix", `<f:Bundle xmlns:f="http://hl7.org/fhir"/>`, fault.Unsupported, fhir.ReasonXML, "application/fhir+json"},
		{"other XML", `<note>` + secret + `</note>`, fault.Invalid, fhir.ReasonNotFHIR, "ClinicalDocument"},
		{"broken XML", `<ClinicalDocument xmlns="urn:hl7-org:v3"><` + secret, fault.Invalid, fhir.ReasonMalformed, "XML"},
		{"document without sections", `<ClinicalDocument xmlns="urn:hl7-org:v3"/>`, fault.Unsupported, fhir.ReasonNoText, "structuredBody"},
		{"document as a file", `<ClinicalDocument xmlns="urn:hl7-org:v3"><component><nonXMLBody><text>x</text></nonXMLBody></component></ClinicalDocument>`, fault.Unsupported, fhir.ReasonDocument, "nonXMLBody"},
	} {
		messages, err := fhir.Parse([]byte(c.message))
		if len(messages) > 0 || err == nil {
			t.Errorf("%s: %d messages, %v", c.name, len(messages), err)
			continue
		}
		if fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "12345") {
			t.Errorf("%s: %s %s %q", c.name, fault.KindOf(err), fault.ReasonOf(err), err)
		}
	}
}

// TestSomeRefused: a bundle gives what it can.
func TestSomeRefused(t *testing.T) {
	messages, err := fhir.Parse([]byte(`{"resourceType":"Bundle","entry":[{"resource":` + dr("") + `},{"resource":` + dr(`,"conclusion":"Normal."`) + `}]}`))
	if len(messages) != 1 || fault.ReasonOf(err) != fhir.ReasonNoText {
		t.Errorf("%d messages, %v", len(messages), err)
	}
}

// TestSharedResults: reports that share large results are stopped, not multiplied.
func TestSharedResults(t *testing.T) {
	entries := []string{`{"resource":{"resourceType":"Observation","id":"o","valueString":"` + strings.Repeat("x", 1<<20) + `"}}`}
	for range 100 {
		entries = append(entries, `{"resource":`+dr(`,"result":[{"reference":"Observation/o"}]`)+`}`)
	}
	messages, err := fhir.Parse([]byte(`{"resourceType":"Bundle","entry":[` + strings.Join(entries, ",") + `]}`))
	if len(messages) != 2*fhir.MaxBytes>>20 || fault.ReasonOf(err) != fhir.ReasonTooLarge {
		t.Errorf("%d messages, %s", len(messages), fault.ReasonOf(err))
	}
}

// TestSharedEmptyNotes: many notes that say nothing cost as little, however many reports refer to
// them.
func TestSharedEmptyNotes(t *testing.T) {
	entries := []string{`{"resource":{"resourceType":"Observation","id":"o","valueString":"Clear.","note":[` + strings.Repeat(`{},`, 1<<20) + `{}]}}`}
	for range 100 {
		entries = append(entries, `{"resource":`+dr(`,"result":[{"reference":"Observation/o"}]`)+`}`)
	}
	messages, err := fhir.Parse([]byte(`{"resourceType":"Bundle","entry":[` + strings.Join(entries, ",") + `]}`))
	if len(messages) >= 2*fhir.MaxBytes>>20 || fault.ReasonOf(err) != fhir.ReasonTooLarge {
		t.Errorf("%d messages, %s", len(messages), fault.ReasonOf(err))
	}
}

// TestFormRoundTrip: a text that a server puts into a form comes back.
func TestFormRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[A-Za-zé0-9<>&.:]{1,9}`), 1, 20).Draw(t, "words")
		text := strings.Join(words, " ")
		page := "<div><p>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text) + "</p></div>"
		for kind, body := range map[string]string{"text/plain": text, "text/html": page} {
			if kind == "text/plain" && strings.HasPrefix(strings.ToLower(text), "<html") {
				continue
			}
			data, err := json.Marshal(map[string]any{"resourceType": "DiagnosticReport", "presentedForm": []map[string]string{{"contentType": kind, "data": b64(body)}}})
			if err != nil {
				t.Fatal(err)
			}
			messages, err := fhir.Parse(data)
			if err != nil || messages[0].Text != text {
				t.Fatalf("%s %q came back as %v, %v", kind, text, messages, err)
			}
		}
	})
}

// FuzzParse: whatever comes, there is a report or an error with a reason.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"resourceType":"","x":[{"a":{"b":[{"reference":"/_history/"}]}}]}`)) // a version of nothing
	f.Add([]byte(fmt.Sprintf(bundle, "study")))
	f.Add([]byte(document))
	f.Add([]byte(dr(`,"contained":[{"resourceType":"Observation","id":"a","code":{"text":"Findings"},"note":[{"text":"a\r"}]}],"result":[{"reference":"#a"}],"conclusionCode":[{"text":"b"}],"note":[{"authorString":"c","text":"d"}]`)))
	f.Add([]byte(dr(`,"text":{"div":"<div>a<b>c</b><pre>x\n y</pre><td>z<!-- -->&amp;< 3</div>"}`)))
	f.Add([]byte(dr(`,"presentedForm":[` + form("text/html", "<p>a<script>b</script>c") + `]`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, err := fhir.Parse(data)
		if len(messages) == 0 && err == nil {
			t.Error("neither a message nor an error")
		}
		if err != nil && (fault.ReasonOf(err) == "" || fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.Unsupported) {
			t.Errorf("%s %q: %v", fault.KindOf(err), fault.ReasonOf(err), err)
		}
		for _, m := range messages {
			if m.Text == "" && m.Status != report.StatusRetracted || !utf8.ValidString(m.Text) || strings.Contains(m.Text, "\r") {
				t.Errorf("text %q", m.Text)
			}
		}
	})
}
