package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/progress"
	"github.com/radstream/radstream/services/publish"
)

func (c *cli) publish() *cobra.Command {
	var natsURL, creds string
	var wait, strict bool
	var limit int
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "publish PATH...",
		Short: "Publish DICOM files, films with a studies.csv, and reports",
		Long: `Publish studies: DICOM files are grouped by study, films (JPEG, PNG) need a list
studies.csv beside them, reports a list reports.csv. Messages of hospitals are published as
what they say: HL7 v2 (.hl7: ORU^R01, MDM, ADT^A40), FHIR DiagnosticReport (.json) and C-CDA
(.xml). What cannot be published is printed with its reason; the rest is published.

` + exitCodes,
		Example: `  radstream publish ./studies --wait
  radstream publish film.dcm --wait --json
  radstream publish report.hl7 --wait`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			ctx := cmd.Context()
			tenant, err := c.parseTenant()
			if err != nil {
				return err
			}
			plan, err := publish.Scan(ctx, paths)
			if err != nil {
				return err
			}
			if limit > 0 && len(plan.Studies) > limit {
				plan.Studies = plan.Studies[:limit]
			}
			conf := bus.DefaultConfig()
			conf.URL, conf.CredsFile, conf.Token, conf.Name = natsURL, creds, os.Getenv("RADSTREAM_NATS_TOKEN"), "radstream publish"
			b, err := bus.Connect(ctx, conf, zerolog.New(c.Stderr).Level(zerolog.ErrorLevel))
			if err != nil {
				return err
			}
			defer b.Close()
			summary, err := c.runPlan(ctx, b, plan, publish.Config{Tenant: tenant, Wait: wait, Patience: patience})
			// What was reached is told even when an error cut the run short.
			if c.JSON {
				err = errors.Join(err, c.PrintJSON(summary))
			} else {
				c.printSummary(summary)
			}
			if err != nil {
				return err
			}
			return judge(summary, strict)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until every study can be found or was rejected")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit 3 when anything was rejected or could not be published")
	cmd.Flags().IntVar(&limit, "limit", 0, "publish only the first so many studies; 0 publishes all")
	cmd.Flags().DurationVar(&patience, "patience", 2*time.Minute, "how long a server may be away")
	cmd.Flags().StringVar(&natsURL, "nats-url", envOr("RADSTREAM_NATS_URL", "nats://127.0.0.1:4222"), "NATS server [RADSTREAM_NATS_URL]")
	cmd.Flags().StringVar(&creds, "nats-creds", os.Getenv("RADSTREAM_NATS_CREDS"), "credentials file of the NATS server [RADSTREAM_NATS_CREDS]; a token is taken from RADSTREAM_NATS_TOKEN")
	return c.hasTenant(cmd)
}

// runPlan publishes a plan with progress bars.
func (c *cli) runPlan(ctx context.Context, b *bus.Bus, plan publish.Plan, conf publish.Config) (publish.Summary, error) {
	store, err := c.objects(ctx, b)
	if err != nil {
		return publish.Summary{}, err
	}
	bars := progress.New(c.Stderr, c.JSON)
	n := plan.Arrivals()
	published := bars.Add("published", n)
	var prepared, embedded, indexed, rejected *progress.Bar
	if conf.Wait {
		prepared, embedded, indexed, rejected = bars.Add("prepared", n), bars.Add("embedded", n), bars.Add("indexed", n), bars.Add("rejected", n)
	}
	conf.Progress = func(p publish.Progress) {
		published.Set(p.Published)
		if conf.Wait {
			prepared.Set(p.Prepared)
			embedded.Set(p.Embedded)
			indexed.Set(p.Indexed)
			rejected.Set(p.Rejected)
		}
	}
	summary, err := publish.New(b, store, conf).Run(ctx, plan)
	bars.Finish()
	return summary, err
}

// objects is where files are put before they are announced.
func (c *cli) objects(ctx context.Context, b *bus.Bus) (*blob.JetStream, error) {
	bucket, stream, err := b.ObjectStore(ctx, bus.BucketObjects)
	if err != nil {
		return nil, err
	}
	return blob.NewJetStream(bucket, stream, blob.DefaultMaxBytes), nil
}

// judge decides the exit code of a run that went through.
func judge(s publish.Summary, strict bool) error {
	switch {
	case s.Published == 0 && len(s.Problems) > 0:
		return fault.Reject("", fault.Invalid, "nothing_published", "nothing could be published: see the problems above")
	case s.Published == 0:
		return fault.Reject("", fault.Invalid, "nothing_found", "there are no studies: no DICOM files, no films with a studies.csv, no reports, no messages")
	case strict && (s.Rejected > 0 || len(s.Rejections) > 0 || len(s.Problems) > 0):
		return fault.Reject("", fault.Invalid, "strict", "%d rejections and %d problems, and --strict was given", len(s.Rejections), len(s.Problems))
	}
	return nil
}

func (c *cli) printSummary(s publish.Summary) {
	for _, p := range s.Problems {
		fmt.Fprintf(c.Stdout, "not published  %s: %s: %s\n", p.Path, p.Reason, p.Detail)
	}
	for _, r := range s.Rejections {
		what := r.Path
		if what == "" {
			what = "study " + string(r.Study)
		}
		fmt.Fprintf(c.Stdout, "rejected       %s: %s: %s\n", what, r.Reason, r.Detail)
	}
	if len(s.Ignored) > 0 {
		fmt.Fprint(c.Stdout, "passed over   ")
		for _, ext := range slices.Sorted(maps.Keys(s.Ignored)) {
			fmt.Fprintf(c.Stdout, " %d %s", s.Ignored[ext], ext)
		}
		fmt.Fprintln(c.Stdout, " (neither DICOM, nor films, nor lists)")
	}
	if s.Published == 0 {
		return // the error that follows says why
	}
	if !s.Waited {
		fmt.Fprintf(c.Stdout, "%d published in %.1f s; --wait tells what becomes of them\n", s.Published, s.Seconds)
		return
	}
	noted := ""
	if s.Noted > 0 {
		noted = fmt.Sprintf(" + %d noted (reports that wait for their study, merges of patients)", s.Noted)
	}
	fmt.Fprintf(c.Stdout, "%d published = %d indexed + %d rejected%s, in %.1f s\n", s.Published, s.Indexed, s.Rejected, noted, s.Seconds)
}
