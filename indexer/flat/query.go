package flat

import (
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// Reasons for refusing a query.
const (
	reasonQuery     fault.Reason = "query"
	reasonLimit     fault.Reason = "limit"
	reasonNoIndex   fault.Reason = "index_missing"
	maxPrefetches                = 1000 // in one query, over all levels
	maxPrefetchDeep              = 10
)

// Query asks for the best points. Without Ranking they come in the order of their ids.
// With Prefetch, Ranking orders what the prefetches found: Fuse merges their lists, any
// other one ranks the points of all of them. Filter also applies to the prefetches.
type Query struct {
	Prefetch  []Query
	Ranking   Ranking
	Using     string   // vector name
	Filter    *Filter  // nil: all points
	Threshold *float32 // keep what scores strictly better; for Fuse also what is equal
	Limit     int      // at least 1
	Offset    int      // skipped first; 0 in prefetches
	Vectors   VectorSelection
}

// Ranking is one of Nearest, Recommend, OrderBy, RRF and DBSF.
type Ranking interface{ isRanking() }

type (
	// Nearest ranks by similarity to one vector; a point given by id is left out.
	Nearest struct{ Input Input }
	// Recommend ranks by similarity to examples; those given by id are left out.
	Recommend struct {
		Positive, Negative []Input
		Strategy           Strategy
	}
	// OrderBy ranks by a payload field with an integer, float or datetime index; points
	// without a value are left out. From, when not nil, is the first value wanted: int64 or
	// float64, microseconds since 1970 for a datetime.
	OrderBy struct {
		Key        string
		Descending bool
		From       any
	}
	// RRF fuses prefetches by rank: a list adds 1/((rank+1)/weight + K - 1), rank from 0.
	// No weights means 1 for each; K is usually 2.
	RRF struct {
		K       int
		Weights []float32
	}
	// DBSF fuses prefetches by score, each list scaled so that three standard deviations
	// around its mean become 0 to 1.
	DBSF struct{}
)

// Input is a vector, given itself or as that of a stored point.
type Input struct {
	ID     *PointID
	Vector []float32
}

// Strategy says how Recommend combines examples.
type Strategy uint8

// The strategies: search with 2*avg(positive) - avg(negative); take the best example; take
// the sum of positive minus negative similarities.
const (
	AverageVector Strategy = iota
	BestScore
	SumScores
)

func (Nearest) isRanking()   {}
func (Recommend) isRanking() {}
func (OrderBy) isRanking()   {}
func (RRF) isRanking()       {}
func (DBSF) isRanking()      {}

// VectorSelection says which vectors an answer carries.
type VectorSelection struct {
	All   bool
	Names []string
}

// Record is a point as it was read; its vectors are copies, normalised for Cosine.
type Record struct {
	ID      PointID
	Payload Object
	Vectors map[string][]float32
	Order   any // int64 or float64 by which OrderBy placed it, else nil
}

// Hit is a Record with its score, which is 1 where nothing is compared: without a ranking and by OrderBy.
type Hit struct {
	Record
	Score float32
}

// Query runs q. Invalid: no such vector name, another width, a limit below 1, no index to
// order by, or a fusion without prefetches. NotFound: a point that is named as input does
// not exist or lacks the vector.
func (db *DB) Query(name string, q Query) ([]Hit, error) {
	c, err := db.collection(name)
	if err != nil {
		return nil, err
	}
	if q.byID() {
		c.rlockSorted()
	} else {
		c.mu.RLock()
	}
	defer c.mu.RUnlock()
	found, err := c.runRoot(q)
	if err != nil {
		return nil, err
	}
	found = found[min(q.Offset, len(found)):]
	hits := make([]Hit, len(found))
	for i, f := range found {
		if hits[i], err = c.hit(f, q.Vectors); err != nil {
			return nil, err
		}
	}
	return hits, nil
}

func (c *collection) runRoot(q Query) ([]scored, error) {
	if q.Limit < 1 || q.Offset < 0 {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonLimit, "limit must be at least 1 and offset at least 0")
	}
	budget := maxPrefetches
	return c.run(q, scope{}, min(q.Limit, len(c.ids)+1)+min(q.Offset, len(c.ids)+1), &budget, maxPrefetchDeep)
}

// scope is the part of a collection that a query looks at.
type scope struct {
	pass   predicate // nil: every point
	sieves []sieve   // what indexes know of pass
	only   []uint32  // when not nil, no other slots
}

// narrow adds a filter.
func (s scope) narrow(c *collection, f *Filter) (scope, error) {
	pass, err := f.compileFor(c)
	if err != nil || pass == nil {
		return s, err
	}
	if outer := s.pass; outer != nil {
		s.pass = func(x candidate) bool { return outer(x) && pass(x) }
	} else {
		s.pass = pass
	}
	if v := f.sieveFor(c); v != nil {
		s.sieves = append(slices.Clip(s.sieves), v)
	}
	return s, nil
}

// run returns the best k of q with external scores, within what the queries around it look
// at.
func (c *collection) run(q Query, within scope, k int, budget *int, depth int) ([]scored, error) {
	if *budget -= len(q.Prefetch); *budget < 0 || depth == 0 {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonQuery, "a query has at most %d prefetches on %d levels", maxPrefetches, maxPrefetchDeep)
	}
	within, err := within.narrow(c, q.Filter)
	if err != nil {
		return nil, err
	}
	var lists [][]scored
	for _, p := range q.Prefetch {
		if p.Limit < 1 {
			return nil, fault.Reject("flat.Query", fault.Invalid, reasonLimit, "the limit of a prefetch must be at least 1")
		}
		list, err := c.run(p, within, min(p.Limit, len(c.ids)), budget, depth-1)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	if len(q.Prefetch) > 0 {
		within.only = union(lists)
	}
	switch r := q.Ranking.(type) {
	case Nearest:
		input, err := c.resolve(q.Using, r.Input)
		if err != nil {
			return nil, err
		}
		return c.nearest(q, input, within.without(r.Input), k), nil
	case Recommend:
		return c.recommend(q, r, within, k)
	case OrderBy:
		found, err := c.orderBy(r, within)
		return found[:min(k, len(found))], err
	case RRF, DBSF:
		return c.fuse(q, lists, k)
	}
	if len(q.Prefetch) > 0 {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonQuery, "a query is needed to merge the prefetches")
	}
	var out []scored
	for _, slot := range c.order {
		if len(out) == k {
			break
		}
		if c.matches(slot, within.pass) {
			out = append(out, scored{slot: slot, score: 1})
		}
	}
	return out, nil
}

func (c *collection) nearest(q Query, input []float32, within scope, k int) []scored {
	d := c.cfg.Vectors[q.Using].Distance
	score := func(v []float32) float32 { return d.similarity(input, v) }
	if d == Cosine || d == Dot {
		score = func(v []float32) float32 { return dot(input, v) }
	}
	s := search{c: c, col: c.columns[q.Using], score: score, coarse: newCoarse(d, input), scope: within}
	found := s.best(k)
	for i := range found {
		found[i].score = d.external(found[i].score)
	}
	return q.cut(found, d.passes)
}

// cut drops what the threshold does not let pass; found is sorted, best first.
func (q Query) cut(found []scored, passes func(score, threshold float32) bool) []scored {
	if q.Threshold == nil {
		return found
	}
	i := slices.IndexFunc(found, func(s scored) bool { return !passes(s.score, *q.Threshold) })
	if i < 0 {
		return found
	}
	return found[:i]
}

// resolve gives the vector that an input stands for, ready to compare.
func (c *collection) resolve(using string, in Input) ([]float32, error) {
	col, ok := c.columns[using]
	if !ok {
		_, err := c.cfg.prepare(using, nil)
		return nil, err
	}
	if in.ID == nil {
		return c.cfg.prepare(using, in.Vector)
	}
	slot, ok := c.slots[*in.ID]
	if !ok {
		return nil, noPoint(*in.ID)
	}
	if !col.has(slot) {
		return nil, fault.Errorf("flat.Query", fault.NotFound, "point %s has no vector %q", *in.ID, using)
	}
	return col.at(slot), nil
}

// byID reports whether q needs the points in the order of their ids.
func (q Query) byID() bool {
	return q.Ranking == nil && len(q.Prefetch) == 0 || slices.ContainsFunc(q.Prefetch, Query.byID)
}

func (c *collection) hit(f scored, sel VectorSelection) (Hit, error) {
	r, err := c.record(f.slot, sel)
	r.Order = f.order.value()
	return Hit{r, f.score}, err
}

// without leaves out the points that are inputs.
func (s scope) without(inputs ...Input) scope {
	var ids []PointID
	for _, in := range inputs {
		if in.ID != nil {
			ids = append(ids, *in.ID)
		}
	}
	if pass := s.pass; ids != nil {
		s.pass = func(x candidate) bool {
			return !slices.Contains(ids, x.c.ids[x.slot]) && (pass == nil || pass(x))
		}
	}
	return s
}

func union(lists [][]scored) []uint32 {
	out := []uint32{}
	for _, l := range lists {
		for _, s := range l {
			out = append(out, s.slot)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
