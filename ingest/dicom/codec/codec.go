// Package codec decodes the compressed frames of DICOM pixel data, one decoder for each
// transfer syntax.
//
//	one frame's codestream, what the data set declares of it (Frame) -> stored values
//
// The decoders are handed around as a value, a [Set], so that a caller can leave one out
// or bring its own. A decoder believes nothing that the data set says: it compares the
// size in the codestream with the one declared before it allocates.
//
// Here are JPEG (baseline, extended, progressive and lossless: jpeg*.go), JPEG-LS
// (jpegls*.go) and RLE (rle.go); JPEG 2000 and HTJ2K are in package jpeg2000 (jp2.go).
// Arithmetic coding, hierarchical JPEG and video are not decoded.
package codec

import "github.com/radstream/radstream/schemas/fault"

// Reasons for which a codestream is refused.
const (
	ReasonTruncated  fault.Reason = "truncated"
	ReasonCodestream fault.Reason = "malformed_codestream"
	ReasonMismatch   fault.Reason = "codestream_mismatch" // the codestream is not what the data set declares
)

// Transfer syntaxes that [Standard] decodes (PS3.5 section 10, PS3.6 table A-1).
const (
	RLE               = "1.2.840.10008.1.2.5"
	JPEGBaseline      = "1.2.840.10008.1.2.4.50" // process 1: 8 bits, lossy
	JPEGExtended      = "1.2.840.10008.1.2.4.51" // processes 2 and 4: 8 or 12 bits, lossy
	JPEGSpectral      = "1.2.840.10008.1.2.4.53" // processes 6 and 8, retired
	JPEGProgressive   = "1.2.840.10008.1.2.4.55" // processes 10 and 12, retired
	JPEGLossless      = "1.2.840.10008.1.2.4.57" // process 14, any predictor
	JPEGLosslessSV1   = "1.2.840.10008.1.2.4.70" // process 14, predictor 1
	JPEGLSLossless    = "1.2.840.10008.1.2.4.80"
	JPEGLSNear        = "1.2.840.10008.1.2.4.81"
	JPEG2000Lossless  = "1.2.840.10008.1.2.4.90"
	JPEG2000          = "1.2.840.10008.1.2.4.91"
	HTJ2KLossless     = "1.2.840.10008.1.2.4.201"
	HTJ2KLosslessRPCL = "1.2.840.10008.1.2.4.202"
	HTJ2K             = "1.2.840.10008.1.2.4.203"
)

// Decoder decodes the codestream of one frame into rows*columns*samples stored values,
// row-major, the samples of a pixel together. Signed samples of n bits are sign-extended
// to 16; DCT processes have none. [RLE] gives all bits that are allocated as they are, and
// two values for a sample of 32. Errors: Invalid with one of the reasons of this package,
// Unsupported for what an encoder may but none of DICOM objects does.
type Decoder func(codestream []byte, f Frame) ([]uint16, error)

// Set holds decoders by transfer syntax UID.
type Set map[string]Decoder

// Standard returns the decoders of this package.
func Standard() Set {
	return Set{
		RLE:               decodeRLE,
		JPEGBaseline:      decodeJPEGDCT,
		JPEGExtended:      decodeJPEGDCT,
		JPEGSpectral:      decodeJPEGDCT,
		JPEGProgressive:   decodeJPEGDCT,
		JPEGLossless:      signExtended(decodeJPEGLossless, true),
		JPEGLosslessSV1:   signExtended(decodeJPEGLossless, true),
		JPEGLSLossless:    signExtended(decodeJPEGLS, true),
		JPEGLSNear:        signExtended(decodeJPEGLS, false),
		JPEG2000Lossless:  signExtended(decodeJPEG2000, true),
		JPEG2000:          decodeJPEG2000,
		HTJ2KLossless:     signExtended(decodeJPEG2000, true),
		HTJ2KLosslessRPCL: signExtended(decodeJPEG2000, true),
		HTJ2K:             decodeJPEG2000,
	}
}

// IsDCT tells whether frames of a syntax are coded by a DCT process of JPEG, whose samples
// are unsigned whatever Pixel Representation says.
func IsDCT(syntax string) bool {
	switch syntax {
	case JPEGBaseline, JPEGExtended, JPEGSpectral, JPEGProgressive:
		return true
	}
	return false
}

// signExtended extends signed samples from Bits Stored. With mask, unsigned ones lose the
// bits above it: a decoder that calculates modulo 2^16 may leave some, and a codestream of all
// bits that are allocated may hold an overlay there, as uncompressed samples do. What a lossy
// one has there is overshoot.
func signExtended(decode Decoder, mask bool) Decoder {
	return func(codestream []byte, f Frame) ([]uint16, error) {
		out, err := decode(codestream, f)
		if err == nil {
			f.lower(out)
		}
		free := 16 - f.BitsStored
		switch {
		case err != nil || free <= 0 || free > 15:
		case f.Signed:
			for i, v := range out {
				out[i] = uint16(int16(v<<free) >> free)
			}
		case mask:
			for i, v := range out {
				out[i] = v << free >> free
			}
		}
		return out, err
	}
}
