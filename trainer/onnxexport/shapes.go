// Package onnxexport writes a ClinVLA model as two ONNX graphs, in plain Go: what the model
// computes is defined here, once, for serving and (by the same table of weights) for training.
//
// A [model.Config] gives the table of weights ([Shapes]); weights come from training, from an
// import or from [Untrained]; [ImageGraph] and [TextGraph] lay out the operators around them;
// [WriteModel] writes a whole model directory. Only standard operators of opset 20 are used, the
// batch is a free dimension, and equal inputs give equal bytes.
//
// # Image graph
//
// Inputs: pixels uint8 [B,1,S,S] (normalised inside), token_mask bool [B,N] (false: the patch
// lies wholly in padding and is not a token), view int64 [B] (0 frontal, 1 lateral), prior
// float32 [B] (1: from the prior study), days float32 [B] (age of the prior, 0 or more).
//
//	e  = patches W_patch + position + view + time (+ prior log(1+days) w_days)   [CLS first, if any]
//	e  = invertible adapter (e)
//	each layer:  x = x + attention(norm1 x)           masked tokens are no keys
//	             r = mlp(norm2 x)
//	             x = x + task(language(r))
//	x  = norm x
//
// Pooling is attention with one learned query q over all tokens, left open so that images can
// be combined afterwards (design: "Encode an image once; combine for ever"):
//
//	score = x q / sqrt(h),  m [B] = max score,  s [B] = sum exp(score - m)
//	v [B,p] = sum exp(score - m) x W_global,  bias [p]
//
// The global vector is normalise(v/s + bias). The output tokens [B,N,p] holds the local
// vectors of the patches, computed only where a session asks for it; those of padding stand for
// nothing. Patches that are padding in every image of the batch are not encoded at all.
//
// # Text graph
//
// Inputs: input_ids int64 [B,T], attention_mask int64 [B,T] (1 token, 0 padding).
//
//	e  = norm(vocabulary (W_projection) + position)
//	e  = invertible adapter (e)
//	each layer:  h = norm1(x + attention(x))
//	             r = mlp(h)
//	             x = norm2(h + task(language(r)))
//	text [B,p] = normalise(W_global mean over tokens x + b)
//
// Further outputs: hidden [B,T,h] and tokens [B,T,p], the local projection of each token
// (a sentence's local vector is the mean over its tokens, which commutes with it). BERT's
// segment embedding is constant for one segment: an import adds it to the positions.
//
// # Adapters
//
// Section 5 of the method. An adapter takes the feed-forward block's output r:
//
//	language(r) = U relu(D r) + r
//	task(l)     = U relu(D l) + l      (+ r instead of + l with ta_residual "r")
//
// The method writes LA(h, r) with "h the hidden state of that block"; here that is the
// block's output, so that both adapters are of one form and a fresh one is the identity. The
// invertible adapter's up-projections start at zero for the same reason: a fresh adapter on an
// imported backbone changes nothing.
package onnxexport

import (
	"fmt"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// Group says which part of the model a weight belongs to, and so who trains it.
type Group string

// The groups.
const (
	Base       Group = "base"       // the encoders: trained in mode full only
	Invertible Group = "invertible" // invertible adapters
	Language   Group = "language"   // language adapters
	Task       Group = "task"       // task adapters
	Head       Group = "head"       // pooling query and projections to the joint space
)

// Init says how a weight starts: Constant everywhere, or normal with deviation Std, cut off at
// two deviations, where Std is above 0.
type Init struct {
	Std      float64
	Constant float32
}

// TensorSpec is one row of the table of weights.
type TensorSpec struct {
	Name  string
	Shape []int // row-major; matrices are [out, in] as in PyTorch, embeddings [entries, width]
	Group Group
	Init  Init
}

// Tensor is one weight.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Weights holds the tensors of a model by name.
type Weights map[string]Tensor

// ReasonWeights is the fault reason of weights that do not fit their configuration.
const ReasonWeights fault.Reason = "model_weights"

// Embeddings start at BERT's deviation; a LayerNorm follows them in the text tower. The other
// gains let inputs differ in their vectors even without training: a patch projection that is
// wide beside the positions, projections that keep the length of what they project, and a
// query that prefers some tokens to others.
const (
	std      = 0.02
	queryStd = 3.0
)

// Shapes lists every weight of a model in a fixed order: the image tower, then the text tower,
// each from its input to its output.
func Shapes(c model.Config) []TensorSpec {
	t := &table{config: c}
	i := c.Image
	t.add("image.patch.weight", Base, 1/sqrt(i.Patch*i.Patch), i.Width, i.Patch*i.Patch)
	t.add("image.patch.bias", Base, 0, i.Width)
	t.add("image.position", Base, std, i.Tokens(), i.Width)
	if i.CLS {
		t.add("image.cls", Base, std, i.Width)
	}
	t.add("image.view", Base, std, 2, i.Width)
	t.add("image.time", Base, std, 2, i.Width)
	t.add("image.days", Base, std, i.Width)
	t.tower("image", i.Tower)
	t.norm("image.norm", i.Width)
	t.add("image.pool.query", Head, queryStd, i.Width)
	t.head("image", i.Width)

	x := c.Text
	if x.VocabularyWidth > 0 {
		t.add("text.vocabulary", Base, std, x.Vocabulary, x.VocabularyWidth)
		t.add("text.vocabulary_projection", Base, 1/sqrt(x.VocabularyWidth), x.Width, x.VocabularyWidth)
	} else {
		t.add("text.vocabulary", Base, std, x.Vocabulary, x.Width)
	}
	t.add("text.position", Base, std, x.MaxLength, x.Width)
	t.norm("text.embedding_norm", x.Width)
	t.tower("text", x.Tower)
	t.head("text", x.Width)
	return t.rows
}

// Check lists nothing but the first thing that keeps w from being the weights of c: a weight
// that is missing, too many or of another shape.
func (w Weights) Check(c model.Config) error {
	const op = "onnxexport.Weights.Check"
	if err := c.Validate(); err != nil {
		return fault.Wrap(op, err)
	}
	rows := Shapes(c)
	for _, row := range rows {
		t, ok := w[row.Name]
		if !ok {
			return fault.Reject(op, fault.Invalid, ReasonWeights, "weight %s is missing", row.Name)
		}
		if fmt.Sprint(t.Shape) != fmt.Sprint(row.Shape) || len(t.Data) != elements(row.Shape) {
			return fault.Reject(op, fault.Invalid, ReasonWeights, "weight %s has shape %v and %d numbers, want shape %v", row.Name, t.Shape, len(t.Data), row.Shape)
		}
	}
	if len(w) != len(rows) {
		return fault.Reject(op, fault.Invalid, ReasonWeights, "%d weights, want %d", len(w), len(rows))
	}
	return nil
}

// table collects the rows of Shapes.
type table struct {
	config model.Config
	rows   []TensorSpec
}

// add appends a weight that starts normal with deviation std, or at 0 where std is 0.
func (t *table) add(name string, g Group, std float64, shape ...int) {
	t.rows = append(t.rows, TensorSpec{name, shape, g, Init{Std: std}})
}

func (t *table) norm(name string, width int) {
	t.rows = append(t.rows, TensorSpec{name + ".weight", []int{width}, Base, Init{Constant: 1}})
	t.add(name+".bias", Base, 0, width)
}

func (t *table) linear(name string, g Group, std float64, out, in int) {
	t.add(name+".weight", g, std, out, in)
	t.add(name+".bias", g, 0, out)
}

// tower adds the invertible adapter and the layers of one encoder.
func (t *table) tower(prefix string, w model.Tower) {
	h, d := w.Width, t.config.Adapter
	if t.config.Invertible {
		for _, f := range []string{"f", "g"} {
			name := prefix + ".invertible." + f
			t.add(name+".down", Invertible, sqrt(2)/sqrt(h/2), h/4, h/2) // He
			t.add(name+".up", Invertible, 0, h/2, h/4)
		}
	}
	for l := range w.Layers {
		name := layerName(prefix, l)
		for _, part := range []string{"query", "key", "value", "output"} {
			t.linear(name+".attention."+part, Base, 1/sqrt(h), h, h)
		}
		t.norm(name+".norm1", h)
		t.linear(name+".mlp.up", Base, 1/sqrt(h), h*w.MLPRatio, h)
		t.linear(name+".mlp.down", Base, 1/sqrt(h*w.MLPRatio), h, h*w.MLPRatio)
		t.norm(name+".norm2", h)
		if d > 0 {
			for _, a := range []Group{Language, Task} {
				t.add(name+"."+string(a)+".down", a, sqrt(2)/sqrt(h), d, h) // He
				t.add(name+"."+string(a)+".up", a, 0, h, d)
			}
		}
	}
}

func (t *table) head(prefix string, h int) {
	t.linear(prefix+".global", Head, 1/sqrt(h), t.config.Joint, h)
	t.linear(prefix+".local", Head, 1/sqrt(h), t.config.Joint, h)
}

func layerName(prefix string, l int) string { return fmt.Sprintf("%s.layers.%d", prefix, l) }

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
