package pixel

import (
	"image"

	"github.com/radstream/radstream/schemas/fault"
)

// Shades is a film in the grey values that [Render] shows, made where they are asked for.
type Shades struct {
	film  Film
	table *[values]byte
}

// Shade returns f in the grey values that [Render] shows under p. It is what burned-in text is
// looked for in. Samples of f that change later show with the same table.
//
// Errors: as [Render].
func Shade(f Film, p Policy) (Shades, error) {
	if f.Rows*f.Columns != len(f.Samples) {
		return Shades{}, fault.Errorf("pixel.Shade", fault.Internal, "a film of %d x %d with %d samples", f.Rows, f.Columns, len(f.Samples))
	}
	if min(f.Rows, f.Columns) < MinSide {
		return Shades{}, fault.Reject("pixel.Shade", fault.Unsupported, ReasonTooSmall, "both sides must have at least %d pixels", MinSide)
	}
	table, err := f.table(p, &Rendered{})
	return Shades{f, table}, err
}

// Size returns the columns and rows of the film.
func (s Shades) Size() (columns, rows int) { return s.film.Columns, s.film.Rows }

// Row writes the grey values of row y from column x on to out, whose end must lie in the film.
func (s Shades) Row(y, x int, out []byte) {
	for i, raw := range s.film.Samples[y*s.film.Columns+x:][:len(out)] {
		out[i] = s.table[raw]
	}
}

// Grey returns f at its full size as [Shade] shows it: one byte a pixel, row-major. Errors: as
// [Render].
func Grey(f Film, p Policy) ([]byte, error) {
	s, err := Shade(f, p)
	if err != nil {
		return nil, err
	}
	grey := make([]byte, len(f.Samples))
	for y := range f.Rows {
		s.Row(y, 0, grey[y*f.Columns:][:f.Columns])
	}
	return grey, nil
}

// Fill replaces the pixels of f in holes by what lies around them: in each of the four
// directions the mean of the nearest pixels in no hole, at most four of them, and of these the
// mean weighted by the inverse of the distance, in whole stored values. Padding does not count
// as long as there is anything else. A film that is nothing but hole stays as it is.
func Fill(f Film, holes []image.Rectangle) {
	in := make(mask, (len(f.Samples)+63)/64)
	whole := image.Rect(0, 0, f.Columns, f.Rows)
	each := func(do func(x, y, i int)) {
		for _, h := range holes {
			h = h.Intersect(whole)
			for y := h.Min.Y; y < h.Max.Y; y++ {
				for x := h.Min.X; x < h.Max.X; x++ {
					do(x, y, y*f.Columns+x)
				}
			}
		}
	}
	each(func(_, _, i int) { in[i/64] |= 1 << (i % 64) })
	// No value is made of pixels in holes, so that those that are filled already do not count.
	each(func(x, y, i int) {
		if v, ok := f.surround(in, x, y, true); ok {
			f.Samples[i] = v
		} else if v, ok = f.surround(in, x, y, false); ok {
			f.Samples[i] = v
		}
	})
}

// mask has a bit for each pixel of a film.
type mask []uint64

func (m mask) has(i int) bool { return m[i/64]>>(i%64)&1 != 0 }

// pads tells whether a stored value is padding.
func (f *Film) pads(raw uint16) bool {
	value := int(raw)
	if f.Signed {
		value = int(int16(raw))
	}
	return f.Padding != nil && f.Padding.Low <= value && value <= f.Padding.High
}

// reach is how many pixels beyond a hole make a mean, against noise and streaks.
const reach = 4

// surround returns the value of a pixel in a hole; ok is false where there is nothing to make
// it of.
func (f *Film) surround(hole mask, x, y int, skipPadding bool) (value uint16, ok bool) {
	const one = 1 << 16 // weights are fractions of it, so that sums are whole numbers
	sum, weights := 0, 0
	for _, d := range [4][2]int{{-1, 0}, {1, 0}, {0, -1}, {0, 1}} {
		total, n, distance := 0, 0, 0
		for k := 1; n < reach; k++ {
			px, py := x+k*d[0], y+k*d[1]
			if px < 0 || py < 0 || px >= f.Columns || py >= f.Rows {
				break
			}
			raw := f.Samples[py*f.Columns+px]
			if hole.has(py*f.Columns+px) || skipPadding && f.pads(raw) {
				if n > 0 {
					break
				}
				continue
			}
			if n == 0 {
				distance = k
			}
			n++
			if f.Signed {
				total += int(int16(raw))
			} else {
				total += int(raw)
			}
		}
		if n > 0 {
			w := one / distance
			sum += total * w / n
			weights += w
		}
	}
	if weights == 0 {
		return 0, false
	}
	// Rounds to the nearest for values of either sign.
	v := (2*sum + weights) / (2 * weights)
	if 2*sum+weights < 0 && (2*sum+weights)%(2*weights) != 0 {
		v--
	}
	return uint16(v), true
}
