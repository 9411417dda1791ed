package onnxexport

import (
	"github.com/radstream/radstream/schemas/model"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
)

// masked is added to the score of what is not a token. exp of it is exactly 0 in float32, so
// that what lies there cannot be seen in any output.
const masked = 1e9

// ImageGraph returns the image encoder as an ONNX file; see the package doc. w must pass
// [Weights.Check] for c.
func ImageGraph(c model.Config, w Weights, p Precision) ([]byte, error) {
	return imageGraph(c, w, p, nil)
}

func imageGraph(c model.Config, w Weights, p Precision, q *quantiser) ([]byte, error) {
	if err := w.Check(c); err != nil {
		return nil, err
	}
	b, i := newBuilder("clinvla_image", w, p), c.Image
	b.quantiser = q
	side, patch, n := int64(i.Size/i.Patch), int64(i.Patch), i.Patches()

	pixels := b.input("pixels", pb.TensorProto_UINT8, "B", 1, i.Size, i.Size)
	mask := b.input("token_mask", pb.TensorProto_BOOL, "B", n)
	view := b.input("view", pb.TensorProto_INT64, "B")
	prior := b.input("prior", pb.TensorProto_FLOAT, "B")
	days := b.input("days", pb.TensorProto_FLOAT, "B")

	x := b.mul(b.cast(pixels, pb.TensorProto_FLOAT), b.float(1/(255*i.Std)))
	x = b.sub(x, b.float(i.Mean/i.Std))
	x = b.reshape(x, -1, side, patch, side, patch)
	x = b.reshape(b.transpose(x, 0, 1, 3, 2, 4), -1, int64(n), patch*patch)
	kept := b.keep(mask)
	x = b.toFull(b.linear(b.toHalf(kept.of(x, 1)), "image.patch"))

	// What every token of an image shares: [B, 1, h].
	shared := b.op("Gather", []value{b.table("image.view"), view})
	shared = b.add(shared, b.op("Gather", []value{b.table("image.time"), b.cast(prior, pb.TensorProto_INT64)}))
	age := b.mul(prior, b.op("Log", []value{b.add(days, b.float(1))}))
	shared = b.add(shared, b.mul(b.unsqueeze(age, 1), b.vector("image.days")))
	shared = b.unsqueeze(shared, 1)

	// 0 for a token, -masked for padding: [B, tokens].
	bias := b.mul(b.sub(b.cast(mask, pb.TensorProto_FLOAT), b.float(1)), b.float(masked))
	position := b.table("image.position")
	bias = kept.of(bias, 1)
	if i.CLS {
		cls := b.add(b.vector("image.cls"), b.slice(position, 0, b.ints(0), b.ints(1)))
		patches := b.add(x, kept.of(b.slice(position, 0, b.ints(1), b.ints(int64(i.Tokens()))), 0))
		x = b.op("Concat", []value{b.add(shared, cls), b.add(patches, shared)}, attrInt("axis", 1))
		always := b.mul(b.slice(bias, 1, b.ints(0), b.ints(1)), b.float(0))
		bias = b.op("Concat", []value{always, bias}, attrInt("axis", 1))
	} else {
		x = b.add(b.add(x, kept.of(position, 0)), shared)
	}
	x = b.invertible(b.toHalf(x), "image", c)
	wide := b.unsqueeze(bias, 1, 2)
	for l := range i.Layers {
		name := layerName("image", l)
		x = b.attend(x, name, name+".norm1", i.Tower, bias, wide)
		x = b.feed(x, name, name+".norm2", i.Tower, c)
	}
	x = b.norm(b.toFull(x), "image.norm", i.Epsilon)

	query := b.unsqueeze(b.mul(b.vector("image.pool.query"), b.float(1/sqrt(i.Width))), 1)
	score := b.reshape(b.matmul(x, query), 0, -1)
	score = b.add(score, bias)
	m := b.reduce("ReduceMax", score, 1, 1)
	weight := b.op("Exp", []value{b.sub(score, m)})
	pooled := b.matmul(b.unsqueeze(weight, 1), x) // [B, 1, h]
	v := b.reshape(b.matmul(pooled, b.matrices("image.global.weight")), 0, -1)

	if b.measures() {
		return b.ranges()
	}
	if p == measured {
		return b.measurement()
	}
	b.output("m", b.reshape(m, -1), "B")
	b.output("s", b.reduce("ReduceSum", weight, 1, 0), "B")
	b.output("v", v, "B", c.Joint)
	b.output("bias", b.vector("image.global.bias"), c.Joint)
	if i.CLS {
		x = b.slice(x, 1, b.ints(1), b.ints(int64(i.Tokens())))
	}
	b.output("tokens", kept.back(b.linear(x, "image.local")), "B", n, c.Joint)
	return b.bytes()
}

// TextGraph returns the text encoder as an ONNX file; see the package doc. w must pass
// [Weights.Check] for c.
func TextGraph(c model.Config, w Weights, p Precision) ([]byte, error) {
	return textGraph(c, w, p, nil)
}

func textGraph(c model.Config, w Weights, p Precision, q *quantiser) ([]byte, error) {
	if err := w.Check(c); err != nil {
		return nil, err
	}
	b, t := newBuilder("clinvla_text", w, p), c.Text
	b.quantiser = q
	ids := b.input("input_ids", pb.TensorProto_INT64, "B", "T")
	mask := b.input("attention_mask", pb.TensorProto_INT64, "B", "T")

	// Gather first and cast what was gathered: the table stays as small as it is stored.
	x := b.float32(b.op("Gather", []value{b.embedding("text.vocabulary"), ids}))
	if t.VocabularyWidth > 0 {
		x = b.matmul(x, b.matrices("text.vocabulary_projection"))
	}
	length := b.slice(b.op("Shape", []value{ids}), 0, b.ints(1), b.ints(2))
	x = b.add(x, b.slice(b.table("text.position"), 0, b.ints(0), length))
	x = b.norm(x, "text.embedding_norm", t.Epsilon)
	x = b.invertible(b.toHalf(x), "text", c)

	present := b.cast(mask, pb.TensorProto_FLOAT)
	bias := b.mul(b.sub(present, b.float(1)), b.float(masked)) // [B, T]
	wide := b.unsqueeze(bias, 1, 2)
	for l := range t.Layers {
		name := layerName("text", l)
		x = b.norm(b.attend(x, name, "", t.Tower, bias, wide), name+".norm1", t.Epsilon)
		x = b.norm(b.feed(x, name, "", t.Tower, c), name+".norm2", t.Epsilon)
	}

	x = b.toFull(x)

	sum := b.reshape(b.matmul(b.unsqueeze(present, 1), x), 0, -1) // [B, h]
	mean := b.op("Div", []value{sum, b.reduce("ReduceSum", present, 1, 1)})
	global := b.linear(mean, "text.global")
	norm := b.op("Sqrt", []value{b.reduce("ReduceSum", b.mul(global, global), 1, 1)})
	if b.measures() {
		return b.ranges()
	}
	if p == measured {
		return b.measurement()
	}
	b.output("text", b.op("Div", []value{global, norm}), "B", c.Joint)
	b.output("hidden", x, "B", "T", t.Width)
	b.output("tokens", b.linear(x, "text.local"), "B", "T", c.Joint)
	return b.bytes()
}

// patches are those of an image's that a batch encodes.
type patches struct {
	b    *builder
	seen value // [N] 1 for a patch that is a token in any image of the batch
	kept value // [K] the places of those
}

// keep finds the patches that are no padding in all images of the batch: the others are not
// encoded. Where the images have one exposed box, no padding is.
func (b *builder) keep(mask value) patches {
	seen := b.reduce("ReduceMax", b.cast(mask, pb.TensorProto_FLOAT), 0, 0)
	return patches{b, seen, b.reshape(b.op("NonZero", []value{seen}), -1)}
}

// of leaves the kept ones along an axis.
func (p patches) of(x value, axis int64) value {
	return p.b.op("Gather", []value{x, p.kept}, attrInt("axis", axis))
}

// back puts kept patches [B, K, ...] in their places of all, [B, N, ...]; in a place that was not
// kept stands one of the others, for whoever has the mask to pass over.
func (p patches) back(x value) value {
	b := p.b
	place := b.sub(b.op("CumSum", []value{p.seen, b.ints(0)}), b.float(1))
	place = b.cast(b.op("Max", []value{place, b.float(0)}), pb.TensorProto_INT64)
	return b.op("Gather", []value{x, place}, attrInt("axis", 1))
}

// linear is x W^T + b.
func (b *builder) linear(x value, name string) value {
	return b.add(b.matmul(x, b.matrices(name+".weight")), b.vector(name+".bias"))
}

// norm is a layer norm; x where name is "".
func (b *builder) norm(x value, name string, epsilon float64) value {
	if name == "" {
		return x
	}
	return b.op("LayerNormalization", []value{x, b.vector(name + ".weight"), b.vector(name + ".bias")},
		attrInt("axis", -1), attrFloat("epsilon", epsilon))
}

// attend is x and, behind a norm, its attention; bias [B, T] is added to the scores of each key, wide
// is the same as [B, 1, 1, T].
func (b *builder) attend(x value, layer, norm string, t model.Tower, bias, wide value) value {
	if b.inInt8(layer + ".attention.query") {
		return b.attentionInt8(x, layer, norm, t, bias)
	}
	return b.add(x, b.attention(b.norm(x, norm, t.Epsilon), layer, t, wide))
}

// feed is x and, behind a norm, the feed-forward block with its adapters.
func (b *builder) feed(x value, layer, norm string, t model.Tower, c model.Config) value {
	switch {
	case !b.inInt8(layer+".mlp.up") || !b.inInt8(layer+".mlp.down"):
		return b.add(x, b.adapters(b.mlp(b.norm(x, norm, t.Epsilon), layer), layer, c))
	case c.Adapter > 0:
		return b.add(x, b.adapters(b.mlpInt8(x, layer, norm, t.Epsilon, ""), layer, c))
	}
	return b.mlpInt8(x, layer, norm, t.Epsilon, x)
}

// attention is multi-head self-attention of x [B, T, h]; bias [B, 1, 1, T] is added to the
// scores of each key.
func (b *builder) attention(x value, layer string, t model.Tower, bias value) value {
	name, h, width := layer+".attention.", int64(t.Heads), int64(t.Width/t.Heads)
	b.observe(x, name+"query")
	// One multiplication for all three.
	qkv := b.add(b.matmul(x, b.matrices(name+"query.weight", name+"key.weight", name+"value.weight")),
		b.vectors(name+"query.bias", name+"key.bias", name+"value.bias"))
	part := func(i int, perm ...int64) value {
		w := int64(t.Width)
		p := b.slice(qkv, 2, b.ints(int64(i)*w), b.ints(int64(i+1)*w))
		return b.transpose(b.reshape(p, 0, 0, h, width), perm...)
	}
	query, key, values := part(0, 0, 2, 1, 3), part(1, 0, 2, 3, 1), part(2, 0, 2, 1, 3)
	score := b.mul(b.toFull(b.matmul(query, key)), b.float(1/sqrt(int(width))))
	share := b.toHalf(b.op("Softmax", []value{b.add(score, bias)}, attrInt("axis", -1)))
	out := b.reshape(b.transpose(b.matmul(share, values), 0, 2, 1, 3), 0, 0, int64(t.Width))
	return b.dense(out, name+"output")
}

// mlp is the feed-forward block, with the exact (erf) GELU.
func (b *builder) mlp(x value, layer string) value {
	return b.dense(b.op("Gelu", []value{b.dense(x, layer+".mlp.up")}), layer+".mlp.down")
}

// adapters puts the language and the task adapter on the feed-forward output r.
func (b *builder) adapters(r value, layer string, c model.Config) value {
	if c.Adapter == 0 {
		return r
	}
	language := b.add(b.bottleneck(r, layer+"."+string(Language)), r)
	residual := language
	if c.TAResidual == model.ResidualR {
		residual = r
	}
	return b.add(b.bottleneck(language, layer+"."+string(Task)), residual)
}

// invertible is o1 = F(e2) + e1, o2 = G(o1) + e2 over the halves of e (section 5).
func (b *builder) invertible(e value, prefix string, c model.Config) value {
	if !c.Invertible {
		return e
	}
	half := int64(c.Image.Width / 2)
	if prefix == "text" {
		half = int64(c.Text.Width / 2)
	}
	e1 := b.slice(e, 2, b.ints(0), b.ints(half))
	e2 := b.slice(e, 2, b.ints(half), b.ints(2*half))
	o1 := b.add(b.bottleneck(e2, prefix+".invertible.f"), e1)
	o2 := b.add(b.bottleneck(o1, prefix+".invertible.g"), e2)
	return b.op("Concat", []value{o1, o2}, attrInt("axis", 2))
}

// bottleneck is U relu(D x).
func (b *builder) bottleneck(x value, name string) value {
	down := b.op("Relu", []value{b.matmul(x, b.matrices(name+".down"))})
	return b.matmul(down, b.matrices(name+".up"))
}
