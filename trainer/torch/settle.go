//go:build torch

package torch

// momentum is how much of a head's bias stays at a step.
const momentum = 0.95

// settle moves the biases of the heads towards the negated means of a batch, so that the
// weights say of an image what the centred model says. Fresh heads go there at once.
func (t *Trainer) settle(a *arena, centres map[string]tensor) {
	keep := momentum
	if !t.centred {
		keep = 0
	}
	for head, mean := range centres {
		bias := t.weights[head+".bias"]
		a.assign(bias, a.sub(a.scale(bias, keep), a.scale(mean, 1-keep)))
	}
	t.centred = true
}

// bound keeps the learned scales at or below the highest.
func (t *Trainer) bound(a *arena) {
	for _, s := range []tensor{t.scales.global, t.scales.local} {
		if a.number(s) > highestScale {
			a.assign(s, a.floats([]float32{float32(highestScale)}, 1))
		}
	}
}
