package ingest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestInspectCollection holds inspect to the figures of the reference decoder: a file
// without an error has them, a file without them has an error. It pins the views of all
// files that have one, prepared or not, with the policy and the window or table that made
// them.
func TestInspectCollection(t *testing.T) {
	rows := realdata.Table(t, "dicom/manifest.csv")
	if rows == nil {
		return
	}
	var views strings.Builder
	defer func() { compareGolden(t, "views.golden", views.String()) }()
	for _, row := range rows {
		data, err := os.ReadFile(filepath.Join(realdata.Dir(t), "dicom", row["file"]))
		if err != nil {
			t.Fatal(err)
		}
		got := ingest.Inspect(data, row["file"])
		if got.ViewSHA256 != "" {
			used := "-"
			if got.VOIUsed != nil {
				used = strconv.Itoa(*got.VOIUsed)
			}
			fmt.Fprintf(&views, "%s %s %s %s\n", got.File, got.ViewSHA256, got.WindowPolicy, used)
		}
		if (got.PxSHA256 == "") != (got.Error != nil) {
			t.Errorf("%s: hash %q with error %v", got.File, got.PxSHA256, got.Error)
		}
		if got.Error != nil && (got.Error.Kind != "invalid" && got.Error.Kind != "unsupported" || got.Error.Reason == "") {
			t.Errorf("%s: %+v", got.File, got.Error)
		}
		// Colour lies otherwise in the reference; one row is wrong (see package dicom).
		if got.PxSHA256 == "" || row["px_mean"] == "" || row["samples_per_pixel"] == "3" || got.File == "pydicom-data_JLSL_16_15_1_1F.dcm" {
			continue
		}
		uid := row["transfer_syntax_uid"]
		lossy := codec.IsDCT(uid) || uid == codec.JPEG2000
		mean, _ := strconv.ParseFloat(row["px_mean"], 64)
		if math.Abs(*got.PxMean-mean) > 0.1 || !lossy && got.PxSHA256 != row["px_sha256"] {
			t.Errorf("%s: mean %f, hash %s", got.File, *got.PxMean, got.PxSHA256)
		}
	}
}

// TestGolden pins what inspect and prepare make of real films.
func TestGolden(t *testing.T) {
	if realdata.Path(t, "dicom") == "" {
		return
	}
	type golden struct {
		ingest.Inspection
		Refused string `json:"refused,omitempty"`
	}
	var out bytes.Buffer
	for _, name := range []string{
		"dicom/torchxrayvision_chest_pa.dcm", "dicom/fo-dicom_CR-MONO1-10-chest.dcm", "dicom/pydicom_CR1_6154.dcm",
		"dicom/pydicom_CT_small.dcm", "dicom/pydicom-data_RG1_J2KI.dcm", "dicom/fo-dicom_TestPattern_Palette.dcm",
		"dicom/cornerstone_no-pixel-data.dcm", "covidcxr/studies.csv",
		"covidcxr/images/cov-p5-d2017_frontal.jpg", "rocov2cxr/images/rocov2-0046ae3b_frontal.jpg",
	} {
		data, err := os.ReadFile(filepath.Join(realdata.Dir(t), name))
		if err != nil {
			t.Fatal(err)
		}
		g := golden{Inspection: ingest.Inspect(data, name)}
		g.Tags = ingest.Tags{} // TestTags and TestTagsOfTheCollection look at them
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
		} else if sum := hex.EncodeToString(f.Views[0].PixelsSha256); sum != g.ViewSHA256 {
			t.Errorf("%s: inspect shows view %s, prepare made %s", name, g.ViewSHA256, sum)
		}
		line, err := json.MarshalIndent(g, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", line)
	}
	compareGolden(t, "films.golden", out.String())
}

// TestWorkers: real films give the same views whatever the number of workers, which are the
// views of inspect.
func TestWorkers(t *testing.T) {
	dir := realdata.Path(t, "dicom")
	if dir == "" {
		return
	}
	plain, err := filepath.Glob(filepath.Join(realdata.Dir(t), "covidcxr", "images", "*.jpg"))
	if err != nil || len(plain) < 4 {
		t.Fatal(plain, err)
	}
	for _, film := range []string{"fo-dicom_CR-MONO1-10-chest.dcm", "torchxrayvision_chest_pa.dcm"} {
		var arrival ingest.Arrival
		var want []string
		for _, name := range append([]string{filepath.Join(dir, film)}, plain[:4]...) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			arrival.Objects = append(arrival.Objects, ingest.Object{Data: data})
			want = append(want, ingest.Inspect(data, "").ViewSHA256)
		}
		for _, workers := range []int{1, 4} {
			before := runtime.GOMAXPROCS(workers)
			facts, refusals, err := preparer(t).Prepare(context.Background(), key(t), arrival)
			runtime.GOMAXPROCS(before)
			if err != nil || len(refusals) > 0 {
				t.Fatal(refusals, err)
			}
			var got []string
			for _, v := range facts.Views {
				got = append(got, hex.EncodeToString(v.PixelsSha256))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s, %d workers (-inspect +prepare):\n%s", film, workers, d)
			}
		}
	}
}
