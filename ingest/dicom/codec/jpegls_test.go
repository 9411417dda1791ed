package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
)

func (m *lsImage) frame() Frame {
	allocated := 16
	if m.precision <= 8 {
		allocated = 8
	}
	return Frame{Rows: m.rows, Columns: m.columns, Samples: m.samples, BitsAllocated: allocated, BitsStored: m.precision}
}

// lsExample is the example of T.87 section H.3: 4x4 samples of 8 bits.
var lsExample = struct {
	stream string
	want   [16]uint16
}{
	"ffd8" + "fff7000b080004000401011100" + "ffda0008010100000000" + "c000006c80208e01c0000057400000" + "6ee6000001bc18000005d800009160" + "ffd9",
	[16]uint16{0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145},
}

func lsExampleStream(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(lsExample.stream)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestJPEGLSExample(t *testing.T) {
	stream := lsExampleStream(t)
	got, err := decodeJPEGLS(stream, Frame{Rows: 4, Columns: 4, Samples: 1, BitsAllocated: 8, BitsStored: 8})
	if err != nil || !slices.Equal(got, lsExample.want[:]) {
		t.Fatal(got, err)
	}
	m := &lsImage{rows: 4, columns: 4, samples: 1, precision: 8, pix: got}
	if coded := lsEncode(m); !bytes.Contains(coded, stream[25:]) {
		t.Fatalf("the encoder wrote %x", coded)
	}
}

// drawImage makes images that are flat, smooth, noisy or all of it.
func drawImage(t *rapid.T) *lsImage {
	m := &lsImage{
		rows:      rapid.IntRange(1, 24).Draw(t, "rows"),
		columns:   rapid.IntRange(1, 60).Draw(t, "columns"),
		samples:   rapid.SampledFrom([]int{1, 1, 3, 4}).Draw(t, "samples"),
		precision: rapid.IntRange(2, 16).Draw(t, "precision"),
	}
	if m.samples > 1 {
		m.interleave = rapid.ByteRange(0, lsInterleaveSample).Draw(t, "interleave")
	}
	maxVal := 1<<m.precision - 1
	if rapid.Bool().Draw(t, "preset") {
		m.preset.maxVal = rapid.IntRange(1, maxVal).Draw(t, "maxVal")
		maxVal = m.preset.maxVal
		m.preset.reset = rapid.IntRange(3, max(255, maxVal)).Draw(t, "reset")
	}
	if rapid.Bool().Draw(t, "lossy") {
		m.near = rapid.IntRange(0, min(255, maxVal/2)).Draw(t, "near")
		if rapid.Bool().Draw(t, "little") {
			m.near = min(m.near, 3)
		}
	}
	if m.preset.maxVal != 0 && rapid.Bool().Draw(t, "thresholds") && m.near < maxVal {
		m.preset.t1 = rapid.IntRange(m.near+1, maxVal).Draw(t, "t1")
		m.preset.t2 = rapid.IntRange(m.preset.t1, maxVal).Draw(t, "t2")
		m.preset.t3 = rapid.IntRange(m.preset.t2, maxVal).Draw(t, "t3")
	}
	m.restart = rapid.SampledFrom([]int{0, 0, 1, 2, 7}).Draw(t, "restart")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	noise, change := rapid.SampledFrom([]int{0, 1, 9, 1 << 16}).Draw(t, "noise"), rapid.IntRange(1, 40).Draw(t, "change")
	m.pix = make([]uint16, m.rows*m.columns*m.samples)
	level := 0
	for i := range m.pix {
		if r.IntN(change) == 0 {
			level = r.IntN(maxVal + 1)
		}
		m.pix[i] = uint16(min(max(level+r.IntN(2*noise+1)-noise, 0), maxVal))
	}
	return m
}

func TestJPEGLSRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawImage(t)
		want := slices.Clone(m.pix)
		stream := lsEncode(m)
		for i, v := range m.pix {
			if d := int(v) - int(want[i]); d > m.near || d < -m.near {
				t.Fatalf("the encoder is off by %d", d)
			}
		}
		enough := len(stream) - 6 // behind it are the end of image and four bytes of data: fewer may be filling
		if rapid.Bool().Draw(t, "padded") {
			stream = append(stream, 0, 0, 0)
		} else if rapid.Bool().Draw(t, "open") {
			stream = stream[:len(stream)-2]
		}
		got, err := decodeJPEGLS(stream, m.frame())
		if err != nil || !slices.Equal(got, m.pix) {
			t.Fatalf("decoded otherwise: %v", err)
		}
		cut := rapid.IntRange(0, enough).Draw(t, "cut")
		if got, err := decodeJPEGLS(stream[:cut], m.frame()); err == nil || fault.ReasonOf(err) != ReasonTruncated || got != nil {
			t.Fatalf("cut at %d of %d: %v", cut, len(stream), err)
		}
	})
}

func TestJPEGLSRefusals(t *testing.T) {
	m := &lsImage{rows: 5, columns: 8, samples: 3, precision: 8, interleave: lsInterleaveLine, preset: lsPreset{t1: 3}, restart: 2}
	m.pix = make([]uint16, 5*8*3)
	for i := range m.pix {
		m.pix[i] = uint16(i * i % 200)
	}
	whole, frame := lsEncode(m), m.frame()
	sof, lse := bytes.Index(whole, []byte{0xff, lsSOF55}), bytes.Index(whole, []byte{0xff, lsLSE})
	dri, sos := bytes.Index(whole, []byte{0xff, lsDRI}), bytes.Index(whole, []byte{0xff, lsSOS})
	edit := func(at int, with ...byte) []byte {
		b := slices.Clone(whole)
		copy(b[at:], with)
		return b
	}
	insert := func(with ...byte) []byte { return slices.Insert(slices.Clone(whole), 2, with...) }
	for name, tc := range map[string]struct {
		data   []byte
		frame  Frame
		reason fault.Reason
	}{
		"other rows":       {whole, Frame{Rows: 6, Columns: 8, Samples: 3, BitsAllocated: 8}, ReasonMismatch},
		"other columns":    {whole, Frame{Rows: 5, Columns: 9, Samples: 3, BitsAllocated: 8}, ReasonMismatch},
		"grey":             {whole, Frame{Rows: 5, Columns: 8, Samples: 1, BitsAllocated: 8}, ReasonMismatch},
		"no size":          {whole, Frame{Samples: 3, BitsAllocated: 8}, ReasonMismatch},
		"deep":             {edit(sof+4, 12), frame, ReasonMismatch},
		"too deep":         {edit(sof+4, 17), frame, ReasonCodestream},
		"length of SOF55":  {edit(sof+9, 2), frame, ReasonCodestream},
		"same components":  {edit(sof+13, 1), frame, ReasonCodestream},
		"sampling":         {edit(sof+14, 0x22), frame, ReasonCodestream},
		"another SOF":      {edit(sof+1, 0xc0), frame, ReasonCodestream},
		"mapping table":    {edit(lse+4, 2), frame, ReasonCodestream},
		"type of LSE":      {edit(lse+4, 9), frame, ReasonCodestream},
		"length of LSE":    {edit(lse+3, 12), frame, ReasonCodestream},
		"MAXVAL":           {edit(lse+5, 1, 0), frame, ReasonCodestream},
		"thresholds":       {edit(lse+7, 0, 200), frame, ReasonCodestream},
		"RESET":            {edit(lse+13, 0, 2), frame, ReasonCodestream},
		"length of DRI":    {edit(dri+3, 7), frame, ReasonCodestream},
		"mapping in SOS":   {edit(sos+6, 1), frame, ReasonCodestream},
		"stranger":         {edit(sos+5, 9), frame, ReasonCodestream},
		"twice":            {edit(sos+7, 1), frame, ReasonCodestream},
		"NEAR":             {edit(sos+11, 128), frame, ReasonCodestream},
		"interleave":       {edit(sos+12, 3), frame, ReasonCodestream},
		"not interleaved":  {edit(sos+12, 0), frame, ReasonCodestream},
		"point transform":  {edit(sos+13, 1), frame, ReasonCodestream},
		"restart interval": {edit(dri+5, 1), frame, ReasonCodestream},
		"restart number":   {bytes.Replace(whole, []byte{0xff, lsRST0}, []byte{0xff, lsRST0 + 1}, 1), frame, ReasonCodestream},
		"no JPEG-LS":       {[]byte("no JPEG-LS\xff\xd9"), frame, ReasonCodestream},
		"empty":            {nil, frame, ReasonTruncated},
		"EOI at once":      {insert(0xff, lsEOI), frame, ReasonCodestream},
		"garbage":          {insert(0), frame, ReasonCodestream},
		"short segment":    {insert(0xff, lsCOM, 0, 1), frame, ReasonCodestream},
		"colours of HP":    {insert(0xff, lsAPP8, 0, 7, 'm', 'r', 'f', 'x', 1), frame, ReasonCodestream},
		"SOS first":        {slices.Concat(whole[:2], whole[sos:]), frame, ReasonCodestream},
		"data left":        {slices.Concat(whole[:len(whole)-2], []byte{1, 2, 3, 0xff, lsEOI}), frame, ReasonCodestream},
		"huge":             {[]byte("\xff\xd8\xff\xf7\x00\x0b\x10\xff\xff\xff\xff\x01\x01\x11\x00"), Frame{Rows: 65535, Columns: 65535, Samples: 1, BitsAllocated: 16}, ReasonTruncated},
	} {
		if got, err := decodeJPEGLS(tc.data, tc.frame); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != tc.reason || got != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := edit(sof+5, 0, 0, 0, 0) // both sizes
	large = slices.Insert(large, 2, 0xff, lsLSE, 0, 10, 4, 3, 0, 0, 5, 0, 0, 8)
	if got, err := decodeJPEGLS(large, frame); err != nil || !slices.Equal(got, m.pix) {
		t.Errorf("the size in LSE: %v", err)
	}
}

func FuzzJPEGLS(f *testing.F) {
	f.Add(lsExampleStream(f), uint16(4), uint16(4), uint8(1))
	for i := range 12 {
		m := &lsImage{rows: 9, columns: 21, samples: 1 + 2*(i&1), precision: 2 + i, near: i % 3 / 2, restart: 4 * (i & 2), interleave: byte(i&1) * byte(1+i%3/2)}
		m.pix = make([]uint16, m.rows*m.columns*m.samples)
		for j := range m.pix {
			m.pix[j] = uint16(j*j/7) >> 3 & (1<<m.precision - 1)
		}
		f.Add(lsEncode(m), uint16(m.rows), uint16(m.columns), uint8(m.samples))
	}
	lsRealFiles(f, func(row map[string]string, frames [][]byte, frame Frame) {
		if len(frames[0]) < 20000 {
			f.Add(frames[0], uint16(frame.Rows), uint16(frame.Columns), uint8(frame.Samples))
		}
	})
	f.Fuzz(func(t *testing.T, data []byte, rows, columns uint16, samples uint8) {
		if int(rows)*int(columns) > 1<<20 {
			return
		}
		frame := Frame{Rows: int(rows), Columns: int(columns), Samples: int(samples), BitsAllocated: 16, BitsStored: 16}
		got, err := decodeJPEGLS(data, frame)
		if err == nil && len(got) != frame.Rows*frame.Columns*frame.Samples {
			t.Fatal("other than the declared number of samples")
		}
		if err != nil && (got != nil || fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) == "") {
			t.Fatalf("an error without its reason: %v", err)
		}
	})
}

// lsRealFiles calls do for each JPEG-LS file of the shared collection, with the codestream
// of each frame. It is false if the collection is not there.
func lsRealFiles(t testing.TB, do func(row map[string]string, frames [][]byte, frame Frame)) bool {
	t.Helper()
	rows := realdata.Table(t, "dicom/manifest.csv")
	for _, row := range rows {
		if syntax := row["transfer_syntax_uid"]; syntax != "1.2.840.10008.1.2.4.80" && syntax != "1.2.840.10008.1.2.4.81" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(realdata.Dir(t), "dicom", row["file"]))
		if err != nil {
			t.Fatal(err)
		}
		number := func(name string) int {
			if row[name] == "" {
				return 1 // Number of Frames may be left out
			}
			n, err := strconv.Atoi(row[name])
			if err != nil {
				t.Fatalf("%s: %s: %v", row["file"], name, err)
			}
			return n
		}
		do(row, lsFrames(t, data, number("frames")), Frame{
			Rows: number("rows"), Columns: number("columns"), Samples: number("samples_per_pixel"),
			BitsAllocated: number("bits_allocated"), BitsStored: number("bits_stored"), Signed: row["pixel_representation"] == "1",
		})
	}
	return rows != nil
}

// lsFrames joins the fragments of encapsulated pixel data (PS3.5 section A.4): all of them
// for one frame, else one for each.
func lsFrames(t testing.TB, data []byte, frames int) (joined [][]byte) {
	t.Helper()
	at := bytes.LastIndex(data, []byte("\xe0\x7f\x10\x00O"))
	if at < 0 {
		t.Fatal("no encapsulated pixel data")
	}
	for at += 12; bytes.HasPrefix(data[at:], []byte("\xfe\xff\x00\xe0")); {
		n := int(binary.LittleEndian.Uint32(data[at+4:]))
		joined = append(joined, data[at+8:at+8+n])
		at += 8 + n
	}
	joined = joined[1:] // without the offset table
	if frames == 1 {
		return [][]byte{slices.Concat(joined...)}
	}
	if len(joined) != frames {
		t.Fatalf("%d fragments for %d frames", len(joined), frames)
	}
	return joined
}

func TestJPEGLSRealFiles(t *testing.T) {
	files := 0
	found := lsRealFiles(t, func(row map[string]string, frames [][]byte, frame Frame) {
		files++
		signed := frame.Signed && row["file"] != "pydicom-data_JLSL_16_15_1_1F.dcm" // its figures are of the samples as coded
		var all []byte
		for _, codestream := range frames {
			values, err := decodeJPEGLS(codestream, frame)
			if err != nil {
				t.Errorf("%s: %v", row["file"], err)
				return
			}
			for _, v := range values {
				if unused := 16 - frame.BitsStored; signed {
					v = uint16(int16(v<<unused) >> unused)
				}
				if all = append(all, byte(v)); frame.BitsAllocated > 8 {
					all = append(all, byte(v>>8))
				}
			}
		}
		if sum := sha256.Sum256(all); hex.EncodeToString(sum[:]) != row["px_sha256"] {
			t.Errorf("%s: the samples differ from the reference", row["file"])
		}
	})
	if found && files == 0 {
		t.Fatal("the collection has no JPEG-LS file")
	}
}

// BenchmarkJPEGLS decodes films of the size and depth of a detector: a smooth chest with
// noise, in a black frame.
func BenchmarkJPEGLS(b *testing.B) {
	for name, near := range map[string]int{"lossless": 0, "near": 2} {
		b.Run(name, func(b *testing.B) {
			m := &lsImage{rows: 2560, columns: 2048, samples: 1, precision: 12, near: near, pix: make([]uint16, 2560*2048)}
			r := rand.New(rand.NewPCG(1, 2))
			for i := range m.pix {
				y, x := i/2048-1280, i%2048-1024
				if v := 3000 - x*x/600 - y*y/900; x*x < 900*900 && v > 0 {
					m.pix[i] = uint16(max(v+int(12*r.NormFloat64()), 0))
				}
			}
			stream := lsEncode(m)
			b.SetBytes(int64(2 * len(m.pix)))
			for b.Loop() {
				if _, err := decodeJPEGLS(stream, m.frame()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(8*float64(len(stream))/float64(len(m.pix)), "bits/sample")
		})
	}
}
