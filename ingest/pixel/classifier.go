package pixel

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// A Question is one that a [Classifier] answers of a rendered film.
type Question string

// The questions.
const (
	Lateral  Question = "lateral"   // is it a lateral and not a frontal chest film?
	NotChest Question = "not_chest" // is it something else than a chest film?
	Inverted Question = "inverted"  // is bone dark and air light?
	Cropped  Question = "cropped"   // is it a part of a chest film?
)

// Questions lists the questions, in the order of a classifier's file.
func Questions() []Question { return []Question{Lateral, NotChest, Inverted, Cropped} }

// ClassifierFile is what `radtrain views` writes: a network of one hidden layer, and what it
// was made from. The log odds of a yes to a question are its Bias plus, over all units, Out
// times max(0, unit). They were balanced: yes and no are taken to be as frequent before the
// film is seen.
type ClassifierFile struct {
	Command   string         `json:"command"`
	Films     map[string]int `json:"films"`        // set -> films
	Inputs    string         `json:"films_sha256"` // over the rendered pixels of all films, in order
	Questions []Question     `json:"questions"`
	Bias      []float64      `json:"bias"` // one a question
	Units     []Unit         `json:"units"`
}

// Unit is Bias plus the sum of Scale * Values[i] * feature i.
type Unit struct {
	Bias   float64   `json:"bias"`
	Scale  float64   `json:"scale"`
	Values []byte    `json:"values"` // FeatureCount of int8
	Out    []float64 `json:"out"`    // one a question
}

// classifierFile is the classifier that ships; classifier.md says where it comes from.
//
//go:embed classifier.json
var classifierFile []byte

// Classifier looks at rendered films. It is safe for concurrent use.
type Classifier struct {
	bias  []float64
	units []Unit
}

// NewClassifier returns the classifier that ships. Errors: Internal, the file is damaged.
func NewClassifier() (*Classifier, error) {
	var f ClassifierFile
	if err := json.Unmarshal(classifierFile, &f); err != nil {
		return nil, fault.E("pixel.NewClassifier", fault.Internal, err)
	}
	return f.Classifier()
}

// Classifier returns the classifier of f. Errors: Internal, other questions than [Questions],
// or another number of weights than they and FeatureCount ask for.
func (f ClassifierFile) Classifier() (*Classifier, error) {
	whole := slices.Equal(f.Questions, Questions()) && len(f.Bias) == len(f.Questions) && len(f.Units) > 0
	for _, u := range f.Units {
		whole = whole && len(u.Values) == FeatureCount && len(u.Out) == len(f.Questions)
	}
	if !whole {
		return nil, fault.E("pixel.Classifier", fault.Internal, fmt.Errorf("the classifier's file must answer %v from %d features", Questions(), FeatureCount))
	}
	return &Classifier{bias: f.Bias, units: f.Units}, nil
}

// Look is the probability, 0 to 1, of a yes to each question.
type Look map[Question]float64

// Look looks at r.
func (c *Classifier) Look(r Rendered) Look { return c.Judge(Features(r)) }

// Judge answers for features that [Features] returned.
func (c *Classifier) Judge(features []float32) Look {
	odds := slices.Clone(c.bias)
	for _, u := range c.units {
		sum := 0.0
		for k, v := range features {
			sum += float64(int8(u.Values[k])) * float64(v)
		}
		if sum = u.Bias + u.Scale*sum; sum > 0 {
			for q, w := range u.Out {
				odds[q] += w * sum
			}
		}
	}
	look := Look{}
	for q, question := range Questions() {
		look[question] = 1 / (1 + math.Exp(-odds[q]))
	}
	return look
}
