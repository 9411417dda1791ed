//go:build torch

package torch

import (
	"image"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
)

// ReasonBatch is the fault reason of a batch that breaks the promises of trainer.Batch.
const ReasonBatch fault.Reason = "training_batch"

// Images and tokens of a text are filled up to a multiple of these. oneDNN compiles kernels for
// each shape that it meets and keeps them: with few shapes it has met them all within some
// hundred steps, and the memory of a run stays where it is.
const (
	imageStep = 4
	textStep  = 16
)

// layout is a batch as the tensors want it: rectangular, row-major, with masks for what fills
// the corners. Images that fill up belong to no study.
type layout struct {
	images, tokens int       // M, K: the most tokens of one image, CLS included
	patches        []uint8   // [M, K - CLS, patch*patch], zeros where not valid
	position       []int64   // [M, K] rows of the position table
	valid          []bool    // [M, K]; nil: all are
	view, prior    []int64   // [M]
	age            []float32 // [M] log(1 + days) of a prior, else 0; nil: no priors

	studies, width int       // B, L: the most tokens of one study
	order          []int64   // [B, L] which of the M*K tokens; nil: they are in order already
	pooled         []bool    // [B, L] true: not a token of this study; nil: all are
	local          []bool    // [B, L] true: no patch of a current image; nil: all are
	seen           []float32 // [B, L] weights of the mean over patches of current images; nil: all are

	length    int       // T
	ids       []int64   // [B, T]
	present   []bool    // [B, T]; nil: all are
	mean      []float32 // [B, 1, T] weights of the mean over tokens
	perText   int       // the most sentences of one text
	spans     []float32 // [B, perText, T] weights of the mean over each sentence
	sentences []int64   // [S] which of the B*perText rows
	owner     []int     // [S] study

	holdText bool
	texts    []int // [B] group
	phrases  []int // [S] group

	hidden hidden // what the masked terms look for, if there are any
}

// arrange lays out a batch, or says what is wrong with it.
func arrange(b trainer.Batch, c model.Config) (*layout, error) {
	l := &layout{images: fill(len(b.Images), imageStep), studies: len(b.Texts), holdText: b.HoldText}
	if l.studies == 0 {
		return nil, refused("a batch has at least one study")
	}
	if len(b.Pixels) != len(b.Images)*c.Image.Size*c.Image.Size {
		return nil, refused("a batch has %d x %d pixels an image", c.Image.Size, c.Image.Size)
	}
	if err := l.arrangeImages(b, c.Image); err != nil {
		return nil, err
	}
	return l, l.arrangeTexts(b.Texts, c.Text)
}

func (l *layout) arrangeImages(b trainer.Batch, c model.ImageConfig) error {
	cls := c.Tokens() - c.Patches()
	kept := make([][]int32, len(b.Images))
	for i, img := range b.Images {
		var err error
		if kept[i], err = patches(img, c); err != nil {
			return err
		}
		l.tokens = max(l.tokens, len(kept[i])+cls)
		if img.View > 1 || img.Days < 0 {
			return refused("a view is frontal or lateral, days are 0 or more")
		}
		last := -1
		if i > 0 {
			last = b.Images[i-1].Study
		}
		if img.Study != last && img.Study != last+1 {
			return refused("images of one study are next to one another, and studies in order, each with an image")
		}
	}
	if len(b.Images) == 0 || b.Images[len(b.Images)-1].Study != l.studies-1 {
		return refused("each study has at least one image")
	}

	area, side := c.Patch*c.Patch, c.Size/c.Patch
	l.patches = make([]uint8, l.images*(l.tokens-cls)*area)
	l.position = make([]int64, l.images*l.tokens)
	valid := make([]bool, l.images*l.tokens)
	l.view, l.prior, l.age = make([]int64, l.images), make([]int64, l.images), make([]float32, l.images)
	priors := false
	for i, img := range b.Images {
		pixels := b.Pixels[i*c.Size*c.Size : (i+1)*c.Size*c.Size]
		row := i * l.tokens
		for t := range cls {
			valid[row+t] = true
		}
		for t, p := range kept[i] {
			valid[row+cls+t], l.position[row+cls+t] = true, int64(cls)+int64(p)
			to := l.patches[(i*(l.tokens-cls)+t)*area:]
			from := (int(p)/side*c.Patch)*c.Size + int(p)%side*c.Patch
			for y := range c.Patch {
				copy(to[y*c.Patch:(y+1)*c.Patch], pixels[from+y*c.Size:])
			}
		}
		l.view[i] = int64(img.View)
		if img.Prior {
			priors, l.prior[i], l.age[i] = true, 1, logDays(img.Days)
		}
	}
	for i := len(b.Images) * l.tokens; i < len(valid); i++ {
		valid[i] = true // attention over nothing is no number
	}
	if !priors {
		l.age = nil
	}
	if slices.Contains(valid, false) {
		l.valid = valid
	}
	return l.arrangeStudies(b, valid, cls)
}

// arrangeStudies puts the tokens of each study side by side.
func (l *layout) arrangeStudies(b trainer.Batch, valid []bool, cls int) error {
	own := make([][]int64, l.studies) // tokens of each study
	for i, img := range b.Images {
		for t := range l.tokens {
			if n := i*l.tokens + t; valid[n] {
				own[img.Study] = append(own[img.Study], int64(n))
			}
		}
	}
	for _, o := range own {
		l.width = max(l.width, len(o))
	}
	l.order = make([]int64, l.studies*l.width)
	l.pooled, l.local = make([]bool, len(l.order)), make([]bool, len(l.order))
	inOrder := len(l.order) == len(valid)
	for s, o := range own {
		for t := range l.width {
			n := s*l.width + t
			if t >= len(o) {
				l.pooled[n], l.local[n], inOrder = true, true, false
				continue
			}
			l.order[n] = o[t]
			inOrder = inOrder && int(o[t]) == n
			l.local[n] = b.Images[int(o[t])/l.tokens].Prior || int(o[t])%l.tokens < cls
		}
	}
	for s := range own {
		if !slices.Contains(l.local[s*l.width:(s+1)*l.width], false) {
			return refused("each study has at least one current image")
		}
	}
	if inOrder {
		l.order = nil
	}
	if !slices.Contains(l.pooled, true) {
		l.pooled = nil
	}
	if !slices.Contains(l.local, true) {
		l.local = nil
		return nil
	}
	n := float32(0)
	l.seen = make([]float32, len(l.local))
	for i, hidden := range l.local {
		if !hidden {
			l.seen[i] = 1
			n++
		}
	}
	for i := range l.seen {
		l.seen[i] /= n
	}
	return nil
}

// patches lists the patches of an image that enter the encoder.
func patches(img trainer.BatchImage, c model.ImageConfig) ([]int32, error) {
	side := int32(c.Size / c.Patch)
	exposed := func(p int32) bool {
		x, y := int(p%side)*c.Patch, int(p/side)*c.Patch
		return img.Exposed.Overlaps(image.Rect(x, y, x+c.Patch, y+c.Patch))
	}
	if img.Keep != nil {
		for i, p := range img.Keep {
			if p < 0 || p >= side*side || !exposed(p) || i > 0 && p <= img.Keep[i-1] {
				return nil, refused("kept patches ascend and are exposed")
			}
		}
	} else {
		img.Keep = make([]int32, 0, side*side)
		for p := range side * side {
			if exposed(p) {
				img.Keep = append(img.Keep, p)
			}
		}
	}
	if len(img.Keep) == 0 {
		return nil, refused("an image has at least one patch that is exposed and kept")
	}
	return img.Keep, nil
}

func (l *layout) arrangeTexts(texts []trainer.BatchText, c model.TextConfig) error {
	for _, t := range texts {
		l.length, l.perText = max(l.length, len(t.Tokens)), max(l.perText, len(t.Sentences))
		if len(t.Tokens) < 2 || len(t.Tokens) > c.MaxLength || len(t.Sentences) == 0 {
			return refused("a text has 2 to %d tokens and at least one sentence", c.MaxLength)
		}
	}
	l.length = min(fill(l.length, textStep), c.MaxLength)
	l.ids, l.mean = make([]int64, l.studies*l.length), make([]float32, l.studies*l.length)
	l.spans = make([]float32, l.studies*l.perText*l.length)
	present := make([]bool, l.studies*l.length)
	for i, t := range texts {
		row := i * l.length
		for j, id := range t.Tokens {
			if id < 0 || int(id) >= c.Vocabulary {
				return refused("a token is below %d", c.Vocabulary)
			}
			l.ids[row+j], present[row+j], l.mean[row+j] = int64(id), true, 1/float32(len(t.Tokens))
		}
		for j, s := range t.Sentences {
			if s.Start < 0 || s.End <= s.Start || s.End > len(t.Tokens) {
				return refused("a sentence has at least one token and lies in its text")
			}
			for k := s.Start; k < s.End; k++ {
				l.spans[(i*l.perText+j)*l.length+k] = 1 / float32(s.End-s.Start)
			}
			l.sentences = append(l.sentences, int64(i*l.perText+j))
			l.owner = append(l.owner, i)
			l.phrases = append(l.phrases, s.Group)
		}
		l.texts = append(l.texts, t.Group)
	}
	if slices.Contains(present, false) {
		l.present = present
	}
	return nil
}

// fill returns the smallest multiple of step that is at least n.
func fill(n, step int) int { return (n + step - 1) / step * step }

func refused(format string, args ...any) error {
	return fault.Reject("torch.Trainer.Step", fault.Invalid, ReasonBatch, format, args...)
}
