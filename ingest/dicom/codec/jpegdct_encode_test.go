package codec

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

// dctSpec says how encodeDCT codes an image.
type dctSpec struct {
	rows, columns, precision int
	sampling                 []byte // h and v of each component, 4 bits each
	restart                  int    // MCUs in an interval, 0 for none
	apart                    bool   // a scan for each component
	progressive              bool
	tuned                    bool // short codes for frequent symbols
	fill                     bool
	fine                     bool       // progressive, with 3 scans for each coefficient
	quant                    [64]uint16 // natural order
}

// dctPlane is the blocks of a component, natural order, padded to whole MCUs.
type dctPlane struct {
	h, v, stride     int
	blocksX, blocksY int // without padding
	coefs            [][64]int16
}

func (s dctSpec) frame() Frame {
	return Frame{Rows: s.rows, Columns: s.columns, Samples: len(s.sampling), BitsAllocated: 16, BitsStored: s.precision}
}

// mcus is the size of the image in MCUs of several components.
func (s dctSpec) mcus() (across, down, hmax, vmax int) {
	for _, q := range s.sampling {
		hmax, vmax = max(hmax, int(q>>4)), max(vmax, int(q&15))
	}
	return (s.columns + 8*hmax - 1) / (8 * hmax), (s.rows + 8*vmax - 1) / (8 * vmax), hmax, vmax
}

// layout makes the planes, all zero (T.81 A.1.1 and A.2.4).
func (s dctSpec) layout() []dctPlane {
	across, down, hmax, vmax := s.mcus()
	planes := make([]dctPlane, len(s.sampling))
	for i, q := range s.sampling {
		p := dctPlane{h: int(q >> 4), v: int(q & 15)}
		p.stride = across * p.h
		p.blocksX = int(math.Ceil(math.Ceil(float64(s.columns*p.h)/float64(hmax)) / 8))
		p.blocksY = int(math.Ceil(math.Ceil(float64(s.rows*p.v)/float64(vmax)) / 8))
		p.coefs = make([][64]int16, p.stride*down*p.v)
		planes[i] = p
	}
	return planes
}

// transform makes quantized coefficients of px, which it takes for each component at the
// size of the component.
func (s *dctSpec) transform(px []uint16) []dctPlane {
	var cosines [8][8]float64
	for x := range 8 {
		for u := range 8 {
			cosines[u][x] = math.Cos(float64(2*x+1)*float64(u)*math.Pi/16) / 2
			if u == 0 {
				cosines[u][x] /= math.Sqrt2
			}
		}
	}
	for i := range s.quant {
		s.quant[i] = max(s.quant[i], 1)
	}
	planes := s.layout()
	for _, p := range planes {
		for at := range p.coefs {
			var in, half [64]float64
			for i := range in {
				y, x := min(at/p.stride*8+i/8, s.rows-1), min(at%p.stride*8+i%8, s.columns-1)
				in[i] = float64(int(px[y*s.columns+x]) - 1<<(s.precision-1))
			}
			for i := range half {
				for x := range 8 {
					half[i] += in[i&^7+x] * cosines[i&7][x]
				}
			}
			for i := range in {
				sum := 0.0
				for y := range 8 {
					sum += half[8*y+i&7] * cosines[i>>3][y]
				}
				p.coefs[at][i] = int16(math.Round(sum / float64(s.quant[i])))
			}
		}
	}
	return planes
}

// dctScan is a scan of the encoder.
type dctScan struct {
	comps          []int
	ss, se, ah, al int
}

// scans lists the scans: all of it at once, or bands and one bit less at first.
func (s dctSpec) scans() (scans []dctScan) {
	every := make([]int, len(s.sampling))
	sets := [][]int{every}
	for i := range every {
		every[i] = i
		if s.apart {
			sets = append(sets[:i], []int{i})
		}
	}
	if !s.progressive {
		for _, set := range sets {
			scans = append(scans, dctScan{set, 0, 63, 0, 0})
		}
		return scans
	}
	for _, set := range sets {
		scans = append(scans, dctScan{set, 0, 0, 0, 1})
	}
	for k := 1; s.fine && k < 64; k++ {
		one := []int{0}
		scans = append(scans, dctScan{one, k, k, 0, 2}, dctScan{one, k, k, 2, 1}, dctScan{one, k, k, 1, 0})
	}
	for i := range every {
		one := []int{i}
		scans = append(scans, dctScan{one, 1, 5, 0, 2}, dctScan{one, 6, 63, 0, 1}, dctScan{one, 1, 5, 2, 1}, dctScan{one, 1, 63, 1, 0})
	}
	return append(scans, dctScan{every, 0, 0, 1, 0})
}

// encodeDCT writes the coefficients as T.81 annexes F and G say.
func encodeDCT(planes []dctPlane, s dctSpec) []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	dc := newJPEGCodes(jpegLongCodes, all[:16])
	ac := newJPEGCodes([16]byte{7: 254, 8: 2}, all) // no code of ones alone
	out, uses := writeDCT(planes, s, dc, ac)
	if !s.tuned {
		return out
	}
	used := slices.DeleteFunc(slices.Clone(all), func(sym byte) bool { return uses[sym] == 0 })
	slices.SortStableFunc(used, func(a, b byte) int { return cmp.Compare(uses[b], uses[a]) })
	if len(used) == 0 || len(used) > 162 {
		return out
	}
	// The lengths of T.81 table K.5, many of them 16.
	ac = newJPEGCodes([16]byte{0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125}, used)
	out, _ = writeDCT(planes, s, dc, ac)
	return out
}

func writeDCT(planes []dctPlane, s dctSpec, dc, ac *jpegCodes) (out []byte, uses [256]int) {
	w := &jpegWriter{fill: s.fill}
	w.marker(jpegSOI)
	quant := []byte{0x10}
	for _, at := range jpegZigzag {
		quant = binary.BigEndian.AppendUint16(quant, s.quant[at])
	}
	w.segment(jpegDQT, quant...)
	header := binary.BigEndian.AppendUint16([]byte{byte(s.precision)}, uint16(s.rows))
	header = append(binary.BigEndian.AppendUint16(header, uint16(s.columns)), byte(len(planes)))
	for i, q := range s.sampling {
		header = append(header, byte(i), q, 0)
	}
	process := byte(jpegSOF0 + 1)
	if s.progressive {
		process = jpegSOF2
	}
	w.segment(process, header...)
	dc.segment(w, 0)
	ac.segment(w, 0x13)
	w.segment(jpegDRI, 0, byte(s.restart))
	symbol := func(high byte, v int) {
		n := 0
		for m := max(v, -v); m != 0; m >>= 1 {
			n++
		}
		uses[high<<4|byte(n)]++
		ac.value(w, high, v)
	}
	for _, scan := range s.scans() {
		p := []byte{byte(len(scan.comps))}
		for _, c := range scan.comps {
			p = append(p, byte(c), 0x03)
		}
		w.segment(jpegSOS, append(p, byte(scan.ss), byte(scan.se), byte(scan.ah<<4|scan.al))...)
		prediction := make([]int, len(planes))
		s.visit(planes, scan, w, func() { clear(prediction) }, func(c int, coefs *[64]int16) {
			if scan.ss == 0 && scan.ah == 0 {
				v := int(coefs[0]) >> scan.al
				dc.value(w, 0, v-prediction[c])
				prediction[c] = v
			} else if scan.ss == 0 {
				w.put(uint32(coefs[0])>>scan.al, 1)
			}
			writeAC(w, coefs, scan, symbol)
		})
	}
	w.marker(jpegEOI)
	return w.out, uses
}

// visit walks the blocks of a scan and writes its restart markers.
func (s dctSpec) visit(planes []dctPlane, scan dctScan, w *jpegWriter, restart func(), block func(c int, coefs *[64]int16)) {
	across, down, _, _ := s.mcus()
	lone := len(scan.comps) == 1
	if lone {
		across, down = planes[scan.comps[0]].blocksX, planes[scan.comps[0]].blocksY
	}
	for mcu := range across * down {
		if s.restart != 0 && mcu != 0 && mcu%s.restart == 0 {
			w.flush()
			w.marker(jpegRST0 + byte(mcu/s.restart-1)&7)
			restart()
		}
		for _, c := range scan.comps {
			p := planes[c]
			if lone {
				block(c, &p.coefs[mcu/across*p.stride+mcu%across])
				continue
			}
			for i := range p.h * p.v {
				block(c, &p.coefs[(mcu/across*p.v+i/p.h)*p.stride+mcu%across*p.h+i%p.h])
			}
		}
	}
	w.flush()
}

// writeAC writes a band of a block, first bits or one more (T.81 F.1.2.2, G.1.2.2, G.1.2.3).
func writeAC(w *jpegWriter, coefs *[64]int16, scan dctScan, symbol func(high byte, v int)) {
	run := 0
	var later []uint32 // bits of coefficients that have some already
	last := 0          // the last coefficient that gets its first bits
	first := func(k int) int {
		v := int(coefs[jpegZigzag[k]])
		if scan.ah != 0 && max(v, -v)>>scan.ah != 0 {
			return 0
		}
		if v < 0 {
			return -(-v >> scan.al)
		}
		return v >> scan.al
	}
	for k := max(scan.ss, 1); k <= scan.se; k++ {
		if first(k) != 0 {
			last = k
		}
	}
	flush := func() {
		for _, bit := range later {
			w.put(bit, 1)
		}
		later = nil
	}
	for k := max(scan.ss, 1); k <= scan.se; k++ {
		v := int(coefs[jpegZigzag[k]])
		if m := max(v, -v); scan.ah != 0 && m>>scan.ah != 0 {
			later = append(later, uint32(m>>scan.al)&1)
			continue
		}
		if v = first(k); v == 0 {
			run++
			if run == 16 && k < last {
				symbol(15, 0)
				flush()
				run = 0
			}
			continue
		}
		symbol(byte(run), v)
		flush()
		run = 0
	}
	if scan.se > 0 && (run > 0 || len(later) > 0) {
		symbol(0, 0)
		flush()
	}
}

// libjpegCase is a small synthetic image and the SHA-256 of its components, interleaved, as
// libjpeg-turbo 3.2.0 decodes them without conversion of colour.
type libjpegCase struct {
	name                   string
	rows, columns, samples int
	sha256, base64         string
}

func (c libjpegCase) stream(t testing.TB) []byte {
	t.Helper()
	stream, err := base64.StdEncoding.DecodeString(c.base64)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

var libjpegCases = []libjpegCase{
	{"progressive grey", 35, 29, 1, "1f03fbb2d3cf069aa268adf6315c4945bc3ce7cdf54292a65cb953f8b8478835",
		"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC0oMCUoKSj/wgALCAAjAB0BAREA/8QAFgABAQEAAA" +
			"AAAAAAAAAAAAAABgUH/9oACAEBAAAAAVF40GT3TQd/dNB9ZvGg2jXTIn//xAAeEAACAQQDAQAAAAAAAAAAAAACBAEAAyEiERIyMf/aAAgBAQABBQJM8Serp0wcd0zxJ6unPF890wxIYdDF4J7phUhq" +
			"6FXg3SqfLny96//EABgQAQEAAwAAAAAAAAAAAAAAAAEAECAw/9oACAEBAAY/AtnkROP/xAAcEAEBAQADAAMAAAAAAAAAAAABABEQIUExgaH/2gAIAQEAAT8hJEEHG9CfHcvrhCx8jP5/JdW5keHkPw" +
			"hxj4DYb9l273//2gAIAQEAAAAQpvhv/8QAHhAAAgMBAAIDAAAAAAAAAAAAAREAITFBUWGBkbH/2gAIAQEAAT8QsAXt4YXrnZv3rhVx71QIKJbEiJgbDrPrkOKzDQntKB2I1Dit8wgDg9lrAJCHggD9" +
			"S0BMG4eRSHkFuGUHGB8OaraMOMTbfks6n//Z"},
	{"progressive 4:2:0, restarts", 35, 29, 3, "8d9726763fab8b46cda4cbc8430dc34e3b14dc7a8db5a5f8343b9404212aa336",
		"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT0" +
			"9PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wgARCAAjAB0DASIAAhEBAxEB/8QAGAAAAwEBAAAAAAAAAAAAAAAAAAMEBQb/xAAWAQEBAQAAAAAAAAAAAAAAAAAD" +
			"AgT/3QAEAAP/2gAMAwEAAhADEAAAAdJD0FeRFZG79gh6MOT/0ERWxC3TICKyIwdv/8QAGRABAQEBAQEAAAAAAAAAAAAAAAMBEBEx/9oACAEBAAEFAs1TVH//0GKP/9GnM+f/0qKY8f/TzVFH/9Rij/" +
			"/Vpz//xAAXEQEBAQEAAAAAAAAAAAAAAAADAAQB/9oACAEDAQE/AQTkqWc7/9BTs8l//8QAGhEAAgMBAQAAAAAAAAAAAAAAAAMBAhEEMf/aAAgBAgEBPwF1Y0RWB1p0/9DntI70Qf/EABQQAQAAAAAA" +
			"AAAAAAAAAAAAABD/2gAIAQEABj8Cf//Qf//Rf//Sf//Tf//Uf//VP//EABkQAQEBAQEBAAAAAAAAAAAAAAABITEQEf/aAAgBAQABPyHBgvr/0LU4jH//0ZWJP//SjPKn/9PBWLf/1LXDh//Vfr//2g" +
			"AMAwEAAgADAAAAEMWIf//QS/h//8QAFxEBAQEBAAAAAAAAAAAAAAAAAAERMf/aAAgBAwEBPxBI4q//0K44cv/EABgRAAMBAQAAAAAAAAAAAAAAAAABERAh/9oACAECAQE/EBZsv//QhEQXh//EABsQ" +
			"AQEBAQADAQAAAAAAAAAAAAEAIRExQVGB/9oACAEBAAE/EG8bR5n7q//Q1dlq9Zf/0d2XuEOPl//SHr5F1IO6X//TqPUPUv/UFdT9m+0nrb//1U9duuu3/9k="},
	{"4:2:2, restarts", 19, 37, 3, "ff3ddf9d7a94c03207ec8afa2d89b8195419b35228d8d44b41477c37088ef153",
		"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT0" +
			"9PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAATACUDASEAAhEBAxEB/8QAFwAAAwEAAAAAAAAAAAAAAAAAAAUGBP/EACIQAAIBBAIBBQAAAAAAAAAAAAAB" +
			"AwIFEiEEESITIzFBgf/EABYBAQEBAAAAAAAAAAAAAAAAAAQGBf/EAB8RAAIBBQADAQAAAAAAAAAAAAABBAIDBRESEyIyIf/dAAQAAv/aAAwDAQACEQMRAD8ApYq/AwXCt4sDMtew6BUtEjcpPJibN5" +
			"jsda/Rkypcn//QScSTuP6AoPEEqqWy/iofpmG4UeLJqZUuxUC8f//RTXKNtvQnweYnHNCpl71GvFo9vfX6BQpk3Vdez//SrI0lQYrgl18AJjfQTHkhckt6Ey3IPxzexkv5P//TW8SlOIDf6ZN1/TP/" +
			"2Q=="},
	{"4:2:0", 21, 18, 3, "78f461cdfe5bce455813d769017c54df055121d90864d69a5908e95a687bda88",
		"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT0" +
			"9PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAAVABIDASIAAhEBAxEB/8QAFwABAQEBAAAAAAAAAAAAAAAAAAQFBv/EACEQAAICAAUFAAAAAAAAAAAAAAAB" +
			"AgMFEhMhIhExQVFx/8QAGAEAAgMAAAAAAAAAAAAAAAAABAUBAwb/xAAcEQACAgIDAAAAAAAAAAAAAAAAAgQSAQMTFFH/2gAMAwEAAhEDEQA/AOlqsemQYhPg+pdTW9MhxCt5WCzNSXL4ElTAlLk/oE" +
			"q+T38+wDcajjsqdxVFaZBiEFlaAImtm5loBguKzPZdwACXb0cH/9k="}}
