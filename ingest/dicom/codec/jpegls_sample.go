package codec

import "math/bits"

// sampleLine decodes a line of each component, interleaved by sample. Runs are of pixels:
// all components must be flat (T.87 section B.3).
func (s *lsScan) sampleLine(above, line [][]uint16) bool {
	n := len(line)
	width := len(line[0]) - 2
	for x := 1; x <= width; x++ {
		var q [lsMaxComponents]int
		flat := true
		for i := range n {
			q[i] = s.gradients(above[i], line[i], x)
			flat = flat && q[i] == 0
		}
		if flat {
			length, ended := s.runLength(width+1-x, &s.runIndex[0])
			if length < 0 {
				return false
			}
			for i := range n {
				lsFill(line[i][x:x+length], line[i][x-1])
			}
			if x += length; ended {
				break
			}
			for i := range n {
				v := s.interruption(0, int(line[i][x-1]), int(above[i][x]), s.runIndex[0])
				if v < 0 {
					return false
				}
				line[i][x] = uint16(v)
			}
			s.runIndex[0] = max(s.runIndex[0]-1, 0)
			continue
		}
		for i := range n {
			v := s.regular(q[i], int(line[i][x-1]), int(above[i][x]), int(above[i][x-1]))
			if v < 0 {
				return false
			}
			line[i][x] = uint16(v)
		}
	}
	return true
}

// gradients returns the quantised local gradients as one number of base 9, -364 to 364,
// whose sign is that of the context (T.87 sections A.3.1 to A.3.4). 0 is flat.
func (s *lsScan) gradients(above, line []uint16, x int) int {
	ra, rb, rc, rd := int(line[x-1]), int(above[x]), int(above[x-1]), int(above[x+1])
	return 81*int(s.quant[rd-rb+lsZero]) + 9*int(s.quant[rb-rc+lsZero]) + int(s.quant[rc-ra+lsZero]) - 364
}

// regular decodes one sample in the regular mode (T.87 sections A.4 to A.6), or returns -1.
func (s *lsScan) regular(q, ra, rb, rc int) int {
	sign := q >> 63
	c := &s.contexts[(q^sign)-sign]
	px := min(max(ra+rb-rc, min(ra, rb)), max(ra, rb))
	px = min(max(px+((int(c.c)-128)^sign)-sign, 0), s.maxVal)
	k := uint(c.k)
	w := s.words[s.p>>5] << (s.p & 31)
	m, zeros := 0, uint(bits.LeadingZeros64(w))
	if zeros <= s.unary { // as in losslessLine
		m = int((zeros-1)<<(k&63)) + int(w<<(zeros&63)>>((63^k)&63))
		s.p += zeros + 1 + k
	} else if m = s.golomb(k, s.limit); m < 0 {
		return -1
	}
	e := m>>1 ^ -(m & 1)
	if s.near == 0 {
		e ^= -int(c.flip)
	}
	c.update(e, e*s.step, s.reset)
	return s.reconstruct(px, (e^sign)-sign)
}

// update takes an error, quantised and as it is, into the statistics (T.87 section A.6).
func (c *lsContext) update(quantised, e, reset int) {
	a, bias, n := int(c.a)+max(quantised, -quantised), int(c.bias)-e, int(c.n)
	if n == reset {
		a, bias, n = a>>1, (bias+1)>>1, n>>1
	}
	n++
	low, high := (n-1-bias)>>63, bias>>63 // -1 if B <= -N, and if B > 0
	bias = min(max(bias-(n&low)+(n&high), 0), n-1)
	k := uint(c.k)
	// k seldom changes. That it does not is guessed by the branch, not waited for.
	if whole := n << (k & 63); whole < a || whole>>1 >= a && k != 0 {
		k = uint(bits.Len32(uint32(a|n)) - bits.Len32(uint32(n)))
		k += uint(n<<(k&63)-a) >> 63
		c.k = uint8(k)
	}
	c.a, c.bias, c.n = uint32(a), uint32(bias), uint32(n)
	c.c = uint16(min(max(int(c.c)+low-high, 0), 255))
	c.flip = uint8((uint(n-1-2*bias) & (k - 1)) >> 63) // k == 0 and 2*B <= -N
}

// reconstruct adds an error to a prediction, modulo RANGE (T.87 section A.4.5 and code
// segment A.8).
func (s *lsScan) reconstruct(px, e int) int {
	v := px + e*s.step
	if v < -s.near {
		v += s.span * s.step
	} else if v > s.maxVal+s.near {
		v -= s.span * s.step
	}
	return min(max(v, 0), s.maxVal)
}

// run decodes a run from line[x] with the sample that interrupts it (T.87 section A.7).
// It returns the index behind that, or -1.
func (s *lsScan) run(x int) int {
	above, line, runIndex := s.above, s.line, &s.runIndex[s.component]
	length, ended := s.runLength(len(line)-1-x, runIndex)
	if length < 0 {
		return -1
	}
	ra := line[x-1]
	lsFill(line[x:x+length], ra)
	if x += length; ended {
		return x
	}
	rb, kind := int(above[x]), 0
	if d := int(ra) - rb; d <= s.near && d >= -s.near {
		kind = 1
	}
	v := s.interruption(kind, int(ra), rb, *runIndex)
	if v < 0 {
		return -1
	}
	line[x] = uint16(v)
	*runIndex = max(*runIndex-1, 0)
	return x + 1
}

// runLength decodes the length of a run of at most left samples, and whether it ended with
// the line (T.87 section A.7.1.2). The length is -1 if it is longer.
func (s *lsScan) runLength(left int, runIndex *int) (length int, ended bool) {
	for s.take(1) == 1 {
		whole := 1 << lsOrders[*runIndex&31]
		if length+whole > left {
			return left, true
		}
		length += whole
		*runIndex = min(*runIndex+1, 31)
		if length == left {
			return left, true
		}
		if s.p > s.end {
			return -1, false
		}
	}
	length += s.take(uint(lsOrders[*runIndex&31]))
	if length > left {
		return -1, false
	}
	return length, length == left
}

// interruption decodes the sample behind a run (T.87 section A.7.2), or returns -1. kind
// is RItype: 1 if its neighbours at the left and above are alike.
func (s *lsScan) interruption(kind, ra, rb, runIndex int) int {
	c := &s.runs[kind]
	sum := c.a
	if kind == 1 {
		sum += c.n >> 1
	}
	k := uint(0)
	for c.n<<k < sum {
		k++
	}
	m := s.golomb(k, s.limit-int(lsOrders[runIndex&31])-1)
	if m < 0 {
		return -1
	}
	// Mapped errors count magnitudes, the sign that is likelier first (code segment A.22).
	odd := (m + kind) & 1
	e := (m + kind + odd) / 2
	if (k != 0 || 2*c.negative >= c.n) == (odd == 1) {
		e = -e
	}
	if e < 0 {
		c.negative++
	}
	c.a += (m + 1 - kind) >> 1
	if c.n == s.reset {
		c.a, c.n, c.negative = c.a>>1, c.n>>1, c.negative>>1
	}
	c.n++
	switch {
	case kind == 1:
		return s.reconstruct(ra, e)
	case ra > rb:
		return s.reconstruct(rb, -e)
	}
	return s.reconstruct(rb, e)
}

// golomb decodes a mapped error of Golomb parameter k in at most limit bits (T.87 section
// A.5.3), or returns -1.
func (s *lsScan) golomb(k uint, limit int) int {
	zeros := bits.LeadingZeros64(s.peek())
	escape := limit - s.width - 1
	if zeros > escape || s.p > s.end {
		return -1
	}
	s.p += uint(zeros) + 1
	m := 0
	if zeros == escape {
		m = s.take(uint(s.width)) + 1
	} else {
		m = zeros<<k + s.take(k)
	}
	if m > lsMaxMapped {
		return -1
	}
	return m
}

// peek returns the next 64 bits.
func (s *lsScan) peek() uint64 {
	w := s.words[s.p>>5:][:3]
	return w[0]<<(s.p&31) | w[2]>>1>>(63-s.p&31)
}

// take reads n bits, at most 63.
func (s *lsScan) take(n uint) int {
	v := s.peek() >> 1 >> (63 - n)
	s.p += n
	return int(v)
}

func lsFill(line []uint16, v uint16) {
	for i := range line {
		line[i] = v
	}
}
