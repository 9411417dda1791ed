package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/blob"
)

func (c *cli) inspect() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Show what ingest makes of a file; no server needed",
		Long: `Show what ingest makes of each file: syntax, geometry, figures of the stored values, view,
window, quality. A file that cannot be used has an error in its place. The exit code is 3
when no file can be used, or with --strict when any cannot.`,
		Example: `  radstream inspect film.dcm
  radstream inspect *.dcm --json | jq .error`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			bad := 0
			for _, file := range files {
				data, err := readBounded(file, blob.DefaultMaxBytes)
				if err != nil {
					return err
				}
				i := ingest.Inspect(data, file)
				if i.Error != nil {
					bad++
				}
				if c.json {
					err = c.printJSON(i)
				} else {
					err = c.printInspection(i)
				}
				if err != nil {
					return err
				}
			}
			if bad == len(files) || strict && bad > 0 {
				return fault.Reject("", fault.Invalid, "unreadable", "%d of %d files cannot be used: see their errors above", bad, len(files))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "exit 3 when any file cannot be used")
	return cmd
}

func (c *cli) printInspection(i ingest.Inspection) error {
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\n", i.File)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t"+format+"\n", append([]any{name}, args...)...)
	}
	row("syntax", "%s", i.TransferSyntax)
	row("image", "%s %d x %d, %d frames, %d samples, %d bits, %s", i.Modality, i.Columns, i.Rows, i.Frames, i.Samples, i.BitsStored, i.Photometric)
	if i.PxMin != nil {
		row("stored values", "%d to %d, mean %.4f", *i.PxMin, *i.PxMax, *i.PxMean)
		row("sha256", "%s", i.PxSHA256)
	}
	if i.ViewConfidence != nil {
		row("view", "%s, confidence %.2f by %s", i.View, *i.ViewConfidence, i.ViewSource)
	}
	row("window", "%s", i.WindowPolicy)
	row("quality", "%s", strings.TrimSuffix(i.Quality+": "+i.QualityDetail, ": "))
	if i.Error != nil {
		row("error", "%s: %s", i.Error.Reason, i.Error.Detail)
	}
	return w.Flush()
}
