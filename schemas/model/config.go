package model

import (
	"errors"
	"fmt"
	"math"

	"github.com/radstream/radstream/schemas/fault"
)

// ReasonConfig is the fault reason of an architecture that cannot be built.
const ReasonConfig fault.Reason = "model_config"

// Config is the architecture of a model (ClinVLA, sections 3 to 5). That the vision tower is
// pre-norm and the text tower post-norm is the paper's and not configurable.
type Config struct {
	Image ImageConfig `json:"image"`
	Text  TextConfig  `json:"text"`

	// Joint is p, the width of the space that images and texts share.
	Joint int `json:"joint"`
	// Adapter is d, the bottleneck of the language and task adapters; 0 leaves them out.
	Adapter int `json:"adapter"`
	// Invertible puts an invertible adapter after each embedding layer.
	Invertible bool `json:"invertible"`
	// TAResidual is what a task adapter is added to: the language adapter's output ("la", the
	// default) or the feed-forward output ("r", as the paper prints it).
	TAResidual string `json:"ta_residual"`
}

// The values of Config.TAResidual.
const (
	ResidualLA = "la"
	ResidualR  = "r"
)

// Tower is what a transformer encoder of either kind has.
type Tower struct {
	Width    int     `json:"width"` // h
	Layers   int     `json:"layers"`
	Heads    int     `json:"heads"`     // divides Width
	MLPRatio int     `json:"mlp_ratio"` // hidden width of the feed-forward block over Width
	Epsilon  float64 `json:"epsilon"`   // of every LayerNorm
}

// ImageConfig is the vision tower, a pre-norm ViT on one grey channel.
type ImageConfig struct {
	Tower
	Size  int  `json:"size"`  // pixels a side; a multiple of Patch
	Patch int  `json:"patch"` // pixels a side
	CLS   bool `json:"cls"`   // a class token before the patches
	// Mean and Std normalise pixels inside the graph: (pixel/255 - Mean) / Std.
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"`
}

// TextConfig is the text tower, a post-norm BERT.
type TextConfig struct {
	Tower
	Vocabulary int `json:"vocabulary"` // entries
	// VocabularyWidth is e: token embeddings are Vocabulary x e, then projected to Width.
	// 0 stores them at Width, without a projection.
	VocabularyWidth int `json:"vocabulary_width"`
	MaxLength       int `json:"max_length"` // tokens, [CLS] and [SEP] included
}

// Patches returns N, the number of patches of one image.
func (c ImageConfig) Patches() int { return (c.Size / c.Patch) * (c.Size / c.Patch) }

// Tokens returns the length of the vision tower's sequence: the patches and the CLS token.
func (c ImageConfig) Tokens() int {
	if c.CLS {
		return c.Patches() + 1
	}
	return c.Patches()
}

// BERTVocabulary is the size of the bert-base-cased vocabulary, which BioBERT uses.
const BERTVocabulary = 28996

// Tiny returns the preset for unit tests and the shipped demo model.
func Tiny() Config {
	c := preset(128, 4, 4, 16, 128, 2, 4, 128)
	c.Text.VocabularyWidth = 32
	c.Adapter = 16
	return c
}

// Small returns the preset for CPU serving with pretrained backbones (DINOv2 ViT-S/14, MiniLM-L6).
func Small() Config {
	c := preset(384, 12, 6, 14, 384, 6, 12, 256)
	c.Image.CLS = true
	return c
}

// Base returns the paper's sizes: ViT-B/16 and BERT-base.
func Base() Config { return preset(768, 12, 12, 16, 768, 12, 12, 512) }

func preset(iw, il, ih, patch, tw, tl, th, joint int) Config {
	return Config{
		Image: ImageConfig{
			Tower: Tower{Width: iw, Layers: il, Heads: ih, MLPRatio: 4, Epsilon: 1e-6},
			Size:  224, Patch: patch,
			// Rounded mean and deviation of windowed chest radiographs inside the exposed box.
			Mean: 0.5, Std: 0.25,
		},
		Text: TextConfig{
			Tower:      Tower{Width: tw, Layers: tl, Heads: th, MLPRatio: 4, Epsilon: 1e-12},
			Vocabulary: BERTVocabulary, MaxLength: 128,
		},
		Joint: joint, Adapter: 64, Invertible: true, TAResidual: ResidualLA,
	}
}

// Validate lists every fault of c; nil means that a model of this shape can be built.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	tower := func(name string, t Tower) {
		check(t.Width > 0 && t.Width <= maxWidth, "%s.width is %d, not 1 to %d", name, t.Width, maxWidth)
		check(t.Layers > 0 && t.Layers <= maxLayers, "%s.layers is %d, not 1 to %d", name, t.Layers, maxLayers)
		check(t.Heads > 0 && t.Width%max(t.Heads, 1) == 0, "%s.heads is %d, which does not divide the width %d", name, t.Heads, t.Width)
		check(t.MLPRatio > 0 && t.MLPRatio <= 16, "%s.mlp_ratio is %d, not 1 to 16", name, t.MLPRatio)
		check(t.Epsilon > 0 && t.Epsilon < 1e-2, "%s.epsilon is %g, not above 0 and below 0.01", name, t.Epsilon)
		check(!c.Invertible || t.Width%4 == 0, "%s.width is %d: an invertible adapter needs a multiple of 4", name, t.Width)
	}
	tower("image", c.Image.Tower)
	check(c.Image.Patch > 0 && c.Image.Size > 0 && c.Image.Size <= maxSize && c.Image.Size%max(c.Image.Patch, 1) == 0,
		"image.size is %d, not a multiple of the patch %d up to %d", c.Image.Size, c.Image.Patch, maxSize)
	check(c.Image.Std > 0 && !math.IsInf(c.Image.Std, 0), "image.std is %g, not above 0", c.Image.Std)
	check(!math.IsNaN(c.Image.Mean) && !math.IsInf(c.Image.Mean, 0), "image.mean is %g, not a finite number", c.Image.Mean)
	tower("text", c.Text.Tower)
	check(c.Text.Vocabulary > 0 && c.Text.Vocabulary <= maxVocabulary, "text.vocabulary is %d, not 1 to %d", c.Text.Vocabulary, maxVocabulary)
	check(c.Text.VocabularyWidth >= 0 && c.Text.VocabularyWidth <= maxWidth, "text.vocabulary_width is %d, not 0 to %d", c.Text.VocabularyWidth, maxWidth)
	check(c.Text.MaxLength >= 2 && c.Text.MaxLength <= maxLength, "text.max_length is %d, not 2 to %d", c.Text.MaxLength, maxLength)
	check(c.Joint > 0 && c.Joint <= maxWidth, "joint is %d, not 1 to %d", c.Joint, maxWidth)
	check(c.Adapter >= 0 && c.Adapter <= maxWidth, "adapter is %d, not 0 to %d", c.Adapter, maxWidth)
	check(c.TAResidual == ResidualLA || c.TAResidual == ResidualR, "ta_residual is %q, not %q or %q", c.TAResidual, ResidualLA, ResidualR)
	if len(faults) == 0 {
		return nil
	}
	return fault.Reject("model.Config.Validate", fault.Invalid, ReasonConfig, "%w", errors.Join(faults...))
}

// Bounds far above any ClinVLA model; they keep a damaged manifest from asking for memory.
const (
	maxWidth      = 8192
	maxLayers     = 128
	maxSize       = 4096
	maxVocabulary = 1 << 20
	maxLength     = 4096
)
