package ocr

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/image/font"
	"golang.org/x/image/font/inconsolata"
	"golang.org/x/image/math/fixed"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/schemas/fault"
)

// bright takes every bright pixel for text with the probability of its brightness.
type bright struct{ err error }

func (g bright) Run(_ context.Context, shape []int64, data []float32) ([]int64, []float32, error) {
	plane := int(shape[2] * shape[3])
	out := make([]float32, plane)
	for i := range out {
		out[i] = max(0, data[i])
	}
	return []int64{1, 1, shape[2], shape[3]}, out, g.err
}

// says gives one text whatever it sees, over the alphabet "A", "B".
type says []int

func (g says) Run(_ context.Context, shape []int64, _ []float32) ([]int64, []float32, error) {
	out := make([]float32, 4*len(g))
	for step, class := range g {
		out[4*step+class] = 0.9
	}
	return []int64{1, int64(len(g)), 4}, out, nil
}

// film is a grey slope without anything on it.
func film(columns, rows int) Image {
	img := Image{columns, rows, make([]byte, columns*rows)}
	for i := range img.Pix {
		img.Pix[i] = byte(20 + 60*(i%columns)/columns + 40*(i/columns)/rows)
	}
	return img
}

// write writes text in white, 16 pixels high, at (x, y).
func write(img Image, x, y int, text string) {
	mask := image.NewAlpha(image.Rect(0, 0, img.Columns, img.Rows))
	d := font.Drawer{Dst: mask, Src: image.Opaque, Face: inconsolata.Regular8x16, Dot: fixed.P(x, y+12)}
	d.DrawString(text)
	for i, a := range mask.Pix {
		if a > 127 {
			img.Pix[i] = 255
		}
	}
}

func TestRead(t *testing.T) {
	img := film(400, 300)
	write(img, 100, 40, "A")
	r, err := New(bright{}, says{1, 1, 0, 1, 2, 3}, []string{"A", "B"}, "fake")
	if err != nil {
		t.Fatal(err)
	}
	var first []Line
	var wait sync.WaitGroup
	for range 4 { // the same from many goroutines
		wait.Go(func() {
			if _, err := r.Read(t.Context(), img); err != nil {
				t.Error(err)
			}
		})
	}
	first, err = r.Read(t.Context(), img)
	wait.Wait()
	if err != nil || len(first) == 0 {
		t.Fatal(first, err)
	}
	l := first[0]
	if l.Text != "AAB" || math.Abs(l.Confidence-0.9) > 1e-6 || r.ID() != "fake" {
		t.Errorf("%q at %g", l.Text, l.Confidence)
	}
	if ink := (Box{101, 42, 107, 52}); l.Box.Intersect(ink) != ink || l.Box.X1-l.Box.X0 > 30 {
		t.Errorf("found at %v, want around %v", l.Box, ink)
	}
}

func TestReadFails(t *testing.T) {
	if _, err := New(bright{}, says{}, nil, ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no alphabet: %v", err)
	}
	img := film(400, 300)
	write(img, 100, 40, "A")
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		detection, recognition Graph
		img                    Image
	}{
		"detection":   {bright{broken}, says{1}, img},
		"recognition": {bright{}, bright{}, img},
		"image":       {bright{}, says{1}, Image{}},
	} {
		r, err := New(c.detection, c.recognition, []string{"A", "B"}, "")
		if err != nil {
			t.Fatal(err)
		}
		if lines, err := r.Read(t.Context(), c.img); err == nil {
			t.Errorf("%s: %v", name, lines)
		}
	}
}

// TestTooMuch: what is full of strokes is refused, and not read for minutes.
func TestTooMuch(t *testing.T) {
	img := film(1200, 800)
	for y := 10; y < 780; y += 24 {
		for x := 10; x < 1180; x += 30 {
			for i := range 12 * 8 {
				img.Pix[(y+i/12)*img.Columns+x+i%12] = 255
			}
		}
	}
	calls := counted{new(int), says{1}}
	r, err := New(bright{}, calls, []string{"A", "B"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if lines, err := r.Read(t.Context(), img); fault.ReasonOf(err) != ReasonTooMuch || *calls.n == 0 || *calls.n > 2*mostLines {
		t.Errorf("%d lines, %d pieces were read, %v", len(lines), *calls.n, err)
	}
}

// counted counts how often a graph runs.
type counted struct {
	n *int
	Graph
}

func (c counted) Run(ctx context.Context, shape []int64, data []float32) ([]int64, []float32, error) {
	*c.n++
	return c.Graph.Run(ctx, shape, data)
}

// TestCandidates: a network sees what has strokes, wherever it lies, and nothing else.
func TestCandidates(t *testing.T) {
	img := film(700, 500)
	for y := range 200 { // a collimator and a round edge have no strokes
		for x := range 300 {
			img.Pix[y*700+x] = 5
		}
	}
	if got := candidates(img, tile); len(got) != 0 {
		t.Errorf("a film without text has candidates %v", got)
	}
	for _, at := range [][2]int{{0, 0}, {600, 480}, {300, 250}, {120, 190}} {
		clean := Image{700, 500, slices.Clone(img.Pix)}
		write(clean, at[0], at[1], "DOE^JANE")
		want := Box{at[0], at[1], at[0] + 60, at[1] + 12}
		if !slices.ContainsFunc(candidates(clean, tile), func(b Box) bool { return b.Intersect(want) == want }) {
			t.Errorf("text at %v lies in none of %v", at, candidates(clean, tile))
		}
	}
}

func TestSplitCovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Box{X0: rapid.IntRange(0, 50).Draw(t, "x0"), Y0: rapid.IntRange(0, 50).Draw(t, "y0")}
		b.X1, b.Y1 = b.X0+rapid.IntRange(1, 4000).Draw(t, "width"), b.Y0+rapid.IntRange(1, 4000).Draw(t, "height")
		tile := rapid.SampledFrom([]int{tile, smallTile}).Draw(t, "tile")
		tiles := split(b, tile)
		area := Box{b.X0, b.Y0, b.X0, b.Y0}
		for _, s := range tiles {
			area = area.Union(s)
			if s.X1-s.X0 > tile || s.Y1-s.Y0 > tile || s.Empty() || s.Intersect(b) != s {
				t.Fatalf("tile %v of %v", s, b)
			}
		}
		if area != b {
			t.Fatalf("the tiles of %v cover %v", b, area)
		}
		// Every short word lies whole in a tile.
		x, y := rapid.IntRange(b.X0, b.X1).Draw(t, "x"), rapid.IntRange(b.Y0, b.Y1).Draw(t, "y")
		word := Box{x, y, min(x+overlap/2, b.X1), min(y+overlap/2, b.Y1)}
		if !word.Empty() && !slices.ContainsFunc(tiles, func(s Box) bool { return word.Intersect(s) == word }) {
			t.Fatalf("%v lies in no tile of %v", word, tiles)
		}
	})
}

func TestJoined(t *testing.T) {
	got := joined([]Box{{0, 0, 10, 10}, {20, 0, 30, 10}, {50, 50, 60, 60}, {8, 0, 22, 5}})
	slices.SortFunc(got, func(a, b Box) int { return a.X0 - b.X0 })
	if d := cmp.Diff([]Box{{0, 0, 30, 10}, {50, 50, 60, 60}}, got); d != "" {
		t.Error(d)
	}
}

// TestLeastRectangle turns a rectangle and wants it back, upright and widened.
func TestLeastRectangle(t *testing.T) {
	for _, degrees := range []float64{0, 5, -5, 30, -44} {
		t.Run(fmt.Sprint(degrees), func(t *testing.T) {
			sin, cos := math.Sincos(degrees * math.Pi / 180)
			var points []Point
			for x := -40.0; x <= 40; x += 2 {
				for y := -5.0; y <= 5; y++ {
					points = append(points, Point{100 + x*cos - y*sin, 80 + x*sin + y*cos})
				}
			}
			quad, across, down := leastRectangle(points, 1.8)
			if math.Abs(across-80) > 1e-9 || math.Abs(down-10) > 1e-9 {
				t.Errorf("%g x %g, want 80 x 10", across, down)
			}
			d := 80 * 10 * 1.8 / 180
			for i, want := range [4]Point{{-40 - d, -5 - d}, {40 + d, -5 - d}, {40 + d, 5 + d}, {-40 - d, 5 + d}} {
				want = Point{100 + want.X*cos - want.Y*sin, 80 + want.X*sin + want.Y*cos}
				if math.Hypot(quad[i].X-want.X, quad[i].Y-want.Y) > 1e-9 {
					t.Errorf("corner %d is %v, want %v", i, quad[i], want)
				}
			}
		})
	}
}

func TestComponents(t *testing.T) {
	p := make([]float32, 8*4)
	for _, i := range []int{9, 10, 19, 15, 23} { // 9, 10 and 19 touch by a corner; 15, 23 are apart
		p[i] = 0.5
	}
	p[30] = threshold // not above it
	got := components(p, 8, 4)
	if len(got) != 2 || len(got[0].border) != 12 || len(got[1].border) != 8 || got[0].mean != 0.5 {
		t.Errorf("%+v", got)
	}
}

func TestDecode(t *testing.T) {
	r, err := New(nil, nil, []string{"a", "b"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		steps []int
		want  string
	}{
		{[]int{0, 1, 1, 0, 2, 2}, "ab"},
		{[]int{1, 0, 1}, "aa"},
		{[]int{3, 1, 3, 2, 3}, "a b"},
		{[]int{0, 0}, ""},
	} {
		_, probability, _ := says(c.steps).Run(t.Context(), nil, nil)
		if got, confidence := r.decode(probability); got != c.want || c.want != "" && math.Abs(confidence-0.9) > 1e-6 {
			t.Errorf("%v reads %q at %g, want %q", c.steps, got, confidence, c.want)
		}
	}
}
