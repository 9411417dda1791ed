package onnxexport

import (
	"context"
	"slices"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
)

// LargestFloat16 is the largest number of float16.
const LargestFloat16 = 65504

// measured is the precision of graphs that compute in float32 and tell the largest number that [HALF]
// computes in float16.
const measured Precision = "measured"

// toHalf returns x as the layers compute, and lets what follows do so too: with [HALF] in float16.
func (b *builder) toHalf(x value) value {
	b.layers = true
	if b.inHalf() {
		return b.cast(x, pb.TensorProto_FLOAT16)
	}
	b.measure("Cast", x)
	return x
}

// toFull ends toHalf: x and what follows are float32.
func (b *builder) toFull(x value) value {
	b.layers = false
	if b.precision == HALF {
		return b.cast(x, pb.TensorProto_FLOAT)
	}
	return x
}

// inHalf reports whether what is added now computes in float16.
func (b *builder) inHalf() bool { return b.layers && b.precision == HALF }

// measure takes down the largest number of v, which an operator of some kind gave, without its sign.
// Other kinds than these give no larger numbers than they take.
func (b *builder) measure(kind string, v value) {
	if b.layers && b.precision == measured && slices.Contains([]string{"Cast", "MatMul", "Add", "LayerNormalization"}, kind) {
		b.largest = append(b.largest, b.reduce("ReduceMax", b.op("Abs", []value{b.reshape(v, -1)}), 0, 1))
	}
}

// measurement ends a graph with what was taken down as its only output.
func (b *builder) measurement() ([]byte, error) {
	b.output("largest", b.op("Max", b.largest), 1)
	return b.bytes()
}

// MeasureLargest returns the largest number, without its sign, that a model would compute in float16
// as [HALF] over images and texts, which are [CLS] ... [SEP]: above [LargestFloat16] it would overflow.
//
// Errors: those of [ImageGraph] and of the runtime.
func MeasureLargest(ctx context.Context, runtime *ort.Runtime, c model.Config, w Weights, images []embedder.Image, texts [][]int32) (largest float64, err error) {
	const op = "onnxexport.MeasureLargest"
	image, err := ImageGraph(c, w, measured)
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	text, err := TextGraph(c, w, measured)
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	for _, of := range []struct {
		graph  []byte
		names  []string
		inputs [][]ort.Tensor
	}{{image, embedder.ImageInputs(), imagesAlone(c, images)}, {text, textInputs, textsAlone(texts)}} {
		err := runEach(ctx, runtime, of.graph, of.names, nil, of.inputs, func(_ int, out [][]float32) error {
			largest = max(largest, float64(out[0][0]))
			return nil
		})
		if err != nil {
			return 0, fault.Wrap(op, err)
		}
	}
	return largest, nil
}
