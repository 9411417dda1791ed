//go:build !torch

package train

import (
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// canTrain says whether libtorch was built in.
const canTrain = false

// Device returns what a run computes on where it is told name.
func Device(string) (string, error) { return "cpu", nil }

func newStepper(model.Config, onnxexport.Weights, float64, FitOptions) (trainer.Stepper, error) {
	return nil, fault.Errorf("train.newStepper", fault.Internal, "there is no libtorch in this program")
}
