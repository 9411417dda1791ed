package dicom

import (
	"cmp"
	"encoding/binary"
)

// palettes are the elements of the Palette Color Lookup Table Module (PS3.3 C.7.9): for
// red, green and blue a descriptor and a table.
type palettes struct {
	descriptor, table [3]element
	order             binary.ByteOrder
}

// colorKnown tells whether grey can be made of the samples.
func (f *File) colorKnown() bool {
	if f.Samples == 1 {
		return true
	}
	switch f.Photometric {
	case "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT":
		return f.Samples == 3
	}
	return false
}

// grey makes an image of the stored values of a frame. Grey values stay as they are. Of
// colour it takes the luma of ITU-R BT.601, Y = 0.299 R + 0.587 G + 0.114 B, in 8 bits,
// which is the first sample of YBR_FULL (PS3.3 section C.7.6.3.1.2); the colours of
// PALETTE COLOR are looked up first. Frames of YBR_RCT and YBR_ICT are RGB when they come
// out of their decoder, which undoes that transform (PS3.5 section 8.2.4). JPEG says by itself
// which of the two it holds, and many files have the other one in Photometric Interpretation.
func (f *File) grey(s stored) (*Pixels, error) {
	p := &Pixels{Rows: f.Rows, Columns: f.Columns, Signed: s.signed, Wide: f.BitsAllocated > 8, Samples: s.values}
	switch {
	case s.long != nil:
		p.narrow(s.long, &f.Header)
		return p, nil
	case f.Samples == 3:
		p.Samples = f.luma(s.values, cmp.Or(s.color, f.Photometric))
	case f.Photometric == "PALETTE COLOR":
		table, first, err := f.paletteLuma()
		if err != nil {
			return nil, err
		}
		p.Samples = make([]uint16, len(s.values))
		for i, raw := range s.values {
			v := int(raw)
			if s.signed {
				v = int(int16(raw))
			}
			// Values outside the table map to its ends (PS3.3 section C.7.6.3.1.5).
			p.Samples[i] = table[max(0, min(v-first, len(table)-1))]
		}
	default:
		return p, nil
	}
	p.Signed, p.Wide, p.Display = false, false, true
	return p, nil
}

// outliers is the share of pixels that narrow may cut off at the ends of 16 bits: a marker, or a
// broken pixel, must not take the film's range.
const outliers = 1e-4

// narrow takes as many high bits of the values as fit into 16, but for outliers and padding.
// Padding keeps a range of its own there (h.PaddingLow and PaddingHigh, shifted): what is next to it
// and would fall into it goes to its edge.
func (p *Pixels) narrow(long []uint32, h *Header) {
	value := func(raw uint32) int {
		if p.Signed {
			return int(int32(raw))
		}
		return int(raw)
	}
	padding := func(v int) bool { return h.HasPadding && v >= h.PaddingLow && v <= h.PaddingHigh }
	low, high := 0, 1<<16-1
	if p.Signed {
		low, high = -1<<15, 1<<15-1
	}
	var needs [33]int // pixels by the shift that they need
	for _, raw := range long {
		v := value(raw)
		if padding(v) {
			continue
		}
		shift := 0
		for v>>shift > high || v>>shift < low {
			shift++
		}
		needs[shift]++
	}
	for cut := 0; ; {
		most := 32
		for most > 0 && needs[most] == 0 {
			most--
		}
		if cut += needs[most]; most == 0 || float64(cut) > outliers*float64(len(long)) {
			p.Shift = most
			break
		}
		needs[most] = 0
	}
	p.Samples = make([]uint16, len(long))
	from, to := h.PaddingLow>>p.Shift, h.PaddingHigh>>p.Shift
	for i, raw := range long {
		v := value(raw)
		n := max(low, min(v>>p.Shift, high))
		if h.HasPadding && p.Shift > 0 && n >= from && n <= to && !padding(v) {
			if n = to + 1; v < h.PaddingLow || n > high {
				n = from - 1
			}
			n = max(low, min(n, high))
		}
		p.Samples[i] = uint16(n)
	}
}

func (f *File) luma(values []uint16, color string) []uint16 {
	out := make([]uint16, len(values)/3)
	down := max(0, f.BitsStored-8)
	y := color == "YBR_FULL" || color == "YBR_FULL_422"
	for i := range out {
		v := uint32(values[3*i])
		if !y {
			v = lumaOf(v, uint32(values[3*i+1]), uint32(values[3*i+2]))
		}
		out[i] = uint16(min(v>>down, 255))
	}
	return out
}

// lumaOf returns 0.299 r + 0.587 g + 0.114 b, rounded; the weights are over 2^16.
func lumaOf(r, g, b uint32) uint32 {
	return uint32((19595*uint64(r) + 38470*uint64(g) + 7471*uint64(b) + 1<<15) >> 16)
}

// paletteLuma returns the luma of each entry of the palette, and the stored value that the
// first stands for (PS3.3 sections C.7.6.3.1.5 and C.7.6.3.1.6).
func (f *File) paletteLuma() (table []uint16, first int, err error) {
	missing := unsupported(ReasonColor, "PALETTE COLOR must have lookup tables of one length with entries of 8 or 16 bits, (0028,1101) to (0028,1203); segmented ones are not read")
	var entries [3][]uint16
	largest := uint16(0)
	for i := range entries {
		d, data := f.palettes.descriptor[i].value, f.palettes.table[i].value
		if len(d) < 6 {
			return nil, 0, missing
		}
		order := f.palettes.order
		n, bits := int(order.Uint16(d)), order.Uint16(d[4:])
		first = int(order.Uint16(d[2:]))
		if f.Signed {
			first = int(int16(first))
		}
		if n == 0 {
			n = 1 << 16
		}
		switch {
		case bits != 8 && bits != 16:
			return nil, 0, missing
		case len(data) >= 2*n:
			for k := range n {
				entries[i] = append(entries[i], order.Uint16(data[2*k:]))
			}
		case bits == 8 && len(data) >= n:
			at := orderOf(f.TransferSyntax, f.palettes.table[i].vr)
			for k := range n {
				if at.swapped {
					k = min(k^1, len(data)-1)
				}
				entries[i] = append(entries[i], uint16(data[k]))
			}
		default:
			return nil, 0, missing
		}
		if i > 0 && len(entries[i]) != len(entries[0]) {
			return nil, 0, missing
		}
		for _, v := range entries[i] {
			largest = max(largest, v)
		}
	}
	down := 0
	if largest > 255 { // else entries of 8 bits, whatever the descriptor says
		down = 8
	}
	table = make([]uint16, len(entries[0]))
	for k := range table {
		table[k] = uint16(lumaOf(uint32(entries[0][k]), uint32(entries[1][k]), uint32(entries[2][k])) >> down)
	}
	return table, first, nil
}
