package codec

import (
	"github.com/radstream/radstream/ingest/dicom/codec/jpeg2000"
	"github.com/radstream/radstream/schemas/fault"
)

// maxJPEG2000 bounds the samples of a frame, of which all must cost less than 256 MB. The
// largest detectors have 18 million.
const maxJPEG2000 = 18_000_000

// ReasonTooLarge refuses frames that would take too much memory to decode.
const ReasonTooLarge fault.Reason = "declared_size_too_large"

// decodeJPEG2000 decodes a JPEG 2000 or HTJ2K frame, bare or in a JP2 file (PS3.5 sections
// A.4.4 and 8.2.4). Whether samples are signed is said by the data set, as other readers
// have it: encoders of signed CT objects are known to write unsigned codestreams, which
// hold the two's complement of Bits Stored.
func decodeJPEG2000(codestream []byte, f Frame) ([]uint16, error) {
	const op = "codec.JPEG2000"
	if f.Rows*f.Columns*f.Samples > maxJPEG2000 {
		return nil, fault.Reject(op, fault.Unsupported, ReasonTooLarge, "a JPEG 2000 frame must have at most %d samples", maxJPEG2000)
	}
	img, err := jpeg2000.Decode(codestream, jpeg2000.Limits{Rows: f.Rows, Columns: f.Columns, Components: f.Samples})
	if err != nil {
		return nil, err
	}
	if img.Precision > f.BitsAllocated {
		return nil, fault.Reject(op, fault.Invalid, ReasonMismatch, "the precision in the codestream must be at most Bits Allocated (PS3.5 8.2.4)")
	}
	out := img.Planes[0]
	if f.Samples > 1 {
		out = make([]uint16, f.Rows*f.Columns*f.Samples)
		for c, plane := range img.Planes {
			for i, v := range plane {
				out[i*f.Samples+c] = v
			}
		}
	}
	f.lower(out)
	if f.Signed != img.Signed {
		free := max(0, 16-f.BitsStored)
		for i, raw := range out {
			if f.Signed {
				out[i] = uint16(int16(raw<<free) >> free)
			} else {
				out[i] = raw << free >> free
			}
		}
	}
	return out, nil
}
