package dicom

import "encoding/binary"

// order is how the bytes of uncompressed samples lie (PS3.5 sections 7.3 and 8.1.1).
type order struct {
	big bool // samples of 16 and 32 bits are big endian
	// swapped says that smaller samples lie in big-endian words of 16 bits: bytes 2n and
	// 2n+1 change places.
	swapped bool
}

// orderOf returns the order for Pixel Data of the given VR. In big endian, OB is a string
// of bytes and OW one of words.
func orderOf(syntax, vr string) order {
	big := syntax == explicitBE
	return order{big: big, swapped: big && vr != "OB"}
}

// nativeBits returns how many bits an uncompressed frame takes. The frames of one value
// follow each other without a gap, even within a byte (PS3.5 section 8.1.1).
func (f *File) nativeBits() int {
	samples := f.Samples
	if f.halved() {
		samples = 2
	}
	return f.Rows * f.Columns * samples * f.BitsAllocated
}

// halved tells whether the chroma of an uncompressed frame has half the columns: Y1 Y2 Cb
// Cr for two pixels (PS3.3 section C.7.6.3.1.2).
func (f *File) halved() bool {
	return f.Samples == 3 && f.Photometric == "YBR_FULL_422" && f.BitsAllocated == 8 && f.Columns%2 == 0
}

// native reads frame i of uncompressed samples, for which value is long enough.
func (d *decoder) native(value []byte, i int) (stored, error) {
	bits, n := d.BitsAllocated, d.Rows*d.Columns*d.Samples
	s := stored{signed: d.signed, values: d.spare.values, long: d.spare.long}
	if bits == 32 {
		s.long = sized(s.long, n)
		d.words32(s.long, value[4*n*i:])
		d.settle(s)
		return s, nil
	}
	s.values = sized(s.values, n)
	if d.order.swapped && bits < 16 {
		// A last odd byte has no partner; the frame does not need it.
		if value = value[:len(value)&^1]; d.nativeBits()*(i+1) > 8*len(value) {
			return s, short("Pixel Data must be of even length (PS3.5 8.1.1)")
		}
	}
	usual := bits == 16 && !d.order.big && !s.signed
	switch start := d.nativeBits() * i; {
	case usual:
		d.settledWords(s.values, value[2*n*i:])
	case bits == 16:
		d.words16(s.values, value[2*n*i:])
	case bits == 8 && d.halved():
		d.halvedBytes(s.values, value, start/8)
	case bits == 8:
		for k := range s.values {
			s.values[k] = uint16(value[d.at(start/8+k)])
		}
	default:
		d.packed(s.values, value, start)
	}
	if d.Samples == 3 && d.Planar && !d.halved() {
		s.values = interleave(s.values)
	}
	if !usual {
		d.settle(s)
	}
	return s, nil
}

// at returns where byte i of the samples lies.
func (d *decoder) at(i int) int {
	if d.order.swapped {
		return i ^ 1
	}
	return i
}

func (d *decoder) words16(out []uint16, value []byte) {
	for k := range out {
		if d.order.big {
			out[k] = binary.BigEndian.Uint16(value[2*k:])
		} else {
			out[k] = binary.LittleEndian.Uint16(value[2*k:])
		}
	}
}

// settledWords does what words16 and settle do, four samples at a time, for films as most
// detectors write them: unsigned, in little endian.
func (d *decoder) settledWords(out []uint16, value []byte) {
	down := uint(d.HighBit+1-d.BitsStored) & 15
	mask := uint16(1)<<d.BitsStored - 1
	four := uint64(mask) * 0x0001_0001_0001_0001
	value = value[:2*len(out)]
	for ; len(out) >= 4 && len(value) >= 8; out, value = out[4:], value[8:] {
		v := binary.LittleEndian.Uint64(value) >> down & four
		out[0], out[1], out[2], out[3] = uint16(v), uint16(v>>16), uint16(v>>32), uint16(v>>48)
	}
	for k := range out {
		out[k] = binary.LittleEndian.Uint16(value[2*k:]) >> down & mask
	}
}

func (d *decoder) words32(out []uint32, value []byte) {
	for k := range out {
		if d.order.big {
			out[k] = binary.BigEndian.Uint32(value[4*k:])
		} else {
			out[k] = binary.LittleEndian.Uint32(value[4*k:])
		}
	}
}

// packed reads samples that do not fill bytes, from bit start, the first in the lowest
// bits (PS3.5 section 8.1.1 and, for 12 bits, annex D of its 2003 edition).
func (d *decoder) packed(out []uint16, value []byte, start int) {
	acc, held, next := uint32(0), 0, start/8
	skip := start % 8
	for k := range out {
		for held < skip+d.BitsAllocated {
			acc |= uint32(value[d.at(next)]) << held
			held, next = held+8, next+1
		}
		acc, held, skip = acc>>skip, held-skip, 0
		out[k] = uint16(acc & (1<<d.BitsAllocated - 1))
		acc, held = acc>>d.BitsAllocated, held-d.BitsAllocated
	}
}

// halvedBytes reads pairs of pixels that share their chroma, and gives it to both.
func (d *decoder) halvedBytes(out []uint16, value []byte, start int) {
	for k := 0; k+6 <= len(out); k += 6 {
		at := start + k/6*4
		blue, red := uint16(value[d.at(at+2)]), uint16(value[d.at(at+3)])
		out[k], out[k+1], out[k+2] = uint16(value[d.at(at)]), blue, red
		out[k+3], out[k+4], out[k+5] = uint16(value[d.at(at+1)]), blue, red
	}
}

// interleave turns planes into pixels (Planar Configuration 1, PS3.3 section C.7.6.3.1.3).
func interleave(planes []uint16) []uint16 {
	out, n := make([]uint16, len(planes)), len(planes)/3
	for i := range n {
		out[3*i], out[3*i+1], out[3*i+2] = planes[i], planes[n+i], planes[2*n+i]
	}
	return out
}

// settle keeps the stored bits of samples of which all bits are there. Bits above High Bit
// and below the stored ones may hold something else, such as an overlay (PS3.5 section
// 8.1.1). They are shifted to the top, then down again, which fills in the sign.
func (d *decoder) settle(s stored) {
	up, down := uint(15-d.HighBit)&15, uint(16-d.BitsStored)&15 // &15: the compiler knows then that no shift is too far
	switch {
	case d.BitsAllocated == 32:
		for i, raw := range s.long {
			raw <<= 31 - d.HighBit
			if s.signed {
				s.long[i] = uint32(int32(raw) >> (32 - d.BitsStored))
			} else {
				s.long[i] = raw >> (32 - d.BitsStored)
			}
		}
	case s.signed:
		for i, raw := range s.values {
			s.values[i] = uint16(int16(raw<<up) >> down)
		}
	case up != 0 || down != 0:
		mask, lower := uint16(1)<<d.BitsStored-1, (down-up)&15
		if lower == 0 && union(s.values)&^mask == 0 {
			return // which looking at costs less than writing
		}
		for i, raw := range s.values {
			s.values[i] = raw >> lower & mask
		}
	}
}

// union returns all bits that are set in some value.
func union(values []uint16) uint16 {
	var a, b, c, d uint16
	for ; len(values) >= 4; values = values[4:] {
		a, b, c, d = a|values[0], b|values[1], c|values[2], d|values[3]
	}
	for _, v := range values {
		a |= v
	}
	return a | b | c | d
}

// sized returns a slice of n values, in the memory of s when that is long enough.
func sized[T any](s []T, n int) []T {
	if cap(s) >= n {
		return s[:n]
	}
	return make([]T, n)
}
