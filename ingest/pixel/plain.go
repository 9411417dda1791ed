package pixel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/radstream/radstream/schemas/fault"
)

// maxDecoded bounds the memory that decoding a plain film takes, in bytes, its samples included.
const maxDecoded = 224 << 20

// Format is the format of a plain film.
type Format string

// The formats.
const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
)

// Sniff tells the format of a plain film from its first bytes, or "".
func Sniff(data []byte) Format {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return JPEG
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return PNG
	}
	return ""
}

// Plain is a decoded JPEG or PNG film.
type Plain struct {
	Film
	Bits int // 8 or 16
}

// DecodePlain decodes a JPEG or PNG film of any colour model to grey. Colour becomes its
// luma (ITU-R BT.601); 16-bit values are kept, to be windowed.
//
// Errors: Invalid truncated or malformed_image; Unsupported unsupported_image for a
// flavour of the format that is not taken, or declared_size_too_large, which is found
// before anything is decoded.
func DecodePlain(data []byte) (Plain, error) {
	config, decode := jpeg.DecodeConfig, jpeg.Decode
	switch Sniff(data) {
	case PNG:
		config, decode = png.DecodeConfig, png.Decode
	case "":
		return Plain{}, fault.Reject("pixel.DecodePlain", fault.Invalid, ReasonMalformed, "the file must start as a JPEG or PNG file does")
	}
	c, err := config(bytes.NewReader(data))
	if err != nil {
		return Plain{}, plainFault(data, err)
	}
	deep := c.ColorModel == color.Gray16Model || c.ColorModel == color.RGBA64Model || c.ColorModel == color.NRGBA64Model
	if c.Width > MaxPixels || c.Height > MaxPixels || c.Width*c.Height > min(MaxPixels, maxDecoded/pixelBytes(data, c.ColorModel)) {
		return Plain{}, fault.Reject("pixel.DecodePlain", fault.Unsupported, ReasonTooLarge, "the image must have at most %d pixels and decode to at most %d bytes", MaxPixels, maxDecoded)
	}
	img, err := decode(bytes.NewReader(data))
	if err != nil {
		return Plain{}, plainFault(data, err)
	}
	p := Plain{Film: Film{Rows: c.Height, Columns: c.Width, Display: !deep, Slope: 1, Samples: make([]uint16, c.Width*c.Height)}, Bits: 8}
	if deep {
		p.Bits = 16
	}
	for y := range c.Height {
		row(img, y, deep, p.Samples[y*c.Width:][:c.Width])
	}
	return p, nil
}

// row writes row y of img as grey values to out.
func row(img image.Image, y int, deep bool, out []uint16) {
	bounds := img.Bounds()
	at := bounds.Min.Y + y
	switch m := img.(type) {
	case *image.Gray:
		widen(m.Pix[y*m.Stride:], out)
		return
	case *image.YCbCr: // its Y is the luma
		widen(m.Y[y*m.YStride:], out)
		return
	}
	area := image.Rect(0, 0, len(out), 1)
	if deep {
		line := image.NewGray16(area)
		draw.Draw(line, area, img, image.Pt(bounds.Min.X, at), draw.Src)
		for i := range out {
			out[i] = uint16(line.Pix[2*i])<<8 | uint16(line.Pix[2*i+1])
		}
		return
	}
	line := image.NewGray(area)
	draw.Draw(line, area, img, image.Pt(bounds.Min.X, at), draw.Src)
	widen(line.Pix, out)
}

func widen(from []byte, to []uint16) {
	for i := range to {
		to[i] = uint16(from[i])
	}
}

// pixelBytes returns how many bytes image/jpeg or image/png and the samples made of its image
// take for a pixel, at most.
func pixelBytes(data []byte, m color.Model) int {
	const samples = 2
	if Sniff(data) == JPEG {
		components := 3 // subsampled or not
		switch m {
		case color.GrayModel:
			components = 1
		case color.CMYKModel:
			components = 4
		}
		if progressive(data) {
			return samples + components*(1+4) // a coefficient has 4 bytes
		}
		return samples + components
	}
	bytes := 4 // a palette has 1
	switch m {
	case color.GrayModel:
		bytes = 1
	case color.Gray16Model:
		bytes = 2
	case color.RGBA64Model, color.NRGBA64Model:
		bytes = 8
	}
	interlaced, transparent := pngFlags(data)
	if transparent && bytes < 4 { // grey becomes colour with alpha
		bytes *= 4
	}
	if interlaced { // its passes are images of their own
		bytes *= 2
	}
	return samples + bytes
}

// progressive tells whether a JPEG's frame is (ITU T.81 B.2.2, SOF2).
func progressive(data []byte) bool {
	for pos := 2; pos+4 <= len(data) && data[pos] == 0xff; {
		switch marker := data[pos+1]; {
		case marker == 0xff: // fill
			pos++
		case marker == 0xc2:
			return true
		case marker == 0xda || marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			return false
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd8: // without a length
			pos += 2
		default:
			pos += 2 + int(data[pos+2])<<8 + int(data[pos+3])
		}
	}
	return true // who knows: image/jpeg skips what this does not
}

// pngFlags tells whether a PNG is interlaced and has a chunk tRNS before its image.
func pngFlags(data []byte) (interlaced, transparent bool) {
	const header, chunk = 8, 12 // a chunk has length, type and sum around its data
	interlaced = len(data) > header+8+12 && data[header+8+12] != 0
	for pos := header; pos+chunk <= len(data); {
		n := int(binary.BigEndian.Uint32(data[pos:]))
		switch string(data[pos+4 : pos+8]) {
		case "tRNS":
			return interlaced, true
		case "IDAT":
			return interlaced, false
		}
		if n > len(data) {
			break
		}
		pos += chunk + n
	}
	return interlaced, false
}

// plainFault classifies an error of image/jpeg or image/png by what is there of the file:
// their own errors seldom say that the end is missing. It drops their text, which may
// quote the input.
func plainFault(data []byte, err error) error {
	const op = "pixel.DecodePlain"
	var jpegFlavour jpeg.UnsupportedError
	var pngFlavour png.UnsupportedError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.Reject(op, fault.Invalid, ReasonTruncated, "the file ends before its image does")
	case errors.As(err, &jpegFlavour), errors.As(err, &pngFlavour):
		return fault.Reject(op, fault.Unsupported, ReasonUnsupported, "JPEG must be baseline or progressive with 8 bits; PNG must follow version 1.2")
	}
	if !ends(data) {
		return fault.Reject(op, fault.Invalid, ReasonTruncated, "the file ends before its image does")
	}
	return fault.Reject(op, fault.Invalid, ReasonMalformed, "the file is not a whole JPEG or PNG image")
}

// ends tells whether a JPEG or PNG file has its last marker.
func ends(data []byte) bool {
	if Sniff(data) == JPEG {
		return bytes.HasSuffix(bytes.TrimRight(data, "\x00\r\n"), []byte("\xff\xd9"))
	}
	return bytes.Contains(data[max(0, len(data)-64):], []byte("IEND"))
}

// EncodePNG returns a rendered view as an 8-bit grey PNG. The same pixels give the same
// bytes under one version of Go; identity of views is by their pixels.
func EncodePNG(pixels []byte) ([]byte, error) {
	if len(pixels) != Side*Side {
		return nil, fault.Errorf("pixel.EncodePNG", fault.Internal, "a view has %d pixels, this one %d", Side*Side, len(pixels))
	}
	var b bytes.Buffer
	err := png.Encode(&b, &image.Gray{Pix: pixels, Stride: Side, Rect: image.Rect(0, 0, Side, Side)})
	return b.Bytes(), fault.E("pixel.EncodePNG", fault.Internal, err)
}

// DecodePNG is the inverse of [EncodePNG]: Side*Side grey values, row-major. Errors:
// Invalid truncated or malformed_image for anything but such a PNG.
func DecodePNG(data []byte) ([]byte, error) {
	c, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, plainFault(data, err)
	}
	if c.Width != Side || c.Height != Side || c.ColorModel != color.GrayModel {
		return nil, fault.Reject("pixel.DecodePNG", fault.Invalid, ReasonMalformed, "a view is an 8-bit grey PNG of %d x %d", Side, Side)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, plainFault(data, err)
	}
	grey, ok := img.(*image.Gray)
	if !ok {
		return nil, fault.Errorf("pixel.DecodePNG", fault.Internal, "image/png decoded a grey image to %T", img)
	}
	return grey.Pix, nil
}
