// Package pixel turns the stored values of a radiograph into the image that the model
// sees: one grey square of [Side] x [Side] bytes.
//
//	stored values -> rescale -> window (VOI) -> inversion (MONOCHROME1) -> 8-bit grey
//	              -> antialiased bilinear resize, aspect ratio kept -> centred on black
//
// The order is that of DICOM PS3.3 C.11 and PS3.4 N.2. Everything up to grey is one table
// over the 65,536 possible stored values, so that its cost does not depend on the film.
// The resize uses integers only. The same film gives the same bytes on every run and any
// number of workers (on amd64; elsewhere Go may fuse float operations in the table).
//
// The package also decodes plain JPEG and PNG films, says which projection a film is
// ([Stated], [View.Weigh]), and which films are too bad to be taken ([Limits]): both by a
// small linear [Classifier] of rendered films, which `radtrain views` makes.
package pixel

import (
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Side is the width and height of a rendered view in pixels.
const Side = 224

// MinSide is the shortest side of a film that is taken; smaller ones are icons.
const MinSide = 64

// MaxPixels bounds the pixels of a film.
const MaxPixels = 64 << 20

// Reasons for which a film is refused.
const (
	ReasonBlank       fault.Reason = "blank"
	ReasonTooSmall    fault.Reason = "too_small"
	ReasonTooLarge    fault.Reason = "declared_size_too_large"
	ReasonNoWindow    fault.Reason = "no_usable_window"
	ReasonTruncated   fault.Reason = "truncated"
	ReasonMalformed   fault.Reason = "malformed_image"
	ReasonUnsupported fault.Reason = "unsupported_image"
	ReasonView        fault.Reason = "unsupported_view"
)

// Film is one grey image as stored, with what is needed to show it.
type Film struct {
	Rows, Columns int
	// Samples is row-major, Rows*Columns long; with Signed, int16 in two's complement.
	Samples []uint16
	Signed  bool
	// Display says that samples are grey values of 0 to 255 already, as in a plain film;
	// they are neither rescaled nor windowed.
	Display bool

	Slope, Intercept float64 // rescaled value = stored*Slope + Intercept
	Window           Window  // the object's own, in rescaled units; the zero Window is none
	Invert           bool    // the lowest value is white (MONOCHROME1)
	HasPadding       bool    // samples equal to Padding are no part of the image
	Padding          uint16
}

// Rendered is a film as the model sees it.
type Rendered struct {
	Pixels  []byte           // Side*Side grey values, row-major
	Exposed *radstreamv1.Box // where the film lies in the square; the rest is 0
	Policy  Policy           // the policy that made the grey values; never Auto
	Scale   float64          // pixels of the film to one of the square; below 1 it was enlarged
}

// Render shows f under policy p.
//
// Errors: Invalid blank when all pixels have one value, Unsupported too_small, and
// Unsupported no_usable_window when p is DICOM and the object has none.
func Render(f Film, p Policy) (Rendered, error) {
	if f.Rows*f.Columns != len(f.Samples) {
		return Rendered{}, fault.Errorf("pixel.Render", fault.Internal, "a film of %d x %d with %d samples", f.Rows, f.Columns, len(f.Samples))
	}
	if min(f.Rows, f.Columns) < MinSide {
		return Rendered{}, fault.Reject("pixel.Render", fault.Unsupported, ReasonTooSmall, "both sides must have at least %d pixels", MinSide)
	}
	grey, used, err := f.table(p)
	if err != nil {
		return Rendered{}, err
	}
	r := Rendered{Pixels: make([]byte, Side*Side), Policy: used, Scale: float64(max(f.Columns, f.Rows)) / Side}
	columns, rows := fit(f.Columns, f.Rows)
	x0, y0 := (Side-columns)/2, (Side-rows)/2
	r.Exposed = &radstreamv1.Box{X0: uint32(x0), Y0: uint32(y0), X1: uint32(x0 + columns), Y1: uint32(y0 + rows)}
	resize(f, grey, r.Pixels[y0*Side+x0:], columns, rows)
	return r, nil
}

// fit returns the largest size of the film's proportions inside the square.
func fit(columns, rows int) (int, int) {
	long := max(columns, rows)
	scale := func(n int) int { return max(1, (2*n*Side+long)/(2*long)) }
	return scale(columns), scale(rows)
}
