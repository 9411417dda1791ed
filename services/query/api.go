// Package query answers searches: which studies are like this text, this film, this
// study, and what are the label scores of a study.
//
//	text  -> tokens -> text encoder  -\
//	film  -> ingest -> image encoder ---> vector -> Store.Search -> hits -> study UIDs
//	study -> its stored vector       -/
//
// A query goes through the very preparation and encoders that made the index, so a film
// finds its own study with similarity 1. A text looks for images, not for texts: the two
// share one space. A film looks among the vectors of its own projection, a study among
// whole studies.
//
// Identifiers: hits name the StudyUID to the tenant that sent it, by way of the guarded
// lookup that ingest keeps (KV identity).
package query

import (
	"time"

	"github.com/radstream/radstream/schemas/event"
)

// Limits of one request.
const (
	MaxK    = 1000
	MaxText = 16 << 10 // bytes
	// MaxImage bounds a film in bytes, before base64.
	MaxImage = 64 << 20
)

// Request asks for the studies nearest to one of Text, Image or Study.
type Request struct {
	Tenant event.Tenant   `json:"tenant,omitempty"` // default: "default"
	Text   string         `json:"text,omitempty"`
	Image  []byte         `json:"image,omitempty"` // DICOM, JPEG or PNG; base64 in JSON
	Study  event.StudyUID `json:"study,omitempty"`
	K      int            `json:"k,omitempty"` // hits wanted, 1 to MaxK; default 10
	// Projection says what a film without a DICOM header shows: frontal or lateral.
	Projection string `json:"projection,omitempty"`
	// Labels keeps only studies whose scores pass every condition.
	Labels []LabelAtLeast `json:"labels,omitempty"`
}

// LabelAtLeast is the condition score(Label) >= Score.
type LabelAtLeast struct {
	Label string  `json:"label"`
	Score float32 `json:"score"` // 0 to 1
}

// Response holds the hits, best first.
type Response struct {
	Model string `json:"model"` // name@version
	// Untrained says that the model's weights are random: similarities are real, but mean nothing.
	Untrained bool   `json:"untrained,omitempty"`
	Vector    string `json:"vector"` // which vectors were compared: image, frontal or lateral
	Hits      []Hit  `json:"hits"`
}

// Hit is one study found.
type Hit struct {
	Study      event.StudyUID     `json:"study_uid"`
	Key        event.StudyKey     `json:"study_key"`
	Similarity float32            `json:"similarity"` // cosine, -1 to 1
	Rev        event.Rev          `json:"rev"`
	Model      string             `json:"model"`
	Views      []string           `json:"views"`
	Labels     map[string]float32 `json:"labels,omitempty"` // score of each label, 0 to 1
}

// LabelsResponse holds the zero-shot scores of one study, highest first.
type LabelsResponse struct {
	Study     event.StudyUID `json:"study_uid"`
	Key       event.StudyKey `json:"study_key"`
	Rev       event.Rev      `json:"rev"`
	Model     string         `json:"model"`
	Untrained bool           `json:"untrained,omitempty"`
	Labels    []Label        `json:"labels"`
}

// Label is one score with what it was made from.
type Label struct {
	Label    string   `json:"label"`
	Score    float32  `json:"score"` // 0 to 1
	Positive []string `json:"positive_prompts"`
	Negative []string `json:"negative_prompts"`
	// Calibration maps the difference of the two similarities to the score.
	Calibration Calibration `json:"calibration"`
}

// Calibration holds the parameters of score = 1/(1+exp(-(A*difference+B))).
type Calibration struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

// Status is the state of a running system.
type Status struct {
	Version   string            `json:"version"`
	Ready     bool              `json:"ready"`
	Services  map[string]string `json:"services"` // state by name
	Model     string            `json:"model,omitempty"`
	Untrained bool              `json:"untrained,omitempty"`
	NATS      string            `json:"nats"`
	Qdrant    string            `json:"qdrant"`
	Indexed   uint64            `json:"indexed"` // studies that can be found, all tenants
	Streams   []StreamStatus    `json:"streams"`
	Stages    []StageStatus     `json:"stages"`
	Warnings  []string          `json:"warnings,omitempty"`
	Started   time.Time         `json:"started"`
}

// StreamStatus counts what one stream holds.
type StreamStatus struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

// StageStatus says how far a stage has come.
type StageStatus struct {
	Name    string `json:"name"`
	Pending uint64 `json:"pending"` // not delivered yet
	Working int    `json:"working"` // delivered, not acknowledged yet
}

// Problem is an error answer (RFC 9457, application/problem+json).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Kind   string `json:"kind"`             // a word of schemas/fault
	Reason string `json:"reason,omitempty"` // stable code
}
