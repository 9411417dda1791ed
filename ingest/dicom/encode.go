package dicom

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

// FilmSyntax is the transfer syntax UID (DICOM PS3.5 section 10) that [Encode] writes.
type FilmSyntax string

// The transfer syntaxes that [Encode] can write.
const (
	FilmExplicitLE   FilmSyntax = "1.2.840.10008.1.2.1"    // explicit VR little endian
	FilmImplicitLE   FilmSyntax = "1.2.840.10008.1.2"      // implicit VR little endian
	FilmJPEGBaseline FilmSyntax = "1.2.840.10008.1.2.4.50" // JPEG baseline, 8-bit grey, lossy
)

// ReasonFilmInvalid marks a [Film] that cannot be written as a valid DICOM object.
const ReasonFilmInvalid fault.Reason = "film_invalid"

// Values that identify what [Encode] writes and what wrote it.
const (
	filmImplementationUID  = "2.25.302843751913412365849127350918264517234"
	filmImplementationName = "RADSTREAM_1"
	filmClassCR            = "1.2.840.10008.5.1.4.1.1.1"   // Computed Radiography Image Storage
	filmClassDX            = "1.2.840.10008.5.1.4.1.1.1.1" // Digital X-Ray Image Storage - For Presentation
	filmJPEGQuality        = 92
	filmMaxSide            = 8192
)

// Film is one grey chest film as [Encode] writes it: what a test, a benchmark or the
// phantom has to say about a radiograph, and nothing else. Empty strings are written as
// empty values (DICOM type 2).
type Film struct {
	StudyUID, SeriesUID, InstanceUID string    // dotted decimal, at most 64 characters
	PatientID, PatientName           string    // LO, PN (family^given)
	PatientSex                       string    // M, F, O or empty
	PatientBirthDate                 string    // YYYYMMDD or empty
	AccessionNumber                  string    // SH, at most 16 characters
	StudyTime                        time.Time // written as local date and time, without zone
	Modality                         string    // CR or DX; decides the SOP class
	BodyPart                         string    // CS, normally CHEST
	ViewPosition                     string    // PA, AP or LL
	Laterality                       string    // L, R, U, B or empty
	InstanceNumber                   int       // 1 for the first film of a study

	Rows, Columns int     // 1 to 8192
	PixelSpacing  float64 // mm between pixel centres at the detector; 0 = absent
	BitsStored    int     // 8 to 16; up to 8 bits are stored in one byte; JPEG needs 8
	Photometric   string  // MONOCHROME1 or MONOCHROME2

	WindowCenter, WindowWidth      float64    // in rescaled units; width 0 = absent
	RescaleSlope, RescaleIntercept float64    // slope 0 = both absent
	Syntax                         FilmSyntax // how the data set is encoded
	Pixels                         []uint16   // row-major, Rows*Columns values below 1<<BitsStored
}

// Encode writes f to w as one DICOM Part 10 file (PS3.10 section 7): preamble, file meta
// information with its group length, then the data set in f.Syntax. Encapsulated pixels
// are one frame in one fragment behind a basic offset table (PS3.5 section A.4). The same
// Film always gives the same bytes. The attributes are those that Radstream and common
// viewers read; code sequences that the DX module also asks for are left out.
//
// A Film that is not valid is refused with kind Invalid and reason film_invalid before
// anything is written; an error of w is returned as it is, as kind Internal.
func Encode(w io.Writer, f Film) error {
	const op = "dicom.Encode"
	if err := f.check(); err != nil {
		return err
	}
	sopClass := filmClassCR
	if f.Modality == "DX" {
		sopClass = filmClassDX
	}
	pixels, err := f.pixelElement()
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}

	meta := filmWriter{}
	meta.element(0x0002, 0x0001, "OB", []byte{0, 1})
	meta.text(0x0002, 0x0002, "UI", sopClass)
	meta.text(0x0002, 0x0003, "UI", f.InstanceUID)
	meta.text(0x0002, 0x0010, "UI", string(f.Syntax))
	meta.text(0x0002, 0x0012, "UI", filmImplementationUID)
	meta.text(0x0002, 0x0013, "SH", filmImplementationName)

	file := filmWriter{}
	file.buf.Grow(4096 + len(pixels))
	file.buf.Write(make([]byte, 128))
	file.buf.WriteString("DICM")
	file.element(0x0002, 0x0000, "UL", binary.LittleEndian.AppendUint32(nil, uint32(meta.buf.Len())))
	file.buf.Write(meta.buf.Bytes())

	file.implicit = f.Syntax == FilmImplicitLE
	f.attributes(&file, sopClass)
	if f.Syntax == FilmJPEGBaseline {
		file.header(0x7FE0, 0x0010, "OB", 0xFFFFFFFF)
		file.buf.Write(pixels)
	} else {
		file.element(0x7FE0, 0x0010, f.pixelVR(), pixels)
	}
	if _, err := w.Write(file.buf.Bytes()); err != nil {
		return fault.E(op, fault.Internal, err)
	}
	return nil
}

// attributes writes the data set up to the pixel data, in tag order.
func (f *Film) attributes(w *filmWriter, sopClass string) {
	date, clock := f.StudyTime.Format("20060102"), f.StudyTime.Format("150405")
	w.text(0x0008, 0x0005, "CS", "ISO_IR 192")
	w.text(0x0008, 0x0008, "CS", `ORIGINAL\PRIMARY`)
	w.text(0x0008, 0x0016, "UI", sopClass)
	w.text(0x0008, 0x0018, "UI", f.InstanceUID)
	for _, element := range []uint16{0x0020, 0x0021, 0x0022, 0x0023} { // study, series, acquisition, content
		w.text(0x0008, element, "DA", date)
	}
	for _, element := range []uint16{0x0030, 0x0031, 0x0032, 0x0033} {
		w.text(0x0008, element, "TM", clock)
	}
	w.text(0x0008, 0x0050, "SH", f.AccessionNumber)
	w.text(0x0008, 0x0060, "CS", f.Modality)
	if f.Modality == "DX" {
		w.text(0x0008, 0x0068, "CS", "FOR PRESENTATION")
	}
	w.text(0x0008, 0x0070, "LO", "Radstream")
	w.text(0x0008, 0x0090, "PN", "")
	w.text(0x0010, 0x0010, "PN", f.PatientName)
	w.text(0x0010, 0x0020, "LO", f.PatientID)
	w.text(0x0010, 0x0030, "DA", f.PatientBirthDate)
	w.text(0x0010, 0x0040, "CS", f.PatientSex)
	w.text(0x0018, 0x0015, "CS", f.BodyPart)
	if f.PixelSpacing != 0 {
		d := filmDecimal(f.PixelSpacing)
		w.text(0x0018, 0x1164, "DS", d+`\`+d) // imager pixel spacing: at the detector
	}
	w.text(0x0018, 0x5101, "CS", f.ViewPosition)
	w.text(0x0020, 0x000D, "UI", f.StudyUID)
	w.text(0x0020, 0x000E, "UI", f.SeriesUID)
	w.text(0x0020, 0x0010, "SH", "")
	w.text(0x0020, 0x0011, "IS", "1")
	w.text(0x0020, 0x0013, "IS", strconv.Itoa(f.InstanceNumber))
	orientation := `L\F` // columns run to the patient's left, rows to the feet
	if f.ViewPosition == "LL" {
		orientation = `P\F`
	}
	w.text(0x0020, 0x0020, "CS", orientation)
	if f.Modality == "DX" {
		w.text(0x0020, 0x0062, "CS", f.Laterality) // image laterality
	} else {
		w.text(0x0020, 0x0060, "CS", f.Laterality)
	}
	w.short(0x0028, 0x0002, 1) // samples per pixel
	w.text(0x0028, 0x0004, "CS", f.Photometric)
	w.short(0x0028, 0x0010, f.Rows)
	w.short(0x0028, 0x0011, f.Columns)
	w.short(0x0028, 0x0100, f.bitsAllocated())
	w.short(0x0028, 0x0101, f.BitsStored)
	w.short(0x0028, 0x0102, f.BitsStored-1)
	w.short(0x0028, 0x0103, 0) // unsigned
	w.text(0x0028, 0x0301, "CS", "NO")
	if f.WindowWidth != 0 {
		w.text(0x0028, 0x1050, "DS", filmDecimal(f.WindowCenter))
		w.text(0x0028, 0x1051, "DS", filmDecimal(f.WindowWidth))
	}
	if f.RescaleSlope != 0 {
		w.text(0x0028, 0x1052, "DS", filmDecimal(f.RescaleIntercept))
		w.text(0x0028, 0x1053, "DS", filmDecimal(f.RescaleSlope))
		w.text(0x0028, 0x1054, "LO", "US")
	}
	lossy := "00"
	if f.Syntax == FilmJPEGBaseline {
		lossy = "01"
	}
	w.text(0x0028, 0x2110, "CS", lossy)
	shape := "IDENTITY"
	if f.Photometric == "MONOCHROME1" {
		shape = "INVERSE"
	}
	w.text(0x2050, 0x0020, "CS", shape)
}

// pixelElement returns the value of the pixel data element: native samples, or for JPEG
// the items of the encapsulated stream with the closing delimiter.
func (f *Film) pixelElement() ([]byte, error) {
	if f.Syntax != FilmJPEGBaseline {
		if f.bitsAllocated() == 8 {
			out := make([]byte, len(f.Pixels))
			for i, p := range f.Pixels {
				out[i] = byte(p)
			}
			return out, nil
		}
		out := make([]byte, 2*len(f.Pixels))
		for i, p := range f.Pixels {
			binary.LittleEndian.PutUint16(out[2*i:], p)
		}
		return out, nil
	}
	img := image.NewGray(image.Rect(0, 0, f.Columns, f.Rows))
	for i, p := range f.Pixels {
		img.Pix[i] = byte(p)
	}
	var frame bytes.Buffer
	if err := jpeg.Encode(&frame, img, &jpeg.Options{Quality: filmJPEGQuality}); err != nil {
		return nil, err
	}
	items := filmWriter{implicit: true} // items have no VR in any syntax
	items.element(0xFFFE, 0xE000, "", []byte{0, 0, 0, 0})
	items.element(0xFFFE, 0xE000, "", frame.Bytes())
	items.header(0xFFFE, 0xE0DD, "", 0)
	return items.buf.Bytes(), nil
}

func (f *Film) bitsAllocated() int {
	if f.BitsStored <= 8 {
		return 8
	}
	return 16
}

// pixelVR is OB for one-byte samples in explicit VR and OW otherwise (PS3.5 annex A).
func (f *Film) pixelVR() string {
	if f.bitsAllocated() == 8 && f.Syntax == FilmExplicitLE {
		return "OB"
	}
	return "OW"
}

// check refuses what could not be written as valid DICOM.
func (f *Film) check() error {
	refuse := func(format string, args ...any) error {
		return fault.Reject("dicom.Encode", fault.Invalid, ReasonFilmInvalid, format, args...)
	}
	oneOf := func(v string, allowed ...string) bool {
		for _, a := range allowed {
			if v == a {
				return true
			}
		}
		return false
	}
	for name, uid := range map[string]string{"study": f.StudyUID, "series": f.SeriesUID, "instance": f.InstanceUID} {
		if !filmUID(uid) {
			return refuse("%s UID must be dotted decimal components without leading zeros, at most 64 characters (PS3.5 section 9)", name)
		}
	}
	for _, t := range []struct {
		name, value string
		most        int
	}{
		{"patient ID", f.PatientID, 64}, {"patient name", f.PatientName, 64},
		{"accession number", f.AccessionNumber, 16}, {"body part", f.BodyPart, 16},
	} {
		if len(t.value) > t.most || strings.ContainsFunc(t.value, func(r rune) bool { return r == '\\' || r < ' ' }) {
			return refuse("%s must have at most %d bytes and no backslash or control character (PS3.5 section 6.2)", t.name, t.most)
		}
	}
	if f.PatientBirthDate != "" {
		if _, err := time.Parse("20060102", f.PatientBirthDate); err != nil {
			return refuse("birth date must be YYYYMMDD")
		}
	}
	switch {
	case !oneOf(f.PatientSex, "", "M", "F", "O"):
		return refuse("patient sex must be M, F, O or empty")
	case !oneOf(f.Modality, "CR", "DX"):
		return refuse("modality must be CR or DX")
	case !oneOf(f.ViewPosition, "PA", "AP", "LL"):
		return refuse("view position must be PA, AP or LL")
	case !oneOf(f.Laterality, "", "L", "R", "U", "B"):
		return refuse("laterality must be L, R, U, B or empty")
	case !oneOf(f.Photometric, "MONOCHROME1", "MONOCHROME2"):
		return refuse("photometric interpretation must be MONOCHROME1 or MONOCHROME2")
	case !oneOf(string(f.Syntax), string(FilmExplicitLE), string(FilmImplicitLE), string(FilmJPEGBaseline)):
		return refuse("transfer syntax must be explicit or implicit little endian or JPEG baseline")
	case f.BitsStored < 8 || f.BitsStored > 16:
		return refuse("bits stored must be 8 to 16")
	case f.Syntax == FilmJPEGBaseline && f.BitsStored != 8:
		return refuse("JPEG baseline needs 8 bits stored")
	case f.Rows < 1 || f.Columns < 1 || f.Rows > filmMaxSide || f.Columns > filmMaxSide:
		return refuse("rows and columns must be 1 to %d", filmMaxSide)
	case len(f.Pixels) != f.Rows*f.Columns:
		return refuse("there must be rows x columns pixels")
	case f.InstanceNumber < 0 || f.WindowWidth < 0 || f.PixelSpacing < 0:
		return refuse("instance number, window width and pixel spacing must not be negative")
	case f.StudyTime.Year() < 1 || f.StudyTime.Year() > 9999:
		return refuse("the year of the study must have four digits")
	}
	for _, v := range []float64{f.WindowCenter, f.WindowWidth, f.RescaleSlope, f.RescaleIntercept, f.PixelSpacing} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return refuse("window, rescale and spacing values must be finite")
		}
	}
	for _, p := range f.Pixels {
		if p>>f.BitsStored != 0 {
			return refuse("a pixel does not fit in %d bits", f.BitsStored)
		}
	}
	return nil
}

// filmUID tells whether s is a valid UID.
func filmUID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || (len(part) > 1 && part[0] == '0') || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}

// filmDecimal formats v as a DS value, which has at most 16 characters.
func filmDecimal(v float64) string {
	if s := strconv.FormatFloat(v, 'f', -1, 64); len(s) <= 16 {
		return s
	}
	return fmt.Sprintf("%.9g", v)
}

// filmWriter writes data elements in little endian (PS3.5 section 7.1).
type filmWriter struct {
	buf      bytes.Buffer
	implicit bool // no VR, lengths of four bytes
}

// text writes a string value.
func (w *filmWriter) text(group, element uint16, vr, value string) {
	w.element(group, element, vr, []byte(value))
}

// short writes one unsigned 16-bit value.
func (w *filmWriter) short(group, element uint16, value int) {
	w.element(group, element, "US", binary.LittleEndian.AppendUint16(nil, uint16(value)))
}

// element writes a whole element, its value padded to even length: UIDs and bytes with
// zero, text with a space.
func (w *filmWriter) element(group, element uint16, vr string, value []byte) {
	w.header(group, element, vr, uint32(len(value)+len(value)%2))
	w.buf.Write(value)
	if len(value)%2 == 0 {
		return
	}
	pad := byte(' ')
	switch vr {
	case "UI", "OB", "OW", "":
		pad = 0
	}
	w.buf.WriteByte(pad)
}

// header writes tag, VR and length; 0xFFFFFFFF is undefined length.
func (w *filmWriter) header(group, element uint16, vr string, length uint32) {
	b := binary.LittleEndian.AppendUint16(nil, group)
	b = binary.LittleEndian.AppendUint16(b, element)
	if !w.implicit {
		b = append(b, vr...)
		if vr != "OB" && vr != "OW" {
			w.buf.Write(binary.LittleEndian.AppendUint16(b, uint16(length)))
			return
		}
		b = append(b, 0, 0)
	}
	w.buf.Write(binary.LittleEndian.AppendUint32(b, length))
}
