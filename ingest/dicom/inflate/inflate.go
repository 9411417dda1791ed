// Package inflate decompresses deflate (RFC 1951) that is held in memory, as deflated DICOM
// data sets are. Films are mostly literals; for these it is about three times as fast as
// compress/flate, which reads byte by byte and decodes one symbol a call.
//
//	bits, 56 ahead -> code of a literal, a length or the end -> 128 KiB of output, of which the
//	                  last 32 are what distances point into  -> Read
package inflate

import (
	"encoding/binary"
	"errors"
	"io"
)

// ErrCorrupt says that the data is not deflate.
var ErrCorrupt = errors.New("corrupt deflate data")

const (
	window = 32 << 10 // the farthest distance
	slack  = 258 + 8  // a match, and what its last word writes behind it
)

// Reader decompresses. It is not safe for concurrent use.
type Reader struct {
	in       []byte
	pos      int
	bits     uint64 // read ahead, the next one lowest
	ahead    uint   // how many they are
	zeros    uint   // how many of them lie behind the end of in
	out      [4 * window]byte
	from, to int // out[from:to] is to be read
	block    func(*Reader) error
	stored   int  // bytes left of a stored block
	final    bool // the block is the last
	err      error

	literals, distances table
}

// NewReader returns a reader of what deflated decompresses to. What follows the last block is
// not looked at. Errors of Read: io.ErrUnexpectedEOF, [ErrCorrupt]; what came before is given.
func NewReader(deflated []byte) *Reader { return &Reader{in: deflated} }

// Read is io.Reader's.
func (r *Reader) Read(p []byte) (int, error) {
	for r.from == r.to {
		if r.err != nil {
			return 0, r.err
		}
		if r.to > len(r.out)-slack {
			copy(r.out[:], r.out[r.to-window:r.to])
			r.from, r.to = window, window
		}
		r.err = r.more()
	}
	n := copy(p, r.out[r.from:r.to])
	r.from += n
	return n, nil
}

// more decompresses until the output is full or a block ends.
func (r *Reader) more() error {
	if r.block == nil {
		if r.final {
			return io.EOF
		}
		if err := r.header(); err != nil {
			if r.ahead < r.zeros { // what is wrong with it came behind the end
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return r.block(r)
}

// fill reads bits ahead, zeros where there are no more: at least 56 are there then.
func (r *Reader) fill() {
	for r.ahead < 56 {
		if r.pos < len(r.in) {
			r.bits |= uint64(r.in[r.pos]) << r.ahead
			r.pos++
		} else {
			r.zeros += 8
		}
		r.ahead += 8
	}
}

// take returns the next n bits, at most 16.
func (r *Reader) take(n uint) int {
	r.fill()
	v := r.bits & (1<<n - 1)
	r.bits >>= n
	r.ahead -= n
	return int(v)
}

// header reads the header of a block (RFC 1951 section 3.2.3).
func (r *Reader) header() error {
	r.final = r.take(1) == 1
	kind := r.take(2)
	if r.ahead < r.zeros {
		return io.ErrUnexpectedEOF
	}
	switch kind {
	case 0:
		r.pos -= int(r.ahead-r.zeros) / 8 // back to the next whole byte
		r.bits, r.ahead, r.zeros = 0, 0, 0
		if len(r.in)-r.pos < 4 {
			return io.ErrUnexpectedEOF
		}
		n := binary.LittleEndian.Uint16(r.in[r.pos:])
		if n != ^binary.LittleEndian.Uint16(r.in[r.pos+2:]) {
			return ErrCorrupt
		}
		r.pos += 4
		r.stored, r.block = int(n), (*Reader).copyStored
		return nil
	case 1:
		var lengths [288 + 32]uint8
		for i := range lengths {
			switch {
			case i < 144, i >= 280 && i < 288:
				lengths[i] = 8
			case i < 256:
				lengths[i] = 9
			case i < 280:
				lengths[i] = 7
			default:
				lengths[i] = 5
			}
		}
		return r.begin(lengths[:288], lengths[288:])
	case 2:
		return r.dynamic()
	}
	return ErrCorrupt
}

// begin makes the tables of a block.
func (r *Reader) begin(literals, distances []uint8) error {
	if !r.literals.build(literals, literal) || !r.distances.build(distances, distance) {
		return ErrCorrupt
	}
	r.block = (*Reader).symbols
	return nil
}

// dynamic reads the code lengths of a block (RFC 1951 section 3.2.7).
func (r *Reader) dynamic() error {
	literals, distances, codes := 257+r.take(5), 1+r.take(5), 4+r.take(4)
	if literals > 286 || distances > 30 {
		return ErrCorrupt
	}
	var lengths [286 + 30]uint8
	for _, symbol := range "\x10\x11\x12\x00\x08\x07\x09\x06\x0a\x05\x0b\x04\x0c\x03\x0d\x02\x0e\x01\x0f"[:codes] {
		lengths[symbol] = uint8(r.take(3))
	}
	if !r.literals.build(lengths[:19], plain) {
		return ErrCorrupt
	}
	clear(lengths[:19])
	for i := 0; i < literals+distances; {
		r.fill()
		e := r.literals.main[r.bits&(mainSize-1)]
		r.bits >>= e & 31
		r.ahead -= uint(e & 31)
		if r.ahead < r.zeros {
			return io.ErrUnexpectedEOF
		}
		if e&invalid != 0 {
			return ErrCorrupt
		}
		times, value := 1, uint8(e>>16)
		switch value {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			times, value = 3+r.take(2), lengths[i-1]
		case 17:
			times, value = 3+r.take(3), 0
		case 18:
			times, value = 11+r.take(7), 0
		}
		if i+times > literals+distances {
			return ErrCorrupt
		}
		for range times {
			lengths[i] = value
			i++
		}
	}
	if r.ahead < r.zeros {
		return io.ErrUnexpectedEOF
	}
	return r.begin(lengths[:literals], lengths[literals:literals+distances])
}

func (r *Reader) copyStored() error {
	n := copy(r.out[r.to:len(r.out)-slack+1], r.in[r.pos:min(len(r.in), r.pos+r.stored)])
	r.pos += n
	r.to += n
	if r.stored -= n; r.stored == 0 {
		r.block = nil
	} else if r.pos == len(r.in) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// symbols decodes the symbols of a compressed block.
func (r *Reader) symbols() error {
	in, out, to := r.in, &r.out, r.to
	pos, bits, ahead := r.pos, r.bits, r.ahead
	literals, distances := &r.literals, &r.distances
	end := func(to int, err error) error {
		r.to, r.pos, r.bits, r.ahead = to, pos, bits, ahead
		return err
	}
	for to <= len(out)-slack {
		start := to
		if pos+8 <= len(in) { // fill, at once; written here, and once more below, since it is most of the work
			bits |= binary.LittleEndian.Uint64(in[pos:]) << (ahead & 63)
			pos += int(63-ahead) >> 3
			ahead |= 56
		} else {
			r.pos, r.bits, r.ahead = pos, bits, ahead
			r.fill()
			pos, bits, ahead = r.pos, r.bits, r.ahead
		}
		e := literals.main[bits&(mainSize-1)]
		if e&special == 0 {
			bits >>= e & 31
			ahead -= uint(e & 31)
			out[to] = byte(e >> 16)
			to++
			if e = literals.main[bits&(mainSize-1)]; e&special == 0 {
				bits >>= e & 31
				ahead -= uint(e & 31)
				out[to] = byte(e >> 16)
				to++
				if ahead < r.zeros {
					return end(start, io.ErrUnexpectedEOF)
				}
				continue
			}
		}
		if e&long != 0 {
			e = literals.long(e, bits)
		}
		bits >>= e & 31
		ahead -= uint(e & 31)
		switch {
		case ahead < r.zeros:
			return end(start, io.ErrUnexpectedEOF)
		case e&special == 0:
			out[to] = byte(e >> 16)
			to++
			continue
		case e&last != 0:
			r.block = nil
			return end(to, nil)
		case e&invalid != 0:
			return end(to, ErrCorrupt)
		}
		extra := uint(e >> 5 & 15)
		length := int(e>>16) + int(bits&(1<<extra-1))
		bits >>= extra
		ahead -= extra
		if pos+8 <= len(in) {
			bits |= binary.LittleEndian.Uint64(in[pos:]) << (ahead & 63)
			pos += int(63-ahead) >> 3
			ahead |= 56
		} else {
			r.pos, r.bits, r.ahead = pos, bits, ahead
			r.fill()
			pos, bits, ahead = r.pos, r.bits, r.ahead
		}
		if e = distances.main[bits&(mainSize-1)]; e&long != 0 {
			e = distances.long(e, bits)
		}
		bits >>= e & 31
		extra = uint(e >> 5 & 15)
		back := int(e>>16) + int(bits&(1<<extra-1))
		bits >>= extra
		ahead -= uint(e&31) + extra
		switch {
		case ahead < r.zeros:
			return end(start, io.ErrUnexpectedEOF)
		case e&invalid != 0, back > to:
			return end(to, ErrCorrupt)
		case back >= 8:
			for i := 0; i < length; i += 8 {
				binary.LittleEndian.PutUint64(out[to+i:], binary.LittleEndian.Uint64(out[to+i-back:]))
			}
		default:
			for i := to; i < to+length; i++ {
				out[i] = out[i-back]
			}
		}
		to += length
	}
	return end(to, nil)
}
