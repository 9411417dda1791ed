package jpeg2000

// forwardBits reads MagSgn and significance propagation bits (T.814 7.1.2, 7.1.5): least
// significant bit first, seven bits of a byte after 0xFF, and bytes of after past the end.
type forwardBits struct {
	data  []byte
	after byte
	pos   int
	full  bool // the last byte was 0xFF
	value uint64
	left  uint
}

// bits reads n bits, at most 32.
func (f *forwardBits) bits(n uint) uint32 {
	for f.left < n {
		b := f.after
		if f.pos < len(f.data) {
			b = f.data[f.pos]
			f.pos++
		}
		f.value |= uint64(b) << f.left
		f.left += 8
		if f.full {
			f.left--
			f.value &= 1<<f.left - 1
		}
		f.full = b == 0xff
	}
	v := uint32(f.value & (1<<n - 1))
	f.value >>= n
	f.left -= n
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
	data  []byte // what is left
	last  byte
	value uint64
	count uint
}

// start begins in the suffix of a cleanup segment, whose last 12 bits belong to its length.
func (r *vlcReader) start(suffix []byte) {
	n := len(suffix) - 2
	*r = vlcReader{data: suffix[:n], last: suffix[n] | 15, value: uint64(suffix[n] >> 4), count: 4}
	if r.value&7 == 7 {
		r.value, r.count = 7, 3
	}
}

// startAtEnd begins at the end of a refinement segment.
func (r *vlcReader) startAtEnd(data []byte) { *r = vlcReader{data: data, last: 0xff} }

// fill has at least 56 bits ready.
func (r *vlcReader) fill() {
	for r.count <= 56 {
		b := byte(0)
		if n := len(r.data); n > 0 {
			b = r.data[n-1]
			r.data = r.data[:n-1]
		}
		r.value |= uint64(b) << r.count
		r.count += 8
		if r.last > 0x8f && b&0x7f == 0x7f {
			r.count--
			r.value &= 1<<r.count - 1
		}
		r.last = b
	}
}

func (r *vlcReader) skip(n uint) {
	r.value >>= n
	r.count -= n
}

func (r *vlcReader) take(n uint) int {
	v := int(r.value & (1<<n - 1))
	r.skip(n)
	return v
}

// prefix, suffix and extension are the parts of U-VLC codes, T.814 table 3. A pair of quads
// takes 14 bits of codewords and 24 of these at most, fewer than fill has ready.
func (r *vlcReader) prefix() int {
	switch v := r.value & 7; {
	case v&1 != 0:
		r.skip(1)
		return 1
	case v == 2 || v == 6:
		r.skip(2)
		return 2
	case v == 4:
		r.skip(3)
		return 3
	}
	r.skip(3)
	return 5
}

func (r *vlcReader) suffix(prefix int) int {
	switch prefix {
	case 3:
		return r.take(1)
	case 5:
		return r.take(5)
	}
	return 0
}

func (r *vlcReader) extension(suffix, prefix int) int {
	if prefix != 5 || suffix < 28 {
		return 0
	}
	return r.take(4)
}
