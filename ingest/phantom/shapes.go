package phantom

import (
	"math"
	"math/rand/v2"
)

// spot draws a place in the lung's air between the heights, margin of it away from the
// walls. Without luck it is the hilum's height in the middle of the lung.
func (a *anatomy) spot(l *lung, low, high, margin float64, r *rand.Rand) vec {
	for range 200 {
		z := between(r, low, high) * a.sz
		k := l.space.at(z)
		p := vec{k.x + between(r, -1, 1)*k.a, k.y + between(r, -1, 1)*k.b, z}
		if a.inLung(l, p, margin) {
			return p
		}
	}
	k := l.space.at(30 * a.sz)
	return vec{k.x, k.y, 30 * a.sz}
}

// patch is a consolidation: a cluster of soft balls.
func (a *anatomy) patch(l *lung, size float64, r *rand.Rand) []ellipsoid {
	c := a.spot(l, -70, 95, 0.72, r)
	var out []ellipsoid
	for range 14 {
		d := vec{r.NormFloat64(), r.NormFloat64(), 0.85 * r.NormFloat64()}.times(size * 0.2)
		k := between(r, 0.18, 0.34) * size
		out = append(out, boxed(c.add(d), vec{k * between(r, 0.8, 1.25), k, k * between(r, 0.75, 1.1)}, 0.42))
	}
	return out
}

// bands is an atelectasis: one to three plates near the base, seen edge-on.
func (a *anatomy) bands(l *lung, size float64, r *rand.Rand) []ellipsoid {
	c := a.spot(l, -85, -15, 0.62, r)
	tilt := between(r, -0.35, 0.35)
	n := 1 + r.IntN(3)
	var out []ellipsoid
	for i := range n {
		t := tilt + 0.08*r.NormFloat64()
		along := vec{math.Cos(t), 0, math.Sin(t)}
		half := size / 2 * (1 - 0.22*float64(i))
		out = append(out, aligned(c.add(vec{3 * r.NormFloat64(), 0, -9 * float64(i)}), along, vec{0, 1, 0},
			vec{half, half * 0.8, between(r, 1.7, 3.2)}, 0.85))
	}
	return append(out, boxed(c.add(vec{0, 0, -8}), vec{size * 0.45, size * 0.35, 13}, 0.18))
}

// septa are Kerley B lines: short, thin, level, at the outer base.
func (a *anatomy) septa(l *lung, r *rand.Rand) []ellipsoid {
	var out []ellipsoid
	for range 9 {
		z := between(r, -108, -55) * a.sz
		k := l.space.at(z)
		p := vec{k.x + l.side*(k.a-between(r, 5, 12)), k.y + between(r, -0.4, 0.4)*k.b, z}
		out = append(out, boxed(p, vec{between(r, 5, 9), 8, 0.9}, 0.9))
	}
	return out
}

// nodule is a ball with a few bulges; one that only the lateral view shows lies behind
// the heart or behind the sternum.
func (a *anatomy) nodule(f Finding, r *rand.Rand) []ellipsoid {
	l := &a.lungs[0]
	if f.Side == Right {
		l = &a.lungs[1]
	}
	c := a.spot(l, -55, 110, 0.8, r)
	if f.LateralOnly {
		z := between(r, -70, -25)
		k := l.space.at(z * a.sz)
		c = vec{l.side * between(r, 24, 40) * a.sx, k.y - k.b*between(r, 0.42, 0.6), z * a.sz}
		if r.IntN(2) == 0 {
			z = between(r, 25, 75)
			k = l.space.at(z * a.sz)
			c = vec{l.side * between(r, 14, 24) * a.sx, k.y + k.b*between(r, 0.5, 0.66), z * a.sz}
		}
	}
	half := f.SizeMM / 2
	out := []ellipsoid{boxed(c, vec{half * between(r, 0.82, 1), half * between(r, 0.85, 1), half}, 1)}
	for range 4 {
		d := vec{r.NormFloat64(), r.NormFloat64(), r.NormFloat64()}.unit()
		k := half * between(r, 0.25, 0.4)
		out = append(out, boxed(c.add(d.times(half-k)), vec{k, k, k}, 0.6))
	}
	return out
}

// fracture breaks one rib and moves its far end, which heals back to the line over a few
// cm; it returns the rib before and after.
func (a *anatomy) fracture(f Finding, r *rand.Rand) (before, after []ellipsoid) {
	side := 1.0
	if f.Side == Right {
		side = -1
	}
	n, at := 3+r.IntN(5), between(r, 0.3, 0.62)
	up := float64(1 - 2*r.IntN(2))
	for _, b := range a.ribs {
		if b.side != side || b.number != n {
			continue
		}
		var line []vec
		split := 0
		for i, p := range b.line {
			t := float64(i) / float64(len(b.line)-1)
			if t > at {
				p.z += up * f.SizeMM * max(0, 1-(t-at)/0.22)
			} else {
				p.z -= up * 0.35 * f.SizeMM * max(0, 1-(at-t)/0.15)
				split = i
			}
			line = append(line, p)
		}
		for _, e := range b.along(line) {
			if e.c != line[split].add(line[split+1].sub(line[split]).times(0.5)) { // the gap
				after = append(after, e)
			}
		}
		for _, end := range line[split : split+2] { // denser: the ends overlap, and callus forms
			after = append(after, boxed(end, vec{5, 5, 5.5}, 0.5*f.Contrast))
		}
		return b.along(b.line), after
	}
	return nil, nil
}

// hernia is a pouch of stomach behind the heart, with air over a fluid level.
func (a *anatomy) hernia(f Finding, r *rand.Rand) (pouch, bubble []ellipsoid) {
	w := f.SizeMM / 2
	top := a.lungs[0].dome.c.z + a.lungs[0].dome.halfHeight()
	c := vec{between(r, 4, 16), -34 * a.sy, top + 0.45*w + between(r, -4, 6)}
	air := boxed(c.add(vec{0, 0, 0.15 * w}), vec{0.72 * w, 0.6 * w, 0.62 * w}, 0.8)
	air.cutBelow = c.z + between(r, -0.1, 0.25)*w
	return []ellipsoid{boxed(c, vec{w, 0.85 * w, 0.95 * w}, 1)}, []ellipsoid{air}
}
