package jpeg2000

import "math"

// kernels are the loops over rows of samples. x, out and a row begin as long as they are to be.
type kernels struct {
	name string
	has  bool // this processor can run them

	// lift53 and lift97 add what a lifting step makes of the two neighbours a and b to each of x.
	lift53 func(step int, x, a, b []int32)
	lift97 func(step int, x, a, b []float32)
	// scale multiplies.
	scale func(out, x []float32, factor float32)
	// interleaveInts and interleaveFloats put first and second in turn into x, pairs of them.
	interleaveInts   func(x, first, second []int32)
	interleaveFloats func(x, first, second []float32)
	// dequantizeInts and dequantizeFloats make coefficients of magnitudes in halves with their
	// sign (T.800 E.1). The half is the r of equation E-6: a coefficient whose last bit-planes are
	// missing is put in the middle of its interval. Floats are multiplied with half a step.
	dequantizeInts   func(out []int32, mags []uint32)
	dequantizeFloats func(out []float32, mags []uint32, half float32)
	// storeInts and storeFloats round, undo the level shift and clamp.
	storeInts   func(out []uint16, x []int32, s span)
	storeFloats func(out []uint16, x []float32, s span)
}

// span is the level shift (T.800 G.1), and the least and the largest sample.
type span struct{ shift, low, high int32 }

// portable is what every processor runs.
var portable = kernels{
	"go", true, lift53Go, lift97Go, scaleGo, interleaveGo[int32], interleaveGo[float32],
	dequantizeIntsGo, dequantizeFloatsGo, storeIntsGo, storeFloatsGo,
}

// fastest returns the first of ways that this processor has.
func fastest() *kernels {
	i := 0
	for !ways[i].has {
		i++
	}
	return &ways[i]
}

func lift53Go(step int, x, a, b []int32) {
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

func lift97Go(step int, x, a, b []float32) {
	k := step97(step)
	a, b = a[:len(x)], b[:len(x)]
	for i := range x {
		x[i] += k * (a[i] + b[i])
	}
}

func scaleGo(out, x []float32, factor float32) {
	x = x[:len(out)]
	for i := range out {
		out[i] = x[i] * factor
	}
}

func interleaveGo[T sample](x, first, second []T) {
	n := len(x) / 2
	first, second = first[:n], second[:n]
	for i := range first {
		x[2*i], x[2*i+1] = first[i], second[i]
	}
}

func dequantizeIntsGo(out []int32, mags []uint32) {
	mags = mags[:len(out)]
	for i, m := range mags {
		s := int32(m) >> 31 // all ones if negative
		out[i] = (int32(m&^signBit>>1) ^ s) - s
	}
}

func dequantizeFloatsGo(out []float32, mags []uint32, half float32) {
	mags = mags[:len(out)]
	for i, m := range mags {
		v := float32(int32(m&^signBit)) * half
		out[i] = math.Float32frombits(math.Float32bits(v) | m&signBit)
	}
}

func storeIntsGo(out []uint16, x []int32, s span) {
	x = x[:len(out)]
	for i, v := range x {
		out[i] = uint16(max(s.low, min(s.high, v+s.shift)))
	}
}

// farFloat is beyond every sample. What a malformed codestream makes larger, or no number, is
// taken for it, so that it fits an int32.
const farFloat = 1 << 20

func storeFloatsGo(out []uint16, x []float32, s span) {
	x = x[:len(out)]
	for i, v := range x {
		if !(v > -farFloat) {
			v = -farFloat
		} else if v > farFloat {
			v = farFloat
		}
		if v < 0 {
			v -= 0.5
		} else {
			v += 0.5
		}
		out[i] = uint16(max(s.low, min(s.high, int32(v)+s.shift)))
	}
}
