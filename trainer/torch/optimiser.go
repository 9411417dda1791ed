//go:build torch

package torch

import (
	"fmt"

	"github.com/sugarme/gotch/libtch"
)

// AdamW's constants.
const (
	beta1   = 0.9
	beta2   = 0.999
	epsilon = 1e-8
)

// optimiser is AdamW over groups of weights.
type optimiser struct{ groups []*group }

// group shares a learning rate (rate times the step's) and a weight decay.
type group struct {
	rate, decay                   float64
	text                          bool // of the text tower, which a caller can hold
	rest                          int  // steps until the full rate, after it was held
	names                         []string
	weights, first, second, steps []tensor // the i-th of each belong together, and to the i-th name
}

// add makes x require gradients, with moments that start at zero.
func (o *optimiser) add(a *arena, name string, x tensor, rate, decay float64, text bool) {
	var to *group
	for _, g := range o.groups {
		if g.rate == rate && g.decay == decay && g.text == text {
			to = g
		}
	}
	if to == nil {
		to = &group{rate: rate, decay: decay, text: text}
		o.groups = append(o.groups, to)
	}
	zeros := func() tensor { return a.do("zeros", func(out *tensor) { libtch.AtgZerosLike(out, x) }) }
	to.first, to.second = append(to.first, zeros()), append(to.second, zeros())
	to.steps = append(to.steps, of(a, []float32{0}, 1))
	to.names, to.weights = append(to.names, name), append(to.weights, x)
	a.do("requires grad", func(out *tensor) { libtch.AtgSetRequiresGrad(out, x, 1) })
}

// weights lists all that train.
func (o *optimiser) weights() []tensor {
	var all []tensor
	for _, g := range o.groups {
		all = append(all, g.weights...)
	}
	return all
}

// clip returns the norm over all gradients and scales them down to most.
func (o *optimiser) clip(most float64) (float64, error) {
	norm, err := clip(o.weights(), most)
	if err != nil {
		return 0, fmt.Errorf("clip: %w", err)
	}
	return norm, nil
}

// release is over how many steps the rate of weights that were held rises to its full value. The
// first steps of AdamW go by signs, and at full rate they undid what the images had learned
// of the held texts.
const release = 500

// step updates all weights, but for the text tower's where that is held.
func (o *optimiser) step(lr float64, holdText bool) error {
	for _, g := range o.groups {
		if g.text && holdText {
			g.rest = release
			continue
		}
		rate := lr * g.rate * (1 - float64(g.rest)/(release+1))
		g.rest = max(0, g.rest-1)
		if err := adamw(g.weights, g.first, g.second, g.steps, rate, g.decay); err != nil {
			return fmt.Errorf("adamw: %w", err)
		}
	}
	return nil
}

// forget drops the gradients, so that a step's memory goes with it.
func (o *optimiser) forget() { _ = forget(o.weights()) } // it only resets pointers
