// Package jpeg2000 decodes JPEG 2000 (ITU-T T.800) and high-throughput JPEG 2000 (ITU-T
// T.814) codestreams, as DICOM frames hold them, bare or in a JP2 file.
//
//	codestream -> markers -> tiles -> packets -> code-blocks -> wavelet -> components
//
// Each arrow is one file or two: markers.go and tileparts.go read the headers, geometry.go
// lays out a tile (Annex B), progression.go and packet.go find the bytes of each code-block
// (Annex B), mq.go and tier1*.go (Annexes C, D) or ht*.go (T.814) turn them into quantized
// coefficients, wavelet.go (Annex F) into samples, and tile.go undoes quantization, colour
// transform and level shift (Annexes E, G). kernel*.go has the loops over rows of samples.
//
// The decoder believes no size: the picture must have the size that the caller declares, and
// every allocation after that follows from the samples of that picture or from bytes that
// are there. It keeps no state between calls and starts no goroutine: callers decode frames
// side by side.
package jpeg2000

import "github.com/radstream/radstream/schemas/fault"

const op = "jpeg2000.Decode"

// The reasons for which a codestream is refused; the words are those of package codec.
const (
	reasonTruncated   fault.Reason = "truncated"
	reasonMalformed   fault.Reason = "malformed_codestream"
	reasonMismatch    fault.Reason = "codestream_mismatch"
	reasonUnsupported fault.Reason = "unsupported_codestream"
)

// Limits is what the caller knows of the picture before it is decoded.
type Limits struct {
	Rows, Columns int // must equal the size in the SIZ marker
	Components    int // must equal the components in the SIZ marker
}

// Image is a decoded picture.
type Image struct {
	Width, Height int
	Precision     int        // bits of a sample, 1 to 16
	Signed        bool       // whether samples are two's complement in the codestream
	Planes        [][]uint16 // [component][Height*Width], row-major, clamped to Precision; int16 if Signed
}

// Decode decodes one codestream: either wavelet, every progression, any number of tiles,
// tile-parts, precincts, layers and regions of interest. Colour transforms (T.800 Annex G)
// are undone. Errors: Invalid with the reason truncated (packets are missing; a missing EOC
// marker alone is borne), malformed_codestream or codestream_mismatch (the picture is not
// what limit says); Unsupported for what DICOM encoders do not write: subsampled components,
// components of unequal precision, packed packet headers and mixed HT code-blocks.
func Decode(codestream []byte, limit Limits) (*Image, error) {
	data, err := unbox(codestream)
	if err != nil {
		return nil, err
	}
	h, data, err := readMainHeader(data, limit)
	if err != nil {
		return nil, err
	}
	tiles, err := readTileParts(h, data)
	if err != nil {
		return nil, err
	}
	img := &Image{
		Width:     h.x1 - h.x0,
		Height:    h.y1 - h.y0,
		Precision: h.precision,
		Signed:    h.signed,
		Planes:    make([][]uint16, h.components),
	}
	for c := range img.Planes {
		img.Planes[c] = make([]uint16, img.Width*img.Height)
	}
	d := newDecoder(h, img)
	for i := range tiles {
		if err := d.tile(i, &tiles[i]); err != nil {
			return nil, err
		}
	}
	return img, nil
}

func truncated(what string) error {
	return fault.Reject(op, fault.Invalid, reasonTruncated, "the codestream ends before %s", what)
}

func malformed(what string) error {
	return fault.Reject(op, fault.Invalid, reasonMalformed, "%s", what)
}

func mismatch(what string) error {
	return fault.Reject(op, fault.Invalid, reasonMismatch, "%s", what)
}

func unsupported(what string) error {
	return fault.Reject(op, fault.Unsupported, reasonUnsupported, "%s", what)
}

// ceilShift returns v / 2^n rounded up, for v >= 0.
func ceilShift(v, n int) int { return (v + 1<<n - 1) >> n }
