package cli

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/dicom"
)

// writeFilms writes a DICOM film with a window to each of the names, under a new folder.
func writeFilms(t *testing.T, names ...string) (dir string) {
	t.Helper()
	f := dicom.Film{
		StudyUID: "1.2.3", SeriesUID: "1.2.3.1", InstanceUID: "1.2.3.1.1", StudyTime: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Modality: "CR", BodyPart: "CHEST", ViewPosition: "PA", InstanceNumber: 1, Rows: 100, Columns: 80, BitsStored: 12,
		Photometric: "MONOCHROME2", WindowCenter: 2000, WindowWidth: 4000, RescaleSlope: 1, RescaleIntercept: -10, Syntax: dicom.FilmExplicitLE,
	}
	for i := range f.Rows * f.Columns {
		f.Pixels = append(f.Pixels, uint16(i*37%4000))
	}
	dir = t.TempDir()
	for _, name := range names {
		var b bytes.Buffer
		if err := dicom.Encode(&b, f); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name), b.Bytes())
	}
	return dir
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// pngs lists the pictures under dir.
func pngs(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".png") {
			name, _ := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestInspectPNG(t *testing.T) {
	dir := writeFilms(t, "a/film.dcm", "b/film.dcm", "b/c/film")
	put(t, filepath.Join(dir, "b", "text.dcm"), []byte("this is no film at all, but long enough to be one"))
	films := func(names ...string) (paths []string) {
		for _, n := range names {
			paths = append(paths, filepath.Join(dir, n))
		}
		return paths
	}
	for _, tc := range []struct {
		name  string
		files []string
		want  []string
	}{
		{"one", films("a/film.dcm"), []string{"film.dcm.png"}},
		{"two of one name", films("a/film.dcm", "b/film.dcm"), []string{"a/film.dcm.png", "b/film.dcm.png"}},
		{"twice the same", films("a/film.dcm", "a/film.dcm"), []string{"film.dcm.png"}},
		{"another folder deep", films("b/film.dcm", "b/c/film"), []string{"c/film.png", "film.dcm.png"}},
		{"one without a view", films("b/film.dcm", "b/text.dcm"), []string{"film.dcm.png"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := t.TempDir()
			code, stdout, stderr := runLine(t, "", append([]string{"inspect", "--png", filepath.Join(out, "new"), "--json"}, tc.files...)...)
			if code != 0 {
				t.Fatal(code, stderr)
			}
			if d := cmp.Diff(tc.want, pngs(t, filepath.Join(out, "new"))); d != "" {
				t.Errorf("pictures (-want +got):\n%s", d)
			}
			first, _, _ := strings.Cut(stdout, "\n")
			var v struct{ PNG string }
			if err := json.Unmarshal([]byte(first), &v); err != nil || !slices.Contains(pngs(t, out), filepath.ToSlash(strings.TrimPrefix(v.PNG, out+string(filepath.Separator)))) {
				t.Errorf("the first object says %q, %v", v.PNG, err)
			}
			data, err := os.ReadFile(v.PNG)
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(data))
			if err != nil || img.Bounds() != image.Rect(0, 0, 224, 224) {
				t.Fatal(img.Bounds(), err)
			}
			// 80 x 100 leaves padding on both sides, and it is hatched.
			if _, _, b, _ := img.At(0, 0).RGBA(); b == 0 {
				t.Error("the padding is not hatched")
			}
			if c := color.NRGBAModel.Convert(img.At(112, 112)).(color.NRGBA); c.R != c.G || c.G != c.B {
				t.Errorf("the film has the colour %v", c)
			}
		})
	}
}

// TestInspectGoesOn: a file that cannot be read has its error in its place, and the others are
// shown all the same.
func TestInspectGoesOn(t *testing.T) {
	dir := writeFilms(t, "a.dcm", "b.dcm")
	code, stdout, stderr := runLine(t, "", "inspect", "--json", filepath.Join(dir, "a.dcm"), filepath.Join(dir, "nope.dcm"), filepath.Join(dir, "b.dcm"))
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 2 || len(lines) != 3 || !strings.Contains(lines[1], `"error":{`) || strings.Contains(lines[2], `"error":{`) || !strings.Contains(stderr, "nope.dcm") {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
}

func TestInspectPNGRefusals(t *testing.T) {
	dir := writeFilms(t, "film.dcm", "film.dcm.png")
	film, out := filepath.Join(dir, "film.dcm"), filepath.Join(dir, "out")
	put(t, filepath.Join(out, "film.dcm.png"), []byte("mine"))
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"picture is there", []string{"--png", out, film}, "--force to replace it"},
		{"over a film", []string{"--png", dir, "--force", film, filepath.Join(dir, "film.dcm.png")}, "would replace the film"},
		{"force alone", []string{"--force", film}, "goes with --png"},
		{"folder is a file", []string{"--png", film, film}, "--png:"},
	} {
		if code, _, stderr := runLine(t, "", append([]string{"inspect"}, tc.args...)...); code != 2 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%s: %d, %s", tc.name, code, stderr)
		}
	}
	if data, err := os.ReadFile(filepath.Join(out, "film.dcm.png")); err != nil || string(data) != "mine" {
		t.Errorf("the picture was replaced: %v", err)
	}
	code, stdout, stderr := runLine(t, "", "inspect", "--png", out, "--force", film)
	if data, err := os.ReadFile(filepath.Join(out, "film.dcm.png")); code != 0 || err != nil || string(data) == "mine" {
		t.Errorf("with --force: %d, %s, %v", code, stderr, err)
	}
	for _, want := range []string{"modality       slope 1, intercept -10\n", "offered        window of center 2000, width 4000: used\n", "window         dicom, center 2000, width 4000\n", "picture        " + filepath.Join(out, "film.dcm.png")} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}
