//go:build torch

package torch

import (
	"image"
	"math"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// The weights of the masked-modelling heads; see the package doc. They serve in training alone:
// no graph has them.
const (
	imageMask = "masked.image.token" // [h] stands for a patch that was left out
	imageRead = "masked.image.read"  // key and value, by which it looks at those that were kept
	imageOut  = "masked.image.out"   // the pixels of a patch
	textImage = "masked.text.image"  // what the images of a study add to its hidden words
	textOut   = "masked.text.out"    // bias of each word
)

// maskedRows lists the weights of the heads that an objective has terms for.
func maskedRows(c model.Config, o objective) []onnxexport.TensorSpec {
	h, x, area := c.Image.Width, c.Text.Width, c.Image.Patch*c.Image.Patch
	row := func(name string, std float64, shape ...int) onnxexport.TensorSpec {
		return onnxexport.TensorSpec{Name: name, Shape: shape, Group: onnxexport.Head, Init: onnxexport.Init{Std: std}}
	}
	wide := 1 / math.Sqrt(float64(h))
	var rows []onnxexport.TensorSpec
	if o.maskedImage > 0 {
		rows = append(rows, row(imageMask, 0.02, h), row(imageRead+".weight", wide, 2*h, h), row(imageRead+".bias", 0, 2*h),
			row(imageOut+".weight", wide, area, h), row(imageOut+".bias", 0, area))
	}
	if o.maskedText > 0 {
		rows = append(rows, row(textImage+".weight", 0, x, h), row(textImage+".bias", 0, x), row(textOut+".bias", 0, c.Text.Vocabulary))
	}
	return rows
}

// hidden is what the masked terms have to find, as tensors want it.
type hidden struct {
	patches  int       // D: the most patches of one image that were left out; 0: none
	position []int64   // [M, D]
	pixels   []float32 // [M, D, area] of mean 0 and deviation 1 in each patch (He et al. 2022)
	share    []float32 // [M, D] weights of the mean over patches; 0 where none is

	ids  []int64 // [B, T] with hidden words masked
	rows []int64 // [Q] which of the B*T tokens are hidden
	// owner is the study of each, words what they are.
	owner, words []int64
}

// hide lays out what the masked terms of a batch look for.
func hide(b trainer.Batch, l *layout, c model.Config) hidden {
	var h hidden
	h.images(b, l, c.Image)
	h.texts(b, l)
	return h
}

func (h *hidden) images(b trainer.Batch, l *layout, c model.ImageConfig) {
	left := make([][]int32, len(b.Images))
	total := 0
	for i, img := range b.Images {
		if img.Keep == nil {
			continue
		}
		kept := map[int32]bool{}
		for _, p := range img.Keep {
			kept[p] = true
		}
		side := c.Size / c.Patch
		for p := range int32(c.Patches()) {
			x, y := int(p)%side*c.Patch, int(p)/side*c.Patch
			if !kept[p] && (image.Rectangle{Min: image.Pt(x, y), Max: image.Pt(x+c.Patch, y+c.Patch)}).In(img.Exposed) {
				left[i] = append(left[i], p)
			}
		}
		h.patches = max(h.patches, len(left[i]))
		total += len(left[i])
	}
	area := c.Patch * c.Patch
	h.position = make([]int64, l.images*h.patches)
	h.share = make([]float32, l.images*h.patches)
	h.pixels = make([]float32, l.images*h.patches*area)
	for i, some := range left {
		for j, p := range some {
			at := i*h.patches + j
			h.position[at], h.share[at] = int64(c.Tokens()-c.Patches())+int64(p), 1/float32(total)
			standardise(b.Pixels[i*c.Size*c.Size:][:c.Size*c.Size], c, int(p), h.pixels[at*area:][:area])
		}
	}
}

// standardise takes a patch at mean 0 and deviation 1.
func standardise(pixels []byte, c model.ImageConfig, patch int, out []float32) {
	side := c.Size / c.Patch
	from := patch/side*c.Patch*c.Size + patch%side*c.Patch
	mean, square := 0.0, 0.0
	for y := range c.Patch {
		for x, v := range pixels[from+y*c.Size:][:c.Patch] {
			out[y*c.Patch+x] = float32(v)
			mean += float64(v) / float64(len(out))
			square += float64(v) * float64(v) / float64(len(out))
		}
	}
	scale := 1 / math.Sqrt(max(square-mean*mean, 0)+1)
	for i, v := range out {
		out[i] = float32((float64(v) - mean) * scale)
	}
}

func (h *hidden) texts(b trainer.Batch, l *layout) {
	h.ids = append([]int64(nil), l.ids...)
	for i, t := range b.Texts {
		for _, at := range t.Hidden {
			row := int64(i*l.length + at)
			h.rows, h.owner, h.words = append(h.rows, row), append(h.owner, int64(i)), append(h.words, int64(t.Tokens[at]))
			h.ids[row] = int64(b.MaskToken)
		}
	}
}

// maskedImages is the mean squared error of the pixels of the patches that were left out. Each
// looks, from its place, at the patches that were kept, and passes the inverse of the
// invertible adapter. x are the states of the images' tokens [M, K, h].
func (n *network) maskedImages(l *layout, h hidden, x tensor) tensor {
	c := n.config.Image
	m, k, d, width, area := int64(l.images), int64(l.tokens), int64(h.patches), int64(c.Width), int64(c.Patch*c.Patch)
	asked := n.add(n.embed(n.weights["image.position"], of(n.arena, h.position, m, d)), n.weights[imageMask])
	read := n.project(x, imageRead)
	var keys tensor
	if l.valid != nil {
		keys = of(n.arena, l.valid, m, 1, 1, k)
	}
	one := func(x tensor, length int64) tensor { return n.reshape(x, m, 1, length, width) }
	seen := n.attend(one(asked, d), one(n.part(read, -1, 0, width), k), one(n.part(read, -1, width, width), k), keys)
	y := n.inverse(n.add(asked, n.reshape(seen, m, d, width)), "image", c.Width)
	off := n.sub(n.project(y, imageOut), n.floats(h.pixels, m, d, area))
	return n.scale(n.total(n.mul(n.mul(off, off), n.floats(h.share, m, d, 1))), 1/float64(area))
}

// maskedTexts is the cross-entropy of the words that were hidden. Each is read off the state of
// its place, to which the images of the study add what they know [B, h], behind the inverse of
// the invertible adapter, by the vocabulary itself.
func (n *network) maskedTexts(l *layout, h hidden, pooled tensor) tensor {
	c := n.config.Text
	q, width := int64(len(h.rows)), int64(c.Width)
	states := n.reshape(n.textTower(l, h.ids), int64(l.studies)*int64(l.length), width)
	x := n.add(n.rows(states, of(n.arena, h.rows, q)), n.rows(n.project(pooled, textImage), of(n.arena, h.owner, q)))
	x = n.inverse(x, "text", c.Width)
	if c.VocabularyWidth > 0 {
		x = n.matmul(x, n.weights["text.vocabulary_projection"])
	}
	logits := n.linear(x, n.weights["text.vocabulary"], n.weights[textOut+".bias"])
	right := n.gather(n.logSoftmax(logits, 1), of(n.arena, h.words, q, 1))
	return n.scale(n.total(right), -1/float64(q))
}

// inverse takes back what invertible does: e2 = o2 - G(o1), e1 = o1 - F(e2).
func (n *network) inverse(o tensor, prefix string, width int) tensor {
	if !n.config.Invertible {
		return o
	}
	half := int64(width / 2)
	o1, o2 := n.part(o, -1, 0, half), n.part(o, -1, half, half)
	e2 := n.sub(o2, n.bottleneck(o1, prefix+".invertible.g"))
	e1 := n.sub(o1, n.bottleneck(e2, prefix+".invertible.f"))
	return n.cat(-1, e1, e2)
}
