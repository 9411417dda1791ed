package fhir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/fhir"
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
	dir := realdata.Path(t, "hl7fhir/fhir")
	if dir == "" {
		return
	}
	want := map[string]string{
		"DiagnosticReport-102.json":          "report final impression findings", // the narrative
		"DiagnosticReport-f201.json":         "report final impression",
		"DiagnosticReport-ultrasound.json":   "report final impression",
		"Diagnostic_Imaging_Report.ccda.xml": "report final findings impression +accession +study +patient",
		"Endpoint-example-wadors.json":       "unsupported no_diagnostic_report",
		"ImagingStudy-example-xr.json":       "unsupported no_diagnostic_report",
		"ImagingStudy-example.json":          "unsupported no_diagnostic_report",
		"Media-xray.json":                    "unsupported no_diagnostic_report",
		"Patient-dicom.json":                 "unsupported no_diagnostic_report",
		"ServiceRequest-di.json":             "unsupported no_diagnostic_report",
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := fhir.Parse(data)
		got[filepath.Base(file)] = outcome(t, messages, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}
