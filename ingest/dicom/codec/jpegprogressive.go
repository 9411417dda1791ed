package codec

// maxProgressiveScans bounds the work that a small codestream can ask for: a scan of a few
// bytes may visit all blocks. Encoders make about ten scans.
const maxProgressiveScans = 128

// progressiveScan decodes a scan of SOF2 into the coefficients (ITU T.81 annex G). A scan
// must continue the ones before it.
func (s *jpegStream) progressiveScan(scan *jpegScan) error {
	dc, refine := scan.ss == 0, scan.ah != 0
	s.scans++
	switch {
	case s.scans > maxProgressiveScans:
		return s.malformed("a progressive frame must have at most 128 scans; ITU T.81 annex G needs no more in practice")
	case scan.se > 63 || scan.se < scan.ss || dc && scan.se != 0:
		return s.malformed("a progressive scan must hold the DC or a band of AC coefficients (ITU T.81 G.1.1.1.1)")
	case scan.al > 13 || refine && scan.al != scan.ah-1:
		return s.malformed("a progressive scan must refine coefficients by one bit (ITU T.81 G.1.1.1.2)")
	case !dc && len(scan.parts) != 1:
		return s.malformed("a progressive scan of AC coefficients must hold one component (ITU T.81 G.1.1.1.1)")
	}
	for _, p := range scan.parts {
		c := &s.comps[p.comp]
		if c.quant == nil {
			c.quant = s.quant[c.tq]
		}
		if dc && !refine && p.dc == nil || !dc && p.ac == nil || c.quant == nil {
			return s.malformed("a component of a progressive scan must have Huffman and quantization tables (ITU T.81 B.2.3)")
		}
		if !dc && !c.seen {
			return s.malformed("the DC coefficients of a component must come before its AC coefficients (ITU T.81 G.1.1.1.1)")
		}
		for k := scan.ss; k <= scan.se; k++ {
			want := 0
			if refine {
				want = scan.ah + 1
			}
			if int(c.precise[k]) != want {
				return s.malformed("progressive scans must give coefficients from the highest bit to the lowest (ITU T.81 G.1.1.1.2)")
			}
			c.precise[k] = int8(scan.al + 1)
		}
		c.seen = true
	}
	b := &jpegBits{data: s.data, pos: s.pos}
	ends := 0 // further blocks whose band has ended, EOBRUN of T.81 G.1.2.2
	restart := func() {
		s.resetDC(scan)
		ends = 0
	}
	return s.walk(scan, b, restart, func(p *jpegPart, c *jpegComponent, x, y int) {
		coefs := (*[64]int16)(c.coefficients[(y*c.stride+x)*64:])
		switch {
		case dc && !refine:
			c.dc(b, p.dc)
			coefs[0] = int16(c.prediction << scan.al)
		case dc:
			coefs[0] |= int16(b.bits(1) << scan.al)
		case refine:
			ends = b.refineAC(p.ac, coefs, scan, ends)
		case ends > 0:
			ends--
		default:
			ends = b.firstAC(p.ac, coefs, scan)
		}
	})
}

// firstAC decodes the highest bits of a band of a block (T.81 G.1.2.2). It returns the
// further blocks whose band has ended too.
func (b *jpegBits) firstAC(t *jpegHuffman, coefs *[64]int16, scan *jpegScan) (ends int) {
	for k := scan.ss; k <= scan.se; k++ {
		sym, v := b.coded(t)
		run := int(sym >> 4)
		switch {
		case sym&15 != 0:
			k += run
			if k > scan.se {
				b.bad = true
				return 0
			}
			coefs[jpegZigzag[k]] = int16(v << scan.al)
		case run == 15:
			k += 15
		default:
			return b.endRun(run) - 1
		}
	}
	return 0
}

// endRun reads the length of a run of blocks whose band has ended.
func (b *jpegBits) endRun(run int) int {
	if run == 0 {
		return 1
	}
	return 1<<run + int(b.bits(run))
}

// refineAC decodes one more bit of a band of a block (T.81 G.1.2.3): for each coefficient
// that has bits its next one, and between them those that get their first.
func (b *jpegBits) refineAC(t *jpegHuffman, coefs *[64]int16, scan *jpegScan, ends int) int {
	bit := int16(1) << scan.al
	k := scan.ss
	for ends == 0 && k <= scan.se {
		sym, v := b.coded(t)
		run := int(sym >> 4)
		if sym&15 == 0 && run < 15 {
			ends = b.endRun(run)
			break
		}
		if sym&15 > 1 {
			b.bad = true
			return 0
		}
		// Pass run coefficients without bits, then stop at the next such one.
		for ; k <= scan.se; k++ {
			c := &coefs[jpegZigzag[k]]
			if *c == 0 {
				if run == 0 {
					*c = int16(v) * bit
					break
				}
				run--
				continue
			}
			b.refine(c, bit)
		}
		if k > scan.se && v != 0 {
			b.bad = true
			return 0
		}
		k++
	}
	if ends == 0 {
		return 0
	}
	for ; k <= scan.se; k++ {
		if c := &coefs[jpegZigzag[k]]; *c != 0 {
			b.refine(c, bit)
		}
	}
	return ends - 1
}

// refine adds the next bit to a coefficient that has bits.
func (b *jpegBits) refine(c *int16, bit int16) {
	switch {
	case b.bits(1) == 0:
	case *c > 0:
		*c += bit
	default:
		*c -= bit
	}
}

// transformAll turns the coefficients of a component into its plane.
func (s *jpegStream) transformAll(c *jpegComponent) {
	idct := newIDCT(s.precision)
	for y := range c.blocksY {
		for x := range c.blocksX {
			coefs := (*[64]int16)(c.coefficients[(y*c.stride+x)*64:])
			last := 0
			for i := 63; i > 0 && last == 0; i-- {
				if coefs[i] != 0 {
					last = i
				}
			}
			idct.block(coefs, c.quant, last, c.plane[(y*c.stride*8+x)*8:], c.stride*8)
		}
	}
}
