package ort

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	onnx "github.com/yalue/onnxruntime_go"
)

/*
#cgo CFLAGS: -O2 -Wall
#cgo LDFLAGS: -ldl -lm
#include <stdlib.h>
#include "kernels.h"
#include "operators.h"
*/
import "C"

// Domain is that of Radstream's own operators, which every session has beside those of the library.
// They are what an image encoder in int8 does most of its time: ONNX Runtime's own products reach half
// of what AVX512-VNNI can do, and write what lies between two products to memory.
//
// QuantizedLinear gives y = x W^T + b, in 1 to 3 outputs of one width. Inputs: x, float [..., in];
// weights, int8 [panels, quads, 32, 4] (see [PackWeights]); starts, int32, minus zero times the sum of
// each column's weights; scales, float, that of x times that of the column; biases, float. The last
// three have a number for each column, [panels * 32]. Three more may be left out: gain and shift, float
// [in], by which x is normalised by layer first, and residual, which is added to the output. Attributes:
// scale and zero of what is multiplied, whose bytes are round(x / scale + zero), held to 0 and 255;
// width, the columns of an output; epsilon of the normalisation. The columns of each output begin a panel.
//
// QuantizedMLP is two of these with the exact GELU between them; its output is the second's.
// Inputs: x, then four of each product, then those that may be left out. Attributes: scale, zero,
// hidden_scale, hidden_zero, width, epsilon.
//
// Attention gives softmax(q k^T / sqrt(width) + bias) v. Inputs: queries, keys and values, float
// [images, tokens, heads * width]; bias, float [images, tokens], of each key. Attribute: heads.
//
// Weights have 7 bits, -63 to 63, since CPUs without VNNI add two products in 16 bits.
const Domain = "radstream"

// The sizes of a panel of weights.
const (
	panel = C.PANEL
	quad  = C.QUAD
)

// PackWeights lays rows of weights [out, in] out as the operators of [Domain] read them, and returns
// the dimensions too. Columns and inputs are filled up to multiples of 32 by weights of 0.
func PackWeights(weights []int8, out, in int) (packed []int8, dims []int) {
	panels, quads := (out+panel-1)/panel, (in+panel-1)/panel*(panel/quad)
	packed = make([]int8, panels*quads*panel*quad)
	for o := range out {
		for i := range in {
			packed[((o/panel*quads+i/quad)*panel+o%panel)*quad+i%quad] = weights[o*in+i]
		}
	}
	return packed, []int{panels, quads, panel, quad}
}

// PackColumns fills a number for each of out columns up to whole panels.
func PackColumns[T any](columns []T) []T {
	return append(columns, make([]T, (panel-len(columns)%panel)%panel)...)
}

// Kernels returns the ways in which this CPU can run the operators of [Domain], the fastest last.
func Kernels() []string {
	names := make([]string, C.kernels())
	for i := range names {
		names[i] = C.GoString(C.kernel_name(C.int(i)))
	}
	return names
}

// operators are those of one kernel. Their owner closes them after the sessions.
type operators struct{ native *C.operators }

func openOperators(library string, kernel int) (operators, error) {
	path := C.CString(library)
	defer C.free(unsafe.Pointer(path))
	var message *C.char
	o := operators{C.operators_open(path, C.int(kernel), &message)}
	if o.native == nil {
		return o, fmt.Errorf("the operators of Radstream cannot be added: %w", take(message))
	}
	return o, nil
}

// add lets sessions with these options use the operators.
func (o operators) add(options *onnx.SessionOptions) error {
	// onnxruntime_go has no way to add operators, and does not show the pointer that it wraps.
	if t := reflect.TypeOf(*options); t.NumField() != 1 || t.Field(0).Type.Kind() != reflect.Pointer {
		return errors.New("onnxruntime_go's SessionOptions is no longer one pointer: operators.go must follow")
	}
	return take(C.operators_add(o.native, *(**C.OrtSessionOptions)(unsafe.Pointer(options))))
}

func (o operators) close() { C.operators_close(o.native) }

// take frees a message of C and returns it; nil is none.
func take(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(C.GoString(message))
}
