package pixel

import (
	"math"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Reasons for which the quality gate refuses a film that was read, beside [ReasonBlank].
// Over- and under-exposed are meant as of a picture: what is lost is lost in white, or in black.
const (
	ReasonOverExposed  fault.Reason = "over_exposed"
	ReasonUnderExposed fault.Reason = "under_exposed"
	ReasonBlurred      fault.Reason = "blurred"
	ReasonInverted     fault.Reason = "inverted"
	ReasonNotChest     fault.Reason = "not_a_chest_radiograph"
	ReasonCropped      fault.Reason = "cropped"
)

// Measures are figures of a rendered film without its frame.
type Measures struct {
	Contrast  float64 // grey levels between the darkest and the brightest 1 % of the pixels
	Darkest   float64 // the grey value that 5 % of the pixels do not reach
	Brightest float64 // the grey value that 5 % of the pixels pass
	White     float64 // share of the pixels of 250 or more
	Black     float64 // share of the pixels of 5 or less
	Sharpness float64 // see sharpness; infinite when the film has fewer pixels than the view
}

// Measure measures r.
func Measure(r Rendered) Measures {
	box := content(r)
	var m Measures
	low, high := spread(r.Pixels, box, 0.01)
	m.Contrast = float64(high - low)
	low, high = spread(r.Pixels, box, 0.05)
	m.Darkest, m.Brightest = float64(low), float64(high)
	n := float64((box.X1 - box.X0) * (box.Y1 - box.Y0))
	for v, count := range counts(r.Pixels, box) {
		switch {
		case v >= 250:
			m.White += float64(count) / n
		case v <= 5:
			m.Black += float64(count) / n
		}
	}
	m.Sharpness = math.Inf(1) // an enlarged film cannot be sharp, and that is not its fault
	if r.Scale >= 1 {
		m.Sharpness = sharpness(r.Pixels, box)
	}
	return m
}

// sharpness compares how grey bends with how it rises: along a line, the second difference of
// neighbours at the strongest edges over the first difference across a few pixels at the
// strongest ones. It does not depend on contrast, nor on how many edges there are. Of four
// directions the least counts, because a movement blurs in one.
func sharpness(pixels []byte, b *radstreamv1.Box) float64 {
	least := math.Inf(1)
	for _, step := range []int{1, Side, Side + 1, Side - 1} {
		var bends, rises [512]int
		n := 0
		for y := int(b.Y0) + apart; y < int(b.Y1)-apart; y++ {
			for x := int(b.X0) + apart; x < int(b.X1)-apart; x++ {
				i := y*Side + x
				bend := int(pixels[i-step]) + int(pixels[i+step]) - 2*int(pixels[i])
				rise := int(pixels[i+apart*step]) - int(pixels[i-apart*step])
				bends[max(bend, -bend)]++
				rises[max(rise, -rise)]++
				n++
			}
		}
		least = min(least, strongest(&bends, n)/(strongest(&rises, n)+0.5))
	}
	return least
}

// Of sharpness.
const (
	apart     = 3    // pixels that a rise is measured across, to both sides
	edgeShare = 0.02 // share of the pixels that counts as the strongest edges
)

// strongest returns the value that edgeShare of the n counted ones passes.
func strongest(h *[512]int, n int) float64 {
	left := float64(n) * edgeShare
	for v := len(h) - 1; v > 0; v-- {
		c := float64(h[v])
		if left < c {
			return float64(v) + 1 - left/c // within the step: values are whole
		}
		left -= c
	}
	return 0
}

// Limits say which films the quality gate refuses. A limit of zero is not checked.
type Limits struct {
	Contrast  float64 // at least, in grey levels; less is blank
	Darkest   float64 // at most; more is over-exposed
	White     float64 // at most; more is over-exposed
	Brightest float64 // at least; less is under-exposed
	Black     float64 // at most; more is under-exposed
	Sharpness float64 // at least; less is blurred

	// At most, each: how probable by its pixels the film may be a bad one.
	Inverted, NotChest, Cropped float64
}

// DefaultLimits returns limits that keep 99 % of real films, and phantoms; `radtrain
// eval quality` measures them.
func DefaultLimits() Limits {
	return Limits{
		Contrast: 24, Darkest: 140, White: 0.42, Brightest: 65, Black: 0.38, Sharpness: 0.09,
		Inverted: 0.905, NotChest: 0.9967, Cropped: 0.9815,
	}
}

// Check returns nil, or why a film of these measures and looks is refused: the first of blank,
// over_exposed, under_exposed, blurred, not_a_chest_radiograph, inverted and cropped. The
// error's text has the measured value and the limit. Errors: Invalid, but Unsupported for
// not_a_chest_radiograph.
func (l Limits) Check(m Measures, look Look) error {
	for _, check := range []struct {
		kind         fault.Kind
		reason       fault.Reason
		value, limit float64
		most         bool // the limit is the largest value that is taken
		format       string
	}{
		{fault.Invalid, ReasonBlank, m.Contrast, l.Contrast, false, "the film spans %.0f grey levels and must span at least %.0f"},
		{fault.Invalid, ReasonOverExposed, 100 * m.White, 100 * l.White, true, "%.0f %% of the film is white, and at most %.0f %% may be"},
		{fault.Invalid, ReasonOverExposed, m.Darkest, l.Darkest, true, "the darkest twentieth of the film reaches grey level %.0f, and must not pass %.0f of 255"},
		{fault.Invalid, ReasonUnderExposed, 100 * m.Black, 100 * l.Black, true, "%.0f %% of the film is black, and at most %.0f %% may be"},
		{fault.Invalid, ReasonUnderExposed, m.Brightest, l.Brightest, false, "the brightest twentieth of the film begins at grey level %.0f, and must begin at %.0f of 255 or above"},
		{fault.Invalid, ReasonBlurred, m.Sharpness, l.Sharpness, false, "the sharpness of the film is %.3f and must be at least %.3f"},
		{fault.Unsupported, ReasonNotChest, look[NotChest], l.NotChest, true, "the film shows something else than a chest with probability %.4f; at most %.4f is taken"},
		{fault.Invalid, ReasonInverted, look[Inverted], l.Inverted, true, "the film is inverted with probability %.4f; at most %.4f is taken"},
		{fault.Invalid, ReasonCropped, look[Cropped], l.Cropped, true, "the film is a part of a chest film with probability %.4f; at most %.4f is taken"},
	} {
		if check.limit != 0 && (check.most && check.value > check.limit || !check.most && check.value < check.limit) {
			return fault.Reject("pixel.Check", check.kind, check.reason, check.format, check.value, check.limit)
		}
	}
	return nil
}
