package pixel

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"

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

// Weights answer one question: the probability of yes is the logistic function of Bias plus
// the sum of Scale * Values[i] * feature i. They were balanced: yes and no are taken to be as
// frequent before the film is seen.
type Weights struct {
	Question Question `json:"question"`
	Bias     float64  `json:"bias"`
	Scale    float64  `json:"scale"`
	Values   []byte   `json:"values"` // FeatureCount of int16, little endian
}

// ClassifierFile is what `radtrain views` writes: weights and what they were made from.
type ClassifierFile struct {
	Command string         `json:"command"`
	Films   map[string]int `json:"films"`        // set -> films
	Inputs  string         `json:"films_sha256"` // over the rendered pixels of all films, in order
	Weights []Weights      `json:"weights"`
}

// classifierFile is the classifier that ships; classifier.md says where it comes from.
//
//go:embed classifier.json
var classifierFile []byte

// Classifier looks at rendered films. It is safe for concurrent use.
type Classifier struct {
	heads []head
}

type head struct {
	question Question
	bias     float64
	weights  [FeatureCount]float64
}

// NewClassifier returns the classifier that ships. Errors: Internal, the file is damaged.
func NewClassifier() (*Classifier, error) {
	var f ClassifierFile
	if err := json.Unmarshal(classifierFile, &f); err != nil {
		return nil, fault.E("pixel.NewClassifier", fault.Internal, err)
	}
	return f.Classifier()
}

// Classifier returns the classifier of f. Errors: Internal, a question without weights or
// another number of weights than FeatureCount.
func (f ClassifierFile) Classifier() (*Classifier, error) {
	c := &Classifier{}
	for i, q := range Questions() {
		if i >= len(f.Weights) || f.Weights[i].Question != q || len(f.Weights[i].Values) != 2*FeatureCount {
			return nil, fault.E("pixel.Classifier", fault.Internal, fmt.Errorf("the classifier's file has no %d weights for %q", FeatureCount, q))
		}
		w := f.Weights[i]
		h := head{question: q, bias: w.Bias}
		for k := range h.weights {
			h.weights[k] = w.Scale * float64(int16(uint16(w.Values[2*k])|uint16(w.Values[2*k+1])<<8))
		}
		c.heads = append(c.heads, h)
	}
	return c, nil
}

// Look is the probability, 0 to 1, of a yes to each question.
type Look map[Question]float64

// Look looks at r.
func (c *Classifier) Look(r Rendered) Look { return c.Judge(Features(r)) }

// Judge answers for features that [Features] returned.
func (c *Classifier) Judge(features []float32) Look {
	look := Look{}
	for i := range c.heads {
		h := &c.heads[i]
		sum := h.bias
		for k, v := range features {
			sum += h.weights[k] * float64(v)
		}
		look[h.question] = 1 / (1 + math.Exp(-sum))
	}
	return look
}
