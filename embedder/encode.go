package embedder

import (
	"context"
	"errors"
	"image"
	"slices"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// View is the projection of an image. The numbers are the graph's.
type View uint8

// The views.
const (
	Frontal View = 0
	Lateral View = 1
)

// Image is one prepared view.
type Image struct {
	// Pixels is the square of the model (224 x 224) in grey, row-major.
	Pixels []byte
	// Exposed is where the film lies in the square, in pixels; the rest is padding. Patches
	// that lie wholly in padding are not seen.
	Exposed image.Rectangle
	View    View
	Prior   bool    // from the patient's prior study
	Days    float32 // how long before the current study, 0 or more; for a prior only

	hidden image.Rectangle // patches that lie wholly in it are not seen; see [Encoder.Explain]
}

// StudyInput is what is known of one study. Anything may be absent.
type StudyInput struct {
	Images []Image
	Tokens []int32 // of the report, [CLS] ... [SEP], by the model's tokenizer
}

// StudyVectors are the vectors of one study; those without input are nil.
type StudyVectors struct {
	Image   Vector // all current views
	Frontal Vector // current frontal views
	Lateral Vector // current lateral views
	Prior   Vector // views of the prior study
	Text    Vector
	// The local vectors, with [Options.Local].
	Patches [][]float32 // of the patches of all current views that are no padding, of unit length
	Tokens  [][]float32 // of Text's, [CLS] and [SEP] included; not scaled to length 1
}

// ReasonEncoderInput is the fault reason of an image or text that the model cannot take.
const ReasonEncoderInput fault.Reason = "encoder_input"

// EncodeStudies encodes the images and texts of studies, as bulk work. The result has one entry a
// study, in order. One study that cannot be encoded makes all Invalid: [Encoder.Check] tells which.
func (e *Encoder) EncodeStudies(ctx context.Context, studies []StudyInput) ([]StudyVectors, error) {
	const op = "embedder.Encoder.EncodeStudies"
	var images []Image
	var texts [][]int32
	for _, s := range studies {
		images = append(images, s.Images...)
		if s.Tokens != nil {
			texts = append(texts, s.Tokens)
		}
	}
	pieces, err := e.EncodeImages(ctx, images)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	said, err := e.encodeTexts(ctx, bulk, texts)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	out := make([]StudyVectors, len(studies))
	for i, s := range studies {
		if out[i], err = e.combine(s.Images, pieces[:len(s.Images)]); err != nil {
			return nil, fault.Wrap(op, err)
		}
		pieces = pieces[len(s.Images):]
		if s.Tokens != nil {
			out[i].Text, out[i].Tokens, said = said[0].vector, said[0].tokens, said[1:]
		}
	}
	return out, nil
}

// Check says whether the model can take a study: Invalid where it cannot.
func (e *Encoder) Check(s StudyInput) error {
	const op = "embedder.Encoder.Check"
	for _, i := range s.Images {
		if err := e.checkImage(i); err != nil {
			return fault.Wrap(op, err)
		}
	}
	if s.Tokens == nil {
		return nil
	}
	return fault.Wrap(op, e.checkText(s.Tokens))
}

// EncodeImages returns one piece an image, in order, as bulk work.
func (e *Encoder) EncodeImages(ctx context.Context, images []Image) ([]Piece, error) {
	return e.encodeImages(ctx, bulk, images)
}

// EncodeFilm returns the vector of one image that somebody waits for: it goes before bulk work.
// Errors: Invalid; Unavailable while the device hangs.
func (e *Encoder) EncodeFilm(ctx context.Context, i Image) (Vector, error) {
	const op = "embedder.Encoder.EncodeFilm"
	pieces, err := e.encodeImages(ctx, interactive, []Image{i})
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	v, err := Combine(pieces, e.bias)
	return v, fault.Wrap(op, err)
}

func (e *Encoder) encodeImages(ctx context.Context, l lane, images []Image) ([]Piece, error) {
	const op = "embedder.Encoder.EncodeImages"
	for _, i := range images {
		if err := e.checkImage(i); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	pieces, err := e.images.do(ctx, l, images)
	return pieces, fault.Wrap(op, err)
}

// EncodeText returns the vector of a text that somebody waits for, tokenised and plainly cut off
// at the model's length: for queries. It goes before bulk work. Reports are cut at a sentence
// before they come to [Encoder.EncodeTexts]. Errors: Unavailable while the device hangs.
func (e *Encoder) EncodeText(ctx context.Context, text string) (Vector, error) {
	ids, _ := e.tokenizer.EncodeMax(text, e.manifest.Tokenizer.MaxLength)
	said, err := e.encodeTexts(ctx, interactive, [][]int32{ids})
	if err != nil {
		return nil, err
	}
	return said[0].vector, nil
}

// EncodeTexts returns one vector a text, in order, as bulk work. A text is [CLS] ... [SEP], at
// most as long as the model takes. Texts of similar length run together, padded to 16, 32, 64, ...
// tokens, so that the runtime sees few different shapes; padding does not change a vector.
func (e *Encoder) EncodeTexts(ctx context.Context, texts [][]int32) ([]Vector, error) {
	said, err := e.encodeTexts(ctx, bulk, texts)
	if err != nil {
		return nil, err
	}
	vectors := make([]Vector, len(said))
	for i, s := range said {
		vectors[i] = s.vector
	}
	return vectors, nil
}

// text is what the model says of one.
type text struct {
	vector Vector
	tokens [][]float32 // see [StudyVectors]
}

func (e *Encoder) encodeTexts(ctx context.Context, l lane, texts [][]int32) ([]text, error) {
	const op = "embedder.Encoder.EncodeTexts"
	for _, ids := range texts {
		if err := e.checkText(ids); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	said, err := e.texts.do(ctx, l, texts)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	for i := range said {
		if said[i].vector, err = scaled(op, said[i].vector); err != nil {
			return nil, err
		}
	}
	return said, nil
}

func (e *Encoder) checkImage(i Image) error {
	size := e.manifest.Config.Image.Size
	if len(i.Pixels) != size*size || i.Exposed.Empty() || !i.Exposed.In(square(size)) || i.View > Lateral || !(i.Days >= 0) || !finite(i.Days) {
		return fault.Reject("embedder.Encoder.checkImage", fault.Invalid, ReasonEncoderInput,
			"an image is %d x %d grey bytes with a non-empty exposed box inside, frontal or lateral, 0 or more days old", size, size)
	}
	return nil
}

func (e *Encoder) checkText(ids []int32) error {
	limit, entries := e.manifest.Tokenizer.MaxLength, int32(e.tokenizer.Size())
	if len(ids) == 0 || len(ids) > limit || slices.Min(ids) < 0 || slices.Max(ids) >= entries {
		return fault.Reject("embedder.Encoder.checkText", fault.Invalid, ReasonEncoderInput, "a text is 1 to %d token ids below %d", limit, entries)
	}
	return nil
}

// combine makes a study's image vectors from its pieces; a set without images stays nil.
func (e *Encoder) combine(images []Image, pieces []Piece) (v StudyVectors, err error) {
	for _, set := range []struct {
		to   *Vector
		want func(Image) bool
	}{
		{&v.Image, func(i Image) bool { return !i.Prior }},
		{&v.Frontal, func(i Image) bool { return !i.Prior && i.View == Frontal }},
		{&v.Lateral, func(i Image) bool { return !i.Prior && i.View == Lateral }},
		{&v.Prior, func(i Image) bool { return i.Prior }},
	} {
		var chosen []Piece
		for n, i := range images {
			if set.want(i) {
				chosen = append(chosen, pieces[n])
			}
		}
		if len(chosen) == 0 {
			continue
		}
		if *set.to, err = Combine(chosen, e.bias); err != nil {
			return StudyVectors{}, err
		}
	}
	for n, i := range images {
		if !i.Prior {
			v.Patches = append(v.Patches, pieces[n].Patches...)
		}
	}
	return v, nil
}

// ImageInputs are the inputs of an image graph, in the order of [ImageTensors].
func ImageInputs() []string { return []string{"pixels", "token_mask", "view", "prior", "days"} }

// ImageTensors lays a batch out as the image graph of c takes it. The images must fit.
func ImageTensors(c model.ImageConfig, batch []Image) []ort.Tensor {
	patches := patches(c)
	b, n := int64(len(batch)), len(patches)
	pixels := make([]byte, 0, len(batch)*c.Size*c.Size)
	mask := make([]bool, 0, len(batch)*n)
	view := make([]int64, len(batch))
	prior, days := make([]float32, len(batch)), make([]float32, len(batch))
	for i, img := range batch {
		pixels = append(pixels, img.Pixels...)
		for _, p := range patches {
			mask = append(mask, seen(img, p))
		}
		view[i] = int64(img.View)
		if img.Prior {
			prior[i], days[i] = 1, img.Days
		}
	}
	return []ort.Tensor{
		{Shape: []int64{b, 1, int64(c.Size), int64(c.Size)}, Data: pixels},
		{Shape: []int64{b, int64(n)}, Data: mask},
		{Shape: []int64{b}, Data: view},
		{Shape: []int64{b}, Data: prior},
		{Shape: []int64{b}, Data: days},
	}
}

// runImages runs one batch.
func (e *Encoder) runImages(ctx context.Context, _ int, batch []Image) ([]Piece, error) {
	out, err := e.image.Run(ctx, ImageTensors(e.manifest.Config.Image, batch)...)
	if err != nil {
		return nil, err
	}
	const op = "embedder.Encoder.runImages"
	bias, err := floats(op, out[3], e.Width())
	if err != nil {
		return nil, err
	}
	m, errM := floats(op, out[0], len(batch))
	s, errS := floats(op, out[1], len(batch))
	v, errV := floats(op, out[2], len(batch)*e.Width())
	if err := errors.Join(errM, errS, errV); err != nil {
		return nil, err
	}
	if e.bias == nil { // the first run of warm
		e.bias = bias
	}
	pieces := make([]Piece, len(batch))
	for i := range batch {
		// A copy, so that a kept piece does not keep its batch.
		pieces[i] = Piece{M: m[i], S: s[i], V: slices.Clone(v[i*e.Width() : (i+1)*e.Width()])}
	}
	if len(out) == 4 {
		return pieces, nil
	}
	places := patches(e.manifest.Config.Image)
	local, err := floats(op, out[4], len(batch)*len(places)*e.Width())
	if err != nil {
		return nil, err
	}
	rows := slices.Collect(slices.Chunk(local, e.Width()))
	for i, img := range batch {
		for p, at := range places {
			if !seen(img, at) { // what stands there is of no patch of this image
				continue
			}
			x, err := scaled(op, rows[i*len(places)+p])
			if err != nil {
				return nil, err
			}
			pieces[i].Patches = append(pieces[i].Patches, x)
		}
	}
	return pieces, nil
}

// seen says whether a patch of an image enters the encoder.
func seen(img Image, patch image.Rectangle) bool {
	return patch.Overlaps(img.Exposed) && !patch.In(img.hidden)
}

// runTexts runs one batch, padded to length. Vectors are as the graph gives them.
func (e *Encoder) runTexts(ctx context.Context, length int, batch [][]int32) ([]text, error) {
	const op = "embedder.Encoder.runTexts"
	ids, mask := make([]int64, len(batch)*length), make([]int64, len(batch)*length)
	for row, text := range batch {
		for j := range length {
			ids[row*length+j] = int64(e.tokenizer.Padding())
			if j < len(text) {
				ids[row*length+j], mask[row*length+j] = int64(text[j]), 1
			}
		}
	}
	shape := []int64{int64(len(batch)), int64(length)}
	out, err := e.text.Run(ctx, ort.Tensor{Shape: shape, Data: ids}, ort.Tensor{Shape: shape, Data: mask})
	if err != nil {
		return nil, err
	}
	values, err := floats(op, out[0], len(batch)*e.Width())
	if err != nil {
		return nil, err
	}
	said := make([]text, len(batch))
	for i := range batch {
		said[i].vector = values[i*e.Width() : (i+1)*e.Width()]
	}
	if len(out) == 1 {
		return said, nil
	}
	local, err := floats(op, out[1], len(batch)*length*e.Width())
	if err != nil {
		return nil, err
	}
	rows := slices.Collect(slices.Chunk(local, e.Width()))
	for i, ids := range batch {
		for _, row := range rows[i*length:][:len(ids)] {
			said[i].tokens = append(said[i].tokens, slices.Clone(row))
		}
	}
	return said, nil
}

// imageBucket tells images apart that should not run together: graphs leave out the patches that are
// padding in a whole batch, so one exposed box, in patches, makes a bucket.
func (e *Encoder) imageBucket(i Image) int {
	p, b := e.manifest.Config.Image.Patch, i.Exposed
	return b.Min.X/p<<24 | b.Min.Y/p<<16 | (b.Max.X-1)/p<<8 | (b.Max.Y-1)/p
}

// floats returns the n numbers of an output.
func floats(op string, t ort.Tensor, n int) ([]float32, error) {
	data, ok := t.Data.([]float32)
	if !ok || len(data) != n {
		return nil, fault.Reject(op, fault.Invalid, ort.ReasonGraph, "an output does not have the %d numbers of the manifest's widths", n)
	}
	return data, nil
}

// scaled is x of length 1, as a vector of its own.
func scaled(op string, x []float32) (Vector, error) {
	wide := make([]float64, len(x))
	for i, v := range x {
		wide[i] = float64(v)
	}
	return unit(op, wide)
}

// lengths lists the lengths that texts are padded to: 16, 32, 64, ... and the model's limit.
func lengths(limit int) []int {
	var all []int
	for n := 16; n < limit; n *= 2 {
		all = append(all, n)
	}
	return append(all, limit)
}

// paddedLength is the least of [lengths] that holds n tokens.
func paddedLength(n, limit int) int {
	b := 16
	for b < n {
		b *= 2
	}
	return min(b, limit)
}

func square(size int) image.Rectangle { return image.Rect(0, 0, size, size) }
