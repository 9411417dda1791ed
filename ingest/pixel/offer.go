package pixel

import (
	"math"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// LUT is a lookup table (PS3.3 C.11.1.1, C.11.2.1.1). One without entries cannot be used.
type LUT struct {
	First   int      // the input that has the first entry; smaller ones have it too
	Bits    int      // of an entry, 1 to 16: as grey, 0 is black and 2^Bits-1 is white
	Entries []uint16 // larger inputs have the last
}

// at looks up x, rounded. DICOM does not say what becomes of inputs that are no integers.
func (l *LUT) at(x float64) uint16 {
	i := math.Floor(x+0.5) - float64(l.First)
	return l.Entries[int(max(0, min(i, float64(len(l.Entries)-1))))]
}

// Offer is one way to show rescaled values that an object offers.
type Offer struct {
	LUT    *LUT   // a VOI LUT
	Window Window // where LUT is nil
	Unfit  Unfit  // why it cannot be used; empty when it can
}

// Unfit says why an offer cannot be used.
type Unfit string

// What makes offers unfit. Windows in real headers are often left over from another image,
// or from the values before something rescaled them.
const (
	UnfitTable    Unfit = "table"    // the LUT cannot be read
	UnfitFunction Unfit = "function" // the VOI LUT Function is not one of PS3.3 C.11.2.1
	UnfitWidth    Unfit = "width"    // below 1 for LINEAR, not positive for the others, or not a number
	UnfitClipped  Unfit = "clipped"  // less than leastBetween of the exposed pixels are neither black nor white
	UnfitFlat     Unfit = "flat"     // the exposed pixels, but the 0.5 % at either end, span less than leastSpan
)

const (
	leastBetween = 0.05
	leastSpan    = 26 // of 256 grey levels: a tenth
)

// offers lists what the object offers, VOI LUTs before windows.
func (f *Film) offers() (all []Offer) {
	for i := range f.VOILUTs {
		all = append(all, Offer{LUT: &f.VOILUTs[i]})
	}
	for _, w := range f.Windows {
		all = append(all, Offer{Window: w})
	}
	return all
}

// declared tells what is wrong with o by itself.
func (o Offer) declared() Unfit {
	w := o.Window
	switch {
	case o.LUT != nil && len(o.LUT.Entries) == 0:
		return UnfitTable
	case o.LUT != nil:
		return ""
	case !slices.Contains([]Function{"", Linear, LinearExact, Sigmoid}, w.Function):
		return UnfitFunction
	case !(w.Width > 0), w.Width < 1 && (w.Function == "" || w.Function == Linear):
		return UnfitWidth
	}
	return ""
}

// level returns the brightness of x, 0 to 1.
func (o Offer) level(x float64) float64 {
	if o.LUT == nil {
		return o.Window.level(x)
	}
	return float64(o.LUT.at(x)) / float64(int(1)<<o.LUT.Bits-1)
}

// choose makes grey values under policy p, and tells in r how. middle is the window of the
// percentiles; h counts the n exposed pixels.
func (f *Film) choose(p Policy, middle Window, h *histogram, n int, r *Rendered) (*[values]byte, error) {
	var grey *[values]byte
	r.Offers = f.offers()
	for i := range r.Offers {
		o := &r.Offers[i]
		if o.Unfit = o.declared(); o.Unfit != "" {
			continue
		}
		t := f.shown(*o)
		if o.Unfit = unfit(t, h, n); o.Unfit == "" && grey == nil {
			grey, r.Used = t, i
		}
	}
	switch {
	case p == Fixed:
		r.Policy, r.Window = Fixed, Window{Center: -500, Width: 1500}
	case p == Percentile, p == Auto && grey == nil:
		r.Policy, r.Window = Percentile, middle
	case grey == nil:
		return nil, fault.Reject("pixel.Render", fault.Unsupported, ReasonNoWindow,
			"the object must have a VOI LUT or a window that leaves at least %d %% of its pixels between black and white, and spreads them over a tenth of the greys", int(100*leastBetween))
	default:
		r.Policy, r.Window = DICOM, r.Offers[r.Used].Window
		return grey, nil
	}
	r.Used = -1
	return f.shown(Offer{Window: r.Window}), nil
}

// shown returns the grey value that o gives each stored value.
func (f *Film) shown(o Offer) *[values]byte {
	grey := &[values]byte{}
	for raw := range grey {
		grey[raw] = byte(255*o.level(f.rescaled(raw)) + 0.5)
	}
	return grey
}

// unfit tells what is wrong with grey values for the n exposed pixels that h counts.
func unfit(grey *[values]byte, h *histogram, n int) Unfit {
	var levels [256]int
	for raw, count := range h {
		levels[grey[raw]] += int(count)
	}
	if between := n - levels[0] - levels[255]; float64(between) < leastBetween*float64(n) {
		return UnfitClipped
	}
	end := func(from, step int) int {
		for skip := n / 200; ; from += step {
			if skip -= levels[from]; skip < 0 {
				return from
			}
		}
	}
	if end(255, -1)-end(0, 1) < leastSpan {
		return UnfitFlat
	}
	return ""
}
