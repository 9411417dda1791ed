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
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// Graph runs one network that takes and gives one float tensor each, row-major. It must be
// safe for concurrent use.
type Graph interface {
	Run(ctx context.Context, shape []int64, data []float32) ([]int64, []float32, error)
}

// Image is a grey image, row-major, one byte a pixel.
type Image struct {
	Columns, Rows int
	Pix           []byte
}

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

// Read returns the text of img, from its top to its bottom. Text of 8 to about 160 pixels
// height is looked for.
//
// Errors: Invalid with ReasonTooMuch; those of the graphs and of ctx; Internal for an image that
// contradicts itself.
func (r *Reader) Read(ctx context.Context, img Image) ([]Line, error) {
	const op = "ocr.Read"
	if img.Columns <= 0 || img.Rows <= 0 || img.Columns*img.Rows != len(img.Pix) {
		return nil, fault.Errorf(op, fault.Internal, "an image of %d x %d with %d pixels", img.Columns, img.Rows, len(img.Pix))
	}
	var lines []Line
	// Level by level the text that counts is four times as large.
	for shrink := 1; ; shrink *= 4 {
		level := img
		if shrink > 1 {
			level = reduce(img, shrink)
		}
		found, err := r.level(ctx, level)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		for _, l := range found {
			lines = append(lines, l.scaled(shrink, img))
		}
		if min(img.Columns, img.Rows)/(4*shrink) < leastLevel {
			break
		}
	}
	slices.SortFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Box.Y0, b.Box.Y0), cmp.Compare(a.Box.X0, b.Box.X0), cmp.Compare(a.Box.X1, b.Box.X1), cmp.Compare(a.Box.Y1, b.Box.Y1), cmp.Compare(a.Text, b.Text))
	})
	return lines, nil
}

// level reads img as it is, and once more with its local contrast made equal, in which only
// what was not found before counts.
func (r *Reader) level(ctx context.Context, img Image) ([]Line, error) {
	areas := candidates(img)
	if len(areas) == 0 {
		return nil, nil
	}
	var lines []Line
	for i, look := range []Image{img, flatten(img)} {
		before := lines
		for _, area := range areas {
			found, err := r.detect(ctx, look, area)
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
				if err := r.recognize(ctx, look, &l); err != nil {
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
func (l Line) scaled(by int, img Image) Line {
	for i := range l.Quad {
		l.Quad[i].X *= float64(by)
		l.Quad[i].Y *= float64(by)
	}
	l.Box = around(l.Quad[:]).Intersect(Box{0, 0, img.Columns, img.Rows})
	return l
}

// reduce returns img with each by x by square as its mean.
func reduce(img Image, by int) Image {
	out := Image{Columns: img.Columns / by, Rows: img.Rows / by}
	out.Pix = make([]byte, out.Columns*out.Rows)
	for y := range out.Rows {
		for x := range out.Columns {
			sum := 0
			for dy := range by {
				for _, v := range img.Pix[(y*by+dy)*img.Columns+x*by:][:by] {
					sum += int(v)
				}
			}
			out.Pix[y*out.Columns+x] = byte((sum + by*by/2) / (by * by))
		}
	}
	return out
}
