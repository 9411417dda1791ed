package ort

import (
	"errors"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/radstream/radstream/schemas/fault"
)

// Device is where a session computes.
type Device string

// The devices.
const (
	Auto Device = "auto" // CUDA where it can be used, else CPU
	CPU  Device = "cpu"
	CUDA Device = "cuda" // the first GPU; operators that it lacks run on the CPU
)

// Device tells where sessions compute that want d: CPU or CUDA. With Auto, why says why it is the
// CPU. CUDA needs a library that was built with it, and its libraries and driver: where they are
// missing, asking for it is a Usage error.
func (r *Runtime) Device(d Device) (_ Device, why error, err error) {
	const op = "ort.Runtime.Device"
	if d == CPU {
		return CPU, nil, nil
	}
	o, err := onnx.NewSessionOptions()
	if err != nil {
		return "", nil, fault.E(op, fault.Internal, err)
	}
	why = appendCUDA(o)
	if err := o.Destroy(); err != nil {
		return "", nil, fault.E(op, fault.Internal, err)
	}
	switch {
	case why == nil:
		return CUDA, nil, nil
	case d == Auto:
		return CPU, why, nil
	}
	return "", nil, fault.Errorf(op, fault.Usage, "CUDA was asked for and cannot be used: %w; give the path of an ONNX Runtime with CUDA (onnxruntime.library, or "+LibraryEnv+"), with CUDA and cuDNN of its version installed, or take the device auto or cpu", why)
}

// appendCUDA makes sessions of o compute on the first GPU.
func appendCUDA(o *onnx.SessionOptions) error {
	cuda, err := onnx.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	return errors.Join(o.AppendExecutionProviderCUDA(cuda), cuda.Destroy())
}
