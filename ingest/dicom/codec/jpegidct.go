package codec

// Constants of the inverse DCT, times 2^13 (Loeffler, Ligtenberg and Moschytz, ICASSP 1989).
const (
	idctBits = 13
	fix0_298 = 2446
	fix0_390 = 3196
	fix0_541 = 4433
	fix0_765 = 6270
	fix0_899 = 7373
	fix1_175 = 9633
	fix1_501 = 12299
	fix1_847 = 15137
	fix1_961 = 16069
	fix2_053 = 16819
	fix2_562 = 20995
	fix3_072 = 25172
)

// jpegIDCT turns coefficients into samples (T.81 A.3.3). It rounds where libjpeg's accurate
// integer IDCT ("islow") does, so that both give the same samples; in 64 bits, because
// coefficients of a damaged codestream may overflow 32.
type jpegIDCT struct {
	scale       uint // bits kept between the passes: 2 for 8-bit samples, else 1
	center, top int  // level shift, largest sample
	work        [64]int
}

func newIDCT(precision int) *jpegIDCT {
	t := &jpegIDCT{scale: 2, center: 1 << (precision - 1), top: 1<<precision - 1}
	if precision > 8 {
		t.scale = 1
	}
	return t
}

// block writes 8 x 8 samples to dst, whose lines are stride apart. The coefficients are in
// natural order; last is the zig-zag index of the last that may not be zero.
func (t *jpegIDCT) block(coefs *[64]int16, quant *[64]uint16, last int, dst []uint16, stride int) {
	if last == 0 {
		v := t.sample((int(coefs[0])*int(quant[0]) + 4) >> 3)
		for y := range 8 {
			line := dst[y*stride:][:8]
			for x := range line {
				line[x] = v
			}
		}
		return
	}
	up := t.scale & 15
	down := (idctBits - t.scale) & 31
	round := 1 << (down - 1)
	w := &t.work
	for x := range 8 {
		q := func(i int) int { return int(coefs[8*i+x]) * int(quant[8*i+x]) }
		if coefs[8+x]|coefs[16+x]|coefs[24+x]|coefs[32+x]|coefs[40+x]|coefs[48+x]|coefs[56+x] == 0 {
			v := q(0) << up
			w[x], w[8+x], w[16+x], w[24+x], w[32+x], w[40+x], w[48+x], w[56+x] = v, v, v, v, v, v, v, v
			continue
		}
		e0, e1, e2, e3 := idctEven(q(0), q(2), q(4), q(6))
		o0, o1, o2, o3 := idctOdd(q(1), q(3), q(5), q(7))
		w[x], w[56+x] = (e0+o0+round)>>down, (e0-o0+round)>>down
		w[8+x], w[48+x] = (e1+o1+round)>>down, (e1-o1+round)>>down
		w[16+x], w[40+x] = (e2+o2+round)>>down, (e2-o2+round)>>down
		w[24+x], w[32+x] = (e3+o3+round)>>down, (e3-o3+round)>>down
	}
	down = (idctBits + t.scale + 3) & 31
	round = 1 << (down - 1)
	for y := range 8 {
		r := w[8*y:][:8:8]
		e0, e1, e2, e3 := idctEven(r[0], r[2], r[4], r[6])
		o0, o1, o2, o3 := idctOdd(r[1], r[3], r[5], r[7])
		line := dst[y*stride:][:8:8]
		line[0], line[7] = t.sample((e0+o0+round)>>down), t.sample((e0-o0+round)>>down)
		line[1], line[6] = t.sample((e1+o1+round)>>down), t.sample((e1-o1+round)>>down)
		line[2], line[5] = t.sample((e2+o2+round)>>down), t.sample((e2-o2+round)>>down)
		line[3], line[4] = t.sample((e3+o3+round)>>down), t.sample((e3-o3+round)>>down)
	}
}

// sample shifts the level and clamps.
func (t *jpegIDCT) sample(v int) uint16 {
	return uint16(min(max(v+t.center, 0), t.top))
}

// idctEven is the part of inputs 0, 2, 4 and 6 in outputs 0 to 3, and mirrored in 7 to 4.
func idctEven(a, b, c, d int) (e0, e1, e2, e3 int) {
	z := (b + d) * fix0_541
	low, high := z-d*fix1_847, z+b*fix0_765
	sum, diff := (a+c)<<idctBits, (a-c)<<idctBits
	return sum + high, diff + low, diff - low, sum - high
}

// idctOdd is the part of inputs 1, 3, 5 and 7 in outputs 0 to 3, and negated in 7 to 4.
func idctOdd(a, b, c, d int) (o0, o1, o2, o3 int) {
	z5 := (d + b + c + a) * fix1_175
	z1, z2 := (d+a)*-fix0_899, (c+b)*-fix2_562
	z3, z4 := (d+b)*-fix1_961+z5, (c+a)*-fix0_390+z5
	return a*fix1_501 + z1 + z4, b*fix3_072 + z2 + z3, c*fix2_053 + z2 + z4, d*fix0_298 + z1 + z3
}
