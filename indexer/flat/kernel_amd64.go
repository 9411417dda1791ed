package flat

import "golang.org/x/sys/cpu"

// kernel is a way to compute dotRowsGo.
type kernel struct {
	name string
	has  bool // this processor can run it
	dot  func(out []int32, rows []int8, query []int16)
}

// kernels are the ways from the fastest to the one that always works.
var kernels = [...]kernel{
	{"avx512-vnni", cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VNNI, assembly(dotRowsVNNI)},
	{"avx2", cpu.X86.HasAVX2, assembly(dotRowsAVX2)},
	{"go", true, dotRowsGo},
}

func assembly(f func(out *int32, rows *int8, query *int16, n, width int)) func([]int32, []int8, []int16) {
	return func(out []int32, rows []int8, query []int16) {
		if len(out) > 0 {
			_ = rows[len(out)*len(query)-1] // the assembly does not look at lengths
			f(&out[0], &rows[0], &query[0], len(out), len(query))
		}
	}
}

//go:noescape
func dotRowsAVX2(out *int32, rows *int8, query *int16, n, width int)

//go:noescape
func dotRowsVNNI(out *int32, rows *int8, query *int16, n, width int)
