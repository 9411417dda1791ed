package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/app"
)

func (c *cli) index() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Check, repair, back up and restore the embedded index",
		Long: `The embedded index lies in DATA/index, and can always be made again from the streams: what these
commands save is the time. A damaged index is not opened; repair keeps all that can be read, and the
next start of radstream up adds what is missing. A Qdrant of your own has snapshots of its own.`,
		Example: `  radstream index backup index-copy
  radstream index check index-copy`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var data string
	check := &cobra.Command{
		Use: "check [DIR]", Short: "Read all of an index, or of a backup, and say what is damaged", Args: cobra.MaximumNArgs(1),
		Long:    "Read all of an index that nobody has open, or of a backup, and say what is damaged: by file, offset and\ncollection. Exit code 1 when anything is.",
		Example: "  radstream index check index-copy --json",
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := func() (flat.Salvage, error) {
				if len(args) == 1 {
					return flat.Check(args[0])
				}
				return app.CheckIndex(data)
			}()
			if err != nil {
				return err
			}
			if err := c.printSalvage(s, ""); err != nil || len(s.Damage) == 0 {
				return err
			}
			return fault.Errorf("", fault.Corrupt, "the index is damaged in %d places: radstream index repair keeps the rest", len(s.Damage))
		},
	}
	repair := &cobra.Command{
		Use: "repair", Short: "Make an index of what can be read of a damaged one", Args: cobra.NoArgs,
		Long: `Make an index of what can be read of a damaged one, which nobody has open. The damaged one is kept as
DATA/index.damaged: remove it when nothing is missing, since erasures do not reach it. The next start
of radstream up reads EMBEDDED once more, so that studies that were lost are found again.`,
		Example: "  radstream index repair --json",
		RunE: func(*cobra.Command, []string) error {
			s, kept, err := app.RepairIndex(data)
			if err != nil {
				return err
			}
			return c.printSalvage(s, kept)
		},
	}
	backup := &cobra.Command{
		Use: "backup DIR", Short: "Copy the index, which may be in use, to a new directory", Args: cobra.ExactArgs(1),
		Long: `Copy the index, which may be in use, to a new directory, and read the copy to its end. It holds all
that was indexed before. Erasures do not reach a backup: remove those that are older.`,
		Example: "  radstream index backup /backups/index-2026-11-27",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := app.BackupIndex(data, args[0]); err != nil {
				return err
			}
			s, err := flat.Check(args[0])
			if err != nil {
				return err
			}
			return c.printSalvage(s, "")
		},
	}
	restore := &cobra.Command{
		Use: "restore DIR", Short: "Put a backup in the place of an index that is gone", Args: cobra.ExactArgs(1),
		Long: `Put a backup in the place of an index that is not there. The next start of radstream up reads
EMBEDDED once more: what was erased since is erased again before anything is answered, and what came since is added.`,
		Example: "  radstream index restore index-copy --data restored",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := app.RestoreIndex(data, args[0]); err != nil {
				return err
			}
			s, err := app.CheckIndex(data)
			if err != nil {
				return err
			}
			return c.printSalvage(s, "")
		},
	}
	for _, sub := range []*cobra.Command{check, repair, backup, restore} {
		run := sub.RunE
		sub.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			if fault.KindOf(err) == fault.Unavailable { // a folder that refuses or is in use, and no server
				err = fault.E("cli.index", fault.Usage, err)
			}
			return err
		}
		sub.Flags().StringVar(&data, "data", envOr("RADSTREAM_DATA_DIR", "./data"), "folder of everything that is kept [RADSTREAM_DATA_DIR]")
		cmd.AddCommand(sub)
	}
	return cmd
}

// printSalvage says what is in an index, and what is damaged; kept is where the damaged one is.
func (c *cli) printSalvage(s flat.Salvage, kept string) error {
	if c.JSON {
		return c.PrintJSON(struct {
			flat.Salvage
			Kept string `json:"kept,omitempty"`
		}{s, kept})
	}
	var errs []error
	line := func(format string, args ...any) {
		_, err := fmt.Fprintf(c.Stdout, format+"\n", args...)
		errs = append(errs, err)
	}
	for _, d := range s.Damage {
		line("%s", d)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Points)) {
		line("%s: %d points", name, s.Points[name])
	}
	switch {
	case kept != "":
		line("the damaged index is kept in %s: remove it when nothing is missing", kept)
	case len(s.Damage) == 0:
		line("nothing is damaged")
	}
	return errors.Join(errs...)
}
