package ingest_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/schemas/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// realData returns the folder of the collected data, or "".
func realData(t testing.TB) string {
	t.Helper()
	root := os.Getenv("RADSTREAM_DATA")
	if root == "" {
		root = "../../shared/data"
	}
	if _, err := os.Stat(filepath.Join(root, "dicom", "manifest.csv")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("the real films are needed: set RADSTREAM_DATA")
		}
		t.Log("NOT RUN: the real films are not there; set RADSTREAM_DATA")
		return ""
	}
	return root
}

// TestInspectCollection holds inspect to the figures of the reference decoder: a file
// without an error has them, a file without them has an error.
func TestInspectCollection(t *testing.T) {
	root := realData(t)
	if root == "" {
		return
	}
	in, err := os.Open(filepath.Join(root, "dicom", "manifest.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	records, err := csv.NewReader(in).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range records[0] {
		column[name] = i
	}
	for _, row := range records[1:] {
		get := func(name string) string { return row[column[name]] }
		data, err := os.ReadFile(filepath.Join(root, "dicom", get("file")))
		if err != nil {
			t.Fatal(err)
		}
		got := ingest.Inspect(data, get("file"))
		if (got.PxSHA256 == "") != (got.Error != nil) {
			t.Errorf("%s: hash %q with error %v", got.File, got.PxSHA256, got.Error)
		}
		if got.Error != nil && (got.Error.Kind != "invalid" && got.Error.Kind != "unsupported" || got.Error.Reason == "") {
			t.Errorf("%s: %+v", got.File, got.Error)
		}
		// Colour lies otherwise in the reference; one row is wrong (see package dicom).
		if got.PxSHA256 == "" || get("px_mean") == "" || get("samples_per_pixel") == "3" || got.File == "pydicom-data_JLSL_16_15_1_1F.dcm" {
			continue
		}
		uid := get("transfer_syntax_uid")
		lossy := codec.IsDCT(uid) || uid == codec.JPEG2000
		mean, _ := strconv.ParseFloat(get("px_mean"), 64)
		if math.Abs(*got.PxMean-mean) > 0.1 || !lossy && got.PxSHA256 != get("px_sha256") {
			t.Errorf("%s: mean %f, hash %s", got.File, *got.PxMean, got.PxSHA256)
		}
	}
}

// TestGolden pins what inspect and prepare make of real films.
func TestGolden(t *testing.T) {
	root := realData(t)
	if root == "" {
		return
	}
	type golden struct {
		ingest.Inspection
		ViewSHA256 string `json:"view_sha256,omitempty"`
		Refused    string `json:"refused,omitempty"`
	}
	var out bytes.Buffer
	for _, name := range []string{
		"dicom/torchxrayvision_chest_pa.dcm", "dicom/fo-dicom_CR-MONO1-10-chest.dcm", "dicom/pydicom_CR1_6154.dcm",
		"dicom/pydicom_CT_small.dcm", "dicom/pydicom-data_RG1_J2KI.dcm", "dicom/fo-dicom_TestPattern_Palette.dcm",
		"dicom/cornerstone_no-pixel-data.dcm", "covidcxr/studies.csv",
		"covidcxr/images/cov-p5-d2017_frontal.jpg", "rocov2cxr/images/rocov2-0046ae3b_frontal.jpg",
	} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		g := golden{Inspection: ingest.Inspect(data, name)}
		h, _ := dicom.ParseHeader(data)
		arrival := ingest.Arrival{StudyUID: h.StudyUID, Objects: []ingest.Object{{Data: data}}}
		if arrival.StudyUID == "" {
			arrival.StudyUID = "a film"
		}
		f, refusals, err := gated(t).Prepare(context.Background(), key(t), arrival)
		if err != nil {
			t.Fatal(err)
		}
		if len(refusals) > 0 {
			g.Refused = string(fault.ReasonOf(refusals[0].Err))
		} else {
			g.ViewSHA256 = hex.EncodeToString(f.Views[0].PixelsSha256)
		}
		line, err := json.MarshalIndent(g, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", line)
	}
	path := filepath.Join("testdata", "films.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("run with -update when this is meant (-want +got):\n%s", d)
	}
}
