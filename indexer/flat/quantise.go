package flat

import (
	"encoding/binary"
	"math"
)

// The first passes of a scan read vectors in few bits and queries as int8, and decide by a bound
// which vectors have to be scored in float. With
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
//
// A code is 32*high + low, five bits each, which lie apart. A scan is bound by memory, so it reads
// high alone first, with the larger e that belongs to it, and low of the vectors that this leaves.
// Five bits, since |e| is then about 0.06 |x|: of random vectors, the worst there are, 3 % are left
// of 20,000 and 1 % of 100,000. Four leave 34 and 20 %, and reading those costs more than the fifth bit.

// lane is the multiple of elements that kernels work on; rows are filled up with zeros of the query.
const lane = 128

const (
	maxCode    = 495             // 32*15 + 15
	offset     = 16              // of what is stored to what is meant, so that it is not negative
	float32ulp = 1.0 / (1 << 24) // largest relative error of one rounding
	slack      = 1e-9            // covers the roundings of the bound itself, which is float64
)

// codes are the quantised vectors of chunkSlots slots.
type codes struct {
	high, low []byte              // row beside row
	scale     [chunkSlots]float32 // of code
	resid     [chunkSlots]float32 // |e|, rounded up
	residHigh [chunkSlots]float32 // |e| where the code is 32*high, rounded up
	norm      [chunkSlots]float32 // |x|, rounded up
	// The largest that were ever there, rounded up: residHigh/scale, which hardly differs, and norm.
	maxRatio, maxNorm float32
}

// A row of high or low has the low four bits of its elements, those of 64 in the lower halves of 64
// bytes and those of the next 64 in their upper halves, and then the fifth bits of all in order.

// nibbles is the length in bytes of the first part of a row, rowBytes of all.
func nibbles(dim int) int  { return (dim + lane - 1) / lane * lane / 2 }
func rowBytes(dim int) int { return nibbles(dim) / 4 * 5 }

// put sets elements at to at+63 of a row of zeros, of five bits each.
func put(row []byte, at int, elements *[64]byte) {
	lower, shift := (*[64]byte)(row[at/128*64:]), at/64%2*4
	var fifth uint64
	for i, v := range elements {
		lower[i] |= v & 15 << shift
		fifth |= uint64(v>>4&1) << i
	}
	binary.LittleEndian.PutUint64(row[len(row)/5*4+at/8:], fifth)
}

func newCodes(dim int) *codes {
	return &codes{high: make([]byte, chunkSlots*rowBytes(dim)), low: make([]byte, chunkSlots*rowBytes(dim))}
}

func (c *codes) set(i int, v []float32) {
	n := rowBytes(len(v))
	high, low := c.high[i*n:(i+1)*n], c.low[i*n:(i+1)*n]
	clear(high)
	clear(low)
	var largest float32
	for _, x := range v {
		if size := float32(math.Abs(float64(x))); size > largest { // max minds what is not a number, and takes a third of all
			largest = size
		}
	}
	scale := largest / maxCode
	step, inverse := float64(scale), 0.0
	if scale > 0 {
		inverse = 1 / step
	}
	var resid, residHigh, norm float64
	for at := 0; at < len(v); at += 64 {
		var h, l [64]byte
		for j, x := range v[at:min(at+64, len(v))] {
			exact := float64(x)
			code := max(-maxCode, min(maxCode, math.RoundToEven(exact*inverse)))
			highs, lows := split(int(code))
			h[j], l[j] = byte(highs+offset), byte(lows+offset)
			e, eh := exact-step*code, exact-step*float64(32*highs)
			resid += e * e
			residHigh += eh * eh
			norm += exact * exact
		}
		put(high, at, &h)
		put(low, at, &l)
	}
	c.scale[i], c.resid[i], c.residHigh[i], c.norm[i] = scale, roundUp(math.Sqrt(resid)), roundUp(math.Sqrt(residHigh)), roundUp(math.Sqrt(norm))
	c.maxNorm = max(c.maxNorm, c.norm[i])
	if c.residHigh[i] > 0 {
		c.maxRatio = max(c.maxRatio, roundUp(float64(c.residHigh[i])/step))
	}
}

// split takes a code apart into 32*high + low, low from -16 to 15.
func split(code int) (high, low int) {
	high = (code + offset) >> 5
	return high, code - 32*high
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
	query  []int8 // filled up to lane
	shift  int32  // what the offset adds to a product of a row
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
	q := &coarse{euclid: d == Euclid, query: make([]int8, 2*nibbles(len(y)))}
	var largest, norm, resid float64
	for _, x := range y {
		largest = max(largest, math.Abs(float64(x)))
		norm += float64(x) * float64(x)
	}
	q.unit = largest / math.MaxInt8
	for i, x := range y {
		var c float64
		if q.unit > 0 {
			c = max(-math.MaxInt8, min(math.MaxInt8, math.RoundToEven(float64(x)/q.unit)))
		}
		q.query[i] = int8(c)
		q.shift += offset * int32(c)
		f := float64(x) - q.unit*c
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

// product puts the products of the two halves of a code together.
func (q *coarse) product(high, low int32) float64 {
	return 32*float64(high-q.shift) + float64(low-q.shift)
}

// guess is about the internal score of slot i, given the product of its code.
func (q *coarse) guess(c *codes, i uint32, product float64) float32 {
	about := float64(c.scale[i]) * q.unit * product
	if q.euclid {
		norm := float64(c.norm[i])
		about = 2*about - norm*norm
	}
	return float32(about)
}

// most is an upper bound of the product of a vector with the query.
func (q *coarse) most(scale float32, product float64, resid float32, norm float64) float64 {
	return float64(scale)*q.unit*product + float64(resid)*q.perResid + norm*q.perNorm + q.tiny
}

// below reports whether the internal score of slot i is certainly worse than floor, given
// the product of its code and |e|. Whatever is not a number gives false.
func (q *coarse) below(c *codes, i uint32, product float64, resid float32, floor float64) bool {
	norm := float64(c.norm[i])
	most := q.most(c.scale[i], product, resid, norm)
	if q.euclid {
		most = q.squared(most, norm)
	}
	return most < floor && norm < q.limit
}

// sift lists the rows of m of which high alone does not say that they are below floor.
func (q *coarse) sift(l *list, c *codes, m *mask, high *[chunkSlots]int32, floor float64) {
	l.n = 0
	if q.euclid || !(float64(c.maxNorm) < q.limit) {
		for row := range m.rows {
			if !q.below(c, row, q.product(high[row], q.shift), c.residHigh[row], floor) {
				l.add(row)
			}
		}
		return
	}
	// That is most < floor, with resid = maxRatio*scale and norm = maxNorm.
	step, rest := 32*q.unit, float64(c.maxRatio)*q.perResid
	rest -= step * float64(q.shift)
	floor -= float64(c.maxNorm)*q.perNorm + q.tiny
	for row := range m.rows {
		row %= chunkSlots // without which each look-up checks bounds
		if !(float64(c.scale[row])*(step*float64(high[row])+rest) < floor) {
			l.add(row)
		}
	}
}

// squared is the upper bound of a negated squared distance, given that of the product.
func (q *coarse) squared(most, norm float64) float64 {
	// norm was rounded up by less than 1e-6 of itself.
	sum := norm + q.norm
	return 2*most - norm*norm - q.norm*q.norm + (q.round+4e-6)*sum*sum + q.tiny
}

// ahead is how many rows a kernel asks for before it works on them.
const ahead = 16

// list is the rows of a chunk that a kernel reads, in that order.
type list struct {
	n  int
	at [chunkSlots + ahead]uint32
}

// inOrder is all rows.
var inOrder = func() (at [chunkSlots + ahead]uint32) {
	for i := range at {
		at[i] = uint32(min(i, chunkSlots-1))
	}
	return at
}()

func (l *list) add(row uint32) {
	l.at[l.n] = row
	l.n++
}

// products gives the products of the listed rows with a query.
func (l *list) products(out *[chunkSlots]int32, dot kernelFunc, rows []byte, query []int8) {
	if l.n == 0 {
		return
	}
	for i := range ahead { // kernels work on four at a time, and look ahead
		l.at[l.n+i] = l.at[l.n-1]
	}
	dot(out[:(l.n+3)/4*4], rows, &l.at, query)
}

// kernelFunc sets out[i], of a multiple of four, to the product of row at[i] with query.
type kernelFunc func(out []int32, rows []byte, at *[chunkSlots + ahead]uint32, query []int8)

// dotRowsGo says what the other kernels have to give.
func dotRowsGo(out []int32, rows []byte, at *[chunkSlots + ahead]uint32, query []int8) {
	n := rowBytes(len(query))
	for i := range out {
		row := rows[int(at[i])*n:][:n]
		fifth := row[len(query)/2:]
		var sum int32
		for j, y := range query {
			v := row[j/128*64+j%64]>>(j/64%2*4)&15 | fifth[j/8]>>(j%8)&1<<4
			sum += int32(v) * int32(y)
		}
		out[i] = sum
	}
}
