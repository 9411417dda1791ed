package jpeg2000

import (
	"bytes"
	"math/bits"
)

// packetReader reads packets from the tile-parts of one tile. A packet never spans two.
type packetReader struct {
	parts   [][]byte
	data    []byte // what is left of the current tile-part
	pending []contribution
}

// contribution is what the header of a packet says its body holds for one code-block.
type contribution struct {
	block   *block
	segment int
	length  int
}

// packet reads the next packet, which is that of the next layer of p (T.800 B.9, B.10).
func (r *packetReader) packet(t *tile, p *precinct) error {
	for len(r.data) == 0 {
		if len(r.parts) == 0 {
			return truncated("the packets of every layer, resolution, component and precinct (T.800 B.12)")
		}
		r.data, r.parts = r.parts[0], r.parts[1:]
	}
	if t.params.sop && bytes.HasPrefix(r.data, []byte{markSOP >> 8, markSOP & 0xff}) {
		r.data = r.data[min(6, len(r.data)):] // T.800 A.8.1
	}
	layer := p.layers
	p.layers++
	head := headBits{data: r.data}
	r.pending = r.pending[:0]
	if head.bit() != 0 {
		for i := range p.bands {
			if err := r.bandHead(&p.bands[i], &t.comps[p.comp].params.coding, &head, layer); err != nil {
				return err
			}
		}
	}
	head.align()
	if head.short {
		return truncated("the end of a packet header (T.800 B.10)")
	}
	r.data = r.data[head.pos:]
	if t.params.eph {
		if !bytes.HasPrefix(r.data, []byte{markEPH >> 8, markEPH & 0xff}) {
			return malformed("a packet header must end with EPH where COD says so (T.800 A.8.2)")
		}
		r.data = r.data[2:]
	}
	for _, c := range r.pending {
		if c.length > len(r.data) {
			return truncated("the end of a packet body (T.800 B.9)")
		}
		s := &c.block.segments[c.segment]
		if s.data == nil {
			s.data = r.data[:c.length]
		} else {
			s.more = append(s.more, r.data[:c.length])
		}
		r.data = r.data[c.length:]
	}
	return nil
}

// bandHead reads what a packet header says of the code-blocks in one subband.
func (r *packetReader) bandHead(pb *precinctBand, coding *coding, head *headBits, layer int) error {
	for i := range pb.blocks {
		b := &pb.blocks[i]
		x, y := i%pb.across, i/pb.across
		if b.included {
			if head.bit() == 0 {
				continue
			}
		} else {
			if !pb.inclusion.below(head, x, y, layer+1) {
				if head.short {
					return truncated("the end of a packet header (T.800 B.10)")
				}
				continue
			}
			b.included = true
			zeros := 0
			for !pb.zeros.below(head, x, y, zeros+1) {
				zeros++
				if head.short {
					return truncated("the end of a packet header (T.800 B.10)")
				}
				if zeros > 64 {
					return malformed("a code-block must miss no more bit-planes than there are (T.800 B.10.5)")
				}
			}
			b.zeroPlanes = uint8(zeros)
		}
		if err := r.blockHead(b, coding, head); err != nil {
			return err
		}
	}
	return nil
}

// blockHead reads the number of coding passes and the lengths of their segments (T.800
// B.10.6, B.10.7).
func (r *packetReader) blockHead(b *block, coding *coding, head *headBits) error {
	passes := head.passes()
	for head.bit() != 0 {
		b.lengthBits++
		if b.lengthBits > 32 {
			return malformed("the length of a codeword segment must fit in 32 bits (T.800 B.10.7)")
		}
	}
	for passes > 0 {
		n := len(b.segments)
		if n == 0 || b.segments[n-1].passes == b.segments[n-1].most {
			b.segments = append(b.segments, codeSegment{most: int16(segmentPasses(coding.style, b, passes))})
			n++
		}
		s := &b.segments[n-1]
		take := min(passes, int(s.most-s.passes))
		length := head.bits(int(b.lengthBits) + bits.Len(uint(take)) - 1)
		if head.short {
			return truncated("the end of a packet header (T.800 B.10)")
		}
		r.pending = append(r.pending, contribution{b, n - 1, length})
		s.passes += int16(take)
		b.passes += int16(take)
		passes -= take
		if b.passes > 3*64 {
			return malformed("a code-block must have no more coding passes than its bit-planes (T.800 D.3)")
		}
	}
	return nil
}

// segmentPasses returns how many passes the next segment of b holds at most. coming is the
// number of passes in the packet that opens it.
func segmentPasses(style uint8, b *block, coming int) int {
	n := int(b.passes)
	switch {
	case style&styleHT != 0: // cleanup alone, then the two refinements (T.814 B.1)
		if n == 0 { // before the first cleanup, groups of three passes may hold its place
			return 1 + (coming-1)/3*3
		}
		if len(b.segments)%2 == 1 {
			return 2
		}
		return 1
	case style&styleTermAll != 0:
		return 1
	case style&styleBypass != 0: // T.800 table D.9
		if n < bypassFrom {
			return bypassFrom - n
		}
		if (n-bypassFrom)%3 == 0 {
			return 2
		}
		return 1
	}
	return 3 * 65
}

// bypassFrom is the first pass that selective bypass leaves uncoded (T.800 D.6).
const bypassFrom = 10

// headBits reads the bits of packet headers: most significant first, a zero stuffed after
// each 0xFF byte (T.800 B.10.1). Past the end it reads zeros and sets short.
type headBits struct {
	data  []byte
	pos   int
	value uint
	left  int
	short bool
}

func (h *headBits) bit() uint {
	if h.left == 0 {
		h.left = 8
		if h.value&0xff == 0xff && h.pos > 0 {
			h.left = 7
		}
		if h.pos == len(h.data) {
			h.short = true
			h.value = 0
			return 0
		}
		h.value = uint(h.data[h.pos])
		h.pos++
	}
	h.left--
	return h.value >> h.left & 1
}

func (h *headBits) bits(n int) int {
	v := uint(0)
	for range n {
		v = v<<1 | h.bit()
	}
	return int(v)
}

// align skips the rest of the last byte, and the byte stuffed after an 0xFF.
func (h *headBits) align() {
	if h.pos > 0 && h.value == 0xff {
		if h.pos == len(h.data) {
			h.short = true
			return
		}
		h.pos++
	}
	h.left = 0
}

// passes reads a number of coding passes, 1 to 164 (T.800 table B.4).
func (h *headBits) passes() int {
	if h.bit() == 0 {
		return 1
	}
	if h.bit() == 0 {
		return 2
	}
	if v := h.bits(2); v < 3 {
		return 3 + v
	}
	if v := h.bits(5); v < 31 {
		return 6 + v
	}
	return 37 + h.bits(7)
}

// tagTree is the quad tree of minima of T.800 B.10.2.
type tagTree struct {
	nodes []tagNode
	level []tagLevel // leaves first
}

type tagLevel struct{ offset, across int }

type tagNode struct {
	low   int32 // the value is this or more
	known bool  // the value is low
}

func newTagTree(across, rows int) tagTree {
	var t tagTree
	n := 0
	for {
		t.level = append(t.level, tagLevel{n, across})
		n += across * rows
		if across*rows <= 1 {
			break
		}
		across, rows = (across+1)/2, (rows+1)/2
	}
	t.nodes = make([]tagNode, n)
	return t
}

// below reads on until it is known whether the value of leaf x, y is below limit.
func (t *tagTree) below(h *headBits, x, y, limit int) bool {
	low := int32(0)
	known := false
	for k := len(t.level) - 1; k >= 0; k-- {
		l := t.level[k]
		n := &t.nodes[l.offset+y>>k*l.across+x>>k]
		n.low = max(n.low, low)
		for !n.known && n.low < int32(limit) && !h.short {
			if h.bit() != 0 {
				n.known = true
			} else {
				n.low++
			}
		}
		low, known = n.low, n.known
	}
	return known && low < int32(limit)
}
