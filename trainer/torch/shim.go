//go:build torch

package torch

// #cgo CXXFLAGS: -std=c++17
// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"errors"
	"runtime/debug"
	"unsafe"

	"github.com/sugarme/gotch/libtch"
)

// failure turns the message of a shim function into an error.
func failure(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(C.GoString(message))
}

// lastError takes the error that an operator of gotch left on this thread.
func lastError() error {
	return failure((*C.char)(unsafe.Pointer(libtch.GetAndResetLastErr())))
}

func handles(ts []tensor) (*C.rt_tensor, C.int) {
	return (*C.rt_tensor)(unsafe.Pointer(unsafe.SliceData(ts))), C.int(len(ts))
}

func shimGELU(x tensor) (tensor, error) {
	var out C.rt_tensor
	err := failure(C.rt_gelu(C.rt_tensor(x), &out))
	return tensor(out), err
}

func backward(loss tensor) error { return failure(C.rt_backward(C.rt_tensor(loss))) }

// clip returns the L2 norm of the gradients of weights and scales them down to most.
func clip(weights []tensor, most float64) (float64, error) {
	w, n := handles(weights)
	var norm C.double
	err := failure(C.rt_clip(w, n, C.double(most), &norm))
	return float64(norm), err
}

// adamw makes one fused step on weights that share a rate and a decay.
func adamw(weights, first, second, steps []tensor, lr, decay float64) error {
	w, n := handles(weights)
	m, _ := handles(first)
	v, _ := handles(second)
	s, _ := handles(steps)
	return failure(C.rt_adamw(w, m, v, s, n, C.double(lr), beta1, beta2, C.double(decay), epsilon))
}

// forget drops the gradients of weights.
func forget(weights []tensor) error {
	w, n := handles(weights)
	return failure(C.rt_forget(w, n))
}

// gradient copies the gradient of w; zeros where it has none.
func gradient(w tensor, out []float64) error {
	return failure(C.rt_gradient(C.rt_tensor(w), (*C.double)(unsafe.SliceData(out)), C.int64_t(len(out))))
}

// read copies the numbers of x.
func read(x tensor, out []float64) error {
	return failure(C.rt_read(C.rt_tensor(x), (*C.double)(unsafe.SliceData(out)), C.int64_t(len(out))))
}

// singular returns the n singular values of the matrix x.
func singular(x tensor, n int) ([]float64, error) {
	out := make([]float64, n)
	err := failure(C.rt_singular(C.rt_tensor(x), (*C.double)(unsafe.SliceData(out)), C.int64_t(n)))
	return out, err
}

// assign copies the numbers of x to the weight to.
func assign(to, x tensor) error { return failure(C.rt_assign(C.rt_tensor(to), C.rt_tensor(x))) }

func setThreads(n int) error { return failure(C.rt_threads(C.int(n))) }

// trim gives free memory back to the system, Go's and C's.
func trim() {
	debug.FreeOSMemory()
	C.rt_trim()
}

// autocast lets matrix products of this thread run in bfloat16 on a device, or ends that.
func autocast(d device, on bool) error {
	return failure(C.rt_autocast(C.int(flag(d != cpu)), C.int(flag(on))))
}

// loadCUDA says why there is no CUDA, if there is none.
func loadCUDA() error { return failure(C.rt_cuda()) }
