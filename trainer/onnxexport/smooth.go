package onnxexport

import (
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// A few channels of what a product takes in are far larger than the others, in encoders that were
// trained long, or lie far from 0. One step for all channels is then too coarse for most of them.
// So each channel is moved to the middle of its range and scaled, and what takes it in is changed
// the other way round:
//
//	W x + b = (W diag(s)) ((x - z) / s) + (b + W z)
//
// with s as in SmoothQuant (Xiao et al., 2023, equation 4, alpha 0.5) and z as in Outlier
// Suppression+ (Wei et al., 2023). Who makes x has weights that take up s and z, so that the graph
// computes no more than before: a norm does, and the values of attention, whose shares add up to 1.
// The GELU before the second product of an MLP does not, and scaling its channels by a multiplication
// of their own gained nothing.

// smooth returns weights and ranges of an encoder that computes what w does, with the inputs of
// its products smoothed. w stays as it is.
func smooth(c model.Config, w Weights, r Ranges) (Weights, Ranges, error) {
	w, r = maps.Clone(w), maps.Clone(r)
	for l := range c.Image.Layers {
		layer := layerName("image", l)
		attention := layer + ".attention."
		err := errors.Join(
			w.smooth(r, layer+".norm1", attention+"query", attention+"key", attention+"value"),
			w.smooth(r, attention+"value", attention+"output"),
			w.smooth(r, layer+".norm2", layer+".mlp.up"))
		if err != nil {
			return nil, nil, err
		}
	}
	for l := range c.Text.Layers { // what a norm makes there is a residual, too
		attention := layerName("text", l) + ".attention."
		if err := w.smooth(r, attention+"value", attention+"output"); err != nil {
			return nil, nil, err
		}
	}
	return w, r, nil
}

// smooth smooths what products of one input take in, whose range goes by the first, where that is quantised.
// maker has the weights by output channel that make the input.
func (w Weights) smooth(r Ranges, maker string, takes ...string) error {
	if _, quantised := r[takes[0]]; !quantised {
		return nil
	}
	middle, scale, err := w.smoothing(r, takes...)
	if err != nil {
		return err
	}
	w[maker+".weight"] = w[maker+".weight"].each(func(row, _ int, v float32) float32 { return v / scale[row] })
	w[maker+".bias"] = w[maker+".bias"].each(func(row, _ int, v float32) float32 { return (v - middle[row]) / scale[row] })
	w.take(middle, scale, takes...)
	r[takes[0]] = r[takes[0]].smoothed(middle, scale)
	return nil
}

// smoothing is the middle and the scale of each channel that products of one input take in.
func (w Weights) smoothing(r Ranges, takes ...string) (middle, scale []float32, err error) {
	of, width := r[takes[0]], w[takes[0]+".weight"].Shape[1]
	if len(of.Least) != width || len(of.Largest) != width {
		return nil, nil, fault.Reject("onnxexport.smooth", fault.Invalid, ReasonWeights, "the range of %s is one of %d channels, not of %d", takes[0], len(of.Least), width)
	}
	largest := make([]float64, width)
	for _, name := range takes {
		for i, v := range w[name+".weight"].Data {
			largest[i%width] = max(largest[i%width], math.Abs(float64(v)))
		}
	}
	middle, scale = make([]float32, width), make([]float32, width)
	for i := range width {
		least, most := float64(of.Least[i]), float64(of.Largest[i])
		middle[i], scale[i] = float32((least+most)/2), 1
		if s := math.Sqrt((most - least) / 2 / largest[i]); s > 0 && !math.IsInf(s, 0) {
			scale[i] = float32(s)
		}
	}
	return middle, scale, nil
}

// take lets products take in smoothed channels.
func (w Weights) take(middle, scale []float32, takes ...string) {
	for _, name := range takes {
		weight, bias := w[name+".weight"], w[name+".bias"]
		width := len(scale)
		w[name+".bias"] = bias.each(func(row, _ int, v float32) float32 {
			sum := float64(v)
			for i, x := range weight.Data[row*width : (row+1)*width] {
				sum += float64(x) * float64(middle[i])
			}
			return float32(sum)
		})
		w[name+".weight"] = weight.each(func(_, column int, v float32) float32 { return v * scale[column] })
	}
}

// smoothed is the range of channels that were smoothed.
func (r Range) smoothed(middle, scale []float32) Range {
	r = Range{slices.Clone(r.Least), slices.Clone(r.Largest)}
	for i := range scale {
		r.Least[i], r.Largest[i] = (r.Least[i]-middle[i])/scale[i], (r.Largest[i]-middle[i])/scale[i]
	}
	return r
}

// each is a copy of a vector or a matrix, changed element by element.
func (t Tensor) each(f func(row, column int, v float32) float32) Tensor {
	width := 1
	if len(t.Shape) == 2 {
		width = t.Shape[1]
	}
	data := make([]float32, len(t.Data))
	for i, v := range t.Data {
		data[i] = f(i/width, i%width, v)
	}
	t.Data = data
	return t
}
