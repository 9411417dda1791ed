package bus_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/services/stage/stagetest"
)

// BenchmarkPublish stores events with the server syncing always, several at a time.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1 << 10, 20 << 10} {
		for _, width := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("body=%dKiB/at_once=%d", size>>10, width), func(b *testing.B) {
				n := open(b)
				slots := make(chan struct{}, width)
				var wg sync.WaitGroup
				b.ResetTimer()
				for i := range b.N {
					slots <- struct{}{}
					wg.Go(func() {
						defer func() { <-slots }()
						e := stagetest.Arrival(b, fmt.Sprint(i))
						e.Body = make([]byte, size)
						if err := n.Publish(b.Context(), e, nil); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

// BenchmarkDone reads and confirms events of 1 KiB, several confirmations at a time.
func BenchmarkDone(b *testing.B) {
	for _, width := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("at_once=%d", width), func(b *testing.B) {
			n := open(b)
			for i := range b.N {
				if err := n.Publish(b.Context(), stagetest.Arrival(b, fmt.Sprint(i)), nil); err != nil {
					b.Fatal(err)
				}
			}
			c := bus.DefaultSourceConfig(event.StreamStudies, "d")
			c.Prefetch, c.MaxAckPending = 2*width, 4*width
			src, err := n.Source(b.Context(), c)
			if err != nil {
				b.Fatal(err)
			}
			slots := make(chan struct{}, width)
			var wg sync.WaitGroup
			b.ResetTimer()
			for range b.N {
				d, err := src.Next(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					done(b, d)
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func done(b *testing.B, d stage.Delivery) {
	if err := d.Done(b.Context()); err != nil {
		b.Error(err)
	}
}
