package traincli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer/films"
)

func (c *cli) views() *cobra.Command {
	o := films.DefaultOptions()
	var out string
	cmd := &cobra.Command{
		Use:   "views --out FILE",
		Short: "Make the classifier that ingest looks at films with",
		Long: `Make the small network by which ingest tells frontal from lateral films, and knows
films that are inverted, cut, or no chest films, from the collections of a folder and
phantoms. It needs no libtorch. The same films give the same file.`,
		Example: "  radtrain views --out ingest/pixel/classifier.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			read, err := films.Read(cmd.Context(), o, c.progress("films"))
			if err != nil {
				return err
			}
			f := read.Train(fmt.Sprintf("radtrain views --every %d --phantoms %d", o.Every, o.Phantoms), c.progress("networks"))
			if err := films.Write(out, f); err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(struct {
					File   string         `json:"file"`
					Films  map[string]int `json:"films"`
					Inputs string         `json:"films_sha256"`
				}{out, f.Films, f.Inputs})
			}
			fmt.Fprintf(c.Stdout, "%s\nnext: radtrain eval views and radtrain eval quality\n", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	_ = cmd.MarkFlagRequired("out") // the flag is there
	return ofFilms(cmd, &o)
}

// ofFilms gives cmd the flags that say what is read.
func ofFilms(cmd *cobra.Command, o *films.Options) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&o.Data, "data", o.Data, "folder of the collections")
	f.IntVar(&o.Every, "every", o.Every, "take every so many-th frontal film of the collections; laterals are all taken")
	f.IntVar(&o.Phantoms, "phantoms", o.Phantoms, "phantom studies to take beside them")
	return cmd
}

func (c *cli) evalViews() *cobra.Command {
	o := films.DefaultOptions()
	cmd := &cobra.Command{
		Use:   "views",
		Short: "Frontal or lateral: on each collection, by a classifier that did not see it",
		Long: `Leave one of the four collections that have laterals out at a time, make the classifier from
everything else, let it look at the films that were left out, and pool what it found.`,
		Example: "  radtrain eval views",
		RunE: func(cmd *cobra.Command, _ []string) error {
			read, err := films.Read(cmd.Context(), o, c.progress("films"))
			if err != nil {
				return err
			}
			v := read.EvaluateViews(c.progress("networks"))
			if c.JSON {
				return c.PrintJSON(v)
			}
			return printViews(c.Stdout, v)
		},
	}
	return ofFilms(cmd, &o)
}

func printViews(out io.Writer, v films.Views) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "left out\tlaterals recognised\tfrontals recognised\n")
	for _, s := range append(v.Sets, films.ViewsOfSet{Set: "all", Lateral: v.Lateral, Frontal: v.Frontal}) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Set, of(s.Lateral), of(s.Frontal))
	}
	fmt.Fprintf(w, "\nbalanced accuracy\t%s\n", interval(v.Balanced, v.CI))
	fmt.Fprintf(w, "  of the films inverted\t%.3f\n", v.Inverted)
	fmt.Fprintf(w, "if every header said frontal\t%s laterals right, %s frontals right\n\n", of(v.Overruled.Lateral), of(v.Overruled.Frontal))
	fmt.Fprintf(w, "not recognised\tlisted as\tlateral by the pixels\n")
	for _, m := range v.Misses {
		fmt.Fprintf(w, "%s/%s\t%s\t%.3f\n", m.Set, m.Film, m.Listed, m.Lateral)
	}
	return w.Flush()
}

func (c *cli) evalQuality() *cobra.Command {
	o := films.DefaultOptions()
	var shipped bool
	cmd := &cobra.Command{
		Use:   "quality",
		Short: "The quality gate: good films refused, spoilt films and other pictures caught",
		Long: `Put the films of the collections as they are, the same films with graded faults, and pictures
that are no chest films before the quality gate. Each is looked at by a classifier that saw
neither its patient nor its kind of picture; with --shipped by the one that ships, which
saw them.`,
		Example: "  radtrain eval quality",
		RunE: func(cmd *cobra.Command, _ []string) error {
			read, err := films.Read(cmd.Context(), o, c.progress("films"))
			if err != nil {
				return err
			}
			var classifier *pixel.Classifier
			if shipped {
				if classifier, err = pixel.NewClassifier(); err != nil {
					return err
				}
			}
			q := read.EvaluateQuality(classifier, pixel.DefaultLimits(), c.progress("networks"))
			if c.JSON {
				return c.PrintJSON(q)
			}
			return printQuality(c.Stdout, q)
		},
	}
	cmd.Flags().BoolVar(&shipped, "shipped", false, "let the classifier that ships look")
	return ofFilms(cmd, &o)
}

func printQuality(out io.Writer, q films.Quality) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	reasons := []fault.Reason{pixel.ReasonBlank, pixel.ReasonOverExposed, pixel.ReasonUnderExposed, pixel.ReasonBlurred, pixel.ReasonInverted, pixel.ReasonNotChest, pixel.ReasonCropped}
	fmt.Fprint(w, "films as they are\tfilms")
	for _, r := range reasons {
		fmt.Fprintf(w, "\t%s", r)
	}
	for _, s := range q.Films {
		fmt.Fprintf(w, "\n%s\t%d", s.Set, s.Films)
		for _, r := range reasons {
			fmt.Fprintf(w, "\t%d", s.Refused[r])
		}
	}
	fmt.Fprintf(w, "\nrefused, phantoms aside\t%s\n\nfault\tgrade\trefused\tfor that reason\n", of(q.Refused))
	for _, f := range q.Faults {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Reason, f.Grade, of(f.Refused), of(f.Named))
	}
	fmt.Fprintf(w, "all\t\t%s\t\n\nno chest film\t\trefused\tfor that reason\n", of(q.Caught))
	for _, f := range q.Others {
		fmt.Fprintf(w, "%s\t\t%s\t%s\n", f.Grade, of(f.Refused), of(f.Named))
	}
	fmt.Fprintf(w, "\nfilms refused\treason\n")
	for _, o := range q.Odd {
		fmt.Fprintf(w, "%s/%s\t%s: %s\n", o.Set, o.Film, o.Reason, o.Detail)
	}
	return w.Flush()
}

// of says how many of how many, and the share.
func of(c films.Count) string {
	return fmt.Sprintf("%d of %d (%.2f %%)", c.Right, c.Of, 100*float64(c.Right)/float64(max(1, c.Of)))
}
