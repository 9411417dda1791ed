//go:build torch

package torch

import (
	"math"
	"slices"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer"
)

// The terms of a loss, as they are named in trainer.StepStats.Terms; see the package doc.
const (
	termGlobal    = "global"
	termLocal     = "local"
	termGlobalNCE = "global_nce"
	termLocalNCE  = "local_nce"

	termMaskedImage = "masked_image"
	termMaskedText  = "masked_text"
)

// objective is a preset: the weights of its terms.
type objective struct {
	name                               string
	global, local, globalNCE, localNCE float64
	maskedImage, maskedText            float64
	centred                            bool // the heads' biases follow the mean of the batches; see the package doc
}

// presets are the objectives; lambda (the weight of the local terms) multiplies local and
// localNCE. In clinvla the terms without negatives count a tenth: at full weight they pulled
// every sentence to a cosine of 0.99 with its region, and the texts into three dimensions (six
// without them), within 100 steps that taught nothing else.
var presets = [...]objective{
	{name: "paper", global: 1, local: 1},
	{name: "clinvla", global: 0.1, local: 0.1, globalNCE: 1, localNCE: 1, centred: true},
	{name: "convirt", globalNCE: 1, centred: true},
	{name: "gloria", globalNCE: 1, localNCE: 1, centred: true},
	{name: "mrm", maskedImage: 1, maskedText: 1},
}

// findObjective returns the preset of that name with its local terms weighed by lambda, and its
// global ones by global.
func findObjective(name string, global, lambda float64) (objective, error) {
	var names []string
	for _, o := range presets {
		if o.name == name {
			o.local, o.localNCE = lambda*o.local, lambda*o.localNCE
			o.global, o.globalNCE = global*o.global, global*o.globalNCE
			return o, nil
		}
		names = append(names, o.name)
	}
	return objective{}, fault.Errorf("torch.New", fault.Usage, "the objective is one of %s", strings.Join(names, ", "))
}

// scales are the learned logarithms of 1/temperature.
type scales struct{ global, local tensor }

// The temperatures start at 0.07; cosines are multiplied by at most 100. They learn at scaleRate
// times the rate of the step, so that they can follow what the vectors are worth: see the
// package doc.
var (
	startScale   = math.Log(1 / 0.07)
	highestScale = math.Log(100)
)

const scaleRate = 30

// loss holds what is minimised and its terms, unweighted.
type loss struct {
	total tensor
	terms map[string]tensor
}

// add brings in one more term.
func (l *loss) add(a *arena, term string, weight float64, x tensor) {
	l.terms[term] = x
	if x = a.scale(x, weight); l.total != nil {
		x = a.add(l.total, x)
	}
	l.total = x
}

// loss computes the terms of vectors that have a weight.
func (o objective) loss(a *arena, l *layout, s scales, image, tokens, text, sentences tensor) loss {
	out := loss{terms: make(map[string]tensor)}
	add := func(term string, weight float64, x tensor) { out.add(a, term, weight, x) }
	if o.global > 0 {
		cosine := a.scale(a.total(a.mul(image, text)), 1/float64(l.studies))
		add(termGlobal, o.global, a.shift(a.scale(cosine, -1), 1))
	}
	if o.globalNCE > 0 {
		cosines := a.matmul(image, a.transpose(text, 0, 1))
		add(termGlobalNCE, o.globalNCE, a.contrast(cosines, s.global, sameTexts(l)))
	}
	if o.local == 0 && o.localNCE == 0 {
		return out // but for the masked terms, which are not of vectors
	}
	cosines := a.regions(l, tokens, sentences)
	if o.local > 0 {
		own := make([]float32, l.studies*len(l.owner))
		for i, study := range l.owner {
			own[study*len(l.owner)+i] = 1 / float32(len(l.owner))
		}
		cosine := a.total(a.mul(cosines, a.floats(own, int64(l.studies), int64(len(l.owner)))))
		add(termLocal, o.local, a.shift(a.scale(cosine, -1), 1))
	}
	if o.localNCE > 0 {
		add(termLocalNCE, o.localNCE, a.contrast(cosines, s.local, saidIn(l)))
	}
	return out
}

// regions returns the cosine of each sentence with the region that it attends to in each study
// [B, S]; tokens [B, L, p] and sentences [S, p] are unit vectors.
func (a *arena) regions(l *layout, tokens, sentences tensor) tensor {
	cosines := a.matmul(tokens, a.transpose(sentences, 0, 1)) // [B, L, S]
	score := a.scale(cosines, 1/trainer.AttentionTemperature)
	if l.local != nil {
		score = a.fill(score, of(a, l.local, int64(l.studies), int64(l.width), 1), math.Inf(-1))
	}
	share := a.transpose(a.softmax(score, 1), 1, 2) // [B, S, L]
	region := a.unit(a.matmul(share, tokens))
	return a.sum(a.mul(region, sentences), -1, false)
}

// contrast is the cross-entropy of cosines [rows, columns] / temperature with the positives,
// over each row and over each column, averaged. Positives of one row (or column) share its
// target evenly.
func (a *arena) contrast(cosines, logScale tensor, positive [][]bool) tensor {
	rows, columns := len(positive), len(positive[0])
	logits := a.mul(cosines, a.exp(logScale))
	byRow, byColumn := make([]float32, 0, rows*columns), make([]float32, 0, rows*columns)
	inColumn := make([]int, columns)
	inRow := make([]int, rows)
	for i, row := range positive {
		for j, p := range row {
			if p {
				inRow[i]++
				inColumn[j]++
			}
		}
	}
	for i, row := range positive {
		for j, p := range row {
			var r, c float32
			if p {
				r, c = 1/float32(inRow[i]*rows), 1/float32(inColumn[j]*columns)
			}
			byRow, byColumn = append(byRow, r), append(byColumn, c)
		}
	}
	shape := []int64{int64(rows), int64(columns)}
	x := a.total(a.mul(a.logSoftmax(logits, 1), a.floats(byRow, shape...)))
	y := a.total(a.mul(a.logSoftmax(logits, 0), a.floats(byColumn, shape...)))
	return a.scale(a.add(x, y), -0.5)
}

// sameTexts says which texts [B, B] are positives of which studies.
func sameTexts(l *layout) [][]bool {
	out := make([][]bool, l.studies)
	for i := range out {
		out[i] = make([]bool, l.studies)
		for j := range out[i] {
			out[i][j] = l.texts[i] == l.texts[j]
		}
	}
	return out
}

// saidIn says which sentences [B, S] stand, word for word, in which study's text.
func saidIn(l *layout) [][]bool {
	said := make([][]int, l.studies)
	for i, study := range l.owner {
		said[study] = append(said[study], l.phrases[i])
	}
	out := make([][]bool, l.studies)
	for b := range out {
		out[b] = make([]bool, len(l.owner))
		for i, phrase := range l.phrases {
			out[b][i] = slices.Contains(said[b], phrase)
		}
	}
	return out
}
