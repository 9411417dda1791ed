package codec_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/schemas/fault"
)

const rows, columns = 20, 33

// frame describes a grey frame of 8 bits.
func frame(rows, columns int) codec.Frame {
	return codec.Frame{Rows: rows, Columns: columns, Samples: 1, BitsAllocated: 8, BitsStored: 8}
}

// encode writes a smooth image, grey or in colour.
func encode(t testing.TB, grey bool) []byte {
	t.Helper()
	var img interface {
		image.Image
		Set(x, y int, c color.Color)
	} = image.NewGray(image.Rect(0, 0, columns, rows))
	if !grey {
		img = image.NewRGBA(img.Bounds())
	}
	for y := range rows {
		for x := range columns {
			img.Set(x, y, color.Gray{uint8(5*x + 3*y)})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestJPEGBaseline(t *testing.T) {
	decode := codec.Standard()[codec.JPEGBaseline]
	got, err := decode(append(encode(t, true), 0), frame(rows, columns)) // padded to even length
	if err != nil || len(got) != rows*columns {
		t.Fatal(len(got), err)
	}
	for i, v := range got {
		if want := 5*(i%columns) + 3*(i/columns); int(v)-want > 2 || want-int(v) > 2 {
			t.Fatalf("sample %d is %d, want %d", i, v, want)
		}
	}
}

func TestJPEGBaselineRefusals(t *testing.T) {
	decode := codec.Standard()[codec.JPEGBaseline]
	whole := encode(t, true)
	for n := range len(whole) - 2 {
		if _, err := decode(whole[:n], frame(rows, columns)); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != codec.ReasonTruncated {
			t.Fatalf("cut at %d of %d: %v", n, len(whole), err)
		}
	}
	for name, tc := range map[string]struct {
		data          []byte
		rows, columns int
		reason        fault.Reason
	}{
		"other rows": {whole, rows + 1, columns, codec.ReasonMismatch},
		"swapped":    {whole, columns, rows, codec.ReasonMismatch},
		"colour":     {encode(t, false), rows, columns, codec.ReasonMismatch},
		"no JPEG":    {[]byte("no JPEG at all\xff\xd9"), rows, columns, codec.ReasonCodestream},
	} {
		if _, err := decode(tc.data, frame(tc.rows, tc.columns)); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
}
