// Package ocr finds and reads text in a grey image: PP-OCRv4's two networks behind a small
// interface, and what turns their numbers into lines.
//
//	grey image -> candidates: where strokes are (no network)            candidates.go
//	  -> as it is, and with equal contrast everywhere                   contrast.go
//	  -> each area, enlarged -> detection network -> probability map
//	     -> threshold, components, least rectangles, unclip             detect.go, geometry.go
//	  -> each rectangle, upright, 48 pixels high -> recognition network
//	     -> CTC decoding -> [Line]                                      recognize.go
//
// An image without strokes, as most films are but for their markers, never reaches a network.
// Detection is Differentiable Binarization (Liao et al., AAAI 2020) and recognition SVTR with
// CTC (Du et al., IJCAI 2022), as PaddleOCR publishes them.
//
// The package knows no runtime: services/app hands it a [Graph] for each network. With graphs
// that give the same numbers every time a Reader gives the same lines every time.
package ocr

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// Graph runs one network that takes and gives one float tensor each, row-major. It must be
// safe for concurrent use.
type Graph interface {
	Run(ctx context.Context, shape []int64, data []float32) ([]int64, []float32, error)
}

// Source is a grey image that is read row by row and part by part: of a large film nobody then
// needs a second copy. It must be safe for concurrent reading.
type Source interface {
	Size() (columns, rows int)
	// Row writes the grey values of row y from column x on to out, whose end lies in the image.
	Row(y, x int, out []byte)
}

// Image is a grey image in memory, row-major, one byte a pixel.
type Image struct {
	Columns, Rows int
	Pix           []byte
}

var _ Source = Image{}

// Size returns the columns and rows of img.
func (img Image) Size() (columns, rows int) { return img.Columns, img.Rows }

// Row copies pixels of row y from column x on to out.
func (img Image) Row(y, x int, out []byte) { copy(out, img.Pix[y*img.Columns+x:]) }

func whole(src Source) Box {
	columns, rows := src.Size()
	return Box{0, 0, columns, rows}
}

// cut is a part of an image, with the place of its first pixel in the whole.
type cut struct {
	img    Image
	x0, y0 int
}

// cutOut returns what part and src have in common.
func cutOut(src Source, part Box) cut {
	part = part.Intersect(whole(src))
	c := cut{Image{Columns: max(0, part.X1-part.X0), Rows: max(0, part.Y1-part.Y0)}, part.X0, part.Y0}
	c.img.Pix = make([]byte, c.img.Columns*c.img.Rows)
	for y := range c.img.Rows {
		src.Row(c.y0+y, c.x0, c.img.Pix[y*c.img.Columns:][:c.img.Columns])
	}
	return c
}

// look shows a part of an image: [cutOut] or [equalised].
type look func(src Source, part Box) cut

// Point is a place in an image in pixels; the centre of the first pixel is (0.5, 0.5).
type Point struct{ X, Y float64 }

// Box is a rectangle in pixels: X0 <= x < X1, Y0 <= y < Y1.
type Box struct{ X0, Y0, X1, Y1 int }

// Empty tells whether b holds no pixel.
func (b Box) Empty() bool { return b.X0 >= b.X1 || b.Y0 >= b.Y1 }

func (b Box) area() int { return (b.X1 - b.X0) * (b.Y1 - b.Y0) }

// Intersect returns what b and o have in common.
func (b Box) Intersect(o Box) Box {
	return Box{max(b.X0, o.X0), max(b.Y0, o.Y0), min(b.X1, o.X1), min(b.Y1, o.Y1)}
}

// Union returns the least box that holds b and o.
func (b Box) Union(o Box) Box {
	return Box{min(b.X0, o.X0), min(b.Y0, o.Y0), max(b.X1, o.X1), max(b.Y1, o.Y1)}
}

// Grow returns b with n pixels more on each side.
func (b Box) Grow(n int) Box { return Box{b.X0 - n, b.Y0 - n, b.X1 + n, b.Y1 + n} }

// Line is one piece of text that was found.
type Line struct {
	Box        Box      // the least box in the image that holds Quad
	Quad       [4]Point // the corners of the text's rectangle, from its upper left clockwise
	Text       string   // what was read; may be empty or wrong
	Detection  float64  // how sure detection is, 0 to 1
	Confidence float64  // mean probability of the characters that were read, 0 to 1
	Faint      bool     // only seen when the contrast was made equal, as some noise is too
}

// Reader reads text. It is safe for concurrent use.
type Reader struct {
	detection, recognition Graph
	alphabet               []string // by class; the first is CTC's blank
	id                     string
}

// New returns a Reader over the two networks. alphabet lists the characters in the order of
// recognition's classes without the blank and without the space, as the graph's metadata
// `character` does. id names the networks, for provenance.
//
// Errors: Invalid for an empty alphabet.
func New(detection, recognition Graph, alphabet []string, id string) (*Reader, error) {
	if len(alphabet) == 0 {
		return nil, fault.Errorf("ocr.New", fault.Invalid, "the recognition graph must name its characters")
	}
	classes := append([]string{""}, alphabet...)
	return &Reader{detection: detection, recognition: recognition, alphabet: append(classes, " "), id: id}, nil
}

// ID names the networks.
func (r *Reader) ID() string { return r.id }

// ReasonTooMuch refuses an image with more than mostLines pieces of text.
const ReasonTooMuch fault.Reason = "too_much_text"

// mostLines bounds what is read in one image, at some hundredths of a second a piece. A page of a
// book has about 50 lines; a film has a dozen.
const mostLines = 500

// Read returns the text of src, from its top to its bottom. Text of 8 to about 160 pixels
// height is looked for. Beside src it takes about 100 MB, however large that is.
//
// Errors: Invalid with ReasonTooMuch; those of the graphs and of ctx; Internal for an image
// without pixels.
func (r *Reader) Read(ctx context.Context, src Source) ([]Line, error) {
	const op = "ocr.Read"
	if whole(src).Empty() {
		return nil, fault.Errorf(op, fault.Internal, "an image without pixels")
	}
	reading := run{Reader: r, tile: tileOf(src), most: mostLeft(src)}
	var lines []Line
	// Level by level the text that counts is four times as large.
	for shrink := 1; ; shrink *= 4 {
		level := src
		if shrink > 1 {
			level = reduce(src, shrink)
		}
		found, err := reading.level(ctx, level)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		for _, l := range found {
			lines = append(lines, l.scaled(shrink, src))
		}
		if columns, rows := src.Size(); min(columns, rows)/(4*shrink) < leastLevel {
			break
		}
	}
	slices.SortFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Box.Y0, b.Box.Y0), cmp.Compare(a.Box.X0, b.Box.X0), cmp.Compare(a.Box.X1, b.Box.X1), cmp.Compare(a.Box.Y1, b.Box.Y1), cmp.Compare(a.Text, b.Text))
	})
	return lines, nil
}

// run is one call of Read.
type run struct {
	*Reader
	tile int // longest side of an area that detection sees
	left int // bytes of tensors that were made since the last collection
	most int // of those that may wait for one
}

// mostLeft is how many bytes of tensors may wait to be collected beside a film. The collector would
// wait until they are as large as all else in the process. Others it may choose its time for:
// asking for a collection costs a look at all that the process holds.
func mostLeft(src Source) int {
	switch area := whole(src).area(); {
	case area > largeFilm:
		return 12 << 20
	case area > largeFilm/2:
		return 64 << 20
	}
	return math.MaxInt
}

// ask runs a network.
func (r *run) ask(ctx context.Context, g Graph, shape []int64, data []float32) ([]int64, []float32, error) {
	outShape, out, err := g.Run(ctx, shape, data)
	if r.left += 4 * (len(data) + len(out)); r.left > r.most {
		r.left = 0
		runtime.GC()
	}
	return outShape, out, err
}

// level reads src as it is, and once more with its local contrast made equal, in which only
// what was not found before counts.
func (r *run) level(ctx context.Context, src Source) ([]Line, error) {
	areas := candidates(src, r.tile)
	if len(areas) == 0 {
		return nil, nil
	}
	var lines []Line
	for i, as := range []look{cutOut, equalised} {
		before := lines
		for _, area := range areas {
			found, err := r.detect(ctx, src, as, area)
			if err != nil {
				return nil, err
			}
			for _, l := range found {
				if slices.ContainsFunc(before, func(b Line) bool { return l.inside(b) }) {
					continue
				}
				if len(lines) == mostLines {
					return nil, fault.Reject("ocr.Read", fault.Invalid, ReasonTooMuch, "an image has at most %d pieces of text: this is no film", mostLines)
				}
				if err := r.recognize(ctx, src, as, &l); err != nil {
					return nil, err
				}
				l.Faint = i > 0
				lines = append(lines, l)
			}
		}
	}
	return lines, nil
}

// inside tells whether nearly all of l lies in o, which was read well.
func (l Line) inside(o Line) bool {
	both := l.Box.Intersect(o.Box)
	return o.Confidence >= sure && !both.Empty() && both.area()*10 >= l.Box.area()*9
}

// leastLevel is the shortest side of a level of the pyramid: on less, text that the level
// above has missed would fill the film.
const leastLevel = 300

// scaled returns l in the pixels of the image that its level is a reduction of.
func (l Line) scaled(by int, of Source) Line {
	for i := range l.Quad {
		l.Quad[i].X *= float64(by)
		l.Quad[i].Y *= float64(by)
	}
	l.Box = around(l.Quad[:]).Intersect(whole(of))
	return l
}

// reduce returns src with each by x by square as its mean.
func reduce(src Source, by int) Image {
	columns, rows := src.Size()
	out := Image{Columns: columns / by, Rows: rows / by}
	out.Pix = make([]byte, out.Columns*out.Rows)
	line, sums := make([]byte, columns), make([]int, out.Columns)
	for y := range out.Rows {
		clear(sums)
		for dy := range by {
			src.Row(y*by+dy, 0, line)
			for x := range sums {
				for _, v := range line[x*by:][:by] {
					sums[x] += int(v)
				}
			}
		}
		for x, sum := range sums {
			out.Pix[y*out.Columns+x] = byte((sum + by*by/2) / (by * by))
		}
	}
	return out
}
