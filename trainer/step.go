package trainer

import (
	"context"
	"image"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// Batch is what one training step sees: B studies, M images of them (at least one a study)
// and B texts. Everything random is already drawn, so that a step is a function of weights
// and batch.
type Batch struct {
	// Pixels are M images of S x S grey bytes (S = Config.Image.Size), row-major, one behind
	// the other in the order of Images.
	Pixels []byte
	// Images says what each image is; images of one study are next to one another and studies
	// are in order.
	Images []BatchImage
	// Texts has one entry a study, so len(Texts) is B.
	Texts     []BatchText
	Studies   []string // their keys
	MaskToken int32    // what stands for a hidden word in a masked-language term
	// HoldText asks for an update that leaves the text tower as it is: its weights get no
	// gradient, no decay and no step. See Config.HoldText.
	HoldText bool
}

// BatchImage is one image of a batch.
type BatchImage struct {
	Study   int // 0 to B-1
	View    embedder.View
	Exposed image.Rectangle // where the film lies; a patch wholly outside is no token
	Prior   bool            // from the patient's prior study: in the pooled training vector only
	Days    float32         // age of a prior, 0 or more
	// Keep are the patches that enter the encoder, ascending, each at least partly exposed; nil
	// is all that are exposed. Of one batch either every image has Keep or none; the lengths are
	// equal but for images with fewer exposed patches.
	Keep []int32
}

// BatchText is the text of one study.
type BatchText struct {
	Tokens    []int32 // [CLS] ... [SEP], 2 to Config.Text.MaxLength, not padded
	Sentences []Span  // never empty, in order, without [CLS] and [SEP]
	Hidden    []int   // places in Tokens that a masked-language term hides, ascending; may be empty
	// Group is equal for texts of a batch that say the same but for wording, degree and size:
	// they are no negatives of one another.
	Group int
}

// Span is one sentence: Tokens[Start:End], End > Start.
type Span struct {
	Start, End int
	// Group is equal for sentences of a batch that say the same but for wording, degree and size.
	Group int
}

// StepStats is what one step measured, before its update.
type StepStats struct {
	Loss     float64            // what was minimised
	Terms    map[string]float64 // its terms by name, unweighted: global, local, global_nce, local_nce, ...
	GradNorm float64            // L2 over all trained weights, before clipping

	Image, Text Spread // of the global vectors of the batch

	Temperature      float64 // of the global InfoNCE: what cosines are divided by, above 0
	LocalTemperature float64 // of the sentence and region InfoNCE
}

// Spread says how far the B unit vectors of one side are from having collapsed to one point.
type Spread struct {
	Cosine float64 // mean off-diagonal cosine, -1 to 1; above Collapsed nothing is left to tell
	Rank   float64 // effective rank: exp of the entropy of the normalised singular values, 1 to B
}

// AttentionTemperature divides the cosines of a sentence and the patches before the softmax that
// picks its region.
const AttentionTemperature = 0.1

// Collapsed is the mean off-diagonal cosine above which a run is reported as collapsed and
// its model can never be promoted (section 6).
const Collapsed = 0.95

// Stepper trains a model; trainer/torch implements it. It is not safe for concurrent use.
type Stepper interface {
	// Step makes one update with learning rate lr (0 or more; parts of the model with a rate of
	// their own scale it) and returns what it measured. A loss that is no number is returned in
	// StepStats.Loss without an update, not as an error. Errors: Invalid for a batch that breaks
	// the promises above, Canceled when ctx has ended.
	Step(ctx context.Context, b Batch, lr float64) (StepStats, error)
	// Weights returns a copy of the weights as they are now.
	Weights() (onnxexport.Weights, error)
	// State returns a copy of all that the next step depends on besides its batch and its rate.
	State() (State, error)
	// Restore puts back what State returned, of a Stepper of the same model and options. Errors:
	// Invalid when it is of another.
	Restore(State) error
	// Close frees the native memory.
	Close() error
}
