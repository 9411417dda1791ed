package dicom_test

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/dicom"
)

// Syntaxes that Encode does not write.
const (
	bigEndian    = "1.2.840.10008.1.2.2"
	deflated     = "1.2.840.10008.1.2.1.99"
	encapsulated = "1.2.840.10008.1.2.1.98"
)

// object is a DICOM object of which a test says how its pixels lie.
type object struct {
	syntax                     string
	photometric                string // MONOCHROME2 when empty
	rows, columns              int
	frames                     string
	samples, allocated, stored int // samples 1 and stored all bits when 0
	high                       int // stored-1 when 0
	signed, planar             bool
	vr                         string // OW when empty
	pixels                     []byte
	fragments                  [][]byte          // in place of pixels; the first is the offset table
	extra                      map[uint32][]byte // just before the pixels
}

// bytes writes the object in explicit VR.
func (o object) bytes(t testing.TB) []byte {
	t.Helper()
	var order binary.AppendByteOrder = binary.LittleEndian
	if o.syntax == bigEndian {
		order = binary.BigEndian
	}
	var out []byte
	element := func(order binary.AppendByteOrder, tag uint32, vr string, value []byte) {
		out = order.AppendUint16(order.AppendUint16(out, uint16(tag>>16)), uint16(tag))
		out = append(out, vr...)
		switch vr {
		case "OB", "OW", "OV", "SQ":
			out = order.AppendUint32(append(out, 0, 0), uint32(len(value)))
		default:
			out = order.AppendUint16(out, uint16(len(value)))
		}
		out = append(out, value...)
	}
	text := func(tag uint32, vr, s string) { element(order, tag, vr, []byte(s+strings.Repeat(" ", len(s)%2))) }
	short := func(tag uint32, n int) { element(order, tag, "US", order.AppendUint16(nil, uint16(n))) }
	or := func(n, otherwise int) int {
		if n == 0 {
			return otherwise
		}
		return n
	}
	flag := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	uid := o.syntax + strings.Repeat("\x00", len(o.syntax)%2)
	element(binary.LittleEndian, 0x00020010, "UI", []byte(uid))
	meta := out
	out = nil
	text(0x00080060, "CS", "OT")
	short(0x00280002, or(o.samples, 1))
	if o.photometric == "" {
		o.photometric = "MONOCHROME2"
	}
	text(0x00280004, "CS", o.photometric)
	short(0x00280006, flag(o.planar))
	if o.frames != "" {
		text(0x00280008, "IS", o.frames)
	}
	short(0x00280010, o.rows)
	short(0x00280011, o.columns)
	short(0x00280100, o.allocated)
	o.stored = or(o.stored, o.allocated)
	short(0x00280101, o.stored)
	short(0x00280102, or(o.high, o.stored-1))
	short(0x00280103, flag(o.signed))
	for _, tag := range []uint32{0x00280120, 0x00281101, 0x00281102, 0x00281103, 0x00281201, 0x00281202, 0x00281203, 0x00283000, 0x7FE00001, 0x7FE00002} {
		if value, given := o.extra[tag]; given {
			vr := map[uint32]string{0x00280120: "US", 0x00283000: "SQ"}[tag]
			element(order, tag, cmp.Or(vr, "OW"), value)
		}
	}
	if o.fragments != nil {
		out = append(out, "\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff"...)
		for _, f := range o.fragments {
			out = binary.LittleEndian.AppendUint32(append(out, "\xfe\xff\x00\xe0"...), uint32(len(f)))
			out = append(out, f...)
		}
		out = append(out, "\xfe\xff\xdd\xe0\x00\x00\x00\x00"...)
	} else {
		if o.vr == "" {
			o.vr = "OW"
		}
		element(order, 0x7FE00010, o.vr, o.pixels)
	}
	if o.syntax == deflated {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.DefaultCompression)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(out)
		w.Close()
		out = b.Bytes()
	}
	return bytes.Join([][]byte{make([]byte, 128), []byte("DICM"), meta, out}, nil)
}

func (o object) parse(t testing.TB) *dicom.File {
	t.Helper()
	f, err := dicom.Parse(o.bytes(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// le16 and be16 write numbers of 16 bits.
func le16(v ...int) (out []byte) {
	for _, n := range v {
		out = binary.LittleEndian.AppendUint16(out, uint16(n))
	}
	return out
}

func be16(v ...int) (out []byte) {
	for _, n := range v {
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	}
	return out
}

// rle writes byte planes without runs (PS3.5 annex G).
func rle(planes ...[]byte) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(planes)))
	out = append(out, make([]byte, 60)...)
	for i, p := range planes {
		binary.LittleEndian.PutUint32(out[4+4*i:], uint32(len(out)))
		out = append(append(out, byte(len(p)-1)), p...)
	}
	return append(out, make([]byte, len(out)%2)...)
}
