package dicom_test

import (
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/schemas/fault"
)

// realData returns the folder of the collected DICOM files and its manifest by column.
func realData(t testing.TB) (dir string, rows []map[string]string) {
	t.Helper()
	root := os.Getenv("RADSTREAM_DATA")
	if root == "" {
		root = "../../../shared/data"
	}
	dir = filepath.Join(root, "dicom")
	in, err := os.Open(filepath.Join(dir, "manifest.csv"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the real DICOM files are needed: set RADSTREAM_DATA")
		}
		t.Logf("NOT RUN: the real DICOM files are not there; set RADSTREAM_DATA")
		return "", nil
	}
	defer in.Close()
	records, err := csv.NewReader(in).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = record[i]
		}
		rows = append(rows, row)
	}
	return dir, rows
}

// TestCollection decodes every collected file: the stored values must be those of the
// reference decoder, or the file must be refused for a reason that is true of it.
func TestCollection(t *testing.T) {
	dir, rows := realData(t)
	counts := map[string]int{}
	for _, row := range rows {
		t.Run(row["file"], func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, row["file"]))
			if err != nil {
				t.Fatal(err)
			}
			outcome, err := check(data, row)
			if err != nil {
				t.Error(err)
			}
			counts[outcome]++
		})
	}
	var lines []string
	for outcome, n := range counts {
		lines = append(lines, fmt.Sprintf("%3d %s", n, outcome))
	}
	sort.Strings(lines)
	t.Logf("%d files:\n%s", len(rows), strings.Join(lines, "\n"))
}

func check(data []byte, row map[string]string) (outcome string, err error) {
	f, err := dicom.Parse(data)
	var p *dicom.Pixels
	if err == nil {
		p, err = f.Pixels(codec.Standard())
	}
	if err != nil {
		reason := fault.ReasonOf(err)
		if truth, known := refusals[reason]; !known || !truth(row) {
			return string(reason), fmt.Errorf("refused with %q, which is not true of it: %v", reason, err)
		}
		return fmt.Sprintf("%s %s", fault.KindOf(err), reason), nil
	}
	s := p.Stats()
	wantMean, _ := strconv.ParseFloat(row["px_mean"], 64)
	wantMin, _ := strconv.Atoi(row["px_min"])
	wantMax, _ := strconv.Atoi(row["px_max"])
	if row["px_mean"] == "" {
		return "", fmt.Errorf("decoded, but the reference decoder refuses it (%s)", row["quirk"])
	}
	if f.TransferSyntax == codec.JPEGBaseline {
		if math.Abs(s.Mean-wantMean) > 0.1 || max(s.Min-wantMin, wantMin-s.Min, s.Max-wantMax, wantMax-s.Max) > 2 {
			return "", fmt.Errorf("min %d max %d mean %.4f, want %d %d %.4f", s.Min, s.Max, s.Mean, wantMin, wantMax, wantMean)
		}
		return "decoded, lossy within 2 levels", nil
	}
	if s.Min != wantMin || s.Max != wantMax || math.Abs(s.Mean-wantMean) > 1e-4 || hex.EncodeToString(s.SHA256[:]) != row["px_sha256"] {
		return "", fmt.Errorf("min %d max %d mean %.4f sha256 %x, want %d %d %.4f %s", s.Min, s.Max, s.Mean, s.SHA256, wantMin, wantMax, wantMean, row["px_sha256"])
	}
	return "decoded, equal", nil
}

// refusals says for each reason how a row of the manifest shows it to be true.
var refusals = map[fault.Reason]func(row map[string]string) bool{
	dicom.ReasonSyntax: func(row map[string]string) bool {
		switch row["transfer_syntax_uid"] {
		case "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", codec.JPEGBaseline:
			return false
		}
		return true
	},
	dicom.ReasonColor:      func(row map[string]string) bool { return row["samples_per_pixel"] == "3" },
	dicom.ReasonMultiFrame: func(row map[string]string) bool { return row["frames"] != "" && row["frames"] != "1" },
	dicom.ReasonNoPixels:   func(row map[string]string) bool { return row["pixel_data"] == "no" },
	dicom.ReasonFloat:      func(row map[string]string) bool { return strings.Contains(row["quirk"], "FloatPixelData") },
	dicom.ReasonBits: func(row map[string]string) bool {
		return row["bits_allocated"] != "8" && row["bits_allocated"] != "16"
	},
	dicom.ReasonNoSize:    func(row map[string]string) bool { return row["rows"] == "" },
	dicom.ReasonTruncated: func(row map[string]string) bool { return contains(row["quirk"], "truncated", "shorter", "cut at") },
	dicom.ReasonMalformed: func(row map[string]string) bool { return contains(row["quirk"], "invalid", "malformed") },
	dicom.ReasonNotDICOM:  func(row map[string]string) bool { return contains(row["quirk"], "stray byte") },
}

func contains(s string, any ...string) bool {
	for _, a := range any {
		if strings.Contains(s, a) {
			return true
		}
	}
	return false
}

// TestHeaders compares the attributes of every collected file that can be walked.
func TestHeaders(t *testing.T) {
	dir, rows := realData(t)
	for _, row := range rows {
		data, err := os.ReadFile(filepath.Join(dir, row["file"]))
		if err != nil {
			t.Fatal(err)
		}
		h, err := dicom.ParseHeader(data)
		if row["rows"] == "" || err != nil {
			continue
		}
		number := func(n, absent int, name string) {
			want := row[name]
			if want == "" {
				want = strconv.Itoa(absent)
			}
			if strconv.Itoa(n) != want {
				t.Errorf("%s: %s is %d, want %s", row["file"], name, n, want)
			}
		}
		number(h.Rows, 0, "rows")
		number(h.Columns, 0, "columns")
		number(h.Samples, 1, "samples_per_pixel")
		number(h.BitsAllocated, 0, "bits_allocated")
		number(h.BitsStored, h.BitsAllocated, "bits_stored")
		if row["frames"] != "1A" {
			number(h.Frames, 1, "frames")
		}
		for name, got := range map[string]string{"modality": h.Modality, "photometric": h.Photometric, "view_position": h.ViewPosition, "body_part": h.BodyPart} {
			if got != row[name] {
				t.Errorf("%s: %s is %q, want %q", row["file"], name, got, row[name])
			}
		}
	}
}

func TestChestHeader(t *testing.T) {
	dir, rows := realData(t)
	if rows == nil {
		return
	}
	data, err := os.ReadFile(filepath.Join(dir, "torchxrayvision_chest_pa.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := dicom.ParseHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	if h.StudyUID == "" || h.SeriesUID == "" || h.InstanceUID == "" || h.PatientID == "" || h.SOPClass == "" || h.StudyTime.IsZero() {
		t.Errorf("identifiers are missing: %+v", h)
	}
}

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
			StudyUID: "1.2.3", SeriesUID: "1.2.3.1", InstanceUID: "1.2.3.1.1", PatientID: "P1", Accession: "A1", StudyTime: f.StudyTime,
			ViewPosition: "LL", Orientation: []string{"P", "F"}, Laterality: "L", Rows: 5, Columns: 7, Frames: 1, Samples: 1,
			BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: "MONOCHROME1", Slope: 2, Intercept: -10,
			WindowCenter: 2000.5, WindowWidth: 3000,
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
		{"bits", edit(t, film(), func(b []byte) []byte { set(t, b, 0x28, 0x100, 32); return b }), fault.Unsupported, dicom.ReasonBits},
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
	for charset, patient := range map[string]string{"ISO_IR 100": "M\u00fcller", "ISO_IR 144": "", "no such set": "M\xfcller"} {
		h, err := dicom.ParseHeader([]byte(element("\x08\x00\x05\x00", charset) + element("\x08\x00\x60\x00", "CR") +
			element("\x28\x00\x02\x00", "\x01") + // one byte of a 16-bit number
			element("\x10\x00\x20\x00", "M\xfcller") + element("\x20\x00\x0d\x00", "1.2.3\x00")))
		if err != nil || h.Modality != "CR" || h.StudyUID != "1.2.3" || patient != "" && string(h.PatientID) != patient {
			t.Errorf("%s: %+v, %v", charset, h, err)
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

func FuzzParse(f *testing.F) {
	f.Add(encode(f, film()))
	j := film()
	j.Syntax, j.BitsStored, j.Rows, j.Columns, j.Pixels = dicom.FilmJPEGBaseline, 8, 2, 2, []uint16{1, 2, 3, 4}
	f.Add(encode(f, j))
	dir, rows := realData(f)
	for _, row := range rows {
		data, err := os.ReadFile(filepath.Join(dir, row["file"]))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 8192)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := dicom.Parse(data)
		var p *dicom.Pixels
		if err == nil {
			p, err = file.Pixels(codec.Standard())
		}
		if err == nil && len(p.Samples) != p.Rows*p.Columns {
			t.Errorf("%d samples of %d x %d", len(p.Samples), p.Rows, p.Columns)
		}
		if k := fault.KindOf(err); err != nil && k != fault.Invalid && k != fault.Unsupported {
			t.Errorf("kind %s: %v", k, err)
		}
		if err != nil && fault.ReasonOf(err) == "" {
			t.Errorf("no reason: %v", err)
		}
	})
}
