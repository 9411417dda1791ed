package jpeg2000

import "math/bits"

// htDecoder decodes the code-blocks of T.814. It is used again for every block.
//
// A cleanup pass works on quads, 2x2 samples each, in pairs from left to right: the pattern of
// significant samples and the bound of their magnitudes come from two bit streams, MEL and
// VLC, the magnitudes and signs from a third, MagSgn.
type htDecoder struct {
	mags [maxBlock]uint32 // as those of tier1, but stride to a row
	vlc  [2][1024]htEntry // by context*128 plus the next seven bits; [0] for the first row
	w, h int
	// stride is w rounded up to whole quads: at most the nominal width, which is even.
	stride int

	mel    melReader
	stream vlcReader
	magsgn forwardBits

	// rows of quads, at hand and above, with one more quad at either side
	above, row []htQuad
	joined     [2][]byte // codeword segments that came in several layers
	state      []uint8   // of refinement: (w+2)*(h+2) samples, see [htDecoder.refine]
}

// htQuad is what the quads below and right of it need of a quad.
type htQuad struct {
	rho         uint // bit i: sample i is significant
	left, right int  // exponents of its two lower samples
}

// htEntry is an entry of httables.go: the codeword's length in bits 0 to 2, u_off in 3, rho
// from 4, e_k from 8 and e_1 from 12.
type htEntry uint16

func newHTDecoder() *htDecoder {
	d := &htDecoder{}
	for i, table := range [2][]uint32{htFirstRow[:], htOtherRows[:]} {
		for _, e := range table {
			length := e & 15
			entry := htEntry(length | e>>20&1<<3 | e>>24&15<<4 | e>>16&15<<8 | e>>12&15<<12)
			for n := e >> 4 & 127; n < 128; n += 1 << length {
				d.vlc[i][e>>28<<7|n] = entry
			}
		}
	}
	return d
}

// decode decodes the code-block b with the given magnitude bit-planes into mags.
func (d *htDecoder) decode(b *block, planes int, causal bool) error {
	d.w, d.h = int(b.x1-b.x0), int(b.y1-b.y0)
	d.stride = (d.w + 1) &^ 1
	clear(d.mags[:d.stride*((d.h+1)&^1)])
	// Segments are in turn a cleanup pass and the refinements of it. Each cleanup pass stands
	// for itself, one bit-plane below the one before, so that only the last is decoded.
	plane := planes - 1 - int(b.zeroPlanes) - (int(b.segments[0].passes)-1)/3
	last := -1
	for i := 0; i < len(b.segments); i += 2 {
		if s := &b.segments[i]; len(s.data) > 0 || len(s.more) > 0 {
			last = i
		}
	}
	if last < 0 { // places held, no pass yet
		return nil
	}
	plane -= last / 2
	refined := last+1 < len(b.segments)
	if plane < 0 || refined && plane < 1 {
		return malformed("a code-block must have no more coding passes than its bit-planes (T.814 B.1)")
	}
	if planes > 29 {
		return unsupported("HT code-blocks must have at most 29 magnitude bit-planes (T.814 7.3)")
	}
	if err := d.cleanup(b.segments[last].join(&d.joined[0]), uint(plane), planes-plane+1); err != nil {
		return err
	}
	if refined {
		s := &b.segments[last+1]
		d.refine(s.join(&d.joined[1]), uint(plane-1), s.passes > 1, causal)
	}
	return nil
}

// join returns the bytes of s, in buffer if they came in several layers.
func (s *codeSegment) join(buffer *[]byte) []byte {
	if len(s.more) == 0 {
		return s.data
	}
	*buffer = append((*buffer)[:0], s.data...)
	for _, more := range s.more {
		*buffer = append(*buffer, more...)
	}
	return *buffer
}

// cleanup decodes an HT cleanup segment (T.814 7.1 to 7.3), whose magnitudes count steps of
// bit-plane plane. most is the largest bound U_q that fits in the bit-planes.
func (d *htDecoder) cleanup(data []byte, plane uint, most int) error {
	n := len(data)
	if n < 2 {
		return malformed("an HT cleanup segment must have at least two bytes (T.814 7.1.1)")
	}
	suffix := int(data[n-1])<<4 | int(data[n-2]&15)
	if suffix < 2 || suffix > min(n, 4079) {
		return malformed("the suffix of an HT cleanup segment must lie within it (T.814 7.1.1)")
	}
	d.magsgn.start(data[:n-suffix], ^uint64(0))
	d.mel = melReader{data: data[n-suffix:]}
	d.stream.start(data[n-suffix:])
	quads := (d.w + 1) / 2
	for len(d.row) < quads+3 {
		d.row, d.above = append(d.row, htQuad{}), append(d.above, htQuad{})
	}
	clear(d.row)
	clear(d.above)
	for y := 0; y < d.h; y += 2 {
		d.row, d.above = d.above, d.row
		clear(d.row)
		for q := 0; q < quads; q += 2 {
			if err := d.pair(y, q, min(2, quads-q), plane, most); err != nil {
				return err
			}
		}
	}
	return nil
}

// pair decodes quads q and, if count is 2, q+1 of the row of quads at y.
func (d *htDecoder) pair(y, q, count int, plane uint, most int) error {
	table := &d.vlc[min(y, 1)]
	var entries [2]htEntry
	d.stream.fill()
	for j := range count {
		k := q + j + 1 // index in row and above
		west := d.row[k-1].rho
		var context uint
		if y == 0 { // T.814 equation 1
			context = west&1 | west>>1
		} else { // equation 2
			nw, n, ne := d.above[k-1].rho, d.above[k].rho, d.above[k+1].rho
			context = nw>>3 | n>>1&1 | (west>>2|west>>3)&1<<1 | n>>3<<2 | ne>>1&1<<2
		}
		if context == 0 && !d.mel.event() {
			continue // no sample is significant
		}
		e := table[(context&7)<<7|uint(d.stream.value)&127]
		if e == 0 {
			return malformed("the VLC bits of an HT code-block must be codewords of T.814 Annex C")
		}
		d.stream.skip(uint(e & 7))
		entries[j] = e
		d.row[k].rho = uint(e >> 4 & 15)
	}
	var bounds [2]int
	bounds[0], bounds[1] = d.bounds(y == 0, uint(entries[0]>>3&1), uint(entries[1]>>3&1))
	for j := range count {
		e, k := entries[j], q+j+1
		rho := e >> 4 & 15
		if rho == 0 {
			continue
		}
		bound := 1 // kappa, T.814 equation 4
		if y > 0 && rho&(rho-1) != 0 {
			bound = max(2, d.above[k-1].right, d.above[k].left, d.above[k].right, d.above[k+1].left) - 1
		}
		bound += bounds[j]
		if bound > most {
			return malformed("the magnitudes of an HT code-block must fit in its bit-planes (T.814 7.3.7)")
		}
		d.samples(e, k, y, uint(bound), plane)
	}
	return nil
}

// samples reads the magnitudes and signs of the quad at index k of row (T.814 7.3.8). Which
// are significant is as good as noise: one that is not is read as one of no bits.
func (d *htDecoder) samples(e htEntry, k, y int, bound, plane uint) {
	var quad, size [4]uint32
	for i := range uint(4) {
		significant := -uint32(e >> (4 + i) & 1) // all ones
		n := (bound - uint(e>>(8+i)&1)) & uint(significant) & 31
		v := d.magsgn.bits(n) | uint32(e>>(12+i)&1)<<n
		// the magnitude is v/2+1 steps, and half a step for the middle of the interval
		quad[i] = (((v|1)+2)<<(plane&31) | v<<31) & significant
		size[i] = (v | 1) & significant
	}
	d.row[k].left, d.row[k].right = bits.Len32(size[1]), bits.Len32(size[3])
	at := y*d.stride + 2*(k-1)
	above, below := d.mags[at:][:2], d.mags[at+d.stride:][:2]
	above[0], below[0], above[1], below[1] = quad[0], quad[1], quad[2], quad[3]
}

// bounds decodes u_q of a pair of quads (T.814 7.3.6), zero where u_off, one and two, is.
func (d *htDecoder) bounds(first bool, one, two uint) (int, int) {
	s := &d.stream
	both, least := first && one&two == 1, 0
	if both && d.mel.event() { // both are above two
		both, least = false, 2
	}
	p := s.prefix(one)
	if both && p.value > 2 { // then the other is at most two
		v := 1 + s.take(1)
		a := s.suffix(p)
		return int(p.value) + a + 4*s.extension(a), v
	}
	q := s.prefix(two)
	a, b := s.suffix(p), s.suffix(q)
	u := least + int(p.value) + a + 4*s.extension(a)
	return u, least + int(q.value) + b + 4*s.extension(b)
}

// States of a sample in refinement.
const (
	htInsignificant = iota
	htSignificant   // since the cleanup pass
	htNew           // since the significance propagation pass
)

// refine decodes an HT refinement segment at bit-plane plane: significance propagation and, if
// magnitudes is set, magnitude refinement (T.814 7.4, 7.5).
func (d *htDecoder) refine(data []byte, plane uint, magnitudes, causal bool) {
	stride := d.w + 2
	if n := stride * (d.h + 2); len(d.state) < n {
		d.state = make([]uint8, n)
	}
	clear(d.state)
	for y := range d.h {
		for x := range d.w {
			if d.mags[y*d.stride+x] != 0 {
				d.state[(y+1)*stride+x+1] = htSignificant
			}
		}
	}
	d.magsgn.start(data, 0)
	for y0 := 0; y0 < d.h; y0 += 4 {
		for x0 := 0; x0 < d.w; x0 += 4 {
			d.propagate(&d.magsgn, x0, y0, plane, causal)
		}
	}
	if !magnitudes {
		return
	}
	backward := &d.stream
	backward.startAtEnd(data)
	half := uint32(1) << plane
	for y0 := 0; y0 < d.h; y0 += 4 {
		for x := range d.w {
			for y := y0; y < min(y0+4, d.h); y++ {
				if d.state[(y+1)*stride+x+1] == htSignificant {
					backward.fill()
					d.mags[y*d.stride+x] += half*2*uint32(backward.take(1)) - half
				}
			}
		}
	}
}

// propagate codes 4x4 samples: which become significant, then their signs (T.814 7.4).
func (d *htDecoder) propagate(r *forwardBits, x0, y0 int, plane uint, causal bool) {
	stride := d.w + 2
	x1, y1 := min(x0+4, d.w), min(y0+4, d.h)
	var found [16]int
	count := 0
	for x := x0; x < x1; x++ {
		for y := y0; y < y1; y++ {
			at := (y+1)*stride + x + 1
			if d.state[at] != htInsignificant {
				continue
			}
			up, here, down := d.state[at-stride-1:][:3], d.state[at-1:][:3], d.state[at+stride-1:][:3]
			near := up[0] | up[1] | up[2] | here[0] | here[2]
			if !causal || y != y0+3 {
				near |= down[0] | down[1] | down[2]
			}
			if near != 0 && r.bits(1) != 0 {
				d.state[at] = htNew
				found[count] = y*d.stride + x
				count++
			}
		}
	}
	for _, i := range found[:count] {
		d.mags[i] = 3<<plane | r.bits(1)<<31
	}
}
