package codec

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"pgregory.net/rapid"
)

// losslessSpec says how encodeLossless codes an image.
type losslessSpec struct {
	rows, columns, samples          int
	precision, predictor, transform int
	allocated                       int
	lines                           int      // in a restart interval, 0 for none
	apart                           bool     // a scan for each component
	fill                            bool     // bytes before markers
	counts                          [16]byte // of codes, by length
	symbolsTurned                   int      // rotates the symbols, so that any may have a long code

	// What a refusal needs otherwise.
	headerRows, spectralEnd int
	sampling, process       byte
}

func (s losslessSpec) frame() Frame {
	return Frame{Rows: s.rows, Columns: s.columns, Samples: s.samples, BitsAllocated: s.allocated, BitsStored: s.precision}
}

// encodeLossless writes px, rows x columns x samples, as T.81 annex H says.
func encodeLossless(px []uint16, s losslessSpec) []byte {
	w := &jpegWriter{fill: s.fill}
	w.marker(jpegSOI)
	w.segment(0xE0, 1, 2, 3, 0xFF, jpegEOI)
	header := []byte{byte(s.precision)}
	header = binary.BigEndian.AppendUint16(header, uint16(s.headerRows))
	header = append(binary.BigEndian.AppendUint16(header, uint16(s.columns)), byte(s.samples))
	for i := range s.samples {
		header = append(header, byte(i+1), s.sampling, 0)
	}
	var tables [2]*jpegCodes
	for i := range tables {
		symbols := make([]byte, 17)
		for k := range symbols {
			symbols[k] = byte((k + s.symbolsTurned*(i+1)) % 17)
		}
		tables[i] = newJPEGCodes(s.counts, symbols)
		tables[i].segment(w, byte(i))
	}
	w.segment(s.process, header...)
	if s.lines != 0 {
		w.segment(jpegDRI, binary.BigEndian.AppendUint16(nil, uint16(s.lines*s.columns))...)
	}
	scans := [][]int{{}}
	for i := range s.samples {
		if s.apart && i > 0 {
			scans = append(scans, nil)
		}
		scans[len(scans)-1] = append(scans[len(scans)-1], i)
	}
	for _, comps := range scans {
		p := []byte{byte(len(comps))}
		for _, c := range comps {
			p = append(p, byte(c+1), byte(c%2)<<4)
		}
		w.segment(jpegSOS, append(p, byte(s.predictor), byte(s.spectralEnd), byte(s.transform))...)
		for y := range s.rows {
			top := y == 0
			if s.lines != 0 && y > 0 && y%s.lines == 0 {
				w.flush()
				w.marker(jpegRST0 + byte(y/s.lines-1)&7)
				top = true
			}
			for x := range s.columns {
				for _, c := range comps {
					at := func(x, y int) int { return int(px[(y*s.columns+x)*s.samples+c] >> s.transform) }
					d := at(x, y) - losslessPrediction(s, at, x, y, top)
					tables[c%2].value(w, 0, losslessDifference(d))
				}
			}
		}
		w.flush()
	}
	w.marker(jpegEOI)
	return w.out
}

// losslessDifference is d modulo 2^16, from -32767 to 32768 (T.81 H.1.2.1). The writer's
// category 16 has no bits, whatever the sign.
func losslessDifference(d int) int {
	d &= 0xFFFF
	if d > 32768 {
		d -= 65536
	}
	return d
}

// losslessPrediction is T.81 H.1.2.1.
func losslessPrediction(s losslessSpec, at func(x, y int) int, x, y int, top bool) int {
	switch {
	case s.predictor == 0:
		return 0
	case top && x == 0:
		return 1 << (s.precision - s.transform - 1)
	case top:
		return at(x-1, y)
	case x == 0:
		return at(x, y-1)
	}
	a, b, c := at(x-1, y), at(x, y-1), at(x-1, y-1)
	return [...]int{0, a, b, c, a + b - c, a + (b-c)>>1, b + (a-c)>>1, (a + b) / 2}[s.predictor]
}

// losslessFilm is like a film: smooth, with the noise of the detector, of 12 bits.
func losslessFilm(rows, columns int) []uint16 {
	rng := rand.New(rand.NewPCG(1, 2))
	px := make([]uint16, rows*columns)
	for i := range px {
		x, y := i%columns, i/columns
		px[i] = uint16(1500 + x*y*1500/(rows*columns) + (x^y)&255 + int(8*rng.NormFloat64()))
	}
	return px
}

func plainLossless(rows, columns, predictor int) losslessSpec {
	return losslessSpec{rows: rows, columns: columns, headerRows: rows, samples: 1, precision: 12, predictor: predictor,
		counts: jpegLongCodes, symbolsTurned: 3, allocated: 16, sampling: 0x11, process: jpegSOF3}
}

func TestJPEGLosslessRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := losslessSpec{
			rows: rapid.IntRange(1, 24).Draw(t, "rows"), columns: rapid.IntRange(1, 24).Draw(t, "columns"),
			samples: rapid.IntRange(1, 4).Draw(t, "samples"), precision: rapid.IntRange(2, 16).Draw(t, "precision"),
			predictor: rapid.IntRange(0, 7).Draw(t, "predictor"), lines: rapid.IntRange(0, 3).Draw(t, "lines"),
			apart: rapid.Bool().Draw(t, "apart"), fill: rapid.Bool().Draw(t, "fill"),
			counts:        rapid.SampledFrom([][16]byte{jpegLongCodes, jpegFlatCodes}).Draw(t, "counts"),
			symbolsTurned: rapid.IntRange(0, 16).Draw(t, "turned"), allocated: 16, sampling: 0x11, process: jpegSOF3,
		}
		s.headerRows = s.rows
		s.transform = rapid.IntRange(0, s.precision-1).Draw(t, "transform")
		if s.samples == 1 {
			s.sampling = rapid.SampledFrom([]byte{0x11, 0x22, 0x41}).Draw(t, "sampling")
		}
		top := 1<<s.precision - 1
		sample := rapid.OneOf(rapid.IntRange(0, top), rapid.SampledFrom([]int{0, top/2 + 1, top}))
		px, want := make([]uint16, s.rows*s.columns*s.samples), make([]uint16, s.rows*s.columns*s.samples)
		seed := rapid.SliceOfN(sample, 1, 40).Draw(t, "px")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for i := range px {
			px[i] = uint16(seed[rng.IntN(len(seed))])
			want[i] = px[i] >> s.transform << s.transform
		}
		stream := append(encodeLossless(px, s), 0, 0, 0xFF) // padding
		got, err := decodeJPEGLossless(stream, s.frame())
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v\n got %v\nwant %v", err, got, want)
		}
	})
}

// TestJPEGLosslessCategory16 has differences of 2^15, which have a code and no bits.
func TestJPEGLosslessCategory16(t *testing.T) {
	px := []uint16{0, 32768, 0, 32768, 65535, 32767, 65535, 0, 32768, 0, 1, 32769}
	for _, counts := range [][16]byte{jpegLongCodes, jpegFlatCodes} {
		for predictor := range 8 {
			s := plainLossless(3, 4, predictor)
			s.precision, s.counts = 16, counts
			got, err := decodeJPEGLossless(encodeLossless(px, s), s.frame())
			if err != nil || !slices.Equal(got, px) {
				t.Errorf("predictor %d: %v, %v", predictor, got, err)
			}
		}
	}
}

func TestJPEGLosslessRefusals(t *testing.T) {
	px := losslessFilm(20, 30)
	plain := plainLossless(20, 30, 1)
	plain.lines = 4
	whole := encodeLossless(px, plain)
	for n := range len(whole) - 2 { // what is missing of the EOI marker does not matter
		_, err := decodeJPEGLossless(whole[:n], plain.frame())
		if fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != ReasonTruncated {
			t.Fatalf("cut at %d of %d: %v", n, len(whole), err)
		}
	}
	with := func(edit func(*losslessSpec)) []byte {
		s := plain
		edit(&s)
		return encodeLossless(px, s)
	}
	replace := func(old, with string) []byte { return []byte(strings.Replace(string(whole), old, with, 1)) }
	for name, tc := range map[string]struct {
		data   []byte
		frame  func(*Frame)
		reason fault.Reason
	}{
		"rows":                {whole, func(f *Frame) { f.Rows++ }, ReasonMismatch},
		"columns":             {whole, func(f *Frame) { f.Columns-- }, ReasonMismatch},
		"samples":             {whole, func(f *Frame) { f.Samples = 3 }, ReasonMismatch},
		"allocated":           {whole, func(f *Frame) { f.BitsAllocated = 8 }, ReasonMismatch},
		"DNL":                 {with(func(s *losslessSpec) { s.headerRows = 0 }), nil, ReasonMismatch},
		"bomb":                {with(func(s *losslessSpec) { s.headerRows = 0xFFFF }), func(f *Frame) { f.Rows = 0xFFFF }, ReasonTruncated},
		"taller":              {with(func(s *losslessSpec) { s.headerRows = 21 }), func(f *Frame) { f.Rows = 21 }, ReasonTruncated},
		"predictor":           {with(func(s *losslessSpec) { s.spectralEnd = 1 }), nil, ReasonCodestream},
		"transform":           {replace("\x00\x01\x00\x00", "\x00\x01\x00\x0C"), nil, ReasonCodestream},
		"precision":           {replace("\x00\x0B\x0C", "\x00\x0B\x01"), nil, ReasonCodestream},
		"baseline":            {with(func(s *losslessSpec) { s.process = jpegSOF0 }), nil, ReasonCodestream},
		"arithmetic":          {with(func(s *losslessSpec) { s.process = 0xCB }), nil, ReasonCodestream},
		"half a line":         {replace("\xFF\xDD\x00\x04\x00\x78", "\xFF\xDD\x00\x04\x00\x79"), nil, ReasonCodestream},
		"restarts out of row": {replace("\xFF\xD1", "\xFF\xD2"), nil, ReasonCodestream},
		"interval too short":  {replace("\xFF\xDD\x00\x04\x00\x78", "\xFF\xDD\x00\x04\x00\x96"), nil, ReasonCodestream},
		"no table":            {replace("\xFF\xC4", "\xFF\xE1"), nil, ReasonCodestream},
		"table of no code":    {replace("\x00\x02\x02\x01", "\x00\x02\x02\x02"), nil, ReasonCodestream},
		"two images":          {replace("\xFF\xE0", "\xFF\xD8"), nil, ReasonCodestream},
		"segment length":      {replace("\xFF\xE0\x00\x07", "\xFF\xE0\x00\x01"), nil, ReasonCodestream},
		"no marker":           {replace("\xFF\xC3", "\x00\xFF\xC3"), nil, ReasonCodestream},
		"no frame header":     {replace("\xFF\xC3", "\xFF\xE3"), nil, ReasonCodestream},
		"frame length":        {replace("\x00\x1E\x01", "\x00\x1E\x02"), nil, ReasonCodestream},
		"sampling factor":     {replace("\x01\x11\x00", "\x01\x51\x00"), nil, ReasonCodestream},
		"two frame headers":   {replace("\xFF\xDD\x00\x04", "\xFF\xC3\x00\x04"), nil, ReasonCodestream},
		"DRI length":          {replace("\xFF\xDD\x00\x04\x00\x78", "\xFF\xDD\x00\x05\x00\x78\x00"), nil, ReasonCodestream},
		"scan length":         {replace("\xFF\xDA\x00\x08\x01", "\xFF\xDA\x00\x08\x02"), nil, ReasonCodestream},
		"scan component":      {replace("\xFF\xDA\x00\x08\x01\x01", "\xFF\xDA\x00\x08\x01\x02"), nil, ReasonCodestream},
		"table class":         {replace("\xFF\xC4\x00\x24\x00", "\xFF\xC4\x00\x24\x20"), nil, ReasonCodestream},
		"table value":         {replace("\x0F\x10\x00", "\x0F\x11\x00"), nil, ReasonCodestream},
		"no such code":        {replace("\xDA\x00\x08\x01\x01\x00\x01\x00\x00", "\xDA\x00\x08\x01\x01\x00\x01\x00\x00\xFE\xFE\xFE"), nil, ReasonCodestream},
		"no JPEG":             {[]byte("no JPEG"), nil, ReasonCodestream},
	} {
		f := plain.frame()
		if tc.frame != nil {
			tc.frame(&f)
		}
		if _, err := decodeJPEGLossless(tc.data, f); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := losslessSpec{rows: 10, columns: 30, headerRows: 10, samples: 2, precision: 12, predictor: 1, counts: jpegFlatCodes, allocated: 16, sampling: 0x21, process: jpegSOF3}
	if _, err := decodeJPEGLossless(encodeLossless(px, s), s.frame()); fault.ReasonOf(err) != ReasonCodestream {
		t.Errorf("subsampling: %v", err)
	}
	// The whole image is there without its EOI marker.
	if got, err := decodeJPEGLossless(bytes.TrimSuffix(whole, []byte{0xFF, jpegEOI}), plain.frame()); err != nil || !slices.Equal(got, px) {
		t.Errorf("without EOI: %v", err)
	}
}

// fuzzJPEG decodes whatever is in data, as of the size that its own frame header says, when
// that is small enough for a fuzzer.
func fuzzJPEG(t *testing.T, data []byte, decode func([]byte, Frame) ([]uint16, error)) {
	f := Frame{Rows: 20, Columns: 30, Samples: 1, BitsAllocated: 16, BitsStored: 16}
	for i := 0; i+10 <= len(data); i++ {
		if data[i] == 0xFF && data[i+1] >= jpegSOF0 && data[i+1] <= jpegSOF3 {
			f.Rows, f.Columns, f.Samples = int(data[i+5])<<8|int(data[i+6]), int(data[i+7])<<8|int(data[i+8]), int(data[i+9])
			break
		}
	}
	if f.Rows*f.Columns*f.Samples > 1<<20 {
		t.Skip("slow")
	}
	px, err := decode(data, f)
	switch {
	case err == nil && len(px) != f.Rows*f.Columns*f.Samples:
		t.Fatalf("%d values", len(px))
	case err != nil && (fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) == ""):
		t.Fatal(err)
	}
}

func FuzzJPEGLossless(f *testing.F) {
	px := losslessFilm(40, 30)
	for predictor := range 8 {
		s := plainLossless(20, 30, predictor)
		s.lines, s.fill = predictor%3, predictor%2 == 0
		f.Add(encodeLossless(px, s))
		s.samples, s.rows, s.headerRows, s.apart = 3, 10, 10, predictor%2 == 0
		f.Add(encodeLossless(px, s))
	}
	for _, file := range jpegRealFiles(f) {
		if file.lossless {
			for _, stream := range file.streams {
				f.Add(stream[:min(len(stream), 20000)])
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { fuzzJPEG(t, data, decodeJPEGLossless) })
}

func BenchmarkJPEGLossless(b *testing.B) {
	const rows, columns = 2560, 2048
	px := losslessFilm(rows, columns)
	for name, predictor := range map[string]int{"SV1": 1, "SV4": 4, "SV6": 6, "SV7": 7} {
		s := plainLossless(rows, columns, predictor)
		stream := encodeLossless(px, s)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(2 * rows * columns)
			for b.Loop() {
				if _, err := decodeJPEGLossless(stream, s.frame()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(8*len(stream))/rows/columns, "bits/sample")
		})
	}
}
