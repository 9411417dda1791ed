package trainer

import (
	"math"

	"github.com/radstream/radstream/schemas/model"
)

// leastSlope keeps a calibration from reordering, and from forgetting, what a label says.
const leastSlope = 0.01

// Calibrate fits sigmoid(A x + B) to labels by maximum likelihood (Platt 1999), with a weak
// pull to A = 0.1 that keeps A finite where x separates the labels. x are score differences
// over temperature. ok is false where there are fewer than 5 of either sort: then nothing can
// be said.
func Calibrate(x []float64, present []bool) (c model.Calibration, ok bool) {
	const few, pull, start = 5, 0.1, 0.1
	positives := 0
	for _, p := range present {
		if p {
			positives++
		}
	}
	if positives < few || len(present)-positives < few {
		return model.Identity(), false
	}
	// Newton's method on the penalised log-likelihood, which is concave; a step is halved until
	// it does not lose.
	loss := func(a, b float64) float64 {
		sum := 0.5 * pull * (a - start) * (a - start)
		for i, v := range x {
			z := a*v + b
			if present[i] {
				z = -z
			}
			sum += math.Max(z, 0) + math.Log1p(math.Exp(-math.Abs(z)))
		}
		return sum
	}
	rate := float64(positives) / float64(len(present))
	a, b := start, math.Log(rate/(1-rate))
	now := loss(a, b)
	for range 100 {
		ga, gb, haa, hab, hbb := pull*(a-start), 0.0, pull, 0.0, 1e-9
		for i, v := range x {
			p := 1 / (1 + math.Exp(-(a*v + b)))
			d := p
			if present[i] {
				d = p - 1
			}
			w := p * (1 - p)
			ga, gb = ga+d*v, gb+d
			haa, hab, hbb = haa+w*v*v, hab+w*v, hbb+w
		}
		det := haa*hbb - hab*hab
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		step := 1.0
		for ; step > 1e-6; step /= 2 {
			if l := loss(a-step*da, b-step*db); l <= now {
				a, b, now = a-step*da, b-step*db, l
				break
			}
		}
		if step <= 1e-6 || math.Abs(step*da)+math.Abs(step*db) < 1e-9 {
			break
		}
	}
	return model.Calibration{A: max(a, leastSlope), B: b}, true
}
