package dicom_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/schemas/fault"
)

// film is a small valid file with every attribute that Encode can write.
func film() dicom.Film {
	f := dicom.Film{
		StudyUID: "1.2.3", SeriesUID: "1.2.3.1", InstanceUID: "1.2.3.1.1", PatientID: "P1", PatientName: "Doe^J",
		AccessionNumber: "A1", StudyTime: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC), Modality: "DX", BodyPart: "CHEST",
		ViewPosition: "LL", Laterality: "L", InstanceNumber: 1, Rows: 5, Columns: 7, BitsStored: 12, Photometric: "MONOCHROME1",
		WindowCenter: 2000.5, WindowWidth: 3000, RescaleSlope: 2, RescaleIntercept: -10, Syntax: dicom.FilmExplicitLE,
	}
	for i := range f.Rows * f.Columns {
		f.Pixels = append(f.Pixels, uint16(i*117))
	}
	return f
}

func encode(t testing.TB, f dicom.Film) []byte {
	t.Helper()
	var b strings.Builder
	if err := dicom.Encode(&b, f); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

func TestEncodedFilm(t *testing.T) {
	for _, syntax := range []dicom.FilmSyntax{dicom.FilmExplicitLE, dicom.FilmImplicitLE} {
		f := film()
		f.Syntax = syntax
		file, err := dicom.Parse(encode(t, f))
		if err != nil {
			t.Fatal(err)
		}
		want := dicom.Header{
			TransferSyntax: string(syntax), SOPClass: "1.2.840.10008.5.1.4.1.1.1.1", Modality: "DX", BodyPart: "CHEST",
			StudyUID: "1.2.3", SeriesUID: "1.2.3.1", InstanceUID: "1.2.3.1.1", PatientID: "P1", PatientName: "Doe^J", Accession: "A1", People: []string{"Doe^J"}, StudyTime: f.StudyTime, ContentTime: f.StudyTime,
			ViewPosition: "LL", Orientation: []string{"P", "F"}, Laterality: "L", Rows: 5, Columns: 7, PixelAspect: 1, Frames: 1, Samples: 1,
			BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: "MONOCHROME1", Slope: 2, Intercept: -10,
			Windows: []dicom.Window{{Center: 2000.5, Width: 3000}}, Shape: "INVERSE",
		}
		if d := cmp.Diff(want, file.Header); d != "" {
			t.Errorf("%s header (-want +got):\n%s", syntax, d)
		}
		p, err := file.Pixels(codec.Standard())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(f.Pixels, p.Samples); d != "" {
			t.Errorf("%s samples (-want +got):\n%s", syntax, d)
		}
	}
}

// set overwrites the two-byte value of an element of an explicit little-endian file.
func set(t testing.TB, data []byte, group, number, value uint16) {
	t.Helper()
	head := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, group), number)
	at := strings.Index(string(data), string(head)+"US\x02\x00")
	if at < 0 {
		t.Fatalf("no element (%04x,%04x)", group, number)
	}
	binary.LittleEndian.PutUint16(data[at+8:], value)
}

func TestStoredBits(t *testing.T) {
	f := film()
	f.BitsStored, f.Rows, f.Columns = 16, 1, 3
	f.Pixels = []uint16{0xF01F, 0x7FF3, 0x8000}
	data := encode(t, f)
	set(t, data, 0x28, 0x101, 10) // bits 3 to 12 are stored
	set(t, data, 0x28, 0x102, 12)
	for signed, want := range [][]uint16{{0x203, 0x3FE, 0}, {0xFE03, 0xFFFE, 0}} {
		set(t, data, 0x28, 0x103, uint16(signed))
		file, err := dicom.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		p, err := file.Pixels(codec.Standard())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, p.Samples); d != "" {
			t.Errorf("pixel representation %d (-want +got):\n%s", signed, d)
		}
	}
}

func TestRefusals(t *testing.T) {
	jpegFilm := film()
	jpegFilm.Syntax, jpegFilm.BitsStored, jpegFilm.Rows, jpegFilm.Columns = dicom.FilmJPEGBaseline, 8, 16, 16
	jpegFilm.Pixels = make([]uint16, 256)
	for _, tc := range []struct {
		name   string
		data   []byte
		kind   fault.Kind
		reason fault.Reason
	}{
		{"empty", nil, fault.Invalid, dicom.ReasonNotDICOM},
		{"text", []byte("a file of some other sort, long enough"), fault.Invalid, dicom.ReasonNotDICOM},
		{"huge", edit(t, film(), func(b []byte) []byte { set(t, b, 0x28, 0x10, 20000); set(t, b, 0x28, 0x11, 20000); return b }), fault.Unsupported, dicom.ReasonTooLarge},
		{"more declared than there", edit(t, film(), func(b []byte) []byte { set(t, b, 0x28, 0x10, 6); return b }), fault.Invalid, dicom.ReasonTruncated},
		{"cut", edit(t, film(), func(b []byte) []byte { return b[:len(b)-1] }), fault.Invalid, dicom.ReasonTruncated},
		{"no rows", edit(t, film(), func(b []byte) []byte { set(t, b, 0x28, 0x10, 0); return b }), fault.Invalid, dicom.ReasonNoSize},
		{"color", edit(t, film(), func(b []byte) []byte { set(t, b, 0x28, 2, 3); return b }), fault.Unsupported, dicom.ReasonColor},
		{"bits", edit(t, film(), func(b []byte) []byte { set(t, b, 0x28, 0x100, 64); return b }), fault.Unsupported, dicom.ReasonBits},
		{"high bit", edit(t, film(), func(b []byte) []byte { set(t, b, 0x28, 0x102, 16); return b }), fault.Invalid, dicom.ReasonMalformed},
		{"syntax", edit(t, film(), func(b []byte) []byte {
			return []byte(strings.Replace(string(b), string(dicom.FilmExplicitLE)+"\x00", "1.2.840.10008.1.2.9\x00", 1))
		}), fault.Unsupported, dicom.ReasonSyntax},
		{"no delimiter", edit(t, jpegFilm, func(b []byte) []byte { return b[:len(b)-8] }), fault.Invalid, dicom.ReasonTruncated},
		{"offset table", edit(t, jpegFilm, func(b []byte) []byte {
			at := strings.Index(string(b), "\xfe\xff\x00\xe0\x04\x00\x00\x00")
			b[at+8] = 2
			return b
		}), fault.Invalid, dicom.ReasonMalformed},
		{"other JPEG size", edit(t, jpegFilm, func(b []byte) []byte { set(t, b, 0x28, 0x10, 15); return b }), fault.Invalid, codec.ReasonMismatch},
		{"no JPEG", edit(t, jpegFilm, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "\xff\xd8", "\x00\x00", 1))
		}), fault.Invalid, codec.ReasonCodestream},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := dicom.Parse(tc.data)
			if err == nil {
				_, err = f.Pixels(codec.Standard())
			}
			if fault.KindOf(err) != tc.kind || fault.ReasonOf(err) != tc.reason {
				t.Errorf("got %v (%s %s), want %s %s", err, fault.KindOf(err), fault.ReasonOf(err), tc.kind, tc.reason)
			}
		})
	}
}

// TestWithoutMeta: a file is read without file meta information, with a preamble or without.
func TestWithoutMeta(t *testing.T) {
	for _, syntax := range []dicom.FilmSyntax{dicom.FilmExplicitLE, dicom.FilmImplicitLE} {
		f := film()
		f.Syntax = syntax
		data := encode(t, f)
		at := 144 + int(binary.LittleEndian.Uint32(data[140:]))
		for name, file := range map[string][]byte{"neither": data[at:], "preamble": append(data[:132:132], data[at:]...)} {
			h, err := dicom.ParseHeader(file)
			list, whole, listed := dicom.Attributes(file)
			if err != nil || h.TransferSyntax != string(syntax) || h.StudyUID != "1.2.3" || h.Rows != 5 || listed != nil || !whole || list[0].Tag>>16 != 8 {
				t.Errorf("%s, %s: %+v, %v, %v", syntax, name, h, err, listed)
			}
		}
	}
}

func edit(t testing.TB, f dicom.Film, change func([]byte) []byte) []byte {
	return change(encode(t, f))
}

// TestBrokenPixelsKeepHeader holds the promise that publishers group files by: a file
// that is cut anywhere behind its Study Instance UID still tells it.
func TestBrokenPixelsKeepHeader(t *testing.T) {
	data := encode(t, film())
	end := strings.Index(string(data), "\x20\x00\x0d\x00UI") + 8 + 6
	for n := end; n < len(data); n++ {
		h, err := dicom.ParseHeader(data[:n])
		if h.StudyUID != "1.2.3" || h.PatientID != "P1" {
			t.Fatalf("cut at %d of %d: %+v, %v", n, len(data), h, err)
		}
	}
}

// TestUnreadableAttributes: an attribute that the library fails on does not hide the rest,
// and text in the character set of the file is still decoded after it.
func TestUnreadableAttributes(t *testing.T) {
	element := func(tag, value string) string {
		return tag + string(binary.LittleEndian.AppendUint32(nil, uint32(len(value)))) + value
	}
	for charset, patient := range map[string]string{"ISO_IR 100": "M\u00fcller", "ISO_IR 144": "", "no such set": "M\u00fcller"} {
		h, err := dicom.ParseHeader([]byte(element("\x08\x00\x05\x00", charset) + element("\x08\x00\x60\x00", "CR") +
			element("\x28\x00\x02\x00", "\x01") + // one byte of a 16-bit number
			element("\x10\x00\x20\x00", "M\xfcller") + element("\x20\x00\x0d\x00", "1.2.3\x00")))
		if err != nil || h.Modality != "CR" || h.StudyUID != "1.2.3" || patient != "" && string(h.PatientID) != patient {
			t.Errorf("%s: %+v, %v", charset, h, err)
		}
	}
}

// TestNumbersOfAnotherVR: Rows and the like are read where a sender writes text, or 32 bits.
func TestNumbersOfAnotherVR(t *testing.T) {
	for _, syntax := range []string{string(dicom.FilmExplicitLE), bigEndian} {
		var order binary.AppendByteOrder = binary.LittleEndian
		if syntax == bigEndian {
			order = binary.BigEndian
		}
		whole := object{syntax: syntax, rows: 3, columns: 2, allocated: 16, pixels: make([]byte, 12)}.bytes(t)
		element := func(vr string, value []byte) []byte {
			return append(append(order.AppendUint16(order.AppendUint16(nil, 0x28), 0x10), vr...), append(order.AppendUint16(nil, uint16(len(value))), value...)...)
		}
		for _, tc := range []struct {
			vr    string
			value []byte
			want  int
		}{
			{"IS", []byte("3 "), 3}, {"DS", []byte(" 3.0"), 3}, {"UL", order.AppendUint32(nil, 3), 3}, {"SL", order.AppendUint32(nil, 3), 3},
			{"SS", order.AppendUint16(nil, 3), 3}, {"IS", []byte("-3"), 0}, {"IS", []byte("3x"), 0}, {"DS", []byte("65539 "), 0}, {"UL", order.AppendUint32(nil, 1<<16+3), 0}, {"IS", nil, 0},
		} {
			f, err := dicom.Parse(bytes.Replace(whole, element("US", order.AppendUint16(nil, 3)), element(tc.vr, tc.value), 1))
			if err != nil || f.Rows != tc.want || f.Columns != 2 {
				t.Errorf("%s %s %q: %d rows, %v", syntax, tc.vr, tc.value, f.Rows, err)
			}
		}
	}
}

func TestViewCode(t *testing.T) {
	element := func(head string, value string) string {
		return head + string(binary.LittleEndian.AppendUint32(nil, uint32(len(value)))) + value
	}
	item := element("\xfe\xff\x00\xe0", element("\x08\x00\x04\x01", "Left lateral"))
	data := []byte(element("\x08\x00\x60\x00", "DX") + element("\x54\x00\x20\x02", item))
	h, err := dicom.ParseHeader(data)
	if err != nil || h.ViewCode != "left lateral" || h.Modality != "DX" {
		t.Errorf("got %+v, %v", h, err)
	}
}
