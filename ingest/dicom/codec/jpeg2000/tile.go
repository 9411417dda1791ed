package jpeg2000

import "math"

// decoder decodes the tiles of one picture into img.
type decoder struct {
	header       *header
	img          *Image
	tier1        *tier1
	ht           *htDecoder // nil until a tile has HT code-blocks
	reversible   *wavelet[int32]
	irreversible *wavelet[float32]
}

func newDecoder(h *header, img *Image) *decoder {
	return &decoder{
		header: h, img: img,
		tier1: newTier1(), reversible: reversible53(), irreversible: irreversible97(),
	}
}

// component is one component of a tile after the wavelet, before the colour transform: ints
// or floats.
type component struct {
	ints   []int32
	floats []float32
}

// tile decodes tile number i.
func (d *decoder) tile(i int, data *tileData) error {
	bytes := 0
	for _, part := range data.parts {
		bytes += len(part)
	}
	t, err := layout(d.header, i, data.params, bytes)
	if err != nil {
		return err
	}
	if err := t.packets(&packetReader{parts: data.parts}); err != nil {
		return err
	}
	for _, p := range t.precincts {
		for j := range p.bands {
			if err := d.blocks(&p.bands[j], t.comps[p.comp].params); err != nil {
				return err
			}
		}
	}
	t.precincts = nil // the wavelet needs none of it
	w, h := t.x1-t.x0, t.y1-t.y0
	left, top := t.x0-d.header.x0, t.y0-d.header.y0
	out := func(c, y int) []uint16 { return d.img.Planes[c][(top+y)*d.img.Width+left:][:w] }
	if !data.params.colour {
		for c := range t.comps {
			tc := &t.comps[c]
			if tc.params.coding.reversible {
				undoWavelet(d.reversible, tc, bandInts, func(y int, row []int32) { d.storeInts(out(c, y), row) })
			} else {
				undoWavelet(d.irreversible, tc, bandFloats, func(y int, row []float32) { d.storeFloats(out(c, y), row) })
			}
		}
		return nil
	}
	comps := make([]component, len(t.comps))
	for c := range comps {
		tc := &t.comps[c]
		if tc.params.coding.reversible {
			comps[c].ints = undoWavelet(d.reversible, tc, bandInts, nil)
		} else {
			comps[c].floats = undoWavelet(d.irreversible, tc, bandFloats, nil)
		}
	}
	if err := undoColour(comps); err != nil {
		return err
	}
	for c := range comps {
		for y := range h {
			if comps[c].ints != nil {
				d.storeInts(out(c, y), comps[c].ints[y*w:][:w])
			} else {
				d.storeFloats(out(c, y), comps[c].floats[y*w:][:w])
			}
		}
	}
	return nil
}

func bandInts(b *band) *[]int32     { return &b.ints }
func bandFloats(b *band) *[]float32 { return &b.floats }

// blocks decodes the code-blocks of one precinct in one band into the band's coefficients.
func (d *decoder) blocks(pb *precinctBand, c *compParams) error {
	for i := range pb.blocks {
		b := &pb.blocks[i]
		if b.passes == 0 {
			continue
		}
		planes := pb.band.planes + c.roiShift
		mags, stride := d.tier1.mags[:], b.width()
		var err error
		if c.coding.style&styleHT != 0 {
			if d.ht == nil {
				d.ht = newHTDecoder()
			}
			err = d.ht.decode(b, planes, c.coding.style&styleCausal != 0)
			mags, stride = d.ht.mags[:], d.ht.stride
		} else {
			err = d.tier1.decode(b, pb.band.orient, planes, c.coding.style)
		}
		if err != nil {
			return err
		}
		if c.roiShift > 0 {
			unshift(mags[:stride*b.height()], c.roiShift)
		}
		pb.band.dequantize(b, mags, stride)
	}
	return nil
}

func (b *block) width() int  { return int(b.x1 - b.x0) }
func (b *block) height() int { return int(b.y1 - b.y0) }

// unshift takes the coefficients of a region of interest down to where the others are
// (T.800 H.1). mags are magnitudes in halves with their sign.
func unshift(mags []uint32, shift int) {
	for i, m := range mags {
		if v := m &^ signBit; v>>1 >= 1<<shift {
			mags[i] = v>>shift | m&signBit
		}
	}
}

// dequantize stores the coefficients of block b, given as magnitudes in halves with their
// sign, stride to a row (T.800 E.1). The half is the r of equation E-6: a coefficient whose last bit-planes
// are missing is put in the middle of its interval.
func (b *band) dequantize(blk *block, mags []uint32, stride int) {
	w, bw := blk.width(), b.width()
	for y := range blk.height() {
		row := mags[y*stride:][:w]
		at := (int(blk.y0)+y)*bw + int(blk.x0)
		if b.ints != nil {
			out := b.ints[at:][:w]
			for x, m := range row {
				s := int32(m) >> 31 // all ones if negative
				out[x] = (int32(m&^signBit>>1) ^ s) - s
			}
			continue
		}
		out := b.floats[at:][:w]
		half := b.step / 2
		for x, m := range row {
			v := float32(int32(m&^signBit)) * half
			out[x] = math.Float32frombits(math.Float32bits(v) | m&signBit)
		}
	}
}

// undoWavelet undoes the wavelet. It hands the rows to store as soon as they are ready and
// returns nil; or without store, it returns them all.
func undoWavelet[T sample](f *wavelet[T], tc *tileComponent, of func(*band) *[]T, store func(y int, row []T)) []T {
	low := *of(&tc.resolutions[0].bands[0])
	last := len(tc.resolutions) - 1
	for r := 1; r <= last; r++ {
		res := &tc.resolutions[r]
		out := plane[T]{x0: res.x0, y0: res.y0, w: res.x1 - res.x0, h: res.y1 - res.y0}
		out.rows = out.h
		if r == last && store != nil {
			out.done, out.rows = store, min(out.h, f.steps+2)
		}
		out.data = make([]T, out.w*out.rows)
		f.synthesize(&out, low, *of(&res.bands[0]), *of(&res.bands[1]), *of(&res.bands[2]))
		for i := range res.bands { // no longer needed
			*of(&res.bands[i]) = nil
		}
		low = out.data
	}
	if store == nil {
		return low
	}
	if last == 0 {
		res := &tc.resolutions[0]
		w := res.x1 - res.x0
		for y := range res.y1 - res.y0 {
			store(y, low[y*w:][:w])
		}
	}
	return nil
}

// undoColour undoes the transform of the first three components: RCT (T.800 G.2) or ICT (G.3).
func undoColour(comps []component) error {
	if len(comps) < 3 {
		return malformed("a colour transform needs three components (T.800 G.2, G.3)")
	}
	a, b, c := &comps[0], &comps[1], &comps[2]
	if (a.ints == nil) != (b.ints == nil) || (a.ints == nil) != (c.ints == nil) {
		return malformed("a colour transform needs one wavelet for three components (T.800 G.2, G.3)")
	}
	for i, y := range a.ints {
		u, v := b.ints[i], c.ints[i]
		green := y - (u+v)>>2
		a.ints[i], b.ints[i], c.ints[i] = v+green, green, u+green
	}
	for i, y := range a.floats {
		cb, cr := b.floats[i], c.floats[i]
		a.floats[i] = y + 1.402*cr
		b.floats[i] = y - 0.344136*cb - 0.714136*cr
		c.floats[i] = y + 1.772*cb
	}
	return nil
}

// span returns the level shift (T.800 G.1) and the least and the largest sample.
func (d *decoder) span() (shift, low, high int32) {
	half := int32(1) << (d.img.Precision - 1)
	if d.img.Signed {
		return 0, -half, half - 1
	}
	return half, 0, 2*half - 1
}

// storeInts undoes the level shift and clamps samples to the precision.
func (d *decoder) storeInts(out []uint16, row []int32) {
	shift, low, high := d.span()
	out = out[:len(row)]
	for i, v := range row {
		out[i] = uint16(max(low, min(high, v+shift)))
	}
}

// storeFloats rounds too.
func (d *decoder) storeFloats(out []uint16, row []float32) {
	shift, low, high := d.span()
	out = out[:len(row)]
	for i, v := range row {
		if v < 0 {
			v -= 0.5
		} else {
			v += 0.5
		}
		// 64 bits: a malformed sample that does not fit in them still ends within the span.
		out[i] = uint16(max(int64(low), min(int64(high), int64(v)+int64(shift))))
	}
}
