package jpeg2000

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestKernels holds each way to compute the loops to the plain one, bit by bit.
func TestKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ints := func(n int) []int32 {
		x := make([]int32, n)
		for i := range x {
			x[i] = int32(r.Uint32()) >> r.IntN(32)
		}
		return x
	}
	mags := func(n int) []uint32 {
		x := make([]uint32, n)
		for i := range x {
			x[i] = r.Uint32()&^signBit>>r.IntN(32) | r.Uint32()&signBit
		}
		return x
	}
	special := []float32{0, float32(math.Copysign(0, -1)), 0.5, -0.5, 1e30, -1e30, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	floats := func(n int, any bool) []float32 {
		x := make([]float32, n)
		for i := range x {
			if x[i] = float32(r.NormFloat64() * math.Exp2(float64(r.IntN(20)))); any && r.IntN(4) == 0 {
				x[i] = special[r.IntN(len(special))]
			}
		}
		return x
	}
	same := func(a, b []float32) bool {
		return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
	}
	spans := []span{{2048, 0, 4095}, {0, -32768, 32767}, {32768, 0, 65535}}
	for _, k := range ways {
		if !k.has {
			t.Logf("NOT RUN: %s, which this processor lacks", k.name)
			continue
		}
		for n := range 70 {
			x, a, b, m := ints(n), ints(n), ints(n), mags(n)
			u, v, w := floats(n, false), floats(n, false), floats(n, false)
			wild, s := floats(n, true), spans[n%len(spans)]
			for step := range 2 {
				got, want := slices.Clone(x), slices.Clone(x)
				k.lift53(step, got, a, b)
				portable.lift53(step, want, a, b)
				if !slices.Equal(got, want) {
					t.Errorf("%s: lift53 step %d of %d", k.name, step, n)
				}
			}
			for step := range 4 {
				got, want := slices.Clone(u), slices.Clone(u)
				k.lift97(step, got, v, w)
				portable.lift97(step, want, v, w)
				if !same(got, want) {
					t.Errorf("%s: lift97 step %d of %d", k.name, step, n)
				}
			}
			gotInts, wantInts := make([]int32, 2*n), make([]int32, 2*n)
			gotFloats, wantFloats := make([]float32, 2*n), make([]float32, 2*n)
			gotStored, wantStored := make([]uint16, n), make([]uint16, n)
			for name, f := range map[string]func(k *kernels, ints []int32, floats []float32, stored []uint16){
				"scale":            func(k *kernels, _ []int32, out []float32, _ []uint16) { k.scale(out[:n], u, 0.3) },
				"interleaveInts":   func(k *kernels, out []int32, _ []float32, _ []uint16) { k.interleaveInts(out, a, b) },
				"interleaveFloats": func(k *kernels, _ []int32, out []float32, _ []uint16) { k.interleaveFloats(out, v, w) },
				"dequantizeInts":   func(k *kernels, out []int32, _ []float32, _ []uint16) { k.dequantizeInts(out[:n], m) },
				"dequantizeFloats": func(k *kernels, _ []int32, out []float32, _ []uint16) { k.dequantizeFloats(out[:n], m, 0.3) },
				"storeInts":        func(k *kernels, _ []int32, _ []float32, out []uint16) { k.storeInts(out, x, s) },
				"storeFloats":      func(k *kernels, _ []int32, _ []float32, out []uint16) { k.storeFloats(out, wild, s) },
			} {
				f(&k, gotInts, gotFloats, gotStored)
				f(&portable, wantInts, wantFloats, wantStored)
				if !slices.Equal(gotInts, wantInts) || !same(gotFloats, wantFloats) || !slices.Equal(gotStored, wantStored) {
					t.Errorf("%s: %s of %d", k.name, name, n)
				}
			}
		}
	}
}
