package flat

import (
	"cmp"
	"math"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// recommend follows Qdrant's strategies: average_vector is an ordinary search; the others
// score every point against every example, larger is better whatever the distance.
func (c *collection) recommend(q Query, r Recommend, within scope, k int) ([]scored, error) {
	if len(r.Positive) == 0 && (r.Strategy == AverageVector || len(r.Negative) == 0) {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonQuery, "recommend needs at least one example, and a positive one for average_vector")
	}
	within = within.without(append(slices.Clip(r.Positive), r.Negative...)...)
	positive, err := c.resolveAll(q.Using, r.Positive, r.Strategy)
	if err != nil {
		return nil, err
	}
	negative, err := c.resolveAll(q.Using, r.Negative, r.Strategy)
	if err != nil {
		return nil, err
	}
	d := c.cfg.Vectors[q.Using].Distance
	var score func([]float32) float32
	switch r.Strategy {
	case BestScore:
		score = func(v []float32) float32 {
			p, n := bestOf(d, positive, v), bestOf(d, negative, v)
			if p > n {
				return sigmoid(p)
			}
			return -sigmoid(n)
		}
	case SumScores:
		score = func(v []float32) float32 { return sumOf(d, positive, v) - sumOf(d, negative, v) }
	default:
		target := average(positive)
		if len(negative) > 0 {
			for i, n := range average(negative) {
				target[i] += target[i] - n
			}
		}
		if target, err = c.cfg.prepare(q.Using, target); err != nil {
			return nil, err
		}
		return c.nearest(q, target, within, k), nil
	}
	all := search{c: c, col: c.columns[q.Using], score: score, scope: within}
	return q.cut(all.best(k), func(s, t float32) bool { return s > t }), nil
}

// resolveAll resolves examples. Qdrant averages vectors as they were sent, so a long one
// weighs more than a stored (normalised) one; only the average is normalised.
func (c *collection) resolveAll(using string, ins []Input, s Strategy) ([][]float32, error) {
	out := make([][]float32, len(ins))
	for i, in := range ins {
		var err error
		if out[i], err = c.resolve(using, in); err != nil {
			return nil, err
		}
		if s == AverageVector && in.ID == nil {
			out[i] = in.Vector
		}
	}
	return out, nil
}

func bestOf(d Distance, examples [][]float32, v []float32) float32 {
	best := float32(math.Inf(-1))
	for _, e := range examples {
		best = max(best, d.similarity(e, v))
	}
	return best
}

func sumOf(d Distance, examples [][]float32, v []float32) (sum float32) {
	for _, e := range examples {
		sum += d.similarity(e, v)
	}
	return sum
}

// sigmoid is Qdrant's stand-in for the logistic function, x/(1+|x|) scaled to (0, 1).
func sigmoid(x float32) float32 {
	return 0.5 * (x/(1+float32(math.Abs(float64(x)))) + 1)
}

func average(vs [][]float32) []float32 {
	out := make([]float32, len(vs[0]))
	for _, v := range vs {
		for i, x := range v {
			out[i] += x
		}
	}
	for i := range out {
		out[i] /= float32(len(vs))
	}
	return out
}

// fuse merges the lists of prefetches by q.Ranking, which is RRF or DBSF.
func (c *collection) fuse(q Query, lists [][]scored, k int) ([]scored, error) {
	if len(lists) == 0 {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonQuery, "a fusion needs prefetches")
	}
	rrf, byRank := q.Ranking.(RRF)
	if byRank && rrf.Weights != nil && len(rrf.Weights) != len(lists) {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonQuery, "the number of weights must be that of the prefetches")
	}
	if byRank && rrf.K < 1 {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonQuery, "k of a rank fusion must be at least 1")
	}
	sums := make(map[uint32]float32)
	for i, list := range lists {
		var share func(rank int, s scored) float32
		if byRank {
			weight := float32(1)
			if rrf.Weights != nil {
				weight = rrf.Weights[i]
			}
			share = func(rank int, _ scored) float32 {
				if weight <= 0 {
					return 0
				}
				return 1 / (float32(rank+1)/weight + float32(rrf.K) - 1)
			}
		} else {
			low, high := spread(list)
			share = func(_ int, s scored) float32 {
				if low == high {
					return 0.5
				}
				return (s.score - low) / (high - low)
			}
		}
		for rank, s := range list {
			sums[s.slot] += share(rank, s)
		}
	}
	found := make([]scored, 0, len(sums))
	for slot, sum := range sums {
		found = append(found, scored{slot: slot, score: sum})
	}
	slices.SortFunc(found, c.compare)
	found = q.cut(found, func(s, t float32) bool { return s >= t })
	return found[:min(k, len(found))], nil
}

// spread returns mean -+ 3 standard deviations (of the sample) of the scores, by Welford's
// recurrence in float32 as Qdrant has it.
func spread(list []scored) (low, high float32) {
	if len(list) < 2 {
		return 0, 0
	}
	var mean, m2 float32
	for i, s := range list {
		delta := s.score - mean
		mean += delta / float32(i+1)
		m2 += delta * (s.score - mean)
	}
	dev := float32(math.Sqrt(float64(m2 / float32(len(list)-1))))
	return mean - 3*dev, mean + 3*dev
}

// orderValue is what OrderBy sorts by: an integer (also microseconds) or a float.
type orderValue struct {
	set     bool
	isFloat bool
	i       int64
	f       float64
}

func (v orderValue) value() any {
	switch {
	case !v.set:
		return nil
	case v.isFloat:
		return v.f
	}
	return v.i
}

func (v orderValue) compare(o orderValue) int {
	if v.isFloat {
		return cmp.Compare(v.f, o.f)
	}
	return cmp.Compare(v.i, o.i)
}

// orderBy lists the points in the order of a field, ties by id. A point with several
// values appears once for each, as in Qdrant.
func (c *collection) orderBy(r OrderBy, within scope) ([]scored, error) {
	path, err := ParsePath(r.Key)
	if err != nil {
		return nil, err
	}
	ix := c.indexes[r.Key]
	if ix.Type != IntegerIndex && ix.Type != FloatIndex && ix.Type != DatetimeIndex {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonNoIndex, "no range index for order_by key %q; create an integer, float or datetime index", r.Key)
	}
	sign := 1
	if r.Descending {
		sign = -1
	}
	if f, ok := r.From.(float64); ok && ix.Type == IntegerIndex {
		r.From = int64(math.Ceil(f))
		if r.Descending {
			r.From = int64(math.Floor(f))
		}
	}
	kind := ix.Type
	if kind == DatetimeIndex { // From is microseconds, where payloads have text
		kind = IntegerIndex
	}
	from := orderOf(r.From, kind)
	if r.From != nil && !from.set {
		return nil, fault.Reject("flat.Query", fault.Invalid, reasonQuery, "start_from is not of the type of the index on %q", r.Key)
	}
	var found []scored
	visit := func(slot uint32) {
		if !c.matches(slot, within.pass) {
			return
		}
		path.each(c.payloads[slot], func(v any) bool {
			eachElement(func(v any) bool {
				o := orderOf(v, ix.Type)
				if o.set && (!from.set || sign*o.compare(from) >= 0) {
					found = append(found, scored{slot: slot, order: o, score: 1})
				}
				return false
			})(v)
			return true
		})
	}
	if within.only != nil {
		for _, slot := range within.only {
			visit(slot)
		}
	} else {
		for slot := range uint32(len(c.ids)) {
			visit(slot)
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		return sign * cmp.Or(a.order.compare(b.order), c.ids[a.slot].Compare(c.ids[b.slot]))
	})
	return found, nil
}

func orderOf(v any, t IndexType) orderValue {
	switch v := v.(type) {
	case int64:
		switch t {
		case FloatIndex:
			return orderValue{set: true, isFloat: true, f: float64(v)}
		case IntegerIndex:
			return orderValue{set: true, i: v}
		}
	case float64:
		if t == FloatIndex {
			return orderValue{set: true, isFloat: true, f: v}
		}
	case string:
		if d, ok := ParseDatetime(v); ok && t == DatetimeIndex {
			return orderValue{set: true, i: d.UnixMicro()}
		}
	}
	return orderValue{}
}
