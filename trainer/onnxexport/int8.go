package onnxexport

import (
	"math"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
)

// Ranges holds the least and the largest number that each quantised product of an image graph takes
// in, by the product's name.
type Ranges map[string][2]float32

// largestWeight bounds quantised weights. Seven bits, not eight: CPUs without VNNI add two products
// of a byte of each side in 16 bits (VPMADDUBSW), and 2 * 255 * 63 is the most that fits.
const largestWeight = 63

// contrib is the domain of the operators that ONNX Runtime has beside the standard.
const contrib = "com.microsoft"

// quantiser is what a builder does with the large products of the layers, for int8: it writes down
// what they take in, or computes them in int8.
type quantiser struct {
	ranges   Ranges // nil: write down
	names    []string
	observed []value // [1, 2] each
	fault    error
}

// RangesGraph returns the image encoder with one output, ranges [names, 2]: the least and the
// largest input of each product that [Int8ImageGraph] quantises, over the batch.
func RangesGraph(c model.Config, w Weights) (graph []byte, names []string, err error) {
	q := &quantiser{}
	graph, err = imageGraph(c, w, FP32, q)
	return graph, q.names, err
}

// Int8ImageGraph returns the image encoder with the matrix products of its layers in int8:
// weights by column, inputs by the ranges r, which were measured before. Fixed ranges, unlike those
// of each batch, cost no pass over the data, and leave a vector independent of its batch. All else is float32. It takes and gives
// what [ImageGraph] does, and needs ONNX Runtime, whose own operators it uses.
//
// Errors: those of [ImageGraph]; Invalid where r lacks a product.
func Int8ImageGraph(c model.Config, w Weights, r Ranges) ([]byte, error) {
	if r == nil {
		r = Ranges{}
	}
	return imageGraph(c, w, FP32, &quantiser{ranges: r})
}

// dense is x W^T + b of a layer: what is worth quantising.
func (b *builder) dense(x value, name string) value {
	if b.quantiser == nil {
		return b.linear(x, name)
	}
	if b.quantiser.ranges == nil {
		b.observe(x, name)
		return b.linear(x, name)
	}
	return b.multiply(b.quantise(x, name), name, name)
}

// observe writes down the range of x under a name.
func (b *builder) observe(x value, name string) {
	flat := b.reshape(x, 1, -1)
	least, largest := b.reduce("ReduceMin", flat, 1, 1), b.reduce("ReduceMax", flat, 1, 1)
	b.quantiser.names = append(b.quantiser.names, name)
	b.quantiser.observed = append(b.quantiser.observed, b.op("Concat", []value{least, largest}, attrInt("axis", 1)))
}

// quantise turns x into bytes, by the range under a name.
func (b *builder) quantise(x value, name string) value {
	scale, zero := b.scale(name)
	return b.op("QuantizeLinear", []value{x, scale, zero})
}

// scale stores the scale and the zero point of a range; 0 is met exactly.
func (b *builder) scale(name string) (scale, zero value) {
	r, ok := b.quantiser.ranges[name]
	least, largest := min(float64(r[0]), 0), max(float64(r[1]), 0)
	if !ok || !(largest > least) || math.IsInf(largest-least, 0) {
		b.quantiser.fault = fault.Reject("onnxexport.Int8ImageGraph", fault.Invalid, ReasonWeights, "the range of %s is missing or empty: measure it on films", name)
		return "", ""
	}
	step := (largest - least) / 255
	scale = b.store(name+".scale", pb.TensorProto_FLOAT, nil, floats([]float32{float32(step)}))
	zero = b.store(name+".zero", pb.TensorProto_UINT8, nil, []byte{byte(math.Round(-least / step))})
	return scale, zero
}

// multiply is x W^T + b of x in bytes, quantised by the range of the name input.
func (b *builder) multiply(x value, input, name string) value {
	w := b.weights[name+".weight"]
	out, in := w.Shape[0], w.Shape[1]
	raw, scales := make([]byte, out*in), make([]float32, out)
	for o := range out {
		row := w.Data[o*in : (o+1)*in]
		largest := 0.0
		for _, v := range row {
			largest = max(largest, math.Abs(float64(v)))
		}
		step := max(largest/largestWeight, 1e-30)
		scales[o] = float32(step)
		for i, v := range row {
			raw[i*out+o] = byte(int8(math.RoundToEven(float64(v) / step)))
		}
	}
	scale, zero := b.scale(input)
	return b.contrib("MatMulIntegerToFloat", []value{x,
		b.store(name+".weight.int8", pb.TensorProto_INT8, []int{in, out}, raw), scale,
		b.store(name+".weight.scale", pb.TensorProto_FLOAT, []int{out}, floats(scales)), zero, "",
		b.vector(name + ".bias")})
}

// attentionInt8 is [builder.attention] with its products by weights in int8, and one operator for the rest. present
// [B, T] is 1 for tokens that can be seen.
func (b *builder) attentionInt8(x value, layer string, t model.Tower, present value) value {
	name := layer + ".attention."
	q := b.quantise(x, name+"query")
	part := func(p string) value { return b.multiply(q, name+"query", name+p) }
	out := b.contrib("MultiHeadAttention", []value{part("query"), part("key"), part("value"), "", present}, attrInt("num_heads", int64(t.Heads)))
	return b.dense(out, name+"output")
}

// contrib appends an operator of ONNX Runtime's own.
func (b *builder) contrib(kind string, inputs []value, attributes ...*pb.AttributeProto) value {
	v := b.op(kind, inputs, attributes...)
	domain := contrib
	b.graph.Node[len(b.graph.Node)-1].Domain = &domain
	return v
}

// Read reads the output of a graph of [RangesGraph] into r, which keeps the widest.
func (r Ranges) Read(names []string, output []float32) error {
	if len(output) != 2*len(names) {
		return fault.Errorf("onnxexport.Ranges", fault.Internal, "%d ranges of %d products", len(output)/2, len(names))
	}
	for i, name := range names {
		least, largest := output[2*i], output[2*i+1]
		if have, ok := r[name]; ok {
			least, largest = min(least, have[0]), max(largest, have[1])
		}
		r[name] = [2]float32{least, largest}
	}
	return nil
}
