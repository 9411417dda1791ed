package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Depth is what lies before one stage.
type Depth struct {
	Stage   string
	Pending uint64 // not delivered yet
	Working int    // delivered, not acknowledged yet
}

// depthTimeout bounds the reading of depths while somebody waits for the metrics.
const depthTimeout = 5 * time.Second

// Depths lets read be asked for the depths at every scrape.
func (m *Metrics) Depths(read func(context.Context) ([]Depth, error)) {
	m.registry.MustRegister(&depths{read: read,
		pending: prometheus.NewDesc("radstream_stage_pending_messages", "Messages of the stage's stream that were not delivered yet.", []string{"stage"}, nil),
		working: prometheus.NewDesc("radstream_stage_unacknowledged_messages", "Messages that were delivered to the stage, in whatever process, and not acknowledged yet.", []string{"stage"}, nil),
	})
}

// depths is a collector: the figures are the server's, so they are asked for, not kept.
type depths struct {
	read             func(context.Context) ([]Depth, error)
	pending, working *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (d *depths) Describe(out chan<- *prometheus.Desc) {
	out <- d.pending
	out <- d.working
}

// Collect implements prometheus.Collector.
func (d *depths) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), depthTimeout)
	defer cancel()
	all, err := d.read(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(d.pending, err)
	}
	for _, depth := range all {
		out <- prometheus.MustNewConstMetric(d.pending, prometheus.GaugeValue, float64(depth.Pending), depth.Stage)
		out <- prometheus.MustNewConstMetric(d.working, prometheus.GaugeValue, float64(depth.Working), depth.Stage)
	}
}
