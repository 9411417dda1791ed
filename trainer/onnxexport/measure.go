package onnxexport

import (
	"context"
	"errors"
	"slices"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// MeasureRanges returns what the products of the image encoder take in over images, which should be
// such as it will see: some hundred are enough.
//
// Errors: those of [RangesGraph] and of the runtime; Usage for no images.
func MeasureRanges(ctx context.Context, runtime *ort.Runtime, c model.Config, w Weights, images []embedder.Image) (_ Ranges, err error) {
	const op = "onnxexport.MeasureRanges"
	if len(images) == 0 {
		return nil, fault.Errorf(op, fault.Usage, "there are no images to measure ranges on")
	}
	graph, products, err := RangesGraph(c, w)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	s, err := runtime.Session(ort.Model{Name: "ranges", Data: graph}, embedder.ImageInputs(), []string{"ranges"})
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := Ranges{}
	for batch := range slices.Chunk(images, 1) { // alone, so that no padding is measured
		out, err := s.Run(ctx, embedder.ImageTensors(c.Image, batch)...)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		values, ok := out[0].Data.([]float32)
		if !ok {
			return nil, fault.Errorf(op, fault.Internal, "ranges are no floats")
		}
		if err := r.Read(products, values); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	return r, nil
}
