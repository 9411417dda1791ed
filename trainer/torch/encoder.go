//go:build torch

package torch

import (
	"fmt"
	"math"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// network is the model of one step: the weights, and the arena that its tensors belong to.
type network struct {
	*arena
	config   model.Config
	weights  map[string]tensor
	bfloat16 bool
	// centres, if not nil, takes the place of the heads' biases: see vectors.
	centres map[string]tensor
}

// reduced lets matrix products run in bfloat16 from here on, where that is wanted, or ends it.
// The stream of states, attention and the heads stay in float32: bfloat16 attention is slower
// on a CPU (a product of its own for each block of each head), and vectors need the digits.
func (n *network) reduced(on bool) {
	if !n.bfloat16 {
		return
	}
	if err := autocast(n.ledger.device, on); err != nil && n.err == nil {
		n.err = err
	}
}

// images returns the unit vectors of the studies [B, p], and the unit local vectors of their
// tokens [B, L, p].
func (n *network) images(l *layout) (global, local tensor) {
	pooled, x := n.pool(l, n.imageTower(l))
	return n.vectors(pooled, "image.global", nil), n.vectors(x, "image.local", l.seen)
}

// pool returns the states of the studies [B, h] and of their tokens [B, L, h], of the tokens of
// each image [M, K, h].
func (n *network) pool(l *layout, x tensor) (pooled, tokens tensor) {
	c := n.config.Image
	if l.order == nil {
		x = n.reshape(x, int64(l.studies), int64(l.width), int64(c.Width))
	} else {
		flat := n.reshape(x, int64(l.images*l.tokens), int64(c.Width))
		x = n.reshape(n.rows(flat, of(n.arena, l.order, int64(len(l.order)))), int64(l.studies), int64(l.width), int64(c.Width))
	}
	score := n.matmul(x, n.scale(n.weights["image.pool.query"], 1/math.Sqrt(float64(c.Width))))
	if l.pooled != nil {
		score = n.fill(score, n.mask(l.pooled, l), math.Inf(-1))
	}
	weight := n.reshape(n.softmax(score, 1), int64(l.studies), 1, int64(l.width))
	return n.reshape(n.matmul(weight, x), int64(l.studies), int64(c.Width)), x
}

// mask brings in which of the [B, L] tokens of the studies are hidden.
func (n *network) mask(hidden []bool, l *layout) tensor {
	return of(n.arena, hidden, int64(l.studies), int64(l.width))
}

// imageTower returns the tokens of each image [M, K, h].
func (n *network) imageTower(l *layout) tensor {
	c := n.config.Image
	m, k, cls := int64(l.images), int64(l.tokens), int64(c.Tokens()-c.Patches())
	pixels := n.float(of(n.arena, l.patches, m, k-cls, int64(c.Patch*c.Patch)))
	n.reduced(true)
	x := n.float(n.project(n.shift(n.scale(pixels, 1/(255*c.Std)), -c.Mean/c.Std), "image.patch"))
	n.reduced(false)
	if cls > 0 {
		// Zeros and the CLS vector, broadcast over the images.
		first := n.add(n.zeros(m, 1, int64(c.Width)), n.weights["image.cls"])
		x = n.cat(1, first, x)
	}
	x = n.add(x, n.embed(n.weights["image.position"], of(n.arena, l.position, m, k)))

	shared := n.add(n.embed(n.weights["image.view"], of(n.arena, l.view, m, 1)),
		n.embed(n.weights["image.time"], of(n.arena, l.prior, m, 1)))
	if l.age != nil {
		shared = n.add(shared, n.mul(n.floats(l.age, m, 1, 1), n.weights["image.days"]))
	}
	x = n.invertible(n.add(x, shared), "image", c.Width)

	var keys tensor
	if l.valid != nil {
		keys = of(n.arena, l.valid, m, 1, 1, k)
	}
	n.reduced(true)
	for i := range c.Layers {
		name := fmt.Sprintf("image.layers.%d", i)
		x = n.add(x, n.attention(n.layerNorm(x, name+".norm1", c.Tower), name, c.Tower, m, k, keys))
		x = n.add(x, n.adapters(n.mlp(n.layerNorm(x, name+".norm2", c.Tower), name), name))
	}
	n.reduced(false)
	return n.layerNorm(x, "image.norm", c.Tower)
}

// texts returns the unit vectors of the texts [B, p] and of the sentences [S, p].
func (n *network) texts(l *layout) (global, sentences tensor) {
	mean, spans := n.pooledTexts(l)
	return n.vectors(mean, "text.global", nil), n.vectors(spans, "text.local", nil)
}

// pooledTexts returns the states of the texts [B, h] and of the sentences [S, h], which are
// means over their tokens.
func (n *network) pooledTexts(l *layout) (mean, sentences tensor) {
	c := n.config.Text
	b, t := int64(l.studies), int64(l.length)
	x := n.textTower(l, l.ids)
	mean = n.reshape(n.matmul(n.floats(l.mean, b, 1, t), x), b, int64(c.Width))
	// The mean over a sentence and the projection commute.
	spans := n.matmul(n.floats(l.spans, b, int64(l.perText), t), x)
	spans = n.reshape(spans, b*int64(l.perText), int64(c.Width))
	return mean, n.rows(spans, of(n.arena, l.sentences, int64(len(l.sentences))))
}

// textTower returns the states of the tokens [B, T, h], whose numbers are ids [B, T].
func (n *network) textTower(l *layout, ids []int64) tensor {
	c := n.config.Text
	b, t := int64(l.studies), int64(l.length)
	x := n.embed(n.weights["text.vocabulary"], of(n.arena, ids, b, t))
	if c.VocabularyWidth > 0 {
		x = n.linear(x, n.weights["text.vocabulary_projection"], nil)
	}
	x = n.add(x, n.part(n.weights["text.position"], 0, 0, t))
	x = n.invertible(n.layerNorm(x, "text.embedding_norm", c.Tower), "text", c.Width)

	var keys tensor
	if l.present != nil {
		keys = of(n.arena, l.present, b, 1, 1, t)
	}
	n.reduced(true)
	for i := range c.Layers {
		name := fmt.Sprintf("text.layers.%d", i)
		x = n.layerNorm(n.add(x, n.attention(x, name, c.Tower, b, t, keys)), name+".norm1", c.Tower)
		x = n.layerNorm(n.add(x, n.adapters(n.mlp(x, name), name)), name+".norm2", c.Tower)
	}
	n.reduced(false)
	return x
}

// vectors projects states to the joint space with one of the heads, at length 1. Where n is
// centred, the mean over the batch stands for the bias, and is noted in centres: over all rows of
// x, or with these weights.
func (n *network) vectors(x tensor, head string, weights []float32) tensor {
	if n.centres == nil {
		return n.unit(n.project(x, head))
	}
	y := n.linear(x, n.weights[head+".weight"], nil)
	rows := n.reshape(y, -1, int64(n.config.Joint))
	var mean tensor
	if weights == nil {
		mean = n.mean(rows)
	} else {
		mean = n.matmul(n.floats(weights, 1, int64(len(weights))), rows)
	}
	n.centres[head] = mean
	return n.unit(n.sub(y, mean))
}

func (n *network) project(x tensor, name string) tensor {
	return n.linear(x, n.weights[name+".weight"], n.weights[name+".bias"])
}

func (n *network) layerNorm(x tensor, name string, t model.Tower) tensor {
	return n.norm(x, n.weights[name+".weight"], n.weights[name+".bias"], t.Width, t.Epsilon)
}

// attention is multi-head self-attention of x [b, t, h]; keys [b, 1, 1, t] says which tokens
// are seen, nil all.
func (n *network) attention(x tensor, layer string, t model.Tower, b, length int64, keys tensor) tensor {
	name := layer + ".attention."
	w := n.cat(0, n.weights[name+"query.weight"], n.weights[name+"key.weight"], n.weights[name+"value.weight"])
	bias := n.cat(0, n.weights[name+"query.bias"], n.weights[name+"key.bias"], n.weights[name+"value.bias"])
	heads := int64(t.Heads)
	qkv := n.reshape(n.linear(x, w, bias), b, length, 3, heads, int64(t.Width)/heads)
	qkv = n.permute(qkv, 2, 0, 3, 1, 4)
	n.reduced(false)
	qkv = n.float(qkv)
	out := n.attend(n.pick(qkv, 0, 0), n.pick(qkv, 0, 1), n.pick(qkv, 0, 2), keys)
	n.reduced(true)
	return n.project(n.reshape(n.transpose(out, 1, 2), b, length, int64(t.Width)), name+"output")
}

func (n *network) mlp(x tensor, layer string) tensor {
	return n.project(n.gelu(n.project(x, layer+".mlp.up")), layer+".mlp.down")
}

// adapters puts the language and the task adapter on the feed-forward output r.
func (n *network) adapters(r tensor, layer string) tensor {
	if n.config.Adapter == 0 {
		return r
	}
	language := n.add(n.bottleneck(r, layer+"."+string(onnxexport.Language)), r)
	residual := language
	if n.config.TAResidual == model.ResidualR {
		residual = r
	}
	return n.add(n.bottleneck(language, layer+"."+string(onnxexport.Task)), residual)
}

// invertible is o1 = F(e2) + e1, o2 = G(o1) + e2 over the halves of e.
func (n *network) invertible(e tensor, prefix string, width int) tensor {
	if !n.config.Invertible {
		return e
	}
	half := int64(width / 2)
	e1, e2 := n.part(e, -1, 0, half), n.part(e, -1, half, half)
	o1 := n.add(n.bottleneck(e2, prefix+".invertible.f"), e1)
	o2 := n.add(n.bottleneck(o1, prefix+".invertible.g"), e2)
	return n.cat(-1, o1, o2)
}

// bottleneck is U relu(D x).
func (n *network) bottleneck(x tensor, name string) tensor {
	return n.linear(n.relu(n.linear(x, n.weights[name+".down"], nil)), n.weights[name+".up"], nil)
}

func logDays(days float32) float32 { return float32(math.Log1p(float64(days))) }
