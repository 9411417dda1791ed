package onnxexport

import (
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
)

// Ranges holds what each quantised product of an image graph takes in, by the product's name. A product
// without a range stays in float.
type Ranges map[string]Range

// Range is the least and the largest number in each channel.
type Range struct{ Least, Largest []float32 }

// Product is a quantised product and the number of channels that it takes in.
type Product struct {
	Name  string
	Width int
}

// largestWeight bounds quantised weights. Seven bits, not eight: CPUs without VNNI add two products
// of a byte of each side in 16 bits (VPMADDUBSW), and 2 * 255 * 63 is the most that fits.
const largestWeight = 63

// contrib is the domain of the operators that ONNX Runtime has beside the standard.
const contrib = "com.microsoft"

// quantiser is what a builder does with the large products of the layers, for int8: it writes down
// what they take in, or computes them in int8.
type quantiser struct {
	ranges   Ranges // nil: write down; else of what is computed in int8
	products []Product
	observed []value // by product, the least by channel and the largest by channel
	fault    error
}

// RangesGraph returns the image encoder with one output, ranges: for each product that
// [Int8ImageGraph] quantises, the least number in each channel of its input, then the largest, over
// the batch; [Ranges.Read] reads it.
func RangesGraph(c model.Config, w Weights) (graph []byte, products []Product, err error) {
	q := &quantiser{}
	graph, err = imageGraph(c, w, FP32, q)
	return graph, q.products, err
}

// Int8ImageGraph returns the image encoder with the matrix products of its layers in int8:
// weights by column, inputs by the ranges r, which were measured before, with the channels brought
// to like ranges (smooth.go). Fixed ranges, unlike those of each batch, cost no pass over the data,
// and leave a vector independent of its batch, if the images of a batch have one exposed box: other
// boxes beside it change the last bits of a float, which rounding to bytes can make visible. All
// else is float32. It takes and gives what [ImageGraph] does; it needs ONNX Runtime, whose own
// operators it uses.
//
// Errors: those of [ImageGraph]; Invalid where r is nil, or a range empty or of other channels.
func Int8ImageGraph(c model.Config, w Weights, r Ranges) ([]byte, error) {
	if err := w.Check(c); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fault.Reject("onnxexport.Int8ImageGraph", fault.Invalid, ReasonWeights, "there are no ranges: measure them on films")
	}
	w, r, err := smooth(c, w, r)
	if err != nil {
		return nil, err
	}
	return imageGraph(c, w, FP32, &quantiser{ranges: r})
}

// dense is x W^T + b of a layer: what is worth quantising.
func (b *builder) dense(x value, name string) value {
	if b.inInt8(name) {
		return b.multiply(b.quantise(x, name), name, name)
	}
	b.observe(x, name)
	return b.linear(x, name)
}

// inInt8 reports whether a product is computed in int8.
func (b *builder) inInt8(name string) bool {
	if b.quantiser == nil {
		return false
	}
	_, ok := b.quantiser.ranges[name]
	return ok
}

// observe writes down the range of each channel of x under a name, where ranges are wanted.
func (b *builder) observe(x value, name string) {
	if b.quantiser == nil || b.quantiser.ranges != nil {
		return
	}
	width := b.weights[name+".weight"].Shape[1]
	rows := b.reshape(x, -1, int64(width))
	b.quantiser.products = append(b.quantiser.products, Product{name, width})
	b.quantiser.observed = append(b.quantiser.observed, b.reduce("ReduceMin", rows, 0, 0), b.reduce("ReduceMax", rows, 0, 0))
}

// quantise turns x into bytes, by the range under a name.
func (b *builder) quantise(x value, name string) value {
	scale, zero := b.scale(name)
	return b.op("QuantizeLinear", []value{x, scale, zero})
}

// scale stores the scale and the zero point of a range; 0 is met exactly.
func (b *builder) scale(name string) (scale, zero value) {
	r := b.quantiser.ranges[name]
	if width := b.weights[name+".weight"].Shape[1]; len(r.Least) != width || len(r.Largest) != width {
		b.quantiser.fault = fault.Reject("onnxexport.Int8ImageGraph", fault.Invalid, ReasonWeights, "the range of %s is one of %d channels, not of %d", name, len(r.Least), width)
		return "", ""
	}
	least, largest := 0.0, 0.0
	for i := range r.Least {
		least, largest = min(least, float64(r.Least[i])), max(largest, float64(r.Largest[i]))
	}
	if !(largest > least) || math.IsInf(largest-least, 0) {
		b.quantiser.fault = fault.Reject("onnxexport.Int8ImageGraph", fault.Invalid, ReasonWeights, "the range of %s is empty: measure it on films", name)
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

// seen says which tokens can be seen, for attention.
type seen struct {
	present value // int32 [B, T]: 1 for those that can
	all     value // bool [1]: all of them
}

// seen reads the bias of tokens [B, T], 0 for those that can be seen.
func (b *builder) seen(bias value) seen {
	least := b.reshape(b.reduce("ReduceMin", b.reshape(bias, 1, -1), 1, 0), 1)
	return seen{b.cast(b.op("Equal", []value{bias, b.float(0)}), pb.TensorProto_INT32), b.op("Equal", []value{least, b.float(0)})}
}

// attentionInt8 is [builder.attention] with its products by weights in int8, and one operator for
// the rest, which is faster without a mask: it has one only where a batch needs it.
func (b *builder) attentionInt8(x value, layer string, t model.Tower, s seen) value {
	name := layer + ".attention."
	q := b.quantise(x, name+"query")
	part := func(p string) value { return b.multiply(q, name+"query", name+p) }
	inputs := []value{part("query"), part("key"), part("value")}
	branch := func(of string, inputs ...value) *pb.AttributeProto {
		sub := &builder{graph: &pb.GraphProto{Name: proto.String(name + of)}}
		v := string(sub.contrib("MultiHeadAttention", inputs, attrInt("num_heads", int64(t.Heads))))
		out := name + of + "_" + v // names of branches are the whole graph's
		n := sub.graph.Node[0]
		n.Name, n.Output = proto.String("node_"+out), []string{out}
		sub.graph.Output = []*pb.ValueInfoProto{{Name: proto.String(out), Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
			TensorType: &pb.TypeProto_Tensor{ElemType: proto.Int32(int32(pb.TensorProto_FLOAT))}}}}}
		return &pb.AttributeProto{Name: proto.String(of), Type: pb.AttributeProto_GRAPH.Enum(), G: sub.graph}
	}
	out := b.op("If", []value{s.all}, branch("then_branch", inputs...), branch("else_branch", append(inputs, "", s.present)...))
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
func (r Ranges) Read(products []Product, output []float32) error {
	for _, p := range products {
		if len(output) < 2*p.Width {
			return fault.Errorf("onnxexport.Ranges", fault.Internal, "the ranges of %s are missing", p.Name)
		}
		have, ok := r[p.Name]
		if !ok {
			have = Range{slices.Clone(output[:p.Width]), slices.Clone(output[p.Width : 2*p.Width])}
			r[p.Name] = have
		}
		for i := range p.Width {
			have.Least[i], have.Largest[i] = min(have.Least[i], output[i]), max(have.Largest[i], output[p.Width+i])
		}
		output = output[2*p.Width:]
	}
	return nil
}
