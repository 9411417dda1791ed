package codec

import (
	"encoding/binary"

	"github.com/radstream/radstream/schemas/fault"
)

// rleHeader is the length of the header of a frame: the number of segments and 15 offsets
// (PS3.5 section G.5).
const rleHeader = 64

// decodeRLE decodes a frame of run-length encoded byte planes (PS3.5 annex G): one segment
// for each byte of a sample, the highest byte first, sample after sample. It returns
// rows*columns*samples values, row-major, the samples of a pixel together, with all bits
// that are allocated, unsigned. A sample of 32 bits takes two values, the low half first.
//
// Errors: Invalid truncated or malformed_codestream; codestream_mismatch if the segments
// are not as many as the bytes of a pixel.
func decodeRLE(codestream []byte, f Frame) ([]uint16, error) {
	const op = "codec.RLE"
	width := f.BitsAllocated / 8
	if f.Rows < 1 || f.Columns < 1 || f.Samples < 1 || f.BitsAllocated != 8 && f.BitsAllocated != 16 && f.BitsAllocated != 32 {
		return nil, fault.Reject(op, fault.Invalid, ReasonMismatch, "Bits Allocated of a run-length encoded frame must be 8, 16 or 32 (PS3.5 G.2)")
	}
	cut := fault.Reject(op, fault.Invalid, ReasonTruncated, "each segment must hold a byte of each sample of the frame (PS3.5 G.3)")
	n := f.Rows * f.Columns
	// Two bytes make 128 at most, so that a short frame cannot claim a large one.
	if len(codestream) < rleHeader || n*f.Samples*width > 64*(len(codestream)-rleHeader) {
		return nil, cut
	}
	word := func(i int) int { return int(binary.LittleEndian.Uint32(codestream[4*i:])) }
	segments := word(0)
	if segments != f.Samples*width || segments > 15 {
		return nil, fault.Reject(op, fault.Invalid, ReasonMismatch, "there must be a segment for each byte of a pixel (PS3.5 G.2)")
	}
	out := make([]uint16, n*f.Samples*max(1, width/2))
	for i := range segments {
		start, end := word(1+i), len(codestream)
		if i+1 < segments {
			end = word(2 + i)
		}
		if start < rleHeader || start > end || end > len(codestream) {
			return nil, fault.Reject(op, fault.Invalid, ReasonCodestream, "the offsets of segments must ascend within the frame (PS3.5 G.5)")
		}
		step := f.Samples * max(1, width/2)
		// The higher bytes of a value come first.
		if !unpackBits(out[i/width*max(1, width/2)+(width-1-i%width)/2:], n, step, codestream[start:end]) {
			return nil, cut
		}
	}
	return out, nil
}

// unpackBits moves n values up by a byte, each step-th of out, and puts the bytes of a segment
// below them (PS3.5 section G.3.2). It returns false when the segment ends too early. What
// follows the values is padding.
func unpackBits(out []uint16, n, step int, segment []byte) bool {
	at := 0
	for at < n {
		if len(segment) < 2 {
			return false
		}
		count := int(int8(segment[0]))
		segment = segment[1:]
		switch {
		case count >= 0:
			count = min(count+1, n-at)
			if count > len(segment) {
				return false
			}
			if step == 1 { // as in most films
				below(out[at:at+count], segment[:count])
			} else {
				for i, b := range segment[:count] {
					v := &out[(at+i)*step]
					*v = *v<<8 | uint16(b)
				}
			}
			segment = segment[count:]
		case count != -128: // which means nothing
			count = min(1-count, n-at)
			b := uint16(segment[0])
			if step == 1 {
				for i, v := range out[at : at+count] {
					out[at+i] = v<<8 | b
				}
			} else {
				for i := at; i < at+count; i++ {
					out[i*step] = out[i*step]<<8 | b
				}
			}
			segment = segment[1:]
		default:
			continue
		}
		at += count
	}
	return true
}

// below moves each value up by a byte, and puts a byte below it.
func below(out []uint16, bytes []byte) {
	out = out[:len(bytes)]
	for i, b := range bytes {
		out[i] = out[i]<<8 | uint16(b)
	}
}
