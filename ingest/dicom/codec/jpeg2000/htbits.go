package jpeg2000

import (
	"encoding/binary"
	"slices"
)

// bitBuffer holds the bits of a segment without the stuffed ones, the first lowest, so that they
// are fetched from any position without a branch. What follows them for ever is all zeros or
// all ones.
type bitBuffer struct {
	words []byte // ends with 8 bytes that are read, not used
	acc   uint64 // bits that are not in words yet
	held  uint   // how many they are, below 64
	p     uint   // the next bit to read
	end   uint   // the bit behind the last
	after uint64
}

func (b *bitBuffer) start(size int) {
	b.words, b.acc, b.held, b.p = slices.Grow(b.words[:0], size+16), 0, 0, 0
}

// add appends n bits, at most 64. The others of v are zero.
func (b *bitBuffer) add(v uint64, n uint) {
	b.acc |= v << (b.held & 63)
	if b.held += n; b.held >= 64 {
		b.words = binary.LittleEndian.AppendUint64(b.words, b.acc)
		b.held -= 64
		b.acc = v >> (n - b.held)
	}
}

func (b *bitBuffer) finish(after uint64) {
	b.end, b.after = uint(8*len(b.words))+b.held, after
	b.words = binary.LittleEndian.AppendUint64(b.words, b.acc|after<<b.held)
	b.words = binary.LittleEndian.AppendUint64(b.words, after)
}

// peek returns at least 57 bits that come next.
func (b *bitBuffer) peek() uint64 {
	if b.p >= b.end {
		return b.after
	}
	return binary.LittleEndian.Uint64(b.words[b.p>>3:]) >> (b.p & 7)
}

// forwardBits reads MagSgn and significance propagation bits (T.814 7.1.2, 7.1.5): least
// significant bit first, seven bits of a byte after 0xFF.
type forwardBits struct{ bitBuffer }

// start begins data, which zeros or ones follow for ever.
func (f *forwardBits) start(data []byte, after uint64) {
	f.bitBuffer.start(len(data))
	for full := false; len(data) > 0; {
		if !full && len(data) >= 8 {
			w := binary.LittleEndian.Uint64(data)
			if (^w-0x0101010101010101)&w&0x8080808080808080 == 0 { // no byte is 0xFF
				f.add(w, 64)
				data = data[8:]
				continue
			}
		}
		if full {
			f.add(uint64(data[0]&0x7f), 7)
		} else {
			f.add(uint64(data[0]), 8)
		}
		full = data[0] == 0xff
		data = data[1:]
	}
	f.finish(after)
}

// bits reads n bits, at most 32.
func (f *forwardBits) bits(n uint) uint32 {
	v := uint32(f.peek() & (1<<n - 1))
	f.p += n
	return v
}

// melExponents is T.814 table 2.
var melExponents = [13]uint8{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5}

// melReader decodes the adaptive run lengths of MEL (T.814 7.1.3, 7.3.3). data is the suffix of
// the cleanup segment, whose last 12 bits belong to its length and read as ones.
type melReader struct {
	data  []byte
	pos   int
	value byte
	left  uint
	k     int
	run   int  // events of zero to come
	one   bool // then one of one
}

func (m *melReader) bit() int {
	if m.left == 0 {
		m.left = 8
		if m.value == 0xff {
			m.left = 7
		}
		m.value = 0xff
		if m.pos < len(m.data)-1 {
			m.value = m.data[m.pos]
			if m.pos == len(m.data)-2 {
				m.value |= 15
			}
			m.pos++
		}
	}
	m.left--
	return int(m.value >> m.left & 1)
}

// event decodes one event.
func (m *melReader) event() bool {
	if m.run == 0 && !m.one {
		e := melExponents[m.k]
		if m.bit() != 0 {
			m.run = 1 << e
			m.k = min(m.k+1, len(melExponents)-1)
		} else {
			for range e {
				m.run = m.run<<1 | m.bit()
			}
			m.k = max(m.k-1, 0)
			m.one = true
		}
	}
	if m.run > 0 {
		m.run--
		return false
	}
	m.one = false
	return true
}

// vlcReader reads VLC and magnitude refinement bits (T.814 7.1.4, 7.1.6): from the last byte
// to the first, least significant bit first, seven bits of a byte 0x7F or 0xFF before one
// above 0x8F, and zeros past the start.
type vlcReader struct {
	bitBuffer
	value uint64 // what comes next, as of the last fill
}

// start begins in the suffix of a cleanup segment, whose last 12 bits belong to its length.
func (r *vlcReader) start(suffix []byte) {
	n := len(suffix) - 2
	first := uint64(suffix[n] >> 4)
	r.bitBuffer.start(n + 1)
	if first&7 == 7 {
		r.add(7, 3)
	} else {
		r.add(first, 4)
	}
	r.backwards(suffix[:n], suffix[n]|15)
}

// startAtEnd begins at the end of a refinement segment.
func (r *vlcReader) startAtEnd(data []byte) {
	r.bitBuffer.start(len(data))
	r.backwards(data, 0xff)
}

// backwards takes data from its last byte to its first; last stands behind it.
func (r *vlcReader) backwards(data []byte, last byte) {
	for n := len(data); n > 0; n = len(data) {
		if n >= 8 {
			w := binary.BigEndian.Uint64(data[n-8:])
			if (w&0x7f7f7f7f7f7f7f7f+0x0101010101010101)&0x8080808080808080 == 0 { // no byte is 0x7F or 0xFF
				r.add(w, 64)
				data, last = data[:n-8], data[n-8]
				continue
			}
		}
		b := data[n-1]
		if last > 0x8f && b&0x7f == 0x7f {
			r.add(uint64(b&0x7f), 7)
		} else {
			r.add(uint64(b), 8)
		}
		data, last = data[:n-1], b
	}
	r.finish(0)
}

// fill has at least 57 bits ready.
func (r *vlcReader) fill() { r.value = r.peek() }

func (r *vlcReader) skip(n uint) {
	r.value >>= n
	r.p += n
}

func (r *vlcReader) take(n uint) int {
	v := int(r.value & (1<<n - 1))
	r.skip(n)
	return v
}

// uCode is a prefix of U-VLC codes, T.814 table 3: its length, what it stands for, and the bits
// of the suffix behind it.
type uCode struct {
	length, value, suffix uint8
}

// uCodes are those of the next three bits; and none.
var uCodes = [16]uCode{
	{3, 5, 5}, {1, 1, 0}, {2, 2, 0}, {1, 1, 0}, {3, 3, 1}, {1, 1, 0}, {2, 2, 0}, {1, 1, 0},
}

// prefix, suffix and extension read the parts of a U-VLC code, if there is one. A pair of quads
// takes 14 bits of codewords and 24 of these at most, fewer than fill has ready.
func (r *vlcReader) prefix(present uint) uCode {
	c := uCodes[(r.value&7|8)-uint64(8*(present&1))&15]
	r.skip(uint(c.length))
	return c
}

func (r *vlcReader) suffix(c uCode) int { return r.take(uint(c.suffix)) }

func (r *vlcReader) extension(suffix int) int {
	if suffix < 28 {
		return 0
	}
	return r.take(4)
}
