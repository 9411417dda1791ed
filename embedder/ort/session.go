package ort

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/radstream/radstream/schemas/fault"
)

// ReasonTensor is the fault reason of a tensor that a graph cannot take.
const ReasonTensor fault.Reason = "tensor"

// Tensor is a dense array in row-major order, owned by Go.
type Tensor struct {
	Shape []int64
	Data  any // []float32, []int64, []int32, []uint8 or []bool; len is the product of Shape
}

// Session is one loaded graph. Run may be called from any number of goroutines at once.
type Session struct {
	runtime *Runtime
	name    string
	opener  string // stack of the call that opened it
	inputs  []string
	outputs []string

	mu     sync.RWMutex // held for reading by Run, for writing by Close
	native *onnx.DynamicAdvancedSession
}

// Run computes the outputs of the model, in the order in which its graph lists them. When ctx ends the computation
// stops at the next operator and Run returns the context's error. Tensors that contradict
// themselves or are of the wrong number are Invalid; what the library refuses is Internal.
func (s *Session) Run(ctx context.Context, inputs ...Tensor) (outputs []Tensor, err error) {
	const op = "ort.Session.Run"
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(op, err)
	}
	if len(inputs) != len(s.inputs) {
		return nil, fault.Reject(op, fault.Invalid, ReasonTensor, "%s takes %d tensors, got %d", s.name, len(s.inputs), len(inputs))
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.native == nil {
		return nil, fault.Errorf(op, fault.Conflict, "session %s is closed", s.name)
	}

	values := make([]onnx.Value, 0, len(inputs)+len(s.outputs))
	defer func() {
		for _, v := range values {
			err = errors.Join(err, v.Destroy())
			s.runtime.tensors.Add(-1)
		}
		runtime.KeepAlive(inputs) // the native tensors point into these slices
	}()
	for i, t := range inputs {
		v, err := native(t)
		if err != nil {
			return nil, fault.Reject(op, fault.Invalid, ReasonTensor, "%s, input %s: %w", s.name, s.inputs[i], err)
		}
		s.runtime.tensors.Add(1)
		values = append(values, v)
	}
	options, err := onnx.NewRunOptions()
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	// The callback must be over before options are destroyed.
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		options.Terminate() // fails only without options
	})
	// Not RunWithBinding: it takes no options, so nothing could end it.
	results := make([]onnx.Value, len(s.outputs))
	err = s.native.RunWithOptions(values, results, options)
	if !stop() {
		<-stopped
	}
	for _, v := range results {
		if v != nil {
			s.runtime.tensors.Add(1)
			values = append(values, v)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, fault.Wrap(op, ctx.Err())
		}
		return nil, fault.Errorf(op, fault.Internal, "%s: %w", s.name, err)
	}
	for i, v := range results {
		t, err := fromNative(v)
		if err != nil {
			return nil, fault.Errorf(op, fault.Unsupported, "%s, output %s: %w", s.name, s.outputs[i], err)
		}
		outputs = append(outputs, t)
	}
	return outputs, nil
}

// Metadata returns what the graph's author wrote under key; ok tells whether anything was.
func (s *Session) Metadata(key string) (value string, ok bool, err error) {
	const op = "ort.Session.Metadata"
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.native == nil {
		return "", false, fault.Errorf(op, fault.Conflict, "session %s is closed", s.name)
	}
	m, err := s.native.GetModelMetadata()
	if err != nil {
		return "", false, fault.E(op, fault.Internal, err)
	}
	value, ok, err = m.LookupCustomMetadataMap(key)
	return value, ok, fault.E(op, fault.Internal, errors.Join(err, m.Destroy()))
}

// Close frees the session after the runs in flight. A second Close does nothing.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.native == nil {
		return nil
	}
	err := s.native.Destroy()
	s.native = nil
	s.runtime.mu.Lock()
	delete(s.runtime.sessions, s)
	s.runtime.mu.Unlock()
	return fault.E("ort.Session.Close", fault.Internal, err)
}

// native makes a native tensor over the memory of t, without a copy.
func native(t Tensor) (onnx.Value, error) {
	switch d := t.Data.(type) {
	case []float32:
		return newTensor(t.Shape, d)
	case []int64:
		return newTensor(t.Shape, d)
	case []int32:
		return newTensor(t.Shape, d)
	case []uint8:
		return newTensor(t.Shape, d)
	case []bool:
		return newTensor(t.Shape, d)
	}
	return nil, fmt.Errorf("elements of type %T are not taken", t.Data)
}

func newTensor[T onnx.TensorData](shape []int64, data []T) (onnx.Value, error) {
	s := onnx.Shape(shape)
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if s.FlattenedSize() != int64(len(data)) {
		return nil, fmt.Errorf("shape %v needs %d elements, got %d", shape, s.FlattenedSize(), len(data))
	}
	return onnx.NewTensor(s, data)
}

// fromNative returns the Go memory that onnxruntime_go has copied the output to.
func fromNative(v onnx.Value) (Tensor, error) {
	shape := v.GetShape()
	switch v := v.(type) {
	case *onnx.Tensor[float32]:
		return Tensor{shape, v.GetData()}, nil
	case *onnx.Tensor[int64]:
		return Tensor{shape, v.GetData()}, nil
	case *onnx.Tensor[int32]:
		return Tensor{shape, v.GetData()}, nil
	case *onnx.Tensor[uint8]:
		return Tensor{shape, v.GetData()}, nil
	case *onnx.Tensor[bool]:
		return Tensor{shape, v.GetData()}, nil
	}
	return Tensor{}, fmt.Errorf("an output of this type is not taken: %T", v)
}
