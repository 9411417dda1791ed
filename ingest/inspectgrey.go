package ingest

import (
	"image"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// InspectedGrey says how stored values become grey. For plain films and colour, whose
// values are grey already, all of it is absent.
type InspectedGrey struct {
	// The modality transform: a table, or else slope and intercept.
	RescaleSlope     *float64      `json:"rescale_slope,omitempty"`
	RescaleIntercept *float64      `json:"rescale_intercept,omitempty"`
	ModalityLUT      *InspectedLUT `json:"modality_lut,omitempty"`

	PixelPadding *[2]int `json:"pixel_padding,omitempty"` // lowest and highest stored value that is no part of the image
	// Inverted says that the lowest value is white.
	Inverted bool   `json:"inverted,omitempty"`
	Shape    string `json:"presentation_lut_shape,omitempty"` // as the header says; it should agree with photometric

	VOIFunction string         `json:"voi_lut_function,omitempty"` // of the windows, as the header says; absent is LINEAR
	VOI         []InspectedVOI `json:"voi,omitempty"`              // what the header offers, in the order in which prepare tries it
	VOIUsed     *int           `json:"voi_used,omitempty"`         // which of them made the grey values, from 0; absent when none
	// The window that made the grey values, the header's or the policy's own, in rescaled
	// units; absent when a VOI LUT did.
	WindowCenter *float64 `json:"window_center,omitempty"`
	WindowWidth  *float64 `json:"window_width,omitempty"`
}

// InspectedLUT describes a lookup table.
type InspectedLUT struct {
	Entries int `json:"entries"` // 0 when it cannot be read
	First   int `json:"first"`   // the input of the first entry
	Bits    int `json:"bits"`    // of an entry
}

// InspectedVOI is a VOI LUT or a window that a header offers.
type InspectedVOI struct {
	LUT    *InspectedLUT `json:"lut,omitempty"` // else a window
	Center *float64      `json:"center,omitempty"`
	Width  *float64      `json:"width,omitempty"` // 0 when the window cannot be read
	// Unfit is why it is not used: see [pixel.Unfit]. Empty when it could be.
	Unfit string `json:"unfit,omitempty"`
}

func inspectedLUT(entries []uint16, first, bits int) *InspectedLUT {
	return &InspectedLUT{len(entries), first, bits}
}

// greyOf tells what the header says, unless there is no image or colour makes it void.
func (i *Inspection) greyOf(h dicom.Header) {
	if h.Rows == 0 || h.Samples != 1 || h.Photometric == "PALETTE COLOR" {
		return
	}
	i.Inverted, i.Shape, i.VOIFunction = inverted(h), h.Shape, h.VOIFunction
	if l := h.ModalityLUT; l != nil {
		i.ModalityLUT = inspectedLUT(l.Entries, l.First, l.Bits)
	} else {
		i.RescaleSlope, i.RescaleIntercept = &h.Slope, &h.Intercept
	}
	if h.HasPadding {
		i.PixelPadding = &[2]int{h.PaddingLow, h.PaddingHigh}
	}
}

// shown tells what made the grey values.
func (i *Inspection) shown(r pixel.Rendered) {
	i.VOI, i.VOIUsed, i.WindowCenter, i.WindowWidth = nil, nil, nil, nil // of an image before text was removed
	for _, o := range r.Offers {
		v := InspectedVOI{Center: &o.Window.Center, Width: &o.Window.Width, Unfit: string(o.Unfit)}
		if l := o.LUT; l != nil {
			v = InspectedVOI{LUT: inspectedLUT(l.Entries, l.First, l.Bits), Unfit: string(o.Unfit)}
		}
		i.VOI = append(i.VOI, v)
	}
	if r.Used >= 0 {
		i.VOIUsed = &r.Used
	}
	if r.Window != (pixel.Window{}) {
		i.WindowCenter, i.WindowWidth = &r.Window.Center, &r.Window.Width
	}
}

// ReasonNoView is the reason of [Inspection.Picture] for a file without a view.
const ReasonNoView fault.Reason = "no_view"

// Picture returns a PNG for people of the view as the model would see it, with what was
// removed outlined; see [pixel.Picture].
//
// Errors: Invalid no_view when the file has none; [Inspection.Quality] and
// [Inspection.Error] say why.
func (i *Inspection) Picture() ([]byte, error) {
	if i.rendered == nil {
		return nil, fault.Reject("ingest.Picture", fault.Invalid, ReasonNoView, "the file gives no view to draw")
	}
	var removed []image.Rectangle
	for _, t := range i.BurnedInText {
		if t.Removed {
			removed = append(removed, image.Rect(t.X0, t.Y0, t.X1, t.Y1))
		}
	}
	return pixel.Picture(*i.rendered, i.Columns, i.Rows, removed)
}
