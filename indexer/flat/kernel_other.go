//go:build !amd64

package flat

// kernel is a way to compute dotRowsGo.
type kernel struct {
	name string
	has  bool
	dot  kernelFunc
}

var kernels = [...]kernel{{"go", true, dotRowsGo}}
