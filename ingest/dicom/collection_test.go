package dicom_test

import (
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
)

// realData returns the folder of the collected DICOM files and its manifest by column.
func realData(t testing.TB) (dir string, rows []map[string]string) {
	t.Helper()
	return filepath.Join(realdata.Dir(t), "dicom"), realdata.Table(t, "dicom/manifest.csv")
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
	var s dicom.Stats
	if err == nil {
		p, s, err = f.Survey(codec.Standard())
	}
	if err != nil {
		reason := fault.ReasonOf(err)
		if truth, known := refusals[reason]; !known || !truth(row) {
			return string(reason), fmt.Errorf("refused with %q, which is not true of it: %v", reason, err)
		}
		return fmt.Sprintf("%s %s", fault.KindOf(err), reason), nil
	}
	if len(p.Samples) != f.Rows*f.Columns || p.Display != (f.Samples == 3 || f.Photometric == "PALETTE COLOR") {
		return "", fmt.Errorf("%d samples of %d x %d, display %v", len(p.Samples), f.Rows, f.Columns, p.Display)
	}
	sha := hex.EncodeToString(s.SHA256[:])
	switch {
	case f.Samples != 1 && sha == row["px_sha256"]:
		return "decoded, grey of colour, stored values equal", nil
	case f.Samples != 1:
		return "decoded, grey of colour", nil
	case row["file"] == "pydicom-data_JLSL_16_15_1_1F.dcm":
		// The figures of the manifest are of values that were not sign-extended from their
		// 15 bits. These are of pydicom 3.0.2 with
		// pyjpegls 1.5.1.
		if s.Min != -16384 || s.Max != 16383 || sha != signed15 {
			return "", fmt.Errorf("min %d max %d mean %.4f sha256 %s, want %s", s.Min, s.Max, s.Mean, sha, signed15)
		}
		return "decoded, equal to a second decoder; the manifest is wrong", nil
	case row["file"] == "fo-dicom_GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm":
		// Common parsers stop at a UN sequence, which is little endian in a big-endian file
		// (PS3.5 section 6.2.2). The image is that of dicomparser_CT1_UNC, which has figures.
		if sha != clunieCT1 {
			return "", fmt.Errorf("sha256 %s, want %s", sha, clunieCT1)
		}
		return "decoded, equal to the same image in another file", nil
	case unreferenced(row):
		return "decoded, no reference", nil
	case row["px_sha256"] == "":
		return "", fmt.Errorf("decoded, but there are no pixels (%s)", row["quirk"])
	case row["px_type"] == "SINGLEBIT":
		if sha != row["px_sha256"] {
			return "", fmt.Errorf("sha256 %s, want %s", sha, row["px_sha256"])
		}
		return "decoded, equal", nil
	case lossy(f.TransferSyntax):
		return within(s, sha, row)
	}
	return equal(s, sha, row)
}

// Digests of the stored values of a file that the manifest gets wrong, and of one that the
// reference decoder could not read.
const (
	signed15  = "bb0a20c386271e836966f81064e1b439a2951b1faa35b48ddbd34e11fb926b6c"
	clunieCT1 = "1add6ede29758c6f0c68f01749ddc6c907e68a312be4eb9da8489e376e0bbd34"
)

// unreferenced tells whether the reference decoder could not read an image that is there.
func unreferenced(row map[string]string) bool {
	return contains(row["ref_decoder"], "refuses", "crash", "no reference")
}

// lossy tells whether decoders may differ in a syntax. JPEG-LS is exact even where it is
// near-lossless.
func lossy(syntax string) bool {
	return codec.IsDCT(syntax) || syntax == codec.JPEG2000 || syntax == codec.HTJ2K
}

func within(s dicom.Stats, sha string, row map[string]string) (outcome string, err error) {
	wantMean, _ := strconv.ParseFloat(row["px_mean"], 64)
	wantMin, _ := strconv.Atoi(row["px_min"])
	wantMax, _ := strconv.Atoi(row["px_max"])
	if math.Abs(s.Mean-wantMean) > 0.1 || max(s.Min-wantMin, wantMin-s.Min, s.Max-wantMax, wantMax-s.Max) > 2 {
		return "", fmt.Errorf("min %d max %d mean %.4f, want %d %d %.4f", s.Min, s.Max, s.Mean, wantMin, wantMax, wantMean)
	}
	if sha == row["px_sha256"] {
		return "decoded, lossy and still equal", nil
	}
	return "decoded, lossy within 2 levels", nil
}

func equal(s dicom.Stats, sha string, row map[string]string) (outcome string, err error) {
	mean := strconv.FormatFloat(math.Round(s.Mean*1e4)/1e4, 'f', -1, 64)
	if want, _ := strings.CutSuffix(row["px_mean"], ".0"); strconv.Itoa(s.Min) != row["px_min"] || strconv.Itoa(s.Max) != row["px_max"] || mean != want || sha != row["px_sha256"] {
		return "", fmt.Errorf("min %d max %d mean %s sha256 %s, want %s %s %s %s", s.Min, s.Max, mean, sha, row["px_min"], row["px_max"], row["px_mean"], row["px_sha256"])
	}
	return "decoded, equal", nil
}

// refusals says for each reason how a row of the manifest shows it to be true.
var refusals = map[fault.Reason]func(row map[string]string) bool{
	dicom.ReasonNoPixels:  func(row map[string]string) bool { return row["pixel_data"] == "no" },
	dicom.ReasonFloat:     func(row map[string]string) bool { return strings.Contains(row["quirk"], "FloatPixelData") },
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
