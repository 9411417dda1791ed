package stage_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
)

// relay publishes one StudyPrepared of a given size for each input.
type relay struct{ png []byte }

func (relay) Decode(in stage.Input) (arrival, error) {
	m, err := in.Message()
	if err != nil {
		return arrival{}, err
	}
	return arrival{in, m.(*radstreamv1.StudyArrived).GetStudyUid()}, nil
}

func (h relay) Handle(_ context.Context, batch []arrival) []stage.Result {
	results := make([]stage.Result, len(batch))
	for i, a := range batch {
		o := prepared(a, a.uid, 1, nil)
		o.Body.(*radstreamv1.StudyPrepared).Views = []*radstreamv1.PreparedView{{Png: h.png}}
		results[i].Out = []stage.Output{o}
	}
	return results
}

// BenchmarkLoop runs the whole loop over a real server that syncs always: each input is
// read, decoded, published as one output and confirmed. msg/s counts inputs.
func BenchmarkLoop(b *testing.B) {
	for _, size := range []int{1 << 10, 20 << 10} {
		for _, batch := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("output=%dKiB/batch=%d", size>>10, batch), func(b *testing.B) {
				n := openNATS(b)
				for i := range b.N {
					if err := n.Publish(b.Context(), study(b, "t", fmt.Sprint(i)), nil); err != nil {
						b.Fatal(err)
					}
				}
				sc := bus.DefaultSourceConfig(event.StreamStudies, "prepare")
				sc.Prefetch, sc.MaxAckPending = 2*batch, 4*batch
				src, err := n.Source(b.Context(), sc)
				if err != nil {
					b.Fatal(err)
				}
				attempts, err := n.Attempts(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(b.Context())
				var left atomic.Int64
				left.Store(int64(b.N))
				c := stage.DefaultConfig("prepare")
				c.MaxBatch, c.Workers = batch, 2
				s, err := stage.New(c, src, n, relay{make([]byte, size)}, stage.Deps{Log: zerolog.Nop(), Now: clock, Attempts: attempts, Events: stage.Events{
					Handled: func(stage.Input, int, time.Duration) {
						if left.Add(-1) == 0 {
							cancel()
						}
					},
				}})
				if err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				if err := s.Run(ctx); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}
