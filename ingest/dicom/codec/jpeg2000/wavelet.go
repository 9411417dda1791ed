package jpeg2000

// sample is a coefficient or sample: int32 for the reversible wavelet, float32 for the other.
type sample interface{ int32 | float32 }

// plane is a rectangle of samples at x0, y0 of its resolution level, row-major. It may hold
// only the last so many rows, when done takes each as soon as nothing changes it any more.
type plane[T sample] struct {
	x0, y0, w, h int
	rows         int // held; row y is at y % rows
	data         []T
	done         func(y int, row []T) // or nil
}

// wavelet is one of the two filters of T.800 Annex F as lifting steps. Step 0 changes the
// samples of even coordinates, step 1 the odd ones, and so on.
type wavelet[T sample] struct {
	steps int
	// lift adds what step makes of the two neighbours a and b to every sample of x.
	lift func(step int, x, a, b []T)
	// row interleaves the low-pass and high-pass halves of a row into x, whose first sample is
	// high-pass if odd, and undoes the filter in it. high tells a row of vertical high-pass.
	row func(x, low, high []T, odd bool, scale [2]T)
	// scale returns the factors of low-pass and high-pass samples along a side of n.
	scale func(n int) [2]T
	// single, where it is not nil, halves the samples of a high-pass column of one sample, which
	// F.3.6 leaves unfiltered.
	single func(x []T)
}

// synthesize undoes one level of the transform (2D_SR, T.800 F.3.2): out.data is made from the
// four bands of its resolution, which are row-major and as wide and high as out's coordinates
// make them. Rows are filtered as the vertical steps, each a row behind the one before, ask
// for them, so that a level passes once through memory. It takes steps+2 rows at once.
func (f *wavelet[T]) synthesize(out *plane[T], ll, hl, lh, hh []T) {
	w, h := out.w, out.h
	lowW := (out.x0+w+1)/2 - (out.x0+1)/2
	highW := w - lowW
	oddX, oddY := out.x0&1, out.y0&1
	across, down := f.scale(w), f.scale(h)
	row := func(y int) []T { return out.data[y%out.rows*w:][:w] }
	for i := range h + f.steps {
		if i < h {
			k := (i + oddY) >> 1 // index of the row in its band
			if (i+oddY)&1 == 0 {
				k -= oddY // the first low-pass row lies below a high-pass one
				f.row(row(i), ll[k*lowW:][:lowW], hl[k*highW:][:highW], oddX == 1, [2]T{across[0] * down[0], across[1] * down[0]})
			} else {
				f.row(row(i), lh[k*lowW:][:lowW], hh[k*highW:][:highW], oddX == 1, [2]T{across[0] * down[1], across[1] * down[1]})
			}
		}
		if h == 1 {
			if oddY == 1 && f.single != nil {
				f.single(row(0))
			}
			if out.done != nil {
				out.done(0, row(0))
			}
			break
		}
		for s := range f.steps {
			y := i - 1 - s
			if y < 0 || y >= h || (y+oddY)&1 != s&1 {
				continue
			}
			above, below := y-1, y+1
			if above < 0 {
				above = below // symmetric extension, F.3.7
			}
			if below >= h {
				below = above
			}
			f.lift(s, row(y), row(above), row(below))
		}
		if y := i - f.steps; y >= 0 && out.done != nil {
			out.done(y, row(y)) // the rows around it still need it
		}
	}
}

// reversible53 is the 5/3 filter (T.800 F.3.8.1).
func reversible53() *wavelet[int32] {
	return &wavelet[int32]{
		steps: 2,
		lift:  lift53,
		row:   row53,
		scale: func(int) [2]int32 { return [2]int32{1, 1} },
		single: func(x []int32) {
			for i := range x {
				x[i] >>= 1
			}
		},
	}
}

func lift53(step int, x, a, b []int32) {
	a, b = a[:len(x)], b[:len(x)]
	if step == 0 {
		for i := range x {
			x[i] -= (a[i] + b[i] + 2) >> 2
		}
		return
	}
	for i := range x {
		x[i] += (a[i] + b[i]) >> 1
	}
}

// row53 computes each even sample from the high-pass ones beside it, and the odd sample
// before it from the two even ones.
func row53(x, low, high []int32, odd bool, _ [2]int32) {
	switch {
	case len(x) == 1 && odd:
		x[0] = high[0] >> 1
		return
	case len(x) == 1:
		x[0] = low[0]
		return
	}
	// before is the high-pass sample left of even sample 0, mirrored where there is none.
	before, o := high[0], 0
	if odd {
		o, high = 1, high[1:]
	}
	n := min(len(low), len(high))
	last := int32(0) // the even sample before
	if n > 0 {
		last = low[0] - (before+high[0]+2)>>2
	} else { // one low-pass sample between mirrored high-pass ones
		last = low[0] - (2*before+2)>>2
	}
	if odd {
		x[0] = before + last
	}
	x = x[o:]
	x[0] = last
	if n > 0 {
		hi := high[:n]
		lo := low[:n]
		out := x[: 2*n : 2*n]
		h := hi[0]
		for i := 1; i < len(hi) && i < len(lo) && 2*i < len(out); i++ {
			g := hi[i]
			even := lo[i] - (h+g+2)>>2
			out[2*i] = even
			out[2*i-1] = h + (last+even)>>1
			last, h = even, g
		}
		// what follows the last pair: an even sample, or nothing
		if len(low) > n {
			even := low[n] - (2*h+2)>>2
			x[2*n] = even
			x[2*n-1] = h + (last+even)>>1
		} else {
			x[2*n-1] = h + last
		}
	}
}

// The lifting constants of the 9/7 filter, T.800 table F.4.
const (
	alpha97 = -1.586134342059924
	beta97  = -0.052980118572961
	gamma97 = 0.882911075530934
	delta97 = 0.443506852043971
	k97     = 1.230174104914001
)

// irreversible97 is the 9/7 filter (T.800 F.3.8.2).
func irreversible97() *wavelet[float32] {
	return &wavelet[float32]{
		steps: 4,
		lift:  lift97,
		row:   row97,
		scale: func(n int) [2]float32 {
			if n == 1 { // not filtered, and halved where it is high-pass, F.3.6
				return [2]float32{1, 0.5}
			}
			return [2]float32{k97, 1 / k97}
		},
	}
}

// step97 returns the factor of a lifting step.
func step97(step int) float32 { return [4]float32{-delta97, -gamma97, -beta97, -alpha97}[step] }

func lift97(step int, x, a, b []float32) {
	k := step97(step)
	a, b = a[:len(x)], b[:len(x)]
	for i := range x {
		x[i] += k * (a[i] + b[i])
	}
}

func row97(x, low, high []float32, odd bool, scale [2]float32) {
	o := 0
	if odd {
		o = 1
	}
	for i, v := range low {
		x[2*i+o] = v * scale[0]
	}
	for i, v := range high {
		x[2*i+1-o] = v * scale[1]
	}
	n := len(x)
	if n == 1 {
		return
	}
	for s := range 4 {
		k := step97(s)
		first := (s + o) & 1
		if first == 0 {
			x[0] += k * 2 * x[1]
			first = 2
		}
		i := first
		for ; i < n-1; i += 2 {
			x[i] += k * (x[i-1] + x[i+1])
		}
		if i == n-1 {
			x[i] += k * 2 * x[i-1]
		}
	}
}
