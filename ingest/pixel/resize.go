package pixel

import "math"

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
	across, down := filter(f.Columns, columns), filter(f.Rows, rows)
	pairs := paired(across, f.Columns)
	narrow := make([]byte, f.Rows*columns)
	for y := range f.Rows {
		row, to := f.Samples[y*f.Columns:][:f.Columns], narrow[y*columns:][:columns]
		if pairs != nil {
			shorten(row, grey, across, pairs, to)
		} else {
			weigh(row, grey, across, to)
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

// half rounds a sum.
const half = 1 << (precision - 1)

func weigh(row []uint16, grey *[values]byte, across []taps, out []byte) {
	for i, t := range across {
		sum := int32(half)
		for k, w := range t.weights {
			sum += int32(grey[row[t.first+k]]) * w
		}
		out[i] = clip(sum)
	}
}

// paired returns for each of the in inputs its weight in the last output that begins at or
// before it, in the high half, and in the output before that, in the low half. It returns nil
// when an input counts in more than two outputs, as where a film is enlarged.
func paired(across []taps, in int) []uint64 {
	pairs := make([]uint64, in)
	begin := func(i int) int {
		if i < len(across) {
			return across[i].first
		}
		return in
	}
	for i, t := range across {
		for k, w := range t.weights {
			switch x := t.first + k; {
			case x < begin(i+1):
				pairs[x] |= uint64(w) << 32
			case x < begin(i+2):
				pairs[x] |= uint64(w)
			case w != 0:
				return nil
			}
		}
	}
	return pairs
}

// shorten does what weigh does with one multiplication for the two outputs of an input:
// neither half of a sum overflows.
func shorten(row []uint16, grey *[values]byte, across []taps, pairs []uint64, out []byte) {
	before := uint64(0)
	for i, t := range across {
		end := len(row)
		if i+1 < len(across) {
			end = across[i+1].first
		}
		sum := weighed(row[t.first:end], grey, pairs[t.first:end])
		if i > 0 {
			out[i-1] = clip(int32(before + sum&math.MaxUint32))
		}
		before = half + sum>>32
	}
	out[len(out)-1] = clip(int32(before))
}

// weighed returns the sum of the products. Inlined, its sums would not stay in registers; it
// has two because one would wait for the other.
//
//go:noinline
func weighed(row []uint16, grey *[values]byte, weights []uint64) uint64 {
	row = row[:len(weights)]
	var even, odd uint64
	i := 0
	for ; i < len(weights)-1; i += 2 {
		even += uint64(grey[row[i]]) * weights[i]
		odd += uint64(grey[row[i+1]]) * weights[i+1]
	}
	if i < len(weights) {
		even += uint64(grey[row[i]]) * weights[i]
	}
	return even + odd
}

// clip takes the whole part; rounding of the weights can pass 255 by one step.
func clip(sum int32) byte { return byte(min(sum>>precision, 255)) }
