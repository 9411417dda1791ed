package phantom

import (
	"math"
	"math/rand/v2"

	"github.com/radstream/radstream/ingest/dicom"
)

// detector is how the machine of one study turns exposure into stored values.
type detector struct {
	modality         string
	syntax           dicom.FilmSyntax
	bits             int
	photometric      string
	window           bool    // the object says how to display itself
	slope, intercept float64 // of the rescale; slope 0 = absent
	noise            float64 // of the log attenuation behind 100 mm of tissue
	blur             float64 // pixels
	bend             float64 // how much of the display curve is S-shaped
	shift, stretch   float64 // of the exposed range
	border           int     // pixels blacked out by the collimator
}

// drawDetector draws one machine and its settings.
func drawDetector(r *rand.Rand) detector {
	d := detector{
		modality: pick(r, []string{"CR", "DX"}), syntax: dicom.FilmExplicitLE, bits: 10 + r.IntN(5), photometric: "MONOCHROME2",
		window: r.Float64() < 0.5,
		noise:  between(r, 0.008, 0.024), blur: between(r, 0.45, 0.95), bend: between(r, 0.1, 0.6),
		shift: 0.1 * r.NormFloat64(), stretch: clamp(1+0.08*r.NormFloat64(), 0.85, 1.2),
	}
	switch p := r.Float64(); {
	case p < 0.25:
		d.syntax = dicom.FilmImplicitLE
	case p < 0.45:
		d.syntax, d.bits = dicom.FilmJPEGBaseline, 8
	}
	if r.Float64() < 0.3 {
		d.photometric = "MONOCHROME1"
	}
	if r.Float64() < 0.6 {
		d.slope, d.intercept = pick(r, []float64{1, 1, 0.5, 2}), pick(r, []float64{0, 0, -1024, 100})
	}
	if r.Float64() < 0.25 {
		d.border = 3 + r.IntN(12)
	}
	return d
}

// newView frames the patient: size and aspect vary by study.
func newView(lateral bool, side int, b build, r *rand.Rand) *view {
	v := &view{lateral: lateral}
	long := int(float64(side) * between(r, 0.8, 1))
	aspect := between(r, 0.84, 1.08)
	high, turn := between(r, 372, 400)*b.sz, 0.028
	if lateral {
		aspect, turn = between(r, 0.78, 0.96), 0.035
	}
	aspect *= b.sx / b.sz
	if aspect > 1 {
		v.cols, v.rows = long, int(float64(long)/aspect)
	} else {
		v.rows, v.cols = long, int(float64(long)*aspect)
	}
	v.pitch = high / float64(v.rows)
	v.top = between(r, 196, 212) * b.sz
	v.u0 = -v.pitch*float64(v.cols-1)/2 + 5*r.NormFloat64()
	if lateral {
		v.u0 += 6
	}
	angle := turn * r.NormFloat64()
	v.cos, v.sin = math.Cos(angle), math.Sin(angle)
	return v
}

// film develops the exposure. It consumes r in a way that does not depend on the
// exposure, so that the same study with and without a finding has the same noise.
func (d detector) film(e exposure, b build, r *rand.Rand) dicom.Film {
	v := e.view
	plane := append([]float32(nil), e.plane...)
	blur(plane, v.rows, v.cols, d.blur)
	grain := v.newPlane()
	for i := range grain {
		grain[i] = float32(r.NormFloat64())
	}
	blur(grain, v.rows, v.cols, 0.5) // neighbouring pixels share light

	lo, hi := 0.72+muSoft*b.fat, 4.15+muSoft*(2*b.fat+0.8*210*(b.sy-1))
	if v.lateral {
		lo, hi = 1.0+muSoft*b.fat, 5.0+muSoft*(2*b.fat+0.8*300*(b.sx-1))
	}
	lo += d.shift
	hi = lo + (hi-lo)*d.stretch + d.shift

	f := dicom.Film{
		Modality: d.modality, BodyPart: "CHEST", Rows: v.rows, Columns: v.cols, PixelSpacing: math.Round(v.pitch*1e4) / 1e4,
		BitsStored: d.bits, Photometric: d.photometric, Syntax: d.syntax,
		RescaleSlope: d.slope, RescaleIntercept: d.intercept,
		Pixels: make([]uint16, len(plane)),
	}
	most := float64(int(1)<<d.bits - 1)
	base, scale := 0.0, most
	if d.window {
		base, scale = 0.06*most, 0.8*most
	}
	for i, p := range plane {
		// quantum noise: the fewer photons are left, the more
		p := float64(p)
		p += d.noise * (0.55 + 0.16*p*p) * float64(grain[i])
		x := (p - lo) / (hi - lo)
		c := clamp(x, 0, 1)
		x = lerp(clamp(x, -0.07, 1.07), c*c*(3-2*c), d.bend)
		row, col := i/v.cols, i%v.cols
		if row < d.border || col < d.border || row >= v.rows-d.border || col >= v.cols-d.border {
			x = -1
		}
		value := clamp(math.Round(base+scale*x), 0, most)
		if d.photometric == "MONOCHROME1" {
			value = most - value
		}
		f.Pixels[i] = uint16(value)
	}
	if d.window {
		centre := base + scale/2
		if d.photometric == "MONOCHROME1" {
			centre = most - centre
		}
		k := d.slope
		if k == 0 {
			k = 1
		}
		f.WindowCenter, f.WindowWidth = math.Round(centre*k+d.intercept), max(math.Round(scale*k), 1)
	}
	return f
}
