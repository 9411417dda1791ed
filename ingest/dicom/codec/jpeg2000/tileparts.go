package jpeg2000

import (
	"bytes"
	"encoding/binary"
)

// tileData is one tile as the codestream holds it: its parameters, and the packets of its
// tile-parts.
type tileData struct {
	params *params // the header's own where the tile changes nothing
	parts  [][]byte
	count  int // tile-parts so far

	ownChanges bool // whether a tile-part header held POC
}

// readTileParts reads every tile-part from the first SOT on (T.800 A.4.2).
func readTileParts(h *header, data []byte) ([]tileData, error) {
	const sotLength = 12
	n := h.tilesX * h.tilesY
	if n > len(data)/sotLength { // before the tiles are allocated
		return nil, truncated("the tile-parts of every tile (T.800 A.4.2)")
	}
	tiles := make([]tileData, n)
	for {
		if len(data) < 2 || binary.BigEndian.Uint16(data) == markEOC {
			break
		}
		if binary.BigEndian.Uint16(data) != markSOT {
			if len(bytes.TrimLeft(data, "\x00")) == 0 { // padding, and no EOC
				break
			}
			return nil, malformed("a tile-part must be followed by SOT or EOC (T.800 A.4.2)")
		}
		if len(data) < sotLength {
			return nil, truncated("the end of a SOT marker segment (T.800 A.4.2)")
		}
		index, length := int(binary.BigEndian.Uint16(data[4:])), int(binary.BigEndian.Uint32(data[6:]))
		if length == 0 { // the last tile-part runs to EOC
			length = len(data)
		}
		switch {
		case binary.BigEndian.Uint16(data[2:]) != 10 || length < sotLength+2 || index >= n:
			return nil, malformed("SOT must name a tile of SIZ and the length of its tile-part (T.800 A.4.2)")
		case int(data[10]) != tiles[index].count%256:
			return nil, malformed("the tile-parts of a tile must be in order (T.800 A.4.2)")
		case length > len(data):
			return nil, truncated("the end of a tile-part (T.800 A.4.2)")
		}
		if err := tiles[index].add(h, data[sotLength:length]); err != nil {
			return nil, err
		}
		data = data[length:]
	}
	for i := range tiles {
		if tiles[i].count == 0 {
			return nil, truncated("the tile-parts of every tile (T.800 A.4.2)")
		}
	}
	return tiles, nil
}

// add reads a tile-part header after SOT, and keeps the packets after SOD.
func (t *tileData) add(h *header, b []byte) error {
	first := t.count == 0
	t.count++
	if t.params == nil {
		t.params = &h.defaults
	}
	for {
		code, content, rest, err := segment(b)
		if err != nil {
			return err
		}
		b = rest
		switch code {
		case markSOD:
			t.parts = append(t.parts, b)
			return nil
		case markCOD, markCOC, markQCD, markQCC, markRGN, markPOC, markPPT:
			if !first && code != markPOC && code != markPPT {
				return malformed("only the first tile-part of a tile may hold COD, COC, QCD, QCC and RGN (T.800 A.4.2)")
			}
			if t.params == &h.defaults {
				t.params = h.defaults.clone()
			}
			if code == markPOC && !t.ownChanges {
				t.params.changes, t.ownChanges = nil, true // POC of the main header is overridden, T.800 A.6.6
			}
			if err := t.params.read(code, content); err != nil {
				return err
			}
		case markSOC, markSIZ, markSOT, markEOC, markPPM, markCAP:
			return malformed("a tile-part header must run up to SOD (T.800 A.3)")
		}
	}
}

// clone copies the defaults for a tile whose own markers overwrite them.
func (p *params) clone() *params {
	q := *p
	q.comps = make([]compParams, len(p.comps))
	copy(q.comps, p.comps)
	for i := range q.comps {
		q.comps[i].ownCoding, q.comps[i].ownQuant = false, false
	}
	q.changes = append([]change(nil), p.changes...)
	return &q
}
