package flat

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestScanShared: a scan that is shared over several goroutines finds what one finds.
func TestScanShared(t *testing.T) {
	const n, dim, k = 12000, 64, 17
	rng := rand.New(rand.NewPCG(7, 7))
	c := newCollection(1, "c", Config{map[string]VectorConfig{"": {dim, Dot}}}, nil)
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
	s := search{c: c, col: c.columns[""], score: func(v []float32) float32 { return dot(query, v) }, coarse: newCoarse(Dot, query), scope: scope{pass: even}}
	if got := s.best(k); !slices.Equal(got, want[:k]) {
		t.Errorf("scan found %v, want %v", got, want[:k])
	}
	if got := s.best(2 * n); !slices.Equal(got, want) {
		t.Errorf("scan for everything found %d points, want %d", len(got), len(want))
	}
}

// TestFirstPass: whatever the vectors, with every kernel, the first pass changes nothing in
// what a scan in float finds, ties by id included.
func TestFirstPass(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := rapid.SampledFrom([]Distance{Cosine, Dot, Euclid, Manhattan}).Draw(rt, "distance")
		dim := rapid.SampledFrom([]int{1, 2, 3, 7, 31, 32, 33, 64, 100, 513, 8192}).Draw(rt, "width")
		n := rapid.IntRange(1, min(3*chunkSlots/2, 1<<19/dim)).Draw(rt, "points")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		draw := hard[rapid.SampledFrom(slices.Sorted(maps.Keys(hard))).Draw(rt, "vectors")]
		seed := draw(rng, dim, nil)
		c := newCollection(1, "c", Config{map[string]VectorConfig{"": {dim, d}}}, nil)
		for i := range n {
			if rng.IntN(10) == 0 {
				c.put(change{id: NumID(uint64(n - i))}) // has no vector
				continue
			}
			v, err := c.cfg.prepare("", draw(rng, dim, seed))
			check(t, err)
			c.put(change{id: NumID(uint64(n - i)), replace: true, vectors: []namedVector{{"", v}}})
		}
		query, err := c.cfg.prepare("", draw(rng, dim, seed))
		check(t, err)
		switch rng.IntN(4) {
		case 0:
			query, _ = c.cfg.prepare("", seed)
		case 1: // what the high bits of a vector lost: no bound is nearer to the score
			if slot := uint32(rng.IntN(n)); d != Manhattan && c.columns[""].has(slot) {
				codes := c.columns[""].codes[slot/chunkSlots]
				at := int(slot % chunkSlots)
				row := codes.high[at*rowBytes(dim):][:rowBytes(dim)]
				lost := each(dim, func(i int) float32 {
					return c.columns[""].at(slot)[i] - 32*codes.scale[at]*float32(element(row, i)-offset)
				})
				if q, err := c.cfg.prepare("", lost); err == nil {
					query = q
				}
			}
		}
		var pass predicate
		if rng.IntN(2) == 0 {
			pass = func(x candidate) bool { return x.slot%3 != 0 }
		}
		k := 1 + rng.IntN(40)
		s := search{c: c, col: c.columns[""], score: func(v []float32) float32 { return d.similarity(query, v) }, scope: scope{pass: pass}}
		want := s.best(k)
		s.coarse = newCoarse(d, query)
		for _, kernel := range kernels {
			if !kernel.has {
				continue
			}
			s.col.dot = kernel.dot
			got := s.best(k)
			if !slices.EqualFunc(got, want, func(a, b scored) bool {
				return a.slot == b.slot && math.Float32bits(a.score) == math.Float32bits(b.score)
			}) {
				rt.Fatalf("%s: the first pass finds %v, a scan in float %v", kernel.name, got, want)
			}
		}
	})
}

// hard draws vectors of which many are hard to tell apart, or to compute with; near is one
// that others may lie close to.
var hard = map[string]func(rng *rand.Rand, dim int, near []float32) []float32{
	"spread": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		return each(dim, func(int) float32 { return float32(rng.NormFloat64()) })
	},
	"few values": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		return each(dim, func(int) float32 { return float32(rng.IntN(3) - 1) })
	},
	"nearly equal": func(rng *rand.Rand, dim int, near []float32) []float32 {
		if near == nil {
			return each(dim, func(int) float32 { return float32(rng.NormFloat64()) })
		}
		v := slices.Clone(near)
		for range rng.IntN(3) {
			i := rng.IntN(dim)
			v[i] = math.Nextafter32(v[i], float32(rng.IntN(2)*2-1)*math.MaxFloat32)
		}
		return v
	},
	"huge range": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		return each(dim, func(int) float32 { return float32(rng.NormFloat64() * math.Pow(10, float64(rng.IntN(70)-40))) })
	},
	"one large element": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		v := each(dim, func(int) float32 { return float32(rng.NormFloat64() * 1e-3) })
		v[rng.IntN(dim)] = 1000
		return v
	},
	"overflow": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		return each(dim, func(int) float32 { return float32(rng.NormFloat64()) * 1e19 })
	},
	"largest": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		return each(dim, func(int) float32 { return float32(rng.IntN(3)-1) * math.MaxFloat32 })
	},
	"underflow": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		return each(dim, func(int) float32 { return float32(rng.NormFloat64()) * 1e-22 })
	},
	"smallest": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		return each(dim, func(int) float32 { return float32(rng.IntN(5)-2) * math.SmallestNonzeroFloat32 })
	},
	"mostly zero": func(rng *rand.Rand, dim int, _ []float32) []float32 {
		v := make([]float32, dim)
		v[rng.IntN(dim)] = float32(rng.IntN(2))
		return v
	},
}

func each(dim int, f func(int) float32) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = f(i)
	}
	return v
}

// TestFirstPassSkips: the bound is tight enough to be of use.
func TestFirstPassSkips(t *testing.T) {
	const n, dim = 4 * chunkSlots, 256
	rng := rand.New(rand.NewPCG(3, 3))
	for _, d := range []Distance{Cosine, Dot, Euclid} {
		c := newCollection(1, "c", Config{map[string]VectorConfig{"": {dim, d}}}, nil)
		for i := range n {
			v, err := c.cfg.prepare("", hard["spread"](rng, dim, nil))
			check(t, err)
			c.put(change{id: NumID(uint64(i)), replace: true, vectors: []namedVector{{"", v}}})
		}
		query, err := c.cfg.prepare("", hard["spread"](rng, dim, nil))
		check(t, err)
		var scored atomic.Int64
		s := search{c: c, col: c.columns[""], coarse: newCoarse(d, query), score: func(v []float32) float32 {
			scored.Add(1)
			return d.similarity(query, v)
		}}
		s.best(10)
		if scored.Load() > n/8 {
			t.Errorf("distance %d: %d of %d vectors were scored in float", d, scored.Load(), n)
		}
	}
}

// TestKernelsAgree: every kernel that this processor can run gives the same integers, with
// the largest that occur, and touches nothing else.
func TestKernelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, k := range kernels {
		if !k.has {
			t.Logf("NOT TESTED: this processor cannot run the kernel %s", k.name)
			continue
		}
		for dim := lane; dim <= 40*lane; dim += lane {
			query := make([]int8, dim)
			for i := range query {
				query[i] = int8(rng.IntN(2*math.MaxInt8+1) - math.MaxInt8)
			}
			for n := 1; n < 12; n++ {
				rows := make([]byte, 3*n*rowBytes(dim))
				for i := range rows {
					rows[i] = byte(rng.Uint32())
				}
				var at list
				for range n {
					at.add(rng.Uint32N(uint32(3 * n)))
				}
				extreme := rows[int(at.at[0])*rowBytes(dim):][:rowBytes(dim)]
				clear(extreme)
				for at := 0; at < dim; at += 64 { // every product has its largest size and the same sign
					var elements [64]byte
					for i := range elements {
						if query[at+i] > 0 {
							elements[i] = 31
						}
					}
					put(extreme, at, &elements)
				}
				var want, got [chunkSlots]int32
				for i := range got {
					got[i] = int32(rng.Uint32())
					want[i] = got[i]
				}
				at.products(&want, dotRowsGo, rows, query)
				at.products(&got, k.dot, rows, query)
				if got != want {
					t.Fatalf("%s, %d rows of %d: %v, want %v", k.name, n, dim, got[:n], want[:n])
				}
			}
		}
	}
}

// element reads what put wrote, by the product with a query that is 1 there.
func element(row []byte, i int) int {
	query, out := make([]int8, len(row)/5*8), make([]int32, 4)
	query[i] = 1
	dotRowsGo(out, row, &[chunkSlots + ahead]uint32{}, query)
	return int(out[0])
}

// TestCodes: what is stored is the vector, less a residual of the size that is noted.
func TestCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for name, draw := range hard {
		for _, dim := range []int{1, 31, 64, 200, 512} {
			v := draw(rng, dim, nil)
			c := newCodes(dim)
			c.set(3, v)
			n := rowBytes(dim)
			var whole, high, norm float64
			for i, x := range v {
				h, l := element(c.high[3*n:4*n], i)-offset, element(c.low[3*n:4*n], i)-offset
				e, eh := float64(x)-float64(c.scale[3])*float64(32*h+l), float64(x)-float64(c.scale[3])*float64(32*h)
				whole, high, norm = whole+e*e, high+eh*eh, norm+float64(x)*float64(x)
			}
			for what, pair := range map[string][2]float64{"resid": {whole, float64(c.resid[3])}, "residHigh": {high, float64(c.residHigh[3])}, "norm": {norm, float64(c.norm[3])}} {
				if least := math.Sqrt(pair[0]); pair[1] < least || pair[1] > 1.000001*least+1e-44 && least < math.MaxFloat32/2 { // not a number is no bound
					t.Errorf("%s of %d: %s is %v, want %v", name, dim, what, pair[1], least)
				}
			}
		}
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
