package onnxexport

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
)

// Precision says how a graph stores its matrices, and what it computes in: float32, but for HALF and
// INT8.
type Precision string

// The precisions.
const (
	FP32 Precision = "fp32"
	FP16 Precision = "fp16" // matrices as float16; vectors (norms, biases) stay float32
	INT8 Precision = "int8" // see [Int8ImageGraph] and [Int8TextGraph]
	// HALF stores what FP16 does, and computes the layers in float16, for GPUs: products, what goes
	// through them and the sums between them. Embeddings, the statistics of norms, the shares of
	// attention, pooling, the heads and the outputs are float32. ONNX Runtime has few such operators
	// for a CPU: it computes in float32 there all the same.
	HALF Precision = "half"
)

const (
	irVersion = 9  // the first that opset 20 belongs to
	opset     = 20 // the first with Gelu
)

// value is the name of one tensor in a graph.
type value string

// builder collects the nodes of one graph. Its methods append an operator and return its
// output; names are numbered in order, so that equal calls give equal bytes.
type builder struct {
	weights   Weights
	precision Precision
	graph     *pb.GraphProto
	count     int
	stored    map[string]value // weights and constants that are in the graph already
	tooLarge  error            // a weight that float16 cannot hold
	layers    bool             // what is added now is what [HALF] computes in float16; see toHalf
	largest   []value          // of that, where it is measured
	quantiser *quantiser       // nil: none
}

func newBuilder(name string, w Weights, p Precision) *builder {
	return &builder{
		weights: w, precision: p, stored: make(map[string]value),
		graph: &pb.GraphProto{Name: proto.String(name)},
	}
}

// bytes returns the ONNX file.
func (b *builder) bytes() ([]byte, error) {
	const op = "onnxexport"
	if b.tooLarge != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonWeights, "%w", b.tooLarge)
	}
	opsets := []*pb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(opset)}}
	if b.quantiser != nil {
		opsets = append(opsets, &pb.OperatorSetIdProto{Domain: proto.String(ort.Domain), Version: proto.Int64(1)})
		if err := b.quantiser.fault; err != nil {
			return nil, err
		}
	}
	file, err := proto.MarshalOptions{Deterministic: true}.Marshal(&pb.ModelProto{
		IrVersion:    proto.Int64(irVersion),
		ProducerName: proto.String("radstream"),
		OpsetImport:  opsets,
		Graph:        b.graph,
	})
	return file, fault.E(op, fault.Internal, err)
}

// input and output declare a tensor of the graph's interface; a dimension is an int or the
// name of a free one.
func (b *builder) input(name string, t pb.TensorProto_DataType, dims ...any) value {
	b.graph.Input = append(b.graph.Input, info(name, t, dims))
	return value(name)
}

func (b *builder) output(name string, v value, dims ...any) {
	b.graph.Output = append(b.graph.Output, info(name, pb.TensorProto_FLOAT, dims))
	b.node("Identity", name, []value{v})
}

func info(name string, t pb.TensorProto_DataType, dims []any) *pb.ValueInfoProto {
	shape := &pb.TensorShapeProto{}
	for _, d := range dims {
		dim := &pb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			dim.Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &pb.ValueInfoProto{Name: proto.String(name), Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
		TensorType: &pb.TypeProto_Tensor{ElemType: proto.Int32(int32(t)), Shape: shape},
	}}}
}

// op appends a node with one output.
func (b *builder) op(kind string, inputs []value, attributes ...*pb.AttributeProto) value {
	b.count++
	name := fmt.Sprintf("%s_%d", kind, b.count)
	b.node(kind, name, inputs, attributes...)
	b.measure(kind, value(name))
	return value(name)
}

func (b *builder) node(kind, output string, inputs []value, attributes ...*pb.AttributeProto) {
	n := &pb.NodeProto{OpType: proto.String(kind), Name: proto.String("node_" + output), Output: []string{output}, Attribute: attributes}
	for _, i := range inputs {
		n.Input = append(n.Input, string(i))
	}
	b.graph.Node = append(b.graph.Node, n)
}

func attrInt(name string, v int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

func attrFloat(name string, v float64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_FLOAT.Enum(), F: proto.Float32(float32(v))}
}

func attrInts(name string, v ...int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INTS.Enum(), Ints: v}
}

func (b *builder) add(x, y value) value { return b.op("Add", []value{x, y}) }
func (b *builder) sub(x, y value) value { return b.op("Sub", []value{x, y}) }
func (b *builder) mul(x, y value) value { return b.op("Mul", []value{x, y}) }
func (b *builder) matmul(x, y value) value {
	return b.op("MatMul", []value{x, y})
}

func (b *builder) cast(x value, t pb.TensorProto_DataType) value {
	return b.op("Cast", []value{x}, attrInt("to", int64(t)))
}

// reshape gives x the dimensions; 0 keeps one, -1 takes what is left.
func (b *builder) reshape(x value, dims ...int64) value {
	return b.op("Reshape", []value{x, b.ints(dims...)})
}

func (b *builder) transpose(x value, perm ...int64) value {
	return b.op("Transpose", []value{x}, attrInts("perm", perm...))
}

func (b *builder) unsqueeze(x value, axes ...int64) value {
	return b.op("Unsqueeze", []value{x, b.ints(axes...)})
}

// reduce applies ReduceSum or ReduceMax along one axis.
func (b *builder) reduce(kind string, x value, axis, keep int64) value {
	return b.op(kind, []value{x, b.ints(axis)}, attrInt("keepdims", keep))
}

// slice takes [start, end) of one axis.
func (b *builder) slice(x value, axis int64, start, end value) value {
	return b.op("Slice", []value{x, start, end, b.ints(axis)})
}

// ints stores an int64 vector, float a float32 scalar; each constant is stored once.
func (b *builder) ints(v ...int64) value {
	raw := make([]byte, 0, 8*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return b.store(fmt.Sprintf("ints%v", v), pb.TensorProto_INT64, []int{len(v)}, raw)
}

func (b *builder) float(x float64) value {
	raw := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(x)))
	return b.store(fmt.Sprintf("float(%v)", float32(x)), pb.TensorProto_FLOAT, nil, raw)
}

func (b *builder) store(name string, t pb.TensorProto_DataType, shape []int, raw []byte) value {
	if v, ok := b.stored[name]; ok {
		return v
	}
	dims := make([]int64, len(shape))
	for i, d := range shape {
		dims[i] = int64(d)
	}
	b.graph.Initializer = append(b.graph.Initializer, &pb.TensorProto{
		Name: proto.String(name), DataType: proto.Int32(int32(t)), Dims: dims, RawData: raw,
	})
	b.stored[name] = value(name)
	return value(name)
}

// vector stores a weight as float32 and returns it as is computed.
func (b *builder) vector(name string) value {
	t := b.weights[name]
	return b.stored32(name, t.Shape, t.Data)
}

func (b *builder) stored32(name string, shape []int, data []float32) value {
	v := b.store(name, pb.TensorProto_FLOAT, shape, floats(data))
	if !b.inHalf() {
		return v
	}
	b.float16(name, data)
	return b.cast(v, pb.TensorProto_FLOAT16)
}

// embedding stores a weight at the graph's precision and returns it as stored.
func (b *builder) embedding(name string) value { return b.matrix(name, b.weights[name]) }

// table is embedding, returned as float32.
func (b *builder) table(name string) value { return b.float32(b.embedding(name)) }

// matrices stores [out, in] weights with equal in side by side, transposed to [in, out...] as
// MatMul wants it, and returns them as is computed.
func (b *builder) matrices(names ...string) value {
	in, out := b.weights[names[0]].Shape[1], 0
	for _, n := range names {
		out += b.weights[n].Shape[0]
	}
	data, column := make([]float32, in*out), 0
	for _, n := range names {
		t := b.weights[n]
		for o := range t.Shape[0] {
			for i := range in {
				data[i*out+column] = t.Data[o*in+i]
			}
			column++
		}
	}
	v := b.matrix(joined(names)+".T", Tensor{[]int{in, out}, data})
	if b.inHalf() {
		return v
	}
	return b.float32(v)
}

// vectors stores vectors end to end.
func (b *builder) vectors(names ...string) value {
	var data []float32
	for _, n := range names {
		data = append(data, b.weights[n].Data...)
	}
	return b.stored32(joined(names), []int{len(data)}, data)
}

func joined(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprint(names)
}

func (b *builder) matrix(name string, t Tensor) value {
	if b.precision == FP32 {
		return b.store(name, pb.TensorProto_FLOAT, t.Shape, floats(t.Data))
	}
	return b.store(name, pb.TensorProto_FLOAT16, t.Shape, b.float16(name, t.Data))
}

// float16 rounds the weights of a name, which must not be too large.
func (b *builder) float16(name string, data []float32) []byte {
	raw := make([]byte, 0, 2*len(data))
	for _, x := range data {
		h := Float16(x)
		if h&0x7c00 == 0x7c00 {
			b.tooLarge = fmt.Errorf("weight %s holds a number that float16 cannot", name)
		}
		raw = binary.LittleEndian.AppendUint16(raw, h)
	}
	return raw
}

// float32 casts what is stored as float16; the runtime folds the cast of a constant at load.
func (b *builder) float32(v value) value {
	if b.precision == FP32 {
		return v
	}
	return b.cast(v, pb.TensorProto_FLOAT)
}

func floats(data []float32) []byte {
	raw := make([]byte, 0, 4*len(data))
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return raw
}

// Float16 rounds x to the nearest IEEE 754 half, ties to even.
func Float16(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	abs := math.Abs(float64(x))
	switch {
	case abs != abs:
		return sign | 0x7e00
	case abs >= 65520: // rounds past the largest half, 65504
		return sign | 0x7c00
	case abs < 0x1p-14: // subnormal: a multiple of 2^-24
		return sign | uint16(math.RoundToEven(abs*0x1p24))
	}
	// Round the mantissa to 10 bits; a carry moves on into the exponent, as it should.
	abs32 := bits & 0x7fffffff
	rounded := abs32 + 0xfff + abs32>>13&1
	return sign | uint16(rounded>>13-(127-15)<<10)
}
