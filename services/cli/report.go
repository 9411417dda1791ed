package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/fhir"
	"github.com/radstream/radstream/ingest/hl7"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/ingest/report/label"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

func (c *cli) report() *cobra.Command {
	return &cobra.Command{
		Use:   "report FILE|-",
		Short: "Show what ingest makes of a report: sections, what is removed, each cleaning stage, tokens, labels",
		Long: `Show what ingest makes of a report: its sections, the names, dates and numbers that are taken
out of them, the text after each cleaning stage, the tokens, and the CheXpert-14 labels with the
words that made them. What was taken out is shown as it stood there: the output may identify the
patient. The report is plain text, an HL7 v2 message (ORU, MDM), or a FHIR DiagnosticReport or
C-CDA document; of several reports in one message each is shown.`,
		Example: `  radstream report report.txt
  echo "FINDINGS: No pneumothorax." | radstream report - --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := c.readReport(args[0])
			if err != nil {
				return err
			}
			reports, err := readReports(data)
			if err != nil {
				return err
			}
			tok, err := tokenizer.BERTBaseCased()
			if err != nil {
				return err
			}
			for _, m := range reports {
				known := deid.Known{Names: m.Names, IDs: append([]string{string(m.PatientID), string(m.StudyUID), string(m.Accession), m.ReportID}, m.IDs...)}
				steps, err := report.Explain(m.Text, known, tok, model.Tiny().Text.MaxLength)
				if err != nil {
					return err
				}
				if err := c.printReport(steps); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// readReports returns the reports that data holds: a message by its first bytes, else text.
func readReports(data []byte) ([]report.Message, error) {
	read := func([]byte) ([]report.Message, error) {
		return []report.Message{{Kind: report.KindReport, Text: string(data)}}, nil
	}
	switch start := bytes.TrimLeft(data, "\ufeff \t\r\n"); {
	case hl7.Is(data):
		read = hl7.Parse
	case bytes.HasPrefix(start, []byte("{")), bytes.HasPrefix(start, []byte("<")):
		read = fhir.Parse
	}
	messages, err := read(data)
	if err != nil {
		return nil, err
	}
	messages = slices.DeleteFunc(messages, func(m report.Message) bool { return m.Kind != report.KindReport })
	if len(messages) == 0 {
		return nil, fault.Reject("cli.report", fault.Unsupported, "no_report", "the message changes a patient and holds no report")
	}
	return messages, nil
}

func (c *cli) printReport(steps report.Steps) error {
	if c.JSON {
		return c.PrintJSON(steps)
	}
	for _, s := range steps.Sections {
		fmt.Fprintf(c.Stdout, "== section %s\n%s\n", s.Name, s.Text)
	}
	fmt.Fprintf(c.Stdout, "-- %d removed\n", len(steps.Removed))
	for _, r := range steps.Removed {
		fmt.Fprintf(c.Stdout, "%s: %q\n", r.Kind, r.Text)
	}
	for _, s := range steps.Stages {
		fmt.Fprintf(c.Stdout, "-- after %s\n%s\n", s.Name, s.Text)
	}
	fmt.Fprintf(c.Stdout, "-- %d tokens\n%v\n-- labels\n", len(steps.Tokens), steps.Tokens)
	for _, f := range steps.Labels {
		if f.Value == label.Absent {
			continue
		}
		fmt.Fprintf(c.Stdout, "%s: %s", f.Label, f.Value)
		for _, e := range f.Evidence {
			fmt.Fprintf(c.Stdout, "  [%s: %s]", strings.TrimSpace(e.Cue+" "+e.Mention), e.Value)
		}
		fmt.Fprintln(c.Stdout)
	}
	return nil
}

// readReport reads a message or a text; what reads it says how long it may be.
func (c *cli) readReport(name string) ([]byte, error) {
	const most = max(hl7.MaxBytes, fhir.MaxBytes)
	if name != "-" {
		return readBounded(name, most)
	}
	text, err := io.ReadAll(io.LimitReader(c.Stdin, most+1))
	return text, fault.E("", fault.Internal, err)
}
