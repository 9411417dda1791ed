package pixel_test

import (
	"image"
	"slices"
	"testing"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

func TestGrey(t *testing.T) {
	f := pixel.Film{Rows: 64, Columns: 64, Samples: make([]uint16, 64*64), Slope: 1, Invert: true, Windows: []pixel.Window{{Center: 2048, Width: 4096}}}
	for i := range f.Samples {
		f.Samples[i] = uint16(i)
	}
	grey, err := pixel.Grey(f, pixel.DICOM)
	if err != nil || len(grey) != 64*64 || grey[0] != 255 || grey[4095] != 0 || grey[2048] < 120 || grey[2048] > 135 {
		t.Errorf("%v, %v", grey[:4], err)
	}
	for name, c := range map[string]struct {
		film pixel.Film
		want fault.Reason
	}{
		"blank": {pixel.Film{Rows: 64, Columns: 64, Samples: make([]uint16, 64*64), Slope: 1}, pixel.ReasonBlank},
		"small": {pixel.Film{Rows: 8, Columns: 8, Samples: make([]uint16, 64), Slope: 1}, pixel.ReasonTooSmall},
		"wrong": {pixel.Film{Rows: 64, Columns: 64}, ""},
	} {
		if _, err := pixel.Grey(c.film, pixel.Auto); err == nil || fault.ReasonOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFill(t *testing.T) {
	for name, c := range map[string]struct {
		film pixel.Film
		hole []int
		want map[int]int // as stored, sign-extended
	}{
		// 100 on the left, 225 on the right, 200 above and below.
		"middle": {film: plane(9, 9, func(x, _ int) int { return 100 + 100*(x/4) }), hole: []int{40}, want: map[int]int{40: 181}},
		"flat":   {film: plane(9, 9, func(int, int) int { return 7 }), hole: []int{0, 1, 9, 10, 40}, want: map[int]int{0: 7, 10: 7, 40: 7}},
		"signed": {film: signed(plane(9, 9, func(int, int) int { return -1000 })), hole: []int{40, 41}, want: map[int]int{40: -1000, 41: -1000}},
		"padding around": {film: pad(plane(9, 9, func(x, _ int) int {
			if x > 4 {
				return 4095
			}
			return 50
		}), 4095), hole: []int{40, 41, 49}, want: map[int]int{40: 50, 41: 50}},
		"nothing but padding": {film: pad(plane(9, 9, func(int, int) int { return 3 }), 3), hole: []int{40}, want: map[int]int{40: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			var holes []image.Rectangle
			before := append([]uint16(nil), c.film.Samples...)
			for _, i := range c.hole {
				holes = append(holes, image.Rect(i%9, i/9, i%9+1, i/9+1))
				c.film.Samples[i], before[i] = 60000, 60000
			}
			pixel.Fill(c.film, holes)
			for i, want := range c.want {
				v := int(c.film.Samples[i])
				if c.film.Signed {
					v = int(int16(c.film.Samples[i]))
				}
				if v != want {
					t.Errorf("pixel %d is %d, want %d", i, v, want)
				}
			}
			for i, v := range c.film.Samples {
				if v != before[i] && !slices.Contains(c.hole, i) {
					t.Fatalf("pixel %d changed", i)
				}
			}
		})
	}
	f := plane(9, 9, func(x, y int) int { return x * y })
	if pixel.Fill(f, []image.Rectangle{image.Rect(-1, 0, 5, 9), image.Rect(3, 0, 9, 10)}); f.Samples[80] != 64 {
		t.Error("a film that is nothing but hole changed")
	}
}

func plane(columns, rows int, value func(x, y int) int) pixel.Film {
	f := pixel.Film{Rows: rows, Columns: columns, Samples: make([]uint16, columns*rows), Slope: 1}
	for i := range f.Samples {
		f.Samples[i] = uint16(value(i%columns, i/columns))
	}
	return f
}

func signed(f pixel.Film) pixel.Film { f.Signed = true; return f }

func pad(f pixel.Film, value uint16) pixel.Film {
	f.Padding = &pixel.Range{Low: int(value), High: int(value)}
	return f
}
