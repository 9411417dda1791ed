// Package codec decodes the compressed frames of DICOM pixel data, one decoder for each
// transfer syntax.
//
//	one frame's codestream, rows, columns -> stored values, row-major
//
// The decoders are handed around as a value, a [Set], so that a caller can leave one out
// or bring its own. A decoder believes nothing that the data set says: it compares the
// size in the codestream with the one declared before it allocates.
package codec

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"io"

	"github.com/radstream/radstream/schemas/fault"
)

// Reasons for which a codestream is refused.
const (
	ReasonTruncated  fault.Reason = "truncated"
	ReasonCodestream fault.Reason = "malformed_codestream"
	ReasonMismatch   fault.Reason = "codestream_mismatch" // the codestream is not what the data set declares
)

// JPEGBaseline is the transfer syntax of JPEG baseline, process 1: 8 bits, lossy (PS3.5
// section A.4.1).
const JPEGBaseline = "1.2.840.10008.1.2.4.50"

// Decoder decodes the codestream of one frame of one sample a pixel into rows*columns
// stored values, row-major. A signed sample of n bits is sign-extended to 16. Errors:
// Invalid with one of the reasons of this package.
type Decoder func(codestream []byte, rows, columns int) ([]uint16, error)

// Set holds decoders by transfer syntax UID.
type Set map[string]Decoder

// Standard returns the decoders of this package.
func Standard() Set { return Set{JPEGBaseline: decodeJPEGBaseline} }

func decodeJPEGBaseline(codestream []byte, rows, columns int) ([]uint16, error) {
	const op = "codec.JPEGBaseline"
	declared, err := jpeg.DecodeConfig(bytes.NewReader(codestream))
	if err != nil {
		return nil, jpegFault(op, codestream, err)
	}
	if declared.Width != columns || declared.Height != rows {
		return nil, fault.Reject(op, fault.Invalid, ReasonMismatch, "the size in the JPEG frame header must equal Rows and Columns")
	}
	if declared.ColorModel != color.GrayModel {
		return nil, fault.Reject(op, fault.Invalid, ReasonMismatch, "the JPEG frame must have one component, as Samples per Pixel says")
	}
	img, err := jpeg.Decode(bytes.NewReader(codestream))
	if err != nil {
		return nil, jpegFault(op, codestream, err)
	}
	grey, ok := img.(*image.Gray)
	if !ok {
		return nil, fault.Errorf(op, fault.Internal, "image/jpeg decoded a grey frame to %T", img)
	}
	out := make([]uint16, rows*columns)
	for y := range rows {
		row := grey.Pix[y*grey.Stride:][:columns]
		for x, p := range row {
			out[y*columns+x] = uint16(p)
		}
	}
	return out, nil
}

// jpegFault tells a codestream that was cut by its missing end marker, since image/jpeg
// seldom does. It drops the library's text, which may quote bytes of the input.
func jpegFault(op string, codestream []byte, err error) error {
	ends := bytes.HasSuffix(bytes.TrimRight(codestream, "\x00"), []byte("\xff\xd9"))
	if !ends || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Reject(op, fault.Invalid, ReasonTruncated, "the JPEG codestream ends too early")
	}
	return fault.Reject(op, fault.Invalid, ReasonCodestream, "the frame is not a JPEG codestream of 8-bit samples")
}
