package bench_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/app"
	"github.com/radstream/radstream/services/bench"
	"github.com/radstream/radstream/services/config"
)

// sets are the folders of real films below the test data.
var sets = []string{"nih14", "rocov2cxr", "covidcxr", "rococxr", "vqarad", "hannover", "figure1", "indiana"}

// realFilms returns the folders of real films. Without any the test says loudly that it did not
// run, and fails where CI=true.
func realFilms(t *testing.T) []string {
	t.Helper()
	var dirs []string
	for _, set := range sets {
		if dir := realdata.Path(t, set); dir != "" {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		t.Skip("no real films")
	}
	return dirs
}

func opened(t *testing.T) *app.Text {
	t.Helper()
	runtime, err := ort.Open("", ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := app.OpenText(config.Default().Ingest, runtime)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(text.Close(), runtime.Close()); err != nil {
			t.Error(err)
		}
	})
	return text
}

// TestText holds a sample of the full measurement to its bars. The films that are looked at as
// they are come from nih14: those of articles have figure labels and words of their own.
func TestText(t *testing.T) {
	dirs, text := realFilms(t), opened(t)
	f, err := bench.Text(t.Context(), bench.TextConfig{Films: dirs, Strings: 16, Seed: 7, Clear: 60}, text.Burned)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("clear %+v, faint %+v, %.2f s a film", f.Clear, f.Faint, f.WithText)
	if f.Clear.Texts < 8 || f.Clear.Found < f.Clear.Texts {
		t.Errorf("%d of %d clear texts were found; missed: %+v", f.Clear.Found, f.Clear.Texts, f.Missed)
	}
	f, err = bench.Text(t.Context(), bench.TextConfig{Films: dirs[:1], Untouched: 16, Seed: 7}, text.Burned)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d films changed, markers %v, %.2f s a film", len(f.Changed), f.Untouched, f.Markers, f.Seconds)
	if f.Untouched != 16 || len(f.Markers) == 0 {
		t.Errorf("%d films were looked at as they are, markers %v", f.Untouched, f.Markers)
	}
	texted, err := os.ReadFile("testdata/films_with_text.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range f.Changed {
		if !slices.Contains(strings.Fields(string(texted)), filepath.Base(ch.Film)) {
			t.Errorf("%s changed for %q", ch.Film, ch.Texts)
		}
	}
}

func TestTextNeedsFilms(t *testing.T) {
	if _, err := bench.Text(t.Context(), bench.TextConfig{Films: []string{t.TempDir()}}, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

// TestNothingIsFoundWithoutReader: the measurement can fail.
func TestNothingIsFoundWithoutReader(t *testing.T) {
	f, err := bench.Text(t.Context(), bench.TextConfig{Films: realFilms(t)[:1], Strings: 3, Seed: 1, Clear: 60}, nil)
	if err != nil || f.Clear.Found+f.Faint.Found != 0 || len(f.Missed) != 3 {
		t.Errorf("%+v, %v", f, err)
	}
}
