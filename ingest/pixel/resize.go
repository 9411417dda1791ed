package pixel

// precision is the number of fraction bits of a filter weight. 255 * 1<<22 fits in int32.
const precision = 22

// taps are the weights of one output pixel over inputs first, first+1, ...
type taps struct {
	first   int
	weights []int32 // sum to 1<<precision, but for rounding
}

// filter returns the antialiased bilinear filter from in to out pixels: a triangle as
// wide as two output pixels when it shrinks, as two input pixels when it enlarges. With
// the passes of resize it is the arithmetic of Pillow's BILINEAR (libImaging/Resample.c),
// bit for bit.
func filter(in, out int) []taps {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	all := make([]taps, out)
	weights := make([]float64, 0, int(2*support)+2)
	for i := range all {
		center := (float64(i) + 0.5) * scale
		first, end := max(int(center-support+0.5), 0), min(int(center+support+0.5), in)
		weights = weights[:0]
		sum := 0.0
		for x := first; x < end; x++ {
			d := (float64(x) - center + 0.5) * (1 / support)
			w := max(0, 1-max(d, -d))
			weights = append(weights, w)
			sum += w
		}
		all[i] = taps{first: first, weights: make([]int32, len(weights))}
		for k, w := range weights {
			all[i].weights[k] = int32(0.5 + w/sum*(1<<precision))
		}
	}
	return all
}

// resize writes f, in the grey values of the table, to out as columns x rows bytes; a row
// of out is Side bytes apart from the next. It goes along rows first, then across.
func resize(f Film, grey *[values]byte, out []byte, columns, rows int) {
	const half = 1 << (precision - 1)
	across, down := filter(f.Columns, columns), filter(f.Rows, rows)
	line := make([]byte, f.Columns)
	narrow := make([]byte, f.Rows*columns)
	for y := range f.Rows {
		for x, raw := range f.Samples[y*f.Columns:][:f.Columns] {
			line[x] = grey[raw]
		}
		to := narrow[y*columns:][:columns]
		for i, t := range across {
			sum := int32(half)
			from := line[t.first:][:len(t.weights)]
			for k, w := range t.weights {
				sum += int32(from[k]) * w
			}
			to[i] = clip(sum)
		}
	}
	sums := make([]int32, columns)
	for y, t := range down {
		for i := range sums {
			sums[i] = half
		}
		for k, w := range t.weights {
			from := narrow[(t.first+k)*columns:][:columns]
			for i, v := range from {
				sums[i] += int32(v) * w
			}
		}
		for i, sum := range sums {
			out[y*Side+i] = clip(sum)
		}
	}
}

// clip takes the whole part; rounding of the weights can pass 255 by one step.
func clip(sum int32) byte { return byte(min(sum>>precision, 255)) }
