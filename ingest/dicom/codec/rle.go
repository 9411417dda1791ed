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
	plane := make([]byte, n)
	for i := range segments {
		start, end := word(1+i), len(codestream)
		if i+1 < segments {
			end = word(2 + i)
		}
		if start < rleHeader || start > end || end > len(codestream) {
			return nil, fault.Reject(op, fault.Invalid, ReasonCodestream, "the offsets of segments must ascend within the frame (PS3.5 G.5)")
		}
		if !unpackBits(plane, codestream[start:end]) {
			return nil, cut
		}
		sample, low := i/width, width-1-i%width // low counts bytes from the lowest
		step := f.Samples * max(1, width/2)
		at, shift := sample*max(1, width/2)+low/2, 8*(low%2)
		for _, b := range plane {
			out[at] |= uint16(b) << shift
			at += step
		}
	}
	return out, nil
}

// unpackBits fills plane from a segment (PS3.5 section G.3.2), or returns false when the
// segment ends too early. What follows the plane is padding.
func unpackBits(plane, segment []byte) bool {
	at := 0
	for at < len(plane) {
		if len(segment) < 2 {
			return false
		}
		n := int(int8(segment[0]))
		segment = segment[1:]
		switch {
		case n >= 0:
			n = min(n+1, len(plane)-at)
			if n > len(segment) {
				return false
			}
			copy(plane[at:], segment[:n])
			segment = segment[n:]
			at += n
		case n != -128: // which means nothing
			run := plane[at:min(at+1-n, len(plane))]
			for i := range run {
				run[i] = segment[0]
			}
			segment = segment[1:]
			at += len(run)
		}
	}
	return true
}
