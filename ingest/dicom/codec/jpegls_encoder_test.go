package codec

import "math/bits"

// lsImage is an image for the encoder of the tests and how to code it.
type lsImage struct {
	rows, columns, samples, precision int
	near                              int
	interleave                        byte
	restart                           int // lines, 0 for none
	preset                            lsPreset
	pix                               []uint16 // interleaved by pixel; the encoder puts what a decoder must yield
}

// lsEncode writes T.87 as its text has it, step by step, and shares nothing with the
// decoder but the constants.
func lsEncode(m *lsImage) []byte {
	b := []byte{0xff, lsSOI, 0xff, 0xe5, 0, 3, 7} // with a segment to be passed over
	word := func(vs ...int) {
		for _, v := range vs {
			b = append(b, byte(v>>8), byte(v))
		}
	}
	word(0xff00|lsSOF55, 8+3*m.samples)
	b = append(b, byte(m.precision))
	word(m.rows, m.columns)
	b = append(b, byte(m.samples))
	for i := range m.samples {
		b = append(b, byte(i+1), 0x11, 0)
	}
	if p := m.preset; p != (lsPreset{}) {
		word(0xff00|lsLSE, 13)
		b = append(b, 1)
		word(p.maxVal, p.t1, p.t2, p.t3, p.reset)
	}
	if m.restart > 0 {
		word(0xff00|lsDRI, 4, m.restart)
	}
	scan := func(components ...int) {
		word(0xff00|lsSOS, 6+2*len(components))
		b = append(b, byte(len(components)))
		for _, c := range components {
			b = append(b, byte(c+1), 0)
		}
		b = append(b, byte(m.near), m.interleave, 0)
		e := newLSEncoder(m)
		for y := range m.rows {
			if m.restart > 0 && y > 0 && y%m.restart == 0 {
				b = append(append(b, e.flush()...), 0xff, byte(lsRST0+(y/m.restart-1)%8))
				e = newLSEncoder(m)
				e.top = y
			}
			e.row(y, components)
		}
		b = append(b, e.flush()...)
	}
	switch {
	case m.interleave != lsInterleaveNone:
		all := []int{0, 1, 2, 3}
		scan(all[:m.samples]...)
	default:
		for c := range m.samples {
			scan(c)
		}
	}
	return append(b, 0xff, lsEOI)
}

type lsEncoder struct {
	*lsImage
	maxVal, t1, t2, t3, reset int
	span, width, limit, top   int
	a, b, c, n                [367]int
	negative                  [2]int
	runIndex                  [4]int
	out                       []byte
	acc, free                 int // the byte being filled and its free bits
	ra, rb, rc, rd, sign, ctx int
}

func newLSEncoder(m *lsImage) *lsEncoder {
	e := &lsEncoder{lsImage: m, free: 8, maxVal: m.preset.maxVal, reset: m.preset.reset}
	if e.maxVal == 0 {
		e.maxVal = 1<<m.precision - 1
	}
	if e.reset == 0 {
		e.reset = 64
	}
	preset := m.preset
	preset.maxVal = e.maxVal
	e.t1, e.t2, e.t3 = lsThresholds(preset, m.near) // checked by the streams of others
	e.span = (e.maxVal+2*m.near)/(2*m.near+1) + 1
	for 1<<e.width < e.span {
		e.width++
	}
	depth := max(2, bits.Len(uint(e.maxVal)))
	e.limit = 2 * (depth + max(8, depth))
	for i := range e.a {
		e.a[i], e.n[i] = max(2, (e.span+32)/64), 1
	}
	return e
}

func (e *lsEncoder) put(v, n int) {
	for n--; n >= 0; n-- {
		e.free--
		e.acc |= v >> n & 1 << e.free
		if e.free == 0 {
			e.out = append(e.out, byte(e.acc))
			if e.free = 8; e.acc == 0xff {
				e.free = 7
			}
			e.acc = 0
		}
	}
}

func (e *lsEncoder) flush() []byte {
	if e.free < 8 {
		e.put(0, e.free) // a byte behind 0xFF that has only the stuffed bit is written too
	}
	return e.out
}

func (e *lsEncoder) at(y, x, c int) *uint16 { return &e.pix[(y*e.columns+x)*e.samples+c] }

// neighbours sets ra to rd (T.87 section A.2.1).
func (e *lsEncoder) neighbours(y, x, c int) {
	get := func(dy, x int) int {
		if y-dy < e.top {
			return 0
		}
		return int(*e.at(y-dy, x, c))
	}
	e.rb, e.rd = get(1, x), get(1, min(x+1, e.columns-1))
	if x > 0 {
		e.ra, e.rc = get(0, x-1), get(1, x-1)
	} else {
		e.ra, e.rc = e.rb, get(2, 0)
	}
}

func (e *lsEncoder) quantise(d int) int {
	sign := 1
	if d < 0 {
		d, sign = -d, -1
	}
	switch {
	case d <= e.near:
		return 0
	case d < e.t1:
		return sign
	case d < e.t2:
		return 2 * sign
	case d < e.t3:
		return 3 * sign
	}
	return 4 * sign
}

// context sets ctx and sign and tells whether all gradients are flat (A.3).
func (e *lsEncoder) context() bool {
	q := 81*e.quantise(e.rd-e.rb) + 9*e.quantise(e.rb-e.rc) + e.quantise(e.rc-e.ra)
	e.sign = 1
	if q < 0 {
		q, e.sign = -q, -1
	}
	e.ctx = q
	return q == 0
}

// quantiseError quantises, reconstructs and reduces an error (A.4.4, A.4.5).
func (e *lsEncoder) quantiseError(p *uint16, px, sign int) int {
	d, step := sign*(int(*p)-px), 2*e.near+1
	if d > 0 {
		d = (d + e.near) / step
	} else {
		d = -((e.near - d) / step)
	}
	*p = uint16(min(max(px+sign*d*step, 0), e.maxVal))
	if d < 0 {
		d += e.span
	}
	if d >= (e.span+1)/2 {
		d -= e.span
	}
	return d
}

func (e *lsEncoder) golomb(v, k, limit int) {
	if v>>k < limit-e.width-1 {
		e.put(0, v>>k)
		e.put(1, 1)
		e.put(v&(1<<k-1), k)
		return
	}
	e.put(0, limit-e.width-1)
	e.put(1, 1)
	e.put(v-1, e.width)
}

func (e *lsEncoder) regular(p *uint16) {
	q, px := e.ctx, 0
	switch {
	case e.rc >= max(e.ra, e.rb):
		px = min(e.ra, e.rb)
	case e.rc <= min(e.ra, e.rb):
		px = max(e.ra, e.rb)
	default:
		px = e.ra + e.rb - e.rc
	}
	px = min(max(px+e.sign*e.c[q], 0), e.maxVal)
	d := e.quantiseError(p, px, e.sign)
	k := 0
	for e.n[q]<<k < e.a[q] {
		k++
	}
	v := 2 * d
	if d < 0 {
		v = -2*d - 1
	}
	if e.near == 0 && k == 0 && 2*e.b[q] <= -e.n[q] {
		if v = 2*d + 1; d < 0 {
			v = -2 * (d + 1)
		}
	}
	e.golomb(v, k, e.limit)
	e.b[q] += d * (2*e.near + 1)
	e.a[q] += max(d, -d)
	if e.n[q] == e.reset {
		e.a[q], e.b[q], e.n[q] = e.a[q]>>1, e.b[q]>>1, e.n[q]>>1
	}
	e.n[q]++
	if n := e.n[q]; e.b[q] <= -n {
		e.b[q] = max(e.b[q]+n, 1-n)
		e.c[q] = max(e.c[q]-1, -128)
	} else if e.b[q] > 0 {
		e.b[q] = min(e.b[q]-n, 0)
		e.c[q] = min(e.c[q]+1, 127)
	}
}

// interrupt codes the sample behind a run (A.7.2).
func (e *lsEncoder) interrupt(p *uint16, kind, runIndex int) {
	px, sign, q := e.rb, 1, 365+kind
	sum := e.a[q]
	if kind == 1 {
		px = e.ra
		sum += e.n[q] >> 1
	} else if e.ra > e.rb {
		sign = -1
	}
	d := e.quantiseError(p, px, sign)
	k := 0
	for e.n[q]<<k < sum {
		k++
	}
	upper := 0
	if k == 0 && d > 0 && 2*e.negative[kind] < e.n[q] || d < 0 && (2*e.negative[kind] >= e.n[q] || k != 0) {
		upper = 1
	}
	v := 2*max(d, -d) - kind - upper
	e.golomb(v, k, e.limit-int(lsOrders[runIndex])-1)
	if d < 0 {
		e.negative[kind]++
	}
	e.a[q] += (v + 1 - kind) >> 1
	if e.n[q] == e.reset {
		e.a[q], e.n[q], e.negative[kind] = e.a[q]>>1, e.n[q]>>1, e.negative[kind]>>1
	}
	e.n[q]++
}

// row codes a line of the components: interleaved by sample, or one by one.
func (e *lsEncoder) row(y int, components []int) {
	if e.interleave != lsInterleaveSample {
		for i := range components {
			e.line(y, components[i:i+1], &e.runIndex[i])
		}
		return
	}
	e.line(y, components, &e.runIndex[0])
}

func (e *lsEncoder) line(y int, components []int, runIndex *int) {
	for x := 0; x < e.columns; x++ {
		flat := true
		for _, c := range components {
			e.neighbours(y, x, c)
			flat = e.context() && flat
		}
		if !flat {
			for _, c := range components {
				e.neighbours(y, x, c)
				e.context()
				e.regular(e.at(y, x, c))
			}
			continue
		}
		length := 0
		for ; x < e.columns; x++ {
			same := true
			for _, c := range components {
				e.neighbours(y, x, c)
				d := int(*e.at(y, x, c)) - e.ra
				same = same && d <= e.near && d >= -e.near
			}
			if !same {
				break
			}
			for _, c := range components {
				e.neighbours(y, x, c)
				*e.at(y, x, c) = uint16(e.ra)
			}
			length++
		}
		for length >= 1<<lsOrders[*runIndex] {
			e.put(1, 1)
			length -= 1 << lsOrders[*runIndex]
			*runIndex = min(*runIndex+1, 31)
		}
		if x == e.columns {
			if length > 0 {
				e.put(1, 1)
			}
			return
		}
		e.put(length, int(lsOrders[*runIndex])+1)
		for _, c := range components {
			e.neighbours(y, x, c)
			kind := 0
			if d := e.ra - e.rb; len(components) == 1 && d <= e.near && d >= -e.near {
				kind = 1
			}
			e.interrupt(e.at(y, x, c), kind, *runIndex)
		}
		*runIndex = max(*runIndex-1, 0)
	}
}
