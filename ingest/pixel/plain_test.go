package pixel_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"slices"
	"testing"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

func encodePNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// paint fills every image with the same colours.
func paint(img interface {
	image.Image
	Set(x, y int, c color.Color)
}) image.Image {
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			v := uint16(x*1000 + y*3)
			img.Set(x, y, color.NRGBA64{v, v, v, 0xffff})
		}
	}
	return img
}

func TestDecodePlain(t *testing.T) {
	area := image.Rect(0, 0, 65, 64)
	var grey, colour bytes.Buffer
	if err := jpeg.Encode(&grey, paint(image.NewGray(area)), &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&colour, paint(image.NewRGBA(area)), &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	var palette color.Palette
	for i := range 256 {
		palette = append(palette, color.Gray{uint8(i)})
	}
	for _, tc := range []struct {
		name  string
		data  []byte
		bits  int
		slack int
	}{
		{"grey", encodePNG(t, paint(image.NewGray(area))), 8, 0},
		{"grey 16", encodePNG(t, paint(image.NewGray16(area))), 16, 0},
		{"colour", encodePNG(t, paint(image.NewRGBA(area))), 8, 0},
		{"colour and alpha", encodePNG(t, paint(image.NewNRGBA(area))), 8, 0},
		{"colour 16", encodePNG(t, paint(image.NewNRGBA64(area))), 16, 1},
		{"palette", encodePNG(t, paint(image.NewPaletted(area, palette))), 8, 1},
		{"JPEG grey", grey.Bytes(), 8, 2},
		{"JPEG colour", colour.Bytes(), 8, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := pixel.DecodePlain(tc.data)
			if err != nil {
				t.Fatal(err)
			}
			if p.Bits != tc.bits || p.Columns != 65 || p.Rows != 64 || p.Display != (tc.bits == 8) {
				t.Fatalf("%d bits, %d x %d, display %t", p.Bits, p.Columns, p.Rows, p.Display)
			}
			for i, got := range p.Samples {
				want := i%65*1000 + i/65*3
				if tc.bits == 8 {
					want >>= 8
				}
				if d := int(got) - want; d < -tc.slack || d > tc.slack {
					t.Fatalf("sample %d is %d, want %d", i, got, want)
				}
			}
		})
	}
}

func TestDecodePlainRefusals(t *testing.T) {
	whole := encodePNG(t, paint(image.NewGray(image.Rect(0, 0, 100, 100))))
	var film bytes.Buffer
	if err := jpeg.Encode(&film, paint(image.NewGray(image.Rect(0, 0, 100, 100))), nil); err != nil {
		t.Fatal(err)
	}
	for n := range film.Len() - 2 {
		if _, err := pixel.DecodePlain(film.Bytes()[:n]); n > 2 && fault.ReasonOf(err) != pixel.ReasonTruncated {
			t.Fatalf("JPEG cut at %d of %d: %v", n, film.Len(), err)
		}
	}
	huge := film.Bytes()
	sof := bytes.Index(huge, []byte{0xff, 0xc0})
	huge = append([]byte(nil), huge...)
	copy(huge[sof+5:], []byte{0x4e, 0x20, 0x4e, 0x20}) // 20,000 x 20,000
	for _, tc := range []struct {
		name   string
		data   []byte
		kind   fault.Kind
		reason fault.Reason
	}{
		{"empty", nil, fault.Invalid, pixel.ReasonMalformed},
		{"cut PNG", whole[:len(whole)-30], fault.Invalid, pixel.ReasonTruncated},
		{"cut JPEG", film.Bytes()[:film.Len()/2], fault.Invalid, pixel.ReasonTruncated},
		{"head of JPEG", film.Bytes()[:20], fault.Invalid, pixel.ReasonTruncated},
		{"bad checksum", append(append([]byte(nil), whole[:50]...), append([]byte{whole[50] ^ 1}, whole[51:]...)...), fault.Invalid, pixel.ReasonMalformed},
		{"huge", huge, fault.Unsupported, pixel.ReasonTooLarge},
	} {
		_, err := pixel.DecodePlain(tc.data)
		if fault.KindOf(err) != tc.kind || fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v (%s)", tc.name, err, fault.ReasonOf(err))
		}
	}
}

func TestPNGRoundTrip(t *testing.T) {
	r, err := pixel.Render(film(500, 600), pixel.Auto)
	if err != nil {
		t.Fatal(err)
	}
	data, err := pixel.EncodePNG(r.Pixels)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pixel.EncodePNG(r.Pixels)
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("the same pixels gave other bytes: %v", err)
	}
	back, err := pixel.DecodePNG(data)
	if err != nil || !bytes.Equal(back, r.Pixels) {
		t.Errorf("pixels changed: %v", err)
	}
	if _, err := pixel.DecodePNG(encodePNG(t, image.NewGray(image.Rect(0, 0, 10, 10)))); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a PNG of another size: %v", err)
	}
	if _, err := pixel.DecodePNG(data[:len(data)/2]); fault.ReasonOf(err) != pixel.ReasonTruncated {
		t.Errorf("half a PNG: %v", err)
	}
}

func FuzzDecodePlain(f *testing.F) {
	f.Add(encodePNG(f, paint(image.NewGray(image.Rect(0, 0, 65, 65)))))
	f.Add(encodePNG(f, paint(image.NewGray16(image.Rect(0, 0, 65, 65)))))
	var b bytes.Buffer
	if err := jpeg.Encode(&b, paint(image.NewRGBA(image.Rect(0, 0, 65, 65))), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := pixel.DecodePlain(data)
		if err == nil {
			if _, err := pixel.Render(p.Film, pixel.Auto); fault.KindOf(err) == fault.Internal && err != nil {
				t.Error(err)
			}
			return
		}
		if fault.ReasonOf(err) == "" {
			t.Errorf("no reason: %v", err)
		}
	})
}

// TestPlainMemory: what image/jpeg and image/png take beside the pixels counts before they decode.
func TestPlainMemory(t *testing.T) {
	jpegOf := func(sof byte, side, components int, behind string) []byte {
		b := []byte{0xFF, 0xD8, 0xFF, sof, 0, byte(8 + 3*components), 8, byte(side >> 8), byte(side), byte(side >> 8), byte(side), byte(components)}
		for i := range components {
			b = append(b, byte(i+1), 0x11, 0)
		}
		return append(append(b, 0xFF, 0xDA, 0, 2, 0xFF, 0xD9), behind...)
	}
	grey := encodePNG(t, image.NewGray16(image.Rect(0, 0, 4096, 8192)))
	chunk := []byte{0, 0, 0, 2, 't', 'R', 'N', 'S', 0xFF, 0xFF}
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	for _, c := range []struct {
		name string
		data []byte
		want fault.Reason
	}{
		{"progressive in colour", jpegOf(0xC2, 5000, 3, ""), pixel.ReasonTooLarge},
		{"sequential in colour", jpegOf(0xC0, 5000, 3, ""), pixel.ReasonMalformed},
		{"PNG with a transparent grey", slices.Concat(grey[:33], chunk, grey[33:]), pixel.ReasonTooLarge},
		{"another process, and bytes behind", jpegOf(0xC3, 64, 1, "trailer"), pixel.ReasonUnsupported},
	} {
		if _, err := pixel.DecodePlain(c.data); fault.ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := pixel.DecodePlain(grey); err != nil {
		t.Errorf("the PNG without: %v", err)
	}
}
