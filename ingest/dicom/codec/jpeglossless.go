package codec

// decodeJPEGLossless decodes a frame of the lossless process with Huffman codes, SOF3 (ITU
// T.81 annex H; PS3.5 sections A.4.2 and 10.4): 2 to 16 bits, 1 to 4 components that are
// not subsampled, in any number of scans. It returns rows*columns*samples values,
// row-major, the components of a pixel together. Samples are modulo 2^16, as T.81 H.1.2.1
// has it: those of a sound codestream are below 2 to the precision, others may not be.
//
// Errors: Invalid truncated, malformed_codestream or codestream_mismatch.
func decodeJPEGLossless(codestream []byte, f Frame) ([]uint16, error) {
	s, err := openJPEG("codec.JPEGLossless", codestream, f, true)
	if err != nil {
		return nil, err
	}
	var out []uint16
	for left := -1; left != 0; {
		scan, err := s.nextScan()
		if err != nil {
			return nil, err
		}
		if scan == nil {
			return nil, s.truncated()
		}
		if out == nil {
			left = len(s.comps)
			if err := s.checkLossless(); err != nil {
				return nil, err
			}
			out = make([]uint16, f.Rows*f.Columns*f.Samples)
		}
		if err := s.losslessScan(scan, out); err != nil {
			return nil, err
		}
		left -= len(scan.parts)
	}
	return out, nil
}

// checkLossless refuses subsampling, and frames for which the data is much too short: a
// sample takes one bit at least.
func (s *jpegStream) checkLossless() error {
	for _, c := range s.comps {
		if len(s.comps) > 1 && (c.h != 1 || c.v != 1) {
			return s.malformed("the components of a lossless frame must not be subsampled: sampling factors 1 (PS3.5 8.2.1)")
		}
	}
	if f := s.want; f.Rows*f.Columns*f.Samples > 8*(len(s.data)-s.pos) {
		return s.truncated()
	}
	return nil
}

// losslessScan decodes one scan into its components of out.
func (s *jpegStream) losslessScan(scan *jpegScan, out []uint16) error {
	rows, columns, n := s.want.Rows, s.want.Columns, len(s.comps)
	switch {
	case scan.ss > 7 || scan.se != 0 || scan.ah != 0 || scan.al >= s.precision:
		return s.malformed("a lossless scan must have predictor 0 to 7 and a point transform below the precision (ITU T.81 B.2.3)")
	case s.restart%columns != 0:
		return s.malformed("a restart interval of the lossless process must be whole lines (ITU T.81 B.2.4.4)")
	}
	for _, p := range scan.parts {
		c := &s.comps[p.comp]
		if p.dc == nil || c.seen {
			return s.malformed("each component must be in one lossless scan and have a Huffman table (ITU T.81 H.2)")
		}
		c.seen = true
	}
	// Lines of differences that become samples in place, and the lines above them. A lone
	// component has them in out.
	cur, prev := make([][]uint16, len(scan.parts)), make([][]uint16, len(scan.parts))
	for i := range cur {
		if n > 1 {
			cur[i], prev[i] = make([]uint16, columns), make([]uint16, columns)
		}
	}
	b := &jpegBits{data: s.data, pos: s.pos}
	lines := s.restart / columns // in a restart interval
	for y := range rows {
		first := y == 0
		if lines != 0 && y != 0 && y%lines == 0 {
			if err := s.nextInterval(b, y/lines-1); err != nil {
				return err
			}
			first = true
		}
		if n == 1 {
			cur[0] = out[y*columns:][:columns]
		}
		if len(cur) == 1 {
			b.differences(scan.parts[0].dc, cur[0])
		} else {
			for x := range columns {
				for i := range cur {
					_, d := b.coded(scan.parts[i].dc)
					cur[i][x] = uint16(d)
				}
			}
		}
		if !b.ok() {
			return s.entropyFault(b)
		}
		for i, p := range scan.parts {
			switch {
			case scan.ss == 0: // no prediction, in the first line neither
			case first:
				cur[i][0] += 1 << (s.precision - scan.al - 1)
				predictLeft(cur[i])
			default:
				predict(scan.ss, cur[i], prev[i])
			}
			if n > 1 {
				for x, v := range cur[i] {
					out[(y*columns+x)*n+p.comp] = v << scan.al
				}
			}
			cur[i], prev[i] = prev[i], cur[i]
		}
	}
	if n == 1 && scan.al != 0 {
		for i := range out {
			out[i] <<= scan.al
		}
	}
	s.pos, s.behind = b.pos, true
	return nil
}

// differences decodes a line of one component (T.81 H.2.2). It is coded with the state in
// registers.
func (b *jpegBits) differences(t *jpegHuffman, line []uint16) {
	acc, n := b.acc, b.n
	for i := range line {
		if n < 32 {
			b.acc, b.n = acc, n
			b.refill()
			acc, n = b.acc, b.n
		}
		e := t.look[acc>>(64-jpegLook)]
		if k := uint(e & 63); k != 0 && e&jpegOpen == 0 {
			acc <<= k
			n -= k
			line[i] = uint16(e >> 16)
			continue
		}
		b.acc, b.n = acc, n
		_, d := b.codedLong(t, e)
		line[i] = uint16(d)
		acc, n = b.acc, b.n
	}
	b.acc, b.n = acc, n
}

// predictLeft turns differences into samples with predictor 1, all but the first.
func predictLeft(line []uint16) {
	left := line[0]
	for i := 1; i < len(line); i++ {
		left += line[i]
		line[i] = left
	}
}

// predict turns a line of differences into samples, modulo 2^16, given the line above
// (T.81 table H.1). The first sample of a line is predicted by the one above it (H.1.2.1).
func predict(selection int, line, above []uint16) {
	above = above[:len(line)]
	line[0] += above[0]
	left := line[0] // Ra; above[i] is Rb and above[i-1] Rc
	switch selection {
	case 1:
		predictLeft(line)
	case 2:
		for i := 1; i < len(line); i++ {
			line[i] += above[i]
		}
	case 3:
		for i := 1; i < len(line); i++ {
			line[i] += above[i-1]
		}
	case 4:
		for i := 1; i < len(line); i++ {
			left += line[i] + above[i] - above[i-1]
			line[i] = left
		}
	case 5:
		for i := 1; i < len(line); i++ {
			left += line[i] + uint16((int32(above[i])-int32(above[i-1]))>>1)
			line[i] = left
		}
	case 6:
		for i := 1; i < len(line); i++ {
			left = line[i] + above[i] + uint16((int32(left)-int32(above[i-1]))>>1)
			line[i] = left
		}
	case 7:
		for i := 1; i < len(line); i++ {
			left = line[i] + uint16((uint32(left)+uint32(above[i]))>>1)
			line[i] = left
		}
	}
}
