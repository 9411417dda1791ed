package ingest

import (
	"context"
	"runtime"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/ingest/ocr"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// BurnedInText is one piece of text in a film, as `radstream inspect` tells it. Its JSON field
// names are a promise. Its text may name a person: it is for whoever holds the film.
type BurnedInText struct {
	X0      int    `json:"x0"` // in pixels of the film: X0 <= x < X1
	Y0      int    `json:"y0"`
	X1      int    `json:"x1"`
	Y1      int    `json:"y1"`
	Kind    string `json:"kind"`              // marker or text
	Matches string `json:"matches,omitempty"` // patient_name, patient_id, accession_number, patient_birth_date or study_date
	Text    string `json:"text"`              // as it was read
	Removed bool   `json:"removed"`
}

// identifiers are what a recognised text is compared with.
func identifiers(h dicom.Header) deid.Identifiers {
	return deid.Identifiers{Name: h.PatientName, PatientID: string(h.PatientID), Accession: h.Accession, BirthDate: h.BirthDate, StudyTime: h.StudyTime}
}

// FindText fills BurnedInText under b, where i is what [Inspect] made of data; the view is then
// the one without what was removed. A film that prepare would refuse for its text gets that as
// its Quality.
//
// Errors: those of reading the file and of [deid.Burned.Clean] but Invalid burned_in_text.
func (i *Inspection) FindText(ctx context.Context, b *deid.Burned, data []byte) error {
	const op = "ingest.FindText"
	runtime.GC() // so that what a large film was decoded in is free before it takes as much again
	var film pixel.Film
	var known deid.Identifiers
	if pixel.Sniff(data) != "" {
		plain, err := pixel.DecodePlain(data)
		if err != nil {
			return fault.Wrap(op, err)
		}
		film = plain.Film
	} else {
		file, err := dicom.Parse(data)
		if err != nil {
			return fault.Wrap(op, err)
		}
		pixels, err := file.Pixels(codec.Standard())
		if err != nil {
			return fault.Wrap(op, err)
		}
		if film, err = filmOf(file.Header, pixels); err != nil {
			return fault.Wrap(op, err)
		}
		known = identifiers(file.Header)
	}
	cleaned, err := b.Clean(ctx, film, pixel.Auto, known)
	i.BurnedInText = make([]BurnedInText, 0, len(cleaned.Found))
	for _, t := range cleaned.Found {
		i.BurnedInText = append(i.BurnedInText, BurnedInText{t.Box.X0, t.Box.Y0, t.Box.X1, t.Box.Y1, string(t.Kind), t.Matches, t.Text, t.Removed})
	}
	switch {
	case fault.ReasonOf(err) == deid.ReasonBurnedIn, fault.ReasonOf(err) == ocr.ReasonTooMuch:
		if i.Quality == "ok" {
			i.Quality = string(fault.ReasonOf(err))
		}
	case err != nil:
		return fault.Wrap(op, err)
	case len(cleaned.Removed) > 0:
		rendered, err := pixel.Render(cleaned.Film, pixel.Auto)
		if err != nil {
			return fault.Wrap(op, err)
		}
		i.show(rendered)
	}
	return nil
}
