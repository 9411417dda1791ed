package dicom

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/schemas/fault"
)

// Pixels are the stored values of one image: before rescale, window and inversion.
type Pixels struct {
	Rows, Columns int
	// Signed says that a sample is an int16 in two's complement.
	Signed bool
	// Wide says that more than 8 bits are allocated to a sample.
	Wide bool
	// Samples is row-major, Rows x Columns long, sign-extended from Bits Stored to 16 bits.
	Samples []uint16
}

// Stats are figures over all samples.
type Stats struct {
	Min, Max int
	Mean     float64
	// SHA256 is over the samples little endian, two bytes each when they are Wide, else one.
	SHA256 [32]byte
}

// Stats computes the figures of p.
func (p *Pixels) Stats() Stats {
	width := 1
	if p.Wide {
		width = 2
	}
	h := sha256.New()
	row := make([]byte, 0, 2*p.Columns)
	s := Stats{Min: 1 << 16, Max: -1 << 16}
	sum := int64(0)
	for y := range p.Rows {
		row = row[:0]
		for _, raw := range p.Samples[y*p.Columns:][:p.Columns] {
			row = binary.LittleEndian.AppendUint16(row, raw)[:len(row)+width]
			v := int(raw)
			if p.Signed {
				v = int(int16(raw))
			}
			s.Min, s.Max = min(s.Min, v), max(s.Max, v)
			sum += int64(v)
		}
		h.Write(row)
	}
	s.Mean = float64(sum) / float64(len(p.Samples))
	h.Sum(s.SHA256[:0])
	return s
}

// Pixels decodes the stored values with the decoders of set.
//
// Errors: Unsupported unsupported_transfer_syntax, no_pixel_data, float_pixel_data, color,
// multi_frame, unsupported_bits or declared_size_too_large; Invalid truncated,
// malformed_dicom or no_image_size, and the reasons of package codec.
func (f *File) Pixels(set codec.Set) (*Pixels, error) {
	native := f.TransferSyntax == implicitLE || f.TransferSyntax == explicitLE
	decoder, encapsulated := set[f.TransferSyntax]
	if !native && !encapsulated {
		return nil, unsupported(ReasonSyntax, "pixels are read of implicit and explicit VR little endian and JPEG baseline")
	}
	if err := f.checkImage(); err != nil {
		return nil, err
	}
	p := &Pixels{Rows: f.Rows, Columns: f.Columns, Signed: f.Signed, Wide: f.BitsAllocated > 8}
	var err error
	if native {
		err = f.native(p)
	} else {
		err = f.encapsulated(p, decoder)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// checkImage refuses images that are not one frame of one sample of a size that can be.
func (f *File) checkImage() error {
	switch {
	case f.structure != nil:
		return f.structure
	case f.pixels.tag == 0:
		return unsupported(ReasonNoPixels, "the object must have Pixel Data (7FE0,0010)")
	case f.pixels.tag != tagPixels:
		return unsupported(ReasonFloat, "pixels must be integers, in Pixel Data (7FE0,0010)")
	case f.Samples != 1:
		return unsupported(ReasonColor, "Samples per Pixel (0028,0002) must be 1")
	case f.Frames == 0:
		return malformed("Number of Frames (0028,0008) must be a positive integer (PS3.3 C.7.6.6)")
	case f.Frames > 1:
		return unsupported(ReasonMultiFrame, "Number of Frames (0028,0008) must be 1")
	case f.Rows < 1 || f.Columns < 1:
		return fault.Reject("dicom.Pixels", fault.Invalid, ReasonNoSize, "Rows and Columns (0028,0010), (0028,0011) must be positive (PS3.3 C.7.6.3)")
	case f.Rows*f.Columns > MaxPixels:
		return unsupported(ReasonTooLarge, "Rows times Columns must be at most %d", MaxPixels)
	case f.BitsAllocated != 8 && f.BitsAllocated != 16:
		return unsupported(ReasonBits, "Bits Allocated (0028,0100) must be 8 or 16")
	case f.BitsStored < 1 || f.BitsStored > f.HighBit+1 || f.HighBit >= f.BitsAllocated:
		return malformed("Bits Stored (0028,0101) must fit below High Bit, and High Bit below Bits Allocated (PS3.5 8.1.1)")
	}
	return nil
}

// native reads uncompressed samples. Bits above High Bit and below the stored ones may
// hold something else, such as an overlay (PS3.5 section 8.1.1), and are masked away.
func (f *File) native(p *Pixels) error {
	n, value := f.Rows*f.Columns, f.pixels.value
	switch {
	case f.pixels.undefined:
		return malformed("pixel data has a defined length in an uncompressed transfer syntax (PS3.5 A.4)")
	case len(value) < n*f.BitsAllocated/8:
		return fault.Reject("dicom.Pixels", fault.Invalid, ReasonTruncated, "Pixel Data must hold Rows x Columns samples")
	}
	p.Samples = make([]uint16, n)
	if f.BitsAllocated == 8 {
		for i, b := range value[:n] {
			p.Samples[i] = uint16(b)
		}
	} else {
		for i := range p.Samples {
			p.Samples[i] = binary.LittleEndian.Uint16(value[2*i:])
		}
	}
	// Shift the stored bits to the top, then down again, which fills in the sign.
	up, down := 15-f.HighBit, 16-f.BitsStored
	switch {
	case f.Signed:
		for i, raw := range p.Samples {
			p.Samples[i] = uint16(int16(raw<<up) >> down)
		}
	case up != 0 || down != 0:
		for i, raw := range p.Samples {
			p.Samples[i] = raw << up >> down
		}
	}
	return nil
}

// encapsulated joins the fragments of the frame and decodes them (PS3.5 section A.4): an
// offset table, which is empty or names the one frame, then the fragments, then a
// delimiter. The scan has checked the items and that the delimiter is there.
func (f *File) encapsulated(p *Pixels, decode codec.Decoder) (err error) {
	if !f.pixels.undefined {
		return malformed("pixel data has an undefined length in a compressed transfer syntax (PS3.5 A.4)")
	}
	s := &scanner{data: f.pixels.value, implicit: true, order: binary.LittleEndian}
	var table, frame []byte
	for i := 0; ; i++ {
		tag, _, length, err := s.header()
		if err != nil {
			return err
		}
		if tag == tagSequenceEnd {
			break
		}
		fragment, err := s.take(int(length))
		if err != nil || length == undefinedLength {
			return malformed("a fragment has a defined length (PS3.5 A.4)")
		}
		switch {
		case i == 0:
			table = fragment
		case frame == nil:
			frame = fragment[:len(fragment):len(fragment)] // the next append copies
		default:
			frame = append(frame, fragment...)
		}
	}
	switch {
	case len(frame) == 0:
		return unsupported(ReasonNoPixels, "pixel data must hold a frame behind its offset table")
	case len(table) > 4:
		return unsupported(ReasonMultiFrame, "the offset table must name one frame")
	case len(table) != 0 && (len(table) != 4 || binary.LittleEndian.Uint32(table) != 0):
		return malformed("the first offset of the offset table is 0 (PS3.5 A.4)")
	}
	// A JPEG codestream has no signed samples, whatever Pixel Representation says.
	p.Signed = p.Signed && f.TransferSyntax != codec.JPEGBaseline
	p.Samples, err = decode(frame, f.Rows, f.Columns)
	return err
}

func unsupported(reason fault.Reason, format string, args ...any) error {
	return fault.Reject("dicom.Pixels", fault.Unsupported, reason, format, args...)
}
