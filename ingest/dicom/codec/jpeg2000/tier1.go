package jpeg2000

import "math/bits"

// maxBlock is the most samples of a code-block (T.800 A.6.1). Flags need no more words:
// (w+2)*(h/4+2) <= 3078 where w*h <= 4096.
const maxBlock = 4096

// tier1 decodes the code-blocks of T.800 Annex D. It is used again for every block.
//
// A flag word describes a column of four samples in a stripe (figure D.1) and its surrounding
// samples, so that one test passes over four samples that a pass has nothing to do with. For
// row r, 0 to 3, of the column:
//
//	bits 3r to 3r+8    significance of the 3x3 samples around it, row by row; 3r+4 is its own
//	bit 18+r           sign of the sample above; 19+r its own; 20+r that below
//	bit 24+r           the significance pass of this bit-plane coded it
//	bit 28+r           it was refined before
//
// Words are w+2 to a stripe, with a column at either side and a stripe above and below that
// stay outside the block. Indices are masked with maxBlock-1, which changes none and frees
// the inner loops of bounds checks.
type tier1 struct {
	mq      mq
	raw     rawBits
	flags   [maxBlock]uint32
	mags    [maxBlock]uint32 // magnitudes in halves, w to a row; signBit is the sign
	w, h    int
	causal  bool
	zero    *[512]uint8 // contexts of the band at hand
	zeros   [4][512]uint8
	refined [512]uint8
	signs   [256]uint8
	segment []byte
}

const (
	signBit = 1 << 31

	flagSelf    = 1 << 4  // of row 0; row r is at << 3r
	flagAround  = 0x1ef   // the eight neighbours, of row 0
	flagSignUp  = 18      // bit numbers; row r is r further
	flagSign    = 19      //
	flagVisited = 1 << 24 // row r is at << r
	flagRefined = 1 << 28 //

	flagRefinedBit = 28

	flagsSelf    = flagSelf | flagSelf<<3 | flagSelf<<6 | flagSelf<<9
	flagsAny     = 1<<18 - 1
	everyRow     = 1 | 1<<3 | 1<<6 | 1<<9 // as flagSelf lies, at bit 0
	flagsVisited = 15 * flagVisited
)

func newTier1() *tier1 {
	t := &tier1{}
	t.mq.next = newMQNext()
	for n := range t.zeros[0] {
		for orient := range t.zeros {
			t.zeros[orient][n] = zeroContext(orient, n)
		}
	}
	for n := range t.refined { // table D.4; bit 4 tells a sample that was refined before
		switch {
		case n&flagSelf != 0:
			t.refined[n] = ctxMagnitude + 2
		case n != 0:
			t.refined[n] = ctxMagnitude + 1
		default:
			t.refined[n] = ctxMagnitude
		}
	}
	for n := range t.signs {
		t.signs[n] = signContext(n)
	}
	return t
}

// zeroContext is T.800 table D.1 for the nine significances n of a flag word.
func zeroContext(orient, n int) uint8 {
	at := func(i int) int { return n >> i & 1 }
	h, v, d := at(3)+at(5), at(1)+at(7), at(0)+at(2)+at(6)+at(8)
	if orient == bandHH {
		switch hv := h + v; {
		case d >= 3:
			return 8
		case d == 2:
			return uint8(6 + min(hv, 1))
		case d == 1:
			return uint8(3 + min(hv, 2))
		default:
			return uint8(min(hv, 2))
		}
	}
	if orient == bandHL {
		h, v = v, h
	}
	switch {
	case h == 2:
		return 8
	case h == 1 && v > 0:
		return 7
	case h == 1:
		return uint8(5 + min(d, 1))
	case v > 0:
		return uint8(2 + v)
	}
	return uint8(min(d, 2))
}

// signContext is T.800 tables D.2 and D.3: the context, and in bit 7 whether to flip the
// decoded bit. n holds pairs of bits, sign and significance, for the neighbours above, left,
// right and below (see [tier1.sign]).
func signContext(n int) uint8 {
	at := func(i int) int { return (n >> (2*i + 1) & 1) * (1 - 2*(n>>(2*i)&1)) }
	h, v := max(-1, min(1, at(1)+at(2))), max(-1, min(1, at(0)+at(3)))
	flip := uint8(0)
	if h < 0 || h == 0 && v < 0 {
		h, v, flip = -h, -v, 0x80
	}
	if h == 0 {
		return flip | uint8(ctxSign+v)
	}
	return flip | uint8(ctxSign+3+v)
}

// decode decodes the code-block b of a band with the given magnitude bit-planes, the shift
// of a region of interest included, into mags.
func (t *tier1) decode(b *block, orient, planes int, style uint8) error {
	t.w, t.h = int(b.x1-b.x0), int(b.y1-b.y0)
	t.causal = style&styleCausal != 0
	t.zero = &t.zeros[orient]
	clear(t.flags[:(t.w+2)*((t.h+3)/4+2)])
	clear(t.mags[:t.w*t.h])
	top := planes - 1 - int(b.zeroPlanes)
	if top-(int(b.passes)+1)/3 < 0 {
		return malformed("a code-block must have no more coding passes than its bit-planes (T.800 D.3)")
	}
	t.mq.resetContexts()
	pass := 0
	for i := range b.segments {
		s := &b.segments[i]
		t.segment = append(t.segment[:0], s.data...)
		for _, more := range s.more {
			t.segment = append(t.segment, more...)
		}
		t.segment = append(t.segment, 0xff, 0xff)
		raw := style&styleBypass != 0 && pass >= bypassFrom && pass%3 != 0
		if raw {
			t.raw = rawBits{data: t.segment}
		} else {
			t.mq.start(t.segment)
		}
		for range s.passes {
			plane := uint(top - (pass+2)/3)
			switch {
			case pass%3 == 0:
				t.cleanupPass(plane)
				if style&styleSegSym != 0 && !t.symbol() {
					return malformed("a cleanup pass must end with its segmentation symbol (T.800 D.5)")
				}
			case pass%3 == 1 && raw:
				t.rawSignificancePass(plane)
			case pass%3 == 1:
				t.significancePass(plane)
			case raw:
				t.rawRefinementPass(plane)
			default:
				t.refinementPass(plane)
			}
			if style&styleReset != 0 {
				t.mq.resetContexts()
			}
			pass++
		}
	}
	return nil
}

// symbol reads the segmentation symbol, 1010.
func (t *tier1) symbol() bool {
	v := uint32(0)
	for range 4 {
		v = v<<1 | t.mq.bit(ctxUniform)
	}
	return v == 10
}

// sign decodes the sign of row r of the column at word i, whose flags are f. d is that of mq,
// before and after.
func (t *tier1) sign(i int, r uint, f uint32, d int64) (uint32, int64) {
	left, right := t.flags[(i-1)&(maxBlock-1)], t.flags[(i+1)&(maxBlock-1)]
	signs := f >> ((flagSignUp + r) & 31)
	n := f>>(3*r&31)&0xaa | signs&1 | left>>((flagSign+r)&31)&1<<2 | right>>((flagSign+r)&31)&1<<4 | signs>>2&1<<6
	k := t.signs[n&255]
	cx := t.mq.contexts[k&31]
	d -= int64(cx &^ 0xff)
	bit := uint32(cx) & 1
	if d < 0 {
		bit, d = t.mq.exchange(uint32(k), cx, d)
	}
	return bit ^ uint32(k>>7), d
}

// mark makes row r of the column at word i significant in all words but i itself, and
// returns what to set there. A vertically causal stripe does not see the one below it.
func (t *tier1) mark(i int, r uint, sign uint32) uint32 {
	t.flags[(i-1)&(maxBlock-1)] |= flagSelf << 1 << (3 * r & 31)
	t.flags[(i+1)&(maxBlock-1)] |= flagSelf >> 1 << (3 * r & 31)
	stride := t.w + 2
	if r == 0 && !t.causal {
		up := i - stride
		t.flags[(up-1)&(maxBlock-1)] |= 1 << 17
		t.flags[up&(maxBlock-1)] |= 1<<16 | sign<<(flagSign+4)
		t.flags[(up+1)&(maxBlock-1)] |= 1 << 15
	} else if r == 3 {
		down := i + stride
		t.flags[(down-1)&(maxBlock-1)] |= 1 << 2
		t.flags[down&(maxBlock-1)] |= 1<<1 | sign<<flagSignUp
		t.flags[(down+1)&(maxBlock-1)] |= 1 << 0
	}
	return flagSelf<<(3*r&31) | sign<<((flagSign+r)&31)
}

// apart moves the lowest four bits, one for each row, three apart.
func apart(v uint32) uint32 { return v&1 | v&2<<2 | v&4<<4 | v&8<<6 }

// significancePass is T.800 D.3.1: it codes insignificant samples with a significant
// neighbour.
func (t *tier1) significancePass(plane uint) {
	d, w := t.mq.d, t.w
	value := uint32(3) << plane
	zero := t.zero
	for y := 0; y < t.h; y += 4 {
		inside := uint32(everyRow >> (3 * (4 - min(4, t.h-y))))
		word := (y/4+1)*(w+2) + 1
		for x := range w {
			i := word + x
			f := t.flags[i&(maxBlock-1)]
			if f&flagsAny == 0 {
				continue
			}
			// Of each row whether one of its three is significant, then one of the nine.
			any := f&flagsAny | f&flagsAny>>1 | f&flagsAny>>2
			todo := (any | any>>3 | any>>6) &^ (f / flagSelf) & inside
			for todo != 0 {
				at := uint(bits.TrailingZeros32(todo)) & 31
				todo &= todo - 1
				r := at * 11 >> 5 // at / 3
				k := uint32(zero[f>>at&flagAround])
				cx := t.mq.contexts[k&31]
				d -= int64(cx &^ 0xff)
				bit := uint32(cx) & 1
				if d < 0 {
					bit, d = t.mq.exchange(k, cx, d)
				}
				if bit != 0 {
					var sign uint32
					sign, d = t.sign(i, r, f, d)
					t.mags[((y+int(r))*w+x)&(maxBlock-1)] = value | sign<<31
					f |= t.mark(i, r, sign)
					todo |= 8 << at &^ (f / flagSelf) & inside // the one below has a neighbour now
				}
				f |= flagVisited << (r & 31)
			}
			t.flags[i&(maxBlock-1)] = f
		}
	}
	t.mq.d = d
}

// refinementPass is T.800 D.3.3: it codes a bit of the samples that were significant before
// this bit-plane.
func (t *tier1) refinementPass(plane uint) {
	d, w := t.mq.d, t.w
	half := uint32(1) << plane
	refined := &t.refined
	for y := 0; y < t.h; y += 4 {
		inside := uint32(everyRow >> (3 * (4 - min(4, t.h-y))))
		word := (y/4+1)*(w+2) + 1
		for x := range w {
			i := word + x
			f := t.flags[i&(maxBlock-1)]
			if f&flagsSelf == 0 {
				continue
			}
			for todo := f / flagSelf & inside &^ apart(f/flagVisited); todo != 0; todo &= todo - 1 {
				at := uint(bits.TrailingZeros32(todo)) & 31
				r := at * 11 >> 5 // at / 3
				k := uint32(refined[f>>at&flagAround|f>>(flagRefinedBit+r&31)&1<<4])
				cx := t.mq.contexts[k&31]
				d -= int64(cx &^ 0xff)
				bit := uint32(cx) & 1
				if d < 0 {
					bit, d = t.mq.exchange(k, cx, d)
				}
				t.mags[((y+int(r))*w+x)&(maxBlock-1)] += half*2*bit - half
				f |= flagRefined << (r & 31)
			}
			t.flags[i&(maxBlock-1)] = f
		}
	}
	t.mq.d = d
}

// cleanupPass is T.800 D.3.4: it codes all samples that the other passes left, columns of
// four insignificant ones by their first significant sample.
func (t *tier1) cleanupPass(plane uint) {
	d, w := t.mq.d, t.w
	value := uint32(3) << plane
	zero := t.zero
	for y := 0; y < t.h; y += 4 {
		rows := min(4, t.h-y)
		inside := uint32(everyRow >> (3 * (4 - rows)))
		word := (y/4+1)*(w+2) + 1
		for x := range w {
			i := word + x
			f := t.flags[i&(maxBlock-1)]
			todo, found := inside&^(f/flagSelf|apart(f/flagVisited)), false
			if f == 0 && rows == 4 {
				cx := t.mq.contexts[ctxRun]
				d -= int64(cx &^ 0xff)
				bit := uint32(cx) & 1
				if d < 0 {
					bit, d = t.mq.exchange(ctxRun, cx, d)
				}
				if bit == 0 {
					continue
				}
				t.mq.d = d
				r := t.mq.bit(ctxUniform) << 1
				r |= t.mq.bit(ctxUniform)
				d = t.mq.d
				todo, found = todo>>(3*r&31)<<(3*r&31), true
			}
			for ; todo != 0; todo &= todo - 1 {
				at := uint(bits.TrailingZeros32(todo)) & 31
				r := at * 11 >> 5 // at / 3
				if !found {
					k := uint32(zero[f>>at&flagAround])
					cx := t.mq.contexts[k&31]
					d -= int64(cx &^ 0xff)
					bit := uint32(cx) & 1
					if d < 0 {
						bit, d = t.mq.exchange(k, cx, d)
					}
					if bit == 0 {
						continue
					}
				}
				found = false
				var sign uint32
				sign, d = t.sign(i, r, f, d)
				t.mags[((y+int(r))*w+x)&(maxBlock-1)] = value | sign<<31
				f |= t.mark(i, r, sign)
			}
			t.flags[i&(maxBlock-1)] = f &^ flagsVisited
		}
	}
	t.mq.d = d
}

// rawSignificancePass is [tier1.significancePass] under selective bypass (T.800 D.6).
func (t *tier1) rawSignificancePass(plane uint) {
	for y := 0; y < t.h; y += 4 {
		rows := uint(min(4, t.h-y))
		for x := range t.w {
			i := (y/4+1)*(t.w+2) + 1 + x
			f := t.flags[i&(maxBlock-1)]
			for r := uint(0); r < rows; r++ {
				n := f >> (3 * r)
				if n&flagAround == 0 || n&flagSelf != 0 {
					continue
				}
				if t.raw.bit() != 0 {
					sign := t.raw.bit()
					t.mags[((y+int(r))*t.w+x)&(maxBlock-1)] = 3<<plane | sign<<31
					f |= t.mark(i, r, sign)
				}
				f |= flagVisited << r
			}
			t.flags[i&(maxBlock-1)] = f
		}
	}
}

// rawRefinementPass is [tier1.refinementPass] under selective bypass (T.800 D.6).
func (t *tier1) rawRefinementPass(plane uint) {
	half := uint32(1) << plane
	for y := 0; y < t.h; y += 4 {
		rows := uint(min(4, t.h-y))
		for x := range t.w {
			i := (y/4+1)*(t.w+2) + 1 + x
			f := t.flags[i&(maxBlock-1)]
			for r := uint(0); r < rows; r++ {
				if f&(flagSelf<<(3*r)) == 0 || f&(flagVisited<<r) != 0 {
					continue
				}
				t.mags[((y+int(r))*t.w+x)&(maxBlock-1)] += half*2*t.raw.bit() - half
				f |= flagRefined << r
			}
			t.flags[i&(maxBlock-1)] = f
		}
	}
}
