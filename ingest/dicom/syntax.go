package dicom

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/radstream/radstream/ingest/dicom/inflate"
	"github.com/radstream/radstream/schemas/fault"
)

// Transfer syntaxes that decide how the data set is encoded (PS3.5 annex A). All others
// encode it in explicit VR little endian.
const (
	implicitLE = "1.2.840.10008.1.2"
	explicitLE = "1.2.840.10008.1.2.1"
	explicitBE = "1.2.840.10008.1.2.2"
	deflatedLE = "1.2.840.10008.1.2.1.99"
	// encapsulatedLE has uncompressed frames in fragments (PS3.5 section A.4.11).
	encapsulatedLE = "1.2.840.10008.1.2.1.98"
)

// Bounds on a deflated data set. Film compresses to a half; a blank one to a thousandth.
const (
	maxInflated = 128 << 20 // bytes; the frame that is decoded takes as much again
	maxInflate  = 256       // times as long as the deflated data set, beyond its first MiB
	inflateOnce = 64 << 20  // bytes that are inflated without being counted first
	inflateHead = 1 << 20   // bytes of which the attributes are read when it is too large
)

// isNative tells whether samples are uncompressed in one value.
func isNative(syntax string) bool {
	switch syntax {
	case implicitLE, explicitLE, explicitBE, deflatedLE:
		return true
	}
	return false
}

// Tags of the attributes of a [Header] (PS3.6), the group in the upper half.
const (
	tagSyntax              = 0x00020010
	tagCharacterSet        = 0x00080005
	tagCreationDate        = 0x00080012
	tagCreationTime        = 0x00080013
	tagSOPClass            = 0x00080016
	tagInstanceUID         = 0x00080018
	tagStudyDate           = 0x00080020
	tagContentDate         = 0x00080023
	tagStudyTime           = 0x00080030
	tagContentTime         = 0x00080033
	tagAccession           = 0x00080050
	tagModality            = 0x00080060
	tagReferring           = 0x00080090
	tagPhysiciansOfRecord  = 0x00081048
	tagPerforming          = 0x00081050
	tagReading             = 0x00081060
	tagOperators           = 0x00081070
	tagCodeMeaning         = 0x00080104
	tagPatientName         = 0x00100010
	tagTimezone            = 0x00080201
	tagPatientID           = 0x00100020
	tagBirthDate           = 0x00100030
	tagOtherPatientIDs     = 0x00101000
	tagOtherPatientNames   = 0x00101001
	tagRequesting          = 0x00321032
	tagBodyPart            = 0x00180015
	tagImagerSpacing       = 0x00181164
	tagViewPosition        = 0x00185101
	tagStudyUID            = 0x0020000D
	tagSeriesUID           = 0x0020000E
	tagOrientation         = 0x00200020
	tagLaterality          = 0x00200060
	tagImageLaterality     = 0x00200062
	tagSamples             = 0x00280002
	tagPhotometric         = 0x00280004
	tagPlanar              = 0x00280006
	tagFrames              = 0x00280008
	tagRows                = 0x00280010
	tagColumns             = 0x00280011
	tagPixelSpacing        = 0x00280030
	tagPixelAspect         = 0x00280034
	tagBitsAllocated       = 0x00280100
	tagBitsStored          = 0x00280101
	tagHighBit             = 0x00280102
	tagPixelRepresentation = 0x00280103
	tagPadding             = 0x00280120
	tagPaddingLimit        = 0x00280121
	tagWindowCenter        = 0x00281050
	tagWindowWidth         = 0x00281051
	tagIntercept           = 0x00281052
	tagSlope               = 0x00281053
	tagVOIFunction         = 0x00281056
	tagPalette             = 0x00281101 // descriptors of red, green and blue
	tagPaletteTable        = 0x00281201 // their tables
	tagModalityLUT         = 0x00283000
	tagLUTDescriptor       = 0x00283002
	tagLUTData             = 0x00283006
	tagVOILUTs             = 0x00283010
	tagViewCodes           = 0x00540220
	tagShape               = 0x20500020 // Presentation LUT Shape
)

// personTags are the attributes that name people, who may be named in a report too.
var personTags = []uint32{tagPatientName, tagOtherPatientNames, tagReferring, tagPhysiciansOfRecord, tagPerforming,
	tagReading, tagOperators, tagRequesting}

// isWanted tells whether an attribute of the top level is decoded for the header.
func isWanted(tag uint32) bool {
	switch tag {
	case tagCharacterSet, tagSOPClass, tagInstanceUID, tagStudyDate, tagStudyTime, tagTimezone, tagAccession, tagModality,
		tagPatientID, tagBirthDate, tagBodyPart, tagViewPosition, tagStudyUID, tagSeriesUID, tagOrientation, tagLaterality,
		tagImageLaterality, tagPhotometric, tagFrames, tagWindowCenter, tagWindowWidth, tagIntercept, tagSlope,
		tagVOIFunction, tagShape, tagImagerSpacing, tagPixelSpacing, tagPixelAspect, tagOtherPatientIDs, tagCreationDate, tagCreationTime, tagContentDate, tagContentTime:
		return true
	}
	return isShort(tag) || slices.Contains(personTags, tag)
}

// open finds the data set in a file and how it is encoded.
//
// A file has a preamble and file meta information (PS3.10 section 7.1). It must have an element
// of group 2 or 8 behind the preamble, or at its start.
//
// damage is what is wrong with a data set that can be read in part.
func open(data []byte) (s *scanner, uid string, damage, err error) {
	s = &scanner{data: data, order: binary.LittleEndian}
	switch {
	case startsMeta(data):
		s.pos = 132
	case !startsDataSet(data):
		return nil, "", nil, fault.Reject("dicom.Parse", fault.Invalid, ReasonNotDICOM,
			"a DICOM file has DICM at byte 128, or starts with an element of group 0002 or 0008 (PS3.10 7.1)")
	}
	if uid, err = s.meta(); err != nil {
		return nil, "", nil, err
	}
	switch uid {
	case explicitBE:
		s.order = binary.BigEndian
	case deflatedLE:
		s.data, damage = inflated(data[s.pos:])
		s.pos = 0
	}
	// Explicit VR shows itself by two letters behind the tag. Some senders name no syntax
	// or the wrong one of the two.
	rest := s.data[s.pos:]
	s.implicit = len(rest) < 6 || !isLetters(rest[4:6])
	if uid == "" && s.implicit {
		uid = implicitLE
	} else if uid == "" {
		uid = explicitLE
	}
	return s, uid, damage, nil
}

// inflated returns a deflated data set (PS3.5 section A.5). One that is large, or a bomb, is
// inflated once more to count its bytes first, so that one that becomes too large costs no
// memory; of that, and of a damaged one, it returns the beginning, and an error.
func inflated(deflated []byte) ([]byte, error) {
	from := func(most int64) io.Reader { return io.LimitReader(inflate.NewReader(deflated), most) }
	most := min(maxInflated, inflateHead+maxInflate*int64(len(deflated)))
	var data bytes.Buffer
	data.Grow(min(inflateOnce, 2*len(deflated)))
	n, err := io.Copy(&data, from(min(most+1, inflateOnce)))
	if err == nil && n == inflateOnce {
		data = bytes.Buffer{}
		n, err = io.Copy(io.Discard, from(most+1))
	}
	switch {
	case n > most:
		n, err = inflateHead, unsupported(ReasonTooLarge, "a deflated data set must inflate to at most %d MiB, and %d times its length", maxInflated>>20, maxInflate)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fault.Reject("dicom.Parse", fault.Invalid, ReasonTruncated, "the deflated data set ends too early (PS3.5 A.5)")
	case err != nil:
		err = malformed("the data set must be deflated as RFC 1951 has it (PS3.5 A.5)")
	}
	if int64(data.Len()) >= n {
		return data.Bytes()[:n], err
	}
	all := make([]byte, n)
	if _, again := io.ReadFull(from(n), all); again != nil && err == nil {
		err = malformed("the data set must be deflated as RFC 1951 has it (PS3.5 A.5)")
	}
	return all, err
}

// meta reads the file meta information, which is explicit VR little endian and ends where
// the group changes: its length element is often missing or wrong.
func (s *scanner) meta() (uid string, err error) {
	for len(s.data)-s.pos >= 8 && s.order.Uint16(s.data[s.pos:]) == 2 {
		e, _, err := s.next()
		if err != nil {
			return "", err
		}
		if e.tag == tagSyntax && len(e.value) <= 65 {
			uid = string(bytes.Trim(e.value, " \x00"))
		}
	}
	return uid, nil
}

// startsMeta tells whether data has a preamble. DICM alone may be text of a file without
// one; behind it is an element of group 2, or a data set that has no file meta information.
func startsMeta(data []byte) bool {
	if len(data) < 134 || string(data[128:132]) != "DICM" {
		return false
	}
	return string(data[132:134]) == "\x02\x00" || !startsDataSet(data) && startsDataSet(data[132:])
}

// startsDataSet tells whether data starts with an element of a file without a preamble.
func startsDataSet(data []byte) bool {
	if len(data) < 8 {
		return false
	}
	group, number := binary.LittleEndian.Uint16(data), binary.LittleEndian.Uint16(data[2:])
	switch group {
	case 2:
		return number <= 0x0102 && isLetters(data[4:6])
	case 8:
		return number <= 0x0100 && (isLetters(data[4:6]) || int64(binary.LittleEndian.Uint32(data[4:])) <= int64(len(data)))
	}
	return false
}

func isLetters(b []byte) bool {
	return b[0] >= 'A' && b[0] <= 'Z' && b[1] >= 'A' && b[1] <= 'Z'
}
