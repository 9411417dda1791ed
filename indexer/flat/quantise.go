package flat

import "math"

// The first pass of a scan reads vectors as int8 and queries as int16, and decides by a
// bound which vectors have to be scored in float. With
//
//	x = scale * code + e    (a stored vector)
//	y = unit * query + f    (a query)
//
// the product is x.y = scale * unit * code.query + e.(unit * query) + x.f, and by Cauchy and
// Schwarz the last two terms are at most |e| |unit * query| + |x| |f|. The float product
// differs from the exact one by no more than gamma |x| |y|, where gamma grows with the
// longest chain of additions (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
// So every float score has a certain upper bound, and a vector is passed over only when that
// bound is below the scores that were already found: the answer is that of a float scan, bit
// for bit. code.query is an exact int32, the same on every processor.

// lane is the multiple of elements that kernels work on; rows are padded with zeros.
const lane = 32

const (
	maxCode    = 127
	float32ulp = 1.0 / (1 << 24) // largest relative error of one rounding
	slack      = 1e-9            // covers the roundings of the bound itself, which is float64
)

// codes are the quantised vectors of chunkSlots slots, row beside row.
type codes struct {
	rows  []int8
	scale [chunkSlots]float32
	resid [chunkSlots]float32 // |e|, rounded up
	norm  [chunkSlots]float32 // |x|, rounded up
}

func stride(dim int) int { return (dim + lane - 1) / lane * lane }

func newCodes(dim int) *codes { return &codes{rows: make([]int8, chunkSlots*stride(dim))} }

func (c *codes) set(i int, v []float32) {
	row := c.rows[i*stride(len(v)):][:len(v)]
	var largest float32
	for _, x := range v {
		largest = max(largest, x, -x)
	}
	scale := largest / maxCode
	step, inverse := float64(scale), 0.0
	if scale > 0 {
		inverse = 1 / step
	}
	var resid, norm float64
	for j, x := range v {
		exact := float64(x)
		code := max(-maxCode, min(maxCode, math.RoundToEven(exact*inverse)))
		row[j] = int8(code)
		e := exact - step*code
		resid += e * e
		norm += exact * exact
	}
	c.scale[i], c.resid[i], c.norm[i] = scale, roundUp(math.Sqrt(resid)), roundUp(math.Sqrt(norm))
}

func roundUp(v float64) float32 {
	v *= 1 + slack
	f := float32(v)
	if float64(f) < v {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// coarse is a query as the first pass sees it.
type coarse struct {
	euclid bool
	query  []int16
	unit   float64
	norm   float64 // |y|
	// A product is at most scale*unit*integer + resid*perResid + norm*perNorm + tiny.
	perResid, perNorm, tiny float64
	round                   float64 // relative error of a squared distance
	limit                   float64 // vectors of this length or more may overflow float32
}

// newCoarse prepares a query; nil where d has no first pass.
func newCoarse(d Distance, y []float32) *coarse {
	if d == Manhattan {
		return nil
	}
	q := &coarse{euclid: d == Euclid, query: make([]int16, stride(len(y)))}
	// No sum of dim products may leave int32.
	most := min(math.MaxInt16, math.MaxInt32/(maxCode*len(y)))
	var largest, norm, resid float64
	for _, x := range y {
		largest = max(largest, math.Abs(float64(x)))
		norm += float64(x) * float64(x)
	}
	q.unit = largest / float64(most)
	for i, x := range y {
		if q.unit > 0 {
			q.query[i] = int16(max(-float64(most), min(float64(most), math.RoundToEven(float64(x)/q.unit))))
		}
		f := float64(x) - q.unit*float64(q.query[i])
		resid += f * f
	}
	q.norm, resid = math.Sqrt(norm)*(1+slack), math.Sqrt(resid)*(1+slack)
	// dot keeps eight sums, squaredDistance four; both end with a few more additions.
	gamma := float64(len(y)/8+20) * 1.01 * float32ulp
	q.round = float64(len(y)/4+20) * 1.01 * float32ulp
	q.perResid = (q.norm + resid) * (1 + slack)
	q.perNorm = resid + (gamma+slack)*q.norm
	// A product that underflows is off by up to half of the smallest float32.
	q.tiny = float64(len(y)) * math.SmallestNonzeroFloat32
	q.limit = 1e38 / q.norm
	if q.euclid {
		q.limit = 1e18 - q.norm
	}
	return q
}

// below reports whether the internal score of slot i is certainly worse than floor, given
// its integer product. Whatever is not a number gives false.
func (q *coarse) below(c *codes, i int, product int32, floor float64) bool {
	norm := float64(c.norm[i])
	most := float64(c.scale[i])*q.unit*float64(product) + float64(c.resid[i])*q.perResid + norm*q.perNorm + q.tiny
	if q.euclid {
		// norm was rounded up by less than 1e-6 of itself.
		sum := norm + q.norm
		most = 2*most - norm*norm - q.norm*q.norm + (q.round+4e-6)*sum*sum + q.tiny
	}
	return most < floor && norm < q.limit
}

// dotRowsGo sets out[i] to the product of row i with query; it says what the other kernels
// have to give. len(query) is the width of a row and a multiple of lane.
func dotRowsGo(out []int32, rows []int8, query []int16) {
	for i := range out {
		row := rows[i*len(query):][:len(query)]
		var sum int32
		for j, q := range query {
			sum += int32(row[j]) * int32(q)
		}
		out[i] = sum
	}
}
