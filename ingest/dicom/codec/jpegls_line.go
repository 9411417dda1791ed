package codec

import "math/bits"

// losslessLine decodes a line of one component whose NEAR is 0 and whose MAXVAL is all
// ones. above and line have a neighbour before and one behind the samples. It is false if
// the data is malformed.
//
// It is [lsScan.regular] laid out for speed: samples are a chain of dependent steps, of
// which the longest goes from the left neighbour by its gradient, context and Golomb
// parameter to the sample. Whatever can be is taken off that chain, and nothing branches
// on what noise decides: only on runs and on what is rare.
func (s *lsScan) losslessLine() bool {
	above, line := s.above, s.line
	mask, reset, words, p := s.maxVal, s.reset, s.words, s.p
	cur := line[1 : len(line)-1]
	next := above[2:][:len(cur)]
	ra, rc, rb := int(line[0]), int(above[0]), int(above[1])
	q2 := int(s.quant[rb-rc+lsZero])
	for x := uint(0); x < uint(len(cur)); x++ {
		rd := int(next[x])
		q1 := int(s.quant[rd-rb+lsZero])
		q := (81*q1 + 9*q2 - 364) + int(s.quant[rc-ra+lsZero])
		if q == 0 {
			s.p = p
			behind := s.run(int(x) + 1)
			if behind < 0 {
				return false
			}
			p, x = s.p, uint(behind)-2
			ra, rc, rb = int(s.line[behind-1]), int(s.above[behind-1]), int(s.above[behind])
			q2 = int(s.quant[rb-rc+lsZero])
			continue
		}
		sign := q >> 63
		c := &s.contexts[(q^sign)-sign]

		// Median edge detector (T.87 section A.4.1): hi+lo-rc within lo to hi.
		d := ra - rb
		d &= d >> 63
		lo, hi := rb+d, ra-d
		v := hi - rc
		v = v&^(v>>63) - (hi - lo)
		px := hi + v&(v>>63) + ((int(c.c) - 128) ^ sign) - sign // corrected (A.4.2)
		px = min(max(px, 0), mask)

		k := uint(c.k)
		w := words[p>>5] << (p & 31)
		zeros := uint(bits.LeadingZeros64(w))
		var m int
		if zeros <= s.unary {
			// Behind the shift the top bit is the 1 that ends the unary part.
			m = int((zeros-1)<<(k&63)) + int(w<<(zeros&63)>>((63^k)&63))
			p += zeros + 1 + k
		} else {
			s.p = p
			if m = s.golomb(k, s.limit); m < 0 {
				return false
			}
			p = s.p
		}
		// Signs are undone as they are found: e is that of the context, ra of the sample.
		odd := -((m & 1) ^ int(c.flip))
		m >>= 1
		rc, rb, q2 = rb, rd, q1
		ra = (px - sign + (m ^ odd ^ sign)) & mask
		cur[x] = uint16(ra)

		// lsContext.update, which is too large for the compiler to inline.
		e := m ^ odd
		a, bias, n := int(c.a)+max(e, -e), int(c.bias)-e, int(c.n)
		if n == reset {
			a, bias, n = a>>1, (bias+1)>>1, n>>1
		}
		n++
		low, high := (n-1-bias)>>63, bias>>63
		bias = min(max(bias-(n&low)+(n&high), 0), n-1)
		// k seldom changes. That it does not is guessed by the branch, not waited for.
		if whole := n << (k & 63); whole < a || whole>>1 >= a && k != 0 {
			k = uint(bits.Len32(uint32(a|n)) - bits.Len32(uint32(n)))
			k += uint(n<<(k&63)-a) >> 63
			c.k = uint8(k)
		}
		c.a, c.bias, c.n = uint32(a), uint32(bias), uint32(n)
		if correction := int(c.c) + low - high; correction >= 0 && correction <= 255 {
			c.c = uint16(correction)
		}
		c.flip = uint8((uint(n-1-2*bias) & (k - 1)) >> 63)
	}
	s.p = p
	return true
}

// nearLine decodes a line of one component: losslessLine for any NEAR and MAXVAL.
func (s *lsScan) nearLine() bool {
	above, line := s.above, s.line
	reset, step, words, p := s.reset, s.step, s.words, s.p
	least, most, modulus := -s.near, s.maxVal+s.near, s.span*s.step
	flips := 0
	if s.near == 0 {
		flips = 1
	}
	cur := line[1 : len(line)-1]
	next := above[2:][:len(cur)]
	ra, rc, rb := int(line[0]), int(above[0]), int(above[1])
	q2 := int(s.quant[rb-rc+lsZero])
	for x := uint(0); x < uint(len(cur)); x++ {
		rd := int(next[x])
		q1 := int(s.quant[rd-rb+lsZero])
		q := (81*q1 + 9*q2 - 364) + int(s.quant[rc-ra+lsZero])
		if q == 0 {
			s.p = p
			behind := s.run(int(x) + 1)
			if behind < 0 {
				return false
			}
			p, x = s.p, uint(behind)-2
			ra, rc, rb = int(s.line[behind-1]), int(s.above[behind-1]), int(s.above[behind])
			q2 = int(s.quant[rb-rc+lsZero])
			continue
		}
		sign := q >> 63
		c := &s.contexts[(q^sign)-sign]

		d := ra - rb
		d &= d >> 63
		lo, hi := rb+d, ra-d
		v := hi - rc
		v = v&^(v>>63) - (hi - lo)
		px := hi + v&(v>>63) + ((int(c.c) - 128) ^ sign) - sign
		px = min(max(px, 0), s.maxVal)

		k := uint(c.k)
		w := words[p>>5] << (p & 31)
		zeros := uint(bits.LeadingZeros64(w))
		var m int
		if zeros <= s.unary {
			m = int((zeros-1)<<(k&63)) + int(w<<(zeros&63)>>((63^k)&63))
			p += zeros + 1 + k
		} else {
			s.p = p
			if m = s.golomb(k, s.limit); m < 0 {
				return false
			}
			p = s.p
		}
		e := m>>1 ^ -((m & 1) ^ (int(c.flip) & flips))
		whole := e * step
		rc, rb, q2 = rb, rd, q1
		ra = px + (whole ^ sign) - sign
		if ra < least {
			ra += modulus
		} else if ra > most {
			ra -= modulus
		}
		ra = min(max(ra, 0), s.maxVal)
		cur[x] = uint16(ra)

		// lsContext.update, as in losslessLine.
		a, bias, n := int(c.a)+max(e, -e), int(c.bias)-whole, int(c.n)
		if n == reset {
			a, bias, n = a>>1, (bias+1)>>1, n>>1
		}
		n++
		low, high := (n-1-bias)>>63, bias>>63
		bias = min(max(bias-(n&low)+(n&high), 0), n-1)
		if whole := n << (k & 63); whole < a || whole>>1 >= a && k != 0 {
			k = uint(bits.Len32(uint32(a|n)) - bits.Len32(uint32(n)))
			k += uint(n<<(k&63)-a) >> 63
			c.k = uint8(k)
		}
		c.a, c.bias, c.n = uint32(a), uint32(bias), uint32(n)
		if correction := int(c.c) + low - high; correction >= 0 && correction <= 255 {
			c.c = uint16(correction)
		}
		c.flip = uint8((uint(n-1-2*bias) & (k - 1)) >> 63)
	}
	s.p = p
	return true
}
