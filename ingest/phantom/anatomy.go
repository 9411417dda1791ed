package phantom

import (
	"math"
	"math/rand/v2"
)

// Attenuation of the tissues in 1/mm, at the effective energy behind a grid, scatter
// included (which halves what physics alone would give).
const (
	muSoft = 0.0165
	muLung = 0.0047
	muDiff = muSoft - muLung // soft tissue where air was
	muBone = 0.022           // bone over soft tissue
)

// build is what makes one patient differ from another; lengths scale with sx, sy, sz.
type build struct {
	female     bool
	sx, sy, sz float64 // size against the average: width, depth, height
	fat        float64 // mm of extra soft tissue around the chest
	dome       float64 // mm by which the diaphragm stands above the average
	heart      float64 // size of the heart against the average
	bone       float64 // density of bone against the average
	breast     float64 // size of the breast shadows
	age        int
}

// drawBuild draws a patient.
func drawBuild(r *rand.Rand) build {
	size := 1 + 0.05*r.NormFloat64()
	b := build{
		female: r.IntN(2) == 0,
		sx:     clamp(size*(1+0.04*r.NormFloat64()), 0.86, 1.14),
		sy:     clamp(size*(1+0.06*r.NormFloat64()), 0.82, 1.2),
		sz:     clamp(size*(1+0.04*r.NormFloat64()), 0.88, 1.1),
		fat:    clamp(8+10*r.NormFloat64(), -6, 38),
		dome:   clamp(9*r.NormFloat64(), -18, 18),
		heart:  clamp(1+0.05*r.NormFloat64(), 0.9, 1.1),
		bone:   clamp(1+0.15*r.NormFloat64(), 0.65, 1.35),
		breast: clamp(1+0.25*r.NormFloat64(), 0.5, 1.6),
		age:    24 + r.IntN(66),
	}
	if b.female {
		b.sx, b.sz, b.bone = b.sx*0.96, b.sz*0.96, b.bone*0.92
	}
	return b
}

// lung is one lung: the space inside the ribs, and the dome of the diaphragm that rises
// into it.
type lung struct {
	side  float64 // +1 the patient's left, -1 right
	space *tube
	dome  ellipsoid
	hilum vec
}

// anatomy is a patient without findings.
type anatomy struct {
	build
	body      *tube       // with the shoulders, as in a frontal film
	torso     *tube       // arms raised, as in a lateral film
	shoulders []ellipsoid // outside the body tube, frontal only: arms are raised for the lateral
	arms      []ellipsoid // bones of the arms, frontal only
	cage      *tube       // inner face of the ribs, both sides together
	lungs     [2]lung     // left, right
	heart     []ellipsoid
	middle    []solid // mediastinum, spine and great vessels: no air inside
	spine     *tube
	vessels   []ellipsoid // in the lungs
	ribs      []rib
	bones     []ellipsoid // everything else that is bone
	air       []ellipsoid // trachea, main bronchi, stomach bubble
	breasts   []ellipsoid
}

// newAnatomy builds the patient; r shapes what build does not say (vessels, small
// variation), so that the same r gives the same patient.
func newAnatomy(b build, r *rand.Rand) *anatomy {
	a := &anatomy{build: b}
	tubeOf := func(topCap, bottomCap, grow float64, ks ...knot) *tube {
		for i, k := range ks {
			ks[i] = knot{k.z * b.sz, k.x * b.sx, k.y * b.sy, k.a*b.sx + grow, k.b*b.sy + grow}
		}
		return &tube{ks, topCap, bottomCap}
	}
	at := func(x, y, z float64) vec { return vec{x * b.sx, y * b.sy, z * b.sz} }
	a.body = tubeOf(1, 1, b.fat,
		knot{-320, 0, 0, 168, 118}, knot{-120, 0, 0, 160, 112}, knot{0, 0, -3, 157, 110}, knot{70, 0, -6, 158, 100},
		knot{110, 0, -12, 170, 86}, knot{140, 0, -18, 172, 76}, knot{163, 0, -22, 135, 66}, knot{182, 0, -24, 84, 60},
		knot{205, 0, -22, 60, 58}, knot{330, 0, -10, 58, 62})
	a.torso = tubeOf(1, 1, b.fat,
		knot{-320, 0, 0, 166, 118}, knot{-120, 0, 0, 158, 112}, knot{0, 0, -3, 150, 110}, knot{70, 0, -6, 140, 100},
		knot{110, 0, -12, 124, 86}, knot{140, 0, -18, 104, 76}, knot{163, 0, -22, 88, 66}, knot{182, 0, -24, 72, 60},
		knot{205, 0, -22, 60, 58}, knot{330, 0, -10, 58, 62})
	for _, s := range []float64{1, -1} {
		a.shoulders = append(a.shoulders, boxed(at(s*172, -12, 112), vec{56, 60, 60}, 1))
		a.arms = append(a.arms, boxed(at(s*178, -12, 128), vec{24, 23, 25}, 0.5), // humeral head and shaft
			boxed(at(s*192, -12, 60), vec{14, 14, 90}, 0.6))
	}
	a.cage = tubeOf(44, 1, 0,
		knot{-160, 0, 0, 144, 96}, knot{-130, 0, 0, 146, 98}, knot{-60, 0, 0, 143, 97}, knot{0, 0, -1, 135, 93}, knot{60, 0, -7, 119, 82},
		knot{100, 0, -14, 97, 67}, knot{130, 0, -21, 72, 54}, knot{158, 0, -26, 56, 46})
	a.lungs[0], a.lungs[1] = a.newLung(1), a.newLung(-1)
	a.buildMiddle(at, tubeOf)
	a.buildHeart(at)
	a.buildBones(at, r)
	a.buildAir(at, r)
	for i := range a.lungs {
		a.growVessels(&a.lungs[i], r)
	}
	if b.female {
		for _, s := range []float64{1, -1} {
			k := b.breast
			a.breasts = append(a.breasts, boxed(at(s*76, 84-6*k, -40-14*k), vec{40 + 22*k, 34 + 12*k, 34 + 26*k}, 1))
		}
	}
	return a
}

// newLung hollows one lung out of the cage.
func (a *anatomy) newLung(side float64) lung {
	l := lung{side: side}
	var ks []knot
	for _, z := range []float64{-150, -130, -90, -50, -10, 30, 70, 100, 125, 145, 161} {
		c := a.cage.at(z * a.sz)
		inner := (5 + 9*smooth(70, 150, z)) * a.sx
		outer := c.a - 3 - 8*smooth(115, 152, z)
		ks = append(ks, knot{z * a.sz, side * (outer + inner) / 2, c.y, (outer - inner) / 2, c.b - 4})
	}
	l.space = &tube{ks, 46, 26}
	top := a.dome - 74*a.sz
	if side > 0 {
		top -= 9 * a.sz // the liver lifts the right dome
	}
	height := 92 * a.sz
	l.dome = boxed(vec{side * 71 * a.sx, 12 * a.sy, top - height}, vec{75 * a.sx, 97 * a.sy, height}, 1)
	l.hilum = vec{side * 32 * a.sx, -8 * a.sy, (18 + 6*side) * a.sz}
	return l
}

// buildMiddle places mediastinum, spine and great vessels.
func (a *anatomy) buildMiddle(at func(x, y, z float64) vec, tubeOf func(t, b, g float64, ks ...knot) *tube) {
	a.spine = tubeOf(1, 1, 0,
		knot{-330, 0, -58, 21, 17}, knot{-120, 0, -70, 19, 16}, knot{-40, 0, -77, 17, 15}, knot{40, 0, -76, 15, 14},
		knot{110, 0, -62, 14, 12}, knot{170, 0, -42, 13, 10}, knot{330, 0, -20, 12, 9})
	mediastinum := tubeOf(1, 1, 0,
		knot{-330, 0, -15, 24, 40}, knot{-60, 3, -25, 23, 42}, knot{0, 1, -18, 24, 44}, knot{50, 2, -14, 27, 44},
		knot{90, 0, -18, 26, 40}, knot{130, 0, -24, 23, 34}, knot{165, 0, -26, 21, 34}, knot{330, 0, -20, 30, 36})
	descending := tubeOf(1, 1, 0,
		knot{-330, 10, -56, 11, 11}, knot{-80, 14, -58, 11, 11}, knot{0, 21, -60, 12, 12}, knot{60, 24, -52, 13, 13}, knot{82, 22, -44, 12, 12})
	paraspinal := tubeOf(1, 1, 0,
		knot{-330, 0, -84, 44, 34}, knot{0, 0, -97, 36, 22}, knot{120, 0, -84, 32, 24}, knot{330, 0, -50, 40, 30})
	arch := boxed(at(20, -22, 74), at(19, 34, 17), 1)
	trunk := boxed(at(26, 6, 34), at(19, 20, 18), 1)
	cava := boxed(at(-24, 4, 40), at(11, 14, 62), 1)
	a.middle = []solid{mediastinum, a.spine, descending, paraspinal, arch, trunk, cava}
}

// buildHeart places the ventricles, the right atrium and the fat around the apex.
func (a *anatomy) buildHeart(at func(x, y, z float64) vec) {
	k := a.build.heart
	axis := vec{0.78, 0.38, -0.5}.unit()
	across := vec{-axis.y, axis.x, 0}.unit()
	size := func(x, y, z float64) vec { return vec{x * k * a.sx, y * k * a.sx, z * k * a.sx} }
	down := vec{0, 0, 0.75*a.dome - 8} // it rests on the diaphragm
	a.heart = []ellipsoid{
		aligned(at(22, 24, -38).add(down), axis, across, size(57, 41, 43), 1),
		boxed(at(-10, 14, -36).add(down), size(32, 36, 42), 1),
		boxed(at(22, 36, -72).add(down), size(52, 34, 24), 1),
		boxed(at(14, 6, 2).add(down.times(0.5)), size(28, 30, 40), 1),
	}
}

// buildAir places trachea, main bronchi and the stomach bubble.
func (a *anatomy) buildAir(at func(x, y, z float64) vec, r *rand.Rand) {
	even := func(mm float64) func(float64) float64 { return func(float64) float64 { return mm } }
	bend := 3 * r.NormFloat64()
	carina := at(2, -22, 48)
	a.air = chain(curve(12, at(0, -4, 215), at(bend-1, -14, 130), at(-2, -19, 80), carina), even(8.5), -0.9)
	a.air = append(a.air, chain(curve(8, carina, at(18, -20, 30), at(40, -18, 12)), even(5.5), -0.7)...)
	a.air = append(a.air, chain(curve(8, carina, at(-15, -20, 28), at(-34, -18, 6)), even(6), -0.7)...)
	if r.Float64() < 0.6 {
		d := a.lungs[0].dome
		e := boxed(d.c.add(vec{-6, 10, d.halfHeight() - 24}), vec{26 + 6*r.Float64(), 24, 16}, -0.9)
		e.cutBelow = e.c.z - 4
		a.air = append(a.air, e)
	}
}

// halfHeight is how far e reaches up from its centre; e's axes are upright.
func (e ellipsoid) halfHeight() float64 { return 1 / math.Sqrt(e.zz) }

// growVessels lets arteries branch from the hilum through the lung.
func (a *anatomy) growVessels(l *lung, r *rand.Rand) {
	var branch func(from, dir vec, radius float64, depth int)
	branch = func(from, dir vec, radius float64, depth int) {
		length := (9 + 3.2*radius) * (0.8 + 0.5*r.Float64())
		end := from.add(dir.times(length))
		bow := vec{r.NormFloat64(), r.NormFloat64(), r.NormFloat64()}.times(length * 0.06)
		thin := radius * (0.76 + 0.1*r.Float64())
		if !a.inLung(l, end, 0.96) {
			return
		}
		a.vessels = append(a.vessels, chain(curve(4, from, from.add(dir.times(length/2)).add(bow), end),
			func(t float64) float64 { return lerp(radius, thin, t) }, 1)...)
		if thin < 0.6 || depth > 9 {
			return
		}
		for i := range 2 {
			spread := 0.24 + 0.42*float64(i)
			d := dir.add(vec{r.NormFloat64(), r.NormFloat64(), r.NormFloat64()}.times(spread)).unit()
			branch(end, d, thin*(1-0.17*float64(i)), depth+1)
		}
	}
	for i := range 12 {
		up := lerp(-1.15, 1.1, float64(i)/11) + 0.12*r.NormFloat64()
		dir := vec{l.side * (0.75 + 0.3*r.Float64()), 0.75 * r.NormFloat64(), up}.unit()
		radius := 4.6 - 1.2*smooth(-0.2, 1, up) + 0.6*r.NormFloat64()
		branch(l.hilum.add(vec{0, 6 * r.NormFloat64(), 8 * up}), dir, clamp(radius, 2.2, 5.6), 0)
	}
}

// inLung tells whether p lies in air of the lung, margin (below 1) away from its wall.
func (a *anatomy) inLung(l *lung, p vec, margin float64) bool {
	in := func(s solid, m float64) bool {
		c, ok := s.section(p.z)
		return ok && c.holds(p.x, p.y, m)
	}
	if !in(l.space, margin) || in(l.dome, 2-margin) {
		return false
	}
	for _, h := range a.heart {
		if in(h, 2-margin) {
			return false
		}
	}
	for _, m := range a.middle {
		if in(m, 2-margin) {
			return false
		}
	}
	return true
}

// curve returns n+1 points of a smooth line through the given ones.
func curve(n int, through ...vec) []vec {
	out := make([]vec, 0, n+1)
	last := len(through) - 1
	for i := 0; i <= n; i++ {
		f := float64(i) / float64(n) * float64(last)
		k := min(int(f), last-1)
		t := f - float64(k)
		p, q := through[k], through[k+1]
		m0, m1 := q.sub(through[max(k-1, 0)]).times(0.5), through[min(k+2, last)].sub(p).times(0.5)
		t2, t3 := t*t, t*t*t
		out = append(out, p.times(2*t3-3*t2+1).add(m0.times(t3-2*t2+t)).add(q.times(3*t2-2*t3)).add(m1.times(t3-t2)))
	}
	return out
}
