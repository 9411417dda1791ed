// Package query answers searches: which studies are like this text, this film, this study,
// this vector or these examples, what does the index know of a study, and what are its label
// scores.
//
//	text     -> tokens -> text encoder  -\
//	film     -> ingest -> image encoder --\
//	study    -> its stored vector       ----> vector -> index, filtered -> hits -> study UIDs
//	examples -> their stored vectors    --/
//	vector   ---------------------------/
//
// A query goes through the very preparation and encoders that made the index, so a film
// finds its own study with similarity 1. A text looks for images, not for texts: the two
// share one space. A film looks among the vectors of its own projection, everything else
// among whole studies.
//
// Identifiers: hits name the StudyUID to the tenant that sent it, by way of the guarded
// lookup that ingest keeps (KV identity). A filter on dates is on true dates: the index holds
// moved ones, which are moved back here with the tenant's key and told to nobody.
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
	// MaxExamples bounds positive and negative examples together.
	MaxExamples = 100

	maxUID    = 256 // bytes; DICOM has 64, plain films any id
	maxLabels = 64
)

// Request asks for the studies nearest to one of Text, Image, Study, Vector or Positive.
type Request struct {
	Tenant event.Tenant   `json:"tenant,omitempty" doc:"Tenant whose studies are searched; by default that of the credential, or \"default\" where there are no credentials. Another than the credential's is refused."`
	Text   string         `json:"text,omitempty" maxLength:"16384" doc:"What to look for, in the words of a report." example:"left pleural effusion"`
	Image  []byte         `json:"image,omitempty" doc:"A film: DICOM, JPEG or PNG of at most 64 MiB, in base64."`
	Study  event.StudyUID `json:"study,omitempty" maxLength:"256" doc:"StudyUID of a study in the index."`
	Vector []float32      `json:"vector,omitempty" dependentRequired:"model" doc:"A vector of the model's space, such as the NATS endpoint radstream.embed.text gives; needs model."`
	Model  string         `json:"model,omitempty" doc:"name@version that the answer must be by: the model that serves, or one that is at work beside it; the request is refused for any other." example:"tiny@1.0.0"`
	// Positive and Negative are examples: hits lie from the mean of Negative beyond that of Positive.
	Positive []event.StudyUID `json:"positive,omitempty" maxItems:"100" doc:"StudyUIDs of studies to find others like; they are no hits."`
	Negative []event.StudyUID `json:"negative,omitempty" dependentRequired:"positive" maxItems:"100" doc:"StudyUIDs of studies that hits shall be unlike; with positive only."`
	K        int              `json:"k,omitempty" minimum:"1" maximum:"1000" default:"10" doc:"Hits wanted."`
	// Projection says what a film without a DICOM header shows.
	Projection string `json:"projection,omitempty" enum:"frontal,lateral" doc:"What a JPEG or PNG shows; without it the pixels decide."`
	// Labels keeps only studies whose scores pass every condition.
	Labels []LabelAtLeast `json:"labels,omitempty" maxItems:"64" doc:"Only studies whose scores pass every condition."`
	Views  []string       `json:"views,omitempty" maxItems:"2" enum:"frontal,lateral" doc:"Only studies that have each of these views."`
	// After and Before bound the true time of the study: After <= time < Before.
	After  string `json:"after,omitempty" doc:"Only studies taken at or after this day (UTC) or time; those without a known date are left out." example:"2024-05-31"`
	Before string `json:"before,omitempty" doc:"Only studies taken before this day (UTC) or time; those without a known date are left out." example:"2024-06-30T12:00:00Z"`

	after, before time.Time // parsed
}

// LabelAtLeast is the condition score(Label) >= Score.
type LabelAtLeast struct {
	Label string  `json:"label" doc:"A label of the model." example:"effusion"`
	Score float32 `json:"score" minimum:"0" maximum:"1" doc:"Least score."`
}

// Response holds the hits, best first.
type Response struct {
	Model string `json:"model"` // name@version
	// Untrained says that the model's weights are random: similarities are real, but mean nothing.
	Untrained bool   `json:"untrained,omitempty"`
	Vector    string `json:"vector"` // which vectors were compared: image, frontal or lateral
	// Truncated says that the filter on dates looked through the 10,000 nearest studies, found
	// fewer than K, and that there may be more behind them.
	Truncated bool  `json:"truncated,omitempty"`
	Hits      []Hit `json:"hits"`
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

// StudyResponse is what the index knows of one study.
type StudyResponse struct {
	Study      event.StudyUID     `json:"study_uid"`
	Key        event.StudyKey     `json:"study_key"`
	Rev        event.Rev          `json:"rev"`
	Model      string             `json:"model"`
	Untrained  bool               `json:"untrained,omitempty"`
	Views      []string           `json:"views"`   // frontal, lateral
	Vectors    []string           `json:"vectors"` // image, frontal, lateral, text
	Labels     map[string]float32 `json:"labels,omitempty"`
	Provenance Provenance         `json:"provenance"`
}

// Provenance says what a point of the index was made from and where it lies.
type Provenance struct {
	PrepID             string `json:"prep_id"`             // the StudyPrepared it was made from
	PreparationVersion string `json:"preparation_version"` // the preprocessing that made that
	Collection         string `json:"collection"`          // of Qdrant
	PointID            string `json:"point_id"`            // UUID in that collection
}

// LabelsResponse holds the zero-shot scores of one study, highest first.
type LabelsResponse struct {
	Study     event.StudyUID `json:"study_uid"`
	Key       event.StudyKey `json:"study_key"`
	Rev       event.Rev      `json:"rev"`
	Model     string         `json:"model"`
	Untrained bool           `json:"untrained,omitempty"`
	LabelSet  string         `json:"label_set,omitempty"` // its name; absent for the labels of the model's manifest
	Stale     bool           `json:"stale,omitempty"`     // scored by the set before, and about to be scored again
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

// ExplainRequest asks what of a study makes it similar to a text.
type ExplainRequest struct {
	Tenant event.Tenant   `json:"tenant,omitempty" doc:"Tenant of the study; by default that of the credential, or \"default\" where there are no credentials. Another than the credential's is refused."`
	Study  event.StudyUID `json:"study" maxLength:"256" doc:"StudyUID of a study in the archive."`
	Text   string         `json:"text" maxLength:"16384" doc:"What to explain, in the words of a report." example:"left pleural effusion"`
}

// Explanation says what of a study makes it similar to a text.
type Explanation struct {
	Study      event.StudyUID `json:"study_uid"`
	Key        event.StudyKey `json:"study_key"`
	Rev        event.Rev      `json:"rev"`
	Model      string         `json:"model"`
	Untrained  bool           `json:"untrained,omitempty"`
	Similarity *float32       `json:"similarity"` // of the images and the text, cosine; null for a study without films
	Views      []HeatMap      `json:"views"`
	// Sentence is that of the study's cleaned report most like the text; absent without a report.
	Sentence *Sentence `json:"sentence,omitempty"`
}

// HeatMap says how much each patch of a view speaks for the text.
type HeatMap struct {
	Projection string `json:"projection"` // frontal or lateral
	// PNG is the view as the model sees it, 224 x 224; base64 in JSON.
	PNG     []byte `json:"png"`
	Rows    int    `json:"rows"` // of patches, which are equal squares of the view
	Columns int    `json:"columns"`
	// Heat is, row by row, by how much the similarity falls when the model does not see the
	// patches around it; below 0 they speak against the text. 0 in padding.
	Heat []float32 `json:"heat"`
}

// Sentence is one sentence of a report.
type Sentence struct {
	Text       string  `json:"text"`
	Similarity float32 `json:"similarity"` // with the text asked for, cosine
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
