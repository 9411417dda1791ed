package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

func (c *cli) report() *cobra.Command {
	return &cobra.Command{
		Use:   "report FILE|-",
		Short: "Show what ingest makes of a report: sections, each cleaning stage, tokens",
		Example: `  radstream report report.txt
  echo "FINDINGS: No pneumothorax." | radstream report - --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := c.readReport(args[0])
			if err != nil {
				return err
			}
			tok, err := tokenizer.BERTBaseCased()
			if err != nil {
				return err
			}
			steps, err := report.Explain(string(text), tok, model.Tiny().Text.MaxLength)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(steps)
			}
			for _, s := range steps.Sections {
				fmt.Fprintf(c.Stdout, "== section %s\n%s\n", s.Name, s.Text)
			}
			for _, s := range steps.Stages {
				fmt.Fprintf(c.Stdout, "-- after %s\n%s\n", s.Name, s.Text)
			}
			fmt.Fprintf(c.Stdout, "-- %d tokens\n%v\n", len(steps.Tokens), steps.Tokens)
			return nil
		},
	}
}

func (c *cli) readReport(name string) ([]byte, error) {
	if name != "-" {
		return readBounded(name, report.MaxBytes)
	}
	text, err := io.ReadAll(io.LimitReader(c.Stdin, report.MaxBytes+1)) // one more, so that Explain sees that it is too long
	return text, fault.E("", fault.Internal, err)
}
