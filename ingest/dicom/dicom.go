// Package dicom reads what Radstream needs of a DICOM file: the attributes that describe
// a study and its image, and the stored values of the pixels.
//
//	bytes -> syntax -> scan of the element stream -> values of the wanted attributes -> Header
//	                                              \-> extent of the pixel data -> codec -> Pixels
//
// The files come from outside, and many are damaged. So this package walks the element
// stream itself, checks every length against the bytes at hand, and hands only the few
// attributes that are wanted to github.com/suyashkumar/dicom for decoding; the pixel data
// is taken where it lies. Nothing is allocated because a file claims a size: uncompressed
// pixels must be there in full, compressed frames must declare the size they hold, and a
// deflated data set is measured before it is kept.
//
// Taken: implicit and explicit VR, little and big endian, deflated, encapsulated without
// compression, and the syntaxes that the given codec.Set has a decoder for; any number of
// frames; grey of 1, 8, 12, 16 and 32 bits allocated, colour of 8 and 16 in RGB, YBR_FULL
// or a palette, of which grey is made. Files without a preamble or file meta information
// are taken as well, since old archives are full of them. Everything else is refused with
// a reason.
//
// [File.Pixels] gives one frame to look at. [File.Survey] computes figures over all of
// them, of which it holds one at a time.
package dicom

import (
	"math"
	"strings"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// Reasons for which a file is refused.
const (
	ReasonNotDICOM   fault.Reason = "not_dicom"
	ReasonMalformed  fault.Reason = "malformed_dicom"
	ReasonTruncated  fault.Reason = "truncated"
	ReasonSyntax     fault.Reason = "unsupported_transfer_syntax"
	ReasonNoPixels   fault.Reason = "no_pixel_data"
	ReasonFloat      fault.Reason = "float_pixel_data"
	ReasonColor      fault.Reason = "color"
	ReasonMultiFrame fault.Reason = "multi_frame"
	ReasonBits       fault.Reason = "unsupported_bits"
	ReasonNoSize     fault.Reason = "no_image_size"
	ReasonTooLarge   fault.Reason = "declared_size_too_large"
)

// Header holds the attributes of a file that Radstream uses. An attribute that is absent
// or cannot be read has the zero value. The identifiers may name a person.
type Header struct {
	TransferSyntax string // UID; for a file without one, the syntax it was found to have
	SOPClass       string
	Modality       string // upper case, as are the other code strings
	BodyPart       string
	StudyUID       event.StudyUID
	SeriesUID      string
	InstanceUID    string
	PatientID      event.PatientID
	PatientName    string // PN as written, its components separated by ^
	BirthDate      string // YYYYMMDD
	Accession      string
	People         []string  // names of the patient, physicians and operators, as written (PN)
	OtherIDs       []string  // Other Patient IDs (0010,1000)
	StudyTime      time.Time // Study Date and Study Time, in UTC; zero when there is no date; see studyTime
	// ContentTime is when the pixels were made: Instance Creation Date and Time, else Content
	// Date and Time, in UTC; zero when there is neither.
	ContentTime time.Time

	ViewPosition string   // (0018,5101)
	ViewCode     string   // meaning of the first View Code (0054,0220), lower case
	Orientation  []string // Patient Orientation (0020,0020): where rows, and columns, run to
	Laterality   string   // Image Laterality, else Laterality

	Rows, Columns int
	PixelAspect   float64 // height of a pixel over its width; 1 when nothing, or nothing sound, says another
	Frames        int     // 1 when absent, 0 when it is not a number
	Samples       int     // Samples per Pixel, 1 when absent
	Planar        bool    // Planar Configuration: uncompressed colour lies plane after plane
	BitsAllocated int
	BitsStored    int
	HighBit       int
	Signed        bool // Pixel Representation
	Photometric   string
	Slope         float64 // Rescale Slope, 1 when absent or 0
	Intercept     float64 // Rescale Intercept
	ModalityLUT   *LUT    // of the Modality LUT Sequence; it stands in place of slope and intercept
	Windows       []Window
	VOILUTs       []LUT  // of the VOI LUT Sequence; their inputs are in the units of the windows
	VOIFunction   string // VOI LUT Function; empty means LINEAR
	Shape         string // Presentation LUT Shape: IDENTITY or INVERSE
	HasPadding    bool
	PaddingLow    int // Pixel Padding Value, a stored value; with Pixel Padding Range Limit the
	PaddingHigh   int // lower and the higher of the two
}

// File is a parsed file. It refers to the bytes it was parsed from.
type File struct {
	Header
	pixels           element
	offsets, lengths element // the Extended Offset Table, which stands before the pixels
	palettes         palettes
	// The sequences that a header is made of.
	viewCodes, modalityLUT, voiLUTs element
	// structure is the first fault of the element stream; nil when it could be walked.
	structure error
}

// ParseHeader reads the attributes of data and does not touch the pixels. It returns what
// could be read even when it returns an error: the attributes before the damage.
//
// Errors: Invalid not_dicom, malformed_dicom or truncated.
func ParseHeader(data []byte) (Header, error) {
	f, err := Parse(data)
	if err != nil {
		return Header{}, err
	}
	return f.Header, f.structure
}

// Parse reads data, which [File.Pixels] will need unchanged. It fails only for bytes that
// do not start as a DICOM file does (Invalid not_dicom, truncated or malformed_dicom);
// what keeps the pixels from being read is said by [File.Pixels], so that the attributes
// can be told even then.
func Parse(data []byte) (*File, error) {
	stream, uid, damage, err := open(data)
	if err != nil {
		return nil, err
	}
	f := &File{palettes: palettes{order: stream.order}}
	wanted := f.scan(stream)
	if damage != nil { // it is why the scan came to an end, if that did
		f.structure = damage
	}
	f.Header = header(decode(wanted, stream.order))
	f.TransferSyntax = uid
	f.ViewCode = viewCode(f.viewCodes, stream)
	if luts := tables(f.modalityLUT, stream, f.Signed); len(luts) > 0 { // one item is allowed
		f.ModalityLUT = &luts[0]
	} else if len(f.modalityLUT.value) > 0 {
		f.ModalityLUT = &LUT{} // there is one, and it cannot be read
	}
	f.VOILUTs = tables(f.voiLUTs, stream, f.ModalityLUT == nil && f.lowest() < 0)
	return f, nil
}

// lowest returns the lowest value that slope and intercept can give.
func (h *Header) lowest() float64 {
	low, high := 0, 1<<max(0, min(h.BitsStored, 32))-1
	if h.Signed {
		low, high = -(high+1)/2, high/2
	}
	return min(float64(low)*h.Slope, float64(high)*h.Slope) + h.Intercept
}

// scan walks the top level of the data set up to the pixel data and returns the elements
// that a header is made of.
func (f *File) scan(s *scanner) (wanted []element) {
	seen := map[uint32]bool{}
	for {
		e, more, err := s.next()
		if !more {
			f.structure = err
			return wanted
		}
		switch e.tag {
		case tagPixels, tagFloatPixels, tagDoublePixels:
			f.pixels = e
			return wanted
		case tagFrameOffsets:
			f.offsets = e
			continue
		case tagFrameLengths:
			f.lengths = e
			continue
		case tagPalette, tagPalette + 1, tagPalette + 2:
			f.palettes.descriptor[e.tag-tagPalette] = e
			continue
		case tagPaletteTable, tagPaletteTable + 1, tagPaletteTable + 2:
			f.palettes.table[e.tag-tagPaletteTable] = e
			continue
		case tagViewCodes:
			f.viewCodes = e
			continue
		case tagModalityLUT:
			f.modalityLUT = e
			continue
		case tagVOILUTs:
			f.voiLUTs = e
			continue
		default:
			if !isWanted(e.tag) || e.undefined || len(e.value) > maxValue {
				continue
			}
		}
		if !seen[e.tag] { // a tag stands once in a data set (PS3.5 section 7.1)
			seen[e.tag] = true
			wanted = append(wanted, e)
		}
	}
}

// header names the decoded values.
func header(v values) Header {
	short := func(tag uint32, absent int) int {
		if n, ok := v.short(tag); ok {
			return n
		}
		return absent
	}
	h := Header{
		SOPClass:    v.text(tagSOPClass),
		Modality:    strings.ToUpper(v.text(tagModality)),
		BodyPart:    strings.ToUpper(v.text(tagBodyPart)),
		StudyUID:    event.StudyUID(v.text(tagStudyUID)),
		SeriesUID:   v.text(tagSeriesUID),
		InstanceUID: v.text(tagInstanceUID),
		PatientID:   event.PatientID(v.text(tagPatientID)),
		PatientName: v.text(tagPatientName),
		BirthDate:   v.text(tagBirthDate),
		Accession:   v.text(tagAccession),
		OtherIDs:    v.texts(tagOtherPatientIDs),
		StudyTime:   studyTime(v.text(tagStudyDate), v.text(tagStudyTime), v.text(tagTimezone)),
		ContentTime: studyTime(v.text(tagCreationDate), v.text(tagCreationTime), v.text(tagTimezone)),

		ViewPosition: strings.ToUpper(v.text(tagViewPosition)),
		Orientation:  v.texts(tagOrientation),
		Laterality:   strings.ToUpper(v.text(tagImageLaterality)),

		Rows:          short(tagRows, 0),
		Columns:       short(tagColumns, 0),
		PixelAspect:   pixelAspect(v),
		Frames:        1,
		Samples:       short(tagSamples, 1),
		Planar:        short(tagPlanar, 0) == 1,
		BitsAllocated: short(tagBitsAllocated, 0),
		Signed:        short(tagPixelRepresentation, 0) == 1,
		Photometric:   strings.ToUpper(v.text(tagPhotometric)),
		Slope:         1,
		Windows:       windows(v),
		VOIFunction:   strings.ToUpper(v.text(tagVOIFunction)),
		Shape:         strings.ToUpper(v.text(tagShape)),
	}
	for _, tag := range personTags {
		for _, name := range v.texts(tag) {
			if name != "" {
				h.People = append(h.People, name)
			}
		}
	}
	if h.ContentTime.IsZero() {
		h.ContentTime = studyTime(v.text(tagContentDate), v.text(tagContentTime), v.text(tagTimezone))
	}
	h.BitsStored = short(tagBitsStored, h.BitsAllocated)
	h.HighBit = short(tagHighBit, h.BitsStored-1)
	if h.Laterality == "" {
		h.Laterality = strings.ToUpper(v.text(tagLaterality))
	}
	if s := v.text(tagFrames); s != "" {
		n, _ := v.number(tagFrames)
		h.Frames = int(max(0, min(n, 1<<30)))
	}
	if n, ok := v.number(tagSlope); ok && n != 0 {
		h.Slope = n
	}
	h.Intercept, _ = v.number(tagIntercept)
	var padding int
	if padding, h.HasPadding = v.short(tagPadding); h.HasPadding {
		h.PaddingLow, h.PaddingHigh = h.padding(padding, short(tagPaddingLimit, padding))
	}
	return h
}

// maxAspect bounds how far from square a pixel is believed to be: the widest known, of binned
// detectors, are 2 to 1.
const maxAspect = 4

// pixelAspect reads Imager Pixel Spacing, Pixel Spacing or Pixel Aspect Ratio, each vertical \
// horizontal (PS3.3 sections 10.7.1.3 and C.7.6.3.1.7). Differences below a hundredth are rounding.
func pixelAspect(v values) float64 {
	for _, tag := range []uint32{tagImagerSpacing, tagPixelSpacing, tagPixelAspect} {
		pair := v.texts(tag)
		if len(pair) != 2 {
			continue
		}
		vertical, first := decimal(pair[0])
		horizontal, second := decimal(pair[1])
		aspect := vertical / horizontal
		if !first || !second || !(aspect >= 1.0/maxAspect && aspect <= maxAspect) {
			continue
		}
		if math.Abs(aspect-1) < 0.01 {
			aspect = 1
		}
		return aspect
	}
	return 1
}

// viewCode returns the code meaning of the first item of a View Code Sequence.
func viewCode(sequence element, of *scanner) (meaning string) {
	of.eachItem(sequence, func(item int, e element, s *scanner) bool {
		if item == 0 && e.tag == tagCodeMeaning && !e.undefined && len(e.value) <= maxValue {
			meaning = strings.ToLower(decode([]element{e}, s.order).text(tagCodeMeaning))
		}
		return item == 0 && meaning == ""
	})
	return meaning
}
