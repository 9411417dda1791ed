package phantom

import (
	"math"
	"math/rand/v2"
)

// splitmix is a strong mix of 64 bits (Steele et al. 2014), to make seeds that differ in
// one bit unrelated.
func splitmix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// stream is what a generator is for; each stream of each number is independent.
type stream uint64

const (
	streamPatient stream = iota + 1
	streamPair
	streamFindings
	streamShape // where in the patient a finding sits
	streamStudy
	streamFilm
	streamReport
	streamIdentity
	streamUID
	streamVariant
)

// generator returns the generator of stream s for number n (a study or patient index).
func generator(seed uint64, s stream, n uint64) *rand.Rand {
	a := splitmix(seed ^ splitmix(uint64(s)))
	return rand.New(rand.NewPCG(splitmix(a^splitmix(n)), splitmix(a+n)))
}

// between is uniform in lo..hi.
func between(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// pick returns one of the choices, each as likely.
func pick[T any](r *rand.Rand, choices []T) T { return choices[r.IntN(len(choices))] }

// cloud is smooth noise with mean about 0 and deviation about 1: lattices of random
// values, each octave twice as fine and with fall times the weight. cell is the coarsest
// lattice's pitch in pixels.
func cloud(r *rand.Rand, rows, cols int, cell float64, octaves int, fall float64) []float32 {
	out := make([]float32, rows*cols)
	weight, total := 1.0, 0.0
	for range octaves {
		nx, ny := int(float64(cols)/cell)+2, int(float64(rows)/cell)+2
		lattice := make([]float32, nx*ny)
		for i := range lattice {
			lattice[i] = float32(r.NormFloat64() * weight)
		}
		for y := range rows {
			fy := float64(y) / cell
			y0 := int(fy)
			ty := float32(smooth(0, 1, fy-float64(y0)))
			a, b := lattice[y0*nx:(y0+1)*nx], lattice[(y0+1)*nx:(y0+2)*nx]
			line := out[y*cols : (y+1)*cols]
			for x := range line {
				fx := float64(x) / cell
				x0 := int(fx)
				t := float32(fx - float64(x0))
				t = t * t * (3 - 2*t)
				top := a[x0] + (a[x0+1]-a[x0])*t
				low := b[x0] + (b[x0+1]-b[x0])*t
				line[x] += top + (low-top)*ty
			}
		}
		total += weight * weight * 0.55 // interpolation averages the lattice's variance down
		weight *= fall
		cell = max(cell/2, 1)
	}
	k := float32(1 / math.Sqrt(total))
	for i := range out {
		out[i] *= k
	}
	return out
}

// blur smooths a plane with a Gaussian of the given deviation in pixels; edges repeat.
func blur(plane []float32, rows, cols int, sigma float64) {
	half := int(math.Ceil(2.5 * sigma))
	kernel, sum := make([]float32, 2*half+1), 0.0
	for i := range kernel {
		d := float64(i - half)
		w := math.Exp(-d * d / (2 * sigma * sigma))
		kernel[i] = float32(w)
		sum += w
	}
	for i := range kernel {
		kernel[i] /= float32(sum)
	}
	padded := make([]float32, cols+2*half)
	for y := range rows {
		line := plane[y*cols : (y+1)*cols]
		for i := range padded {
			padded[i] = line[min(max(i-half, 0), cols-1)]
		}
		for x := range line {
			var s float32
			for k, w := range kernel {
				s += w * padded[x+k]
			}
			line[x] = s
		}
	}
	src := append([]float32(nil), plane...)
	for y := range rows {
		line := plane[y*cols : (y+1)*cols]
		clear(line)
		for k, w := range kernel {
			from := min(max(y+k-half, 0), rows-1) * cols
			for x, v := range src[from : from+cols] {
				line[x] += w * v
			}
		}
	}
}
