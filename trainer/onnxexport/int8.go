package onnxexport

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
)

// Ranges holds what each quantised product of both encoders takes in, by the product's name. A product
// without a range stays in float.
type Ranges map[string]Range

// Range is the least and the largest number in each channel.
type Range struct{ Least, Largest []float32 }

// Product is a quantised product and the number of channels that it takes in.
type Product struct {
	Name  string
	Width int
}

// largestWeight bounds quantised weights, as the operators of [ort.Domain] ask.
const largestWeight = 63

// quantiser is what a builder does with the large products of the layers, for int8: it writes down
// what they take in, or computes them in int8.
type quantiser struct {
	ranges   Ranges // nil: write down; else of what is computed in int8
	products []Product
	observed []value // by product, the least by channel and the largest by channel
	fault    error
}

// ImageRangesGraph returns the image encoder with one output, ranges: for each product that
// [Int8ImageGraph] quantises, the least number in each channel of its input, then the largest, over
// the batch; [Ranges.Read] reads it.
func ImageRangesGraph(c model.Config, w Weights) (graph []byte, products []Product, err error) {
	q := &quantiser{}
	graph, err = imageGraph(c, w, FP32, q)
	return graph, q.products, err
}

// TextRangesGraph is [ImageRangesGraph] of the text encoder, for [Int8TextGraph].
func TextRangesGraph(c model.Config, w Weights) (graph []byte, products []Product, err error) {
	q := &quantiser{}
	graph, err = textGraph(c, w, FP32, q)
	return graph, q.products, err
}

// Int8ImageGraph returns the image encoder with the matrix products of its layers in int8:
// weights by column, inputs by the ranges r, which were measured before, with the channels brought
// to like ranges (smooth.go). Fixed ranges, unlike those of each batch, cost no pass over the data,
// and leave a vector independent of its batch, if the images of a batch have one exposed box: other
// boxes beside it change the last bits of a float, which rounding to bytes can make visible. All
// else is float32. It takes and gives what [ImageGraph] does; it needs ONNX Runtime with the operators
// of [ort.Domain].
//
// Errors: those of [ImageGraph]; Invalid where r is nil, or a range empty or of other channels.
func Int8ImageGraph(c model.Config, w Weights, r Ranges) ([]byte, error) {
	return int8Graph(c, w, r, func(w Weights, q *quantiser) ([]byte, error) { return imageGraph(c, w, FP32, q) })
}

// Int8TextGraph is [Int8ImageGraph] of the text encoder; it takes and gives what [TextGraph] does, and
// stores what stays in float as float16. Its norms stand behind their sums, so that of each layer only what the
// output of attention takes in can be smoothed. The vector of a text does not depend on its batch.
func Int8TextGraph(c model.Config, w Weights, r Ranges) ([]byte, error) {
	return int8Graph(c, w, r, func(w Weights, q *quantiser) ([]byte, error) { return textGraph(c, w, FP16, q) })
}

func int8Graph(c model.Config, w Weights, r Ranges, graph func(Weights, *quantiser) ([]byte, error)) ([]byte, error) {
	if err := w.Check(c); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fault.Reject("onnxexport.int8Graph", fault.Invalid, ReasonWeights, "there are no ranges: measure them on films and reports")
	}
	w, r, err := smooth(c, w, r)
	if err != nil {
		return nil, err
	}
	return graph(w, &quantiser{ranges: r})
}

// dense is x W^T + b of a layer: what is worth quantising.
func (b *builder) dense(x value, name string) value {
	if b.inInt8(name) {
		return b.multiply(x, "", 0, "", name, name)[0]
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

// measures reports whether ranges are wanted.
func (b *builder) measures() bool { return b.quantiser != nil && b.quantiser.ranges == nil }

// ranges ends a graph that measures.
func (b *builder) ranges() ([]byte, error) {
	b.output("ranges", b.op("Concat", b.quantiser.observed, attrInt("axis", 0)), "R")
	return b.bytes()
}

// observe writes down the range of each channel of x under a name, where ranges are wanted.
func (b *builder) observe(x value, name string) {
	if !b.measures() {
		return
	}
	width := b.weights[name+".weight"].Shape[1]
	rows := b.reshape(x, -1, int64(width))
	b.quantiser.products = append(b.quantiser.products, Product{name, width})
	b.quantiser.observed = append(b.quantiser.observed, b.reduce("ReduceMin", rows, 0, 0), b.reduce("ReduceMax", rows, 0, 0))
}

// scale returns the scale and the zero point of a range; 0 is met exactly.
func (b *builder) scale(name string) (scale float32, zero int64) {
	r := b.quantiser.ranges[name]
	if width := b.weights[name+".weight"].Shape[1]; len(r.Least) != width || len(r.Largest) != width {
		b.quantiser.fault = fault.Reject("onnxexport.scale", fault.Invalid, ReasonWeights, "the range of %s is one of %d channels, not of %d", name, len(r.Least), width)
		return 1, 0
	}
	least, largest := 0.0, 0.0
	for i := range r.Least {
		least, largest = min(least, float64(r.Least[i])), max(largest, float64(r.Largest[i]))
	}
	step := (largest - least) / 255
	if !(float32(step) > 0) || math.IsInf(step, 0) {
		b.quantiser.fault = fault.Reject("onnxexport.scale", fault.Invalid, ReasonWeights, "the range of %s is empty: measure it on films and reports", name)
		return 1, 0
	}
	return float32(step), int64(math.Round(-least / step))
}

// multiply is x W^T + b in int8 for each of names, of one width, with x rounded by the range of the name
// input. x is first normalised by norm, and residual added to the only product, unless they are "".
func (b *builder) multiply(x value, norm string, epsilon float64, residual value, input string, names ...string) []value {
	scale, zero := b.scale(input)
	inputs := append([]string{string(x)}, b.packed(scale, zero, names...)...)
	n := b.quantized("QuantizedLinear", inputs, norm, epsilon, residual, b.weights[names[0]+".weight"].Shape[0],
		attrFloat("scale", float64(scale)), attrInt("zero", zero))
	var outputs []value
	for _, name := range names {
		n.Output = append(n.Output, name+".int8")
		outputs = append(outputs, value(name+".int8"))
	}
	return outputs
}

// mlpInt8 is the feed-forward block in int8, behind a norm unless that is "".
func (b *builder) mlpInt8(x value, layer, norm string, epsilon float64, residual value) value {
	up, down := layer+".mlp.up", layer+".mlp.down"
	scale, zero := b.scale(up)
	hiddenScale, hiddenZero := b.scale(down)
	inputs := append([]string{string(x)}, b.packed(scale, zero, up)...)
	inputs = append(inputs, b.packed(hiddenScale, hiddenZero, down)...)
	n := b.quantized("QuantizedMLP", inputs, norm, epsilon, residual, b.weights[down+".weight"].Shape[0],
		attrFloat("scale", float64(scale)), attrInt("zero", zero),
		attrFloat("hidden_scale", float64(hiddenScale)), attrInt("hidden_zero", hiddenZero))
	n.Output = []string{down + ".int8"}
	return value(down + ".int8")
}

// quantized appends one of the products of [ort.Domain], without its outputs.
func (b *builder) quantized(kind string, inputs []string, norm string, epsilon float64, residual value, width int, attributes ...*pb.AttributeProto) *pb.NodeProto {
	gain, shift := value(""), value("")
	if norm != "" {
		gain, shift = b.vector(norm+".weight"), b.vector(norm+".bias")
	}
	b.count++
	n := &pb.NodeProto{
		OpType: proto.String(kind), Domain: proto.String(ort.Domain), Name: proto.String(fmt.Sprintf("node_%s_%d", kind, b.count)),
		Input:     append(inputs, string(gain), string(shift), string(residual)),
		Attribute: append(attributes, attrInt("width", int64(width)), attrFloat("epsilon", epsilon)),
	}
	b.graph.Node = append(b.graph.Node, n)
	return n
}

// packed stores weights side by side as the operators read them, for inputs of a scale and a zero
// point: weights, starts, scales, biases.
func (b *builder) packed(scale float32, zero int64, names ...string) []string {
	var weights []int8
	var starts []int32
	var scales, biases []float32
	var dims []int
	for _, name := range names {
		w := b.weights[name+".weight"]
		out, in := w.Shape[0], w.Shape[1]
		raw, start, steps := make([]int8, out*in), make([]int32, out), make([]float32, out)
		for o := range out {
			row := w.Data[o*in : (o+1)*in]
			largest := 0.0
			for _, v := range row {
				largest = max(largest, math.Abs(float64(v)))
			}
			step := max(largest/largestWeight, 1e-30)
			steps[o] = float32(step) * scale
			for i, v := range row {
				raw[o*in+i] = int8(math.RoundToEven(float64(v) / step))
				start[o] -= int32(zero) * int32(raw[o*in+i])
			}
		}
		var part []int8
		part, dims = ort.PackWeights(raw, out, in)
		weights = append(weights, part...)
		starts, scales = append(starts, ort.PackColumns(start)...), append(scales, ort.PackColumns(steps)...)
		biases = append(biases, ort.PackColumns(slices.Clone(b.weights[name+".bias"].Data))...)
	}
	dims[0] *= len(names)
	rawWeights, rawStarts := make([]byte, len(weights)), make([]byte, 0, 4*len(starts))
	for i, w := range weights {
		rawWeights[i] = byte(w)
	}
	for _, s := range starts {
		rawStarts = binary.LittleEndian.AppendUint32(rawStarts, uint32(s))
	}
	name, columns := joined(names), []int{len(starts)}
	return []string{
		string(b.store(name+".weight.int8", pb.TensorProto_INT8, dims, rawWeights)),
		string(b.store(name+".start", pb.TensorProto_INT32, columns, rawStarts)),
		string(b.store(name+".scale", pb.TensorProto_FLOAT, columns, floats(scales))),
		string(b.store(name+".bias.int8", pb.TensorProto_FLOAT, columns, floats(biases))),
	}
}

// attentionInt8 is [builder.attend] with its products by weights in int8.
func (b *builder) attentionInt8(x value, layer, norm string, t model.Tower, bias value) value {
	name := layer + ".attention."
	inputs := append(b.multiply(x, norm, t.Epsilon, "", name+"query", name+"query", name+"key", name+"value"), bias)
	out := b.op("Attention", inputs, attrInt("heads", int64(t.Heads)))
	b.graph.Node[len(b.graph.Node)-1].Domain = proto.String(ort.Domain)
	if !b.inInt8(name + "output") {
		return b.add(x, b.dense(out, name+"output"))
	}
	return b.multiply(out, "", 0, x, name+"output", name+"output")[0]
}

// Read reads the output of a graph of [ImageRangesGraph] or [TextRangesGraph] into r, which keeps the widest.
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
