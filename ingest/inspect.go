package ingest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Inspection is what ingest makes of one file. Its JSON field names are a promise. What
// could not be found out is absent, or zero among the numbers of the header.
type Inspection struct {
	File           string `json:"file"`
	TransferSyntax string `json:"transfer_syntax"` // UID, or the media type of a plain film
	Modality       string `json:"modality"`
	Rows           int    `json:"rows"`
	Columns        int    `json:"columns"`
	Frames         int    `json:"frames"`
	Samples        int    `json:"samples"` // a pixel; 1 for a plain film, whose colour becomes grey
	BitsStored     int    `json:"bits_stored"`
	Photometric    string `json:"photometric"`

	// Figures of the stored values of all frames and samples, sign-extended, before rescale,
	// window and inversion, and before colour becomes grey. The hash is over little-endian
	// samples, 4 bytes each when more than 16 bits are allocated, 2 when more than 8 are,
	// else 1; single bits are packed. See [dicom.Stats].
	PxMin    *int     `json:"px_min,omitempty"`
	PxMax    *int     `json:"px_max,omitempty"`
	PxMean   *float64 `json:"px_mean,omitempty"`
	PxSHA256 string   `json:"px_sha256,omitempty"`

	View           string   `json:"view,omitempty"`            // frontal, lateral, or other: oblique, or no chest film by its pixels
	ViewConfidence *float64 `json:"view_confidence,omitempty"` // probability that it is right, 0 to 1
	ViewSource     string   `json:"view_source,omitempty"`     // tag or pixels
	WindowPolicy   string   `json:"window_policy,omitempty"`   // what policy auto came to
	InspectedGrey
	ViewSHA256 string `json:"view_sha256,omitempty"` // of the 224 x 224 grey values that the model would see
	// Quality is "ok", or the reason why prepare would refuse the image though it was read.
	// It and the window policy are of the first frame.
	Quality       string `json:"quality,omitempty"`
	QualityDetail string `json:"quality_detail,omitempty"` // what was measured, and the limit
	// PNG is the file to which a picture of the view was written; see [Inspection.Picture].
	PNG string `json:"png,omitempty"`
	Tags
	// BurnedInText is filled by [Inspection.FindText]; absent when nobody looked.
	BurnedInText []BurnedInText `json:"burned_in_text,omitzero"`
	// Error says why the pixels cannot be read as a grey image.
	Error *InspectionError `json:"error,omitempty"`

	rendered *pixel.Rendered // nil when there is no view
}

// InspectionError is a fault as data.
type InspectionError struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// Inspect tells what can be told of a file, DICOM, JPEG or PNG by its content. name is
// only repeated. It never fails: faults of the file are part of the answer.
func Inspect(data []byte, name string) Inspection {
	i := Inspection{File: name, Tags: tagsIn(data)}
	if err := i.inspect(data); err != nil {
		i.Error = &InspectionError{Kind: fault.KindOf(err).String(), Reason: string(fault.ReasonOf(err)), Detail: fault.Detail(err)}
	}
	return i
}

func (i *Inspection) inspect(data []byte) error {
	if format := pixel.Sniff(data); format != "" {
		i.TransferSyntax, i.Frames, i.Samples, i.Photometric = "image/"+string(format), 1, 1, "MONOCHROME2"
		plain, err := pixel.DecodePlain(data)
		if err != nil {
			return err
		}
		i.Rows, i.Columns, i.BitsStored = plain.Rows, plain.Columns, plain.Bits
		p := dicom.Pixels{Rows: plain.Rows, Columns: plain.Columns, Samples: plain.Samples, Wide: plain.Bits > 8}
		i.figures(p.Stats())
		return i.look(plain.Film, pixel.View{}, nil)
	}
	file, err := dicom.Parse(data)
	if err != nil {
		return err
	}
	h := file.Header
	i.TransferSyntax, i.Modality, i.Photometric = h.TransferSyntax, h.Modality, h.Photometric
	i.Rows, i.Columns, i.Frames, i.Samples, i.BitsStored = h.Rows, h.Columns, h.Frames, h.Samples, h.BitsStored
	i.greyOf(h)
	stated, refused := pixel.Stated(tagsOf(h), radstreamv1.Projection_PROJECTION_UNSPECIFIED)
	i.view(stated)
	pixels, stats, err := file.Survey(codec.Standard())
	if err != nil {
		return err
	}
	i.figures(stats)
	if err := grey(h, pixels); err != nil {
		return err
	}
	film, err := filmOf(h, pixels)
	return i.look(film, stated, cmp.Or(gate(h), single(h), refused, err))
}

func (i *Inspection) figures(s dicom.Stats) {
	i.PxMin, i.PxMax, i.PxMean, i.PxSHA256 = &s.Min, &s.Max, &s.Mean, hex.EncodeToString(s.SHA256[:])
}

// view says which projection the film is. Nothing is said of one that is unspecified.
func (i *Inspection) view(v pixel.View) {
	switch v.Projection {
	case radstreamv1.Projection_PROJECTION_FRONTAL:
		i.View = "frontal"
	case radstreamv1.Projection_PROJECTION_LATERAL:
		i.View = "lateral"
	default:
		return
	}
	i.ViewConfidence, i.ViewSource = &v.Confidence, v.Source
}

// look shows the film as prepare would. refused is why prepare would not come that far.
func (i *Inspection) look(film pixel.Film, stated pixel.View, refused error) error {
	classifier, err := pixel.NewClassifier()
	if err != nil {
		return err
	}
	limits := pixel.DefaultLimits()
	rendered, err := pixel.Render(film, pixel.Auto)
	if err == nil {
		i.show(rendered)
		look := classifier.Look(rendered)
		i.view(stated.Weigh(look[pixel.Lateral]))
		switch other, certain := look[pixel.NotChest], 1.0; {
		case fault.ReasonOf(refused) == pixel.ReasonView:
			i.View, i.ViewConfidence, i.ViewSource = "other", &certain, pixel.FromTag
		case other > limits.NotChest:
			i.View, i.ViewConfidence, i.ViewSource = "other", &other, pixel.FromPixels
		}
		err = limits.Check(pixel.Measure(rendered), look)
	}
	i.Quality = "ok"
	if err := cmp.Or(refused, err); err != nil {
		i.Quality, i.QualityDetail = string(fault.ReasonOf(err)), fault.Detail(err)
	}
	return nil
}

// show tells of the film as the model would see it.
func (i *Inspection) show(r pixel.Rendered) {
	i.rendered, i.WindowPolicy = &r, string(r.Policy)
	sum := sha256.Sum256(r.Pixels)
	i.ViewSHA256 = hex.EncodeToString(sum[:])
	i.shown(r)
}
