//go:build !amd64

package flat

// kernel is a way to compute dotRowsGo.
type kernel struct {
	name string
	has  bool
	dot  func(out []int32, rows []int8, query []int16)
}

var kernels = [...]kernel{{"go", true, dotRowsGo}}
