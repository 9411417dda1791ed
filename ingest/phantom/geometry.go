package phantom

import "math"

// vec is a point or direction in the patient, in mm: x to the patient's left, y forward,
// z up. The origin lies in the middle of the chest.
type vec struct{ x, y, z float64 }

func (a vec) add(b vec) vec           { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) sub(b vec) vec           { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) times(s float64) vec     { return vec{a.x * s, a.y * s, a.z * s} }
func (a vec) dot(b vec) float64       { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) length() float64         { return math.Sqrt(a.dot(a)) }
func (a vec) unit() vec               { return a.times(1 / max(a.length(), 1e-9)) }
func lerp(a, b, t float64) float64    { return a + (b-a)*t }
func clamp(v, lo, hi float64) float64 { return min(max(v, lo), hi) }

// smooth rises from 0 to 1 as v goes from lo to hi, with level ends.
func smooth(lo, hi, v float64) float64 {
	t := clamp((v-lo)/(hi-lo), 0, 1)
	return t * t * (3 - 2*t)
}

// section is the horizontal cut through a solid: the points d from its centre with
// m11 dx^2 + 2 m12 dx dy + m22 dy^2 <= 1.
type section struct{ x, y, m11, m12, m22 float64 }

// upright is the section with semi-axes a (left-right) and b (front-back).
func upright(x, y, a, b float64) section {
	return section{x: x, y: y, m11: 1 / (a * a), m22: 1 / (b * b)}
}

// holds tells whether the point lies in the section shrunk by margin (1 = as it is).
func (s section) holds(x, y, margin float64) bool {
	dx, dy := x-s.x, y-s.y
	return s.m11*dx*dx+2*s.m12*dx*dy+s.m22*dy*dy <= margin*margin
}

// turned is s after the patient turned by the angle with this cosine and sine about z.
func (s section) turned(c, sn float64) section {
	return section{
		x: c*s.x - sn*s.y, y: sn*s.x + c*s.y,
		m11: c*c*s.m11 - 2*c*sn*s.m12 + sn*sn*s.m22,
		m12: c*sn*(s.m11-s.m22) + (c*c-sn*sn)*s.m12,
		m22: sn*sn*s.m11 + 2*c*sn*s.m12 + c*c*s.m22,
	}
}

// solid is a body that every horizontal plane cuts in one ellipse or not at all, so that
// a horizontal ray meets it in at most one interval.
type solid interface {
	section(z float64) (section, bool)
}

// knot is the upright section of a tube at one height.
type knot struct{ z, x, y, a, b float64 }

// tube is a solid whose upright sections are interpolated between knots (rising z) and
// rounded off over topCap and bottomCap mm at its ends.
type tube struct {
	knots             []knot
	topCap, bottomCap float64
}

// at returns the interpolated knot at z, clamped to the ends of the tube.
func (t *tube) at(z float64) knot {
	ks := t.knots
	if z <= ks[0].z {
		return ks[0]
	}
	for i := 1; i < len(ks); i++ {
		if z > ks[i].z {
			continue
		}
		p, q := ks[i-1], ks[i]
		before, after := ks[max(i-2, 0)], ks[min(i+1, len(ks)-1)]
		f := (z - p.z) / (q.z - p.z)
		mix := func(v func(knot) float64) float64 { // cubic Hermite, slopes from neighbours
			d := q.z - p.z
			s0 := (v(q) - v(before)) / (q.z - before.z) * d
			s1 := (v(after) - v(p)) / (after.z - p.z) * d
			f2, f3 := f*f, f*f*f
			return (2*f3-3*f2+1)*v(p) + (f3-2*f2+f)*s0 + (3*f2-2*f3)*v(q) + (f3-f2)*s1
		}
		return knot{z, mix(func(k knot) float64 { return k.x }), mix(func(k knot) float64 { return k.y }),
			mix(func(k knot) float64 { return k.a }), mix(func(k knot) float64 { return k.b })}
	}
	return ks[len(ks)-1]
}

// section implements solid.
func (t *tube) section(z float64) (section, bool) {
	lo, hi := t.knots[0].z, t.knots[len(t.knots)-1].z
	if z <= lo || z >= hi {
		return section{}, false
	}
	s := 1.0
	if d := hi - z; d < t.topCap {
		s *= math.Sqrt(1 - (1-d/t.topCap)*(1-d/t.topCap))
	}
	if d := z - lo; d < t.bottomCap {
		s *= math.Sqrt(1 - (1-d/t.bottomCap)*(1-d/t.bottomCap))
	}
	k := t.at(z)
	if k.a*s < 0.5 || k.b*s < 0.5 {
		return section{}, false
	}
	return upright(k.x, k.y, k.a*s, k.b*s), true
}

// ellipsoid is {p : (p-c)' A (p-c) <= 1} with A symmetric. Its weight is what a line
// integral through it counts for (tissue over surroundings; negative removes).
type ellipsoid struct {
	c                      vec
	xx, yy, zz, xy, xz, yz float64
	weight                 float64
	cutBelow               float64 // draw nothing below this z (air over a fluid level)
}

const noCut = -1e9

// aligned returns the ellipsoid with semi-axes r along the directions e1, e2 (unit,
// orthogonal) and their cross product.
func aligned(c, e1, e2, r vec, weight float64) ellipsoid {
	e3 := vec{e1.y*e2.z - e1.z*e2.y, e1.z*e2.x - e1.x*e2.z, e1.x*e2.y - e1.y*e2.x}
	e := ellipsoid{c: c, weight: weight, cutBelow: noCut}
	for _, axis := range [3]struct {
		d vec
		r float64
	}{{e1, r.x}, {e2, r.y}, {e3, r.z}} {
		k, d := 1/(axis.r*axis.r), axis.d
		e.xx += k * d.x * d.x
		e.yy += k * d.y * d.y
		e.zz += k * d.z * d.z
		e.xy += k * d.x * d.y
		e.xz += k * d.x * d.z
		e.yz += k * d.y * d.z
	}
	return e
}

// boxed returns the ellipsoid with semi-axes r along x, y and z.
func boxed(c, r vec, weight float64) ellipsoid {
	return aligned(c, vec{1, 0, 0}, vec{0, 1, 0}, r, weight)
}

// section implements solid.
func (e ellipsoid) section(z float64) (section, bool) {
	dz := z - e.c.z
	det := e.xx*e.yy - e.xy*e.xy
	bx, by := e.xz*dz, e.yz*dz
	sx, sy := -(e.yy*bx-e.xy*by)/det, -(e.xx*by-e.xy*bx)/det // centre of the cut
	room := 1 - e.zz*dz*dz - (bx*sx + by*sy)
	if room <= 1e-6 {
		return section{}, false
	}
	return section{x: e.c.x + sx, y: e.c.y + sy, m11: e.xx / room, m12: e.xy / room, m22: e.yy / room}, true
}

// grown is e scaled by s about the fixed point p.
func (e ellipsoid) grown(s float64, p vec) ellipsoid {
	g := e
	g.c = p.add(e.c.sub(p).times(s))
	k := 1 / (s * s)
	g.xx, g.yy, g.zz, g.xy, g.xz, g.yz = e.xx*k, e.yy*k, e.zz*k, e.xy*k, e.xz*k, e.yz*k
	return g
}

// halfWidth is how far e reaches to each side of its centre.
func (e ellipsoid) halfWidth() float64 {
	// the x-x element of the inverse of A
	det := e.xx*(e.yy*e.zz-e.yz*e.yz) - e.xy*(e.xy*e.zz-e.yz*e.xz) + e.xz*(e.xy*e.yz-e.yy*e.xz)
	return math.Sqrt((e.yy*e.zz - e.yz*e.yz) / det)
}

// chain lays overlapping ellipsoids along a line so that their sum is nearly that of a
// rod of the given radius. radius may taper: it is asked for at 0..1 along the line.
func chain(points []vec, radius func(t float64) float64, weight float64) []ellipsoid {
	var out []ellipsoid
	for i := 0; i+1 < len(points); i++ {
		d := points[i+1].sub(points[i])
		step := d.length()
		if step < 1e-6 {
			continue
		}
		r := radius((float64(i) + 0.5) / float64(len(points)-1))
		long := max(2*step, r)
		e1 := d.times(1 / step)
		e2 := vec{-e1.y, e1.x, 0}
		if math.Abs(e1.z) > 0.9 {
			e2 = vec{0, -e1.z, e1.y}
		}
		// a sum of ellipsoids every step mm has pi*r*long/step of chord on the axis; a rod has 2r
		out = append(out, aligned(points[i].add(d.times(0.5)), e1, e2.unit(), vec{long, r, r}, weight*2*step/(math.Pi*long)))
	}
	return out
}
