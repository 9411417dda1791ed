package flat

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func benchStore(b *testing.B, n, dim int) (*DB, []float32) {
	db, err := Open(b.TempDir(), Options{Sync: SyncNever})
	check(b, err)
	b.Cleanup(func() { db.Close() })
	check(b, db.CreateCollection("c", Config{map[string]VectorConfig{"image": {dim, Cosine}}}))
	check(b, upsertBulk(b, db, n, dim))
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rand.NormFloat64())
	}
	return db, v
}

func upsertBulk(b *testing.B, db *DB, n, dim int) error {
	rng := rand.New(rand.NewPCG(1, 1))
	for at := 0; at < n; {
		ps := make([]Point, min(256, n-at))
		for i := range ps {
			v := make([]float32, dim)
			for j := range v {
				v[j] = float32(rng.NormFloat64())
			}
			ps[i] = Point{ID: UUIDID([16]byte{byte(at), byte(at >> 8), byte(at >> 16)}), Vectors: map[string][]float32{"image": v},
				Payload: obj(b, Member{"tenant", "t" + string(rune('0'+at%3))}, Member{"rev", int64(1)}, Member{"labels", obj(b, Member{"effusion", rng.Float64()}, Member{"edema", rng.Float64()})})}
			at++
		}
		if _, err := db.Upsert("c", ps, UpsertOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkSearch asks for 10 of n vectors of 512 elements, without a filter and with indexed
// ones that meet a part of the points.
func BenchmarkSearch(b *testing.B) {
	for _, n := range []int{20000, 100000} {
		db, _ := benchStore(b, n, 512)
		check(b, db.CreateIndex("c", "tenant", Index{Type: KeywordIndex, Tenant: true}))
		check(b, db.CreateIndex("c", "labels.effusion", Index{Type: FloatIndex}))
		filters := map[string]*Filter{"all": nil, "tenant+label": {Must: []Condition{Match{Key: "tenant", Keywords: []string{"t1"}}, Range{Key: "labels.effusion", Gte: ptr(0.5)}}}}
		for _, percent := range []float64{0.1, 1, 10, 50, 100} {
			filters[fmt.Sprintf("%g%%", percent)] = &Filter{Must: []Condition{Range{Key: "labels.effusion", Lt: ptr(percent / 100)}}}
		}
		for _, name := range slices.Sorted(maps.Keys(filters)) {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(9, 9))
				var took []time.Duration
				for b.Loop() {
					v := each(512, func(int) float32 { return float32(rng.NormFloat64()) })
					start := time.Now()
					if _, err := db.Query("c", Query{Ranking: Nearest{Input{Vector: v}}, Using: "image", Filter: filters[name], Limit: 10}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
				}
				b.ReportMetric(float64(percentile(took, 50).Microseconds()), "p50-µs")
				b.ReportMetric(float64(percentile(took, 99).Microseconds()), "p99-µs")
			})
		}
	}
}

// BenchmarkUpsert writes 20,000 x 128 in batches of 256, each synced.
func BenchmarkUpsert(b *testing.B) {
	for _, policy := range []struct {
		name string
		p    SyncPolicy
	}{{"synced", SyncAlways}, {"unsynced", SyncNever}} {
		b.Run(policy.name, func(b *testing.B) {
			for b.Loop() {
				db, err := Open(b.TempDir(), Options{Sync: policy.p})
				check(b, err)
				check(b, db.CreateCollection("c", Config{map[string]VectorConfig{"image": {128, Cosine}}}))
				check(b, upsertBulk(b, db, 20000, 128))
				check(b, db.Close())
			}
			b.ReportMetric(20000*float64(b.N)/b.Elapsed().Seconds(), "points/s")
		})
	}
}

// BenchmarkOpen opens a compacted store of 20,000 x 128.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	db, err := Open(dir, Options{Sync: SyncNever})
	check(b, err)
	check(b, db.CreateCollection("c", Config{map[string]VectorConfig{"image": {128, Cosine}}}))
	check(b, upsertBulk(b, db, 20000, 128))
	check(b, db.Compact())
	check(b, db.Close())
	for b.Loop() {
		db, err := Open(dir, Options{})
		check(b, err)
		check(b, db.Close())
	}
}

func percentile(ds []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(ds))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

// BenchmarkKernels multiplies the high bits of a block that lies in the cache, and of one of many.
func BenchmarkKernels(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	q := newCoarse(Cosine, each(512, func(int) float32 { return float32(rng.NormFloat64()) }))
	for _, blocks := range []int{1, 400} {
		var all [][]byte
		for range blocks {
			all = append(all, bytes.Repeat([]byte{1}, len(newCodes(512).high)))
		}
		for _, k := range kernels {
			if !k.has {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", k.name, blocks), func(b *testing.B) {
				var out [chunkSlots]int32
				i := 0
				for b.Loop() {
					k.dot(out[:], all[i%blocks], &inOrder, q.query)
					i++
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/chunkSlots, "ns/row")
			})
		}
	}
}
