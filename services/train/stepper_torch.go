//go:build torch

package train

import (
	"slices"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
	"github.com/radstream/radstream/trainer/torch"
)

// canTrain says whether libtorch was built in.
const canTrain = true

// Device returns what a run computes on where it is told name; see [torch.Device].
func Device(name string) (string, error) { return torch.Device(name) }

func newStepper(c model.Config, w onnxexport.Weights, temperature float64, o FitOptions) (trainer.Stepper, error) {
	var none float64
	options := torch.Options{Objective: o.Objective, MaskedImage: o.MaskedImage, MaskedText: o.MaskedText, Mode: o.Mode, Device: o.Device, Threads: o.Threads, BFloat16: o.BFloat16, Temperature: temperature}
	if slices.Contains(o.Without, partLocal) {
		options.Lambda = &none
	}
	if slices.Contains(o.Without, partGlobal) {
		options.Global = &none
	}
	return torch.New(c, w, options)
}
