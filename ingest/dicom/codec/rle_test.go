package codec

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/schemas/fault"
)

// encodeRLE writes a frame as PS3.5 annex G has it, with runs of two bytes and more.
func encodeRLE(values []uint16, f Frame) []byte {
	width := f.BitsAllocated / 8
	halves := max(1, width/2)
	out := binary.LittleEndian.AppendUint32(nil, uint32(f.Samples*width))
	out = append(out, make([]byte, rleHeader-4)...)
	for i := range f.Samples * width {
		binary.LittleEndian.PutUint32(out[4+4*i:], uint32(len(out)))
		low := width - 1 - i%width
		var plane []byte
		for at := (i/width)*halves + low/2; at < len(values); at += f.Samples * halves {
			plane = append(plane, byte(values[at]>>(8*(low%2))))
		}
		for len(plane) > 0 {
			n := 1
			for n < len(plane) && n < 128 && plane[n] == plane[0] {
				n++
			}
			if n > 1 {
				out = append(out, byte(1-n), plane[0])
			} else {
				out = append(out, 0x80, 0, plane[0]) // -128 means nothing
			}
			plane = plane[n:]
		}
		if len(out)%2 != 0 {
			out = append(out, 0)
		}
	}
	return out
}

func TestRLE(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Frame{
			Rows: rapid.IntRange(1, 9).Draw(t, "rows"), Columns: rapid.IntRange(1, 300).Draw(t, "columns"),
			Samples: rapid.SampledFrom([]int{1, 3}).Draw(t, "samples"), BitsAllocated: rapid.SampledFrom([]int{8, 16, 32}).Draw(t, "bits"),
		}
		values := make([]uint16, f.Rows*f.Columns*f.Samples*max(1, f.BitsAllocated/16))
		most := rapid.SampledFrom([]uint16{0, 1, 255, 65535}).Draw(t, "most")
		if f.BitsAllocated == 8 {
			most = min(most, 255)
		}
		for i := range values {
			values[i] = rapid.Uint16Range(0, most).Draw(t, "value")
		}
		data := encodeRLE(values, f)
		got, err := decodeRLE(data, f)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(values, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestRLERefusals(t *testing.T) {
	f := Frame{Rows: 4, Columns: 4, Samples: 1, BitsAllocated: 16}
	whole := encodeRLE(make([]uint16, 16), f)
	other := func(at int, v uint32) []byte {
		b := append([]byte(nil), whole...)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	large := f
	large.Rows, large.Columns = 60000, 60000
	for name, tc := range map[string]struct {
		data   []byte
		frame  Frame
		reason fault.Reason
	}{
		"empty":            {nil, f, ReasonTruncated},
		"cut":              {whole[:len(whole)-2], f, ReasonTruncated},
		"much too large":   {whole, large, ReasonTruncated},
		"other segments":   {other(0, 1), f, ReasonMismatch},
		"too many":         {other(0, 1<<31), f, ReasonMismatch},
		"offset outside":   {other(8, 1<<31), f, ReasonCodestream},
		"offset in header": {other(4, 8), f, ReasonCodestream},
	} {
		if _, err := decodeRLE(tc.data, tc.frame); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRLE(f *testing.F) {
	frame := Frame{Rows: 3, Columns: 5, Samples: 3, BitsAllocated: 8}
	f.Add(encodeRLE([]uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1, 2, 2, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1, 2, 2, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1, 2, 2, 2}, frame))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeRLE(data, frame)
		if err == nil && len(got) != 45 || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%d values, %v", len(got), err)
		}
	})
}
