package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/erase"
)

func (c *cli) erase() *cobra.Command {
	var natsURL, creds, study, patient string
	var dryRun bool
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "erase (--study UID | --patient ID)",
		Short: "Erase a study, or all studies of a patient, and print a receipt",
		Long: `Erase a study, or all studies of a patient: from the archive, the index, the objects, the
arrivals, and from what is known of their names, overwritten on disk. A tombstone stays, so that
what is sent of the study again is refused. The receipt counts what was removed where, by the
study's key alone, and names the models that were trained on it. Erasing once more is harmless, and
finishes what was broken off. Backups and exports are not reached: see docs/ERASING.md.

` + exitCodes,
		Example: `  radstream erase --study 2.25.5678 --dry-run
  radstream erase --study 2.25.5678 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			tenant, err := c.parseTenant()
			if err != nil {
				return err
			}
			if (study == "") == (patient == "") {
				return fault.Errorf("", fault.Usage, "name either a study with --study or a patient with --patient")
			}
			conf := bus.DefaultConfig()
			conf.URL, conf.CredsFile, conf.Token, conf.Name = natsURL, creds, os.Getenv("RADSTREAM_NATS_TOKEN"), "radstream erase"
			b, err := bus.Connect(ctx, conf, zerolog.New(c.Stderr).Level(zerolog.ErrorLevel))
			if err != nil {
				return err
			}
			defer b.Close()
			receipt, err := erase.Run(ctx, b, erase.Request{Tenant: tenant, Study: event.StudyUID(study), Patient: event.PatientID(patient), DryRun: dryRun, Patience: patience})
			if len(receipt.Studies) == 0 && receipt.Arrivals == 0 {
				return err
			}
			if c.JSON {
				return errors.Join(err, c.PrintJSON(receipt))
			}
			c.printReceipt(receipt)
			return err
		},
	}
	cmd.Flags().StringVar(&study, "study", "", "Study Instance UID of the study")
	cmd.Flags().StringVar(&patient, "patient", "", "Patient ID: all studies of the patient, and of those merged into it")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed, and remove nothing")
	cmd.Flags().DurationVar(&patience, "patience", 10*time.Minute, "how long to wait for the end of it")
	cmd.Flags().StringVar(&natsURL, "nats-url", envOr("RADSTREAM_NATS_URL", "nats://127.0.0.1:4222"), "NATS server [RADSTREAM_NATS_URL]")
	cmd.Flags().StringVar(&creds, "nats-creds", os.Getenv("RADSTREAM_NATS_CREDS"), "credentials file of the NATS server [RADSTREAM_NATS_CREDS]; a token is taken from RADSTREAM_NATS_TOKEN")
	return c.hasTenant(cmd)
}

func (c *cli) printReceipt(r erase.Receipt) {
	removed, pending := "removed", map[string]bool{}
	if r.DryRun {
		removed = "would be removed"
	}
	for _, k := range r.Pending {
		pending[k] = true
	}
	line := func(format string, args ...any) { fmt.Fprintf(c.Stdout, format+"\n", args...) }
	for _, s := range r.Studies {
		index := ", and the study from the index"
		switch {
		case pending[string(s.Key)]:
			index = "; the index has not followed yet"
		case r.DryRun:
			index = ", and the study from the index, if it is there"
		}
		line("study %s: %d revisions %v, %d messages with vectors and %d announcements %s%s", s.Key, len(s.Prepared), s.Prepared, s.Embedded, s.Announcements, removed, index)
		for _, m := range s.Retrain {
			line("  model %s was trained on it or measured on it: train it anew", m)
		}
		for _, m := range s.Unknown {
			line("  model %s may have seen it: its data were not kept", m)
		}
	}
	line("%d arrivals, %d objects, %d entries that name it and %d dead letters %s", r.Arrivals, len(r.Objects), r.Identities, r.DeadLetters, removed)
	for _, sum := range r.Objects {
		line("  object %s", sum)
	}
	if n := r.Stays.ObjectsShared; n > 0 {
		line("%d objects stay: another study uses them", n)
	}
	if n := r.Stays.ReportsShared; n > 0 {
		line("%d reports stay: another study has their accession number", n)
	}
	if n := r.Stays.ObjectsElsewhere; n > 0 {
		line("%d files outside the object store stay: remove them where they lie", n)
	}
}
