// Package pixel turns the stored values of a radiograph into the image that the model
// sees: one grey square of [Side] x [Side] bytes.
//
//	stored values -> rescale or modality LUT -> window or VOI LUT -> inversion (MONOCHROME1)
//	              -> 8-bit grey
//	              -> antialiased bilinear resize, aspect ratio kept -> centred on black
//
// The order is that of DICOM PS3.3 C.11 and PS3.4 N.2. An object may offer several ways to
// show it, which PS3.3 C.11.2 calls alternative views: they are tried in a fixed order, VOI
// LUTs first since they are the sender's own curve where a window is its straight stand-in,
// then windows, and the first that shows something of the film is taken (see [Unfit] for what
// a header often holds instead). Where none does, policy auto takes percentiles, and
// [Rendered] says so.
//
// Everything up to grey is one table
// over the 65,536 possible stored values, so that its cost does not depend on the film.
// The resize uses integers only. The same film gives the same bytes on every run and any
// number of workers (on amd64; elsewhere Go may fuse float operations in the table).
//
// The package also decodes plain JPEG and PNG films, says which projection a film is
// ([Stated], [View.Weigh]), and which films are too bad to be taken ([Limits]): both by a
// small [Classifier] of rendered films, which `radtrain views` makes.
package pixel

import (
	"math"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Side is the width and height of a rendered view in pixels.
const Side = 224

// MinSide is the shortest side of a film that is taken; smaller ones are icons.
const MinSide = 64

// MaxPixels bounds the pixels of a film.
const MaxPixels = 32 << 20

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
	ReasonRescale     fault.Reason = "unusable_rescale"
)

// Film is one grey image as stored, with what is needed to show it.
type Film struct {
	Rows, Columns int
	Aspect        float64 // height of a pixel over its width; 0 for square ones
	// Samples is row-major, Rows*Columns long; with Signed, int16 in two's complement.
	Samples []uint16
	Signed  bool
	// Display says that samples are grey values of 0 to 255 already, as in a plain film;
	// they are neither rescaled nor windowed.
	Display bool

	Slope, Intercept float64 // rescaled value = stored*Slope + Intercept
	ModalityLUT      *LUT    // looked up behind slope and intercept, if there is one
	VOILUTs          []LUT   // what the object offers to show rescaled values with
	Windows          []Window
	Invert           bool   // the lowest value is white (MONOCHROME1)
	Padding          *Range // stored values that are no part of the image, if any
}

// Range is Low to High, both inclusive.
type Range struct{ Low, High int }

// Rendered is a film as the model sees it.
type Rendered struct {
	Pixels  []byte           // Side*Side grey values, row-major
	Exposed *radstreamv1.Box // where the film lies in the square; the rest is 0
	Policy  Policy           // the policy that made the grey values; never Auto
	Scale   float64          // pixels of the film to one of the square; below 1 it was enlarged

	Offers []Offer // the VOI LUTs and windows of the object, in the order in which they are tried
	Used   int     // which of them made the grey values; -1 for none
	Window Window  // what made the grey values, in rescaled units; zero for a VOI LUT and for None
}

// Render shows f under policy p.
//
// Errors: Invalid blank when all pixels have one value, Invalid unusable_rescale,
// Unsupported too_small, and Unsupported no_usable_window when p is DICOM and no offer of
// the object can be used.
func Render(f Film, p Policy) (Rendered, error) {
	if f.Rows*f.Columns != len(f.Samples) {
		return Rendered{}, fault.Errorf("pixel.Render", fault.Internal, "a film of %d x %d with %d samples", f.Rows, f.Columns, len(f.Samples))
	}
	if min(f.Rows, f.Columns) < MinSide {
		return Rendered{}, fault.Reject("pixel.Render", fault.Unsupported, ReasonTooSmall, "both sides must have at least %d pixels", MinSide)
	}
	r := Rendered{Used: -1}
	grey, err := f.table(p, &r)
	if err != nil {
		return Rendered{}, err
	}
	r.Pixels, r.Scale = make([]byte, Side*Side), float64(max(f.Columns, f.Rows))/Side
	columns, rows := fit(f.Columns, f.Rows, f.Aspect)
	x0, y0 := (Side-columns)/2, (Side-rows)/2
	r.Exposed = &radstreamv1.Box{X0: uint32(x0), Y0: uint32(y0), X1: uint32(x0 + columns), Y1: uint32(y0 + rows)}
	resize(f, grey, r.Pixels[y0*Side+x0:], columns, rows)
	return r, nil
}

// fit returns the largest size of the film's proportions inside the square.
func fit(columns, rows int, aspect float64) (int, int) {
	if aspect != 0 {
		columns, rows = 1000*columns, int(math.Round(1000*aspect*float64(rows)))
	}
	long := max(columns, rows)
	scale := func(n int) int { return max(1, (2*n*Side+long)/(2*long)) }
	return scale(columns), scale(rows)
}
