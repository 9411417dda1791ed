package jpeg2000

// tile is one tile laid out as T.800 Annex B says. All coordinates are on the grid of what
// they belong to: the reference grid, a resolution level or a subband.
type tile struct {
	params         *params
	x0, y0, x1, y1 int
	comps          []tileComponent
	precincts      []*precinct // all of them
}

type tileComponent struct {
	params      *compParams
	resolutions []resolution
}

// resolution is one resolution level: level 0 has the LL band alone, the others HL, LH, HH.
type resolution struct {
	x0, y0, x1, y1 int
	bands          []band
}

// Orientations of a subband.
const (
	bandLL = iota
	bandHL // horizontally high-pass
	bandLH
	bandHH
)

// band is one subband.
type band struct {
	orient         int
	x0, y0, x1, y1 int
	planes         int      // magnitude bit-planes, M_b of T.800 equation E-2
	step           float32  // quantization step, for floats
	blocks         []*block // once the packets are read
}

func (b *band) width() int { return b.x1 - b.x0 }

// precinct is one precinct of a resolution level. x, y is where on the reference grid the
// position progressions reach it (T.800 B.12.1.3).
type precinct struct {
	x, y      int
	comp, res int
	index     int // raster index in its resolution
	layers    int // read so far
	bands     []precinctBand
}

// precinctBand is the part of a precinct in one subband.
type precinctBand struct {
	band      *band
	across    int // code-blocks in a row
	blocks    []block
	inclusion tagTree
	zeros     tagTree
}

// block is a code-block: its place in the band, and what the packets said of it.
type block struct {
	x0, y0, x1, y1 int32
	included       bool
	zeroPlanes     uint8 // missing most significant bit-planes
	lengthBits     uint8 // Lblock of T.800 B.10.7.1
	passes         int16
	segments       []codeSegment
}

// codeSegment is one terminated codeword segment of a code-block.
type codeSegment struct {
	passes, most int16
	data         []byte
	more         [][]byte // of later layers
}

// budget bounds what layout may allocate by the samples of the tile, and by its bytes. Encoders
// use code-blocks of 32x32 or 64x64 samples; smaller ones are taken while they are few.
type budget struct{ precincts, blocks, packets int }

func (b *budget) take(precincts, blocks int) error {
	b.precincts -= precincts
	b.blocks -= blocks
	b.packets -= precincts
	switch {
	case b.precincts < 0 || b.blocks < 0:
		return unsupported("a tile must have at most 16,384 precincts and 65,536 code-blocks, and one more of each for 64 samples (T.800 B.6, B.7)")
	case b.packets < 0: // a packet has at least a byte
		return truncated("the packets of every layer, resolution, component and precinct (T.800 B.12)")
	}
	return nil
}

const (
	somePrecincts = 16 << 10
	someBlocks    = 64 << 10
	samplesEach   = 64
)

// layout lays out tile number i of h. packetBytes is what all packets have.
func layout(h *header, i int, p *params, packetBytes int) (*tile, error) {
	left, top := h.tx0+i%h.tilesX*h.tileW, h.ty0+i/h.tilesX*h.tileH
	t := &tile{
		params: p,
		x0:     max(left, h.x0), y0: max(top, h.y0),
		x1: min(left+h.tileW, h.x1), y1: min(top+h.tileH, h.y1),
		comps: make([]tileComponent, len(p.comps)),
	}
	samples := (t.x1 - t.x0) * (t.y1 - t.y0) * len(p.comps)
	limit := &budget{
		precincts: somePrecincts + samples/samplesEach, blocks: someBlocks + samples/samplesEach, packets: packetBytes / max(1, p.layers),
	}
	for c := range t.comps {
		if err := t.layoutComponent(h, c, limit); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *tile) layoutComponent(h *header, c int, limit *budget) error {
	comp := &t.params.comps[c]
	coding := &comp.coding
	tc := &t.comps[c]
	tc.params = comp
	tc.resolutions = make([]resolution, coding.levels+1)
	for r := range tc.resolutions {
		down := coding.levels - r
		res := &tc.resolutions[r]
		res.x0, res.y0 = ceilShift(t.x0, down), ceilShift(t.y0, down)
		res.x1, res.y1 = ceilShift(t.x1, down), ceilShift(t.y1, down)
		orients := []int{bandHL, bandLH, bandHH}
		if r == 0 {
			orients = []int{bandLL}
		}
		res.bands = make([]band, len(orients))
		for i, orient := range orients {
			b := &res.bands[i]
			b.orient = orient
			b.place(t, coding.levels, r)
			if err := b.quantize(comp, r, h.precision); err != nil {
				return err
			}
		}
		if err := t.layoutPrecincts(c, r, limit); err != nil {
			return err
		}
	}
	return nil
}

// place sets the bounds of a band of resolution r (T.800 equation B-15).
func (b *band) place(t *tile, levels, r int) {
	down, ox, oy := levels, 0, 0
	if r > 0 {
		down = levels - r + 1
		ox, oy = b.orient&1<<(down-1), b.orient>>1<<(down-1)
	}
	b.x0, b.x1 = bandEdge(t.x0, ox, down), bandEdge(t.x1, ox, down)
	b.y0, b.y1 = bandEdge(t.y0, oy, down), bandEdge(t.y1, oy, down)
}

func bandEdge(v, offset, down int) int { return max(0, ceilShift(max(0, v-offset), down)) }

// quantize sets the bit-planes and the step of a band of resolution r (T.800 E.1).
func (b *band) quantize(c *compParams, r, precision int) error {
	q := &c.quant
	index := 0
	if r > 0 {
		index = 3*(r-1) + b.orient
	}
	var exponent, mantissa int
	switch {
	case q.style == 1: // derived from LL, equation E-5
		exponent, mantissa = int(q.steps[0]>>11)-max(0, r-1), int(q.steps[0]&0x7ff)
	case index < q.count:
		exponent, mantissa = int(q.steps[index]>>11), int(q.steps[index]&0x7ff)
	default:
		return malformed("QCD or QCC must hold a step for each subband (T.800 A.6.4)")
	}
	if c.coding.reversible && q.style != 0 {
		return malformed("the reversible wavelet takes no quantization (T.800 A.6.4)")
	}
	b.planes = max(0, q.guard+exponent-1)
	if b.planes+c.roiShift > 30 {
		return unsupported("a subband must have at most 30 magnitude bit-planes, shift included (T.800 E.1, H.1)")
	}
	gain := b.orient&1 + b.orient>>1 // log2, table E.1
	b.step = float32(1+float64(mantissa)/2048) * powerOfTwo(precision+gain-exponent)
	return nil
}

func powerOfTwo(n int) float32 {
	v := float32(1)
	for ; n > 0; n-- {
		v *= 2
	}
	for ; n < 0; n++ {
		v /= 2
	}
	return v
}

// layoutPrecincts divides resolution r of component c into precincts and code-blocks
// (T.800 B.6, B.7).
func (t *tile) layoutPrecincts(c, r int, limit *budget) error {
	coding := &t.comps[c].params.coding
	res := &t.comps[c].resolutions[r]
	if res.x0 >= res.x1 || res.y0 >= res.y1 {
		return nil
	}
	ppx, ppy, down := int(coding.ppx[r]), int(coding.ppy[r]), coding.levels-r
	px0, py0 := res.x0>>ppx, res.y0>>ppy
	across, rows := ceilShift(res.x1, ppx)-px0, ceilShift(res.y1, ppy)-py0
	if across > limit.precincts || rows > limit.precincts {
		return limit.take(limit.precincts+1, 0)
	}
	if err := limit.take(across*rows, 0); err != nil {
		return err
	}
	if r > 0 { // from here on, the size in a band
		ppx, ppy = ppx-1, ppy-1
	}
	xcb, ycb := min(coding.xcb, ppx), min(coding.ycb, ppy)
	list := make([]precinct, across*rows)
	for i := range list {
		p := &list[i]
		px, py := px0+i%across, py0+i/across
		p.comp, p.res, p.index = c, r, i
		p.x = max(t.x0, px<<(int(coding.ppx[r])+down))
		p.y = max(t.y0, py<<(int(coding.ppy[r])+down))
		p.bands = make([]precinctBand, len(res.bands))
		for j := range p.bands {
			b := &res.bands[j]
			p.bands[j].band = b
			x0, x1 := max(b.x0, px<<ppx), min(b.x1, (px+1)<<ppx)
			y0, y1 := max(b.y0, py<<ppy), min(b.y1, (py+1)<<ppy)
			if x0 >= x1 || y0 >= y1 {
				continue
			}
			if err := p.bands[j].divide(x0, y0, x1, y1, xcb, ycb, limit); err != nil {
				return err
			}
		}
		t.precincts = append(t.precincts, p)
	}
	return nil
}

// divide lays code-blocks of 2^xcb by 2^ycb, anchored at zero, over an area of the band.
func (pb *precinctBand) divide(x0, y0, x1, y1, xcb, ycb int, limit *budget) error {
	bx, by := x0>>xcb, y0>>ycb
	across, rows := ceilShift(x1, xcb)-bx, ceilShift(y1, ycb)-by
	if across > limit.blocks || rows > limit.blocks {
		return limit.take(0, limit.blocks+1)
	}
	if err := limit.take(0, across*rows); err != nil {
		return err
	}
	pb.across = across
	pb.blocks = make([]block, across*rows)
	pb.inclusion = newTagTree(across, rows)
	pb.zeros = newTagTree(across, rows)
	left, top := pb.band.x0, pb.band.y0
	for i := range pb.blocks {
		b := &pb.blocks[i]
		cx, cy := (bx+i%across)<<xcb, (by+i/across)<<ycb
		b.x0, b.x1 = int32(max(x0, cx)-left), int32(min(x1, cx+1<<xcb)-left)
		b.y0, b.y1 = int32(max(y0, cy)-top), int32(min(y1, cy+1<<ycb)-top)
		b.lengthBits = 3
	}
	return nil
}
