package ocr

import (
	"context"
	"math"

	"github.com/radstream/radstream/schemas/fault"
)

// How the probability map becomes rectangles. PaddleOCR's defaults are 0.3, 0.6 and 1.5; text
// on a film is fainter than in a photograph of a street, and a rectangle too many costs one
// recognition, so both thresholds are lower here.
const (
	enlarge    = 2    // detection sees 10 pixel high text as 20 pixels
	threshold  = 0.2  // probability from which a pixel is text
	leastScore = 0.35 // mean probability of a rectangle
	unclip     = 1.7  // see leastRectangle
	leastSide  = 3.0  // of a rectangle before it is widened, in pixels of the map
	multiple   = 32   // the network wants sides of a multiple of this
)

// detect returns the rectangles of text in an area of src, not yet read.
func (r *run) detect(ctx context.Context, src Source, as look, area Box) ([]Line, error) {
	seen := as(src, area.Grow(multiple/enlarge+1)) // with what the padding shows
	columns, rows := padded((area.X1-area.X0)*enlarge), padded((area.Y1-area.Y0)*enlarge)
	input := make([]float32, 3*columns*rows)
	plane := columns * rows
	for y := range rows {
		for x := range columns {
			v := sample(seen, Point{float64(area.X0) + (float64(x)+0.5)/enlarge, float64(area.Y0) + (float64(y)+0.5)/enlarge})
			input[y*columns+x] = float32(v/127.5 - 1)
		}
	}
	copy(input[plane:], input[:plane]) // grey: three equal channels
	copy(input[2*plane:], input[:plane])
	shape, probability, err := r.ask(ctx, r.detection, []int64{1, 3, int64(rows), int64(columns)}, input)
	if err != nil {
		return nil, err
	}
	if len(shape) != 4 || len(probability) != plane {
		return nil, fault.Errorf("ocr.detect", fault.Internal, "detection gave a tensor of shape %v for an image of %d x %d", shape, columns, rows)
	}
	var lines []Line
	for _, c := range components(probability, columns, rows) {
		quad, across, down := leastRectangle(c.border, unclip)
		if min(across, down) < leastSide || c.mean < leastScore {
			continue
		}
		for i := range quad {
			quad[i] = Point{float64(area.X0) + quad[i].X/enlarge, float64(area.Y0) + quad[i].Y/enlarge}
		}
		box := around(quad[:]).Intersect(whole(src))
		if !box.Empty() {
			lines = append(lines, Line{Box: box, Quad: quad, Detection: c.mean})
		}
	}
	return lines, nil
}

func padded(n int) int { return (n + multiple - 1) / multiple * multiple }

// component is a connected piece of the map.
type component struct {
	border []Point // corners of its pixels that lie at its border
	mean   float64 // probability
}

// components returns the 8-connected pieces of the map above the threshold, in raster order.
func components(probability []float32, columns, rows int) []component {
	seen := make([]bool, len(probability))
	var all []component
	var stack []int
	for start, p := range probability {
		if seen[start] || p <= threshold {
			continue
		}
		var c component
		sum, n := 0.0, 0
		seen[start] = true
		stack = append(stack[:0], start)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			sum += float64(probability[i])
			n++
			x, y := i%columns, i/columns
			inner := true
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					nx, ny := x+dx, y+dy
					if nx < 0 || ny < 0 || nx >= columns || ny >= rows || !(probability[ny*columns+nx] > threshold) {
						inner = false
						continue
					}
					if j := ny*columns + nx; !seen[j] {
						seen[j] = true
						stack = append(stack, j)
					}
				}
			}
			if !inner {
				fx, fy := float64(x), float64(y)
				c.border = append(c.border, Point{fx, fy}, Point{fx + 1, fy}, Point{fx, fy + 1}, Point{fx + 1, fy + 1})
			}
		}
		c.mean = sum / float64(n)
		if !math.IsNaN(c.mean) {
			all = append(all, c)
		}
	}
	return all
}
