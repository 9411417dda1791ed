package dicom

import (
	"runtime"

	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/schemas/fault"
)

// MaxPixels bounds the samples of a frame, Rows x Columns x Samples per Pixel, those of 32
// bits counted twice. The largest detectors have 18 million.
const MaxPixels = 32 << 20

// MaxSamples bounds the samples of all frames: decoding them costs time, not memory, since
// one is held at a time. A tomosynthesis has 500 million.
const MaxSamples = 1 << 30

// Pixels is one image in grey: the stored values before rescale, window and inversion, or
// what was made of colour.
type Pixels struct {
	Rows, Columns int
	// Signed says that a sample is an int16 in two's complement.
	Signed bool
	// Wide says that more than 8 bits are allocated to a sample.
	Wide bool
	// Samples is row-major, Rows x Columns long, sign-extended from Bits Stored to 16 bits.
	Samples []uint16
	// Shift is how many low bits were dropped to make 32-bit values fit: a stored value is
	// Samples x 2^Shift. It is 0 for values that fit as they are.
	Shift int
	// Display says that the image was in colour. Samples are then the luminance, 0 to 255,
	// to be shown as they are: there is no rescale, window or inversion.
	Display bool
}

// Stats computes the figures of p.
func (p *Pixels) Stats() Stats {
	bits := 8
	if p.Wide {
		bits = 16
	}
	t := newTally(bits)
	t.add(stored{values: p.Samples, signed: p.Signed})
	return t.stats()
}

// Pixels decodes the first frame with the decoders of set; [File.Survey] tells of all.
//
// Errors: Unsupported unsupported_transfer_syntax, no_pixel_data, float_pixel_data, color,
// unsupported_bits or declared_size_too_large; Invalid truncated, malformed_dicom or
// no_image_size, and the reasons of package codec.
func (f *File) Pixels(set codec.Set) (*Pixels, error) {
	d, err := f.decoder(set)
	if err != nil {
		return nil, err
	}
	s, err := d.frame(0)
	if err != nil {
		return nil, err
	}
	return f.grey(s)
}

// Survey decodes all frames, one after another, and returns the figures over their stored
// values, and the first frame as [File.Pixels] does. Errors are those of [File.Pixels].
func (f *File) Survey(set codec.Set) (*Pixels, Stats, error) {
	d, err := f.decoder(set)
	if err != nil {
		return nil, Stats{}, err
	}
	var first *Pixels
	t := newTally(f.BitsAllocated)
	for i := range f.Frames {
		s, err := d.frame(i)
		if err != nil {
			return nil, Stats{}, err
		}
		t.add(s)
		if i != 0 {
			if d.decode == nil {
				d.spare = s
			} else {
				runtime.GC() // so that a large frame's memory is free before the next takes as much
			}
			continue
		}
		if first, err = f.grey(s); err != nil {
			return nil, Stats{}, err
		}
	}
	return first, t.stats(), nil
}

// decoder reads the frames of one file.
type decoder struct {
	*File
	decode codec.Decoder // nil when samples are not compressed
	signed bool
	order  order
	// pieces holds the fragments of each frame; nil when there is one value for all.
	pieces [][][]byte
	spare  stored // its memory may be used again
}

// decoder checks that there is an image, of a size that can be and with bytes for all
// frames, before anything is allocated for it.
func (f *File) decoder(set codec.Set) (*decoder, error) {
	d := &decoder{File: f, signed: f.Signed && f.Samples == 1 && !codec.IsDCT(f.TransferSyntax)}
	native := isNative(f.TransferSyntax)
	known := false
	if d.decode, known = set[f.TransferSyntax]; !known && !native && f.TransferSyntax != encapsulatedLE {
		return nil, unsupported(ReasonSyntax, "the transfer syntax must be uncompressed, deflated, RLE, JPEG with Huffman codes, JPEG-LS, JPEG 2000 or HTJ2K (PS3.5 section 10)")
	}
	if err := f.checkImage(); err != nil {
		return nil, err
	}
	if native {
		d.order = orderOf(f.TransferSyntax, f.pixels.vr)
		if f.pixels.undefined {
			return nil, malformed("pixel data has a defined length in an uncompressed transfer syntax (PS3.5 A.4)")
		}
		if f.nativeBits()*f.Frames > 8*len(f.pixels.value) {
			return nil, short("Pixel Data must hold Rows x Columns samples of each frame (PS3.5 8.1.1)")
		}
		return d, nil
	}
	if f.pixels.undefined {
		var err error
		d.pieces, err = f.split()
		return d, err
	}
	return nil, malformed("pixel data has an undefined length in a compressed transfer syntax (PS3.5 A.4)")
}

// checkImage refuses images that are not of a kind and size that can be.
func (f *File) checkImage() error {
	samples := f.Rows * f.Columns * f.Samples
	switch {
	case f.structure != nil:
		return f.structure
	case f.pixels.tag == 0:
		return unsupported(ReasonNoPixels, "the object must have Pixel Data (7FE0,0010)")
	case f.pixels.tag != tagPixels:
		return unsupported(ReasonFloat, "pixels must be integers, in Pixel Data (7FE0,0010)")
	case !f.colorKnown():
		return unsupported(ReasonColor, "Samples per Pixel (0028,0002) must be 1, or 3 of RGB, YBR_FULL, YBR_FULL_422, YBR_RCT or YBR_ICT (PS3.3 C.7.6.3.1.2)")
	case f.Frames == 0:
		return malformed("Number of Frames (0028,0008) must be a positive integer (PS3.3 C.7.6.6)")
	case f.Rows < 1 || f.Columns < 1:
		return fault.Reject("dicom.Pixels", fault.Invalid, ReasonNoSize, "Rows and Columns (0028,0010), (0028,0011) must be positive (PS3.3 C.7.6.3)")
	case samples*max(1, f.BitsAllocated/16) > MaxPixels:
		return unsupported(ReasonTooLarge, "Rows times Columns times Samples per Pixel must be at most %d, of 32 bits half as many", MaxPixels)
	case samples*f.Frames > MaxSamples:
		return unsupported(ReasonTooLarge, "all frames together must have at most %d samples", MaxSamples)
	case !f.bitsKnown():
		return unsupported(ReasonBits, "Bits Allocated (0028,0100) must be 8 or 16, or for uncompressed grey 1, 12 or 32 (PS3.5 8.1.1)")
	case f.BitsStored < 1 || f.BitsStored > f.HighBit+1 || f.HighBit >= f.BitsAllocated:
		return malformed("Bits Stored (0028,0101) must fit below High Bit, and High Bit below Bits Allocated (PS3.5 8.1.1)")
	}
	return nil
}

// bitsKnown tells whether samples of so many bits are read. 12 packed bits are of ACR-NEMA.
func (f *File) bitsKnown() bool {
	plain := isNative(f.TransferSyntax) || f.TransferSyntax == encapsulatedLE
	switch f.BitsAllocated {
	case 8, 16:
		return true
	case 1, 12:
		return plain && f.Samples == 1
	case 32:
		return (plain || f.TransferSyntax == codec.RLE) && f.Samples == 1
	}
	return false
}

// frame decodes frame i, counted from 0.
func (d *decoder) frame(i int) (stored, error) {
	if d.pieces == nil {
		return d.native(d.pixels.value, i)
	}
	value := join(d.pieces[i])
	if d.decode == nil {
		if d.nativeBits() > 8*len(value) {
			return stored{}, short("a frame must hold Rows x Columns samples (PS3.5 8.1.1)")
		}
		return d.native(value, 0)
	}
	values, err := d.decode(value, codec.Frame{
		Rows: d.Rows, Columns: d.Columns, Samples: d.Samples,
		BitsAllocated: d.BitsAllocated, BitsStored: d.BitsStored, HighBit: d.HighBit, Signed: d.signed,
	})
	s := stored{values: values, signed: d.signed}
	if d.Samples == 3 && codec.IsDCT(d.TransferSyntax) {
		s.color = codec.JPEGColor(value)
	}
	if err == nil && d.TransferSyntax == codec.RLE {
		if d.BitsAllocated == 32 {
			s = stored{long: pairs(values), signed: d.signed}
		}
		d.settle(s)
	}
	return s, err
}

// pairs joins the halves of 32-bit samples, the low one first.
func pairs(halves []uint16) []uint32 {
	out := make([]uint32, len(halves)/2)
	for i := range out {
		out[i] = uint32(halves[2*i+1])<<16 | uint32(halves[2*i])
	}
	return out
}

func unsupported(reason fault.Reason, format string, args ...any) error {
	return fault.Reject("dicom.Pixels", fault.Unsupported, reason, format, args...)
}

func short(form string) error {
	return fault.Reject("dicom.Pixels", fault.Invalid, ReasonTruncated, "%s", form)
}
