package hl7_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/hl7"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// outcome puts what became of a message in one line: kinds, statuses and the sections that
// package report finds, or kind and reason of the refusal. No text, no identifiers.
func outcome(t testing.TB, messages []report.Message, err error) string {
	t.Helper()
	var parts []string
	for _, m := range messages {
		part := string(m.Kind)
		if m.Status != "" {
			part += " " + string(m.Status)
		}
		for _, s := range sections(t, m.Text) {
			part += " " + s.Name
		}
		if m.Accession != "" {
			part += " +accession"
		}
		if m.StudyUID != "" {
			part += " +study"
		}
		if m.PatientID != "" {
			part += " +patient"
		}
		parts = append(parts, part)
	}
	if err != nil {
		parts = append(parts, fault.KindOf(err).String()+" "+string(fault.ReasonOf(err)))
	}
	return strings.Join(parts, "; ")
}

// sections returns what package report makes of text.
func sections(t testing.TB, text string) []report.Section {
	t.Helper()
	steps, err := report.Explain(text, deid.Known{}, words{}, 512)
	if err != nil && fault.ReasonOf(err) != report.ReasonEmpty {
		t.Errorf("report.Explain: %v", err)
	}
	return steps.Sections
}

// words is a tokenizer that gives every word a token.
type words struct{}

func (words) Encode(text string) []int32 { return make([]int32, len(strings.Fields(text))+2) }
func (words) ID() string                 { return "words" }

func TestSamples(t *testing.T) {
	dir := realdata.Path(t, "hl7fhir/hl7v2")
	if dir == "" {
		return
	}
	want := map[string]string{
		"hapi_ORM-O01_2.hl7":                           "unsupported order_no_report",
		"hapi_ORM-O01_3.hl7":                           "unsupported order_no_report",
		"hapi_ORM-O01_4.hl7":                           "unsupported order_no_report",
		"hapi_ORU-R01_1.hl7":                           "report preliminary findings +accession +patient",
		"linuxforhealth_ORU-multiline-short-mixed.hl7": "report final findings +accession +patient",
		"linuxforhealth_ORU-multiline-short.hl7":       "report final findings +accession +patient",
		"linuxforhealth_sample_unix.hl7":               "invalid hl7_separators",
		"linuxforhealth_sample_win.hl7":                "invalid hl7_separators",
		"ms-fhir-converter_MDM_01.hl7":                 "unsupported hl7_message_type", // ADT^A01, whatever its name
		"ms-fhir-converter_OMG-O19-01.hl7":             "unsupported order_no_report",
		"ms-fhir-converter_ORM-O01-01.hl7":             "unsupported order_no_report",
		"ms-fhir-converter_ORM-O01-03.hl7":             "unsupported order_no_report",
		"ms-fhir-converter_ORU-R01-01.hl7":             "report final findings +accession +patient",
		"node-hl7-complete_bad-phone-example.hl7":      "unsupported hl7_message_type", // SIU
		"node-hl7-complete_mdm-example.hl7":            "report final findings impression +patient",
		"node-hl7-complete_nist_ORU_R01.hl7":           "unsupported no_report_text", // numbers only
		"node-hl7-complete_orm-example.hl7":            "unsupported order_no_report",
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.hl7"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := hl7.Parse(data)
		got[filepath.Base(file)] = outcome(t, messages, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}
