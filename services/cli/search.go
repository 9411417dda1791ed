package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/query"
)

func (c *cli) search() *cobra.Command {
	var text, image, study, projection, after, before string
	var k int
	var labels, like, unlike, views []string
	cmd := &cobra.Command{
		Use:   "search (--text T | --image F | --study UID | --like UID...)",
		Short: "Find the studies most like a text, a film, a study or examples",
		Example: `  radstream search --text "left pleural effusion"
  radstream search --image film.dcm --k 5
  radstream search --study 2.25.1234 --label 'effusion>=0.5' --json
  radstream search --like 2.25.1234 --view lateral
  radstream search --text "cardiomegaly" --after 2020-01-01 --before 2024-07-01`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if k < 1 || k > query.MaxK {
				return fault.Errorf("", fault.Usage, "--k must be 1 to %d", query.MaxK)
			}
			tenant, err := c.askedTenant(cmd)
			if err != nil {
				return err
			}
			r := query.Request{Tenant: tenant, Text: text, Study: event.StudyUID(study), K: k, Projection: projection,
				Positive: uids(like), Negative: uids(unlike), Views: views, After: after, Before: before}
			if image != "" {
				data, err := readBounded(image, query.MaxImage)
				if err != nil {
					return err
				}
				if len(data) == 0 {
					return fault.Reject("", fault.Invalid, "empty_image", "%s is empty: a film is DICOM, JPEG or PNG", image)
				}
				r.Image = data
			}
			for _, l := range labels {
				condition, err := parseLabel(l)
				if err != nil {
					return err
				}
				r.Labels = append(r.Labels, condition)
			}
			resp, err := c.client().Search(cmd.Context(), r)
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(resp)
			}
			c.printHits(resp)
			return nil
		},
	}
	cmd.Flags().StringVar(&text, "text", "", "what to look for, in the words of a report")
	cmd.Flags().StringVar(&image, "image", "", "a film: DICOM, JPEG or PNG")
	cmd.Flags().StringVar(&study, "study", "", "a study in the index, by its StudyUID")
	cmd.Flags().StringVar(&projection, "projection", "", "what a JPEG or PNG shows: frontal or lateral")
	cmd.Flags().IntVar(&k, "k", 10, "how many hits")
	cmd.Flags().StringArrayVar(&labels, "label", nil, "only studies with this score, as 'effusion>=0.5'; may be repeated")
	cmd.Flags().StringArrayVar(&like, "like", nil, "an example to find others like, by its StudyUID; may be repeated")
	cmd.Flags().StringArrayVar(&unlike, "unlike", nil, "with --like: an example that hits shall be unlike; may be repeated")
	cmd.Flags().StringArrayVar(&views, "view", nil, "only studies with this view, frontal or lateral; may be repeated")
	cmd.Flags().StringVar(&after, "after", "", "only studies taken on or after this day (UTC) or time, as 2024-05-31")
	cmd.Flags().StringVar(&before, "before", "", "only studies taken before this day (UTC) or time, as 2024-06-30T12:00:00Z")
	cmd.MarkFlagsMutuallyExclusive("text", "image", "study", "like")
	cmd.MarkFlagsOneRequired("text", "image", "study", "like")
	return c.asksServer(cmd)
}

func uids(texts []string) []event.StudyUID {
	var out []event.StudyUID
	for _, t := range texts {
		out = append(out, event.StudyUID(t))
	}
	return out
}

func parseLabel(s string) (query.LabelAtLeast, error) {
	name, score, ok := strings.Cut(s, ">=")
	f, err := strconv.ParseFloat(strings.TrimSpace(score), 32)
	if !ok || err != nil || !(f >= 0 && f <= 1) {
		return query.LabelAtLeast{}, fault.Errorf("", fault.Usage, "--label must read like 'effusion>=0.5', with a score from 0 to 1")
	}
	return query.LabelAtLeast{Label: strings.TrimSpace(name), Score: float32(f)}, nil
}

func (c *cli) printHits(r query.Response) {
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SIMILARITY\tSTUDY\tVIEWS\tHIGHEST SCORES")
	for _, h := range r.Hits {
		fmt.Fprintf(w, "%.4f\t%s\t%s\t%s\n", h.Similarity, h.Study, strings.Join(h.Views, "+"), highest(h.Labels, 3))
	}
	w.Flush()
	fmt.Fprintf(c.Stdout, "%d hits by %s vectors of %s%s\n", len(r.Hits), r.Vector, r.Model, untrained(r.Untrained))
	if r.Truncated {
		fmt.Fprintln(c.Stdout, "the dates were looked for among the most similar studies only: there may be more")
	}
}

// highest renders the n labels with the largest scores.
func highest(scores map[string]float32, n int) string {
	names := make([]string, 0, len(scores))
	for name := range scores {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if scores[a] != scores[b] {
			if scores[a] > scores[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	var out []string
	for _, name := range names[:min(n, len(names))] {
		out = append(out, fmt.Sprintf("%s %.2f", name, scores[name]))
	}
	return strings.Join(out, ", ")
}

func untrained(is bool) string {
	if is {
		return " (untrained: similarities and scores mean nothing yet)"
	}
	return ""
}

func (c *cli) labels() *cobra.Command {
	var study string
	cmd := &cobra.Command{
		Use:   "labels --study UID",
		Short: "Print the zero-shot label scores of a study",
		Example: `  radstream labels --study 2.25.1234
  radstream labels --study 2.25.1234 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tenant, err := c.askedTenant(cmd)
			if err != nil {
				return err
			}
			resp, err := c.client().Labels(cmd.Context(), tenant, event.StudyUID(study))
			if err != nil {
				return err
			}
			if c.JSON {
				return c.PrintJSON(resp)
			}
			c.printLabels(resp)
			return nil
		},
	}
	cmd.Flags().StringVar(&study, "study", "", "the study, by its StudyUID")
	_ = cmd.MarkFlagRequired("study")
	return c.asksServer(cmd)
}

func (c *cli) printLabels(r query.LabelsResponse) {
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCORE\tLABEL\tFOR\tAGAINST")
	for _, l := range r.Labels {
		fmt.Fprintf(w, "%.3f\t%s\t%q\t%q\n", l.Score, l.Label, first(l.Positive), first(l.Negative))
	}
	w.Flush()
	if len(r.Labels) == 0 {
		fmt.Fprintln(c.Stdout, "no scores: they are made of films, and the study has none yet")
	}
	fmt.Fprintf(c.Stdout, "by %s%s\n", r.Model, untrained(r.Untrained))
}

func first(prompts []string) string {
	switch len(prompts) {
	case 0:
		return ""
	case 1:
		return prompts[0]
	}
	return fmt.Sprintf("%s (+%d)", prompts[0], len(prompts)-1)
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if info.Size() > limit {
		return nil, fault.Reject("", fault.Invalid, "too_large", "%s has %d bytes, at most %d are taken", path, info.Size(), limit)
	}
	if info.IsDir() {
		return nil, unreadable(path, syscall.EISDIR)
	}
	if !info.Mode().IsRegular() {
		return nil, unreadable(path, errors.New("it is no regular file"))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return data, nil
}

// unreadable says that the command line names a file that cannot be read.
func unreadable(path string, err error) error {
	return fault.Errorf("", fault.Usage, "%s cannot be read: %w", path, fault.WithoutPath(err))
}
