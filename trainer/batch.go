package trainer

import (
	"image"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/model"
)

// Batcher draws the batches of a run. It holds no state: batch i is a function of the data,
// the configuration and i.
type Batcher struct {
	config   Config
	image    model.ImageConfig
	studies  []*Study
	patients [][]int // the studies of each, in the order of studies
	// Of the tokenizer of the reports: every report begins and ends with these.
	start, end int32
	mask       int32
}

// NewBatcher returns a Batcher over d.Train. c must be valid.
func NewBatcher(c Config, m model.Config, d *Dataset) *Batcher {
	first := d.Train[0].Report.Tokens
	b := &Batcher{config: c, image: m.Image, studies: d.Train, start: first[0], end: first[len(first)-1], mask: d.MaskToken}
	known := map[string]int{}
	for i, s := range d.Train {
		p, seen := known[s.Patient]
		if !seen || s.Patient == "" {
			p = len(b.patients)
			known[s.Patient] = p
			b.patients = append(b.patients, nil)
		}
		b.patients[p] = append(b.patients[p], i)
	}
	return b
}

// order returns all studies in the order of an epoch: the patients in a random order, the
// studies of each one after another, so that most come into one batch. Negatives of the same
// patient differ in what was found, not in whom it was found.
func (b *Batcher) order(epoch int) []int {
	r := rand.New(rand.NewPCG(b.config.Seed, drawOrder<<56|uint64(epoch)))
	out := make([]int, 0, len(b.studies))
	for _, p := range r.Perm(len(b.patients)) {
		own := b.patients[p]
		for _, i := range r.Perm(len(own)) {
			out = append(out, own[i])
		}
	}
	return out
}

// Purposes of random numbers; each has its own stream.
const (
	drawOrder uint64 = iota
	drawFilms
	drawStart
	drawPart
	drawSentence
	drawHidden
)

// Batch returns the batch of a step, from 0. Every study is seen once before any is seen
// again, in an order of its own each time; where the data are fewer than a batch, a batch
// holds them all once.
func (b *Batcher) Batch(step int) Batch {
	n := min(b.config.Batch, len(b.studies))
	perEpoch := len(b.studies) / n
	epoch, place := step/perEpoch, step%perEpoch
	masked := step < b.config.Steps-b.config.UnmaskedSteps
	out := Batch{HoldText: step < b.config.HoldText, MaskToken: b.mask}
	drawn := *b
	drawn.config = b.config.at(step)
	part := b.part(step)
	groups := grouper{}
	first := map[string]int{} // study of each patient
	for i, at := range b.order(epoch)[place*n:][:n] {
		s := b.studies[at]
		draw := func(purpose uint64, i int) *rand.Rand {
			return rand.New(rand.NewPCG(b.config.Seed, purpose<<56|uint64(step)<<16|uint64(i)))
		}
		// The films of one patient are changed alike, so that they still differ only in what was
		// found. What nobody is known to own stands alone.
		f, seen := first[s.Patient]
		if !seen || s.Patient == "" {
			f = i
			first[s.Patient] = i
		}
		drawn.addImages(&out, i, s, masked, draw(drawFilms, f))
		out.Studies = append(out.Studies, s.Key)
		text := b.text(s, part, groups, draw(drawSentence, i))
		text.Hidden = b.config.hide(len(text.Tokens), draw(drawHidden, i))
		out.Texts = append(out.Texts, text)
	}
	return out
}

// addImages adds the views of a study, now and then without one of them, and now and then
// those of its prior.
func (b *Batcher) addImages(out *Batch, study int, s *Study, masked bool, r *rand.Rand) {
	current := b.views(s.Images)
	if len(current) > 1 && r.Float64() < b.config.ViewDrop {
		leave := r.IntN(len(current))
		current = slices.Concat(current[:leave], current[leave+1:])
	}
	for _, i := range current {
		b.addImage(out, study, i, masked, r)
	}
	if s.prior == nil || r.Float64() >= b.config.PriorUse {
		return
	}
	days := float32(s.Time.Sub(s.prior.Time).Hours() / 24)
	for _, i := range b.views(s.prior.Images) {
		i.Prior, i.Days = true, days
		b.addImage(out, study, i, masked, r)
	}
}

// views returns those of a study that the run looks at.
func (b *Batcher) views(all []embedder.Image) []embedder.Image {
	if !b.config.FrontalOnly {
		return all
	}
	return Frontal(all)
}

// Frontal returns the frontal views, all where there is none.
func Frontal(all []embedder.Image) []embedder.Image {
	var out []embedder.Image
	for _, i := range all {
		if i.View != embedder.Lateral {
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		return all
	}
	return out
}

func (b *Batcher) addImage(out *Batch, study int, i embedder.Image, masked bool, r *rand.Rand) {
	pixels, exposed := b.config.augment(i.Pixels, i.Exposed, b.image.Size, r)
	out.Pixels = append(out.Pixels, pixels...)
	e := BatchImage{Study: study, View: i.View, Exposed: exposed, Prior: i.Prior, Days: i.Days}
	if masked {
		e.Keep = Keep(exposed, b.image, b.config.KeepShare, r)
	}
	out.Images = append(out.Images, e)
}

// Keep draws which patches enter the encoder: the given share of all patches of an image, of
// those that are at least partly exposed.
func Keep(exposed image.Rectangle, c model.ImageConfig, share float64, r *rand.Rand) []int32 {
	var seen []int32
	side := c.Size / c.Patch
	for p := range c.Patches() {
		x, y := p%side*c.Patch, p/side*c.Patch
		if exposed.Overlaps(image.Rect(x, y, x+c.Patch, y+c.Patch)) {
			seen = append(seen, int32(p))
		}
	}
	r.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
	seen = seen[:min(len(seen), max(1, int(math.Round(share*float64(c.Patches())))))]
	slices.Sort(seen)
	return seen
}

// part is what stands for the reports in a step.
type part int

const (
	whole part = iota
	impression
	sentence
)

// part draws what stands for the reports in a step. It is the same for all: padding short
// texts to the length of a whole report would cost more than the texts.
func (b *Batcher) part(step int) part {
	switch u := rand.New(rand.NewPCG(b.config.Seed, drawPart<<56|uint64(step))).Float64(); {
	case u < b.config.ImpressionShare:
		return impression
	case u < b.config.ImpressionShare+b.config.SentenceShare:
		return sentence
	}
	return whole
}

// text returns a part of a report, the whole of one without an impression. Queries are as short
// as a sentence, so the model must see such texts.
func (b *Batcher) text(s *Study, p part, g grouper, r *rand.Rand) BatchText {
	parts, meanings := s.Report.Sentences, s.Report.meanings
	switch p {
	case impression:
		if i := s.Report.Impression; i < len(parts) {
			parts, meanings = parts[i:], meanings[i:]
		}
	case sentence:
		i := r.IntN(len(parts))
		parts, meanings = parts[i:i+1], meanings[i:i+1]
	}
	t := BatchText{Tokens: []int32{b.start}}
	for i, p := range parts {
		from := len(t.Tokens)
		t.Tokens = append(t.Tokens, p...)
		t.Sentences = append(t.Sentences, Span{Start: from, End: len(t.Tokens), Group: g.of(meanings[i])})
	}
	t.Group = g.of(saidBy(meanings))
	t.Tokens = append(t.Tokens, b.end)
	return t
}

// hide draws which words of a text of n tokens a masked-language term hides, of those between
// [CLS] and [SEP].
func (c Config) hide(n int, r *rand.Rand) []int {
	var out []int
	for i := 1; i < n-1; i++ {
		if r.Float64() < c.HideShare {
			out = append(out, i)
		}
	}
	return out
}

// grouper numbers meanings: equal ones get equal numbers.
type grouper map[string]int

func (g grouper) of(meaning string) int {
	n, known := g[meaning]
	if !known {
		n = len(g)
		g[meaning] = n
	}
	return n
}

// at returns c with the augmentation of a step. It grows while the text tower is held: what
// moves and dims films hides from a tower that knows nothing yet the little that findings
// change.
func (c Config) at(step int) Config {
	if step < c.HoldText {
		share := float64(step) / float64(c.HoldText)
		c.Shift = int(share * float64(c.Shift))
		c.Intensity, c.Noise, c.ViewDrop = share*c.Intensity, share*c.Noise, share*c.ViewDrop
	}
	return c
}

// augment returns a film as another exposure of the same patient might have looked: moved by
// some pixels, brighter or darker, with other contrast and more noise. Left stays left. What
// is moved in from outside is black and not exposed.
func (c Config) augment(pixels []byte, exposed image.Rectangle, size int, r *rand.Rand) ([]byte, image.Rectangle) {
	dx, dy := r.IntN(2*c.Shift+1)-c.Shift, r.IntN(2*c.Shift+1)-c.Shift
	gain, offset := 1+c.Intensity*(2*r.Float64()-1), 128*c.Intensity*(2*r.Float64()-1)
	gamma := math.Exp(c.Intensity * (2*r.Float64() - 1))
	noise := c.Noise * r.Float64()
	var table [256]int
	for v := range table {
		x := 255 * math.Pow(float64(v)/255, gamma)
		table[v] = int(math.Round(16 * ((x-127.5)*gain + 127.5 + offset)))
	}
	// A row of normal numbers that is long enough not to repeat in step with the image's rows.
	var grain [1021]int
	for i := range grain {
		grain[i] = int(math.Round(16 * noise * r.NormFloat64()))
	}
	at := r.IntN(len(grain))
	out := make([]byte, len(pixels))
	box := exposed.Add(image.Pt(dx, dy)).Intersect(image.Rect(0, 0, size, size))
	if box.Empty() {
		box, dx, dy = exposed, 0, 0
	}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		from, to := pixels[(y-dy)*size:], out[y*size:]
		at = (at + 1 + r.IntN(64)) % len(grain)
		for x := box.Min.X; x < box.Max.X; x++ {
			if at++; at == len(grain) {
				at = 0
			}
			to[x] = byte(min(max((table[from[x-dx]]+grain[at]+8)>>4, 0), 255))
		}
	}
	return out, box
}
