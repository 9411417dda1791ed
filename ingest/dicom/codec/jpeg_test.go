package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
)

// jpegWriter writes marker segments and entropy-coded data.
type jpegWriter struct {
	out  []byte
	acc  uint64
	n    uint
	fill bool // write fill bytes before markers
}

func (w *jpegWriter) marker(m byte) {
	if w.fill {
		w.out = append(w.out, 0xFF, 0xFF)
	}
	w.out = append(w.out, 0xFF, m)
}

func (w *jpegWriter) segment(m byte, p ...byte) {
	w.marker(m)
	w.out = binary.BigEndian.AppendUint16(w.out, uint16(len(p)+2))
	w.out = append(w.out, p...)
}

func (w *jpegWriter) put(v uint32, n uint) {
	for i := range n {
		w.acc, w.n = w.acc<<1|uint64(v>>(n-1-i)&1), w.n+1
		if w.n == 8 {
			w.out = append(w.out, byte(w.acc))
			if byte(w.acc) == 0xFF {
				w.out = append(w.out, 0)
			}
			w.n = 0
		}
	}
}

// flush pads the last byte with ones (T.81 F.1.2.3).
func (w *jpegWriter) flush() {
	for w.n != 0 {
		w.put(1, 1)
	}
}

// jpegCodes are the codes of a Huffman table for the writer.
type jpegCodes struct {
	counts  [16]byte
	symbols []byte
	code    [256]uint32
	length  [256]uint
}

// newJPEGCodes assigns the codes in the order of T.81 figure C.2.
func newJPEGCodes(counts [16]byte, symbols []byte) *jpegCodes {
	t := &jpegCodes{counts: counts, symbols: symbols}
	code, i := uint32(0), 0
	for length, n := range counts {
		for range n {
			if i == len(symbols) {
				t.counts[length] -= n // the template has codes to spare
				for k := length + 1; k < 16; k++ {
					t.counts[k] = 0
				}
				used := 0
				for _, c := range t.counts {
					used += int(c)
				}
				t.counts[length] = byte(len(symbols) - used)
				return t
			}
			t.code[symbols[i]], t.length[symbols[i]] = code, uint(length+1)
			code++
			i++
		}
		code <<= 1
	}
	return t
}

func (t *jpegCodes) segment(w *jpegWriter, to byte) {
	w.segment(jpegDHT, append(append([]byte{to}, t.counts[:]...), t.symbols...)...)
}

// value writes a symbol whose low bits are the category of v, and the bits of v.
func (t *jpegCodes) value(w *jpegWriter, high byte, v int) {
	n := uint(0)
	for m := max(v, -v); m != 0; m >>= 1 {
		n++
	}
	sym := high<<4 | byte(n)
	w.put(t.code[sym], t.length[sym])
	if n == 16 {
		return
	}
	if v < 0 {
		v += 1<<n - 1
	}
	w.put(uint32(v), n)
}

// Counts of codes by length for 17 symbols: of 2 to 16 bits, and all of 5 bits.
var (
	jpegLongCodes = [16]byte{0, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	jpegFlatCodes = [16]byte{0, 0, 0, 0, 17}
)

// jpegFrames joins the fragments of each frame of encapsulated pixel data (PS3.5 A.4). The
// pixel data is the last element of its tag: an icon image may stand before.
func jpegFrames(file []byte) (frames [][]byte) {
	at := -1
	for _, vr := range []string{"OB\x00\x00", "OW\x00\x00", ""} { // without VR, against the standard
		start := []byte("\xE0\x7F\x10\x00" + vr + "\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0")
		if i := bytes.LastIndex(file, start); i >= 0 {
			at = max(at, i+len(start)-4)
		}
	}
	if at < 0 {
		return nil
	}
	rest := file[at:]
	for i := 0; len(rest) >= 8 && binary.LittleEndian.Uint32(rest) == 0xE000FFFE; i++ {
		n := min(int(binary.LittleEndian.Uint32(rest[4:])), len(rest)-8)
		fragment := rest[8 : 8+n]
		rest = rest[8+n:]
		switch {
		case i == 0: // the offset table
		case len(frames) == 0 || bytes.HasPrefix(fragment, []byte{0xFF, jpegSOI, 0xFF}):
			frames = append(frames, bytes.Clone(fragment))
		default:
			frames[len(frames)-1] = append(frames[len(frames)-1], fragment...)
		}
	}
	return frames
}

// jpegRealFile is a collected DICOM file with JPEG frames.
type jpegRealFile struct {
	name     string
	row      map[string]string
	lossless bool
	frame    Frame
	streams  [][]byte
}

// jpegRealFiles reads the collected files.
func jpegRealFiles(t testing.TB) (files []jpegRealFile) {
	t.Helper()
	for _, row := range realdata.Table(t, "dicom/manifest.csv") {
		syntax := row["transfer_syntax_uid"]
		lossless := syntax == "1.2.840.10008.1.2.4.57" || syntax == "1.2.840.10008.1.2.4.70"
		if !lossless && syntax != "1.2.840.10008.1.2.4.50" && syntax != "1.2.840.10008.1.2.4.51" && syntax != "1.2.840.10008.1.2.4.55" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(realdata.Dir(t), "dicom", row["file"]))
		if err != nil {
			t.Fatal(err)
		}
		number := func(name string) int {
			n, _ := strconv.Atoi(row[name])
			return n
		}
		files = append(files, jpegRealFile{row["file"], row, lossless, Frame{
			Rows: number("rows"), Columns: number("columns"), Samples: number("samples_per_pixel"),
			BitsAllocated: number("bits_allocated"), BitsStored: number("bits_stored"), Signed: number("pixel_representation") == 1,
		}, jpegFrames(data)})
	}
	return files
}

// TestJPEGRealFiles holds the decoders against the figures of the reference decoder.
func TestJPEGRealFiles(t *testing.T) {
	exact, near, free := 0, 0, 0
	for _, f := range jpegRealFiles(t) {
		decode := decodeJPEGDCT
		if f.lossless {
			decode = decodeJPEGLossless
		}
		var all []uint16
		var err error
		for _, stream := range f.streams {
			var px []uint16
			if px, err = decode(stream, f.frame); err != nil {
				break
			}
			all = append(all, px...)
		}
		if f.row["px_sha256"] == "" {
			// No image, or one that was coded with a wrong predictor 6 and decodes to
			// something else than was meant, which the codestream does not show.
			if err != nil && fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", f.name, err)
			}
			free++
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		low, high, sum := math.MaxInt, math.MinInt, 0
		var raw []byte
		for _, p := range all {
			v := int(p)
			if f.frame.Signed {
				v = int(int16(p))
			}
			low, high, sum = min(low, v), max(high, v), sum+v
			raw = append(raw, byte(p))
			if f.frame.BitsAllocated > 8 {
				raw = append(raw, byte(p>>8))
			}
		}
		digest := sha256.Sum256(raw)
		mean := float64(sum) / float64(len(all))
		wantLow, _ := strconv.Atoi(f.row["px_min"])
		wantHigh, _ := strconv.Atoi(f.row["px_max"])
		wantMean, _ := strconv.ParseFloat(f.row["px_mean"], 64)
		switch {
		case hex.EncodeToString(digest[:]) == f.row["px_sha256"]:
			exact++
		case f.lossless:
			t.Errorf("%s: %d to %d, mean %.4f, other digest than the reference", f.name, low, high, mean)
		case max(low-wantLow, wantLow-low, high-wantHigh, wantHigh-high) > 2 || math.Abs(mean-wantMean) > 0.1:
			t.Errorf("%s: %d to %d, mean %.4f, want %d to %d, mean %.4f", f.name, low, high, mean, wantLow, wantHigh, wantMean)
		default:
			t.Logf("%s: near", f.name)
			near++
		}
	}
	t.Logf("%d files equal the reference bit for bit, %d nearly, %d have no reference", exact, near, free)
}
