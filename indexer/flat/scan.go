package flat

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// scanGrain is the number of multiplications that is worth another goroutine.
const scanGrain = 1 << 18

// sparse is the part of a block below which its rows are read one by one: a row alone costs
// as much time as about that many in order.
const sparse = 4

// scored is a slot with its internal score: larger is better for every distance.
type scored struct {
	slot  uint32
	score float32
	order orderValue
}

// search is one scan: of the points in scope that have a vector in col, which score best.
// coarse, when not nil, bounds score from above.
type search struct {
	c      *collection
	col    *column
	score  func([]float32) float32
	coarse *coarse
	scope
}

// best returns the best k, best first, ties by id. All cores read, a block of chunkSlots at
// a time.
func (s *search) best(k int) []scored {
	n := len(s.col.present)
	if s.only != nil {
		n = len(s.only)
	}
	blocks := (n + chunkSlots - 1) / chunkSlots
	tops := make([]top, max(1, min(runtime.GOMAXPROCS(0), blocks, n*s.col.dim/scanGrain)))
	var floor floor
	floor.set(math.Inf(-1))
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range tops {
		run := func() {
			tops[i] = top{c: s.c, k: min(k, n)}
			var w work
			for {
				from := int(next.Add(1)-1) * chunkSlots
				if from >= n {
					return
				}
				s.block(&tops[i], &w, &floor, from, min(from+chunkSlots, n))
			}
		}
		if i == len(tops)-1 {
			run()
		} else {
			wg.Go(run)
		}
	}
	wg.Wait()
	var all []scored
	for _, t := range tops {
		all = append(all, t.heap...)
	}
	slices.SortFunc(all, s.c.compare)
	return all[:min(k, len(all))]
}

// work is what one core needs for a block.
type work struct {
	list      list
	high, low [chunkSlots]int32 // products: of each row, of each one listed
}

// block scans the slots from from to to, or those at these places in only.
func (s *search) block(t *top, w *work, floor *floor, from, to int) {
	if s.only != nil {
		for _, slot := range s.only[from:to] {
			if s.col.has(slot) {
				s.offer(t, floor, slot)
			}
		}
		return
	}
	b := from / chunkSlots
	if s.col.chunks[b].floats == nil {
		return // no slot of the block has a vector
	}
	m := s.mask(from, to)
	for i, present := range s.col.present[from:to] {
		if !present {
			m[i/64] &^= 1 << (i % 64)
		}
	}
	if s.coarse == nil {
		for row := range m.rows {
			s.offer(t, floor, uint32(from)+row)
		}
		return
	}
	c := s.col.codes[b]
	if m.count() > chunkSlots/sparse { // reading some of the rows is not less than reading all
		s.col.dot(w.high[:(to-from+3)/4*4], c.high, &inOrder, s.coarse.query)
	} else {
		w.list.n = 0
		for row := range m.rows {
			w.list.add(row)
		}
		w.list.products(&w.low, s.col.dot, c.high, s.coarse.query)
		for i, row := range w.list.at[:w.list.n] {
			w.high[row] = w.low[i]
		}
	}
	if len(t.heap) < t.k { // what promises the best scores tells most about the rest
		first := top{c: s.c, k: t.k}
		for row := range m.rows {
			guess := scored{slot: uint32(from) + row, score: s.coarse.guess(c, row, s.coarse.product(w.high[row], s.coarse.shift))}
			if first.wants(guess) {
				first.push(guess)
			}
		}
		for _, guess := range first.heap {
			s.offer(t, floor, guess.slot)
			m[guess.slot%chunkSlots/64] &^= 1 << (guess.slot % 64)
		}
	}
	s.coarse.sift(&w.list, c, &m, &w.high, floor.get())
	w.list.products(&w.low, s.col.dot, c.low, s.coarse.query)
	for i, row := range w.list.at[:w.list.n] {
		if !s.coarse.below(c, row, s.coarse.product(w.high[row], w.low[i]), c.resid[row], floor.get()) {
			s.offer(t, floor, uint32(from)+row)
		}
	}
}

// mask is what the indexes leave of the slots from from to to.
func (s *search) mask(from, to int) (m mask) {
	for w := range m {
		if left := to - from - 64*w; left >= 64 {
			m[w] = math.MaxUint64
		} else if left > 0 {
			m[w] = 1<<left - 1
		}
	}
	for _, sieve := range s.sieves {
		sieve(from, &m)
	}
	return m
}

// offer scores a slot and keeps it if it is among the best that match. The score is cheaper
// than the filter, and most points fail by score.
func (s *search) offer(t *top, floor *floor, slot uint32) {
	if x := (scored{slot: slot, score: s.score(s.col.at(slot))}); t.wants(x) && s.c.matches(slot, s.pass) {
		t.push(x)
		floor.raise(t)
	}
}

// floor is a score that k points are known to reach: what is certainly below is not among
// the best k. The cores share it.
type floor struct{ bits atomic.Uint64 }

func (f *floor) get() float64  { return math.Float64frombits(f.bits.Load()) }
func (f *floor) set(v float64) { f.bits.Store(math.Float64bits(v)) }

// raise sets the floor to the worst score of a heap that is full, if that is higher.
func (f *floor) raise(t *top) {
	if len(t.heap) < t.k {
		return
	}
	worst := float64(t.heap[0].score)
	for old := f.bits.Load(); worst > math.Float64frombits(old) && !f.bits.CompareAndSwap(old, math.Float64bits(worst)); old = f.bits.Load() {
	}
}

// compare puts the better score first, then the smaller id.
func (c *collection) compare(a, b scored) int {
	if d := cmp.Compare(b.score, a.score); d != 0 {
		return d
	}
	return c.ids[a.slot].Compare(c.ids[b.slot])
}

// top keeps the best k in a heap with the worst of them at its root.
type top struct {
	c    *collection
	k    int
	heap []scored
}

func (t *top) wants(s scored) bool {
	return len(t.heap) < t.k || t.k > 0 && t.c.compare(s, t.heap[0]) < 0
}

func (t *top) push(s scored) {
	h := t.heap
	if len(h) < t.k {
		h = append(h, s)
		for i := len(h) - 1; i > 0; {
			up := (i - 1) / 2
			if t.c.compare(h[i], h[up]) <= 0 {
				break
			}
			h[i], h[up] = h[up], h[i]
			i = up
		}
		t.heap = h
		return
	}
	h[0] = s
	for i := 0; ; {
		worst := i
		for _, down := range [...]int{2*i + 1, 2*i + 2} {
			if down < len(h) && t.c.compare(h[down], h[worst]) > 0 {
				worst = down
			}
		}
		if worst == i {
			return
		}
		h[i], h[worst] = h[worst], h[i]
		i = worst
	}
}

// similarity is the internal score of d: the product for Cosine (over normalised vectors)
// and Dot, the negated squared distance for Euclid, the negated distance for Manhattan.
func (d Distance) similarity(a, b []float32) float32 {
	switch d {
	case Euclid:
		return -squaredDistance(a, b)
	case Manhattan:
		var sum float32
		for i, x := range a {
			sum += float32(math.Abs(float64(x - b[i])))
		}
		return -sum
	}
	return dot(a, b)
}

// external turns an internal score into the one that callers see.
func (d Distance) external(s float32) float32 {
	switch d {
	case Euclid:
		return float32(math.Sqrt(math.Abs(float64(s))))
	case Manhattan:
		return -s
	}
	return s
}

// passes reports whether an external score is strictly better than the threshold.
func (d Distance) passes(s, threshold float32) bool {
	if d == Euclid || d == Manhattan {
		return s < threshold
	}
	return s > threshold
}

// dot keeps eight sums apart so that additions need not wait for one another.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	for len(a) >= 8 && len(b) >= 8 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		s4 += a[4] * b[4]
		s5 += a[5] * b[5]
		s6 += a[6] * b[6]
		s7 += a[7] * b[7]
		a, b = a[8:], b[8:]
	}
	for i := range a {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3) + (s4 + s5) + (s6 + s7)
}

func squaredDistance(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		d0, d1, d2, d3 := a[0]-b[0], a[1]-b[1], a[2]-b[2], a[3]-b[3]
		s0 += d0 * d0
		s1 += d1 * d1
		s2 += d2 * d2
		s3 += d3 * d3
		a, b = a[4:], b[4:]
	}
	for i := range a {
		d := a[i] - b[i]
		s0 += d * d
	}
	return (s0 + s1) + (s2 + s3)
}
