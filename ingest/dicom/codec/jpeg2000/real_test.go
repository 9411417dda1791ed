package jpeg2000_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/dicom/codec/jpeg2000"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
)

// realFile is a row of the manifest of the collected files, and the file.
type realFile struct {
	row  map[string]string
	data []byte
}

func (f realFile) number(t *testing.T, column string) int {
	t.Helper()
	n, err := strconv.Atoi(f.row[column])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// realFiles reads the collected JPEG 2000 files.
func realFiles(t *testing.T) (files []realFile) {
	t.Helper()
	for _, row := range realdata.Table(t, "dicom/manifest.csv") {
		switch strings.TrimPrefix(row["transfer_syntax_uid"], "1.2.840.10008.1.2.4.") {
		case "90", "91", "201", "202", "203":
			data, err := os.ReadFile(filepath.Join(realdata.Dir(t), "dicom", row["file"]))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, realFile{row, data})
		}
	}
	return files
}

// fragments returns the items of the last encapsulated pixel data, less its offset table
// (PS3.5 section A.4). The last one ends where the file does.
func fragments(t *testing.T, data []byte) (all [][]byte) {
	t.Helper()
	at := max(bytes.LastIndex(data, []byte("\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff")),
		bytes.LastIndex(data, []byte("\xe0\x7f\x10\x00OW\x00\x00\xff\xff\xff\xff")))
	if at < 0 {
		t.Fatal("the file holds no encapsulated pixel data")
	}
	for data = data[at+12:]; len(data) >= 8 && binary.LittleEndian.Uint32(data) == 0xe000fffe; {
		n := min(int(binary.LittleEndian.Uint32(data[4:])), len(data)-8)
		all = append(all, data[8:8+n])
		data = data[8+n:]
	}
	return all[1:]
}

// TestRealFiles compares the collected files with the reference figures of their manifest:
// exactly where the codestream is lossless.
func TestRealFiles(t *testing.T) {
	for _, f := range realFiles(t) {
		t.Run(f.row["file"], func(t *testing.T) {
			frames := fragments(t, f.data)
			limit := jpeg2000.Limits{
				Rows: f.number(t, "rows"), Columns: f.number(t, "columns"), Components: f.number(t, "samples_per_pixel"),
			}
			if f.row["frames"] == "" || f.row["frames"] == "1" {
				frames = [][]byte{bytes.Join(frames, nil)}
			}
			hash := sha256.New()
			lowest, highest, sum, count := math.MaxInt, math.MinInt, 0, 0
			for _, frame := range frames {
				img, err := jpeg2000.Decode(frame, limit)
				if f.row["pixel_data"] != "yes" { // the file of truncated frames
					if err != nil && fault.ReasonOf(err) != "truncated" {
						t.Errorf("%v, want truncated", err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				unused := 64 - f.number(t, "bits_stored")
				for i := range img.Width * img.Height {
					for _, plane := range img.Planes {
						v := int(plane[i])
						if img.Signed {
							v = int(int16(plane[i]))
						}
						if f.row["pixel_representation"] == "1" {
							v = v << unused >> unused
						}
						lowest, highest, sum, count = min(lowest, v), max(highest, v), sum+v, count+1
						if f.row["bits_allocated"] == "8" {
							hash.Write([]byte{byte(v)})
						} else {
							hash.Write([]byte{byte(v), byte(v >> 8)})
						}
					}
				}
			}
			if f.row["px_sha256"] == "" {
				t.Log("no reference figures")
				return
			}
			mean := float64(sum) / float64(count)
			if strings.HasSuffix(f.row["transfer_syntax_uid"], ".90") {
				if got := hex.EncodeToString(hash.Sum(nil)); got != f.row["px_sha256"] {
					t.Errorf("sha256 %s, want %s", got, f.row["px_sha256"])
				}
			}
			want, err := strconv.ParseFloat(f.row["px_mean"], 64)
			if err != nil {
				t.Fatal(err)
			}
			near := func(got, want int) bool { return got-want <= 2 && want-got <= 2 }
			if !near(lowest, f.number(t, "px_min")) || !near(highest, f.number(t, "px_max")) || math.Abs(mean-want) > 0.1 {
				t.Errorf("from %d to %d, mean %.4f; want from %s to %s, mean %s", lowest, highest, mean, f.row["px_min"], f.row["px_max"], f.row["px_mean"])
			}
		})
	}
}
