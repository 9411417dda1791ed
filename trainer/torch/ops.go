//go:build torch

package torch

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/sugarme/gotch/libtch"
)

// element is what can be brought into a tensor.
type element interface {
	uint8 | int64 | float32 | float64 | bool
}

// of copies data into a new tensor of the shape.
func of[T element](a *arena, data []T, shape ...int64) tensor {
	if a.err != nil {
		return nil
	}
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	if n != int64(len(data)) || n == 0 {
		a.err = fmt.Errorf("a tensor of shape %v cannot hold %d numbers", shape, len(data))
		return nil
	}
	var zero T
	var k kind
	switch any(zero).(type) {
	case uint8:
		k = uint8Kind
	case int64:
		k = int64Kind
	case float32:
		k = float32Kind
	case float64:
		k = float64Kind
	case bool:
		k = boolKind
	}
	t := libtch.AtTensorOfData(unsafe.Pointer(unsafe.SliceData(data)), shape, uint(len(shape)), uint(unsafe.Sizeof(zero)), int(k))
	x := a.keep("of", t)
	if a.ledger.device == cpu {
		return x
	}
	return a.do("to device", func(o *tensor) { libtch.AtgTo(o, x, int32(a.ledger.device)) })
}

// floats brings numbers in as the arena's floating-point kind.
func (a *arena) floats(data []float32, shape ...int64) tensor { return a.float(of(a, data, shape...)) }

// float casts to the arena's floating-point kind.
func (a *arena) float(x tensor) tensor {
	if a.err == nil && kind(libtch.AtScalarType(x)) == a.kind {
		return x
	}
	return a.do("to", func(o *tensor) { libtch.AtgToDtype(o, x, int32(a.kind), 0, 0) })
}

func (a *arena) add(x, y tensor) tensor {
	return a.do("add", func(o *tensor) { libtch.AtgAdd(o, x, y) })
}

func (a *arena) sub(x, y tensor) tensor {
	return a.do("sub", func(o *tensor) { libtch.AtgSub(o, x, y) })
}

func (a *arena) mul(x, y tensor) tensor {
	return a.do("mul", func(o *tensor) { libtch.AtgMul(o, x, y) })
}

func (a *arena) exp(x tensor) tensor {
	return a.do("exp", func(o *tensor) { libtch.AtgExp(o, x) })
}

func (a *arena) relu(x tensor) tensor {
	return a.do("relu", func(o *tensor) { libtch.AtgRelu(o, x) })
}

func (a *arena) gelu(x tensor) tensor {
	if a.err != nil {
		return nil
	}
	out, err := shimGELU(x)
	if err != nil {
		a.err = fmt.Errorf("gelu: %w", err)
		return nil
	}
	return a.keep("gelu", out)
}

// scale is x times y.
func (a *arena) scale(x tensor, y float64) tensor {
	return a.scalar("scale", y, func(o *tensor, s libtch.Cscalar) { libtch.AtgMulScalar(o, x, s) })
}

// shift is x plus y.
func (a *arena) shift(x tensor, y float64) tensor {
	return a.scalar("shift", y, func(o *tensor, s libtch.Cscalar) { libtch.AtgAddScalar(o, x, s) })
}

// fill is x with y where mask is true.
func (a *arena) fill(x, mask tensor, y float64) tensor {
	return a.scalar("fill", y, func(o *tensor, s libtch.Cscalar) { libtch.AtgMaskedFill(o, x, mask, s) })
}

func (a *arena) scalar(op string, y float64, run func(*tensor, libtch.Cscalar)) tensor {
	if a.err != nil {
		return nil
	}
	s := libtch.AtsFloat(y)
	defer libtch.AtsFree(s)
	return a.do(op, func(o *tensor) { run(o, s) })
}

func (a *arena) matmul(x, y tensor) tensor {
	return a.do("matmul", func(o *tensor) { libtch.AtgMatmul(o, x, y) })
}

// linear is x W^T + b; b may be nil.
func (a *arena) linear(x, w, b tensor) tensor {
	return a.do("linear", func(o *tensor) { libtch.AtgLinear(o, x, w, b) })
}

// norm is LayerNorm over the last dimension, of the given width.
func (a *arena) norm(x, w, b tensor, width int, epsilon float64) tensor {
	return a.do("norm", func(o *tensor) { libtch.AtgLayerNorm(o, x, []int64{int64(width)}, 1, w, b, epsilon, 0) })
}

// attend is scaled dot-product attention over [B, heads, T, d]; mask (added to the scores) may
// be nil.
func (a *arena) attend(q, k, v, mask tensor) tensor {
	return a.do("attend", func(o *tensor) { libtch.AtgScaledDotProductAttention(o, q, k, v, mask, 0, 0, 0, 1) })
}

func (a *arena) softmax(x tensor, dim int64) tensor {
	return a.do("softmax", func(o *tensor) { libtch.AtgSoftmax(o, x, dim, int32(a.kind)) })
}

func (a *arena) logSoftmax(x tensor, dim int64) tensor {
	return a.do("logSoftmax", func(o *tensor) { libtch.AtgLogSoftmax(o, x, dim, int32(a.kind)) })
}

// sum adds up one dimension, which goes away unless keep is set.
func (a *arena) sum(x tensor, dim int64, keep bool) tensor {
	return a.do("sum", func(o *tensor) {
		libtch.AtgSumDimIntlist(o, x, []int64{dim}, 1, flag(keep), int32(a.kind))
	})
}

// mean is the mean of the rows of x, as one row.
func (a *arena) mean(x tensor) tensor {
	return a.do("mean", func(o *tensor) { libtch.AtgMeanDim(o, x, []int64{0}, 1, 1, int32(a.kind)) })
}

// assign overwrites to, which may be a weight, with the numbers of x.
func (a *arena) assign(to, x tensor) {
	if a.err == nil {
		a.err = assign(to, x)
	}
}

// total adds up everything.
func (a *arena) total(x tensor) tensor {
	return a.do("total", func(o *tensor) { libtch.AtgSum(o, x, int32(a.kind)) })
}

// unit scales the vectors along the last dimension to length 1.
func (a *arena) unit(x tensor) tensor {
	square := a.shift(a.sum(a.mul(x, x), -1, true), 1e-12)
	return a.mul(x, a.do("rsqrt", func(o *tensor) { libtch.AtgRsqrt(o, square) }))
}

func (a *arena) embed(table, indices tensor) tensor {
	return a.do("embed", func(o *tensor) { libtch.AtgEmbedding(o, table, indices, -1, 0, 0) })
}

// gather takes of each row of x [n, m] the one that numbers [n, 1] names.
func (a *arena) gather(x, numbers tensor) tensor {
	return a.do("gather", func(o *tensor) { libtch.AtgGather(o, x, 1, numbers, 0) })
}

// rows picks rows of x by number.
func (a *arena) rows(x, numbers tensor) tensor {
	return a.do("rows", func(o *tensor) { libtch.AtgIndexSelect(o, x, 0, numbers) })
}

func (a *arena) reshape(x tensor, shape ...int64) tensor {
	return a.do("reshape", func(o *tensor) { libtch.AtgReshape(o, x, shape, len(shape)) })
}

func (a *arena) permute(x tensor, dims ...int64) tensor {
	return a.do("permute", func(o *tensor) { libtch.AtgPermute(o, x, dims, len(dims)) })
}

func (a *arena) transpose(x tensor, d, e int64) tensor {
	return a.do("transpose", func(o *tensor) { libtch.AtgTranspose(o, x, d, e) })
}

// pick takes one index of a dimension, which goes away.
func (a *arena) pick(x tensor, dim, index int64) tensor {
	return a.do("pick", func(o *tensor) { libtch.AtgSelect(o, x, dim, index) })
}

// part takes length indices of a dimension.
func (a *arena) part(x tensor, dim, start, length int64) tensor {
	return a.do("part", func(o *tensor) { libtch.AtgNarrow(o, x, dim, start, length) })
}

func (a *arena) cat(dim int64, x ...tensor) tensor {
	return a.do("cat", func(o *tensor) { libtch.AtgCat(o, x, len(x), dim) })
}

// zeros is a tensor of zeros of the arena's kind.
func (a *arena) zeros(shape ...int64) tensor {
	return a.do("zeros", func(o *tensor) { libtch.AtgZeros(o, shape, len(shape), int32(a.kind), int32(a.ledger.device)) })
}

// numbers copies what x holds; x has n elements.
func (a *arena) numbers(x tensor, n int) []float64 {
	out := make([]float64, n)
	if a.err == nil {
		a.err = read(x, out)
	}
	return out
}

// number reads a tensor of one element; NaN after a failure.
func (a *arena) number(x tensor) float64 {
	out := a.numbers(x, 1)
	if a.err != nil {
		return math.NaN()
	}
	return out[0]
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
