package codec

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
)

// Markers of ITU T.81 table B.1, their second byte.
const (
	jpegSOF0 = 0xC0 // baseline DCT
	jpegSOF2 = 0xC2 // progressive DCT
	jpegSOF3 = 0xC3 // lossless
	jpegDHT  = 0xC4
	jpegJPG  = 0xC8
	jpegDAC  = 0xCC
	jpegSOFF = 0xCF // the last frame header
	jpegRST0 = 0xD0
	jpegRST7 = 0xD7
	jpegSOI  = 0xD8
	jpegEOI  = 0xD9
	jpegSOS  = 0xDA
	jpegDQT  = 0xDB
	jpegDNL  = 0xDC
	jpegDRI  = 0xDD
	jpegDHP  = 0xDE
	jpegEXP  = 0xDF
	jpegAPP0 = 0xE0
	jpegAPPE = 0xEE
	jpegTEM  = 0x01
)

// jpegStream walks the marker segments of one codestream (ITU T.81 annex B) and keeps what
// they define. Scans are decoded by the process's own file; they move pos behind what they
// have read.
type jpegStream struct {
	op       string
	data     []byte
	pos      int
	want     Frame
	lossless bool // SOF3 is taken, else SOF0 to SOF2
	behind   bool // pos stands behind a scan, where unread data may be left

	dc, ac     [4]*jpegHuffman
	quant      [4]*[64]uint16 // natural order
	restart    int            // MCUs in a restart interval, 0 for none
	process    byte           // the marker of the frame header, 0 before it
	precision  int            // bits of a sample
	hmax, vmax int
	comps      []jpegComponent
	scans      int // progressive ones so far
}

// jpegComponent is a component of the frame header (T.81 B.2.2).
type jpegComponent struct {
	id   byte
	h, v int // sampling factors, 1 to 4
	tq   byte
	seen bool // a scan holds it
	dctComponent
}

// jpegScan is a scan header (T.81 B.2.3).
type jpegScan struct {
	parts  []jpegPart
	ss, se int // spectral selection; in the lossless process ss is the predictor
	ah, al int // successive approximation; in the lossless process al is the point transform
}

// jpegPart is a component of a scan: its index in the frame and its tables, nil where none
// was defined.
type jpegPart struct {
	comp   int
	dc, ac *jpegHuffman
}

// openJPEG checks that codestream starts like one.
func openJPEG(op string, codestream []byte, f Frame, lossless bool) (*jpegStream, error) {
	s := &jpegStream{op: op, data: codestream, want: f, lossless: lossless}
	marker, err := s.marker()
	if err != nil {
		return nil, err
	}
	if marker != jpegSOI {
		return nil, s.malformed("a JPEG codestream must start with an SOI marker (ITU T.81 B.2.1)")
	}
	return s, nil
}

// marker reads the next marker. Fill bytes 0xFF may stand before it (T.81 B.1.1.2), and
// behind a scan any rest of the entropy-coded data.
func (s *jpegStream) marker() (byte, error) {
	for s.behind && s.pos+1 < len(s.data) && (s.data[s.pos] != 0xFF || s.data[s.pos+1] == 0) {
		s.pos++
	}
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] == 0xFF {
		s.pos++
	}
	switch {
	case s.pos >= len(s.data) || s.behind && s.pos == start:
		return 0, s.truncated()
	case s.pos == start || s.data[s.pos] == 0:
		return 0, s.malformed("a marker must follow each marker segment (ITU T.81 B.1.1)")
	}
	s.behind = false
	s.pos++
	return s.data[s.pos-1], nil
}

// segment reads the length and the parameters of a marker segment.
func (s *jpegStream) segment() ([]byte, error) {
	if s.pos+2 > len(s.data) {
		return nil, s.truncated()
	}
	n := int(binary.BigEndian.Uint16(s.data[s.pos:]))
	if n < 2 {
		return nil, s.malformed("the length of a marker segment must be at least 2 (ITU T.81 B.1.1.4)")
	}
	if s.pos+n > len(s.data) {
		return nil, s.truncated()
	}
	p := s.data[s.pos+2 : s.pos+n]
	s.pos += n
	return p, nil
}

// nextScan reads segments up to the next scan header, behind which pos stands then. It
// returns nil at the end of the image.
func (s *jpegStream) nextScan() (*jpegScan, error) {
	for {
		marker, err := s.marker()
		if err != nil {
			return nil, err
		}
		switch {
		case marker == jpegEOI:
			return nil, nil
		case marker == jpegTEM || marker >= jpegRST0 && marker <= jpegRST7:
			continue // stand alone
		case marker == jpegSOI || marker == jpegDNL || marker == jpegDHP || marker == jpegEXP || marker == jpegDAC || marker == jpegJPG:
			return nil, s.malformed("the codestream must hold one image that is not hierarchical, with Huffman codes and no DNL segment (ITU T.81 B.2.1)")
		}
		p, err := s.segment()
		if err != nil {
			return nil, err
		}
		switch {
		case marker == jpegDHT:
			err = s.huffmanTables(p)
		case marker == jpegDQT:
			err = s.quantTables(p)
		case marker == jpegDRI:
			if len(p) != 2 {
				return nil, s.malformed("a DRI segment must be 4 bytes long (ITU T.81 B.2.4.4)")
			}
			s.restart = int(binary.BigEndian.Uint16(p))
		case marker >= jpegSOF0 && marker <= jpegSOFF:
			err = s.frameHeader(marker, p)
		case marker == jpegSOS:
			return s.scanHeader(p)
		}
		if err != nil {
			return nil, err
		}
	}
}

// JPEGColor returns what the three components of a DCT codestream are, as libjpeg tells it:
// YBR_FULL where there is a JFIF marker, else what an Adobe marker says, else RGB where the
// components are called so. It returns "" where nothing says it.
func JPEGColor(codestream []byte) string {
	s := &jpegStream{data: codestream}
	color := ""
	for {
		marker, err := s.marker()
		if err != nil {
			return color
		}
		if marker == jpegSOI || marker == jpegTEM {
			continue
		}
		p, err := s.segment()
		switch {
		case err != nil:
			return color
		case marker == jpegAPP0 && bytes.HasPrefix(p, []byte("JFIF\x00")):
			return "YBR_FULL"
		case marker == jpegAPPE && len(p) >= 12 && bytes.HasPrefix(p, []byte("Adobe")):
			if color = "YBR_FULL"; p[11] == 0 { // its transform
				color = "RGB"
			}
		case marker >= jpegSOF0 && marker <= jpegSOF2:
			if color == "" && len(p) == 15 && strings.EqualFold(string([]byte{p[6], p[9], p[12]}), "RGB") {
				color = "RGB"
			}
			return color
		}
	}
}

// frameHeader reads a frame header (T.81 B.2.2) and compares it with what is declared.
func (s *jpegStream) frameHeader(marker byte, p []byte) error {
	switch {
	case s.lossless && marker != jpegSOF3:
		return s.malformed("the frame must be coded by the lossless process with Huffman codes, SOF3 (ITU T.81 annex H)")
	case !s.lossless && marker > jpegSOF2:
		return s.malformed("the frame must be coded by a DCT process with Huffman codes, SOF0 to SOF2 (ITU T.81 annexes F and G)")
	case s.process != 0:
		return s.malformed("the image must have one frame header (ITU T.81 B.2.1)")
	case len(p) < 6 || len(p) != 6+3*int(p[5]):
		return s.malformed("a frame header must be 8 bytes and 3 for each component long (ITU T.81 B.2.2)")
	}
	s.process, s.precision = marker, int(p[0])
	rows, columns, n := int(binary.BigEndian.Uint16(p[1:])), int(binary.BigEndian.Uint16(p[3:])), int(p[5])
	switch {
	case rows != s.want.Rows || columns != s.want.Columns || rows == 0 || columns == 0:
		return s.mismatch("the size in the JPEG frame header must be Rows and Columns (PS3.5 8.2.1)")
	case n != s.want.Samples || n == 0:
		return s.mismatch("the JPEG frame header must have as many components as Samples per Pixel (PS3.5 8.2.1)")
	case s.precision > s.want.BitsAllocated:
		return s.mismatch("the precision in the JPEG frame header must be at most Bits Allocated (PS3.5 8.2.1)")
	case s.lossless && (s.precision < 2 || s.precision > 16):
		return s.malformed("the precision of a lossless frame must be 2 to 16 bits (ITU T.81 B.2.2)")
	case !s.lossless && s.precision != 8 && s.precision != 12:
		return s.malformed("the precision of a DCT frame must be 8 or 12 bits (ITU T.81 B.2.2)")
	}
	s.comps = make([]jpegComponent, n)
	for i := range s.comps {
		q := p[6+3*i:]
		c := jpegComponent{id: q[0], h: int(q[1] >> 4), v: int(q[1] & 15), tq: q[2]}
		for _, other := range s.comps[:i] {
			if other.id == c.id {
				return s.malformed("the components of a frame must have different identifiers (ITU T.81 B.2.2)")
			}
		}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return s.malformed("sampling factors must be 1 to 4 and quantization tables 0 to 3 (ITU T.81 B.2.2)")
		}
		s.hmax, s.vmax = max(s.hmax, c.h), max(s.vmax, c.v)
		s.comps[i] = c
	}
	return nil
}

// scanHeader reads a scan header (T.81 B.2.3).
func (s *jpegStream) scanHeader(p []byte) (*jpegScan, error) {
	switch {
	case s.process == 0:
		return nil, s.malformed("a frame header must stand before the first scan (ITU T.81 B.2.1)")
	case len(p) < 1 || len(p) != 4+2*int(p[0]) || p[0] < 1 || p[0] > 4:
		return nil, s.malformed("a scan header must name 1 to 4 components and be 6 bytes and 2 for each long (ITU T.81 B.2.3)")
	}
	n := int(p[0])
	scan := &jpegScan{parts: make([]jpegPart, n)}
	last := -1
	for i := range scan.parts {
		id, tables := p[1+2*i], p[2+2*i]
		at := last + 1
		for at < len(s.comps) && s.comps[at].id != id {
			at++
		}
		if at == len(s.comps) || tables>>4 > 3 || tables&15 > 3 {
			return nil, s.malformed("a scan must name components in the order of the frame header, and tables 0 to 3 (ITU T.81 B.2.3)")
		}
		last = at
		scan.parts[i] = jpegPart{comp: at, dc: s.dc[tables>>4], ac: s.ac[tables&15]}
	}
	q := p[1+2*n:]
	scan.ss, scan.se, scan.ah, scan.al = int(q[0]), int(q[1]), int(q[2]>>4), int(q[2]&15)
	return scan, nil
}

// quantTables reads a DQT segment (T.81 B.2.4.1).
func (s *jpegStream) quantTables(p []byte) error {
	for len(p) > 0 {
		wide, to := int(p[0]>>4), p[0]&15
		size := 64 * (wide + 1)
		if wide > 1 || to > 3 || len(p) < 1+size {
			return s.malformed("a quantization table must hold 64 values of 8 or 16 bits for destination 0 to 3 (ITU T.81 B.2.4.1)")
		}
		t := new([64]uint16)
		for k, at := range jpegZigzag {
			if wide == 1 {
				t[at] = binary.BigEndian.Uint16(p[1+2*k:])
			} else {
				t[at] = uint16(p[1+k])
			}
		}
		s.quant[to], p = t, p[1+size:]
	}
	return nil
}

func (s *jpegStream) truncated() error {
	return fault.Reject(s.op, fault.Invalid, ReasonTruncated, "the JPEG codestream must hold all scans up to its EOI marker, and ends too early (ITU T.81 B.2.1)")
}

func (s *jpegStream) malformed(form string) error {
	return fault.Reject(s.op, fault.Invalid, ReasonCodestream, "%s", form)
}

func (s *jpegStream) mismatch(form string) error {
	return fault.Reject(s.op, fault.Invalid, ReasonMismatch, "%s", form)
}

// jpegZigzag is the natural position of each coefficient of the zig-zag order (T.81 A.3.6).
var jpegZigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
}
