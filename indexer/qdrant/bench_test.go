package qdrant

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/indexer/qdrantd"
)

// BenchmarkStore goes the whole way: client, gRPC over loopback, server, disk, synced.
func BenchmarkStore(b *testing.B) {
	const n, width = 20000, 128
	db, err := flat.Open(b.TempDir(), flat.Options{})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := qdrantd.New(db)
	go func() { _ = srv.Serve(l) }()
	c, err := Dial(l.Addr().String(), "", false)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(); srv.Stop(b.Context()); db.Close() })
	if err := c.Ensure(b.Context(), indexer.Spec{Collection: "c", Vectors: map[indexer.VectorName]int{indexer.Image: width}}); err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	vector := func() []float32 {
		v := make([]float32, width)
		for i := range v {
			v[i] = rng.Float32() - 0.5
		}
		return v
	}
	points := make([]indexer.Point, n)
	for i := range points {
		study := fmt.Sprint("study ", i)
		points[i] = indexer.Point{ID: indexer.NewPointID("t", study), Tenant: "t", StudyKey: study, Rev: 1,
			Vectors: map[indexer.VectorName][]float32{indexer.Image: vector()}, Labels: map[string]float32{"effusion": rng.Float32()}}
	}
	rev := uint64(1)
	b.Run("upsert", func(b *testing.B) {
		for b.Loop() {
			rev++
			for i := range points {
				points[i].Rev = rev
			}
			if _, err := c.Upsert(b.Context(), "c", points); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "points/s")
	})
	b.Run("search", func(b *testing.B) {
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			if _, err := c.Search(b.Context(), indexer.Query{Collection: "c", Tenant: "t", Using: indexer.Image, Vector: points[0].Vectors[indexer.Image], K: 10}); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	})
}
