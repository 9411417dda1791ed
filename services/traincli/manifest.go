package traincli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
)

func (c *cli) manifest() *cobra.Command {
	nats := bus.DefaultConfig()
	var r train.Range
	tenant, validation := string(event.DefaultTenant), 0.1
	cmd := &cobra.Command{
		Use:   "manifest FILE",
		Short: "Freeze a range of a running radstream's archive into a data manifest",
		Long: `Freeze a range of the stream PREPARED into a data manifest: which message is each study's
newest revision in the range, and its hash. Studies are split by patient. The messages stay
in the stream; radtrain fit fetches them from there.`,
		Example: `  radtrain manifest data.json
  radtrain manifest data.json --from-seq 1 --to-seq 20000
  radtrain manifest data.json --from-time 2026-01-01 --to-time 2026-07-01`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := event.ParseTenant(tenant)
			if err != nil {
				return err
			}
			m, err := train.Freeze(cmd.Context(), nats, t, r, validation, c.progress("messages"))
			if err != nil {
				return err
			}
			if err := m.Write(args[0]); err != nil {
				return err
			}
			return c.printManifest(m, args[0], train.LeftOut{})
		},
	}
	f := cmd.Flags()
	natsFlags(f, &nats)
	f.StringVar(&tenant, "tenant", tenant, "tenant")
	f.Uint64Var(&r.First, "from-seq", 0, "first sequence of the range")
	f.Uint64Var(&r.Last, "to-seq", 0, "last sequence of the range; 0 is all there is")
	f.TimeVar(&r.From, "from-time", time.Time{}, []string{time.RFC3339, time.DateOnly}, "leave out what was stored before, such as 2026-11-01 or 2026-11-01T08:00:00Z")
	f.TimeVar(&r.To, "to-time", time.Time{}, []string{time.RFC3339, time.DateOnly}, "leave out what was stored then or later")
	f.Float64Var(&validation, "validation", validation, "share of patients that is kept for validation")
	return cmd
}
