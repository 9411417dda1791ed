package onnxexport

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
)

// ReadModel returns the weights of a model directory that [WriteModel] wrote, so that training
// can go on from them. Of a model in fp16 or half they are those of the graphs: rounded.
//
// Errors: those of [model.Load]; Unsupported with ReasonWeights for graphs of another maker, and
// for int8 models, which hold no float weights.
func ReadModel(dir string) (*model.Manifest, Weights, error) {
	const op = "onnxexport.ReadModel"
	m, err := model.Load(dir)
	if err != nil {
		return nil, nil, fault.Wrap(op, err)
	}
	if m.Precision == string(INT8) {
		return nil, nil, fault.Reject(op, fault.Unsupported, ReasonWeights, "%s holds bytes, not the weights that they were made of: use the float model (%s)", m.Ref, m.Provenance.CreatedBy)
	}
	shapes := map[string][]int{}
	for _, row := range Shapes(m.Config) {
		shapes[row.Name] = row.Shape
	}
	w := Weights{}
	for _, name := range []string{model.ImageGraph, model.TextGraph} {
		file, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, fault.E(op, fault.Internal, err)
		}
		var graph pb.ModelProto
		if err := proto.Unmarshal(file, &graph); err != nil {
			return nil, nil, fault.Reject(op, fault.Unsupported, ReasonWeights, "%s is no ONNX file", name)
		}
		for _, t := range graph.GetGraph().GetInitializer() {
			w.read(t, shapes)
		}
	}
	if err := w.Check(m.Config); err != nil {
		return nil, nil, fault.Reject(op, fault.Unsupported, ReasonWeights, "the graphs of %s do not hold the weights of their configuration as radtrain writes them: %w", m.Ref, err)
	}
	return m, w, nil
}

// read takes the weights apart that [builder] stored as t; what is no weight is left out.
func (w Weights) read(t *pb.TensorProto, shapes map[string][]int) {
	joined, transposed := strings.CutSuffix(t.GetName(), ".T")
	names := strings.Fields(strings.Trim(joined, "[]"))
	data := numbers(t)
	total := 0
	for _, n := range names {
		shape, known := shapes[n]
		if !known {
			return
		}
		total += elements(shape)
	}
	if total != len(data) {
		return
	}
	if !transposed {
		for _, n := range names {
			size := elements(shapes[n])
			w[n] = Tensor{shapes[n], data[:size:size]}
			data = data[size:]
		}
		return
	}
	in := shapes[names[0]][1]
	out, column := total/in, 0
	for _, n := range names {
		own := Tensor{shapes[n], make([]float32, elements(shapes[n]))}
		for o := range len(own.Data) / in {
			for i := range in {
				own.Data[o*in+i] = data[i*out+column]
			}
			column++
		}
		w[n] = own
	}
}

// numbers returns the elements of t; none when it is no float tensor.
func numbers(t *pb.TensorProto) []float32 {
	raw := t.GetRawData()
	var out []float32
	switch pb.TensorProto_DataType(t.GetDataType()) {
	case pb.TensorProto_FLOAT:
		for ; len(raw) >= 4; raw = raw[4:] {
			out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
		}
	case pb.TensorProto_FLOAT16:
		for ; len(raw) >= 2; raw = raw[2:] {
			out = append(out, FromFloat16(binary.LittleEndian.Uint16(raw)))
		}
	}
	return out
}

// FromFloat16 returns the number of an IEEE 754 half, which must be finite.
func FromFloat16(h uint16) float32 {
	sign, exponent, mantissa := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	if exponent == 0 {
		v := float32(mantissa) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | mantissa<<13)
}
