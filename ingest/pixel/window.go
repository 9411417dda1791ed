package pixel

import (
	"iter"
	"math"

	"github.com/radstream/radstream/schemas/fault"
)

// Policy says how grey values are made of stored values.
type Policy string

// The policies.
const (
	Auto       Policy = "auto"       // DICOM when the object has a usable VOI LUT or window, else Percentile
	DICOM      Policy = "dicom"      // the object's own VOI LUT or window
	Percentile Policy = "percentile" // the middle 99 percent of the exposed pixels
	Fixed      Policy = "fixed"      // the paper's: level -500, width 1500, meant for values in HU
	None       Policy = "none"       // the values are grey already
)

// Policies lists the policies that can be asked for.
func Policies() []Policy { return []Policy{Auto, DICOM, Percentile, Fixed} }

// Function is a VOI LUT Function (PS3.3 C.11.2.1.2, C.11.2.1.3). Empty means Linear; a
// window of an unknown one is not used.
type Function string

// The functions.
const (
	Linear      Function = "LINEAR"
	LinearExact Function = "LINEAR_EXACT"
	Sigmoid     Function = "SIGMOID"
)

// Window maps rescaled values to grey.
type Window struct {
	Center, Width float64
	Function      Function
}

// values is the number of different stored values.
const values = 1 << 16

// table returns the grey value of each stored value, and tells in r what made it.
func (f *Film) table(p Policy, r *Rendered) (*[values]byte, error) {
	h := f.histogram(f.exposed())
	first, last, n := h.span(f.Signed)
	if first == last { // a film of two flat halves is all border
		h = f.histogram(0, 0, f.Columns, f.Rows)
		first, last, n = h.span(f.Signed)
	}
	if first == last {
		return nil, blank()
	}
	var grey *[values]byte
	switch {
	case f.Display:
		r.Policy, grey = None, &[values]byte{}
		for i := range grey {
			grey[i] = byte(min(i, 255))
		}
	default:
		middle, err := f.percentile(h, n)
		if err != nil {
			return nil, err
		}
		if grey, err = f.choose(p, middle, h, n, r); err != nil {
			return nil, err
		}
	}
	f.finish(grey)
	return grey, nil
}

func blank() error {
	return fault.Reject("pixel.Render", fault.Invalid, ReasonBlank, "the pixels must not all have one value")
}

// finish inverts grey and blackens the padding.
func (f *Film) finish(grey *[values]byte) {
	if f.Invert {
		for i := range grey {
			grey[i] = 255 - grey[i]
		}
	}
	for raw := range f.padding() {
		grey[raw] = 0
	}
}

// padding yields the 16 bits of the values that are padding.
func (f *Film) padding() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		if f.Padding == nil {
			return
		}
		low, high := 0, values-1
		if f.Signed {
			low, high = math.MinInt16, math.MaxInt16
		}
		for v := max(low, f.Padding.Low); v <= min(high, f.Padding.High); v++ {
			if !yield(uint16(v)) {
				return
			}
		}
	}
}

// rescaled returns what the modality transform makes of a stored value, given as its bits.
func (f *Film) rescaled(raw int) float64 {
	if f.Signed {
		raw = int(int16(raw))
	}
	x := float64(raw)*f.Slope + f.Intercept
	if f.ModalityLUT != nil {
		return float64(f.ModalityLUT.at(x))
	}
	return x
}

// level returns the brightness of x, 0 to 1 (PS3.3 C.11.2.1.2.1, C.11.2.1.3).
func (w Window) level(x float64) float64 {
	var y float64
	switch {
	case w.Function == Sigmoid:
		y = 1 / (1 + math.Exp(-4*(x-w.Center)/w.Width))
	case w.Function == LinearExact:
		y = (x-w.Center)/w.Width + 0.5
	case w.Width <= 1:
		if x > w.Center-0.5 {
			y = 1
		}
	default:
		y = (x-(w.Center-0.5))/(w.Width-1) + 0.5
	}
	return max(0, min(1, y))
}

// percentile returns the window from the 0.5th to the 99.5th percentile of the n exposed
// pixels, or over all of them when these are equal. It fails when rescaling leaves nothing
// to see.
func (f *Film) percentile(h *histogram, n int) (Window, error) {
	signed, value := f.Signed, f.rescaled
	if f.ModalityLUT != nil { // it need not keep the order of stored values
		out := &histogram{}
		for raw, count := range h {
			out[uint16(f.rescaled(raw))] += count
		}
		h, signed, value = out, false, func(raw int) float64 { return float64(raw) }
	}
	skip := n / 200
	first, last, _ := h.span(signed)
	low, high := h.after(skip, signed, false), h.after(skip, signed, true)
	if low == high {
		low, high = first, last
	}
	a, b := value(low), value(high)
	w := Window{Center: (a + b) / 2, Width: math.Abs(b - a), Function: LinearExact}
	switch {
	case w.Width-w.Width != 0 || w.Center-w.Center != 0: // not finite
		return Window{}, fault.Reject("pixel.Render", fault.Invalid, ReasonRescale, "Rescale Slope and Intercept (0028,1053), (0028,1052) must give finite values")
	case w.Width == 0:
		return Window{}, blank()
	}
	return w, nil
}

// histogram counts samples by their 16 bits.
type histogram [values]uint32

// histogram counts the pixels of a rectangle that are not padding.
func (f *Film) histogram(x0, y0, x1, y1 int) *histogram {
	// Neighbours are often equal, and a count would wait for the one before: they count apart.
	h, odd := &histogram{}, &histogram{}
	for y := y0; y < y1; y++ {
		row := f.Samples[y*f.Columns+x0 : y*f.Columns+x1]
		for ; len(row) >= 2; row = row[2:] {
			h[row[0]]++
			odd[row[1]]++
		}
		if len(row) > 0 {
			h[row[0]]++
		}
	}
	for raw, n := range odd {
		h[raw] += n
	}
	for raw := range f.padding() {
		h[raw] = 0
	}
	return h
}

// exposed returns the film without its border: from each edge the rows or columns that
// hold one value throughout, and all the same one, are the collimator or a frame.
func (f *Film) exposed() (x0, y0, x1, y1 int) {
	flat := func(start, step, n int, value uint16) bool {
		for i := range n {
			if f.Samples[start+i*step] != value {
				return false
			}
		}
		return true
	}
	x1, y1 = f.Columns, f.Rows
	row := func(y int, value uint16) bool { return flat(y*f.Columns, 1, f.Columns, value) }
	column := func(x int, value uint16) bool { return flat(y0*f.Columns+x, f.Columns, y1-y0, value) }
	for top := f.Samples[0]; y1-y0 > 1 && row(y0, top); {
		y0++
	}
	for bottom := f.Samples[(y1-1)*f.Columns]; y1-y0 > 1 && row(y1-1, bottom); {
		y1--
	}
	for left := f.Samples[y0*f.Columns]; x1-x0 > 1 && column(x0, left); {
		x0++
	}
	for right := f.Samples[y0*f.Columns+x1-1]; x1-x0 > 1 && column(x1-1, right); {
		x1--
	}
	return x0, y0, x1, y1
}

// span returns the smallest and the largest value that occurs and the number of pixels.
func (h *histogram) span(signed bool) (first, last, n int) {
	for _, count := range h {
		n += int(count)
	}
	return h.after(0, signed, false), h.after(0, signed, true), n
}

// after returns the value, as its 16 bits, of the pixel behind the skip smallest ones, or
// in front of the skip largest ones when fromTop is set.
func (h *histogram) after(skip int, signed, fromTop bool) int {
	for i := range values {
		raw := i
		if fromTop {
			raw = values - 1 - i
		}
		if signed {
			raw ^= 0x8000 // the order of two's complement
		}
		if skip -= int(h[raw]); skip < 0 {
			return raw
		}
	}
	return 0 // no pixel at all
}
