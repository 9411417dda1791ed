package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/registry"
)

// maxLabelFile bounds the file of a label set.
const maxLabelFile = 512 << 10

func (c *cli) relabel() *cobra.Command {
	var labels, show string
	var own bool
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "relabel (--labels NAME | --labels FILE | --own | --show NAME)",
		Short: "Score other labels, for all studies, from their stored vectors",
		Long: `Put another label set in force: each study that is in the archive is scored by it from its stored
vector, and each that comes from then on. No image is encoded again. The command waits until the
index has all scores, and says how many studies are scored, and of how many. The system goes on
when the command is interrupted.

A label set is a JSON array of labels, each with a name, prompts that say the finding is there, and
prompts that say it is not. ` + strings.Join(zeroshot.Sets(), " and ") + ` ship, and --show prints one, to begin with. A label
that a model was calibrated for keeps that calibration, unless the file gives one; others are not
calibrated: their scores tell studies apart, and are no probabilities. See docs/LABELS.md.`,
		Example: `  radstream relabel --labels chexpert-14
  radstream relabel --show phantom
  radstream relabel --own --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&labels, "labels", "", "a label set that ships, or a file of one")
	cmd.Flags().StringVar(&show, "show", "", "print a label set that ships, and change nothing")
	cmd.Flags().BoolVar(&own, "own", false, "go back to the labels of each model's manifest")
	cmd.Flags().DurationVar(&patience, "patience", time.Hour, "how long to wait for the end of it")
	cmd.MarkFlagsMutuallyExclusive("labels", "show", "own")
	cmd.MarkFlagsOneRequired("labels", "show", "own")
	dialsNATS(cmd)
	change := c.withBus(func(ctx context.Context, b *bus.Bus, _ []string) error {
		var name string
		var set []model.Label
		var err error
		if !own {
			if name, set, err = readLabels(labels); err != nil {
				return err
			}
		}
		return c.runRelabel(ctx, b, name, set, patience)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if show == "" {
			return change(cmd, args)
		}
		set, err := zeroshot.Set(show)
		if err != nil {
			return fault.E("", fault.Usage, err)
		}
		return c.PrintJSON(set)
	}
	return cmd
}

// setName is what a label set may be called: answers show it.
var setName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// readLabels reads a label set, one that ships or a file, which gives it its name.
func readLabels(path string) (name string, set []model.Label, err error) {
	if set, err = zeroshot.Set(path); err == nil {
		return path, set, nil
	}
	name = strings.TrimSuffix(filepath.Base(path), ".json")
	if slices.Contains(zeroshot.Sets(), name) || !setName.MatchString(name) {
		return "", nil, fault.Errorf("", fault.Usage, "the file of a label set is named after it: 1 to 64 of a-z, 0-9, '.', '_' and '-', and .json; not as one that ships")
	}
	data, readErr := readBounded(path, maxLabelFile)
	if readErr != nil {
		return "", nil, fault.Errorf("", fault.KindOf(readErr), "%w; and %w", readErr, err)
	}
	set, err = zeroshot.ParseLabels(data)
	return name, set, err
}

func (c *cli) runRelabel(ctx context.Context, b *bus.Bus, name string, labels []model.Label, patience time.Duration) error {
	r, err := registry.Open(ctx, b)
	if err != nil {
		return err
	}
	if _, err := r.Answers(ctx); err != nil {
		return fault.Errorf("", fault.KindOf(err), "no model answers yet: start radstream up first: %w", err)
	}
	set, err := r.SetLabels(ctx, name, labels)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var answers model.Ref // may change meanwhile
	var scored registry.Scored
	for told := -1; ; {
		if answers, err = r.Answers(ctx); err == nil {
			scored, err = r.Scored(ctx, answers)
		}
		if err != nil {
			return err
		}
		if scored.Number >= set.Number && scored.Done {
			break
		}
		if scored.Number == set.Number && scored.Studies != told && !c.JSON {
			told = scored.Studies
			fmt.Fprintf(c.Stderr, "%d of %d studies scored\n", told, scored.Total)
		}
		select {
		case <-ctx.Done():
			return fault.Errorf("", fault.Unavailable, "the label set is in force and not all studies are scored by it yet: a running radstream up goes on; see its log: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
	if scored.Number > set.Number {
		return fault.Errorf("", fault.Conflict, "somebody else put another label set in force meanwhile")
	}
	if scored.Problem != "" {
		return fault.Errorf("", fault.Invalid, "%s cannot use the label set and scores its own labels: %s; mend the file and relabel, or go back with --own", answers, scored.Problem)
	}
	if c.JSON {
		return c.PrintJSON(struct {
			Model string `json:"model"`
			registry.Scored
		}{answers.String(), scored})
	}
	fmt.Fprintf(c.Stdout, "%d of %d studies are scored by label set %d under %s\n", scored.Studies, scored.Total, set.Number, answers)
	return nil
}
