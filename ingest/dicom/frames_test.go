package dicom_test

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"image"
	"image/jpeg"
	"io"
	"math"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/schemas/fault"
)

// jpegOf writes a flat JPEG frame of 8 x 8.
func jpegOf(t testing.TB, grey uint8) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range img.Pix {
		img.Pix[i] = grey
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, b.Len()%2)...)
}

// TestStoredValues: how samples lie in the file, and what becomes of them.
func TestStoredValues(t *testing.T) {
	palette := map[uint32][]byte{0x00281201: {0, 100, 255, 1}, 0x00281202: {0, 100, 255, 1}, 0x00281203: {0, 100, 255, 1}}
	deep := map[uint32][]byte{}
	for _, tag := range []uint32{0x00281101, 0x00281102, 0x00281103} {
		palette[tag], deep[tag] = le16(4, 10, 8), le16(2, 0, 16)
		deep[tag+0x100] = le16(0x8000, 0xFF00)
	}
	for _, tc := range []struct {
		name   string
		object object
		want   []uint16 // of the first frame
		min    int
		max    int
	}{
		{"big endian", object{syntax: bigEndian, rows: 1, columns: 3, allocated: 16, signed: true, pixels: be16(1, 0x8000, 515)}, []uint16{1, 0x8000, 515}, -32768, 515},
		{"big endian words of bytes", object{syntax: bigEndian, rows: 1, columns: 3, allocated: 8, pixels: []byte{2, 1, 0, 3}}, []uint16{1, 2, 3}, 1, 3},
		{"big endian bytes", object{syntax: bigEndian, rows: 1, columns: 3, allocated: 8, vr: "OB", pixels: []byte{1, 2, 3, 0}}, []uint16{1, 2, 3}, 1, 3},
		{"bits", object{syntax: string(dicom.FilmExplicitLE), rows: 1, columns: 10, allocated: 1, pixels: []byte{0b10000101, 0b10}}, []uint16{1, 0, 1, 0, 0, 0, 0, 1, 0, 1}, 0, 1},
		{"12 bits", object{syntax: string(dicom.FilmExplicitLE), rows: 1, columns: 3, allocated: 12, pixels: []byte{0x34, 0x12, 0xFF, 0x21, 0x03, 0}}, []uint16{0x234, 0xFF1, 0x321}, 0x234, 0xFF1},
		{"32 bits that fit", object{syntax: string(dicom.FilmExplicitLE), rows: 1, columns: 2, allocated: 32, pixels: le16(7, 0, 65535, 0)}, []uint16{7, 65535}, 7, 65535},
		{"32 bits", object{syntax: string(dicom.FilmExplicitLE), rows: 1, columns: 2, allocated: 32, pixels: le16(7, 0, 0, 0x8000)}, []uint16{0, 0x8000}, 7, 1 << 31},
		{"32 bits signed", object{syntax: bigEndian, rows: 1, columns: 2, allocated: 32, stored: 24, high: 27, signed: true, pixels: be16(0xF800, 0, 0, 0x70)}, []uint16{0x8000, 0}, -1 << 23, 7},
		{"deflated", object{syntax: deflated, rows: 1, columns: 2, allocated: 16, pixels: le16(3, 4)}, []uint16{3, 4}, 3, 4},
		{"encapsulated", object{syntax: encapsulated, rows: 1, columns: 2, allocated: 16, frames: "2", fragments: [][]byte{nil, le16(3, 4), le16(5, 6)}}, []uint16{3, 4}, 3, 6},
		{"encapsulated in parts", object{syntax: encapsulated, rows: 1, columns: 2, allocated: 16, fragments: [][]byte{{0, 0, 0, 0}, le16(3), le16(4)}}, []uint16{3, 4}, 3, 4},
		{"RLE", object{syntax: codec.RLE, rows: 1, columns: 3, allocated: 16, stored: 12, high: 13, signed: true, fragments: [][]byte{nil, rle([]byte{0x20, 0, 0xC0}, []byte{0, 4, 8})}}, []uint16{0xF800, 1, 2}, -2048, 2},
		{"RLE 32 bits", object{syntax: codec.RLE, rows: 1, columns: 1, allocated: 32, fragments: [][]byte{nil, rle([]byte{0}, []byte{1}, []byte{2}, []byte{3})}}, []uint16{0x10203 >> 1}, 0x10203, 0x10203},
		{"RGB", object{syntax: string(dicom.FilmExplicitLE), photometric: "RGB", samples: 3, rows: 1, columns: 2, allocated: 8, pixels: []byte{255, 0, 0, 10, 20, 30}}, []uint16{76, 18}, 0, 255},
		{"RGB planes", object{syntax: string(dicom.FilmExplicitLE), photometric: "RGB", samples: 3, rows: 1, columns: 2, allocated: 8, planar: true, pixels: []byte{255, 10, 0, 20, 0, 30}}, []uint16{76, 18}, 0, 255},
		{"RGB of 12 bits", object{syntax: string(dicom.FilmExplicitLE), photometric: "RGB", samples: 3, rows: 1, columns: 1, allocated: 16, stored: 12, pixels: le16(4095, 0, 0)}, []uint16{76}, 0, 4095},
		{"YBR", object{syntax: string(dicom.FilmExplicitLE), photometric: "YBR_FULL", samples: 3, rows: 1, columns: 2, allocated: 8, pixels: []byte{9, 128, 128, 8, 0, 1}}, []uint16{9, 8}, 0, 128},
		{"YBR halved", object{syntax: string(dicom.FilmExplicitLE), photometric: "YBR_FULL_422", samples: 3, rows: 2, columns: 2, allocated: 8, pixels: []byte{9, 8, 100, 101, 7, 6, 200, 201}}, []uint16{9, 8, 7, 6}, 6, 201},
		{"palette", object{syntax: string(dicom.FilmExplicitLE), photometric: "PALETTE COLOR", rows: 1, columns: 4, allocated: 8, pixels: []byte{9, 11, 12, 99}, extra: palette}, []uint16{0, 100, 255, 1}, 9, 99},
		{"deep palette", object{syntax: string(dicom.FilmExplicitLE), photometric: "PALETTE COLOR", rows: 1, columns: 2, allocated: 8, pixels: []byte{0, 1}, extra: deep}, []uint16{0x80, 0xFF}, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := tc.object.parse(t)
			p, s, err := f.Survey(codec.Standard())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, p.Samples); d != "" || s.Min != tc.min || s.Max != tc.max {
				t.Errorf("from %d to %d, want from %d to %d (-want +got):\n%s", s.Min, s.Max, tc.min, tc.max, d)
			}
			first, err := f.Pixels(codec.Standard())
			if d := cmp.Diff(p, first); d != "" || err != nil {
				t.Errorf("Survey and Pixels differ: %v\n%s", err, d)
			}
		})
	}
}

// TestJPEGColor: what JPEG says of its own colour counts more than Photometric Interpretation.
func TestJPEGColor(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range img.Pix {
		img.Pix[i] = [4]uint8{255, 0, 0, 255}[i%4] // Y 76, Cb 85, Cr 255
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	const red, asRGB = 76, 102 // 0.299 76 + 0.587 85 + 0.114 255
	jfif, adobe := "\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00", "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
	named := func(stream []byte) []byte {
		stream = bytes.Replace(stream, []byte{3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1}, []byte{3, 'R', 0x22, 0, 'G', 0x11, 1, 'B', 0x11, 1}, 1)
		return bytes.Replace(stream, []byte{3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0}, []byte{3, 'R', 0, 'G', 0x11, 'B', 0x11, 0, 63, 0}, 1)
	}
	for _, tc := range []struct {
		name, photometric, markers string
		named                      bool
		want                       int
	}{
		{"nothing, YBR", "YBR_FULL_422", "", false, red},
		{"nothing, RGB", "RGB", "", false, asRGB},
		{"JFIF, RGB", "RGB", jfif, false, red},
		{"Adobe YCbCr, RGB", "RGB", adobe + "\x01", false, red},
		{"Adobe RGB, YBR", "YBR_FULL_422", adobe + "\x00", false, asRGB},
		{"Adobe RGB behind JFIF", "RGB", jfif + adobe + "\x00", false, red},
		{"another APP14", "YBR_FULL", "\xff\xee\x00\x0eOthers\x00\x00\x00\x00\x00\x00", false, red},
		{"called RGB, YBR", "YBR_FULL", "", true, asRGB},
	} {
		stream := append([]byte("\xff\xd8"+tc.markers), b.Bytes()[2:]...)
		if tc.named {
			stream = named(stream)
		}
		f := object{syntax: codec.JPEGBaseline, photometric: tc.photometric, samples: 3, rows: 8, columns: 8, allocated: 8, fragments: [][]byte{nil, stream}}.parse(t)
		p, err := f.Pixels(codec.Standard())
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if d := int(p.Samples[0]) - tc.want; d < -2 || d > 2 {
			t.Errorf("%s: %d, want %d", tc.name, p.Samples[0], tc.want)
		}
	}
}

// TestFrames: the figures are over all frames, however these are found.
func TestFrames(t *testing.T) {
	a, b := jpegOf(t, 10), jpegOf(t, 200)
	frames := object{syntax: codec.JPEGBaseline, rows: 8, columns: 8, allocated: 8, frames: "2"}
	offset := func(n int) []byte { return binary.LittleEndian.AppendUint32([]byte{0, 0, 0, 0}, uint32(n)) }
	extended := map[uint32][]byte{
		0x7FE00001: binary.LittleEndian.AppendUint64(make([]byte, 8), uint64(8+len(a))),
		0x7FE00002: binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(len(a))), uint64(len(b)-1)),
	}
	for name, tc := range map[string]struct {
		fragments [][]byte
		extra     map[uint32][]byte
	}{
		"a fragment each":       {[][]byte{nil, a, b}, nil},
		"marked ends":           {[][]byte{nil, a[:100], a[100:], b[:60], b[60:]}, nil},
		"offset table":          {[][]byte{offset(16 + len(a)), a[:100], a[100:], b}, nil},
		"extended offset table": {[][]byte{nil, a, b}, extended},
	} {
		o := frames
		o.fragments, o.extra = tc.fragments, tc.extra
		p, s, err := o.parse(t).Survey(codec.Standard())
		if err != nil || p.Samples[0] != 10 || s.Min != 10 || s.Max != 200 || math.Abs(s.Mean-105) > 1e-9 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	packed := []byte{0b01010101, 0b11110000, 0b10}
	bits := object{syntax: string(dicom.FilmExplicitLE), rows: 3, columns: 3, frames: "2", allocated: 1, pixels: append(packed, 0)}
	if _, s, err := bits.parse(t).Survey(codec.Standard()); err != nil || s.SHA256 != sha256.Sum256(packed) || s.Mean != 0.5 {
		t.Errorf("frames of 9 bits: %+v, %v", s, err)
	}
}

func TestFrameRefusals(t *testing.T) {
	a := jpegOf(t, 10)
	jpegs := func(frames string, fragments ...[]byte) object {
		return object{syntax: codec.JPEGBaseline, rows: 8, columns: 8, allocated: 8, frames: frames, fragments: fragments}
	}
	native := func(change func(*object)) object {
		o := object{syntax: string(dicom.FilmExplicitLE), rows: 2, columns: 2, allocated: 8, pixels: make([]byte, 4)}
		change(&o)
		return o
	}
	for _, tc := range []struct {
		name   string
		object object
		kind   fault.Kind
		reason fault.Reason
	}{
		{"no frame", jpegs("1", nil), fault.Unsupported, dicom.ReasonNoPixels},
		{"a frame missing", jpegs("3", nil, a, a), fault.Invalid, dicom.ReasonTruncated},
		{"a frame too many", jpegs("2", nil, a, a, a), fault.Invalid, dicom.ReasonMalformed},
		{"offset missing", jpegs("2", []byte{0, 0, 0, 0}, a, a), fault.Invalid, dicom.ReasonTruncated},
		{"offset too many", jpegs("1", make([]byte, 8), a, a), fault.Invalid, dicom.ReasonMalformed},
		{"offset of no fragment", jpegs("2", []byte{0, 0, 0, 0, 9, 0, 0, 0}, a, a), fault.Invalid, dicom.ReasonMalformed},
		{"first offset", jpegs("1", []byte{8, 0, 0, 0}, a), fault.Invalid, dicom.ReasonMalformed},
		{"frames of nothing", native(func(o *object) { o.frames = "2" }), fault.Invalid, dicom.ReasonTruncated},
		{"no frames", native(func(o *object) { o.frames = "0" }), fault.Invalid, dicom.ReasonMalformed},
		{"far too many frames", native(func(o *object) { o.frames = "2147483647" }), fault.Unsupported, dicom.ReasonTooLarge},
		{"frame too large", native(func(o *object) { o.rows, o.columns = 65535, 65535 }), fault.Unsupported, dicom.ReasonTooLarge},
		{"four samples", native(func(o *object) { o.samples, o.photometric = 4, "CMYK" }), fault.Unsupported, dicom.ReasonColor},
		{"unknown colour", native(func(o *object) { o.samples, o.photometric = 3, "HSV" }), fault.Unsupported, dicom.ReasonColor},
		{"no palette", native(func(o *object) { o.photometric = "PALETTE COLOR" }), fault.Unsupported, dicom.ReasonColor},
		{"colour of one bit", native(func(o *object) { o.samples, o.photometric, o.allocated = 3, "RGB", 1 }), fault.Unsupported, dicom.ReasonBits},
		{"halved chroma of 16 bits", native(func(o *object) {
			o.samples, o.photometric, o.allocated, o.pixels = 3, "YBR_FULL_422", 16, make([]byte, 16)
		}), fault.Invalid, dicom.ReasonTruncated},
		{"24 bits", native(func(o *object) { o.allocated = 24 }), fault.Unsupported, dicom.ReasonBits},
		{"in fragments", native(func(o *object) { o.fragments = [][]byte{nil, o.pixels} }), fault.Invalid, dicom.ReasonMalformed},
		{"not in fragments", native(func(o *object) { o.syntax = codec.JPEGLSLossless }), fault.Invalid, dicom.ReasonMalformed},
		{"encapsulated too short", native(func(o *object) { o.syntax, o.fragments = encapsulated, [][]byte{nil, o.pixels[:2]} }), fault.Invalid, dicom.ReasonTruncated},
		{"odd words", native(func(o *object) { o.syntax, o.rows, o.pixels = bigEndian, 1, make([]byte, 1); o.columns = 1 }), fault.Invalid, dicom.ReasonTruncated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := tc.object.parse(t).Survey(codec.Standard())
			if fault.KindOf(err) != tc.kind || fault.ReasonOf(err) != tc.reason {
				t.Errorf("got %v (%s %s), want %s %s", err, fault.KindOf(err), fault.ReasonOf(err), tc.kind, tc.reason)
			}
		})
	}
}

// TestDeflated: a damaged data set still tells its attributes, as far as it goes.
func TestDeflated(t *testing.T) {
	o := object{syntax: deflated, rows: 64, columns: 64, allocated: 8}
	for i := range 64 * 64 {
		o.pixels = append(o.pixels, byte(i*i>>3))
	}
	whole := o.bytes(t)
	// Whole blocks of the beginning, then one of a type that there is not.
	meta := 132 + 8 + len(deflated)
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, flate.NewReader(bytes.NewReader(whole[meta:])), 1000); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	damaged := append(append(bytes.Clone(whole[:meta]), b.Bytes()...), 7)
	for name, tc := range map[string]struct {
		data   []byte
		reason fault.Reason
	}{"cut": {whole[:len(whole)-9], dicom.ReasonTruncated}, "damaged": {damaged, dicom.ReasonMalformed}} {
		h, err := dicom.ParseHeader(tc.data)
		if h.Rows != 64 || fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %d rows, %v", name, h.Rows, err)
		}
	}
}

// TestBombs: small files that claim much are refused before they cost memory.
func TestBombs(t *testing.T) {
	blank := object{syntax: deflated, rows: 8192, columns: 4096, allocated: 16, pixels: make([]byte, 2*8192*4096)}.bytes(t)
	claim := func(syntax string) []byte {
		return object{syntax: syntax, rows: 8000, columns: 8000, allocated: 16, fragments: [][]byte{nil, rle([]byte{1}, []byte{2})}}.bytes(t)
	}
	for name, data := range map[string][]byte{
		"deflated": blank, "RLE": claim(codec.RLE), "JPEG": claim(codec.JPEGLossless), "JPEG-LS": claim(codec.JPEGLSLossless),
		"JPEG 2000": claim(codec.JPEG2000), "uncompressed": claim(encapsulated),
		"items": object{syntax: codec.RLE, rows: 1, columns: 1, allocated: 8, frames: "2000000", fragments: make([][]byte, 2000000)}.bytes(t),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f, err := dicom.Parse(data)
		if err == nil {
			_, _, err = f.Survey(codec.Standard())
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; err == nil || fault.ReasonOf(err) == "" || used > 256<<20 {
			t.Errorf("%s: %d MiB, %v", name, used>>20, err)
		}
	}
}

// TestOutlier: one pixel of 32 bits does not take the range of all others, and padding stays apart
// from the values beside it.
func TestOutlier(t *testing.T) {
	const n = 20_000
	var values []int
	for i := range n {
		values = append(values, i, 1+i%7) // 17 or 18 bits
	}
	values[2], values[3] = 0xFFFF, 0xFFFF // the outlier
	values[4], values[5] = 0, 0           // padding
	values[6], values[7] = 1, 0           // next to it
	o := object{syntax: string(dicom.FilmExplicitLE), rows: 100, columns: n / 100, allocated: 32, pixels: le16(values...), extra: map[uint32][]byte{0x00280120: le16(0)}}
	p, s, err := o.parse(t).Survey(codec.Standard())
	if err != nil {
		t.Fatal(err)
	}
	if p.Shift != 3 || p.Samples[1] != 0xFFFF || s.Max != 1<<32-1 || p.Samples[0] != 1<<16>>3 || p.Samples[2] != 0 || p.Samples[3] == 0 {
		t.Errorf("shift %d, %v, up to %d", p.Shift, p.Samples[:4], s.Max)
	}
}

// TestBrokenModalityLUT: a sequence of which no table can be read is a table all the same, so that
// nobody shows the stored values in its place.
func TestBrokenModalityLUT(t *testing.T) {
	for name, value := range map[string][]byte{
		"an empty item":                    le16(0xFFFE, 0xE000, 0, 0),
		"an item longer than its sequence": le16(0xFFFE, 0xE000, 100, 0, 0x28, 0x3002),
	} {
		f := object{syntax: string(dicom.FilmExplicitLE), rows: 1, columns: 2, allocated: 16, pixels: le16(1, 2), extra: map[uint32][]byte{0x00283000: value}}.parse(t)
		if f.ModalityLUT == nil || len(f.ModalityLUT.Entries) != 0 {
			t.Errorf("%s: %v", name, f.ModalityLUT)
		}
	}
}
