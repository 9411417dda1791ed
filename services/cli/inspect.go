package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/config"
)

func (c *cli) inspect() *cobra.Command {
	var strict bool
	var pictures pictures
	conf := config.Default().Ingest
	cmd := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Show what ingest makes of a file; no server needed",
		Long: `Show what ingest makes of each file: syntax, geometry, figures of the stored values, view,
rescale, window and lookup tables, quality, which attributes go on or stay behind, and the
text in its pixels, which may name the patient. A file that cannot be used has an error in its
place. The exit code is 3 when no file can be used, or with --strict when any cannot.

With --png, the 224 x 224 view as the model would see it is written for each file that gives
one, even if prepare would refuse it (see quality): the padding hatched, what was removed
outlined in red. The pictures lie in DIR as the files do in the folder that holds them all,
with .png added to their names. Films show patients: keep the pictures as you keep the films.`,
		Example: `  radstream inspect film.dcm
  radstream inspect *.dcm --json | jq .error
  radstream inspect --png views --force film.dcm   # writes views/film.dcm.png`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) (err error) {
			if err := pictures.plan(files); err != nil {
				return err
			}
			text, err := openText(conf)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, text.Close()) }()
			bad := 0
			var unread error // the first that the command line names and nobody can read
			for _, file := range files {
				data, err := readBounded(file, blob.DefaultMaxBytes)
				if fault.KindOf(err) == fault.Usage {
					unread = cmp.Or(unread, err)
				}
				i := ingest.Inspect(data, file)
				if err != nil {
					i = ingest.Inspection{File: file, Error: &ingest.InspectionError{Kind: fault.KindOf(err).String(), Reason: string(fault.ReasonOf(err)), Detail: fault.Detail(err)}}
				}
				if i.Error != nil {
					bad++
				} else if err := text.look(cmd.Context(), &i, data); err != nil {
					return err
				}
				if err := pictures.draw(file, &i); err != nil {
					return err
				}
				if c.JSON {
					err = c.PrintJSON(i)
				} else {
					err = c.printInspection(i)
				}
				if err != nil {
					return err
				}
			}
			if unread != nil {
				return unread
			}
			if bad == len(files) || strict && bad > 0 {
				return fault.Reject("", fault.Invalid, "unreadable", "%d of %d files cannot be used: see their errors above", bad, len(files))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "exit 3 when any file cannot be used")
	cmd.Flags().StringVar(&pictures.dir, "png", "", "write a picture of each view under this folder")
	cmd.Flags().BoolVar(&pictures.force, "force", false, "with --png, replace pictures that are there")
	cmd.Flags().StringVar(&conf.BurnedInText, "burned-in-text", conf.BurnedInText, "policy for text in the pixels: remove, remove-with-markers, or off, which does not look for any")
	cmd.Flags().StringVar(&conf.OCRDir, "ocr-dir", os.Getenv(ocrDirEnv), "folder of the text recognition graphs; empty searches the usual places ["+ocrDirEnv+"]")
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
	printGrey(row, i)
	row("quality", "%s", strings.TrimSuffix(i.Quality+": "+i.QualityDetail, ": "))
	if i.PNG != "" {
		row("picture", "%s", i.PNG)
	}
	printTags(row, i.Tags)
	for _, t := range i.BurnedInText {
		what, becomes := t.Kind, "stays"
		if t.Matches != "" {
			what += " equal to " + t.Matches
		}
		if t.Removed {
			becomes = "removed"
		}
		row("text", "%q at %d,%d to %d,%d: %s, %s", t.Text, t.X0, t.Y0, t.X1, t.Y1, what, becomes)
	}
	if i.Error != nil {
		row("error", "%s: %s", i.Error.Reason, i.Error.Detail)
	}
	return w.Flush()
}

// printGrey prints how stored values become grey.
func printGrey(row func(name, format string, args ...any), i ingest.Inspection) {
	lut := func(l *ingest.InspectedLUT) string {
		return fmt.Sprintf("LUT of %d entries from %d, %d bits", l.Entries, l.First, l.Bits)
	}
	switch {
	case i.ModalityLUT != nil:
		row("modality", "%s", lut(i.ModalityLUT))
	case i.RescaleSlope != nil:
		row("modality", "slope %g, intercept %g", *i.RescaleSlope, *i.RescaleIntercept)
	}
	if p := i.PixelPadding; p != nil {
		row("padding", "%d to %d", p[0], p[1])
	}
	for n, v := range i.VOI {
		text := ""
		if v.LUT != nil {
			text = lut(v.LUT)
		} else {
			text = strings.TrimSpace(fmt.Sprintf("window of center %g, width %g %s", *v.Center, *v.Width, strings.ToLower(i.VOIFunction)))
		}
		switch {
		case i.VOIUsed != nil && *i.VOIUsed == n:
			text += ": used"
		case v.Unfit != "":
			text += ": unfit, " + v.Unfit
		}
		row("offered", "%s", text)
	}
	switch {
	case i.WindowWidth != nil:
		row("window", "%s, center %g, width %g", i.WindowPolicy, *i.WindowCenter, *i.WindowWidth)
	default:
		row("window", "%s", i.WindowPolicy)
	}
	if i.Inverted {
		row("inverted", "the lowest value is white")
	}
}
