package jpeg2000

import "golang.org/x/sys/cpu"

// ways are those from the fastest to the one that always works.
var ways = [...]kernels{
	{
		"avx2", cpu.X86.HasAVX2, lift53, lift97, scale, interleaveInts, interleaveFloats,
		dequantizeInts, dequantizeFloats, storeInts, storeFloats,
	},
	portable,
}

// The assembly takes 8 samples, or 16, at a time and does not look at lengths. Go takes the rest.

func lift53(step int, x, a, b []int32) {
	n := len(x) &^ 7
	a, b = a[:len(x)], b[:len(x)]
	if n > 0 {
		if step == 0 {
			lift53EvenAVX2(&x[0], &a[0], &b[0], n)
		} else {
			lift53OddAVX2(&x[0], &a[0], &b[0], n)
		}
	}
	lift53Go(step, x[n:], a[n:], b[n:])
}

func lift97(step int, x, a, b []float32) {
	n := len(x) &^ 7
	a, b = a[:len(x)], b[:len(x)]
	if n > 0 {
		lift97AVX2(&x[0], &a[0], &b[0], n, step97(step))
	}
	lift97Go(step, x[n:], a[n:], b[n:])
}

func scale(out, x []float32, factor float32) {
	n := len(out) &^ 7
	x = x[:len(out)]
	if n > 0 {
		scaleAVX2(&out[0], &x[0], n, factor)
	}
	scaleGo(out[n:], x[n:], factor)
}

func interleaveInts(x, first, second []int32) {
	n := len(x) / 2 &^ 7
	first, second = first[:len(x)/2], second[:len(x)/2]
	if n > 0 {
		interleaveIntsAVX2(&x[0], &first[0], &second[0], n)
	}
	interleaveGo(x[2*n:], first[n:], second[n:])
}

func interleaveFloats(x, first, second []float32) {
	n := len(x) / 2 &^ 7
	first, second = first[:len(x)/2], second[:len(x)/2]
	if n > 0 {
		interleaveFloatsAVX2(&x[0], &first[0], &second[0], n)
	}
	interleaveGo(x[2*n:], first[n:], second[n:])
}

func dequantizeInts(out []int32, mags []uint32) {
	n := len(out) &^ 7
	mags = mags[:len(out)]
	if n > 0 {
		dequantizeIntsAVX2(&out[0], &mags[0], n)
	}
	dequantizeIntsGo(out[n:], mags[n:])
}

func dequantizeFloats(out []float32, mags []uint32, half float32) {
	n := len(out) &^ 7
	mags = mags[:len(out)]
	if n > 0 {
		dequantizeFloatsAVX2(&out[0], &mags[0], n, half)
	}
	dequantizeFloatsGo(out[n:], mags[n:], half)
}

func storeInts(out []uint16, x []int32, s span) {
	n := len(out) &^ 15
	x = x[:len(out)]
	if n > 0 {
		storeIntsAVX2(&out[0], &x[0], n, s.shift, s.low, s.high)
	}
	storeIntsGo(out[n:], x[n:], s)
}

func storeFloats(out []uint16, x []float32, s span) {
	n := len(out) &^ 15
	x = x[:len(out)]
	if n > 0 {
		storeFloatsAVX2(&out[0], &x[0], n, s.shift, s.low, s.high)
	}
	storeFloatsGo(out[n:], x[n:], s)
}

//go:noescape
func lift53EvenAVX2(x, a, b *int32, n int)

//go:noescape
func lift53OddAVX2(x, a, b *int32, n int)

//go:noescape
func lift97AVX2(x, a, b *float32, n int, k float32)

//go:noescape
func scaleAVX2(out, x *float32, n int, factor float32)

//go:noescape
func interleaveIntsAVX2(x, first, second *int32, n int)

//go:noescape
func interleaveFloatsAVX2(x, first, second *float32, n int)

//go:noescape
func dequantizeIntsAVX2(out *int32, mags *uint32, n int)

//go:noescape
func dequantizeFloatsAVX2(out *float32, mags *uint32, n int, half float32)

//go:noescape
func storeIntsAVX2(out *uint16, x *int32, n int, shift, low, high int32)

//go:noescape
func storeFloatsAVX2(out *uint16, x *float32, n int, shift, low, high int32)
