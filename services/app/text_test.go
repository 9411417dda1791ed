package app

import (
	"bytes"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/image/font"
	"golang.org/x/image/font/inconsolata"
	"golang.org/x/image/math/fixed"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/config"
)

// unwritten is a film without anything written in it.
func unwritten(t *testing.T) dicom.Film {
	t.Helper()
	c := phantom.Defaults()
	c.Studies, c.Side = 1, 640
	study, err := phantom.Generate(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := study.Views[0]
	f.StudyUID, f.SeriesUID, f.InstanceUID = canaryUID, canaryUID+".1", canaryUID+".2"
	f.PatientID, f.PatientName, f.PatientBirthDate, f.AccessionNumber = "P"+canary, burnedName+"^AGNES", birthday, ""
	f.StudyTime, f.Syntax, f.ViewPosition = time.Date(1987, 6, 5, 4, 3, 2, 0, time.UTC), dicom.FilmExplicitLE, "PA"
	f.Pixels = slices.Clone(f.Pixels)
	return f
}

// written is a film with the patient's name and birthday and a marker in it.
func written(t *testing.T) dicom.Film {
	t.Helper()
	f := unwritten(t)
	mask := image.NewAlpha(image.Rect(0, 0, f.Columns, f.Rows))
	d := font.Drawer{Dst: mask, Src: image.Opaque, Face: inconsolata.Bold8x16}
	for _, w := range []struct {
		x, y int
		text string
	}{{40, 60, burnedName + ", AGNES"}, {f.Columns - 220, f.Rows - 42, "DOB 1931-11-07"}, {f.Columns - 140, 80, "PORTABLE"}} {
		d.Dot = fixed.P(w.x, w.y)
		d.DrawString(w.text)
	}
	white := uint16(1)<<f.BitsStored - 1
	if f.Photometric == "MONOCHROME1" {
		white = 0
	}
	for i, ink := range mask.Pix {
		if ink > 127 {
			f.Pixels[i] = white
		}
	}
	return f
}

// openedText is a reader over the real graphs; its sessions must be gone behind the test.
func openedText(t *testing.T, policy deid.TextPolicy) *Text {
	t.Helper()
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if sessions, tensors := runtime.Live(); sessions != 0 || tensors != 0 {
			t.Errorf("%d sessions and %d tensors are left", sessions, tensors)
		}
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	text, err := OpenText(config.Ingest{BurnedInText: string(policy)}, runtime)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := text.Close(); err != nil {
			t.Error(err)
		}
	})
	return text
}

// TestTextIsRemoved: name and date of birth leave a DICOM film, the marker stays, and many at
// once give what one gives.
func TestTextIsRemoved(t *testing.T) {
	text := openedText(t, deid.TextRemove)
	var b bytes.Buffer
	if err := dicom.Encode(&b, written(t)); err != nil {
		t.Fatal(err)
	}
	inspected := ingest.Inspect(b.Bytes(), "film")
	before := inspected.ViewSHA256
	if err := inspected.FindText(t.Context(), text.Burned, b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if inspected.ViewSHA256 == before {
		t.Error("inspect shows the view with its text")
	}
	texts := inspected.BurnedInText
	got := map[string]string{}
	for _, x := range texts {
		becomes := "stays"
		if x.Removed {
			becomes = "removed"
		}
		got[x.Kind+" "+x.Matches] = becomes
	}
	if d := cmp.Diff(map[string]string{"text patient_name": "removed", "text patient_birth_date": "removed", "marker ": "stays"}, got); d != "" {
		t.Errorf("%+v (-want +got)\n%s", texts, d)
	}

	c := ingest.Default()
	c.Burned = text.Burned
	p, err := ingest.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := p.Version(); !strings.HasPrefix(v, "4-auto-128+remove-ppocr4.") || ingest.Rendering(v) != "4-auto-128" {
		t.Errorf("version %q", v)
	}
	want, err := p.View(t.Context(), ingest.Object{Data: b.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Removed) < 2 || !slices.Equal(want.Markers, []string{"PORTABLE"}) {
		t.Errorf("removed %v, markers %v", want.Removed, want.Markers)
	}
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			v, err := p.View(t.Context(), ingest.Object{Data: b.Bytes()})
			if err != nil || !bytes.Equal(v.GetPixelsSha256(), want.GetPixelsSha256()) {
				t.Errorf("another time the film looks different, %v", err)
			}
		})
	}
	wait.Wait()
}

// TestCleanFilmsCostNothing: a film without strokes comes back as it is.
func TestCleanFilmsCostNothing(t *testing.T) {
	text := openedText(t, deid.TextRemoveAll)
	f := written(t)
	for i := range f.Pixels {
		f.Pixels[i] = uint16(1800 + i%640)
	}
	film := pixel.Film{Rows: f.Rows, Columns: f.Columns, Samples: f.Pixels, Slope: 1, Invert: true}
	if err := text.Close(); err != nil { // no session is needed for it
		t.Fatal(err)
	}
	c, err := text.Burned.Clean(t.Context(), film, pixel.Auto, deid.Identifiers{})
	if err != nil || &c.Film.Samples[0] != &film.Samples[0] {
		t.Errorf("%+v, %v", c.Found, err)
	}
}

func TestOpenTextFails(t *testing.T) {
	off, err := OpenText(config.Ingest{BurnedInText: "off"}, nil)
	if err != nil || off.Burned != nil || off.Close() != nil {
		t.Errorf("off: %v", err)
	}
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close()
	wrong := t.TempDir()
	for _, name := range []string{detectionGraph, recognitionGraph} {
		if err := os.WriteFile(filepath.Join(wrong, name), []byte("no graph"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		dir  string
		kind fault.Kind
		says string
	}{
		"no folder": {filepath.Join(wrong, "none"), fault.Unavailable, "make setup"},
		"no files":  {t.TempDir(), fault.Unavailable, "ingest.burned_in_text: off"},
		"wrong":     {wrong, fault.Corrupt, "make setup"},
	} {
		_, err := OpenText(config.Ingest{BurnedInText: "remove", OCRDir: c.dir}, runtime)
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%v)", name, err, fault.KindOf(err))
		}
	}
	if sessions, _ := runtime.Live(); sessions != 0 {
		t.Errorf("%d sessions are left", sessions)
	}
}
