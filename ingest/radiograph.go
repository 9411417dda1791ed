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
// LUNGS, RIB SERIES and the like; THORACIC SPINE is another film.
func chest(bodyPart string) bool {
	if strings.Contains(bodyPart, "SPINE") || strings.Contains(bodyPart, "LUMBAR") || strings.Contains(bodyPart, "VERTEBRA") {
		return false
	}
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
		return pixel.Film{Rows: p.Rows, Columns: p.Columns, Aspect: h.PixelAspect, Samples: p.Samples, Display: true}, nil
	}
	f := pixel.Film{
		Rows: p.Rows, Columns: p.Columns, Aspect: h.PixelAspect, Samples: p.Samples, Signed: p.Signed,
		Slope: h.Slope * float64(int(1)<<p.Shift), Intercept: h.Intercept,
		Invert: inverted(h),
	}
	if l := h.ModalityLUT; l != nil {
		if len(l.Entries) == 0 {
			return pixel.Film{}, fault.Reject("ingest.Prepare", fault.Invalid, ReasonModalityLUT,
				"the item of the Modality LUT Sequence (0028,3000) must have a LUT Descriptor of three values, and LUT Data of as many entries of at most 16 bits (PS3.3 C.11.1.1)")
		}
		lut := pixel.LUT(*l)
		f.ModalityLUT, f.Slope, f.Intercept = &lut, float64(int(1)<<p.Shift), 0
	}
	for _, l := range h.VOILUTs {
		f.VOILUTs = append(f.VOILUTs, pixel.LUT(l))
	}
	for _, w := range h.Windows {
		f.Windows = append(f.Windows, pixel.Window{Center: w.Center, Width: w.Width, Function: pixel.Function(h.VOIFunction)})
	}
	if h.HasPadding {
		f.Padding = &pixel.Range{Low: h.PaddingLow >> p.Shift, High: h.PaddingHigh >> p.Shift}
	}
	return f, nil
}

// inverted tells whether the lowest value is white. Photometric Interpretation says so;
// Presentation LUT Shape must agree (PS3.3 C.8.11.3), and counts where an old object
// leaves the other out.
func inverted(h dicom.Header) bool {
	return h.Photometric == "MONOCHROME1" || h.Photometric == "" && h.Shape == "INVERSE"
}

func tagsOf(h dicom.Header) pixel.Tags {
	return pixel.Tags{ViewPosition: h.ViewPosition, ViewCode: h.ViewCode, Orientation: h.Orientation}
}
