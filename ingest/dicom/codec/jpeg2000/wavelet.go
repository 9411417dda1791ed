package jpeg2000

// sample is a coefficient or sample: int32 for the reversible wavelet, float32 for the other.
type sample interface{ int32 | float32 }

// rows hands out the rows of a band or a resolution level from top to bottom. A row is good
// until the next is asked for, and must not be changed. There must be one.
type rows[T sample] interface{ next() ([]T, error) }

// wavelet is one of the two filters of T.800 Annex F as lifting steps. Step 0 changes the
// samples of even coordinates, step 1 the odd ones, and so on.
type wavelet[T sample] struct {
	steps int
	// lift adds what step makes of the two neighbours a and b to every sample of x.
	lift func(step int, x, a, b []T)
	// row interleaves the low-pass and high-pass halves of a row into x, whose first sample is
	// high-pass if odd, and undoes the filter in it.
	row func(x, low, high []T, odd bool, scale [2]T)
	// scale returns the factors of low-pass and high-pass samples along a side of n.
	scale func(n int) [2]T
	// dequantize makes coefficients of magnitudes in halves; half is half of the step.
	dequantize func(out []T, mags []uint32, half float32)
	// single, where it is not nil, halves the samples of a high-pass column of one sample, which
	// F.3.6 leaves unfiltered.
	single func(x []T)
}

// level undoes one level of the transform (2D_SR, T.800 F.3.2): a resolution is made from the
// one below, which is ll, and its own bands. Rows are filtered as the vertical steps, each a
// row behind the one before, ask for them.
type level[T sample] struct {
	filter         *wavelet[T]
	w, h           int
	oddX, oddY     int
	ll, hl, lh, hh rows[T]
	data           []T // the last rows, steps+2 or all of them
	held           int // how many they are; row y is at y % held
	at             int // the next row from the bands
}

func newLevel[T sample](f *wavelet[T], res *resolution, ll, hl, lh, hh rows[T]) *level[T] {
	l := &level[T]{
		filter: f, w: res.x1 - res.x0, h: res.y1 - res.y0, oddX: res.x0 & 1, oddY: res.y0 & 1,
		ll: ll, hl: hl, lh: lh, hh: hh,
	}
	l.held = min(l.h, f.steps+2)
	l.data = make([]T, l.w*l.held)
	return l
}

func (l *level[T]) row(y int) []T { return l.data[y%l.held*l.w:][:l.w] }

func (l *level[T]) next() ([]T, error) {
	if l.w == 0 {
		return nil, nil
	}
	steps := l.filter.steps
	for {
		i := l.at
		if i < l.h {
			if err := l.take(i); err != nil {
				return nil, err
			}
		}
		l.at++
		if l.h == 1 {
			if l.oddY == 1 && l.filter.single != nil {
				l.filter.single(l.row(0))
			}
			return l.row(0), nil
		}
		for s := range steps {
			y := i - 1 - s
			if y < 0 || y >= l.h || (y+l.oddY)&1 != s&1 {
				continue
			}
			above, below := y-1, y+1
			if above < 0 {
				above = below // symmetric extension, F.3.7
			}
			if below >= l.h {
				below = above
			}
			l.filter.lift(s, l.row(y), l.row(above), l.row(below))
		}
		if y := i - steps; y >= 0 {
			return l.row(y), nil
		}
	}
}

// take makes row y of the next rows of two bands.
func (l *level[T]) take(y int) error {
	from, beside := l.ll, l.hl
	across, down := l.filter.scale(l.w), l.filter.scale(l.h)[0]
	if (y+l.oddY)&1 == 1 {
		from, beside, down = l.lh, l.hh, l.filter.scale(l.h)[1]
	}
	low, err := from.next()
	if err != nil {
		return err
	}
	high, err := beside.next()
	if err != nil {
		return err
	}
	l.filter.row(l.row(y), low, high, l.oddX == 1, [2]T{across[0] * down, across[1] * down})
	return nil
}

// reversible53 is the 5/3 filter (T.800 F.3.8.1).
func reversible53() *wavelet[int32] {
	return &wavelet[int32]{
		steps:      2,
		lift:       lift53,
		row:        row53,
		dequantize: dequantizeInts,
		scale:      func(int) [2]int32 { return [2]int32{1, 1} },
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
		steps:      4,
		lift:       lift97,
		row:        row97,
		dequantize: dequantizeFloats,
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
