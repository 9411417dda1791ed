//go:build torch

package train

import (
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
	"github.com/radstream/radstream/trainer/torch"
)

// canTrain says whether libtorch was built in.
const canTrain = true

func newStepper(c model.Config, w onnxexport.Weights, temperature float64, o FitOptions) (trainer.Stepper, error) {
	return torch.New(c, w, torch.Options{Objective: o.Objective, Mode: o.Mode, Threads: o.Threads, BFloat16: o.BFloat16, Temperature: temperature})
}
