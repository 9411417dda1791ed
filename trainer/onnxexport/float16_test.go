package onnxexport

import (
	"math"
	"testing"
)

// value16 reads an IEEE 754 half.
func value16(h uint16) float64 {
	exponent, mantissa := int(h>>10&31), float64(h&0x3ff)
	x := math.Ldexp(1024+mantissa, exponent-25)
	switch exponent {
	case 0:
		x = math.Ldexp(mantissa, -24)
	case 31:
		x = math.Inf(1)
		if mantissa > 0 {
			x = math.NaN()
		}
	}
	if h>>15 == 1 {
		return -x
	}
	return x
}

// TestFloat16 tries every half, and the numbers between it and the next.
func TestFloat16(t *testing.T) {
	for h := uint16(0); h < 0x7bff; h++ { // up to the largest finite one
		low, high := value16(h), value16(h+1)
		even := h + h&1
		for _, c := range []struct {
			x    float64
			want uint16
		}{
			{low, h}, {high, h + 1}, {(low + high) / 2, even},
			{low + (high-low)*0.49, h}, {low + (high-low)*0.51, h + 1},
		} {
			if got := Float16(float32(c.x)); got != c.want {
				t.Fatalf("%g becomes %#04x, want %#04x", c.x, got, c.want)
			}
			if got := Float16(float32(-c.x)); got != c.want|0x8000 {
				t.Fatalf("%g becomes %#04x, want %#04x", -c.x, got, c.want|0x8000)
			}
		}
	}
	for x, want := range map[float64]uint16{65519: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, math.Inf(-1): 0xfc00} {
		if got := Float16(float32(x)); got != want {
			t.Errorf("%g becomes %#04x, want %#04x", x, got, want)
		}
	}
	if got := Float16(float32(math.NaN())); !math.IsNaN(value16(got)) {
		t.Errorf("NaN becomes %#04x", got)
	}
}
