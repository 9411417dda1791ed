package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"pgregory.net/rapid"
)

// encodeStdlib writes a smooth grey or 4:2:0 image with the encoder of the standard library.
func encodeStdlib(t testing.TB, rows, columns int, grey bool) []byte {
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
			img.Set(x, y, color.RGBA{uint8(5*x + 3*y), uint8(128 + 2*x - 3*y), uint8(6 * y), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestJPEGDCTStdlib compares the planes with those of the standard library's decoder, whose
// IDCT is another one.
func TestJPEGDCTStdlib(t *testing.T) {
	compare := func(name string, s *jpegStream, comp int, want []byte, stride int) {
		c := &s.comps[comp]
		for y := range c.rows {
			for x := range c.columns {
				if d := int(c.plane[y*c.stride*8+x]) - int(want[y*stride+x]); d > 2 || d < -2 {
					t.Fatalf("%s: component %d differs by %d at %d, %d", name, comp, d, x, y)
				}
			}
		}
	}
	streams := map[string][]byte{"grey": encodeStdlib(t, 45, 61, true), "4:2:0": encodeStdlib(t, 45, 61, false)}
	for _, c := range libjpegCases {
		if c.samples == 1 || !strings.HasPrefix(c.name, "progressive") { // image/jpeg fails at the restart markers
			streams[c.name] = c.stream(t)
		}
	}
	for name, stream := range streams {
		img, err := jpeg.Decode(bytes.NewReader(stream))
		if err != nil {
			t.Fatal(name, err)
		}
		f := Frame{Rows: img.Bounds().Dy(), Columns: img.Bounds().Dx(), Samples: 1, BitsAllocated: 8}
		if _, ok := img.(*image.YCbCr); ok {
			f.Samples = 3
		}
		s, err := openJPEG("test", stream, f, false)
		if err == nil {
			err = s.decodeDCT()
		}
		if err != nil {
			t.Fatal(name, err)
		}
		switch img := img.(type) {
		case *image.Gray:
			compare(name, s, 0, img.Pix, img.Stride)
		case *image.YCbCr:
			compare(name, s, 0, img.Y, img.YStride)
			compare(name, s, 1, img.Cb, img.CStride)
			compare(name, s, 2, img.Cr, img.CStride)
		}
	}
}

// TestJPEGDCTLibjpeg compares whole images, with their upsampling, with libjpeg.
func TestJPEGDCTLibjpeg(t *testing.T) {
	for _, c := range libjpegCases {
		px, err := decodeJPEGDCT(c.stream(t), Frame{Rows: c.rows, Columns: c.columns, Samples: c.samples, BitsAllocated: 8})
		if err != nil {
			t.Error(c.name, err)
			continue
		}
		var raw []byte
		for _, v := range px {
			raw = append(raw, byte(v))
		}
		if digest := sha256.Sum256(raw); hex.EncodeToString(digest[:]) != c.sha256 {
			t.Errorf("%s: not what libjpeg decodes", c.name)
		}
	}
}

// floatPlane is the inverse DCT of T.81 A.3.3 in floating point.
func floatPlane(p dctPlane, s dctSpec) []float64 {
	var cosines [8][8]float64
	for x := range 8 {
		for u := range 8 {
			cosines[x][u] = math.Cos(float64(2*x+1)*float64(u)*math.Pi/16) / 2
			if u == 0 {
				cosines[x][u] /= math.Sqrt2
			}
		}
	}
	top := float64(int(1)<<s.precision - 1)
	out := make([]float64, 64*len(p.coefs))
	for at, coefs := range p.coefs {
		for y := range 8 {
			for x := range 8 {
				sum := math.Ceil(top / 2)
				for v := range 8 {
					for u := range 8 {
						sum += float64(coefs[8*v+u]) * float64(s.quant[8*v+u]) * cosines[y][v] * cosines[x][u]
					}
				}
				out[(at/p.stride*8+y)*p.stride*8+at%p.stride*8+x] = math.Round(min(max(sum, 0), top))
			}
		}
	}
	return out
}

// TestJPEGDCTCoefficients decodes random coefficients and compares with the float IDCT.
func TestJPEGDCTCoefficients(t *testing.T) {
	samplings := [][]byte{{0x11}, {0x22}, {0x11, 0x11, 0x11}, {0x22, 0x11, 0x11}, {0x21, 0x11, 0x11}, {0x12, 0x11, 0x12},
		{0x41, 0x21, 0x11}, {0x11, 0x22, 0x21}, {0x44, 0x11, 0x22}}
	rapid.Check(t, func(t *rapid.T) {
		s := dctSpec{
			rows: rapid.IntRange(1, 40).Draw(t, "rows"), columns: rapid.IntRange(1, 40).Draw(t, "columns"),
			precision: rapid.SampledFrom([]int{8, 12}).Draw(t, "precision"), sampling: rapid.SampledFrom(samplings).Draw(t, "sampling"),
			restart: rapid.IntRange(0, 4).Draw(t, "restart"), apart: rapid.Bool().Draw(t, "apart"),
			progressive: rapid.Bool().Draw(t, "progressive"), tuned: rapid.Bool().Draw(t, "tuned"), fill: rapid.Bool().Draw(t, "fill"),
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for i := range s.quant {
			s.quant[i] = uint16(1 + rng.IntN(5))
		}
		planes := s.layout()
		limit, most := 1<<(s.precision-1)-1, rapid.SampledFrom([]int{1, 3, 63}).Draw(t, "most")
		for _, p := range planes {
			for i := range p.coefs {
				p.coefs[i][0] = int16(rng.IntN(2*limit) - limit)
				for range rng.IntN(most + 1) {
					p.coefs[i][rng.IntN(64)] = int16(rng.IntN(2*limit)-limit) >> rng.IntN(s.precision)
				}
			}
		}
		stream := encodeDCT(planes, s)
		d, err := openJPEG("test", stream, s.frame(), false)
		if err == nil {
			err = d.decodeDCT()
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range planes {
			c, want := &d.comps[i], floatPlane(planes[i], s)
			for y := range c.rows {
				for x := range c.columns {
					if v, w := float64(c.plane[y*c.stride*8+x]), want[y*planes[i].stride*8+x]; math.Abs(v-w) > 1 {
						t.Fatalf("component %d at %d, %d is %v, want %v", i, x, y, v, w)
					}
				}
			}
		}
		px, err := decodeJPEGDCT(append(stream, 0), s.frame())
		if err != nil || len(px) != s.rows*s.columns*len(s.sampling) {
			t.Fatal(len(px), err)
		}
	})
}

func TestJPEGDCTUpsample(t *testing.T) {
	for name, tc := range map[string]struct {
		horizontal, below int
		want              []uint16
	}{
		"none":      {1, 1, []uint16{0, 40, 80, 0, 80, 160, 160, 80}},
		"width":     {2, 1, []uint16{0, 10, 30, 50, 70, 60, 20, 0, 80, 100, 140, 160, 160, 140, 100, 80}},
		"both":      {2, 2, []uint16{0, 10, 30, 50, 70, 60, 20, 0, 20, 32, 58, 77, 93, 80, 40, 20, 60, 77, 113, 132, 138, 120, 80, 60, 80, 100, 140, 160, 160, 140, 100, 80}},
		"height":    {1, 2, []uint16{0, 40, 80, 0, 0, 40, 80, 0, 80, 160, 160, 80, 80, 160, 160, 80}},
		"threefold": {3, 1, []uint16{0, 0, 0, 40, 40, 40, 80, 80, 80, 0, 0, 0, 80, 80, 80, 160, 160, 160, 160, 160, 160, 80, 80, 80}},
	} {
		c := dctComponent{columns: 4, rows: 2, stride: 1, horizontal: tc.horizontal, below: tc.below,
			plane: []uint16{0, 40, 80, 0, 9, 9, 9, 9, 80, 160, 160, 80, 9, 9, 9, 9}}
		got := make([]uint16, 2*len(tc.want))
		c.upsample(got[1:], 2*tc.below, 4*tc.horizontal, 2)
		for i, w := range tc.want {
			if got[2*i+1] != w || got[2*i] != 0 {
				t.Errorf("%s: %v, want %v with zeros between", name, got, tc.want)
				break
			}
		}
	}
}

func TestJPEGDCTRefusals(t *testing.T) {
	for name, whole := range map[string][]byte{"grey": encodeStdlib(t, 20, 33, true), "colour": encodeStdlib(t, 20, 33, false), "progressive": libjpegCases[0].stream(t)} {
		f := Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 8, BitsStored: 8}
		ends := len(whole) - 2
		switch name {
		case "colour":
			f.Samples = 3
		case "progressive": // there might be further scans
			f.Rows, f.Columns, ends = libjpegCases[0].rows, libjpegCases[0].columns, len(whole)
		}
		for n := range ends {
			if _, err := decodeJPEGDCT(whole[:n], f); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != ReasonTruncated {
				t.Fatalf("%s: cut at %d of %d: %v", name, n, len(whole), err)
			}
		}
	}
	grey := encodeStdlib(t, 20, 33, true)
	replace := func(old, with string) []byte { return bytes.Replace(grey, []byte(old), []byte(with), 1) }
	for name, tc := range map[string]struct {
		data   []byte
		frame  Frame
		reason fault.Reason
	}{
		"rows":        {grey, Frame{Rows: 21, Columns: 33, Samples: 1, BitsAllocated: 8}, ReasonMismatch},
		"columns":     {grey, Frame{Rows: 20, Columns: 34, Samples: 1, BitsAllocated: 8}, ReasonMismatch},
		"samples":     {grey, Frame{Rows: 20, Columns: 33, Samples: 3, BitsAllocated: 8}, ReasonMismatch},
		"allocated":   {replace("\x00\x0B\x08", "\x00\x0B\x0C"), Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 8}, ReasonMismatch},
		"precision":   {replace("\x00\x0B\x08", "\x00\x0B\x09"), Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 16}, ReasonCodestream},
		"lossless":    {replace("\xFF\xC0", "\xFF\xC3"), Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 8}, ReasonCodestream},
		"no DQT":      {replace("\xFF\xDB", "\xFF\xE2"), Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 8}, ReasonCodestream},
		"no DHT":      {replace("\xFF\xC4", "\xFF\xE2"), Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 8}, ReasonCodestream},
		"bad DQT":     {replace("\xFF\xDB\x00\x84\x00", "\xFF\xDB\x00\x84\x05"), Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 8}, ReasonCodestream},
		"no restarts": {replace("\xFF\xDA", "\xFF\xDD\x00\x04\x00\x02\xFF\xDA"), Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 8}, ReasonTruncated},
		"bomb":        {replace("\x00\x14\x00\x21", "\xFF\xFF\xFF\xFF"), Frame{Rows: 0xFFFF, Columns: 0xFFFF, Samples: 1, BitsAllocated: 8}, ReasonTruncated},
		"no JPEG":     {[]byte("no JPEG"), Frame{Rows: 20, Columns: 33, Samples: 1, BitsAllocated: 8}, ReasonCodestream},
	} {
		if _, err := decodeJPEGDCT(tc.data, tc.frame); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, sampling := range map[string][]byte{"two components": {0x11, 0x11}, "fraction": {0x31, 0x21, 0x11}} {
		s := dctSpec{rows: 20, columns: 20, precision: 8, sampling: sampling}
		s.quant[0] = 1
		if _, err := decodeJPEGDCT(encodeDCT(s.layout(), s), s.frame()); fault.ReasonOf(err) != ReasonCodestream {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := dctSpec{rows: 20, columns: 20, precision: 12, sampling: []byte{0x11}, progressive: true, fine: true}
	if _, err := decodeJPEGDCT(encodeDCT(s.transform(losslessFilm(20, 20)), s), s.frame()); fault.ReasonOf(err) != ReasonCodestream {
		t.Errorf("many scans: %v", err)
	}
	s.fine = false
	stream := encodeDCT(s.transform(losslessFilm(20, 20)), s)
	from := bytes.Index(stream, []byte{0xFF, jpegSOS})
	to := from + 1 + bytes.Index(stream[from+1:], []byte{0xFF, jpegSOS})
	for name, tc := range map[string][]byte{
		"scan twice":  slices.Concat(stream[:to], stream[from:]),
		"AC first":    slices.Concat(stream[:from], stream[to:]),
		"band":        bytes.Replace(stream, []byte{1, 5, 2}, []byte{1, 64, 2}, 1),
		"DC and AC":   bytes.Replace(stream, []byte{0, 3, 0, 0, 1}, []byte{0, 3, 0, 5, 1}, 1),
		"two bits":    bytes.Replace(stream, []byte{1, 5, 0x21}, []byte{1, 5, 0x20}, 1),
		"first again": bytes.Replace(stream, []byte{1, 5, 0x21}, []byte{1, 5, 1}, 1),
	} {
		if _, err := decodeJPEGDCT(tc, s.frame()); fault.ReasonOf(err) != ReasonCodestream {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzJPEGDCT(f *testing.F) {
	f.Add(encodeStdlib(f, 20, 33, true))
	f.Add(encodeStdlib(f, 20, 33, false))
	for _, c := range libjpegCases {
		f.Add(c.stream(f))
	}
	for _, progressive := range []bool{false, true} {
		s := dctSpec{rows: 20, columns: 33, precision: 12, sampling: []byte{0x21, 0x11, 0x11}, restart: 2, progressive: progressive, fill: true}
		planes := s.transform(losslessFilm(20, 33*3))
		f.Add(encodeDCT(planes, s))
		s.sampling, s.apart = []byte{0x11, 0x11, 0x11}, true
		f.Add(encodeDCT(s.transform(losslessFilm(20, 33*3)), s))
	}
	for _, file := range jpegRealFiles(f) {
		if !file.lossless {
			for _, stream := range file.streams {
				f.Add(stream[:min(len(stream), 20000)])
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { fuzzJPEG(t, data, decodeJPEGDCT) })
}

func BenchmarkJPEGDCT(b *testing.B) {
	const rows, columns = 2560, 2048
	px := losslessFilm(rows, columns)
	for name, progressive := range map[string]bool{"sequential": false, "progressive": true} {
		s := dctSpec{rows: rows, columns: columns, precision: 12, sampling: []byte{0x11}, tuned: true, progressive: progressive}
		for i := range s.quant {
			s.quant[i] = 12 + uint16(i)
		}
		stream := encodeDCT(s.transform(px), s)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(2 * rows * columns)
			for b.Loop() {
				if _, err := decodeJPEGDCT(stream, s.frame()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(8*len(stream))/rows/columns, "bits/sample")
		})
	}
}
