package dicom_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/dicom"
)

// stream writes the elements of a header in one encoding.
type stream struct {
	order    binary.AppendByteOrder
	implicit bool
}

var (
	explicit  = stream{order: binary.LittleEndian}
	implicit  = stream{order: binary.LittleEndian, implicit: true}
	bigStream = stream{order: binary.BigEndian}
)

func (s stream) head(tag uint32, vr string, length int) []byte {
	out := s.order.AppendUint16(s.order.AppendUint16(nil, uint16(tag>>16)), uint16(tag))
	if !s.implicit && tag>>16 != 0xFFFE {
		out = append(out, vr...)
		switch vr {
		case "OB", "OW", "SQ", "UN":
			out = append(out, 0, 0)
		default:
			return s.order.AppendUint16(out, uint16(length))
		}
	}
	return s.order.AppendUint32(out, uint32(length))
}

func (s stream) element(tag uint32, vr string, value []byte) []byte {
	return append(s.head(tag, vr, len(value)), value...)
}

func (s stream) words(v ...int) (out []byte) {
	for _, n := range v {
		out = s.order.AppendUint16(out, uint16(n))
	}
	return out
}

// lut writes an item with a table.
func (s stream) lut(descriptor []int, descriptorVR, dataVR string, data []byte) []byte {
	return s.element(0xFFFEE000, "", slices.Concat(
		s.element(0x00283002, descriptorVR, s.words(descriptor...)),
		s.element(0x00283003, "LO", []byte("why ")),
		s.element(0x00283006, dataVR, data)))
}

// header reads elements as a file in this encoding.
func (s stream) header(t *testing.T, elements ...[]byte) dicom.Header {
	t.Helper()
	data := slices.Concat(s.element(0x00080060, "CS", []byte("CR")), bytes.Join(elements, nil))
	if s.order == binary.BigEndian {
		data = slices.Concat(make([]byte, 128), []byte("DICM"), explicit.element(0x00020010, "UI", []byte(bigEndian+"\x00")), data)
	}
	h, err := dicom.ParseHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const modalityLUT, voiLUT = 0x00283000, 0x00283010

// TestLUT reads one table in all the ways in which files write them.
func TestLUT(t *testing.T) {
	three := []uint16{1, 2, 300}
	signed := func(s stream) []byte { return s.element(0x00280103, "US", s.words(1)) }
	many := make([]uint16, 1<<16)
	for i := range many {
		many[i] = uint16(i)
	}
	for _, tc := range []struct {
		name     string
		s        stream
		elements func(s stream) []byte // in front of the sequence
		item     func(s stream) []byte
		want     dicom.LUT
	}{
		{"US", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 7, 16}, "US", "US", s.words(1, 2, 300)) }, dicom.LUT{First: 7, Bits: 16, Entries: three}},
		{"OW", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 7, 12}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{First: 7, Bits: 12, Entries: three}},
		{"implicit", implicit, nil, func(s stream) []byte { return s.lut([]int{3, 7, 12}, "", "", s.words(1, 2, 300)) }, dicom.LUT{First: 7, Bits: 12, Entries: three}},
		{"big endian", bigStream, nil, func(s stream) []byte { return s.lut([]int{3, 7, 12}, "US", "US", s.words(1, 2, 300)) }, dicom.LUT{First: 7, Bits: 12, Entries: three}},
		{"big endian OW", bigStream, nil, func(s stream) []byte { return s.lut([]int{3, 7, 12}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{First: 7, Bits: 12, Entries: three}},
		{"trailing bytes", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 7, 12, 1}, "US", "OW", s.words(1, 2, 300, 9)) }, dicom.LUT{First: 7, Bits: 12, Entries: three}},

		{"first above 32,767", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 65000, 12}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{First: 65000, Bits: 12, Entries: three}},
		{"first SS", explicit, nil, func(s stream) []byte { return s.lut([]int{3, -7, 12}, "SS", "OW", s.words(1, 2, 300)) }, dicom.LUT{First: -7, Bits: 12, Entries: three}},
		{"first US of signed pixels", explicit, signed, func(s stream) []byte { return s.lut([]int{3, -7, 12}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{First: -7, Bits: 12, Entries: three}},
		{"first implicit of signed pixels", implicit, signed, func(s stream) []byte { return s.lut([]int{3, -7, 12}, "", "", s.words(1, 2, 300)) }, dicom.LUT{First: -7, Bits: 12, Entries: three}},
		{"first SS big endian", bigStream, signed, func(s stream) []byte { return s.lut([]int{3, -7, 12}, "SS", "OW", s.words(1, 2, 300)) }, dicom.LUT{First: -7, Bits: 12, Entries: three}},

		{"65,536 entries", explicit, nil, func(s stream) []byte { return s.lut([]int{0, 0, 16}, "US", "OW", le16(ints(many)...)) }, dicom.LUT{Bits: 16, Entries: many}},
		{"40,000 entries SS", explicit, nil, func(s stream) []byte { return s.lut([]int{40000, 0, 16}, "SS", "OW", le16(ints(many[:40000])...)) }, dicom.LUT{Bits: 16, Entries: many[:40000]}},

		{"8 bits in words", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 0, 8}, "US", "OW", s.words(1, 2, 30)) }, dicom.LUT{Bits: 8, Entries: []uint16{1, 2, 30}}},
		{"8 bits in bytes", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 0, 8}, "US", "OW", []byte{1, 2, 30, 0}) }, dicom.LUT{Bits: 8, Entries: []uint16{1, 2, 30}}},
		{"8 bits in bytes, odd", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 0, 8}, "US", "OB", []byte{1, 2, 30}) }, dicom.LUT{Bits: 8, Entries: []uint16{1, 2, 30}}},
		{"8 bits in bytes, big endian OW", bigStream, nil, func(s stream) []byte { return s.lut([]int{3, 0, 8}, "US", "OW", []byte{2, 1, 0, 30}) }, dicom.LUT{Bits: 8, Entries: []uint16{1, 2, 30}}},
		{"8 bits in bytes, big endian OB", bigStream, nil, func(s stream) []byte { return s.lut([]int{3, 0, 8}, "US", "OB", []byte{1, 2, 30, 0}) }, dicom.LUT{Bits: 8, Entries: []uint16{1, 2, 30}}},
		{"entries larger than their bits", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 0, 8}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{Bits: 9, Entries: three}},

		{"fewer entries than said", explicit, nil, func(s stream) []byte { return s.lut([]int{4, 0, 16}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{}},
		{"65,536 entries that are not there", explicit, nil, func(s stream) []byte { return s.lut([]int{0, 0, 8}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{}},
		{"no bits", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 0, 0}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{}},
		{"17 bits", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 0, 17}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{}},
		{"short descriptor", explicit, nil, func(s stream) []byte { return s.lut([]int{3, 0}, "US", "OW", s.words(1, 2, 300)) }, dicom.LUT{}},
		{"no table", explicit, nil, func(s stream) []byte { return s.element(0xFFFEE000, "", s.element(0x00283003, "LO", []byte("why "))) }, dicom.LUT{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before []byte
			if tc.elements != nil {
				before = tc.elements(tc.s)
			}
			item := tc.item(tc.s)
			h := tc.s.header(t, before, tc.s.element(modalityLUT, "SQ", item))
			if h.ModalityLUT == nil {
				t.Fatal("no table")
			}
			if d := cmp.Diff(tc.want, *h.ModalityLUT); d != "" {
				t.Errorf("(-want +got):\n%.500s", d)
			}
		})
	}
}

func ints(v []uint16) (out []int) {
	for _, n := range v {
		out = append(out, int(n))
	}
	return out
}

// TestLUTSequence: how the sequence round a table may be written.
func TestLUTSequence(t *testing.T) {
	table := func(s stream, first int) []byte { return s.lut([]int{2, first, 8}, "US", "OW", s.words(1, 2)) }
	want := func(first ...int) (luts []dicom.LUT) {
		for _, n := range first {
			luts = append(luts, dicom.LUT{First: n, Bits: 8, Entries: []uint16{1, 2}})
		}
		return luts
	}
	end := func(s stream) []byte { return s.head(0xFFFEE0DD, "", 0) }
	open := func(s stream, vr string) []byte { return s.head(voiLUT, vr, -1) }
	for _, tc := range []struct {
		name string
		s    stream
		data func(s stream) []byte
		want []dicom.LUT
	}{
		{"two items", explicit, func(s stream) []byte { return s.element(voiLUT, "SQ", append(table(s, 1), table(s, 2)...)) }, want(1, 2)},
		{"undefined length", explicit, func(s stream) []byte { return slices.Concat(open(s, "SQ"), table(s, 1), table(s, 2), end(s)) }, want(1, 2)},
		{"undefined length of items", explicit, func(s stream) []byte {
			item := slices.Concat(s.head(0xFFFEE000, "", -1), table(s, 1)[8:], s.head(0xFFFEE00D, "", 0))
			return slices.Concat(open(s, "SQ"), item, table(s, 2), end(s))
		}, want(1, 2)},
		{"undefined length of items, implicit", implicit, func(s stream) []byte {
			item := slices.Concat(s.head(0xFFFEE000, "", -1), table(s, 1)[8:], s.head(0xFFFEE00D, "", 0))
			return slices.Concat(open(s, ""), item, table(s, 2), end(s))
		}, want(1, 2)},
		{"undefined length of items, big endian", bigStream, func(s stream) []byte {
			item := slices.Concat(s.head(0xFFFEE000, "", -1), table(s, 1)[8:], s.head(0xFFFEE00D, "", 0))
			return slices.Concat(open(s, "SQ"), item, table(s, 2), end(s))
		}, want(1, 2)},
		{"UN of undefined length", explicit, func(s stream) []byte { return slices.Concat(open(s, "UN"), table(implicit, 1), end(s)) }, want(1)},
		{"UN of defined length", explicit, func(s stream) []byte { return s.element(voiLUT, "UN", table(implicit, 1)) }, want(1)},
		{"an empty item first", explicit, func(s stream) []byte {
			return s.element(voiLUT, "SQ", append(s.element(0xFFFEE000, "", nil), table(s, 1)...))
		}, append([]dicom.LUT{{}}, want(1)...)},
		{"damaged second item", explicit, func(s stream) []byte { return s.element(voiLUT, "SQ", append(table(s, 1), table(s, 2)[:40]...)) }, want(1)},
		{"no item", explicit, func(s stream) []byte { return s.element(voiLUT, "SQ", nil) }, nil},
		{"too many items", explicit, func(s stream) []byte {
			return s.element(voiLUT, "SQ", bytes.Repeat(table(s, 1), 40))
		}, want(slices.Repeat([]int{1}, 16)...)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := tc.s.header(t, tc.data(tc.s))
			if d := cmp.Diff(tc.want, h.VOILUTs); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestVOILUTSign: the first input of a VOI LUT is signed where the modality transform can
// give something below 0.
func TestVOILUTSign(t *testing.T) {
	s := explicit
	short := func(tag uint32, n int) []byte { return s.element(tag, "US", s.words(n)) }
	sixteen := short(0x00280101, 16)
	lut := s.element(voiLUT, "SQ", s.lut([]int{2, -1000, 8}, "US", "OW", s.words(1, 2)))
	rescale := func(intercept, slope string) []byte {
		return append(s.element(0x00281052, "DS", []byte(intercept)), s.element(0x00281053, "DS", []byte(slope))...)
	}
	table := s.element(modalityLUT, "SQ", s.lut([]int{2, 0, 8}, "US", "OW", s.words(1, 2)))
	for _, tc := range []struct {
		name  string
		front []byte
		want  int
	}{
		{"unsigned", sixteen, 64536},
		{"signed", slices.Concat(sixteen, short(0x00280103, 1)), -1000},
		{"negative intercept", slices.Concat(sixteen, rescale("-1024 ", "1 ")), -1000},
		{"negative slope", slices.Concat(sixteen, rescale("0 ", "-1")), -1000},
		{"signed, lifted by the intercept", slices.Concat(sixteen, short(0x00280103, 1), rescale("32768 ", "1 ")), 64536},
		{"behind a modality LUT", slices.Concat(sixteen, short(0x00280103, 1), table), 64536},
	} {
		h := s.header(t, tc.front, lut)
		if len(h.VOILUTs) != 1 || h.VOILUTs[0].First != tc.want {
			t.Errorf("%s: %+v, want the first input %d", tc.name, h.VOILUTs, tc.want)
		}
	}
}

func TestWindows(t *testing.T) {
	for _, tc := range []struct {
		center, width string
		want          []dicom.Window
	}{
		{"2048", "4096", []dicom.Window{{2048, 4096}}},
		{`40\ -600.5`, `400\1.5e3 `, []dicom.Window{{40, 400}, {-600.5, 1500}}},
		{`40\50`, "400 ", []dicom.Window{{40, 400}}},
		{`\50 `, `400\20`, []dicom.Window{{}, {50, 20}}},
		{"NaN ", "400 ", []dicom.Window{{}}},
		{"40", "inf ", []dicom.Window{{}}},
		{"40,5", "400 ", []dicom.Window{{}}},
		{"", "", nil},
		{"  ", `\ `, nil},
		{strings.Repeat(`1\`, 19) + "1", strings.Repeat(`2\`, 19) + "2", slices.Repeat([]dicom.Window{{1, 2}}, 16)},
	} {
		h := explicit.header(t, explicit.element(0x00281050, "DS", pad(tc.center)), explicit.element(0x00281051, "DS", pad(tc.width)))
		if d := cmp.Diff(tc.want, h.Windows); d != "" {
			t.Errorf("%q and %q (-want +got):\n%s", tc.center, tc.width, d)
		}
	}
}

func TestPixelAspect(t *testing.T) {
	for _, tc := range []struct {
		imager, spacing, aspect string
		want                    float64
	}{
		{"", "", "", 1},
		{`0.2\0.1`, `0.1\0.1`, `1\2`, 2},
		{"", `0.1\0.2`, `2\1`, 0.5},
		{"0.2 ", `0.1\0.0`, `4\3`, 4.0 / 3},
		{`0.1430\0.1432`, "", "", 1},
		{`0\0`, `NaN\1`, `x\1`, 1},
		{"", "", `-2\1`, 1},
		{"", "", `50\1`, 1},
	} {
		h := explicit.header(t, explicit.element(0x00181164, "DS", pad(tc.imager)), explicit.element(0x00280030, "DS", pad(tc.spacing)), explicit.element(0x00280034, "IS", pad(tc.aspect)))
		if h.PixelAspect != tc.want {
			t.Errorf("%q, %q, %q: %g, want %g", tc.imager, tc.spacing, tc.aspect, h.PixelAspect, tc.want)
		}
	}
}

func pad(s string) []byte { return []byte(s + strings.Repeat(" ", len(s)%2)) }

func TestPadding(t *testing.T) {
	for _, tc := range []struct {
		name              string
		stored, signed    int
		value, limit      int // limit 1 is none
		wantLow, wantHigh int
	}{
		{"one value", 16, 0, 65000, 1, 65000, 65000},
		{"signed", 16, 1, -2000, 1, -2000, -2000},
		{"range", 16, 0, 10, 20, 10, 20},
		{"range downwards", 16, 1, -2000, -2040, -2040, -2000},
		{"12 bits, extended", 12, 1, -2048, 1, -2048, -2048},
		{"12 bits, not extended", 12, 1, 0x800, 1, -2048, -2048},
		{"12 bits, positive", 12, 1, 0x7FF, 1, 2047, 2047},
		{"12 bits, above the stored ones", 12, 0, 65535, 1, 65535, 65535},
	} {
		for _, s := range []stream{explicit, implicit, bigStream} {
			elements := [][]byte{
				s.element(0x00280101, "US", s.words(tc.stored)), s.element(0x00280103, "US", s.words(tc.signed)), s.element(0x00280120, "US", s.words(tc.value)),
			}
			if tc.limit != 1 {
				elements = append(elements, s.element(0x00280121, "US", s.words(tc.limit)))
			}
			if h := s.header(t, elements...); !h.HasPadding || h.PaddingLow != tc.wantLow || h.PaddingHigh != tc.wantHigh {
				t.Errorf("%s: %d to %d", tc.name, h.PaddingLow, h.PaddingHigh)
			}
		}
	}
	if h := explicit.header(t); h.HasPadding {
		t.Error("padding that nobody gave")
	}
}
