package phantom

// Progression is how a finding changed since the prior study.
type Progression string

// The progressions.
const (
	Improved Progression = "improved"
	Stable   Progression = "stable"
	Worsened Progression = "worsened"
)

// BrokenKind is how an object was damaged on purpose.
type BrokenKind string

// The kinds of damage. Each must make ingest reject the object.
const (
	BrokenTruncated    BrokenKind = "truncated"          // cut in the middle of the pixel data
	BrokenEmpty        BrokenKind = "empty"              // a file of no bytes
	BrokenText         BrokenKind = "text"               // a text file named .dcm
	BrokenCT           BrokenKind = "ct"                 // SOP class and modality of a CT image
	BrokenHuge         BrokenKind = "huge"               // the header declares 20,000 x 20,000 pixels
	BrokenNoPixels     BrokenKind = "no_pixels"          // ends before the pixel data
	BrokenUnknownCodec BrokenKind = "unsupported_syntax" // a transfer syntax UID that nobody knows
)

// brokenKinds lists the kinds of damage in the order in which a run deals them out.
func brokenKinds() []BrokenKind {
	return []BrokenKind{BrokenTruncated, BrokenEmpty, BrokenText, BrokenCT, BrokenHuge, BrokenNoPixels, BrokenUnknownCodec}
}

// Box is a rectangle in pixels of one view: x0, y0 inclusive, x1, y1 exclusive.
type Box [4]int

// Finding is one finding as it was put into the patient.
type Finding struct {
	Kind        Kind        `json:"kind"`
	Side        Side        `json:"side"`
	SizeMM      float64     `json:"size_mm"`                // see Range.Measure
	Contrast    float64     `json:"contrast"`               // 0 to 1
	LateralOnly bool        `json:"lateral_only,omitempty"` // the frontal view hides it
	Frontal     *Box        `json:"frontal_box,omitempty"`  // where the frontal view shows it
	Lateral     *Box        `json:"lateral_box,omitempty"`  // where the lateral view shows it
	Progression Progression `json:"progression,omitempty"`  // only where there is a prior
}

// Truth is what is known of a study. truth.json is a list of these in study order.
type Truth struct {
	StudyUID        string      `json:"study_uid"`
	PatientID       string      `json:"patient_id"`
	AccessionNumber string      `json:"accession_number"`
	Folder          string      `json:"folder"`  // where Write put it, relative to its directory
	Objects         []string    `json:"objects"` // DICOM files in Folder
	Findings        []Finding   `json:"findings"`
	PriorStudyUID   string      `json:"prior_study_uid,omitempty"`
	PriorDays       int         `json:"prior_days,omitempty"`
	Progression     Progression `json:"progression,omitempty"` // that of the first finding
	Broken          BrokenKind  `json:"broken,omitempty"`
	BrokenObject    string      `json:"broken_object,omitempty"` // which of Objects
}
