package pixel

import (
	"math"
	"slices"

	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// The grid that features are measured on.
const (
	gridSide   = 64 // the film without its frame, stretched to a square
	cells      = 8  // cells along a side, each of 8 x 8 pixels
	directions = 9  // of edges, from 0 to 180 degrees
	coarse     = 16 // pixels along a side of the coarse picture
)

// FeatureCount is the number of values that [Features] returns.
const FeatureCount = 1 + 2*coarse*coarse/2 + 2*cells*cells/2*directions

// Features describes a rendered film for a [Classifier]: its proportions, a coarse picture
// with brightness and contrast taken out, and histograms of the directions of edges (HOG,
// Dalal and Triggs 2005). Picture and histograms are given as what the left and the right half
// have together and what they differ by, so that a film and its mirror image have the same
// features (but for rounding), and the symmetry of a frontal chest is one step away.
func Features(r Rendered) []float32 {
	box := content(r)
	grid := stretch(r.Pixels, box)
	out := make([]float32, 0, FeatureCount)
	out = append(out, float32(2*math.Log(float64(box.X1-box.X0)/float64(box.Y1-box.Y0))))
	standardise(grid)
	picture := shrink(grid)
	out = halves(out, picture, coarse, 1, 1)
	return halves(out, edges(grid), cells, directions, 3)
}

// content returns the film without its frame: rows and columns at its edges that are next to
// one grey are left off, as frames, bars and collimated borders are.
func content(r Rendered) *radstreamv1.Box {
	const least = 32
	b := &radstreamv1.Box{X0: r.Exposed.X0, Y0: r.Exposed.Y0, X1: r.Exposed.X1, Y1: r.Exposed.Y1}
	low, high := spread(r.Pixels, b, 0.01)
	allowed := max(1, (high-low)/25)
	flat := func(x0, y0, x1, y1 uint32) bool {
		a, z := spread(r.Pixels, &radstreamv1.Box{X0: x0, Y0: y0, X1: x1, Y1: y1}, 0.04)
		return z-a <= allowed
	}
	for range 2 { // a frame of bars at all sides has corners that hide the bars beside them
		for b.Y1-b.Y0 > least && flat(b.X0, b.Y0, b.X1, b.Y0+1) {
			b.Y0++
		}
		for b.Y1-b.Y0 > least && flat(b.X0, b.Y1-1, b.X1, b.Y1) {
			b.Y1--
		}
		for b.X1-b.X0 > least && flat(b.X0, b.Y0, b.X0+1, b.Y1) {
			b.X0++
		}
		for b.X1-b.X0 > least && flat(b.X1-1, b.Y0, b.X1, b.Y1) {
			b.X1--
		}
	}
	return b
}

// spread returns the grey values below which a share of the box's pixels lies, and above which
// as many lie.
func spread(pixels []byte, b *radstreamv1.Box, share float64) (low, high int) {
	h := counts(pixels, b)
	n := int((b.X1 - b.X0) * (b.Y1 - b.Y0))
	skip := int(share * float64(n))
	for left := skip; ; low++ {
		if left -= h[low]; left < 0 {
			break
		}
	}
	high = 255
	for left := skip; ; high-- {
		if left -= h[high]; left < 0 {
			break
		}
	}
	return low, high
}

func counts(pixels []byte, b *radstreamv1.Box) (h [256]int) {
	for y := b.Y0; y < b.Y1; y++ {
		for _, v := range pixels[y*Side+b.X0 : y*Side+b.X1] {
			h[v]++
		}
	}
	return h
}

// stretch resamples a part of the square to the grid.
func stretch(pixels []byte, b *radstreamv1.Box) []float32 {
	columns, rows := int(b.X1-b.X0), int(b.Y1-b.Y0)
	narrow := make([]float32, rows*gridSide)
	for x, t := range filter(columns, gridSide) {
		for y := range rows {
			from := pixels[(int(b.Y0)+y)*Side+int(b.X0)+t.first:]
			sum := float32(0)
			for k, w := range t.weights {
				sum += float32(w) * float32(from[k])
			}
			narrow[y*gridSide+x] = sum / (1 << precision)
		}
	}
	grid := make([]float32, gridSide*gridSide)
	for y, t := range filter(rows, gridSide) {
		to := grid[y*gridSide:][:gridSide]
		for k, w := range t.weights {
			share := float32(w) / (1 << precision)
			for x, v := range narrow[(t.first+k)*gridSide:][:gridSide] {
				to[x] += share * v
			}
		}
	}
	return grid
}

// standardise takes mean and deviation out of grid, in place. Outliers, such as letters, are
// cut to three deviations.
func standardise(grid []float32) {
	mean, square := 0.0, 0.0
	for _, v := range grid {
		mean += float64(v)
		square += float64(v) * float64(v)
	}
	mean /= float64(len(grid))
	deviation := math.Sqrt(max(0, square/float64(len(grid))-mean*mean)) + 4 // 4: noise is not blown up
	for i, v := range grid {
		grid[i] = float32(max(-3, min(3, (float64(v)-mean)/deviation)))
	}
}

// shrink averages grid to the coarse picture.
func shrink(grid []float32) []float32 {
	const n = gridSide / coarse
	out := make([]float32, coarse*coarse)
	for y := range gridSide {
		for x := range gridSide {
			out[y/n*coarse+x/n] += grid[y*gridSide+x] / (n * n)
		}
	}
	return out
}

// edges returns a histogram of the directions of edges of each cell. An edge counts by its
// contrast in two neighbouring directions; a cell is scaled by the contrast of the nine cells
// around it.
func edges(grid []float32) []float32 {
	const n = gridSide / cells
	out := make([]float32, cells*cells*directions)
	for y := 1; y < gridSide-1; y++ {
		for x := 1; x < gridSide-1; x++ {
			i := y*gridSide + x
			dx, dy := float64(grid[i+1]-grid[i-1]), float64(grid[i+gridSide]-grid[i-gridSide])
			strength := math.Sqrt(dx*dx + dy*dy)
			if strength == 0 {
				continue
			}
			turn := math.Atan2(dy, dx) / math.Pi // -1 to 1; a half turn is the same edge
			if turn < 0 {
				turn++
			}
			at := turn*directions - 0.5
			before := math.Floor(at)
			share := at - before
			h := out[(y/n*cells+x/n)*directions:][:directions]
			h[(int(before)+directions)%directions] += float32(strength * (1 - share))
			h[(int(before)+1)%directions] += float32(strength * share)
		}
	}
	var energy [cells * cells]float64
	mean := 0.0
	for i := range energy {
		for _, v := range out[i*directions:][:directions] {
			energy[i] += float64(v) * float64(v)
		}
	}
	around := energy
	for i := range around {
		around[i] = 0
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				y, x := max(0, min(cells-1, i/cells+dy)), max(0, min(cells-1, i%cells+dx))
				around[i] += energy[y*cells+x]
			}
		}
		mean += around[i] / (cells * cells)
	}
	for i := range out {
		out[i] /= float32(math.Sqrt(around[i/directions] + 1e-3*mean + 1e-3))
	}
	return out
}

// halves appends what cells of grid and their mirror images have together and differ by. Each
// cell has channels values; those of directions turn round in the mirror.
func halves(out, grid []float32, side, channels int, weight float32) []float32 {
	together := make([]float32, 0, len(grid)/2)
	apart := make([]float32, 0, len(grid)/2)
	for y := range side {
		for x := range side / 2 {
			left := grid[(y*side+x)*channels:][:channels]
			right := slices.Clone(grid[(y*side+side-1-x)*channels:][:channels])
			slices.Reverse(right)
			for c := range channels {
				together = append(together, weight*(left[c]+right[c])/math.Sqrt2)
				apart = append(apart, weight*max(left[c]-right[c], right[c]-left[c]))
			}
		}
	}
	return append(append(out, together...), apart...)
}
