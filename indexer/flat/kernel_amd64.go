package flat

import "golang.org/x/sys/cpu"

// kernel is a way to compute dotRowsGo.
type kernel struct {
	name string
	has  bool // this processor can run it
	dot  kernelFunc
}

// kernels are the ways from the fastest to the one that always works.
var kernels = [...]kernel{
	{"avx512-vnni", cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VNNI, assembly(dotRowsVNNI)},
	{"avx2", cpu.X86.HasAVX2, assembly(dotRowsAVX2)},
	{"go", true, dotRowsGo},
}

func assembly(f func(out *int32, rows *byte, at *uint32, query *int8, n, width int)) kernelFunc {
	return func(out []int32, rows []byte, at *[chunkSlots + ahead]uint32, query []int8) {
		n := rowBytes(len(query))
		for _, row := range at[:len(out)+ahead-4] { // the assembly does not look at lengths
			_ = rows[(int(row)+1)*n-1]
		}
		f(&out[0], &rows[0], &at[0], &query[0], len(out), len(query)/2)
	}
}

//go:noescape
func dotRowsAVX2(out *int32, rows *byte, at *uint32, query *int8, n, width int)

//go:noescape
func dotRowsVNNI(out *int32, rows *byte, at *uint32, query *int8, n, width int)
