package dicom_test

import (
	"encoding/base64"
	"slices"
	"testing"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/schemas/fault"
)

// Small codestreams of the codecs for which no encoder is at hand.
const (
	// flatLossless is a JPEG lossless frame of 4 x 4 whose differences are all 0.
	flatLossless = "\xff\xd8\xff\xc3\x00\x0b\x08\x00\x04\x00\x04\x01\x01\x11\x00" +
		"\xff\xc4\x00\x14\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00\x00\x00\xff\xd9"
	// example87 is the codestream of ITU-T T.87 section H.3, 4 x 4.
	example87 = "\xff\xd8\xff\xf7\x00\x0b\x08\x00\x04\x00\x04\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" +
		"\xc0\x00\x00\x6c\x80\x20\x8e\x01\xc0\x00\x00\x57\x40\x00\x00\x6e\xe6\x00\x00\x01\xbc\x18\x00\x00\x05\xd8\x00\x00\x91\x60\xff\xd9\x00"
	// squares2000 is a JPEG 2000 frame of 64 x 64 in base64, made with OpenJPEG: 50 in the
	// upper half, and 100 more from column 40 on.
	squares2000 = "/0//UQApAAAAAABAAAAAQAAAAAAAAAAAAAAAQAAAAEAAAAAAAAAAAAABBwEB/1IADAAAAAEABQQEAAH/XAATQEBISFBISFBISFBISFBISFD/ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjL/kAAKAAAAAACVAAH/k8+0FAjaRDMPx9oLB84MDPbyyeEAfEnB84qD5w4c+Wmp5u4uQtgPDyaAGB7tQcPqDIPnFCaPBn0khSn9rmMbPwOEx/cMAi2j5E/D6guD5xZAND+lnjcNXwhIS2auRMp7e3UhXhIPw+oQg+cYc37FP5dfKpAAAYR54qj/f8Q2Sp6Jg9zKgAAYR//Z"
)

func squares(t testing.TB) (codestream []byte, samples []uint16) {
	t.Helper()
	codestream, err := base64.StdEncoding.DecodeString(squares2000)
	if err != nil {
		t.Fatal(err)
	}
	for y := range 64 {
		for x := range 64 {
			v := uint16(0)
			if y < 32 {
				v = 50
			}
			if x >= 40 {
				v += 100
			}
			samples = append(samples, v)
		}
	}
	return codestream, samples
}

// TestSmallCodestreams decodes one frame of each family of codecs from whole objects.
func TestSmallCodestreams(t *testing.T) {
	j2k, quarters := squares(t)
	for _, tc := range []struct {
		syntax     string
		codestream []byte
		side       int
		want       []uint16
	}{
		{codec.JPEGLossless, []byte(flatLossless), 4, slices.Repeat([]uint16{128}, 16)},
		{codec.JPEGLosslessSV1, []byte(flatLossless), 4, slices.Repeat([]uint16{128}, 16)},
		{codec.JPEGLSLossless, []byte(example87), 4, []uint16{0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145}},
		{codec.JPEG2000Lossless, j2k, 64, quarters},
		{codec.HTJ2K, j2k, 64, quarters},
	} {
		for _, signed := range []bool{false, true} {
			o := object{syntax: tc.syntax, rows: tc.side, columns: tc.side, allocated: 8, signed: signed, fragments: [][]byte{nil, tc.codestream}}
			p, err := o.parse(t).Pixels(codec.Standard())
			if err != nil {
				t.Errorf("%s: %v", tc.syntax, err)
				continue
			}
			for i, want := range tc.want {
				if signed {
					want = uint16(int8(want))
				}
				if p.Samples[i] != want {
					t.Errorf("%s, signed %v: sample %d is %d, want %d", tc.syntax, signed, i, p.Samples[i], want)
					break
				}
			}
		}
	}
}

// FuzzParse reads and decodes whole files, with every codec.
func FuzzParse(f *testing.F) {
	for _, syntax := range []dicom.FilmSyntax{dicom.FilmExplicitLE, dicom.FilmImplicitLE, dicom.FilmJPEGBaseline} {
		seed := film()
		seed.Syntax = syntax
		if syntax == dicom.FilmJPEGBaseline {
			seed.BitsStored, seed.Rows, seed.Columns, seed.Pixels = 8, 2, 2, []uint16{1, 2, 3, 4}
		}
		f.Add(encode(f, seed))
	}
	little := string(dicom.FilmExplicitLE)
	j2k, _ := squares(f)
	a, b := jpegOf(f, 10), jpegOf(f, 200)
	seeds := []object{
		{syntax: bigEndian, rows: 2, columns: 2, allocated: 16, signed: true, pixels: be16(1, 2, 3, 4)},
		{syntax: bigEndian, rows: 1, columns: 3, allocated: 8, pixels: []byte{1, 2, 3, 4}},
		{syntax: deflated, rows: 2, columns: 2, allocated: 8, pixels: []byte{1, 2, 3, 4}},
		{syntax: encapsulated, rows: 1, columns: 2, allocated: 16, frames: "2", fragments: [][]byte{nil, le16(1, 2), le16(3, 4)}},
		{syntax: little, rows: 3, columns: 3, frames: "2", allocated: 1, pixels: []byte{1, 2, 3, 0}},
		{syntax: little, rows: 2, columns: 2, allocated: 12, pixels: []byte{1, 2, 3, 4, 5, 6}},
		{syntax: little, rows: 1, columns: 2, allocated: 32, pixels: le16(1, 2, 3, 4)},
		{syntax: little, rows: 1, columns: 2, samples: 3, photometric: "RGB", planar: true, allocated: 8, pixels: []byte{1, 2, 3, 4, 5, 6}},
		{syntax: little, rows: 1, columns: 2, samples: 3, photometric: "YBR_FULL_422", allocated: 8, pixels: []byte{1, 2, 3, 4}},
		{syntax: little, rows: 1, columns: 2, photometric: "PALETTE COLOR", allocated: 8, pixels: []byte{0, 1}, extra: map[uint32][]byte{
			0x00281101: le16(2, 0, 8), 0x00281102: le16(2, 0, 8), 0x00281103: le16(2, 0, 16),
			0x00281201: {1, 2}, 0x00281202: {3, 4}, 0x00281203: le16(5, 6),
		}},
		{syntax: codec.RLE, rows: 1, columns: 3, allocated: 16, fragments: [][]byte{nil, rle([]byte{1, 2, 3}, []byte{4, 5, 6})}},
		{syntax: codec.JPEGBaseline, rows: 8, columns: 8, allocated: 8, frames: "2", fragments: [][]byte{nil, a[:99], a[99:], b}},
		{syntax: codec.JPEGProgressive, rows: 8, columns: 8, allocated: 8, fragments: [][]byte{nil, a}},
		{syntax: codec.JPEGLossless, rows: 4, columns: 4, allocated: 8, fragments: [][]byte{nil, []byte(flatLossless)}},
		{syntax: codec.JPEGLSNear, rows: 4, columns: 4, allocated: 8, signed: true, fragments: [][]byte{{0, 0, 0, 0}, []byte(example87)}},
		{syntax: codec.JPEG2000, rows: 64, columns: 64, allocated: 8, fragments: [][]byte{nil, j2k}},
		{syntax: codec.HTJ2KLossless, rows: 64, columns: 64, allocated: 8, fragments: [][]byte{nil, j2k}},
	}
	for _, o := range seeds {
		f.Add(o.bytes(f))
	}
	for _, s := range []stream{explicit, implicit} { // tables and windows
		f.Add(slices.Concat(s.element(0x00080060, "CS", []byte("CR")), s.element(0x00280103, "US", s.words(1)), s.element(0x00280120, "US", s.words(3)),
			s.element(0x00280121, "US", s.words(1)), s.element(0x00281050, "DS", []byte(`40\50 `)), s.element(0x00281051, "DS", []byte(`400\1 `)),
			s.element(modalityLUT, "SQ", s.lut([]int{3, -1, 8}, "SS", "OW", []byte{1, 2, 3, 0})),
			s.head(voiLUT, "SQ", -1), s.lut([]int{2, 0, 12}, "US", "US", s.words(1, 2)), s.head(0xFFFEE0DD, "", 0)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := dicom.Parse(data)
		if err == nil {
			for _, l := range file.VOILUTs {
				if len(l.Entries) > 1<<16 || len(l.Entries) > 0 && (l.Bits < 1 || l.Bits > 16) {
					t.Errorf("a table of %d entries of %d bits", len(l.Entries), l.Bits)
				}
			}
		}
		var p *dicom.Pixels
		if err == nil {
			p, _, err = file.Survey(codec.Standard())
		}
		if err == nil && len(p.Samples) != p.Rows*p.Columns {
			t.Errorf("%d samples of %d x %d", len(p.Samples), p.Rows, p.Columns)
		}
		if k := fault.KindOf(err); err != nil && k != fault.Invalid && k != fault.Unsupported {
			t.Errorf("kind %s: %v", k, err)
		}
		if err != nil && fault.ReasonOf(err) == "" {
			t.Errorf("no reason: %v", err)
		}
	})
}
