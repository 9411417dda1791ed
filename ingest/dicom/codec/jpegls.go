package codec

import (
	"encoding/binary"

	"github.com/radstream/radstream/schemas/fault"
)

// Markers of JPEG-LS (ITU-T T.87 table C.1, ITU-T T.81 table B.1).
const (
	lsSOI   = 0xd8
	lsEOI   = 0xd9
	lsSOS   = 0xda
	lsDRI   = 0xdd
	lsRST0  = 0xd0
	lsAPP0  = 0xe0
	lsAPP8  = 0xe8
	lsAPP15 = 0xef
	lsSOF55 = 0xf7
	lsLSE   = 0xf8
	lsCOM   = 0xfe
)

// lsMaxComponents is the most that one scan may hold (T.87 section C.2.3).
const lsMaxComponents = 4

// decodeJPEGLS decodes a codestream of ITU-T T.87, lossless or near-lossless, into
// f.Rows*f.Columns*f.Samples values of 2 to 16 bits: row-major, interleaved by pixel,
// unsigned as in the codestream (a signed sample is not sign-extended). What follows the
// last scan is not read, so that a missing end marker and padding are harmless.
//
// Errors: Invalid with ReasonMismatch if the frame header is not what f declares,
// ReasonTruncated if the data ends before the last sample, else ReasonCodestream.
func decodeJPEGLS(codestream []byte, f Frame) ([]uint16, error) {
	if f.Rows < 1 || f.Columns < 1 || f.Samples < 1 || f.Samples > lsMaxComponents {
		return nil, lsMismatch("Rows, Columns and Samples per Pixel must be positive, of at most 4 samples")
	}
	d := lsDecoder{src: codestream, declared: f}
	if err := d.start(); err != nil {
		return nil, err
	}
	for d.decoded < f.Samples {
		if err := d.segment(); err != nil {
			return nil, err
		}
	}
	return d.out, nil
}

// lsDecoder reads the markers of one codestream.
type lsDecoder struct {
	src      []byte
	at       int // the next byte of src
	declared Frame

	precision int    // bits a sample, 0 before the frame header
	ids       []byte // of the components, in the order of the frame header
	large     [2]int // rows and columns of an LSE of type 4, for a frame header that says 0
	preset    lsPreset
	restart   int // lines in a restart interval, 0 for none

	seen    [lsMaxComponents]bool // the components decoded so far
	decoded int                   // how many they are
	out     []uint16
	scan    *lsScan
}

// lsPreset holds the coding parameters of an LSE segment of type 1; 0 stands for the
// default (T.87 section C.2.4.1.1).
type lsPreset struct{ maxVal, t1, t2, t3, reset int }

func lsMismatch(expected string) error {
	return fault.Reject(lsOp, fault.Invalid, ReasonMismatch, "%s", expected)
}

func lsMalformed(expected string) error {
	return fault.Reject(lsOp, fault.Invalid, ReasonCodestream, "%s", expected)
}

func lsTruncated() error {
	return fault.Reject(lsOp, fault.Invalid, ReasonTruncated, "the JPEG-LS codestream ends too early")
}

const lsOp = "codec.JPEGLS"

func (d *lsDecoder) start() error {
	if len(d.src) < 2 {
		return lsTruncated()
	}
	if d.src[0] != 0xff || d.src[1] != lsSOI {
		return lsMalformed("a JPEG-LS codestream must begin with the marker SOI (T.87 section C.1.1)")
	}
	d.at = 2
	return nil
}

// marker reads the next marker code, behind any fill bytes (T.81 section B.1.1.2).
func (d *lsDecoder) marker() (byte, error) {
	if d.at < len(d.src) && d.src[d.at] != 0xff {
		return 0, lsMalformed("a marker must follow each segment (T.87 section C.1.1)")
	}
	for d.at < len(d.src) {
		c := d.src[d.at]
		d.at++
		if c != 0xff {
			return c, nil
		}
	}
	return 0, lsTruncated()
}

// segment reads one marker segment, with the entropy-coded data behind a scan header.
func (d *lsDecoder) segment() error {
	code, err := d.marker()
	if err != nil {
		return err
	}
	if code == lsEOI {
		return lsMalformed("each component must have a scan before the marker EOI (T.87 section C.1.1)")
	}
	if code < 0xc0 || code >= lsRST0 && code <= lsSOI {
		return lsMalformed("markers outside the data of a scan must start a segment (T.87 section C.1.1)")
	}
	if len(d.src)-d.at < 2 {
		return lsTruncated()
	}
	length := int(binary.BigEndian.Uint16(d.src[d.at:]))
	if length < 2 {
		return lsMalformed("the length of a marker segment must be at least 2 (T.81 section B.1.1.4)")
	}
	if len(d.src)-d.at < length {
		return lsTruncated()
	}
	body := d.src[d.at+2 : d.at+length]
	d.at += length
	switch {
	case code == lsSOF55:
		return d.frameHeader(body)
	case code == lsLSE:
		return d.presets(body)
	case code == lsDRI:
		return d.restartInterval(body)
	case code == lsSOS:
		return d.scanHeader(body)
	case code == lsAPP8 && len(body) == 5 && string(body[:4]) == "mrfx" && body[4] != 0:
		// Without the inverse transform the colours would be silently wrong.
		return lsMalformed("colour transforms of vendors are not part of T.87")
	case code >= lsAPP0 && code <= lsAPP15 || code == lsCOM:
		return nil
	}
	return lsMalformed("the frame header must be SOF55 and only LSE, DRI, SOS, APPn and COM may stand beside it (T.87 section C.1.1)")
}

// frameHeader reads SOF55 (T.87 section C.2.2) and allocates the frame, once it is the
// one that was declared.
func (d *lsDecoder) frameHeader(body []byte) error {
	switch {
	case d.precision != 0:
		return lsMalformed("a codestream must have one frame header (T.87 section C.1.1)")
	case len(body) < 6 || len(body) != 6+3*int(body[5]):
		return lsMalformed("the length of SOF55 must suit its number of components (T.87 section C.2.2)")
	case body[0] < 2 || body[0] > 16:
		return lsMalformed("the precision must be 2 to 16 bits (T.87 section C.2.2)")
	}
	rows, columns := int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	if rows == 0 {
		rows = d.large[0]
	}
	if columns == 0 {
		columns = d.large[1]
	}
	f := d.declared
	if rows != f.Rows || columns != f.Columns {
		return lsMismatch("the size in SOF55 must equal Rows and Columns (T.87 section C.2.2)")
	}
	if int(body[5]) != f.Samples {
		return lsMismatch("the number of components in SOF55 must equal Samples per Pixel (T.87 section C.2.2)")
	}
	if int(body[0]) > f.BitsAllocated {
		return lsMismatch("the precision in SOF55 must not exceed Bits Allocated (T.87 section C.2.2)")
	}
	for i := range f.Samples {
		id, sampling := body[6+3*i], body[7+3*i]
		for _, other := range d.ids {
			if id == other {
				return lsMalformed("the identifiers of the components must differ (T.87 section C.2.2)")
			}
		}
		if f.Samples > 1 && sampling != body[7] {
			return lsMalformed("the components must be sampled alike (T.87 section C.2.2)")
		}
		d.ids = append(d.ids, id)
	}
	// A line takes a bit at least, so that a short codestream cannot claim a huge frame.
	if rows > 8*(len(d.src)-d.at) {
		return lsTruncated()
	}
	d.precision = int(body[0])
	d.out = make([]uint16, rows*columns*f.Samples)
	return nil
}

// presets reads an LSE segment (T.87 section C.2.4).
func (d *lsDecoder) presets(body []byte) error {
	if len(body) == 0 {
		return lsMalformed("an LSE segment must begin with its type (T.87 section C.2.4.1)")
	}
	switch body[0] {
	case 1:
		if len(body) != 11 {
			return lsMalformed("an LSE segment of type 1 must have a length of 13 (T.87 section C.2.4.1.1)")
		}
		value := func(i int) int { return int(binary.BigEndian.Uint16(body[1+2*i:])) }
		d.preset = lsPreset{maxVal: value(0), t1: value(1), t2: value(2), t3: value(3), reset: value(4)}
		return nil
	case 2, 3:
		return lsMalformed("samples must be coded without mapping tables (T.87 section C.2.4.1.2)")
	case 4:
		if len(body) < 2 || body[1] < 2 || body[1] > 4 || len(body) != 2+2*int(body[1]) {
			return lsMalformed("an LSE segment of type 4 must hold two sizes of 2 to 4 bytes (T.87 section C.2.4.1.4)")
		}
		half := int(body[1])
		d.large = [2]int{lsNumber(body[2 : 2+half]), lsNumber(body[2+half:])}
		return nil
	}
	return lsMalformed("the type of an LSE segment must be 1 to 4 (T.87 section C.2.4.1)")
}

// restartInterval reads DRI, whose value has 2 to 4 bytes and counts lines (T.87 section
// C.2.5).
func (d *lsDecoder) restartInterval(body []byte) error {
	if len(body) < 2 || len(body) > 4 {
		return lsMalformed("the restart interval must have 2 to 4 bytes (T.87 section C.2.5)")
	}
	d.restart = lsNumber(body)
	return nil
}

// lsNumber reads a big-endian number of any width.
func lsNumber(b []byte) (n int) {
	for _, c := range b {
		n = n<<8 | int(c)
	}
	return n
}

// scanHeader reads SOS (T.87 section C.2.3) and the data of the scan.
func (d *lsDecoder) scanHeader(body []byte) error {
	if d.precision == 0 {
		return lsMalformed("the frame header must come before the first scan (T.87 section C.1.1)")
	}
	if len(body) < 1 || len(body) != 4+2*int(body[0]) {
		return lsMalformed("the length of SOS must suit its number of components (T.87 section C.2.3)")
	}
	n := int(body[0])
	if n < 1 || n > len(d.ids)-d.decoded {
		return lsMalformed("a scan must hold components that no other holds (T.87 section C.2.3)")
	}
	components := make([]int, 0, lsMaxComponents)
	for i := range n {
		index := -1
		for j, id := range d.ids {
			if id == body[1+2*i] && !d.seen[j] {
				index = j
			}
		}
		if index < 0 {
			return lsMalformed("a scan must hold components of the frame that no other holds (T.87 section C.2.3)")
		}
		if body[2+2*i] != 0 {
			return lsMalformed("samples must be coded without mapping tables (T.87 section C.2.3)")
		}
		d.seen[index] = true
		components = append(components, index)
	}
	near, interleave, transform := int(body[1+2*n]), body[2+2*n], body[3+2*n]
	switch {
	case interleave > lsInterleaveSample || n > 1 && interleave == lsInterleaveNone:
		return lsMalformed("the interleave mode must be 1 or 2 for several components, else 0 (T.87 section C.2.3)")
	case transform != 0:
		return lsMalformed("the point transform must be 0 (T.87 section C.2.3)")
	}
	if d.scan == nil {
		// One buffer serves every scan and interval, each of which is shorter.
		d.scan = &lsScan{words: make([]uint64, lsWords(len(d.src)-d.at))}
	}
	if err := d.scan.configure(d.precision, near, d.preset); err != nil {
		return err
	}
	d.decoded += n
	return d.scanData(components, interleave)
}
