package pixel_test

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// render shows a film of grey values.
func render(t testing.TB, columns, rows int, grey func(x, y int) int) pixel.Rendered {
	t.Helper()
	f := pixel.Film{Rows: rows, Columns: columns, Display: true, Slope: 1, Samples: make([]uint16, rows*columns)}
	for i := range f.Samples {
		f.Samples[i] = uint16(max(0, min(255, grey(i%columns, i/columns))))
	}
	r, err := pixel.Render(f, pixel.Auto)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMeasure(t *testing.T) {
	near := func(name string, got, want, within float64) {
		t.Helper()
		if math.Abs(got-want) > within {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	m := pixel.Measure(render(t, 224, 224, func(x, y int) int { return 40 + (x+y)%100 }))
	near("contrast", m.Contrast, 98, 2)
	near("darkest", m.Darkest, 44, 2)
	near("brightest", m.Brightest, 134, 2)
	m = pixel.Measure(render(t, 224, 224, func(x, y int) int {
		switch { // a quarter black and a half white, spread over the film
		case (x*7+y*13)%4 == 0:
			return 0
		case (x*7+y*13)%4 < 3:
			return 255
		}
		return 100
	}))
	near("black", m.Black, 0.25, 0.01)
	near("white", m.White, 0.5, 0.01)

	// A step of 100 levels over n pixels bends by 100/n and rises by 200/n: 1/2 whatever n is
	// below 2, and less the softer its ends are.
	sharp := pixel.Measure(render(t, 224, 224, func(x, y int) int { return 50 + 100*((x/16+y/16)%2) })).Sharpness
	soft := pixel.Measure(render(t, 224, 224, func(x, y int) int {
		return 100 + int(50*math.Sin(float64(x)/8)*math.Sin(float64(y)/8))
	})).Sharpness
	if sharp < 0.9 || soft > 0.2 {
		t.Errorf("sharpness of a chessboard %.3f, of waves %.3f", sharp, soft)
	}
	moved := pixel.Measure(render(t, 224, 224, func(x, y int) int {
		return 100 + int(50*math.Sin(float64(x)/8)) + 40*(y/16%2)
	})).Sharpness
	if moved > 0.2 {
		t.Errorf("sharpness of what is soft along rows only: %.3f", moved)
	}
	if small := pixel.Measure(render(t, 100, 120, func(x, y int) int { return x })).Sharpness; !math.IsInf(small, 1) {
		t.Errorf("sharpness of an enlarged film: %g", small)
	}
}

// TestLimits: each limit refuses for its reason, says value and limit, and lets pass what lies
// on it.
func TestLimits(t *testing.T) {
	good := pixel.Measures{Contrast: 200, Darkest: 20, Brightest: 220, Sharpness: 0.6}
	limits := pixel.DefaultLimits()
	for _, tc := range []struct {
		name   string
		spoil  func(*pixel.Measures, pixel.Look)
		reason fault.Reason
		kind   fault.Kind
		words  []string
	}{
		{"as it is", func(*pixel.Measures, pixel.Look) {}, "", 0, nil},
		{"flat", func(m *pixel.Measures, _ pixel.Look) { m.Contrast = 7 }, pixel.ReasonBlank, fault.Invalid, []string{"7 grey", "at least 24"}},
		{"on the limit", func(m *pixel.Measures, _ pixel.Look) { m.Contrast = limits.Contrast }, "", 0, nil},
		{"white", func(m *pixel.Measures, _ pixel.Look) { m.White = 0.8 }, pixel.ReasonOverExposed, fault.Invalid, []string{"80 %"}},
		{"pale", func(m *pixel.Measures, _ pixel.Look) { m.Darkest = 201 }, pixel.ReasonOverExposed, fault.Invalid, []string{"201"}},
		{"black", func(m *pixel.Measures, _ pixel.Look) { m.Black = 0.8 }, pixel.ReasonUnderExposed, fault.Invalid, []string{"80 %"}},
		{"dark", func(m *pixel.Measures, _ pixel.Look) { m.Brightest = 33 }, pixel.ReasonUnderExposed, fault.Invalid, []string{"33"}},
		{"soft", func(m *pixel.Measures, _ pixel.Look) { m.Sharpness = 0.0625 }, pixel.ReasonBlurred, fault.Invalid, []string{"0.062"}},
		{"negative", func(_ *pixel.Measures, l pixel.Look) { l[pixel.Inverted] = 0.9999 }, pixel.ReasonInverted, fault.Invalid, []string{"0.9999"}},
		{"a cat", func(_ *pixel.Measures, l pixel.Look) { l[pixel.NotChest] = 0.9999 }, pixel.ReasonNotChest, fault.Unsupported, []string{"0.9999"}},
		{"a half", func(_ *pixel.Measures, l pixel.Look) { l[pixel.Cropped] = 0.9999 }, pixel.ReasonCropped, fault.Invalid, []string{"0.9999"}},
	} {
		m, look := good, pixel.Look{}
		tc.spoil(&m, look)
		err := limits.Check(m, look)
		if fault.ReasonOf(err) != tc.reason || err != nil && fault.KindOf(err) != tc.kind {
			t.Errorf("%s: %v", tc.name, err)
		}
		for _, w := range tc.words {
			if !strings.Contains(fault.Detail(err), w) {
				t.Errorf("%s: %q does not say %q", tc.name, fault.Detail(err), w)
			}
		}
		if err := (pixel.Limits{}).Check(m, look); err != nil {
			t.Errorf("%s: refused without limits: %v", tc.name, err)
		}
	}
}

// TestFeatures: a film, its mirror image and the same film in a frame look alike.
func TestFeatures(t *testing.T) {
	shape := func(x, y int) int {
		return 90 + int(80*math.Sin(float64(x)/31+float64(y)/90)*math.Cos(float64(y)/47)) + (x*7919+y*104729)%11
	}
	plain := render(t, 200, 224, shape)
	mirror := render(t, 200, 224, func(x, y int) int { return shape(199-x, y) })
	framed := render(t, 200, 260, func(x, y int) int {
		if y < 18 || y >= 242 {
			return 255
		}
		return shape(x, y-18)
	})
	want := pixel.Features(plain)
	if len(want) != pixel.FeatureCount {
		t.Fatalf("%d features", len(want))
	}
	distance := func(r pixel.Rendered) (d float64) {
		for i, v := range pixel.Features(r) {
			d += float64((v - want[i]) * (v - want[i]))
		}
		return math.Sqrt(d)
	}
	other := distance(render(t, 200, 224, func(x, y int) int { return shape(y, x) }))
	if d := distance(mirror); d > 0.01*other {
		t.Errorf("the mirror image differs by %.3f, another film by %.3f", d, other)
	}
	if d := distance(framed); d > 0.3*other {
		t.Errorf("the framed film differs by %.3f, another film by %.3f", d, other)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, n := rapid.IntRange(0, 255).Draw(t, "a"), rapid.IntRange(0, 99).Draw(t, "b"), rapid.IntRange(1, 50).Draw(t, "n")
		f := pixel.Film{Rows: 64 + n, Columns: 64 + b, Display: true, Slope: 1, Samples: make([]uint16, (64+n)*(64+b))}
		for i := range f.Samples {
			f.Samples[i] = uint16((a + b*(i/n)) % 256)
		}
		r, err := pixel.Render(f, pixel.Auto)
		if err != nil {
			return // blank
		}
		for i, v := range pixel.Features(r) {
			if math.IsNaN(float64(v)) || math.Abs(float64(v)) > 100 {
				t.Fatalf("feature %d is %g", i, v)
			}
		}
		pixel.Measure(r)
	})
}

// TestClassifierFile: the file that ships is whole, and a damaged one is refused.
func TestClassifierFile(t *testing.T) {
	c, err := pixel.NewClassifier()
	if err != nil {
		t.Fatal(err)
	}
	r := render(t, 224, 224, func(x, y int) int { return x })
	for _, q := range pixel.Questions() {
		if p, ok := c.Look(r)[q]; !ok || !(p >= 0 && p <= 1) {
			t.Errorf("%s: %g", q, p)
		}
	}
	text, err := os.ReadFile("classifier.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(*pixel.ClassifierFile){
		"no units":      func(f *pixel.ClassifierFile) { f.Units = nil },
		"short":         func(f *pixel.ClassifierFile) { f.Units[1].Values = f.Units[1].Values[2:] },
		"few answers":   func(f *pixel.ClassifierFile) { f.Units[1].Out = nil },
		"no bias":       func(f *pixel.ClassifierFile) { f.Bias = nil },
		"another order": func(f *pixel.ClassifierFile) { f.Questions[0], f.Questions[1] = f.Questions[1], f.Questions[0] },
	} {
		var f pixel.ClassifierFile
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		damage(&f)
		if _, err := f.Classifier(); fault.KindOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	c, err := pixel.NewClassifier()
	if err != nil {
		b.Fatal(err)
	}
	r := render(b, 224, 224, func(x, y int) int { return (x*x*7 + y*13 + x*y*3) >> 3 & 255 })
	for b.Loop() {
		c.Look(r)
		pixel.Measure(r)
	}
}
