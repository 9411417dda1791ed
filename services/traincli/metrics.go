package traincli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/telemetry"
)

// metrics are what a command that trains tells while it runs.
type metrics struct {
	process  *telemetry.Metrics
	training *telemetry.Training
	stderr   io.Writer
	flags    *pflag.FlagSet
	wrong    error // with the flags
}

func (c *cli) metrics() *metrics {
	m := &metrics{process: telemetry.New(c.Version), stderr: c.Stderr, flags: pflag.NewFlagSet("metrics", pflag.ContinueOnError)}
	m.training = m.process.Training()
	if m.wrong = config.AddFlags(m.flags, "telemetry.listen"); m.wrong == nil {
		m.flags.Lookup("telemetry-listen").Usage = "where GET /metrics, /healthz and /readyz are served; port 0 takes a free one, off leaves it out"
	}
	return m
}

// flag adds the setting telemetry.listen as radstream has it, but for its help, which is about the query API there.
func (m *metrics) flag(f *pflag.FlagSet) { f.AddFlagSet(m.flags) }

// serve runs work, and serves metrics and probes until it is done: at Ctrl-C too, when what there
// is gets exported.
func (m *metrics) serve(ctx context.Context, ready func(context.Context) error, work func(context.Context) error) error {
	conf, _, err := config.Load(config.Sources{Flags: m.flags})
	if err = errors.Join(m.wrong, err); err != nil {
		return err
	}
	if conf.Telemetry.Listen.Off() {
		return work(ctx)
	}
	listener, err := conf.Telemetry.Listen.Open(ctx)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	served := make(chan error, 1)
	go func() { served <- m.process.Serve(serving, listener, ready) }()
	fmt.Fprintf(m.stderr, "metrics http://%s/metrics\n", listener.Addr())
	err = work(ctx)
	stop()
	return errors.Join(err, <-served)
}
