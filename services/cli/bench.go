package cli

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/ingest/ocr"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bench"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/progress"
)

func (c *cli) bench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Time ingest, encoders and index; test burned-in text removal on your own films",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.benchText(), c.benchDecode(), c.benchPrepare(), c.benchEmbed(), c.benchSearch())
	return cmd
}

func (c *cli) benchText() *cobra.Command {
	var conf bench.TextConfig
	var pictures string
	ingest := config.Default().Ingest
	cmd := &cobra.Command{
		Use:   "text --films DIR...",
		Short: "Plant texts in films and count what burned-in text removal leaves",
		Long: `Plant made-up names, dates and ids in films, in eight fonts, 10 to 40 pixels, light and dark,
turned by up to 5 degrees, remove burned-in text as ingest does, and count the texts of which
at least 95 % of the pixels were removed or whose film was refused. Then do the same with films
as they are: whatever changes there should be text of theirs. No server is needed.`,
		Example: `  radstream bench text --films /path/to/films --strings 20 --untouched 20`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			text, err := openText(ingest)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, text.Close()) }()
			bars := progress.New(c.Stderr, c.JSON)
			planted, untouched := bars.Add("planted", conf.Strings), bars.Add("untouched", conf.Untouched)
			conf.Progress = func(p, u int) { planted.Set(p); untouched.Set(u) }
			if pictures != "" {
				conf.Picture = func(name string, f pixel.Film, boxes []ocr.Box) error {
					return outline(filepath.Join(pictures, name+".png"), f, boxes)
				}
			}
			figures, err := bench.Text(cmd.Context(), conf, text.Burned)
			bars.Finish()
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(figures)
			}
			c.printTextFigures(conf, figures)
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&conf.Films, "films", nil, "folders of JPEG and PNG films")
	cmd.Flags().IntVar(&conf.Strings, "strings", 500, "texts to plant")
	cmd.Flags().IntVar(&conf.Untouched, "untouched", 500, "films to look at as they are")
	cmd.Flags().IntVar(&conf.Skip, "skip", 0, "texts and films to pass over first: a long run can be cut in pieces")
	cmd.Flags().Uint64Var(&conf.Seed, "seed", 1, "seed of the texts and the order of the films")
	cmd.Flags().Float64Var(&conf.Clear, "clear", 60, "grey levels between a text and its surroundings from which it counts as clear")
	cmd.Flags().StringVar(&pictures, "pictures", "", "existing folder for pictures of misses and changes; they show what is on the films")
	cmd.Flags().StringVar(&ingest.OCRDir, "ocr-dir", os.Getenv(ocrDirEnv), "folder of the text recognition graphs; empty searches the usual places ["+ocrDirEnv+"]")
	return cmd
}

func (c *cli) printTextFigures(conf bench.TextConfig, f bench.TextFigures) {
	for _, m := range f.Missed {
		fmt.Fprintf(c.Stdout, "missed   %-24s %-18s %2d px %5.1f deg, level %3d, contrast %5.1f, %3.0f %% removed  %s\n",
			m.Text, m.Font, m.Size, m.Angle, m.Level, m.Contrast, 100*m.Found, m.Film)
	}
	for _, ch := range f.Changed {
		how := ""
		if ch.Rejected {
			how = " and refused"
		}
		fmt.Fprintf(c.Stdout, "changed%s  %s: %.2f %% of its pixels, for %q\n", how, ch.Film, 100*ch.Share, ch.Texts)
	}
	line := func(name string, r bench.Recall) {
		fmt.Fprintf(c.Stdout, "%s: %d of %d texts found (%.1f %%), %d of them by refusing the film\n", name, r.Found, r.Texts, 100*r.Recall, r.Rejected)
	}
	line(fmt.Sprintf("contrast of %g grey levels or more", conf.Clear), f.Clear)
	line("fainter", f.Faint)
	fmt.Fprintf(c.Stdout, "as they are: %d of %d films changed (%.2f %%); see above for what was taken for text\n",
		len(f.Changed), f.Untouched, 100*float64(len(f.Changed))/float64(max(f.Untouched, 1)))
	var markers []string
	for _, m := range slices.Sorted(maps.Keys(f.Markers)) {
		markers = append(markers, fmt.Sprintf("%s %d", m, f.Markers[m]))
	}
	fmt.Fprintf(c.Stdout, "markers read: %s\n", strings.Join(markers, ", "))
	fmt.Fprintf(c.Stdout, "%.2f s a film as it is, %.2f s with a planted text (%s)\n", f.Seconds, f.WithText, f.Recogniser)
}

// outline writes a film as a picture with boxes drawn on it.
func outline(path string, f pixel.Film, boxes []ocr.Box) (err error) {
	const op = "cli.outline"
	grey, err := pixel.Grey(f, pixel.Auto)
	if err != nil {
		return err
	}
	for _, b := range boxes {
		for x := b.X0; x < b.X1; x++ {
			grey[b.Y0*f.Columns+x], grey[(b.Y1-1)*f.Columns+x] = 255, 255
		}
		for y := b.Y0; y < b.Y1; y++ {
			grey[y*f.Columns+b.X0], grey[y*f.Columns+b.X1-1] = 255, 255
		}
	}
	file, err := os.Create(path)
	if err != nil {
		return fault.E(op, fault.Usage, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return fault.E(op, fault.Internal, png.Encode(file, &image.Gray{Pix: grey, Stride: f.Columns, Rect: image.Rect(0, 0, f.Columns, f.Rows)}))
}
