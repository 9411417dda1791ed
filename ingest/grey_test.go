package ingest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/ingest/pixel"
)

// TestVersusPydicom holds the grey values of synthetic objects to those of pydicom 3.0.2,
// which testdata/pydicom_grey.py wrote; how to run it stands there. They agree within the
// rounding to a byte. The objects are repeated to 224 x 224, so that nothing is resized.
func TestVersusPydicom(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "pydicom_grey.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name  string
		Used  int
		DICOM []byte
		Grey  []float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 20 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, tc := range cases {
		t.Run(tc.Name, func(t *testing.T) {
			file, err := dicom.Parse(tc.DICOM)
			if err != nil {
				t.Fatal(err)
			}
			p, err := file.Pixels(codec.Standard())
			if err != nil {
				t.Fatal(err)
			}
			f, err := filmOf(file.Header, p)
			if err != nil {
				t.Fatal(err)
			}
			samples := f.Samples
			f.Rows, f.Columns, f.Samples = pixel.Side, pixel.Side, make([]uint16, pixel.Side*pixel.Side)
			at := func(i int) int { return i/pixel.Side%16*16 + i%16 }
			for i := range f.Samples {
				f.Samples[i] = samples[at(i)]
			}
			r, err := pixel.Render(f, pixel.Auto)
			if err != nil {
				t.Fatal(err)
			}
			if r.Policy != pixel.DICOM || r.Used != tc.Used {
				t.Errorf("policy %s, used %d", r.Policy, r.Used)
			}
			for i, got := range r.Pixels {
				if d := float64(got) - tc.Grey[at(i)]; d < -0.501 || d > 0.501 {
					t.Fatalf("stored value %d is %d, pydicom has %f", int16(f.Samples[i]), got, tc.Grey[at(i)])
				}
			}
		})
	}
}
