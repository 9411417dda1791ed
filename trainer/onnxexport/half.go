package onnxexport

import (
	"context"
	"errors"
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
	inputs := make([][]ort.Tensor, len(images))
	for i := range images {
		inputs[i] = embedder.ImageTensors(c.Image, images[i:i+1])
	}
	ofImages, err := largestOf(ctx, runtime, image, embedder.ImageInputs(), inputs)
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	inputs = make([][]ort.Tensor, len(texts))
	for i, ids := range texts {
		shape := []int64{1, int64(len(ids))}
		wide := make([]int64, len(ids))
		for j, id := range ids {
			wide[j] = int64(id)
		}
		inputs[i] = []ort.Tensor{{Shape: shape, Data: wide}, {Shape: shape, Data: slices.Repeat([]int64{1}, len(ids))}}
	}
	ofTexts, err := largestOf(ctx, runtime, text, []string{"input_ids", "attention_mask"}, inputs)
	return max(ofImages, ofTexts), fault.Wrap(op, err)
}

// largestOf runs a measured graph on each of many inputs.
func largestOf(ctx context.Context, runtime *ort.Runtime, graph []byte, names []string, inputs [][]ort.Tensor) (largest float64, err error) {
	s, err := runtime.Session(ort.Model{Name: "largest", Data: graph, Varying: true}, names, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, in := range inputs {
		out, err := s.Run(ctx, in...)
		if err != nil {
			return 0, err
		}
		v, ok := out[0].Data.([]float32)
		if !ok || len(v) != 1 {
			return 0, fault.Errorf("onnxexport.largestOf", fault.Internal, "the largest number is not one float")
		}
		largest = max(largest, float64(v[0]))
	}
	return largest, nil
}
