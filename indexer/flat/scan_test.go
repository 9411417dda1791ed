package flat

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestScanShared: a scan that is shared over several goroutines finds what one finds.
func TestScanShared(t *testing.T) {
	const n, dim, k = 12000, 64, 17
	rng := rand.New(rand.NewPCG(7, 7))
	c := newCollection(1, "c", Config{map[string]VectorConfig{"": {dim, Dot}}})
	query := make([]float32, dim)
	for i := range query {
		query[i] = rng.Float32()
	}
	var want []scored
	for i := range n {
		v := make([]float32, dim)
		for j := range v {
			v[j] = float32(rng.IntN(5)) // many equal scores, to see ties broken by id
		}
		c.put(change{id: NumID(uint64(n - i)), replace: true, vectors: []namedVector{{"", v}}})
		if i%2 == 0 {
			want = append(want, scored{slot: uint32(i), score: dot(query, v)})
		}
	}
	slices.SortFunc(want, c.compare)
	even := func(x candidate) bool { return x.slot%2 == 0 }
	score := func(v []float32) float32 { return dot(query, v) }
	if got := c.scan(c.columns[""], score, even, nil, k); !slices.Equal(got, want[:k]) {
		t.Errorf("scan found %v, want %v", got, want[:k])
	}
	if got := c.scan(c.columns[""], score, even, nil, 2*n); !slices.Equal(got, want) {
		t.Errorf("scan for everything found %d points, want %d", len(got), len(want))
	}
}

func TestKernels(t *testing.T) {
	for n := range 40 {
		a, b := make([]float32, n), make([]float32, n)
		var product, squares float32
		for i := range a {
			a[i], b[i] = float32(i%7), float32(3-i%5)
			product += a[i] * b[i]
			squares += (a[i] - b[i]) * (a[i] - b[i])
		}
		// Small whole numbers: every order of summation is exact.
		if dot(a, b) != product || squaredDistance(a, b) != squares {
			t.Errorf("width %d: dot %v, want %v; squared distance %v, want %v", n, dot(a, b), product, squaredDistance(a, b), squares)
		}
	}
}

// TestReadersAndWriters is for the race detector, and for a page that must never show a
// point twice while slots are reused.
func TestReadersAndWriters(t *testing.T) {
	db := open(t, t.TempDir())
	check(t, db.CreateCollection("c", testConfig()))
	check(t, db.CreateIndex("c", "n", Index{Type: IntegerIndex}))
	var writers, readers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 0))
			for range 400 {
				id := rng.Uint64N(60)
				if _, err := db.Upsert("c", []Point{numbered(t, id, rng)}, UpsertOptions{}); err != nil {
					t.Error(err)
				}
				if err := db.Delete("c", Selector{IDs: []PointID{NumID(rng.Uint64N(60))}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				page, _, err := db.Scroll("c", Scroll{Limit: 100, Vectors: VectorSelection{All: true}})
				if err != nil || !slices.IsSortedFunc(page, func(a, b Record) int { return a.ID.Compare(b.ID) }) {
					t.Errorf("page out of order, %v", err)
				}
				for i := 1; i < len(page); i++ {
					if page[i].ID == page[i-1].ID {
						t.Errorf("point %v twice on a page", page[i].ID)
					}
				}
				if _, err := db.Query("c", Query{Ranking: Nearest{Input{Vector: []float32{1, 2, 3, 4}}}, Using: "image", Limit: 5}); err != nil {
					t.Error(err)
				}
				if _, err := db.Groups("c", Query{Ranking: OrderBy{Key: "n"}}, "s", 3, 2); err != nil {
					t.Error(err)
				}
				if err := db.Compact(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}
