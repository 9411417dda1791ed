package codec

import (
	"encoding/hex"
	"slices"
	"testing"
)

// TestLower: samples at High Bit come down; those that lie low already stay, whatever the data set
// says.
func TestLower(t *testing.T) {
	for _, c := range []struct {
		name     string
		frame    Frame
		in, want []uint16
	}{
		{"high", Frame{BitsStored: 12, HighBit: 15}, []uint16{0x8000, 0x10}, []uint16{0x800, 1}},
		{"low all the same", Frame{BitsStored: 12, HighBit: 15}, []uint16{0x800, 1}, []uint16{0x800, 1}},
		{"high and signed", Frame{BitsStored: 12, HighBit: 15, Signed: true}, []uint16{0xFFF0, 0x7FF0}, []uint16{0xFFFF, 0x7FF}},
		{"low and signed", Frame{BitsStored: 12, HighBit: 15, Signed: true}, []uint16{0xFFFF, 0x7FF}, []uint16{0xFFFF, 0x7FF}},
		{"as usual", Frame{BitsStored: 12, HighBit: 11}, []uint16{0x8000}, []uint16{0x8000}},
	} {
		got := slices.Clone(c.in)
		if c.frame.lower(got); !slices.Equal(got, c.want) {
			t.Errorf("%s: %x, want %x", c.name, got, c.want)
		}
	}
}

// TestBitsAboveStored: a lossless codestream of all bits that are allocated loses those that are not
// stored, such as an overlay, as uncompressed samples do.
func TestBitsAboveStored(t *testing.T) {
	in, unsigned := []uint16{1, 0x8FFF, 0x8002, 3}, []uint16{1, 0xFFF, 2, 3}
	jpeg := plainLossless(2, 2, 1)
	jpeg.precision = 16
	stream := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// In, as OpenJPEG and OpenJPH write it.
	j2k := stream("ff4fff5100290000000000020000000200000000000000000000000200000002000000000000000000010f0101ff52000c00000001000004040001ff5c00044080ff90000a0000000000170001ff93cffc3014072b2b2dd0ffd9")
	ht := stream("ff4fff5100294000000000020000000200000000000000000000000200000002000000000000000000010f0101ff50000800020000000aff52000c00020001000504044001ff5c00132088909090909090909090909090888888ff90000a0000000000350001ff93c00026fbf70487740000000000c0002580004b00009cfc03077400f903077400f91ffe06077400ffd9")
	for syntax, data := range map[string][]byte{
		JPEGLossless: encodeLossless(in, jpeg), JPEGLosslessSV1: encodeLossless(in, jpeg),
		JPEGLSLossless:   lsEncode(&lsImage{rows: 2, columns: 2, samples: 1, precision: 16, pix: slices.Clone(in)}),
		JPEG2000Lossless: j2k, HTJ2KLossless: ht, HTJ2KLosslessRPCL: ht,
	} {
		for _, c := range []struct {
			frame Frame
			want  []uint16
		}{
			{Frame{BitsStored: 12, HighBit: 11}, unsigned},
			{Frame{BitsStored: 12, HighBit: 11, Signed: true}, []uint16{1, 0xFFFF, 2, 3}},
			{Frame{BitsStored: 12, HighBit: 12}, []uint16{0, 0x7FF, 1, 1}},
			{Frame{BitsStored: 16, HighBit: 15}, in},
		} {
			f := c.frame
			f.Rows, f.Columns, f.Samples, f.BitsAllocated = 2, 2, 1, 16
			if got, err := Standard()[syntax](data, f); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s, %+v: %x, %v, want %x", syntax, c.frame, got, err, c.want)
			}
		}
	}
}
