//go:build torch

package torch

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/sugarme/gotch/libtch"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// ReasonState is the fault reason of a state that is not of this model and these options.
const ReasonState fault.Reason = "training_state"

// Names of the learned scales in a state.
const (
	globalScale = "scale.global"
	localScale  = "scale.local"
)

// lastingTensors lists every tensor that a step changes or depends on, by name: each weight and
// learned scale, and of what trains the two moments and the count of updates.
func (t *Trainer) lastingTensors() map[string]tensor {
	all := map[string]tensor{globalScale: t.scales.global, localScale: t.scales.local}
	for name, x := range t.weights {
		all[name] = x
	}
	for _, g := range t.optimiser.groups {
		for i, name := range g.names {
			all["adamw.first."+name], all["adamw.second."+name], all["adamw.steps."+name] = g.first[i], g.second[i], g.steps[i]
		}
	}
	return all
}

// State implements [trainer.Stepper].
func (t *Trainer) State() (trainer.State, error) {
	s := trainer.State{Tensors: map[string]onnxexport.Tensor{}, Counters: map[string]int{"tried": t.steps}}
	if t.centred {
		s.Counters["centred"] = 1
	}
	err := t.call(func() error {
		for name, x := range t.lastingTensors() {
			shape := sizes(x)
			n := 1
			for _, d := range shape {
				n *= d
			}
			data := make([]float32, n)
			for i, v := range t.lasting.numbers(x, n) {
				data[i] = float32(v)
			}
			s.Tensors[name] = onnxexport.Tensor{Shape: shape, Data: data}
		}
		for i, g := range t.optimiser.groups {
			s.Counters[fmt.Sprintf("rest.%d", i)] = g.rest
		}
		return t.lasting.err
	})
	if err != nil {
		return trainer.State{}, fault.E("torch.Trainer.State", fault.Internal, err)
	}
	return s, nil
}

// Restore implements [trainer.Stepper].
func (t *Trainer) Restore(s trainer.State) error {
	const op = "torch.Trainer.Restore"
	all := t.lastingTensors()
	if len(s.Tensors) != len(all) {
		return fault.Reject(op, fault.Invalid, ReasonState, "the state has %d tensors, the model and its optimiser %d", len(s.Tensors), len(all))
	}
	err := t.call(func() error {
		for name, x := range all {
			kept, ok := s.Tensors[name]
			if !ok || !slices.Equal(kept.Shape, sizes(x)) {
				return fault.Reject(op, fault.Invalid, ReasonState, "the state's %s is of shape %v, the model's of %v", name, kept.Shape, sizes(x))
			}
		}
		a := t.ledger.arena(t.lasting.kind)
		defer a.free()
		for name, x := range all {
			kept := s.Tensors[name]
			shape := make([]int64, len(kept.Shape))
			for i, d := range kept.Shape {
				shape[i] = int64(d)
			}
			a.assign(x, a.floats(kept.Data, shape...))
		}
		for i, g := range t.optimiser.groups {
			g.rest = s.Counters[fmt.Sprintf("rest.%d", i)]
		}
		return a.err
	})
	if err != nil {
		return fault.E(op, fault.KindOf(err), err)
	}
	t.steps, t.centred = s.Counters["tried"], s.Counters["centred"] == 1
	return nil
}

// sizes returns the shape of a tensor.
func sizes(x tensor) []int {
	shape := make([]int64, libtch.AtDim(x))
	if len(shape) > 0 {
		libtch.AtShape(x, unsafe.Pointer(&shape[0]))
	}
	out := make([]int, len(shape))
	for i, d := range shape {
		out[i] = int(d)
	}
	return out
}
