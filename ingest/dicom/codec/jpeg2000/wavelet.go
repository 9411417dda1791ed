package jpeg2000

// sample is a coefficient or sample: int32 for the reversible wavelet, float32 for the other.
type sample interface{ int32 | float32 }

// rows hands out the rows of a band or a resolution level from top to bottom. A row is good
// until the next is asked for, and must not be changed. There must be one.
type rows[T sample] interface{ next() ([]T, error) }

// wavelet is one of the two filters of T.800 Annex F as lifting steps. Step 0 changes the
// samples of even coordinates, which are low-pass, step 1 the odd ones, and so on.
type wavelet[T sample] struct {
	steps int
	// factors returns those of low-pass and high-pass samples along a side of n.
	factors func(n int) [2]T
	// single, where it is not nil, halves the high-pass samples of a side of one sample, which
	// F.3.6 leaves unfiltered.
	single func(x []T)

	// As in kernels.
	lift       func(step int, x, a, b []T)
	scale      func(out, x []T, factor T)
	interleave func(x, first, second []T)
	dequantize func(out []T, mags []uint32, half float32)
}

// row interleaves the low-pass and high-pass halves of a row into x, whose first sample is
// high-pass if odd, and undoes the filter. The halves are changed.
func (f *wavelet[T]) row(x, low, high []T, odd bool) {
	first, second := low, high
	if odd {
		first, second = high, low
	}
	switch {
	case len(x) > 1:
		for s := range f.steps {
			if s&1 == 0 {
				f.beside(s, low, high, !odd)
			} else {
				f.beside(s, high, low, odd)
			}
		}
	case odd && f.single != nil:
		f.single(high)
	}
	f.interleave(x[:len(second)*2], first, second)
	if len(x)&1 == 1 {
		x[len(x)-1] = first[len(second)]
	}
}

// beside takes step s in the samples x, between which and beside which are those of y; first
// tells that x has the first of the row. At the ends, the one neighbour counts twice (symmetric
// extension, F.3.7).
func (f *wavelet[T]) beside(s int, x, y []T, first bool) {
	if first {
		f.lift(s, x[:1], y, y)
		x = x[1:]
	}
	n := min(len(x), len(y)-1)
	f.lift(s, x[:n], y, y[1:])
	if n < len(x) {
		f.lift(s, x[n:], y[n:], y[n:])
	}
}

// level undoes one level of the transform (2D_SR, T.800 F.3.2): a resolution is made from the
// one below, which is ll, and its own bands. Rows are filtered as the vertical steps, each a
// row behind the one before, ask for them.
type level[T sample] struct {
	filter         *wavelet[T]
	w, h           int
	oddX, oddY     int
	ll, hl, lh, hh rows[T]
	low, high      []T // halves of a row
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
	l.low, l.high = make([]T, (l.w+1-l.oddX)/2), make([]T, (l.w+l.oddX)/2)
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
	f, from, beside := l.filter, l.ll, l.hl
	across, down := f.factors(l.w), f.factors(l.h)[0]
	if (y+l.oddY)&1 == 1 {
		from, beside, down = l.lh, l.hh, f.factors(l.h)[1]
	}
	low, err := from.next()
	if err != nil {
		return err
	}
	high, err := beside.next()
	if err != nil {
		return err
	}
	f.scale(l.low, low, across[0]*down)
	f.scale(l.high, high, across[1]*down)
	f.row(l.row(y), l.low, l.high, l.oddX == 1)
	return nil
}

// reversible53 is the 5/3 filter (T.800 F.3.8.1).
func reversible53(k *kernels) *wavelet[int32] {
	return &wavelet[int32]{
		steps:   2,
		factors: func(int) [2]int32 { return [2]int32{1, 1} },
		single: func(x []int32) {
			for i := range x {
				x[i] >>= 1
			}
		},
		lift:       k.lift53,
		scale:      func(out, x []int32, _ int32) { copy(out, x) },
		interleave: k.interleaveInts,
		dequantize: func(out []int32, mags []uint32, _ float32) { k.dequantizeInts(out, mags) },
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
func irreversible97(k *kernels) *wavelet[float32] {
	return &wavelet[float32]{
		steps: 4,
		factors: func(n int) [2]float32 {
			if n == 1 { // not filtered, and halved where it is high-pass, F.3.6
				return [2]float32{1, 0.5}
			}
			return [2]float32{k97, 1 / k97}
		},
		lift:       k.lift97,
		scale:      k.scale,
		interleave: k.interleaveFloats,
		dequantize: k.dequantizeFloats,
	}
}

// step97 returns the factor of a lifting step.
func step97(step int) float32 { return [4]float32{-delta97, -gamma97, -beta97, -alpha97}[step] }
