package codec

// dctComponent is what the DCT processes keep of a component.
type dctComponent struct {
	quant             *[64]uint16
	columns, rows     int // of the component, in samples (T.81 A.1.1)
	blocksX, blocksY  int // that cover it
	stride            int // blocks in a line of the plane, whole MCUs
	plane             []uint16
	coefficients      []int16  // of the progressive process, 64 a block, natural order
	precise           [64]int8 // of each coefficient, 1 plus the lowest bit read; 0 before any
	prediction        int      // of the DC coefficient
	horizontal, below int      // subsampling: hmax/h and vmax/v
}

// decodeJPEGDCT decodes a frame of the processes with DCT and Huffman codes, SOF0 and SOF1
// (ITU T.81 annex F) and SOF2 (annex G), of 8 or 12 bits and 1 or 3 components (PS3.5
// sections A.4.1 and 8.2.1). It returns rows*columns*samples values, row-major, the
// components of a pixel together and as they are in the codestream, without conversion of
// colour. Values are below 2 to the precision of the codestream.
//
// The IDCT is the integer one of libjpeg ("islow"), bit for bit. Components that are halved
// in width, or in width and height, are filtered as libjpeg's "fancy" upsampling does;
// other whole ratios are repeated.
//
// Errors: Invalid truncated, malformed_codestream or codestream_mismatch.
func decodeJPEGDCT(codestream []byte, f Frame) ([]uint16, error) {
	s, err := openJPEG("codec.JPEGDCT", codestream, f, false)
	if err != nil {
		return nil, err
	}
	if err := s.decodeDCT(); err != nil {
		return nil, err
	}
	out := make([]uint16, f.Rows*f.Columns*f.Samples)
	for i := range s.comps {
		s.comps[i].upsample(out[i:], f.Rows, f.Columns, len(s.comps))
	}
	return out, nil
}

// decodeDCT decodes all scans into the planes of the components.
func (s *jpegStream) decodeDCT() error {
	progressive, unseen, prepared := false, 1, false
	for unseen != 0 || progressive {
		scan, err := s.nextScan()
		if err != nil {
			return err
		}
		if scan == nil {
			break
		}
		if !prepared {
			if err := s.prepareDCT(); err != nil {
				return err
			}
			progressive, prepared = s.process == jpegSOF2, true
		}
		if progressive {
			err = s.progressiveScan(scan)
		} else {
			err = s.sequentialScan(scan)
		}
		if err != nil {
			return err
		}
		unseen = 0
		for i := range s.comps {
			if !s.comps[i].seen {
				unseen++
			}
		}
	}
	if unseen != 0 {
		return s.truncated()
	}
	if progressive {
		for i := range s.comps {
			s.transformAll(&s.comps[i])
		}
	}
	return nil
}

// prepareDCT lays out the planes of the components (T.81 A.1.1 and A.2).
func (s *jpegStream) prepareDCT() error {
	if n := len(s.comps); n != 1 && n != 3 {
		return s.malformed("a DCT frame must have 1 or 3 components (PS3.5 8.2.1)")
	}
	if len(s.comps) == 1 { // the factors of a lone component mean nothing (T.81 A.2.2)
		s.comps[0].h, s.comps[0].v, s.hmax, s.vmax = 1, 1, 1, 1
	}
	blocks := 0
	for i := range s.comps {
		c := &s.comps[i]
		if s.hmax%c.h != 0 || s.vmax%c.v != 0 {
			return s.malformed("the sampling factors of components must divide the largest ones (PS3.5 8.2.1)")
		}
		c.horizontal, c.below = s.hmax/c.h, s.vmax/c.v
		c.columns, c.rows = ceilDiv(s.want.Columns, c.horizontal), ceilDiv(s.want.Rows, c.below)
		c.blocksX, c.blocksY = ceilDiv(c.columns, 8), ceilDiv(c.rows, 8)
		blocks += c.blocksX * c.blocksY
	}
	// A block takes one bit at least, so a short codestream cannot make us allocate much.
	if blocks > 8*(len(s.data)-s.pos) {
		return s.truncated()
	}
	for i := range s.comps {
		c := &s.comps[i]
		c.stride = ceilDiv(s.want.Columns, 8*s.hmax) * c.h
		all := c.stride * ceilDiv(s.want.Rows, 8*s.vmax) * c.v
		c.plane = make([]uint16, 64*all)
		if s.process == jpegSOF2 {
			c.coefficients = make([]int16, 64*all)
		}
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// walk visits the blocks of a scan in the order of T.81 A.2, passes its restart markers and
// moves pos behind it. A block returns nothing: what is wrong shows in b.
func (s *jpegStream) walk(scan *jpegScan, b *jpegBits, restart func(), block func(p *jpegPart, c *jpegComponent, x, y int)) error {
	across, down, lone := ceilDiv(s.want.Columns, 8*s.hmax), ceilDiv(s.want.Rows, 8*s.vmax), len(scan.parts) == 1
	if lone {
		c := &s.comps[scan.parts[0].comp]
		across, down = c.blocksX, c.blocksY
	}
	restart()
	for y := range down {
		for x := range across {
			if mcu := y*across + x; s.restart != 0 && mcu != 0 && mcu%s.restart == 0 {
				if err := s.nextInterval(b, mcu/s.restart-1); err != nil {
					return err
				}
				restart()
			}
			for i := range scan.parts {
				p := &scan.parts[i]
				c := &s.comps[p.comp]
				if lone {
					block(p, c, x, y)
					break
				}
				for v := range c.v {
					for h := range c.h {
						block(p, c, x*c.h+h, y*c.v+v)
					}
				}
			}
		}
		if !b.ok() {
			return s.entropyFault(b)
		}
	}
	s.pos, s.behind = b.pos, true
	return nil
}

// sequentialScan decodes a scan of SOF0 or SOF1 into the planes (T.81 F.2). It does not look
// at the spectral selection, which T.81 B.2.3 fixes: there are files that have it wrong and
// are sound otherwise.
func (s *jpegStream) sequentialScan(scan *jpegScan) error {
	for _, p := range scan.parts {
		c := &s.comps[p.comp]
		c.quant = s.quant[c.tq]
		if c.seen || p.dc == nil || p.ac == nil || c.quant == nil {
			return s.malformed("each component must be in one sequential scan and have Huffman and quantization tables (ITU T.81 B.2.3)")
		}
		c.seen = true
	}
	b := &jpegBits{data: s.data, pos: s.pos}
	idct := newIDCT(s.precision)
	var coefs [64]int16
	dirty := false
	return s.walk(scan, b, func() { s.resetDC(scan) }, func(p *jpegPart, c *jpegComponent, x, y int) {
		if dirty {
			coefs = [64]int16{}
		}
		last := b.block(p, c, &coefs)
		dirty = last > 0
		idct.block(&coefs, c.quant, last, c.plane[(y*c.stride*8+x)*8:], c.stride*8)
	})
}

// resetDC starts the prediction of DC coefficients anew (T.81 F.2.1.3.1).
func (s *jpegStream) resetDC(scan *jpegScan) {
	for _, p := range scan.parts {
		s.comps[p.comp].prediction = 0
	}
}

// block decodes the coefficients of one block (T.81 F.2.2.1 and F.2.2.2) into coefs, whose
// AC coefficients are zero, and returns the zig-zag index of the last one.
func (b *jpegBits) block(p *jpegPart, c *jpegComponent, coefs *[64]int16) (last int) {
	c.dc(b, p.dc)
	coefs[0] = int16(c.prediction)
	for k := 1; k < 64; k++ {
		sym, v := b.coded(p.ac)
		if sym&15 == 0 {
			if sym != 0xF0 {
				break // end of block
			}
			k += 15
			continue
		}
		k += int(sym >> 4)
		if k > 63 {
			b.bad = true
			break
		}
		coefs[jpegZigzag[k]] = int16(v)
		last = k
	}
	return last
}

// dc reads the difference of a DC coefficient to the one before.
func (c *dctComponent) dc(b *jpegBits, t *jpegHuffman) {
	sym, v := b.coded(t)
	b.bad = b.bad || sym > 15
	c.prediction += int(v)
}

// upsample writes the component into every step-th sample of out, which is rows x columns
// pixels.
func (c *dctComponent) upsample(out []uint16, rows, columns, step int) {
	width := c.stride * 8
	halved := c.horizontal == 2 && c.columns > 2 // libjpeg repeats samples in narrower ones
	line, sums := make([]uint16, 2*width), make([]int32, c.columns)
	for y := range rows {
		at := y / c.below
		src := c.plane[at*width:][:c.columns]
		switch {
		case c.horizontal == 1:
			line = src
		case halved && c.below == 1:
			fancyWidth(line, src)
		case halved && c.below == 2:
			near := min(max(at-1+2*(y&1), 0), c.rows-1) // the line above or below
			for i, v := range c.plane[near*width:][:c.columns] {
				sums[i] = 3*int32(src[i]) + int32(v)
			}
			fancyBoth(line, sums)
		default:
			line = repeat(line, src, c.horizontal)
		}
		if to := out[y*columns*step:]; step == 1 {
			copy(to[:columns], line)
		} else {
			for x, v := range line[:columns] {
				to[x*step] = v
			}
		}
	}
}

// repeat widens src by the ratio.
func repeat(line, src []uint16, ratio int) []uint16 {
	line = line[:0]
	for _, v := range src {
		for range ratio {
			line = append(line, v)
		}
	}
	return line
}

// fancyWidth doubles the width: three quarters of the nearer sample, one of the further.
// The rounding alternates, so that it has no bias.
func fancyWidth(line, src []uint16) {
	last := len(src) - 1
	for i, v := range src {
		left, right := src[max(i-1, 0)], src[min(i+1, last)]
		line[2*i] = (3*v + left + 1) >> 2
		line[2*i+1] = (3*v + right + 2) >> 2
	}
}

// fancyBoth is fancyWidth over the sums of two lines, of which the nearer counts three times.
func fancyBoth(line []uint16, sums []int32) {
	last := len(sums) - 1
	for i, v := range sums {
		left, right := sums[max(i-1, 0)], sums[min(i+1, last)]
		line[2*i] = uint16((3*v + left + 8) >> 4)
		line[2*i+1] = uint16((3*v + right + 7) >> 4)
	}
}
