package onnxexport

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"

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

// Enough returns the ranges of r without those of products that have to stay in float, so that the mean
// cosine between the vectors of images in int8 and in float is at least so much, less two standard errors; and the
// names of those products, in the order in which they were left out. images should be other ones than those on which
// the result is judged.
//
// Each product is tried in int8 alone. The losses of all about add up, so those are left out
// that lose most for the time that they save, until a measurement says that it is enough. progress
// hears of the graphs that were tried, of at most so many.
//
// Errors: those of [Int8ImageGraph] and of the runtime; Usage for no images.
func (r Ranges) Enough(ctx context.Context, runtime *ort.Runtime, c model.Config, w Weights, images []embedder.Image, least float64, progress func(done, most int)) (_ Ranges, float []string, err error) {
	const op = "onnxexport.Ranges.Enough"
	if len(images) == 0 {
		return nil, nil, fault.Errorf(op, fault.Usage, "there are no images to measure int8 on")
	}
	done, most := 0, 2*len(r)+2
	vectors := func(r Ranges) ([]embedder.Vector, error) {
		done++
		if progress != nil {
			progress(done, most)
		}
		return imageVectors(ctx, runtime, c, w, r, images)
	}
	want, err := vectors(Ranges{})
	if err != nil {
		return nil, nil, fault.Wrap(op, err)
	}
	// cosine is the mean over images, and what is about certain to be reached over many others.
	cosine := func(r Ranges) (mean, sure float64, err error) {
		got, err := vectors(r)
		var sum, squares float64
		for i := range got {
			var c float64
			for j, x := range got[i] {
				c += float64(x) * float64(want[i][j])
			}
			sum, squares = sum+c, squares+c*c
		}
		n := float64(len(images))
		mean = sum / n
		return mean, mean - 2*math.Sqrt(max(0, squares/n-mean*mean)/n), fault.Wrap(op, err)
	}
	_, sure, err := cosine(r)
	if err != nil || sure >= least {
		return r, nil, err
	}
	loss, saves := map[string]float64{}, map[string]float64{}
	for name, of := range r {
		alone, _, err := cosine(Ranges{name: of})
		if err != nil {
			return nil, nil, err
		}
		loss[name], saves[name] = 1-alone, float64(len(w[name+".weight"].Data))
		if strings.HasSuffix(name, ".query") { // key and value go with it
			saves[name] *= 3
		}
	}
	order := slices.SortedFunc(maps.Keys(r), func(a, b string) int {
		return cmp.Or(cmp.Compare(loss[b]/saves[b], loss[a]/saves[a]), strings.Compare(a, b))
	})
	r = maps.Clone(r)
	for _, name := range order {
		delete(r, name)
		float = append(float, name)
		left := 0.0
		for name := range r {
			left += loss[name]
		}
		if left > 2*(1-least) {
			continue
		}
		if _, sure, err = cosine(r); err != nil || sure >= least {
			return r, float, err
		}
	}
	return r, float, nil // all of them: nothing is lost
}

// imageVectors encodes images one by one, with the products of r in int8.
func imageVectors(ctx context.Context, runtime *ort.Runtime, c model.Config, w Weights, r Ranges, images []embedder.Image) (_ []embedder.Vector, err error) {
	graph, err := Int8ImageGraph(c, w, r)
	if err != nil {
		return nil, err
	}
	s, err := runtime.Session(ort.Model{Name: "trial", Data: graph}, embedder.ImageInputs(), []string{"m", "s", "v", "bias"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	vectors := make([]embedder.Vector, len(images))
	for i := range images {
		out, err := s.Run(ctx, embedder.ImageTensors(c.Image, images[i:i+1])...)
		if err != nil {
			return nil, err
		}
		var values [4][]float32
		for j, t := range out {
			var ok bool
			if values[j], ok = t.Data.([]float32); !ok {
				return nil, fault.Errorf("onnxexport.imageVectors", fault.Internal, "output %d holds no floats", j)
			}
		}
		if vectors[i], err = embedder.Combine([]embedder.Piece{{M: values[0][0], S: values[1][0], V: values[2]}}, values[3]); err != nil {
			return nil, err
		}
	}
	return vectors, nil
}
