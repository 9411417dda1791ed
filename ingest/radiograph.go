package ingest

import (
	"slices"
	"strings"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// gate refuses DICOM objects that are not radiographs of a chest, by Modality (0008,0060)
// and Body Part Examined (0018,0015):
//
//	modality              body part empty   of the chest   another
//	CR DX DR RG XR        taken             taken          refused
//	OT SC HC or empty     refused           taken          refused
//	anything else         refused           refused        refused
//
// Plain films have no header and are not gated.
func gate(h dicom.Header) error {
	xray := slices.Contains([]string{"CR", "DX", "DR", "RG", "XR"}, h.Modality)
	vague := slices.Contains([]string{"", "OT", "SC", "HC"}, h.Modality)
	if chest(h.BodyPart) && (xray || vague) || h.BodyPart == "" && xray {
		return nil
	}
	return fault.Reject("ingest.Prepare", fault.Unsupported, ReasonNotChest,
		"Modality must be CR, DX, DR, RG or XR, or OT with a Body Part Examined of the chest; the body part, if given, must be of the chest")
}

// chest tells whether a body part is of the chest. Senders write CHEST, THORAX, CHEST PA,
// LUNGS, RIB SERIES and the like.
func chest(bodyPart string) bool {
	return slices.ContainsFunc([]string{"CHEST", "THORA", "TORAX", "LUNG", "RIB"}, func(word string) bool {
		return strings.Contains(bodyPart, word)
	})
}

// single refuses objects of several frames: a radiograph is one. A number of frames that
// cannot be read is refused by package dicom.
func single(h dicom.Header) error {
	if h.Frames > 1 {
		return fault.Reject("ingest.Prepare", fault.Unsupported, dicom.ReasonMultiFrame, "Number of Frames (0028,0008) must be 1")
	}
	return nil
}

// grey refuses what is neither grey nor was made so: one sample a pixel may also be of a
// photometric interpretation that nobody knows. Old objects leave it out.
func grey(h dicom.Header, p *dicom.Pixels) error {
	switch {
	case p.Display, h.Photometric == "MONOCHROME1", h.Photometric == "MONOCHROME2", h.Photometric == "":
		return nil
	}
	return fault.Reject("ingest.Prepare", fault.Unsupported, dicom.ReasonColor,
		"Photometric Interpretation (0028,0004) must be MONOCHROME1 or MONOCHROME2, or in colour RGB, YBR_FULL or PALETTE COLOR")
}

// filmOf joins the stored values of a DICOM object with what its header says about
// showing them. Colour that became grey is shown as it is.
func filmOf(h dicom.Header, p *dicom.Pixels) (pixel.Film, error) {
	if err := grey(h, p); err != nil {
		return pixel.Film{}, err
	}
	if p.Display {
		return pixel.Film{Rows: p.Rows, Columns: p.Columns, Samples: p.Samples, Display: true}, nil
	}
	if h.HasModalityLUT {
		return pixel.Film{}, fault.Reject("ingest.Prepare", fault.Unsupported, ReasonModalityLUT,
			"the modality transform must be Rescale Slope and Intercept, not a Modality LUT Sequence (0028,3000)")
	}
	return pixel.Film{
		Rows: p.Rows, Columns: p.Columns, Samples: p.Samples, Signed: p.Signed,
		Slope: h.Slope * float64(int(1)<<p.Shift), Intercept: h.Intercept,
		Window: pixel.Window{Center: h.WindowCenter, Width: h.WindowWidth, Function: pixel.Function(h.VOIFunction)},
		Invert: h.Photometric == "MONOCHROME1", HasPadding: h.HasPadding && p.Shift == 0, Padding: uint16(h.Padding),
	}, nil
}

func tagsOf(h dicom.Header) pixel.Tags {
	return pixel.Tags{ViewPosition: h.ViewPosition, ViewCode: h.ViewCode, Orientation: h.Orientation}
}
