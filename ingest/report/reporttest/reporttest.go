// Package reporttest says what became of the messages of hospitals, for the tests of the packages
// that read them.
package reporttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// Samples parses the collected messages of a folder of [realdata], those whose names match pattern,
// and compares the outcomes by file name with want: see [outcome].
func Samples(t *testing.T, folder, pattern string, parse func([]byte) ([]report.Message, error), want map[string]string) {
	t.Helper()
	dir := realdata.Path(t, folder)
	if dir == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := parse(data)
		got[filepath.Base(file)] = outcome(t, messages, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// outcome puts what became of a message in one line: kinds, statuses and the sections that
// package report finds, or kind and reason of the refusal. No text, no identifiers.
func outcome(t *testing.T, messages []report.Message, err error) string {
	t.Helper()
	var parts []string
	for _, m := range messages {
		part := string(m.Kind)
		if m.Status != "" {
			part += " " + string(m.Status)
		}
		for _, s := range Sections(t, m.Text) {
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

// Sections returns what package report makes of text.
func Sections(t *testing.T, text string) []report.Section {
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
