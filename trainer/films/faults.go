package films

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// Fault is one way, in one grade, to spoil a good film of grey values.
type Fault struct {
	Reason fault.Reason // for which the gate has to refuse it
	Grade  string
	apply  func(f pixel.Film, r *rand.Rand) pixel.Film
}

// Faults lists the graded faults. Lengths are in pixels of the rendered view, whose longer
// side has 224; shares of a crop are of the area of the film.
func Faults() []Fault {
	all := []Fault{
		{pixel.ReasonInverted, "white and black exchanged", func(f pixel.Film, _ *rand.Rand) pixel.Film {
			f.Invert = !f.Invert
			return f
		}},
		{pixel.ReasonBlank, "one grey with noise of 2 levels", func(f pixel.Film, r *rand.Rand) pixel.Film {
			level := 20 + 200*r.Float64()
			return grey(f, func(float64) float64 { return level + 2*r.NormFloat64() })
		}},
		{pixel.ReasonBlank, "contrast of 12 levels", func(f pixel.Film, r *rand.Rand) pixel.Film {
			level := 20 + 200*r.Float64()
			return grey(f, func(v float64) float64 { return level + v*12/255 })
		}},
	}
	for _, share := range []float64{0.55, 0.7, 0.85} {
		all = append(all, Fault{pixel.ReasonOverExposed, fmt.Sprintf("%.0f %% white", 100*share), func(f pixel.Film, _ *rand.Rand) pixel.Film {
			white := max(1, quantile(f, 1-share))
			return grey(f, func(v float64) float64 { return v * 255 / white })
		}}, Fault{pixel.ReasonUnderExposed, fmt.Sprintf("%.0f %% black", 100*share), func(f pixel.Film, _ *rand.Rand) pixel.Film {
			black := min(254, quantile(f, share))
			return grey(f, func(v float64) float64 { return (v - black) * 255 / (255 - black) })
		}})
	}
	for _, part := range []float64{4, 6, 8} {
		all = append(all, Fault{pixel.ReasonUnderExposed, fmt.Sprintf("grey divided by %.0f", part), func(f pixel.Film, _ *rand.Rand) pixel.Film {
			return grey(f, func(v float64) float64 { return v / part })
		}}, Fault{pixel.ReasonOverExposed, fmt.Sprintf("lightness divided by %.0f", part), func(f pixel.Film, _ *rand.Rand) pixel.Film {
			return grey(f, func(v float64) float64 { return 255 - (255-v)/part })
		}})
	}
	for _, sigma := range []float64{1.5, 2, 3, 5} {
		all = append(all, Fault{pixel.ReasonBlurred, fmt.Sprintf("Gaussian, deviation %.1f", sigma), func(f pixel.Film, _ *rand.Rand) pixel.Film {
			length := sigma * float64(max(f.Rows, f.Columns)) / pixel.Side
			return convolve(convolve(f, gaussian(length), 1), gaussian(length), f.Columns)
		}})
	}
	for _, length := range []float64{9, 13, 18} {
		all = append(all, Fault{pixel.ReasonBlurred, fmt.Sprintf("moved by %.0f", length), func(f pixel.Film, r *rand.Rand) pixel.Film {
			n := int(math.Round(length * float64(max(f.Rows, f.Columns)) / pixel.Side))
			even := slices.Repeat([]float64{1 / float64(n)}, n)
			return convolve(f, even, []int{1, f.Columns}[r.IntN(2)])
		}})
	}
	for _, part := range []struct {
		name          string
		width, height float64
	}{{"left or right half", 0.5, 1}, {"upper or lower half", 1, 0.5}, {"a third", 0.58, 0.58}, {"a quarter", 0.5, 0.5}, {"a tenth", 0.32, 0.32}} {
		all = append(all, Fault{pixel.ReasonCropped, part.name, func(f pixel.Film, r *rand.Rand) pixel.Film {
			columns, rows := int(part.width*float64(f.Columns)), int(part.height*float64(f.Rows))
			x, y := r.IntN(f.Columns-columns+1), r.IntN(f.Rows-rows+1)
			if part.width == 1 || part.height == 1 { // halves are cut along the middle
				x, y = (f.Columns-columns)*r.IntN(2), (f.Rows-rows)*r.IntN(2)
			}
			return cut(f, x, y, columns, rows)
		}})
	}
	return all
}

// grey changes the grey value of each pixel.
func grey(f pixel.Film, change func(v float64) float64) pixel.Film {
	out := f
	out.Samples = make([]uint16, len(f.Samples))
	for i, v := range f.Samples {
		out.Samples[i] = uint16(max(0, min(255, math.Round(change(float64(v))))))
	}
	return out
}

// quantile returns the grey value that a share of the pixels does not pass.
func quantile(f pixel.Film, share float64) float64 {
	sorted := slices.Clone(f.Samples)
	slices.Sort(sorted)
	return float64(sorted[int(share*float64(len(sorted)-1))])
}

func gaussian(deviation float64) []float64 {
	reach := int(math.Ceil(3 * deviation))
	kernel := make([]float64, 2*reach+1)
	sum := 0.0
	for i := range kernel {
		d := float64(i - reach)
		kernel[i] = math.Exp(-d * d / (2 * deviation * deviation))
		sum += kernel[i]
	}
	for i := range kernel {
		kernel[i] /= sum
	}
	return kernel
}

// convolve blurs along rows (step 1) or columns (step f.Columns). The film goes on as it ends.
func convolve(f pixel.Film, kernel []float64, step int) pixel.Film {
	out := f
	out.Samples = make([]uint16, len(f.Samples))
	n, lines, across := f.Columns, f.Rows, f.Columns
	if step != 1 {
		n, lines, across = f.Rows, f.Columns, 1
	}
	reach := len(kernel) / 2
	for line := range lines {
		start := line * across
		for i := range n {
			sum := 0.5
			for k, w := range kernel {
				sum += w * float64(f.Samples[start+max(0, min(n-1, i+k-reach))*step])
			}
			out.Samples[start+i*step] = uint16(sum)
		}
	}
	return out
}

// cut returns a part of f, whose sides may not be below what is rendered at all.
func cut(f pixel.Film, x, y, columns, rows int) pixel.Film {
	columns, rows = max(columns, pixel.MinSide), max(rows, pixel.MinSide)
	x, y = min(x, f.Columns-columns), min(y, f.Rows-rows)
	out := f
	out.Columns, out.Rows, out.Samples = columns, rows, nil
	for row := range rows {
		out.Samples = append(out.Samples, f.Samples[(y+row)*f.Columns+x:][:columns]...)
	}
	return out
}
