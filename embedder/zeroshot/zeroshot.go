// Package zeroshot scores labels without training for them: an image is compared with what
// texts say that the finding is there, and with texts that say it is not (section 8, Table 4
// of the method). It is pure arithmetic on vectors that the embedder made.
//
//	prompts -- text encoder --> vectors -- Ensemble --> Label{Positive, Negative}
//	Scores: sigmoid(A (cos(image, Positive) - cos(image, Negative)) / temperature + B)
//
// [DefaultLabels] are the prompts that a new model starts with (prompts.json); a model's
// manifest carries its own, with a calibration for each.
package zeroshot

import (
	_ "embed" // the default prompts
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// ReasonVector is the fault reason of vectors that cannot be compared.
const ReasonVector fault.Reason = "vector"

//go:embed prompts.json
var prompts []byte

// Label is a label ready to be scored.
type Label struct {
	Name        string
	Positive    []float32 // unit length; see Ensemble
	Negative    []float32 // unit length
	Calibration model.Calibration
}

// Score is how likely a finding is, in 0 to 1 and as well calibrated as the label.
type Score struct {
	Label string
	Value float32
}

// DefaultLabels returns the labels of chest findings with prompts, uncalibrated, by name.
func DefaultLabels() ([]model.Label, error) {
	var labels []model.Label
	if err := json.Unmarshal(prompts, &labels); err != nil {
		return nil, fault.E("zeroshot.DefaultLabels", fault.Internal, err)
	}
	for i := range labels {
		labels[i].Calibration = model.Identity()
	}
	return labels, nil
}

// Ensemble returns the mean direction of vectors: each is normalised, then their mean is.
// No vectors, different widths, or vectors that cancel out are Invalid.
func Ensemble(vectors [][]float32) ([]float32, error) {
	const op = "zeroshot.Ensemble"
	if len(vectors) == 0 {
		return nil, fault.Reject(op, fault.Invalid, ReasonVector, "an ensemble needs a prompt")
	}
	sum := make([]float64, len(vectors[0]))
	for _, v := range vectors {
		n := length(v)
		if len(v) != len(sum) || !(n > 0) || math.IsInf(n, 0) {
			return nil, fault.Reject(op, fault.Invalid, ReasonVector, "prompt vectors have one width and a length above 0")
		}
		for i, x := range v {
			sum[i] += float64(x) / n
		}
	}
	mean := make([]float32, len(sum))
	for i, x := range sum {
		mean[i] = float32(x / float64(len(vectors)))
	}
	n := length(mean)
	if n < 1e-6 {
		return nil, fault.Reject(op, fault.Invalid, ReasonVector, "the prompts of an ensemble cancel out")
	}
	for i := range mean {
		mean[i] = float32(float64(mean[i]) / n)
	}
	return mean, nil
}

// Scores returns one score a label, by name. image need not be of unit length; temperature is
// above 0. Vectors of different widths or without a direction are Invalid.
func Scores(image []float32, labels []Label, temperature float64) ([]Score, error) {
	const op = "zeroshot.Scores"
	if !(temperature > 0) {
		return nil, fault.Reject(op, fault.Invalid, ReasonVector, "the temperature is above 0")
	}
	scores := make([]Score, 0, len(labels))
	for _, l := range labels {
		positive, okP := cosine(image, l.Positive)
		negative, okN := cosine(image, l.Negative)
		if !okP || !okN {
			return nil, fault.Reject(op, fault.Invalid, ReasonVector, "image and prompts of %s have one width and a direction", l.Name)
		}
		x := l.Calibration.A*(positive-negative)/temperature + l.Calibration.B
		scores = append(scores, Score{l.Name, float32(1 / (1 + math.Exp(-x)))})
	}
	slices.SortFunc(scores, func(a, b Score) int { return strings.Compare(a.Label, b.Label) })
	return scores, nil
}

// cosine says whether both vectors have one width and a direction, too.
func cosine(a, b []float32) (float64, bool) {
	if len(a) != len(b) {
		return 0, false
	}
	dot := 0.0
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
	}
	n := length(a) * length(b)
	return dot / n, n > 0 && !math.IsInf(n, 0)
}

func length(v []float32) float64 {
	square := 0.0
	for _, x := range v {
		square += float64(x) * float64(x)
	}
	return math.Sqrt(square)
}
