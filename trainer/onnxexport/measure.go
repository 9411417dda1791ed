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

// MeasureRanges returns what the products of the encoders take in over images and texts, which are
// [CLS] ... [SEP] and should be such as they will see: some hundred are enough. Without texts the text
// encoder has no ranges, and so stays in float.
//
// Errors: those of [ImageRangesGraph] and of the runtime; Usage for no images.
func MeasureRanges(ctx context.Context, runtime *ort.Runtime, c model.Config, w Weights, images []embedder.Image, texts [][]int32) (Ranges, error) {
	const op = "onnxexport.MeasureRanges"
	if len(images) == 0 {
		return nil, fault.Errorf(op, fault.Usage, "there are no images to measure ranges on")
	}
	r := Ranges{}
	graph, products, err := ImageRangesGraph(c, w)
	if err == nil {
		err = r.measure(ctx, runtime, graph, products, embedder.ImageInputs(), imagesAlone(c, images))
	}
	if err != nil || len(texts) == 0 {
		return r, fault.Wrap(op, err)
	}
	if graph, products, err = TextRangesGraph(c, w); err == nil {
		err = r.measure(ctx, runtime, graph, products, textInputs, textsAlone(texts))
	}
	return r, fault.Wrap(op, err)
}

// measure reads what a graph says of many inputs.
func (r Ranges) measure(ctx context.Context, runtime *ort.Runtime, graph []byte, products []Product, names []string, inputs [][]ort.Tensor) error {
	return runEach(ctx, runtime, graph, names, []string{"ranges"}, inputs, func(_ int, out [][]float32) error { return r.Read(products, out[0]) })
}

var textInputs = []string{"input_ids", "attention_mask"}

// imagesAlone are batches of one image each, so that no padding is seen.
func imagesAlone(c model.Config, images []embedder.Image) [][]ort.Tensor {
	inputs := make([][]ort.Tensor, len(images))
	for i := range images {
		inputs[i] = embedder.ImageTensors(c.Image, images[i:i+1])
	}
	return inputs
}

// textsAlone are batches of one text each.
func textsAlone(texts [][]int32) [][]ort.Tensor {
	inputs := make([][]ort.Tensor, len(texts))
	for i, ids := range texts {
		shape := []int64{1, int64(len(ids))}
		wide := make([]int64, len(ids))
		for j, id := range ids {
			wide[j] = int64(id)
		}
		inputs[i] = []ort.Tensor{{Shape: shape, Data: wide}, {Shape: shape, Data: slices.Repeat([]int64{1}, len(ids))}}
	}
	return inputs
}

// runEach runs a graph on each of many inputs, and hands f its outputs, which are floats.
func runEach(ctx context.Context, runtime *ort.Runtime, graph []byte, names, outputs []string, inputs [][]ort.Tensor, f func(i int, out [][]float32) error) (err error) {
	s, err := runtime.Session(ort.Model{Name: "measured", Data: graph, Varying: true}, names, outputs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for i, in := range inputs {
		tensors, err := s.Run(ctx, in...)
		if err != nil {
			return err
		}
		out := make([][]float32, len(tensors))
		for j, t := range tensors {
			var ok bool
			if out[j], ok = t.Data.([]float32); !ok {
				return fault.Errorf("onnxexport.runEach", fault.Internal, "output %d holds no floats", j)
			}
		}
		if err := f(i, out); err != nil {
			return err
		}
	}
	return nil
}

// Enough returns the ranges of r without those of products that have to stay in float, so that the mean
// cosine between the vectors of images in int8 and in float is at least so much, less two standard errors, and
// that of texts likewise; and the names of those products, by encoder in the order in which they were left out.
// images and texts should be other ones than those on which the result is judged.
//
// Each product is tried in int8 alone. The losses of all about add up, so those are left out
// that lose most for the time that they save, until a measurement says that it is enough. progress
// hears of the graphs that were tried, of at most so many.
//
// Errors: those of [Int8ImageGraph] and of the runtime; Usage for no images, or no texts where products of the
// text encoder have ranges.
func (r Ranges) Enough(ctx context.Context, runtime *ort.Runtime, c model.Config, w Weights, images []embedder.Image, texts [][]int32, least float64, progress func(done, most int)) (_ Ranges, float []string, err error) {
	const op = "onnxexport.Ranges.Enough"
	left, done, most := Ranges{}, 0, 2*len(r)+4
	for _, encoder := range []struct {
		prefix  string
		inputs  int
		vectors func(Ranges) ([]embedder.Vector, error)
	}{
		{"image.", len(images), func(r Ranges) ([]embedder.Vector, error) { return imageVectors(ctx, runtime, c, w, r, images) }},
		{"text.", len(texts), func(r Ranges) ([]embedder.Vector, error) { return textVectors(ctx, runtime, c, w, r, texts) }},
	} {
		of := maps.Clone(r)
		maps.DeleteFunc(of, func(name string, _ Range) bool { return !strings.HasPrefix(name, encoder.prefix) })
		if len(of) == 0 {
			continue
		}
		if encoder.inputs == 0 {
			return nil, nil, fault.Errorf(op, fault.Usage, "there are no inputs to measure int8 of %s on", strings.TrimSuffix(encoder.prefix, "."))
		}
		some, kept, err := of.enough(w, least, func(r Ranges) ([]embedder.Vector, error) {
			done++
			if progress != nil {
				progress(done, most)
			}
			return encoder.vectors(r)
		})
		if err != nil {
			return nil, nil, fault.Wrap(op, err)
		}
		maps.Copy(left, some)
		float = append(float, kept...)
	}
	return left, float, nil
}

// enough is [Ranges.Enough] of one encoder, whose vectors of the inputs are asked for.
func (r Ranges) enough(w Weights, least float64, vectors func(Ranges) ([]embedder.Vector, error)) (_ Ranges, float []string, err error) {
	want, err := vectors(Ranges{})
	if err != nil {
		return nil, nil, err
	}
	// cosine is the mean over the inputs, and what is about certain to be reached over many others.
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
		n := float64(len(want))
		mean = sum / n
		return mean, mean - 2*math.Sqrt(max(0, squares/n-mean*mean)/n), err
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
func imageVectors(ctx context.Context, runtime *ort.Runtime, c model.Config, w Weights, r Ranges, images []embedder.Image) ([]embedder.Vector, error) {
	graph, err := Int8ImageGraph(c, w, r)
	if err != nil {
		return nil, err
	}
	vectors := make([]embedder.Vector, len(images))
	err = runEach(ctx, runtime, graph, embedder.ImageInputs(), []string{"m", "s", "v", "bias"}, imagesAlone(c, images), func(i int, out [][]float32) (err error) {
		vectors[i], err = embedder.Combine([]embedder.Piece{{M: out[0][0], S: out[1][0], V: out[2]}}, out[3])
		return err
	})
	return vectors, err
}

// textVectors encodes texts one by one, with the products of r in int8.
func textVectors(ctx context.Context, runtime *ort.Runtime, c model.Config, w Weights, r Ranges, texts [][]int32) ([]embedder.Vector, error) {
	graph, err := Int8TextGraph(c, w, r)
	if err != nil {
		return nil, err
	}
	vectors := make([]embedder.Vector, len(texts))
	err = runEach(ctx, runtime, graph, textInputs, []string{"text"}, textsAlone(texts), func(i int, out [][]float32) error {
		vectors[i] = out[0]
		return nil
	})
	return vectors, err
}
