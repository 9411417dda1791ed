package pixel

import "github.com/radstream/radstream/schemas/fault"

// Grey returns f at its full size in the grey values that [Render] shows under p: one byte a
// pixel, row-major. It is what burned-in text is looked for in.
//
// Errors: as [Render].
func Grey(f Film, p Policy) ([]byte, error) {
	if f.Rows*f.Columns != len(f.Samples) {
		return nil, fault.Errorf("pixel.Grey", fault.Internal, "a film of %d x %d with %d samples", f.Rows, f.Columns, len(f.Samples))
	}
	if min(f.Rows, f.Columns) < MinSide {
		return nil, fault.Reject("pixel.Grey", fault.Unsupported, ReasonTooSmall, "both sides must have at least %d pixels", MinSide)
	}
	table, err := f.table(p, &Rendered{})
	if err != nil {
		return nil, err
	}
	grey := make([]byte, len(f.Samples))
	for i, raw := range f.Samples {
		grey[i] = table[raw]
	}
	return grey, nil
}

// Fill returns f with the pixels that hole marks replaced by what lies around them: in each
// of the four directions the mean of the nearest unmarked pixels, at most four of them, and
// of these the mean weighted by the inverse of the distance, in whole stored values. Padding
// does not count as long as there is anything else. f is not changed; a film that is nothing
// but hole comes back as it is.
func Fill(f Film, hole []bool) Film {
	filled := f
	filled.Samples = append([]uint16(nil), f.Samples...)
	for y := range f.Rows {
		for x := range f.Columns {
			i := y*f.Columns + x
			if !hole[i] {
				continue
			}
			if v, ok := f.surround(hole, x, y, true); ok {
				filled.Samples[i] = v
			} else if v, ok = f.surround(hole, x, y, false); ok {
				filled.Samples[i] = v
			}
		}
	}
	return filled
}

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
func (f *Film) surround(hole []bool, x, y int, skipPadding bool) (value uint16, ok bool) {
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
			if hole[py*f.Columns+px] || skipPadding && f.pads(raw) {
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
