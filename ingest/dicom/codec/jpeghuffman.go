package codec

import "encoding/binary"

// jpegLook is how many bits index the table of codes. 2048 entries of 4 bytes stay in the
// first cache, and nearly every code of a film, with its bits behind, is shorter.
const jpegLook = 11

// jpegHuffman decodes the codes of one Huffman table (T.81 annex C) together with the bits
// that follow a code and hold its value (T.81 F.2.2.1 and H.2.2).
//
// An entry of look is, from bit 0: the number of bits to consume (6 bits, 0 when the code
// is longer than jpegLook), jpegOpen when the value's bits are not in it and must be read
// yet, the symbol from bit 8, the value from bit 16.
type jpegHuffman struct {
	look    [1 << jpegLook]uint32
	limit   [17]uint32 // for each length, the first 16-bit word above its codes
	first   [17]int    // index in symbols minus the code, for each length
	symbols []byte
	mask    byte // of the bits of a symbol that give the number of value bits
}

// jpegOpen marks an entry of which only the code is resolved.
const jpegOpen = 1 << 6

// huffmanTables reads a DHT segment (T.81 B.2.4.2).
func (s *jpegStream) huffmanTables(p []byte) error {
	for len(p) > 0 {
		class, to := p[0]>>4, p[0]&15
		if class > 1 || to > 3 || len(p) < 17 {
			return s.malformed("a Huffman table must have class 0 or 1, destination 0 to 3 and 16 counts (ITU T.81 B.2.4.2)")
		}
		total, space := 0, 0
		for i, n := range p[1:17] {
			total += int(n)
			space += int(n) << (15 - i)
		}
		if total == 0 || total > 256 || space > 1<<16 || len(p) < 17+total {
			return s.malformed("the counts of a Huffman table must make 1 to 256 prefix codes, each with a value (ITU T.81 C.2)")
		}
		t := &jpegHuffman{symbols: p[17 : 17+total], mask: 31}
		if class == 1 {
			t.mask, s.ac[to] = 15, t
		} else {
			s.dc[to] = t
			for _, sym := range t.symbols {
				if sym > 16 {
					return s.malformed("the values of a DC or lossless Huffman table must be at most 16 (ITU T.81 H.1.2.2)")
				}
			}
		}
		t.fill(p[1:17])
		p = p[17+total:]
	}
	return nil
}

// fill makes the tables from the number of codes of each length, 1 to 16.
func (t *jpegHuffman) fill(counts []byte) {
	code, index := uint32(0), 0
	for i, n := range counts {
		length := i + 1
		t.first[length] = index - int(code)
		for range n {
			if length <= jpegLook {
				t.resolve(code, length, t.symbols[index])
			}
			code++
			index++
		}
		t.limit[length] = code << (16 - length)
		code <<= 1
	}
}

// resolve fills in all entries that start with a code.
func (t *jpegHuffman) resolve(code uint32, length int, sym byte) {
	rest := jpegLook - length
	size := t.size(sym)
	from := code << rest
	for low := range uint32(1) << rest {
		e := uint32(sym) << 8
		switch {
		case sym == 16 && t.mask == 31:
			e |= 1<<31 | uint32(length) // 2^15 and no bits (T.81 H.1.2.2)
		case size <= rest:
			e |= uint32(jpegExtend(low>>(rest-size), size))<<16 | uint32(length+size)
		default:
			e |= jpegOpen | uint32(length)
		}
		t.look[from+low] = e
	}
}

// size is the number of value bits behind a code.
func (t *jpegHuffman) size(sym byte) int {
	if n := int(sym & t.mask); n <= 15 {
		return n
	}
	return 0
}

// jpegExtend makes the signed value of n bits (T.81 F.2.2.1, EXTEND).
func jpegExtend(v uint32, n int) int32 {
	if n == 0 || v>>(n-1) != 0 {
		return int32(v)
	}
	return int32(v) - 1<<n + 1
}

// jpegBits reads entropy-coded data (T.81 F.2.2.5) up to the next marker, behind which it
// gives zeros and counts them, so that the loops need to look for the end only now and then.
type jpegBits struct {
	data []byte
	pos  int
	acc  uint64 // the next n bits, from the top
	n    uint
	pad  uint // zeros given behind the end; the data has run out when n falls below
	bad  bool // a code was in no table
}

// refill gives at least 56 bits; n must be below 56.
func (b *jpegBits) refill() {
	if p := b.pos; p+8 <= len(b.data) {
		x := binary.BigEndian.Uint64(b.data[p:])
		// No byte is 0xFF if and only if no byte of the complement is 0.
		if (^x-0x0101010101010101)&x&0x8080808080808080 == 0 {
			b.acc |= x >> (b.n & 63)
			k := (63 - b.n) >> 3
			b.pos, b.n = p+int(k), b.n+8*k
			return
		}
	}
	b.refillStuffed()
}

// refillStuffed is refill byte by byte: 0xFF is followed by a stuffed 0, or is a marker.
func (b *jpegBits) refillStuffed() {
	for b.n <= 56 {
		if b.pos >= len(b.data) {
			b.n, b.pad = b.n+8, b.pad+8
			continue
		}
		c := b.data[b.pos]
		if c == 0xFF {
			if b.pos+1 >= len(b.data) || b.data[b.pos+1] != 0 {
				b.n, b.pad = b.n+8, b.pad+8
				continue
			}
			b.pos++
		}
		b.pos++
		b.acc |= uint64(c) << (56 - b.n)
		b.n += 8
	}
}

// coded reads a code and the value behind it.
func (b *jpegBits) coded(t *jpegHuffman) (sym byte, value int32) {
	if b.n < 32 {
		b.refill()
	}
	e := t.look[b.acc>>(64-jpegLook)]
	if k := uint(e & 63); k != 0 && e&jpegOpen == 0 {
		b.acc <<= k
		b.n -= k
		return byte(e >> 8), int32(e) >> 16
	}
	return b.codedLong(t, e)
}

// codedLong is coded for what the table does not resolve; n must be at least 32.
func (b *jpegBits) codedLong(t *jpegHuffman, e uint32) (sym byte, value int32) {
	length, sym := int(e&63), byte(e>>8)
	if length == 0 {
		word := uint32(b.acc >> 48)
		length = jpegLook + 1
		for length <= 16 && word >= t.limit[length] {
			length++
		}
		if length > 16 {
			b.bad = true
			b.acc, b.n = b.acc<<16, b.n-16
			return 0, 0
		}
		sym = t.symbols[t.first[length]+int(word>>(16-length))]
	}
	b.acc, b.n = b.acc<<length, b.n-uint(length)
	size := t.size(sym)
	if size == 0 {
		if sym == 16 && t.mask == 31 {
			return sym, -1 << 15
		}
		return sym, 0
	}
	v := uint32(b.acc >> (64 - size))
	b.acc, b.n = b.acc<<size, b.n-uint(size)
	return sym, jpegExtend(v, size)
}

// bits reads k bits, at most 16.
func (b *jpegBits) bits(k int) uint32 {
	if b.n < 32 {
		b.refill()
	}
	v := uint32(b.acc >> (64 - k))
	b.acc, b.n = b.acc<<k, b.n-uint(k)
	return v
}

// ok says that all codes so far were valid and in the data.
func (b *jpegBits) ok() bool { return !b.bad && b.n >= b.pad }

// end finds the marker at which the data ends, and 0 where there is none.
func (b *jpegBits) end() (marker byte, at int) {
	for at = b.pos; at+1 < len(b.data); at++ {
		if c := b.data[at+1]; b.data[at] == 0xFF && c != 0 && c != 0xFF {
			return c, at
		}
	}
	return 0, at
}

// nextInterval passes restart marker i of a scan, from 0 (T.81 F.2.1.3.1 and E.2.4).
func (s *jpegStream) nextInterval(b *jpegBits, i int) error {
	if !b.ok() {
		return s.entropyFault(b)
	}
	marker, at := b.end()
	if marker == 0 || marker == jpegEOI {
		return s.truncated()
	}
	if marker != jpegRST0+byte(i&7) {
		return s.malformed("restart markers must follow each restart interval, in turn from RST0 to RST7 (ITU T.81 E.1.4)")
	}
	*b = jpegBits{data: b.data, pos: at + 2}
	return nil
}

// entropyFault says why the entropy-coded data cannot be decoded: b is not ok.
func (s *jpegStream) entropyFault(b *jpegBits) error {
	if b.n >= b.pad {
		return s.malformed("entropy-coded data must consist of codes of its Huffman tables (ITU T.81 F.2.2.3)")
	}
	if marker, _ := b.end(); marker != 0 && marker != jpegEOI {
		return s.malformed("entropy-coded data must hold all MCUs before the next marker (ITU T.81 B.1.1.5)")
	}
	return s.truncated()
}
