package pixel_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// film is a film of 8-bit display values that a few lines of any language can make.
func film(columns, rows int) pixel.Film {
	f := pixel.Film{Rows: rows, Columns: columns, Display: true, Slope: 1, Samples: make([]uint16, rows*columns)}
	for y := range rows {
		for x := range columns {
			f.Samples[y*columns+x] = uint16((x*x*7 + y*13 + x*y*3) >> 3 & 255)
		}
	}
	return f
}

// TestVersusPillow holds the resize equal to Pillow 13.0.0, bit for bit: the film above
// through Image.resize((w, rows), BILINEAR).resize((w, h), BILINEAR), pasted in the middle
// of a black square. (In one call, Pillow turns the passes round for very tall images.)
func TestVersusPillow(t *testing.T) {
	for _, tc := range []struct {
		columns, rows int
		sha256        string
	}{
		{1000, 1300, "2c600de2423a651b1d85811899192357e1be573f4dc8dd71ae05cb91bf3d2d0d"},
		{2048, 2500, "975f6c95ad19161e56b9799789a2d15fbe8ad8e92beb0147999d7430d1b4df3d"},
		{100, 80, "fa2f887edda2f021c7e8b54611e9eeb97b4e6f2254786a78a0863fafd0949b3d"},
		{224, 224, "108dae232249325228247d8822374f56e332bc94bf9ba42e2a19d9713e6e9760"},
		{300, 64, "5c95d41960a63cf149636f0c441a9b979f0ecabe38feb4146f4283da55fad4c8"},
		{65, 640, "80f0f9cea65eddfa50c42ef6fb801af666601ab4cdf939facce7555d0bbdca1b"},
	} {
		r, err := pixel.Render(film(tc.columns, tc.rows), pixel.Auto)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(r.Pixels); hex.EncodeToString(sum[:]) != tc.sha256 {
			t.Errorf("%d x %d: sha256 %x, Pillow's is %s", tc.columns, tc.rows, sum, tc.sha256)
		}
		if r.Policy != pixel.None {
			t.Errorf("policy %s of a plain film", r.Policy)
		}
	}
}

func TestExposed(t *testing.T) {
	for _, tc := range []struct {
		columns, rows int
		aspect        float64
		want          [4]uint32
	}{
		{1000, 500, 0, [4]uint32{0, 56, 224, 168}},
		{500, 1000, 1, [4]uint32{56, 0, 168, 224}},
		{64, 64, 1, [4]uint32{0, 0, 224, 224}},
		{1000, 999, 1, [4]uint32{0, 0, 224, 224}},
		{1000, 500, 2, [4]uint32{0, 0, 224, 224}},
		{500, 500, 0.5, [4]uint32{0, 56, 224, 168}},
		{100, 100, 4, [4]uint32{84, 0, 140, 224}},
	} {
		f := film(tc.columns, tc.rows)
		f.Aspect = tc.aspect
		r, err := pixel.Render(f, pixel.Auto)
		if err != nil {
			t.Fatal(err)
		}
		if got := [4]uint32{r.Exposed.X0, r.Exposed.Y0, r.Exposed.X1, r.Exposed.Y1}; got != tc.want {
			t.Errorf("%d x %d: exposed %v, want %v", tc.columns, tc.rows, got, tc.want)
		}
		for i, v := range r.Pixels {
			x, y := uint32(i%pixel.Side), uint32(i/pixel.Side)
			if inside := x >= tc.want[0] && x < tc.want[2] && y >= tc.want[1] && y < tc.want[3]; !inside && v != 0 {
				t.Fatalf("%d x %d: %d outside the film at %d, %d", tc.columns, tc.rows, v, x, y)
			}
		}
	}
}

// ramp is 224 x 224, so that nothing is resized: column x holds first + step*x.
func ramp(first, step int) pixel.Film {
	f := pixel.Film{Rows: pixel.Side, Columns: pixel.Side, Slope: 1, Samples: make([]uint16, pixel.Side*pixel.Side)}
	for i := range f.Samples {
		f.Samples[i] = uint16(first + step*(i%pixel.Side))
	}
	return f
}

// TestPolicies follows four columns of a ramp through each policy.
func TestPolicies(t *testing.T) {
	// PS3.3 C.11.2.1.2.1, note 3: a window of center 2048, width 4096 maps 0 to 0 and 4095 to 255.
	window := pixel.Window{Center: 2048, Width: 4096}
	for _, tc := range []struct {
		name   string
		change func(f *pixel.Film)
		ask    pixel.Policy
		used   pixel.Policy
		want   [4]byte // columns 0, 1, 112, 223
	}{
		{"window", func(f *pixel.Film) { f.Windows = []pixel.Window{window} }, pixel.Auto, pixel.DICOM, [4]byte{0, 1, 112, 222}},
		{"narrow window", func(f *pixel.Film) { f.Windows = []pixel.Window{pixel.Window{Center: 1792, Width: 513}} }, pixel.Auto, pixel.DICOM, [4]byte{0, 0, 128, 255}},
		{"exact", func(f *pixel.Film) {
			f.Windows = []pixel.Window{pixel.Window{Center: 1792, Width: 512, Function: pixel.LinearExact}}
		}, pixel.DICOM, pixel.DICOM, [4]byte{0, 0, 128, 255}},
		{"sigmoid", func(f *pixel.Film) {
			f.Windows = []pixel.Window{pixel.Window{Center: 1792, Width: 4096, Function: pixel.Sigmoid}}
		}, pixel.Auto, pixel.DICOM, [4]byte{38, 38, 128, 217}},
		{"inverted", func(f *pixel.Film) { f.Windows, f.Invert = []pixel.Window{window}, true }, pixel.Auto, pixel.DICOM, [4]byte{255, 254, 143, 33}},
		{"rescaled", func(f *pixel.Film) {
			f.Windows, f.Slope, f.Intercept = []pixel.Window{{Center: 2048 * 2, Width: 4096*2 - 1}}, 2, 0.5
		}, pixel.Auto, pixel.DICOM, [4]byte{0, 1, 112, 222}},
		{"useless window", func(f *pixel.Film) { f.Windows = []pixel.Window{pixel.Window{Center: 40, Width: 1}} }, pixel.Auto, pixel.Percentile, [4]byte{0, 0, 128, 255}},
		{"no window", func(*pixel.Film) {}, pixel.Auto, pixel.Percentile, [4]byte{0, 0, 128, 255}},
		{"percentile asked", func(f *pixel.Film) { f.Windows = []pixel.Window{window} }, pixel.Percentile, pixel.Percentile, [4]byte{0, 0, 128, 255}},
		{"padding", func(f *pixel.Film) { f.Padding = &pixel.Range{Low: 223 * 16, High: 223 * 16} }, pixel.Percentile, pixel.Percentile, [4]byte{0, 0, 128, 0}},
		{"fixed", func(f *pixel.Film) { f.Intercept = -1792 }, pixel.Fixed, pixel.Fixed, [4]byte{0, 0, 213, 255}},
		{"signed", func(f *pixel.Film) {
			for i := range f.Samples {
				f.Samples[i] -= 1792
			}
			f.Signed, f.Windows = true, []pixel.Window{{Center: 256, Width: 4096}}
		}, pixel.Auto, pixel.DICOM, [4]byte{0, 1, 112, 222}},
		{"display", func(f *pixel.Film) { f.Display, f.Windows = true, []pixel.Window{window} }, pixel.Fixed, pixel.None, [4]byte{0, 16, 255, 255}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := ramp(0, 16)
			tc.change(&f)
			r, err := pixel.Render(f, tc.ask)
			if err != nil {
				t.Fatal(err)
			}
			got := [4]byte{r.Pixels[0], r.Pixels[1], r.Pixels[112], r.Pixels[223]}
			if r.Policy != tc.used || got != tc.want {
				t.Errorf("%s %v, want %s %v", r.Policy, got, tc.used, tc.want)
			}
		})
	}
}

// TestTwoHalves: a film that is all border is still a film.
func TestTwoHalves(t *testing.T) {
	f := ramp(0, 0)
	for i := range f.Samples {
		f.Samples[i] = uint16(i % pixel.Side / 112 * 1000)
	}
	r, err := pixel.Render(f, pixel.Auto)
	if err != nil || r.Pixels[0] != 0 || r.Pixels[223] != 255 {
		t.Errorf("%d %d, %v", r.Pixels[0], r.Pixels[223], err)
	}
}

// TestPercentileIgnoresBorder holds the collimated border out of the percentiles.
func TestPercentileIgnoresBorder(t *testing.T) {
	f := ramp(1000, 4)
	for i := range f.Samples {
		if x, y := i%pixel.Side, i/pixel.Side; x < 20 || y < 20 || y >= 200 {
			f.Samples[i] = 60000
		}
	}
	r, err := pixel.Render(f, pixel.Percentile)
	if err != nil {
		t.Fatal(err)
	}
	if at := r.Pixels[100*pixel.Side:]; at[21] > 2 || at[222] < 253 {
		t.Errorf("the film spans %d to %d", at[21], at[222])
	}
}

// TestMonotonic: windowing keeps the order of stored values, and inversion turns it round.
func TestMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := ramp(rapid.IntRange(0, 20000).Draw(t, "first"), rapid.IntRange(1, 200).Draw(t, "step"))
		f.Slope = rapid.Float64Range(0.01, 100).Draw(t, "slope")
		f.Intercept = rapid.Float64Range(-5000, 5000).Draw(t, "intercept")
		f.Windows = []pixel.Window{{
			Center: rapid.Float64Range(-5000, 70000).Draw(t, "center"), Width: rapid.Float64Range(0, 70000).Draw(t, "width"),
			Function: rapid.SampledFrom([]pixel.Function{"", pixel.LinearExact, pixel.Sigmoid}).Draw(t, "function"),
		}}
		policy := rapid.SampledFrom([]pixel.Policy{pixel.Auto, pixel.Percentile, pixel.Fixed}).Draw(t, "policy")
		plain, err := pixel.Render(f, policy)
		if err != nil {
			t.Fatal(err)
		}
		f.Invert = true
		inverted, err := pixel.Render(f, policy)
		if err != nil {
			t.Fatal(err)
		}
		for i := range plain.Pixels[:pixel.Side] {
			if i > 0 && plain.Pixels[i] < plain.Pixels[i-1] {
				t.Fatalf("grey falls at column %d", i)
			}
			if inverted.Pixels[i] != 255-plain.Pixels[i] {
				t.Fatalf("inversion of %d is %d", plain.Pixels[i], inverted.Pixels[i])
			}
		}
	})
}

func TestRenderRefusals(t *testing.T) {
	blank := ramp(7, 0)
	padded := ramp(7, 0)
	padded.Samples[0], padded.Padding = 9, &pixel.Range{Low: 8, High: 10}
	for _, tc := range []struct {
		name   string
		f      pixel.Film
		p      pixel.Policy
		kind   fault.Kind
		reason fault.Reason
	}{
		{"blank", blank, pixel.Auto, fault.Invalid, pixel.ReasonBlank},
		{"blank but padding", padded, pixel.Auto, fault.Invalid, pixel.ReasonBlank},
		{"small", film(63, 400), pixel.Auto, fault.Unsupported, pixel.ReasonTooSmall},
		{"no window", ramp(0, 1), pixel.DICOM, fault.Unsupported, pixel.ReasonNoWindow},
	} {
		_, err := pixel.Render(tc.f, tc.p)
		if fault.KindOf(err) != tc.kind || fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// chest is a film of 5 megapixels with 12 bits and a window, as a detector writes it.
func chest() pixel.Film {
	f := pixel.Film{Rows: 2500, Columns: 2048, Slope: 1, Windows: []pixel.Window{{Center: 2048, Width: 4096}}, Invert: true}
	f.Samples = make([]uint16, f.Rows*f.Columns)
	for i := range f.Samples {
		x, y := float64(i%f.Columns), float64(i/f.Columns)
		f.Samples[i] = uint16(2048 + 1500*math.Sin(x/300)*math.Cos(y/400) + float64(i*7919%97))
	}
	return f
}

func BenchmarkRender5MP(b *testing.B) {
	for _, p := range []pixel.Policy{pixel.Auto, pixel.Percentile} {
		b.Run(string(p), func(b *testing.B) {
			f := chest()
			b.SetBytes(int64(2 * len(f.Samples)))
			for b.Loop() {
				if _, err := pixel.Render(f, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestGolden pins the bytes of a windowed 12-bit film.
func TestGolden(t *testing.T) {
	r, err := pixel.Render(chest(), pixel.Auto)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("eaae2ce3a64edfafceb6ff175a13fc0a9313cd074ea0925d30f90457331ff845", fmt.Sprintf("%x", sha256.Sum256(r.Pixels))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
