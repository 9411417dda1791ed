package dicom

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
)

// maxOffers bounds how many windows, and how many VOI LUTs, of a header are read; the rest
// are left out. Real headers have up to about ten.
const maxOffers = 16

// Window is one pair of Window Center and Window Width (PS3.3 section C.11.2.1.2), in the
// units that the modality transform gives. Width is 0 where one of them cannot be read.
type Window struct{ Center, Width float64 }

// LUT is a table of the Modality LUT or VOI LUT module (PS3.3 sections C.11.1.1 and
// C.11.2.1.1). One that cannot be read has no entries.
type LUT struct {
	First   int      // the input that has the first entry; smaller ones have it too
	Bits    int      // of an entry, 1 to 16: entries are 0 to 2^Bits-1
	Entries []uint16 // at most 65,536; inputs beyond the last entry have that one
}

// windows pairs the centers with the widths.
func windows(v values) []Window {
	centers, widths := v.texts(tagWindowCenter), v.texts(tagWindowWidth)
	n := min(len(centers), len(widths), maxOffers)
	if n == 0 || slices.Max(centers) == "" && slices.Max(widths) == "" { // empty values
		return nil
	}
	out := make([]Window, n)
	for i := range out {
		center, isCenter := decimal(centers[i])
		if width, ok := decimal(widths[i]); ok && isCenter {
			out[i] = Window{center, width}
		}
	}
	return out
}

// decimal reads a decimal string (PS3.5 section 6.2).
func decimal(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && f-f == 0 // neither NaN nor infinite
}

// tables reads the items of a Modality LUT or VOI LUT sequence. negative says that inputs
// of the table may be negative.
func tables(sequence element, of *scanner, negative bool) []LUT {
	var descriptors, data []element
	var inside *scanner
	of.eachItem(sequence, func(item int, e element, s *scanner) bool {
		if item >= maxOffers {
			return false
		}
		for len(descriptors) <= item {
			descriptors, data = append(descriptors, element{}), append(data, element{})
		}
		switch inside = s; e.tag {
		case tagLUTDescriptor:
			descriptors[item] = e
		case tagLUTData:
			data[item] = e
		}
		return true
	})
	var out []LUT
	for i := range data {
		out = append(out, table(descriptors[i], data[i], inside.order, negative))
	}
	return out
}

// table reads one table. Its descriptor holds the number of entries, the input of the
// first one, and the bits of an entry:
//
//   - 0 entries are 65,536, and a number above 32,767 is one even where the VR is SS;
//   - the first input is signed where Pixel Representation or the VR says that inputs are
//     (PS3.3 lets the one decide the other, files have either wrong);
//   - entries of 8 bits lie in words of 16 or, where that is too many bytes, in bytes;
//   - entries larger than the bits allow make it more bits.
func table(descriptor, data element, order binary.ByteOrder, negative bool) LUT {
	d, value := descriptor.value, data.value
	if len(d) < 6 {
		return LUT{}
	}
	n, l := int(order.Uint16(d)), LUT{First: int(order.Uint16(d[2:])), Bits: int(order.Uint16(d[4:]))}
	if n == 0 {
		n = 1 << 16
	}
	if negative || descriptor.vr == "SS" {
		l.First = int(int16(l.First))
	}
	words := len(value) >= 2*n
	if l.Bits < 1 || l.Bits > 16 || !words && (l.Bits > 8 || len(value) < n) {
		return LUT{}
	}
	l.Entries = make([]uint16, n)
	swapped := order == binary.BigEndian && data.vr != "OB"
	for i := range l.Entries {
		switch {
		case words:
			l.Entries[i] = order.Uint16(value[2*i:])
		case swapped: // bytes 2n and 2n+1 are a word, the first entry in its low byte
			l.Entries[i] = uint16(value[min(i^1, len(value)-1)])
		default:
			l.Entries[i] = uint16(value[i])
		}
	}
	l.Bits = max(l.Bits, bits.Len16(slices.Max(l.Entries)))
	return l
}

// padding returns the lowest and the highest stored value that is padding (PS3.3 section
// C.7.5.1.1.2); the limit of the range may be on either side.
func (h *Header) padding(value, limit int) (low, high int) {
	if h.Signed {
		value, limit = h.signExtend(value), h.signExtend(limit)
	}
	return min(value, limit), max(value, limit)
}

// signExtend reads 16 bits as a signed value of Bits Stored. Some files extend it and some
// do not.
func (h *Header) signExtend(raw int) int {
	v := int(int16(raw))
	if stored := h.BitsStored; stored >= 1 && stored < 16 && v>>(stored-1) == 1 {
		v -= 1 << stored
	}
	return v
}
