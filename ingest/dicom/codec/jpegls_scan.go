package codec

import (
	"encoding/binary"
	"math/bits"
)

// Interleave modes (T.87 section C.2.3).
const (
	lsInterleaveNone   = 0
	lsInterleaveLine   = 1
	lsInterleaveSample = 2
)

const (
	// lsPadding zero words follow the bits of a scan. No code begins with 64 zeros, so that
	// a reader that runs out of bits stops within two codes of 64 bits each.
	lsPadding = 12
	// lsMaxMapped is the largest mapped error taken of a rare code. Conforming ones are at
	// most RANGE; the bound keeps the Golomb parameters of a malformed scan in check.
	lsMaxMapped = 1<<17 - 1
	// lsZero is where the table of quantised gradients has the difference 0.
	lsZero = 1 << 16
	// lsOrders are the orders J of the run lengths (T.87 section A.2.1, initialisation 3).
	lsOrders = "\x00\x00\x00\x00\x01\x01\x01\x01\x02\x02\x02\x02\x03\x03\x03\x03\x04\x04\x05\x05\x06\x06\x07\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
)

// lsContext is the statistics of one of the contexts of the regular mode (T.87 section
// A.2), without signs, whose loads are the shorter. k and flip are kept beside what they
// follow from, since the next sample waits for them.
type lsContext struct {
	a    uint32 // sum of the error magnitudes, A; it can wrap in a malformed scan only
	bias uint32 // -B: 0 to n-1
	n    uint32 // occurrences, N
	c    uint16 // correction of the prediction, 128+C: 0 to 255
	k    uint8  // Golomb parameter: the least with n<<k >= a
	flip uint8  // 1 if the mapping of errors is inverted (T.87 code segment A.11), else 0
}

// lsRunContext is the statistics of one of the two contexts of the run interruption
// (T.87 section A.7.2).
type lsRunContext struct{ a, n, negative int }

// lsScan decodes the samples of one scan.
type lsScan struct {
	maxVal, near, reset int
	step                int  // 2*NEAR+1
	span                int  // RANGE
	width               int  // qbpp, the bits of a sample that is not Golomb coded
	limit               int  // LIMIT, the longest code
	unary               uint // the most zeros of a code that is taken at once, in 33 bits and short of the escape
	lossless            bool

	words []uint64 // the data of the scan or interval: words[i] has 64 bits from bit 32*i
	end   uint     // the bit behind the data
	p     uint     // the next bit

	contexts [365]lsContext
	runs     [2]lsRunContext
	runIndex [lsMaxComponents]int
	quant    [2 * lsZero]uint8 // 0 to 8, for -4 to 4, for a difference of two samples, at lsZero+difference

	above, line []uint16 // of the component below; both have a sample more at each end
	component   int      // in the scan
}

// configure sets the parameters of a scan (T.87 sections A.2.1 and C.2.4.1.1).
func (s *lsScan) configure(precision, near int, p lsPreset) error {
	if p.maxVal == 0 {
		p.maxVal = 1<<precision - 1
	}
	if p.maxVal >= 1<<precision {
		return lsMalformed("MAXVAL must fit the precision (T.87 section C.2.4.1.1)")
	}
	if near > min(255, p.maxVal/2) {
		return lsMalformed("NEAR must be at most MAXVAL/2 (T.87 section C.2.3)")
	}
	t1, t2, t3 := lsThresholds(p, near)
	if p.reset == 0 {
		p.reset = 64
	}
	if t1 <= near || t2 < t1 || t3 < t2 || t3 > max(p.maxVal, near+1) || p.reset < 3 || p.reset > max(255, p.maxVal) {
		return lsMalformed("the thresholds must ascend from NEAR+1 to MAXVAL and RESET must be 3 to MAXVAL or 255 (T.87 section C.2.4.1.1)")
	}
	s.maxVal, s.near, s.reset, s.step = p.maxVal, near, p.reset, 2*near+1
	s.span = (p.maxVal+2*near)/s.step + 1
	s.width = bits.Len(uint(s.span - 1))
	depth := max(2, bits.Len(uint(p.maxVal)))
	s.limit = 2 * (depth + max(8, depth))
	s.unary = uint(min(s.limit-s.width-2, 15))
	s.lossless = near == 0 && p.maxVal&(p.maxVal+1) == 0 // the modulus is a mask

	for d := 0; d <= p.maxVal; d++ {
		q := uint8(4)
		switch {
		case d <= near:
			q = 0
		case d < t1:
			q = 1
		case d < t2:
			q = 2
		case d < t3:
			q = 3
		}
		s.quant[lsZero+d], s.quant[lsZero-d] = 4+q, 4-q
	}
	return nil
}

// lsThresholds fills in the defaults of T1 to T3 (T.87 section C.2.4.1.1.1).
func lsThresholds(p lsPreset, near int) (t1, t2, t3 int) {
	clamp := func(t, low int) int {
		if t > p.maxVal || t < low {
			return low
		}
		return t
	}
	if p.maxVal >= 128 {
		factor := (min(p.maxVal, 4095) + 128) / 256
		t1, t2, t3 = factor+2+3*near, 4*factor+3+5*near, 17*factor+4+7*near
	} else {
		factor := 256 / (p.maxVal + 1)
		t1, t2, t3 = max(2, 3/factor+3*near), max(3, 7/factor+5*near), max(4, 21/factor+7*near)
	}
	if t1 = clamp(t1, near+1); p.t1 != 0 {
		t1 = p.t1
	}
	if t2 = clamp(t2, t1); p.t2 != 0 {
		t2 = p.t2
	}
	if t3 = clamp(t3, t2); p.t3 != 0 {
		t3 = p.t3
	}
	return t1, t2, t3
}

// load takes the data of a scan or restart interval up to the marker that ends it, and
// resets the statistics. It returns the bytes read of src.
//
// The stuffed bits are taken out in one pass beforehand, so that the decoder of samples
// can fetch bits from any position without a branch.
func (s *lsScan) load(src []byte) (read int) {
	start := lsContext{a: uint32(max(2, (s.span+32)/64)), n: 1, c: 128}
	start.k = uint8(bits.Len32(start.a - 1))
	for i := range s.contexts {
		s.contexts[i] = start
	}
	s.runs = [2]lsRunContext{{int(start.a), 1, 0}, {int(start.a), 1, 0}}
	s.runIndex = [lsMaxComponents]int{}
	s.p = 32
	read, s.end = lsUnstuff(s.words, src)
	return read
}

// lsWords is the length of the words for n bytes of data.
func lsWords(n int) int { return 2*(n/8) + 3 + lsPadding }

// lsUnstuff copies src up to the marker that ends it to dst, from bit 32 on, without the
// zero bit behind each byte 0xFF (T.87 section C.2.1), and adds zeros. dst[i] gets the 64
// bits from 32*i on: they overlap. It returns the bytes read of src and the bit behind the
// data. dst must hold lsWords(len(src)) words.
func lsUnstuff(dst []uint64, src []byte) (read int, end uint) {
	var (
		acc   uint64 // bits not yet written, from the top
		n     uint   // how many they are, below 64
		carry uint64 // the lower half of the word before
		at    int
		width uint = 8 // 7 behind 0xFF
	)
	for read < len(src) {
		if width == 8 && len(src)-read >= 8 {
			// No byte is 0xFF if the complement has no zero byte.
			w := binary.BigEndian.Uint64(src[read:])
			if (^w-0x0101010101010101)&w&0x8080808080808080 == 0 {
				acc |= w >> n
				dst[at], dst[at+1] = carry|acc>>32, acc
				carry, acc = acc<<32, w<<(64-n)
				at += 2
				read += 8
				continue
			}
		}
		c := src[read]
		if c == 0xff && read+1 < len(src) && src[read+1] >= 0x80 {
			break
		}
		w := uint64(c) << (64 - width)
		acc |= w >> n
		if n += width; n >= 64 {
			dst[at], dst[at+1] = carry|acc>>32, acc
			n -= 64
			carry, acc = acc<<32, w<<(width-n)
			at += 2
		}
		read++
		if width = 8; c == 0xff {
			width = 7
		}
	}
	dst[at], dst[at+1], dst[at+2] = carry|acc>>32, acc, acc<<32
	clear(dst[at+3 : at+3+lsPadding])
	return read, uint(32*at) + n + 32
}

// stop says why a line could not be decoded.
func (s *lsScan) stop() error {
	if s.p+64 > s.end {
		return lsTruncated()
	}
	return lsMalformed("a code must have at most LIMIT bits and a run must end within its line (T.87 sections A.5.3 and A.7.1)")
}

// finish checks that no data is left but the bits that fill up the last byte, and zeros.
func (s *lsScan) finish() error {
	if s.p > s.end {
		return lsTruncated()
	}
	if s.end-s.p < 16 {
		return nil
	}
	rest := s.peek()
	for _, w := range s.words[s.p>>5+2:][:(s.end-s.p)>>5] {
		rest |= w
	}
	if rest != 0 {
		return lsMalformed("the data of a scan must end behind its last sample (T.87 section C.1.1)")
	}
	return nil
}

// scanData decodes the data behind a scan header into the planes of these components.
func (d *lsDecoder) scanData(components []int, interleave byte) error {
	s, columns, samples := d.scan, d.declared.Columns, d.declared.Samples
	// A line has its left neighbour in front and the one above right behind it (T.87
	// section A.2.1, figure A.1).
	lines := make([]uint16, 2*len(components)*(columns+2))
	above, line := make([][]uint16, len(components)), make([][]uint16, len(components))
	for i := range components {
		above[i], lines = lines[:columns+2], lines[columns+2:]
		line[i], lines = lines[:columns+2], lines[columns+2:]
	}
	d.at += s.load(d.src[d.at:])
	for y := range d.declared.Rows {
		if d.restart > 0 && y > 0 && y%d.restart == 0 {
			if err := d.nextInterval(byte(lsRST0 + (y/d.restart-1)&7)); err != nil {
				return err
			}
			for i := range components {
				clear(above[i])
			}
		}
		for i := range components {
			above[i][columns+1] = above[i][columns]
			line[i][0] = above[i][1]
		}
		ok := true
		switch {
		case interleave == lsInterleaveSample && len(components) > 1:
			ok = s.sampleLine(above, line)
		case s.lossless:
			for i := 0; i < len(components) && ok; i++ {
				s.above, s.line, s.component = above[i], line[i], i
				ok = s.losslessLine()
			}
		default:
			for i := 0; i < len(components) && ok; i++ {
				s.above, s.line, s.component = above[i], line[i], i
				ok = s.nearLine()
			}
		}
		if !ok || s.p > s.end {
			return s.stop()
		}
		out := d.out[y*columns*samples:][:columns*samples]
		if samples == 1 {
			copy(out, line[0][1:])
		} else {
			for i, c := range components {
				for x, v := range line[i][1 : columns+1] {
					out[x*samples+c] = v
				}
			}
		}
		above, line = line, above
	}
	return s.finish()
}

// nextInterval takes the data behind the marker of a restart.
func (d *lsDecoder) nextInterval(want byte) error {
	if err := d.scan.finish(); err != nil {
		return err
	}
	code, err := d.marker()
	if err != nil {
		return err
	}
	if code != want {
		return lsMalformed("the markers RSTm must stand between the restart intervals, in order (T.87 section C.2.5)")
	}
	d.at += d.scan.load(d.src[d.at:])
	return nil
}
