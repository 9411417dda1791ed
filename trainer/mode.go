package trainer

import (
	"slices"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// Mode says which weights train; the others stay as they are, bit for bit.
type Mode struct {
	Name   string
	groups []onnxexport.Group
}

// Modes are all there are, the default first (ClinVLA, section 5). heads trains what lies behind
// the encoders alone: the two linear projections that every method has to beat.
var Modes = []Mode{
	{"full", []onnxexport.Group{onnxexport.Base, onnxexport.Invertible, onnxexport.Language, onnxexport.Task, onnxexport.Head}},
	{"adapters", []onnxexport.Group{onnxexport.Invertible, onnxexport.Language, onnxexport.Task, onnxexport.Head}},
	{"task", []onnxexport.Group{onnxexport.Task, onnxexport.Head}},
	{"heads", []onnxexport.Group{onnxexport.Head}},
}

// FindMode returns the mode of that name, "" being the default.
func FindMode(name string) (Mode, error) {
	if name == "" {
		return Modes[0], nil
	}
	var names []string
	for _, m := range Modes {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Mode{}, fault.Errorf("trainer.FindMode", fault.Usage, "the mode is one of %s", strings.Join(names, ", "))
}

// Trains says whether a weight of that row changes.
func (m Mode) Trains(row onnxexport.TensorSpec) bool { return slices.Contains(m.groups, row.Group) }

// Parameters counts the numbers of a model that the mode trains, and all.
func (m Mode) Parameters(c model.Config) (trained, all int) {
	for _, row := range onnxexport.Shapes(c) {
		n := 1
		for _, d := range row.Shape {
			n *= d
		}
		all += n
		if m.Trains(row) {
			trained += n
		}
	}
	return trained, all
}
