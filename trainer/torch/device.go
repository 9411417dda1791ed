//go:build torch

package torch

import (
	"sync"

	"github.com/radstream/radstream/schemas/fault"
)

// device is libtorch's number of what computes.
type device int

const (
	cpu  device = -1
	cuda device = 0 // the first
)

// haveCUDA loads CUDA's kernels once: libtorch asks for them once. The library is looked for as
// the dynamic linker looks: in LD_LIBRARY_PATH, beside CUDA's own.
var haveCUDA = sync.OnceValue(loadCUDA)

// Device returns the name of what a trainer computes on: cpu or cuda, where auto, and "", mean cuda
// if there is one. Errors: Unavailable where cuda is asked for and there is none, with the
// reason; Usage for another name.
func Device(name string) (string, error) {
	if name == "" {
		name = "auto"
	}
	d, err := findDevice(name)
	if d == cpu {
		return "cpu", err
	}
	return "cuda", err
}

func findDevice(name string) (device, error) {
	const op = "torch.Device"
	switch name {
	case "", "cpu":
		return cpu, nil
	case "auto":
		if haveCUDA() != nil {
			return cpu, nil
		}
		return cuda, nil
	case "cuda":
		if err := haveCUDA(); err != nil {
			return cpu, fault.Errorf(op, fault.Unavailable, "there is no CUDA here: %w; libtorch_cuda.so of PyTorch 2.11.0 and the CUDA libraries have to be in LD_LIBRARY_PATH", err)
		}
		return cuda, nil
	}
	return cpu, fault.Errorf(op, fault.Usage, "the device is auto, cpu or cuda")
}
