package jpeg2000

import (
	"bytes"
	"encoding/binary"
)

// Marker codes of T.800 table A.2 and T.814 Annex A.
const (
	markSOC = 0xff4f
	markCAP = 0xff50
	markSIZ = 0xff51
	markCOD = 0xff52
	markCOC = 0xff53
	markQCD = 0xff5c
	markQCC = 0xff5d
	markRGN = 0xff5e
	markPOC = 0xff5f
	markPPM = 0xff60
	markPPT = 0xff61
	markSOT = 0xff90
	markSOP = 0xff91
	markEPH = 0xff92
	markSOD = 0xff93
	markEOC = 0xffd9
)

// Code-block styles, T.800 table A.19 and T.814 table A.4.
const (
	styleBypass   = 1 << 0
	styleReset    = 1 << 1
	styleTermAll  = 1 << 2
	styleCausal   = 1 << 3
	stylePredTerm = 1 << 4
	styleSegSym   = 1 << 5
	styleHT       = 1 << 6
	styleHTMixed  = 1 << 7
)

// maxLevels is the most decomposition levels of T.800 table A.15.
const maxLevels = 32

// header is the main header: the picture of SIZ (T.800 A.5.1) and the defaults of all tiles.
type header struct {
	x0, y0, x1, y1         int // the image area on the reference grid
	tx0, ty0, tileW, tileH int // the tile grid
	tilesX, tilesY         int
	components, precision  int
	signed                 bool
	defaults               params
}

// params is what COD, COC, QCD, QCC, RGN and POC say, for the picture or for one tile.
type params struct {
	progression      uint8
	layers           int
	colour, sop, eph bool
	comps            []compParams
	changes          []change
}

type compParams struct {
	coding              coding
	quant               quant
	roiShift            int
	ownCoding, ownQuant bool // from COC, QCC: COD, QCD of the same header do not overwrite it
	hasCoding, hasQuant bool
}

// coding is SPcod or SPcoc, T.800 table A.15.
type coding struct {
	levels     int
	xcb, ycb   int // log2 of the nominal code-block size
	style      uint8
	reversible bool
	ppx, ppy   [maxLevels + 1]uint8 // log2 of the precinct size, by resolution
}

// quant is SPqcd or SPqcc, T.800 table A.27. Step i is that of subband i, counted from LL.
type quant struct {
	style int // 0 none, 1 derived from LL, 2 expounded
	guard int
	steps [3*maxLevels + 1]uint16 // exponent in bits 11 to 15, mantissa in 0 to 10
	count int
}

// change is one progression of POC, T.800 A.6.6; ends are exclusive.
type change struct {
	res0, res1, comp0, comp1, layers int
	progression                      uint8
}

// unbox returns the contiguous codestream: data itself, or the jp2c box of a JP2 file
// (T.800 I.5.4).
func unbox(data []byte) ([]byte, error) {
	signature := []byte("\x00\x00\x00\x0cjP  ")
	if len(data) > 0 && bytes.HasPrefix(signature, data) {
		return nil, truncated("the signature of the JP2 file (T.800 I.5.1)")
	}
	if !bytes.HasPrefix(data, signature) {
		return data, nil
	}
	for len(data) >= 8 {
		size, kind, head := uint64(binary.BigEndian.Uint32(data)), string(data[4:8]), 8
		switch {
		case size == 1 && len(data) >= 16:
			size, head = binary.BigEndian.Uint64(data[8:]), 16
		case size == 0: // to the end of the file
			size = uint64(len(data))
		}
		if size < uint64(head) {
			return nil, malformed("a JP2 box must be at least as long as its own header (T.800 I.4)")
		}
		if kind == "jp2c" { // its end is checked where its packets are
			return data[head:min(size, uint64(len(data)))], nil
		}
		if size > uint64(len(data)) {
			break
		}
		data = data[size:]
	}
	return nil, truncated("the jp2c box of the JP2 file (T.800 I.5.4)")
}

// segment splits the marker segment at the start of data into its code and its content, and
// returns what follows it. SOC, SOD, EOC and EPH have no content and are not asked for here.
func segment(data []byte) (code int, content, rest []byte, err error) {
	if len(data) < 2 {
		return 0, nil, nil, truncated("the next marker of a header (T.800 A.1)")
	}
	code = int(binary.BigEndian.Uint16(data))
	if code < 0xff00 {
		return 0, nil, nil, malformed("a marker must begin with an 0xFF byte (T.800 A.1)")
	}
	if code >= 0xff30 && code <= 0xff3f || code == markSOD { // no parameters, T.800 table A.1
		return code, nil, data[2:], nil
	}
	if len(data) < 4 {
		return 0, nil, nil, truncated("the length of a marker segment (T.800 A.1)")
	}
	n := int(binary.BigEndian.Uint16(data[2:]))
	if n < 2 {
		return 0, nil, nil, malformed("a marker segment must be at least two bytes long (T.800 A.1)")
	}
	if len(data) < 2+n {
		return 0, nil, nil, truncated("the end of a marker segment (T.800 A.1)")
	}
	return code, data[4 : 2+n], data[2+n:], nil
}

// readMainHeader reads from SOC up to the first SOT, which begins the data it returns.
func readMainHeader(data []byte, limit Limits) (*header, []byte, error) {
	if len(data) < 2 {
		return nil, nil, truncated("its SOC marker (T.800 A.4.1)")
	}
	if binary.BigEndian.Uint16(data) != markSOC {
		return nil, nil, malformed("a JPEG 2000 codestream must begin with the SOC marker (T.800 A.4.1)")
	}
	code, content, data, err := segment(data[2:])
	if err != nil {
		return nil, nil, err
	}
	if code != markSIZ {
		return nil, nil, malformed("the SIZ marker segment must follow SOC (T.800 A.5.1)")
	}
	h, err := readSIZ(content, limit)
	if err != nil {
		return nil, nil, err
	}
	for {
		if len(data) >= 2 && binary.BigEndian.Uint16(data) == markSOT {
			break
		}
		if code, content, data, err = segment(data); err != nil {
			return nil, nil, err
		}
		switch code {
		case markSOD, markEOC, markSIZ, markPPT:
			return nil, nil, malformed("the main header must run up to the first SOT marker (T.800 A.3)")
		case markCAP:
			err = readCAP(content)
		default:
			err = h.defaults.read(code, content)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	for _, c := range h.defaults.comps {
		if !c.hasCoding || !c.hasQuant {
			return nil, nil, malformed("the main header must hold COD and QCD (T.800 A.6.1, A.6.4)")
		}
	}
	return h, data, nil
}

func readSIZ(b []byte, limit Limits) (*header, error) {
	if len(b) < 36 {
		return nil, malformed("the SIZ marker segment must hold 36 bytes and three for each component (T.800 A.5.1)")
	}
	u32 := func(i int) int { return int(binary.BigEndian.Uint32(b[i:])) }
	h := &header{
		x1: u32(2), y1: u32(6), x0: u32(10), y0: u32(14),
		tileW: u32(18), tileH: u32(22), tx0: u32(26), ty0: u32(30),
		components: int(binary.BigEndian.Uint16(b[34:])),
	}
	switch {
	case h.x0 >= h.x1 || h.y0 >= h.y1:
		return nil, malformed("the image area must not be empty (T.800 B.2)")
	case h.x1-h.x0 != limit.Columns || h.y1-h.y0 != limit.Rows:
		return nil, mismatch("the image area of SIZ must equal Rows and Columns (T.800 A.5.1)")
	case h.components != limit.Components:
		return nil, mismatch("the components of SIZ must equal Samples per Pixel (T.800 A.5.1)")
	case len(b) != 36+3*h.components || h.components == 0:
		return nil, malformed("SIZ must describe each of its components, at least one (T.800 A.5.1)")
	case h.tileW == 0 || h.tileH == 0 || h.tx0 > h.x0 || h.ty0 > h.y0 || h.tx0+h.tileW <= h.x0 || h.ty0+h.tileH <= h.y0:
		return nil, malformed("the first tile must overlap the image area (T.800 B.3)")
	}
	for c := range h.components {
		d := b[36+3*c:]
		if d[1] != 1 || d[2] != 1 {
			return nil, unsupported("the components must not be subsampled: XRsiz and YRsiz must be 1 (T.800 A.5.1)")
		}
		precision, signed := int(d[0]&0x7f)+1, d[0]&0x80 != 0
		if c == 0 {
			h.precision, h.signed = precision, signed
		}
		if precision != h.precision || signed != h.signed {
			return nil, unsupported("all components must have one precision and sign (T.800 A.5.1)")
		}
	}
	if h.precision > 16 {
		return nil, unsupported("samples must have at most 16 bits (PS3.5 8.2.4)")
	}
	h.tilesX = (h.x1 - h.tx0 + h.tileW - 1) / h.tileW
	h.tilesY = (h.y1 - h.ty0 + h.tileH - 1) / h.tileH
	if h.tilesX > 65535/h.tilesY {
		return nil, malformed("there must be at most 65535 tiles (T.800 A.5.1)")
	}
	h.defaults.comps = make([]compParams, h.components)
	return h, nil
}

// readCAP takes the capabilities of T.814 and no others of T.800 A.5.2.
func readCAP(b []byte) error {
	if len(b) < 4 {
		return malformed("the CAP marker segment must hold at least four bytes (T.800 A.5.2)")
	}
	const part15 = 1 << (32 - 15)
	if binary.BigEndian.Uint32(b)&^part15 != 0 {
		return unsupported("the codestream may use the extension of T.814 and no other (T.800 A.5.2)")
	}
	return nil
}

// read takes one marker segment of a main or first tile-part header.
func (p *params) read(code int, b []byte) error {
	switch code {
	case markCOD:
		return p.readCOD(b)
	case markCOC:
		c, b, err := p.component(b)
		if err != nil || len(b) < 1 {
			return orMalformed(err, "COC must hold a component and its coding style (T.800 A.6.2)")
		}
		if err := c.coding.read(b[0]&1 != 0, b[1:]); err != nil {
			return err
		}
		c.ownCoding, c.hasCoding = true, true
	case markQCD:
		var q quant
		if err := q.read(b); err != nil {
			return err
		}
		for i := range p.comps {
			if c := &p.comps[i]; !c.ownQuant {
				c.quant, c.hasQuant = q, true
			}
		}
	case markQCC:
		c, b, err := p.component(b)
		if err != nil {
			return err
		}
		if err := c.quant.read(b); err != nil {
			return err
		}
		c.ownQuant, c.hasQuant = true, true
	case markRGN:
		c, b, err := p.component(b)
		if err != nil || len(b) != 2 || b[0] != 0 {
			return orMalformed(err, "RGN must hold a component, style 0 and a shift (T.800 A.6.3)")
		}
		c.roiShift = int(b[1])
	case markPOC:
		return p.readPOC(b)
	case markPPM, markPPT:
		return unsupported("packet headers must stand in the packets, not in PPM or PPT (T.800 A.7.4)")
	}
	return nil // COM, TLM, PLM, PLT, CRG and what later parts define: nothing that decoding needs
}

// component reads the component index that COC, QCC and RGN begin with.
func (p *params) component(b []byte) (*compParams, []byte, error) {
	i, n := 0, 1
	if len(p.comps) > 256 {
		n = 2
	}
	if len(b) < n {
		return nil, nil, malformed("COC, QCC and RGN must begin with a component (T.800 A.6)")
	}
	for _, v := range b[:n] {
		i = i<<8 | int(v)
	}
	if i >= len(p.comps) {
		return nil, nil, malformed("COC, QCC and RGN must name a component of SIZ (T.800 A.6)")
	}
	return &p.comps[i], b[n:], nil
}

func orMalformed(err error, what string) error {
	if err != nil {
		return err
	}
	return malformed(what)
}

func (p *params) readCOD(b []byte) error {
	if len(b) < 5 {
		return malformed("COD must hold its style, SGcod and SPcod (T.800 A.6.1)")
	}
	p.sop, p.eph = b[0]&2 != 0, b[0]&4 != 0
	p.progression = b[1]
	p.layers = int(binary.BigEndian.Uint16(b[2:]))
	p.colour = b[4] == 1
	if p.progression > progCPRL || p.layers == 0 || b[4] > 1 {
		return malformed("SGcod must hold a progression, layers and a colour transform of T.800 table A.14")
	}
	var c coding
	if err := c.read(b[0]&1 != 0, b[5:]); err != nil {
		return err
	}
	for i := range p.comps {
		if d := &p.comps[i]; !d.ownCoding {
			d.coding, d.hasCoding = c, true
		}
	}
	return nil
}

func (c *coding) read(precincts bool, b []byte) error {
	if len(b) < 5 {
		return malformed("SPcod must hold at least five bytes (T.800 table A.15)")
	}
	*c = coding{levels: int(b[0]), xcb: int(b[1]) + 2, ycb: int(b[2]) + 2, style: b[3], reversible: b[4] == 1}
	switch {
	case c.levels > maxLevels || c.xcb > 10 || c.ycb > 10 || c.xcb+c.ycb > 12 || b[4] > 1:
		return malformed("SPcod must hold levels, a code-block size and a wavelet of T.800 table A.15")
	case c.style&styleHTMixed != 0:
		return unsupported("code-blocks must be all HT or none (T.814 A.4)")
	case c.style&styleHT != 0 && c.style&^(styleHT|styleCausal) != 0:
		return malformed("HT code-blocks may only be vertically causal besides (T.814 A.4)")
	case precincts && len(b) != 6+c.levels || !precincts && len(b) != 5:
		return malformed("SPcod must hold a precinct size for each resolution level, or none (T.800 table A.15)")
	}
	for r := range c.levels + 1 {
		c.ppx[r], c.ppy[r] = 15, 15
		if precincts {
			c.ppx[r], c.ppy[r] = b[5+r]&15, b[5+r]>>4
			if r > 0 && (c.ppx[r] == 0 || c.ppy[r] == 0) {
				return malformed("a precinct above the lowest resolution must be at least 2 wide and high (T.800 B.6)")
			}
		}
	}
	return nil
}

func (q *quant) read(b []byte) error {
	if len(b) < 1 {
		return malformed("QCD and QCC must hold a quantization style (T.800 A.6.4)")
	}
	*q = quant{style: int(b[0] & 31), guard: int(b[0] >> 5)}
	b = b[1:]
	width := 2
	if q.style == 0 {
		width = 1
	}
	if q.style > 2 || len(b) == 0 || len(b)%width != 0 || q.style == 1 && len(b) != 2 {
		return malformed("QCD and QCC must hold a style and steps of T.800 table A.27")
	}
	q.count = min(len(b)/width, len(q.steps)) // more than any picture has bands: unused
	for i := range q.count {
		if width == 1 {
			q.steps[i] = uint16(b[i]>>3) << 11
		} else {
			q.steps[i] = binary.BigEndian.Uint16(b[2*i:])
		}
	}
	return nil
}

func (p *params) readPOC(b []byte) error {
	n, wide := 7, len(p.comps) > 256
	if wide {
		n = 9
	}
	if len(b) == 0 || len(b)%n != 0 {
		return malformed("POC must hold whole progressions (T.800 A.6.6)")
	}
	for ; len(b) > 0; b = b[n:] {
		c := change{
			res0: int(b[0]), comp0: int(b[1]), layers: int(binary.BigEndian.Uint16(b[2:])),
			res1: int(b[4]), comp1: int(b[5]), progression: b[6],
		}
		if wide {
			c = change{
				res0: int(b[0]), comp0: int(binary.BigEndian.Uint16(b[1:])), layers: int(binary.BigEndian.Uint16(b[3:])),
				res1: int(b[5]), comp1: int(binary.BigEndian.Uint16(b[6:])), progression: b[8],
			}
		}
		if c.comp1 == 0 { // 256 does not fit in the byte, T.800 table A.32
			c.comp1 = 256
		}
		if c.progression > progCPRL {
			return malformed("POC must hold a progression of T.800 table A.16")
		}
		if p.changes = append(p.changes, c); len(p.changes) > 1024 {
			return unsupported("a tile must have at most 1024 progressions in POC (T.800 A.6.6)")
		}
	}
	return nil
}
