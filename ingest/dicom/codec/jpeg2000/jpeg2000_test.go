package jpeg2000_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/dicom/codec/jpeg2000"
	"github.com/radstream/radstream/schemas/fault"
)

var update = flag.Bool("update", false, "rewrite testdata/goldens.txt")

// testdata holds codestreams of the synthetic picture: those of opj_compress (OpenJPEG 2.5.0)
// with one option or more of the standard each, and ht_* of OpenJPH 0.26.3. In ht_passes* and
// ht_placeholder* the LL code-block got random refinement passes or placeholders by hand.
// When the goldens were written, what the files decode to, was equal to
// what OpenJPEG, or for ht_placeholder* OpenJPH, makes of them; within 1 where lossy.
const testdata = "testdata"

func codestreams(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testdata, "*.j2k"))
	if err != nil || len(files) == 0 {
		t.Fatal("no codestreams", err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".j2k")] = data
	}
	return all
}

// declared returns the size that the SIZ marker holds, or a size that nothing has.
func declared(data []byte) jpeg2000.Limits {
	at := bytes.Index(data, []byte("\xff\x4f\xff\x51"))
	if at < 0 || len(data) < at+42 {
		return jpeg2000.Limits{Rows: 1, Columns: 1, Components: 1}
	}
	u32 := func(i int) int { return int(binary.BigEndian.Uint32(data[at+i:])) }
	return jpeg2000.Limits{
		Rows: u32(12) - u32(20), Columns: u32(8) - u32(16),
		Components: int(binary.BigEndian.Uint16(data[at+40:])),
	}
}

// synthetic returns component c of the picture that was encoded: a ramp, a disc and noise, in
// integers only.
func synthetic(c, w, h, precision int, signed bool) []int32 {
	out := make([]int32, 0, w*h)
	levels := 1 << precision
	for y := range h {
		for x := range w {
			r := uint64(y*w+x+7919+c*104729) * 2654435761 & 0xffffffff >> 13
			noise := int(r*r*40503>>7) % max(1, levels/32)
			v := (x*(3+c)+y*(5-c))*levels/((3+c)*w+(5-c)*h+1)*2/3 + noise
			if dx, dy, radius := x-w/2, y-h/3, min(w, h)/4; dx*dx+dy*dy < radius*radius {
				v += levels / 3
			}
			v = min(v, levels-1)
			if signed {
				v -= levels / 2
			}
			out = append(out, int32(v))
		}
	}
	return out
}

// values are the samples of a plane as numbers.
func values(img *jpeg2000.Image, plane []uint16) []int32 {
	out := make([]int32, len(plane))
	for i, v := range plane {
		if out[i] = int32(v); img.Signed {
			out[i] = int32(int16(v))
		}
	}
	return out
}

func digest(img *jpeg2000.Image) string {
	h := sha256.New()
	for _, plane := range img.Planes {
		for _, v := range plane {
			if img.Precision <= 8 {
				h.Write([]byte{byte(v)})
			} else {
				h.Write([]byte{byte(v), byte(v >> 8)})
			}
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestSynthetic(t *testing.T) {
	path := filepath.Join(testdata, "goldens.txt")
	goldens := map[string]string{}
	if !*update {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var name, sum string
			if _, err := fmt.Sscan(line, &name, &sum); err != nil {
				t.Fatal(err)
			}
			goldens[name] = sum
		}
	}
	var lines []string
	for name, data := range codestreams(t) {
		img, err := jpeg2000.Decode(data, declared(data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sum := digest(img)
		lines = append(lines, name+" "+sum+"\n")
		if !*update && goldens[name] != sum {
			t.Errorf("%s: sha256 %s, want %s", name, sum, goldens[name])
		}
		if !strings.Contains(name, "passes") && !strings.Contains(name, "placeholder") {
			checkSource(t, name, img)
		}
	}
	if *update {
		slices.Sort(lines)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSource compares img with the picture that was encoded.
func checkSource(t *testing.T, name string, img *jpeg2000.Image) {
	t.Helper()
	precision := img.Precision
	if name == "ht_gray12" || name == "ht_lossy12" {
		precision = 12 // in a codestream of 16
	}
	for c, plane := range img.Planes {
		want := synthetic(c, img.Width, img.Height, precision, img.Signed)
		plane := values(img, plane)
		if !strings.Contains(name, "lossy") {
			if !slices.Equal(plane, want) {
				t.Errorf("%s: component %d is not what was encoded", name, c)
			}
			continue
		}
		sum := 0
		for i, v := range plane {
			sum += max(int(v-want[i]), int(want[i]-v))
		}
		if mean := float64(sum) / float64(len(plane)); mean > float64(int(1)<<precision)/50 {
			t.Errorf("%s: component %d is off by %.2f in the mean", name, c, mean)
		}
	}
}

func TestTruncated(t *testing.T) {
	all := codestreams(t)
	for _, name := range []string{"gray8", "layers", "cprl_prec", "jp2", "ht_gray8", "ht_passes3"} {
		data := all[name]
		limit := declared(data)
		for n := 0; n < len(data)-2; n += 1 + n/20 {
			if _, err := jpeg2000.Decode(data[:n], limit); fault.ReasonOf(err) != "truncated" || fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%s cut at %d of %d: %v", name, n, len(data), err)
			}
		}
		for _, whole := range [][]byte{data[:len(data)-2], data[:len(data)-1], append(bytes.Clone(data[:len(data)-2]), 0), append(bytes.Clone(data), 0)} {
			if _, err := jpeg2000.Decode(whole, limit); err != nil {
				t.Errorf("%s without its EOC marker or padded: %v", name, err)
			}
		}
	}
}

// TestProgressionChange splits the layers of a codestream into three progressions of POC,
// which leaves its packets in order.
func TestProgressionChange(t *testing.T) {
	data := codestreams(t)["layers"]
	limit := declared(data)
	want, err := jpeg2000.Decode(data, limit)
	if err != nil {
		t.Fatal(err)
	}
	poc := []byte{0xff, 0x5f, 0, 23}
	for layer := range byte(3) {
		poc = append(poc, 0, 0, 0, layer+1, 33, 1, 0)
	}
	sot := bytes.Index(data, []byte("\xff\x90\x00\x0a"))
	got, err := jpeg2000.Decode(slices.Insert(bytes.Clone(data), sot, poc...), limit)
	if err != nil || !slices.Equal(got.Planes[0], want.Planes[0]) {
		t.Fatal("decoded otherwise", err)
	}
	poc[4+17] = 2 // the last progression stops short
	if _, err := jpeg2000.Decode(slices.Insert(bytes.Clone(data), sot, poc...), limit); fault.ReasonOf(err) != "malformed_codestream" {
		t.Error(err)
	}
}

// TestManyProgressions: precincts that are read are not sorted again for each of a thousand
// progressions, and what has too few bytes for its packets costs nothing.
func TestManyProgressions(t *testing.T) {
	const side, progressions = 512, 1000
	be := binary.BigEndian
	codestream := func(packets int) []byte {
		b := []byte{0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0}
		for _, v := range []uint32{side, side, 0, 0, side, side, 0, 0} {
			b = be.AppendUint32(b, v)
		}
		b = append(b, 0, 1, 7, 1, 1)
		b = append(b, 0xff, 0x52, 0, 14, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0x33, 0x34) // precincts of 8 x 8 and 16 x 8
		b = append(b, 0xff, 0x5c, 0, 7, 0x40, 8<<3, 9<<3, 9<<3, 10<<3)
		b = be.AppendUint16(append(b, 0xff, 0x5f), 2+7*progressions)
		for range progressions {
			b = append(b, 0, 0, 0xff, 0xff, 33, 1, 3)
		}
		b = be.AppendUint32(append(b, 0xff, 0x90, 0, 10, 0, 0), uint32(14+packets))
		b = append(append(b, 0, 1, 0xff, 0x93), make([]byte, packets)...)
		return append(b, 0xff, 0xd9)
	}
	allocated := func(data []byte) (mib uint64, err error) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = jpeg2000.Decode(data, jpeg2000.Limits{Rows: side, Columns: side, Components: 1})
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) >> 20, err
	}
	if mib, err := allocated(codestream(8000)); err != nil || mib > 16 {
		t.Errorf("%d MiB, %v", mib, err)
	}
	if mib, err := allocated(codestream(10)); fault.KindOf(err) != fault.Invalid || mib > 8 {
		t.Errorf("without packets: %d MiB, %v", mib, err)
	}
}

func TestRefusals(t *testing.T) {
	all := codestreams(t)
	gray, rgb, ht := all["gray8"], all["rgb8"], all["ht_gray8"]
	marker := func(data []byte, code byte) int { return bytes.Index(data, []byte{0xff, code}) }
	edit := func(data []byte, at int, with ...byte) []byte {
		b := bytes.Clone(data)
		copy(b[at:], with)
		return b
	}
	cod, qcd, sot := marker(gray, 0x52), marker(gray, 0x5c), bytes.Index(gray, []byte{0xff, 0x90, 0, 10})
	rows := func(l jpeg2000.Limits) jpeg2000.Limits { l.Rows++; return l }
	three := func(l jpeg2000.Limits) jpeg2000.Limits { l.Components = 3; return l }
	same := func(l jpeg2000.Limits) jpeg2000.Limits { return l }
	for name, tc := range map[string]struct {
		data   []byte
		limit  func(jpeg2000.Limits) jpeg2000.Limits
		reason fault.Reason
	}{
		"other rows":       {gray, rows, "codestream_mismatch"},
		"no colour":        {gray, three, "codestream_mismatch"},
		"no codestream":    {[]byte("no codestream at all"), same, "malformed_codestream"},
		"no SIZ":           {edit(gray, 2, 0xff, 0x64), same, "malformed_codestream"},
		"no COD":           {edit(gray, cod, 0xff, 0x64), same, "malformed_codestream"},
		"no QCD":           {edit(gray, qcd, 0xff, 0x64), same, "malformed_codestream"},
		"large blocks":     {edit(gray, cod+10, 9), same, "malformed_codestream"},
		"no progression":   {edit(gray, cod+5, 5), same, "malformed_codestream"},
		"no layers":        {edit(gray, cod+6, 0, 0), same, "malformed_codestream"},
		"many layers":      {edit(gray, cod+6, 0xff, 0xff), same, "truncated"},
		"colour of grey":   {edit(gray, cod+8, 1), same, "malformed_codestream"},
		"5/3 quantized":    {edit(gray, qcd+4, 0x41), same, "malformed_codestream"},
		"no second tile":   {edit(gray, 2+4+18, 0, 0, 0, 32), same, "truncated"},
		"other tile":       {edit(gray, sot+5, 1), same, "malformed_codestream"},
		"other part":       {edit(gray, sot+10, 1), same, "malformed_codestream"},
		"subsampled":       {edit(gray, 2+4+37, 2), same, "unsupported_codestream"},
		"unequal depth":    {edit(rgb, 2+4+39, 6), same, "unsupported_codestream"},
		"deep":             {edit(gray, 2+4+36, 37), same, "unsupported_codestream"},
		"packed headers":   {edit(gray, marker(gray, 0x64), 0xff, 0x60), same, "unsupported_codestream"},
		"other capability": {edit(ht, marker(ht, 0x50)+4, 0x80), same, "unsupported_codestream"},
		"mixed blocks":     {edit(ht, marker(ht, 0x52)+12, 0xc0), same, "unsupported_codestream"},
	} {
		_, err := jpeg2000.Decode(tc.data, tc.limit(declared(sized(tc.data, gray))))
		kind := fault.Invalid
		if tc.reason == "unsupported_codestream" {
			kind = fault.Unsupported
		}
		if fault.ReasonOf(err) != tc.reason || fault.KindOf(err) != kind {
			t.Errorf("%s: %v, want %s", name, err, tc.reason)
		}
	}
}

// sized is data, or fallback where data declares no size.
func sized(data, fallback []byte) []byte {
	if bytes.HasPrefix(data, []byte("\xff\x4f\xff\x51")) {
		return data
	}
	return fallback
}

func FuzzDecode(f *testing.F) {
	for _, data := range codestreams(f) {
		if len(data) < 4000 {
			f.Add(data)
			f.Add(data[:len(data)/2])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		limit := declared(data)
		if limit.Rows <= 0 || limit.Columns <= 0 || limit.Rows > 1<<10 || limit.Columns > 1<<10 || limit.Components > 4 {
			return
		}
		img, err := jpeg2000.Decode(data, limit)
		if err != nil {
			if fault.ReasonOf(err) == "" || img != nil {
				t.Fatalf("%v has no reason, or a picture with it", err)
			}
			return
		}
		low, high := int32(0), int32(1)<<img.Precision-1
		if img.Signed {
			low, high = -1<<(img.Precision-1), 1<<(img.Precision-1)-1
		}
		if len(img.Planes) != limit.Components {
			t.Fatal("a component is missing")
		}
		for _, plane := range img.Planes {
			plane := values(img, plane)
			if len(plane) != img.Width*img.Height || slices.Min(plane) < low || slices.Max(plane) > high {
				t.Fatal("a plane is not of its size or precision")
			}
		}
	})
}

// BenchmarkDecode decodes the codestream that RADSTREAM_BENCH_J2K names.
func BenchmarkDecode(b *testing.B) {
	path := os.Getenv("RADSTREAM_BENCH_J2K")
	if path == "" {
		b.Skip("set RADSTREAM_BENCH_J2K to the path of a codestream")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	limit := declared(data)
	b.SetBytes(int64(2 * limit.Rows * limit.Columns * limit.Components))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jpeg2000.Decode(data, limit); err != nil {
			b.Fatal(err)
		}
	}
}
