package ocr

import (
	"cmp"
	"math"
	"slices"
)

// around returns the least box of whole pixels that holds the points.
func around(points []Point) Box {
	b := Box{math.MaxInt32, math.MaxInt32, math.MinInt32, math.MinInt32}
	for _, p := range points {
		b = b.Union(Box{int(math.Floor(p.X)), int(math.Floor(p.Y)), int(math.Ceil(p.X)), int(math.Ceil(p.Y))})
	}
	return b
}

// hull returns the convex hull of points, counterclockwise in a coordinate system whose y
// runs up (Andrew's monotone chain). It sorts points.
func hull(points []Point) []Point {
	slices.SortFunc(points, func(a, b Point) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(a.Y, b.Y)) })
	points = slices.Compact(points)
	if len(points) < 3 {
		return points
	}
	half := func(points []Point) []Point {
		var chain []Point
		for _, p := range points {
			for n := len(chain); n > 1; n = len(chain) {
				a, b := chain[n-2], chain[n-1]
				if (b.X-a.X)*(p.Y-a.Y)-(b.Y-a.Y)*(p.X-a.X) > 0 {
					break
				}
				chain = chain[:n-1]
			}
			chain = append(chain, p)
		}
		return chain[:len(chain)-1]
	}
	lower := half(points)
	slices.Reverse(points)
	return append(lower, half(points)...)
}

// leastRectangle returns the rectangle of least area that holds the points, widened by
// unclip: each side moves out by area * unclip / perimeter, which is what DB's shrunken text
// kernels ask for. Its corners run from the upper left clockwise; across and down are the
// lengths of its sides before it was widened, across that from the first corner to the second.
//
// One side of that rectangle lies on an edge of the hull (Freeman and Shapira 1975).
func leastRectangle(points []Point, unclip float64) (quad [4]Point, across, down float64) {
	h := hull(points)
	best := math.Inf(1)
	var ux, uy, u0, u1, v0, v1 float64
	for i := range h {
		a, b := h[i], h[(i+1)%len(h)]
		dx, dy := b.X-a.X, b.Y-a.Y
		length := math.Hypot(dx, dy)
		if length == 0 { // a single point
			dx, length = 1, 1
		}
		dx, dy = dx/length, dy/length
		lo, hi := Point{math.Inf(1), math.Inf(1)}, Point{math.Inf(-1), math.Inf(-1)}
		for _, p := range h {
			u, v := p.X*dx+p.Y*dy, p.Y*dx-p.X*dy
			lo, hi = Point{min(lo.X, u), min(lo.Y, v)}, Point{max(hi.X, u), max(hi.Y, v)}
		}
		if area := (hi.X - lo.X) * (hi.Y - lo.Y); area < best {
			best, ux, uy, u0, u1, v0, v1 = area, dx, dy, lo.X, hi.X, lo.Y, hi.Y
		}
	}
	// Turn by quarters until the first axis runs to the right, so that text stands upright.
	for range 4 {
		if ux > 0 && math.Abs(ux) >= math.Abs(uy) {
			break
		}
		// The new axis is the old second one; what was along it is now across.
		ux, uy, u0, u1, v0, v1 = -uy, ux, v0, v1, -u1, -u0
	}
	across, down = u1-u0, v1-v0
	if across+down > 0 {
		d := across * down * unclip / (2 * (across + down))
		u0, u1, v0, v1 = u0-d, u1+d, v0-d, v1+d
	}
	at := func(u, v float64) Point { return Point{u*ux - v*uy, u*uy + v*ux} }
	return [4]Point{at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)}, across, down
}

// sample returns the grey value at p, bilinear; outside c it repeats the border.
func sample(c cut, p Point) float64 {
	x, y := p.X-0.5, p.Y-0.5
	fx, fy := math.Floor(x), math.Floor(y)
	ax, ay := x-fx, y-fy
	at := func(x, y int) float64 {
		return float64(c.img.Pix[max(0, min(y-c.y0, c.img.Rows-1))*c.img.Columns+max(0, min(x-c.x0, c.img.Columns-1))])
	}
	ix, iy := int(fx), int(fy)
	top := at(ix, iy)*(1-ax) + at(ix+1, iy)*ax
	low := at(ix, iy+1)*(1-ax) + at(ix+1, iy+1)*ax
	return top*(1-ay) + low*ay
}
