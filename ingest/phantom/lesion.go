package phantom

import (
	"math"
	"math/rand/v2"
)

// hiddenGain is what is left in the frontal view of a finding that only the lateral one
// shows: less than the noise.
const hiddenGain = 0.01

// lesion is a finding given a shape in one patient. Only the fields of its kind are set.
type lesion struct {
	Finding
	bigHeart []ellipsoid // cardiomegaly
	fluid    *[2]inner   // effusion: what stays aerated
	collapse *[2]inner   // pneumothorax: the collapsed lung
	pleura   *[2]inner   // pneumothorax: the same without its skin
	masses   []ellipsoid // consolidation, atelectasis, nodule, hernia: soft tissue instead of air
	patchy   float64     // how uneven the masses and the haze are
	bubble   []ellipsoid // hernia: air instead of soft tissue
	haze     []vec       // edema: centres
	intact   []ellipsoid // fracture: bone that is not there any more
	broken   []ellipsoid // fracture: bone as it is now
	seed     uint64      // of its texture
}

// newLesion gives f a shape. r decides where; the same r and another size give the same
// place, so that a finding can grow from one study to the next.
func newLesion(f Finding, a *anatomy, r *rand.Rand) lesion {
	l := lesion{Finding: f, seed: r.Uint64()}
	switch f.Kind {
	case Cardiomegaly:
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, h := range a.heart {
			lo, hi = min(lo, h.c.x-h.halfWidth()), max(hi, h.c.x+h.halfWidth())
		}
		fixed := vec{lo + 0.3*(hi-lo), 22 * a.sy, -10 * a.sz}
		for _, h := range a.heart {
			l.bigHeart = append(l.bigHeart, h.grown(1+f.SizeMM/(hi-lo), fixed))
		}
	case Effusion:
		l.fluid = &[2]inner{}
		for i := range a.lungs {
			if a.lungs[i].on(f.Side) {
				l.fluid[i] = a.lungs[i].above(f.SizeMM)
			}
		}
	case Pneumothorax:
		l.collapse, l.pleura = &[2]inner{}, &[2]inner{}
		for i := range a.lungs {
			if a.lungs[i].on(f.Side) {
				l.collapse[i], l.pleura[i] = a.lungs[i].collapsed(f.SizeMM, 0), a.lungs[i].collapsed(f.SizeMM, 1.3)
			}
		}
	case Consolidation:
		l.patchy = 0.35
		for i := range a.lungs {
			if a.lungs[i].on(f.Side) {
				l.masses = append(l.masses, a.patch(&a.lungs[i], f.SizeMM, r)...)
			}
		}
	case Atelectasis:
		for i := range a.lungs {
			if a.lungs[i].on(f.Side) {
				l.masses = append(l.masses, a.bands(&a.lungs[i], f.SizeMM, r)...)
			}
		}
	case Edema:
		l.patchy = 0.4
		for i := range a.lungs {
			l.haze = append(l.haze, a.lungs[i].hilum)
			l.masses = append(l.masses, a.septa(&a.lungs[i], r)...)
		}
	case Nodule:
		l.masses = a.nodule(f, r)
	case Fracture:
		l.intact, l.broken = a.fracture(f, r)
	case HiatalHernia:
		l.masses, l.bubble = a.hernia(f, r)
	}
	return l
}

// on tells whether a finding of side s touches this lung.
func (l *lung) on(s Side) bool {
	return s == Bilateral || (s == Left) == (l.side > 0)
}

// above is the lung over an effusion whose meniscus climbs the outer and back wall to the
// given height over the deepest sulcus.
func (l *lung) above(height float64) inner {
	floor := l.space.knots[0].z + 6
	low, high := floor+0.5*height, floor+1.3*height+6
	return func(z float64) (section, bool) {
		k := l.space.at(z)
		if z <= low {
			return section{}, false
		}
		t := clamp((z-low)/(high-low), 0, 1)
		fluid := (1 - t) * (1 - t) * (1 - 0.25*t)
		s := max(1-fluid, 0.02)
		grow := lerp(1, 1.06, t) // no seam where the effusion ends
		return upright(k.x-l.side*0.62*fluid*k.a, k.y+0.5*fluid*k.b, k.a*s*grow, k.b*s*grow), true
	}
}

// collapsed is the lung after gap mm of air came between it and the wall at the apex, its
// surface skin mm further in.
func (l *lung) collapsed(gap, skin float64) inner {
	top := l.space.knots[len(l.space.knots)-1].z
	end := top - 60 - 4.5*gap
	return func(z float64) (section, bool) {
		w := smooth(end, top-25, z)
		if w == 0 && skin == 0 {
			k := l.space.at(z)
			return upright(k.x, k.y, k.a*1.1, k.b*1.1), true
		}
		above := z + 0.75*gap*w + skin*smooth(0.5, 1, w) // the apex has sunk
		if above >= top {
			return section{}, false
		}
		c, ok := l.space.section(above)
		if !ok {
			return section{}, false
		}
		g := gap*w + skin*smooth(0, 0.2, w)
		a, b := 1/math.Sqrt(c.m11), 1/math.Sqrt(c.m22)
		if a <= g/2+2 || b <= g/2+2 {
			return section{}, false
		}
		return upright(c.x-l.side*g/2, c.y, a-g/2, b-0.15*g), true
	}
}

// render returns how the lesion changes the plane of log attenuation. air is the aerated
// length of each ray before it and, on return, after it; base is that of the patient
// without findings, whose vessels vanish with the air around them.
func (l *lesion) render(v *view, a *anatomy, air *[]float32, base, vessels []float32) []float32 {
	change := v.newPlane()
	gain := l.Contrast
	if l.LateralOnly && !v.lateral {
		gain *= hiddenGain
	}
	switch {
	case l.bigHeart != nil:
		l.lose(change, air, v.airPlane(a, l.bigHeart, nil), base, vessels, gain)
	case l.fluid != nil:
		whole := v.airPlane(a, a.heart, nil)
		less := v.airPlane(a, a.heart, l.fluid)
		l.lose(change, air, replaced(*air, whole, less), base, vessels, gain)
	case l.collapse != nil:
		l.pneumothorax(change, v, a, base, vessels, gain)
	}
	if l.masses != nil {
		l.thicken(change, v, *air, gain)
	}
	if l.haze != nil {
		l.cloudOver(change, v, a, *air, vessels, gain)
	}
	v.draw(change, l.bubble, -muSoft*gain)
	v.draw(change, l.intact, -v.ribGain()*a.bone)
	v.draw(change, l.broken, v.ribGain()*a.bone)
	return change
}

// replaced scales what is left of the air by how much of it a change to the whole lung
// leaves, so that two findings on one ray do not both take the same air.
func replaced(air, whole, less []float32) []float32 {
	out := make([]float32, len(air))
	for i, w := range whole {
		out[i] = air[i]
		if w > 0 {
			out[i] = air[i] * min(less[i]/w, 1)
		}
	}
	return out
}

// lose turns the air between the two planes into soft tissue and moves air on.
func (l *lesion) lose(change []float32, air *[]float32, now, base, vessels []float32, gain float64) {
	for i, was := range *air {
		lost := was - min(now[i], was)
		now[i] = was - lost
		if lost == 0 {
			continue
		}
		change[i] = float32(muDiff*gain) * (lost - vessels[i]*lost/max(base[i], lost))
	}
	*air = now
}

// pneumothorax empties the gap of tissue and vessels and draws the pleural line.
func (l *lesion) pneumothorax(change []float32, v *view, a *anatomy, base, vessels []float32, gain float64) {
	lung, bare := v.airPlane(a, a.heart, l.collapse), v.airPlane(a, a.heart, l.pleura)
	for i, whole := range base {
		gap := whole - lung[i]
		if whole == 0 || gap <= 0 {
			continue
		}
		line := max(lung[i]-bare[i], 0)
		change[i] = float32(gain) * (-muLung*gap*0.9 - muDiff*vessels[i]*gap/whole + muDiff*0.9*line)
	}
}

// thicken replaces air on each ray by the masses, at most all of it.
func (l *lesion) thicken(change []float32, v *view, air []float32, gain float64) {
	mass := v.newPlane()
	v.draw(mass, l.masses, 1)
	var uneven []float32
	if l.patchy > 0 {
		uneven = cloud(rand.New(rand.NewPCG(l.seed, 1)), v.rows, v.cols, 20/v.pitch, 3, 0.7)
	}
	for i, m := range mass {
		if m == 0 {
			continue
		}
		m = min(m, air[i])
		if uneven != nil {
			m *= clamp32(1+float32(l.patchy)*uneven[i], 0.2, 1.6)
		}
		change[i] += float32(muDiff*gain) * m
	}
}

// cloudOver lays the haze of edema around the hila and thickens the vessels in it.
func (l *lesion) cloudOver(change []float32, v *view, a *anatomy, air, vessels []float32, gain float64) {
	uneven := cloud(rand.New(rand.NewPCG(l.seed, 2)), v.rows, v.cols, 26/v.pitch, 4, 0.75)
	reach := 1.5 * l.SizeMM / v.pitch
	for row := range v.rows {
		for col := range v.cols {
			i := row*v.cols + col
			if air[i] == 0 {
				continue
			}
			var near float64
			for _, h := range l.haze {
				x, y := v.point(h.add(vec{0, 0, -18 * a.sz}))
				d := ((float64(col)-x)*(float64(col)-x) + (float64(row)-y)*(float64(row)-y)/1.7) / (reach * reach)
				if d < 1 {
					near = max(near, (1-d)*(1-d))
				}
			}
			g := float32(gain * near)
			change[i] += muDiff * g * (0.36*air[i]*clamp32(1+float32(l.patchy)*uneven[i], 0.2, 2) + 0.7*vessels[i])
		}
	}
}

func clamp32(v, lo, hi float32) float32 { return min(max(v, lo), hi) }
