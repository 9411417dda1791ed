package embedder

import (
	"context"
	"image"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// Heat says how much each patch of an image speaks for a query: by how much their similarity
// falls when the model does not see the patches around it. Below 0 they speak against it.
type Heat struct {
	Rows, Columns int       // of patches
	Values        []float32 // row-major, differences of cosines; 0 in padding
}

// The windows of patches that are hidden together. One patch alone changes next to nothing, since
// its neighbours say the same. A step of half the width puts each patch in four windows.
const (
	heatWindow = 4
	heatStep   = heatWindow / 2
)

// Explain returns how similar images, which are one study's, are to query, and what of each image
// makes them so. The model learnt from images of which it saw a part only, so it knows hidden
// patches; nothing else is asked of it, and every model that serves can be explained. It runs
// once a window: 64 times an image of 14 x 14 patches. Invalid: no images, or images that
// [Encoder.Check] refuses, or a query of another width.
func (e *Encoder) Explain(ctx context.Context, images []Image, query Vector) (similarity float32, heats []Heat, err error) {
	const op = "embedder.Encoder.Explain"
	if len(query) != e.Width() {
		return 0, nil, fault.Reject(op, fault.Invalid, ReasonEncoderInput, "the query is a vector of %d numbers", e.Width())
	}
	pieces, err := e.EncodeImages(ctx, images)
	if err != nil {
		return 0, nil, fault.Wrap(op, err)
	}
	similarityOf := func(pieces []Piece) (float32, error) {
		v, err := Combine(pieces, e.bias)
		if err != nil {
			return 0, err
		}
		var sum float32
		for i, x := range v {
			sum += x * query[i]
		}
		return sum, nil
	}
	if similarity, err = similarityOf(pieces); err != nil {
		return 0, nil, fault.Wrap(op, err)
	}
	for n, img := range images {
		var hidden []Image
		for _, w := range e.windows(img) {
			img.hidden = w
			hidden = append(hidden, img)
		}
		without, err := e.EncodeImages(ctx, hidden)
		if err != nil {
			return 0, nil, fault.Wrap(op, err)
		}
		patches := patches(e.manifest.Config.Image)
		heat, windows := make([]float32, len(patches)), make([]float32, len(patches))
		for i, piece := range without {
			others := slices.Clone(pieces)
			others[n] = piece
			left, err := similarityOf(others)
			if err != nil {
				return 0, nil, fault.Wrap(op, err)
			}
			for p, at := range patches {
				if at.In(hidden[i].hidden) && at.Overlaps(img.Exposed) {
					heat[p] += similarity - left
					windows[p]++
				}
			}
		}
		for p, n := range windows {
			if n > 0 {
				heat[p] /= n
			}
		}
		c := e.manifest.Config.Image
		heats = append(heats, Heat{Rows: c.Size / c.Patch, Columns: c.Size / c.Patch, Values: heat})
	}
	return similarity, heats, nil
}

// windows are those that hide some of what img shows, and not all of it.
func (e *Encoder) windows(img Image) (windows []image.Rectangle) {
	c := e.manifest.Config.Image
	for y := -heatStep * c.Patch; y < c.Size; y += heatStep * c.Patch {
		for x := -heatStep * c.Patch; x < c.Size; x += heatStep * c.Patch {
			w := image.Rect(x, y, x+heatWindow*c.Patch, y+heatWindow*c.Patch)
			hides, leaves := false, false
			for _, p := range patches(c) {
				if p.Overlaps(img.Exposed) {
					hides, leaves = hides || p.In(w), leaves || !p.In(w)
				}
			}
			if hides && leaves {
				windows = append(windows, w)
			}
		}
	}
	return windows
}

// patches are the places of an image's patches, row by row.
func patches(c model.ImageConfig) (patches []image.Rectangle) {
	for y := 0; y < c.Size; y += c.Patch {
		for x := 0; x < c.Size; x += c.Patch {
			patches = append(patches, image.Rect(x, y, x+c.Patch, y+c.Patch))
		}
	}
	return patches
}
