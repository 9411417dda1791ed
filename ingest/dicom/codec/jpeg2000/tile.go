package jpeg2000

import "slices"

// decoder decodes the tiles of one picture into img.
type decoder struct {
	header       *header
	img          *Image
	tier1        *tier1
	ht           *htDecoder // nil until a tile has HT code-blocks
	kernels      *kernels
	reversible   *wavelet[int32]
	irreversible *wavelet[float32]
	span         span
}

func newDecoder(h *header, img *Image) *decoder {
	k := fastest()
	half := int32(1) << (img.Precision - 1)
	s := span{half, 0, 2*half - 1}
	if img.Signed {
		s = span{0, -half, half - 1}
	}
	return &decoder{
		header: h, img: img, span: s,
		tier1: newTier1(), kernels: k, reversible: reversible53(k), irreversible: irreversible97(k),
	}
}

// component hands out one component of a tile row by row, as ints or floats.
type component struct {
	intRows   rows[int32]
	floatRows rows[float32]
	ints      []int32 // the row at hand
	floats    []float32
	ownInts   []int32 // a copy of it
	ownFloats []float32
}

// next takes the next row.
func (c *component) next() (err error) {
	if c.intRows != nil {
		c.ints, err = c.intRows.next()
	} else {
		c.floats, err = c.floatRows.next()
	}
	return err
}

// own copies the row at hand, since the wavelet still needs it.
func (c *component) own() {
	if c.ints != nil {
		c.ownInts = append(c.ownInts[:0], c.ints...)
		c.ints = c.ownInts
	} else {
		c.ownFloats = append(c.ownFloats[:0], c.floats...)
		c.floats = c.ownFloats
	}
}

// tile decodes tile number i. Code-blocks are decoded as the wavelet asks for their rows, so
// that coefficients stay in the cache and no plane of them is ever held.
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
			p.bands[j].gather()
		}
	}
	t.precincts = nil // the rest needs none of it
	comps := make([]component, len(t.comps))
	for c := range comps {
		if tc := &t.comps[c]; tc.params.coding.reversible {
			comps[c].intRows = synthesis(d, d.reversible, tc)
		} else {
			comps[c].floatRows = synthesis(d, d.irreversible, tc)
		}
	}
	w, left := t.x1-t.x0, t.x0-d.header.x0
	for y := t.y0 - d.header.y0; y < t.y1-d.header.y0; y++ {
		for c := range comps {
			if err := comps[c].next(); err != nil {
				return err
			}
			if data.params.colour {
				comps[c].own()
			}
		}
		if data.params.colour {
			if err := undoColour(comps); err != nil {
				return err
			}
		}
		for c := range comps {
			out := d.img.Planes[c][y*d.img.Width+left:][:w]
			if comps[c].ints != nil {
				d.kernels.storeInts(out, comps[c].ints, d.span)
			} else {
				d.kernels.storeFloats(out, comps[c].floats, d.span)
			}
		}
	}
	return nil
}

// synthesis returns the rows of a component.
func synthesis[T sample](d *decoder, f *wavelet[T], tc *tileComponent) rows[T] {
	of := func(b *band) rows[T] {
		slices.SortStableFunc(b.blocks, func(a, b *block) int { return int(a.y0 - b.y0) })
		return &bandRows[T]{decoder: d, filter: f, params: tc.params, band: b}
	}
	out := of(&tc.resolutions[0].bands[0])
	for r := range tc.resolutions[1:] {
		res := &tc.resolutions[r+1]
		out = newLevel(f, res, out, of(&res.bands[0]), of(&res.bands[1]), of(&res.bands[2]))
	}
	return out
}

// gather adds the code-blocks to those of the band.
func (pb *precinctBand) gather() {
	for i := range pb.blocks {
		pb.band.blocks = append(pb.band.blocks, &pb.blocks[i])
	}
}

// bandRows hands out the coefficients of a band, whose code-blocks it decodes a row of them at
// a time.
type bandRows[T sample] struct {
	decoder *decoder
	filter  *wavelet[T]
	params  *compParams
	band    *band // its blocks are those not decoded yet
	data    []T   // what is left of the row of code-blocks at hand
	buffer  []T
}

func (r *bandRows[T]) next() ([]T, error) {
	w := r.band.width()
	if w == 0 {
		return nil, nil
	}
	if len(r.data) == 0 {
		if err := r.decode(w); err != nil {
			return nil, err
		}
	}
	row := r.data[:w]
	r.data = r.data[w:]
	return row, nil
}

// decode decodes the next row of code-blocks.
func (r *bandRows[T]) decode(w int) error {
	b := r.band
	y0, n := b.blocks[0].y0, w*b.blocks[0].height()
	r.buffer = slices.Grow(r.buffer[:0], n)[:n]
	r.data = r.buffer
	for len(b.blocks) > 0 && b.blocks[0].y0 == y0 {
		block := b.blocks[0]
		b.blocks = b.blocks[1:]
		mags, stride, err := r.decoder.block(block, b, r.params)
		if err != nil {
			return err
		}
		for y := range block.height() {
			out := r.data[y*w+int(block.x0):][:block.width()]
			if mags == nil {
				clear(out)
			} else {
				r.filter.dequantize(out, mags[y*stride:][:len(out)], b.step/2)
			}
		}
	}
	return nil
}

// block decodes a code-block of band b into magnitudes in halves with their sign, stride to a
// row. They are nil if all are zero.
func (d *decoder) block(blk *block, b *band, c *compParams) (mags []uint32, stride int, err error) {
	if blk.passes == 0 {
		return nil, 0, nil
	}
	planes := b.planes + c.roiShift
	if c.coding.style&styleHT != 0 {
		if d.ht == nil {
			d.ht = newHTDecoder()
		}
		err = d.ht.decode(blk, planes, c.coding.style&styleCausal != 0)
		mags, stride = d.ht.mags[:], d.ht.stride
	} else {
		err = d.tier1.decode(blk, b.orient, planes, c.coding.style)
		mags, stride = d.tier1.mags[:], blk.width()
	}
	if c.roiShift > 0 {
		unshift(mags[:stride*blk.height()], c.roiShift)
	}
	return mags, stride, err
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

// undoColour undoes the transform of a row of the first three components: RCT (T.800 G.2) or ICT (G.3).
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
