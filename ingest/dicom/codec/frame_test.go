package codec

import (
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
