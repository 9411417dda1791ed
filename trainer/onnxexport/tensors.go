package onnxexport

import (
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
)

// ReadGraph returns the float weights of an ONNX file that another program wrote, named as they
// were in the program that made it. PyTorch's exporter folds constants, which takes the names
// of matrices: a nameless factor of the MatMul /a/b/MatMul is returned as a.b.weight, transposed
// to [out, in] as PyTorch keeps it, and another nameless operand as the node and its place:
// operand 0 of /a/Concat_6 as a.Concat_6.0.
//
// Errors: NotFound, Usage (cannot be read), Unsupported (no ONNX file, or weights in other files).
func ReadGraph(path string) (map[string]Tensor, error) {
	const op = "onnxexport.ReadGraph"
	file, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, fault.E(op, fault.NotFound, err)
	}
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	var m pb.ModelProto
	if err := proto.Unmarshal(file, &m); err != nil || m.GetGraph() == nil {
		return nil, fault.Reject(op, fault.Unsupported, ReasonWeights, "%s is no ONNX file", path)
	}
	initializers, out := map[string]Tensor{}, map[string]Tensor{}
	for _, t := range m.GetGraph().GetInitializer() {
		if t.GetDataLocation() == pb.TensorProto_EXTERNAL {
			return nil, fault.Reject(op, fault.Unsupported, ReasonWeights, "%s keeps its weights in other files: save it as one", path)
		}
		kind := pb.TensorProto_DataType(t.GetDataType())
		if kind != pb.TensorProto_FLOAT && kind != pb.TensorProto_FLOAT16 {
			continue
		}
		shape := make([]int, len(t.GetDims()))
		for i, d := range t.GetDims() {
			shape[i] = int(d)
		}
		data := numbers(t)
		if data == nil {
			data = t.GetFloatData()
		}
		if len(data) != elements(shape) {
			return nil, fault.Reject(op, fault.Unsupported, ReasonWeights, "%s: weight %s does not have the numbers of its shape", path, t.GetName())
		}
		initializers[t.GetName()] = Tensor{shape, data}
		out[t.GetName()] = initializers[t.GetName()]
	}
	for _, n := range m.GetGraph().GetNode() {
		node := strings.ReplaceAll(strings.Trim(n.GetName(), "/"), "/", ".")
		for i, name := range n.GetInput() {
			t, weight := initializers[name]
			if !weight || !strings.HasPrefix(name, "onnx::") {
				continue
			}
			if linear, ok := strings.CutSuffix(node, ".MatMul"); ok && i == 1 && len(t.Shape) == 2 {
				out[linear+".weight"] = transpose(t)
			} else {
				out[fmt.Sprintf("%s.%d", node, i)] = t
			}
		}
	}
	return out, nil
}

func transpose(t Tensor) Tensor {
	rows, columns := t.Shape[0], t.Shape[1]
	out := Tensor{[]int{columns, rows}, make([]float32, len(t.Data))}
	for r := range rows {
		for c := range columns {
			out.Data[c*rows+r] = t.Data[r*columns+c]
		}
	}
	return out
}
