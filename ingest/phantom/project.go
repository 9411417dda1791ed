package phantom

import "math"

// view is a parallel projection of the patient onto a film: columns run along u (the
// patient's left in a frontal film, backwards in a lateral one), rows run down along z.
type view struct {
	lateral    bool
	rows, cols int
	pitch      float64 // mm a pixel
	u0, top    float64 // u of the first column's centre, z of the first row's centre
	cos, sin   float64 // how far the patient stands turned
}

func (v *view) z(row int) float64        { return v.top - float64(row)*v.pitch }
func (v *view) column(u float64) float64 { return (u - v.u0) / v.pitch }
func (v *view) row(z float64) float64    { return (v.top - z) / v.pitch }
func (v *view) newPlane() []float32      { return make([]float32, v.rows*v.cols) }
func (v *view) turn(p vec) vec           { return vec{v.cos*p.x - v.sin*p.y, v.sin*p.x + v.cos*p.y, p.z} }

// point returns the column and row at which p falls.
func (v *view) point(p vec) (col, row float64) {
	p = v.turn(p)
	if v.lateral {
		return v.column(-p.y), v.row(p.z)
	}
	return v.column(p.x), v.row(p.z)
}

// span is a section as the rays of one row see it: at distance du from u the ray meets
// it around depth t - slope*du, half the chord being sqrt(k - det*du^2)*inv.
type span struct {
	u, t, slope, k, det, inv float64
	reach                    float64 // no chord at |du| >= reach
	on                       bool
}

// span projects the cut of s at height z.
func (v *view) span(s solid, z float64) span {
	c, ok := s.section(z)
	if !ok {
		return span{}
	}
	return v.spanOf(c)
}

func (v *view) spanOf(c section) span {
	c = c.turned(v.cos, v.sin)
	det := c.m11*c.m22 - c.m12*c.m12
	sp := span{u: c.x, t: c.y, slope: c.m12 / c.m22, k: c.m22, det: det, inv: 1 / c.m22, on: true}
	if v.lateral {
		sp = span{u: -c.y, t: c.x, slope: -c.m12 / c.m11, k: c.m11, det: det, inv: 1 / c.m11, on: true}
	}
	sp.reach = math.Sqrt(sp.k / det)
	return sp
}

// interval is the part of a ray inside a solid; empty when hi <= lo.
type interval struct{ lo, hi float64 }

func (s *span) at(u float64) interval {
	du := u - s.u
	if !s.on || du >= s.reach || du <= -s.reach {
		return interval{}
	}
	half := math.Sqrt(s.k-s.det*du*du) * s.inv
	mid := s.t - s.slope*du
	return interval{mid - half, mid + half}
}

func (i interval) length() float64 { return max(i.hi-i.lo, 0) }

func (i interval) and(j interval) interval {
	return interval{max(i.lo, j.lo), min(i.hi, j.hi)}
}

// outside returns how much of i lies in none of the cuts, which it may reorder.
func (i interval) outside(cuts []interval) float64 {
	if i.hi <= i.lo {
		return 0
	}
	for a := 1; a < len(cuts); a++ { // insertion sort: a handful of cuts, nearly in order
		for b := a; b > 0 && cuts[b].lo < cuts[b-1].lo; b-- {
			cuts[b], cuts[b-1] = cuts[b-1], cuts[b]
		}
	}
	free, from := 0.0, i.lo
	for _, c := range cuts {
		if c.hi <= c.lo || c.hi <= from {
			continue
		}
		if c.lo >= i.hi {
			break
		}
		if c.lo > from {
			free += c.lo - from
		}
		from = c.hi
	}
	if from < i.hi {
		free += i.hi - from
	}
	return free
}

// draw adds gain*weight*chord of each ellipsoid to the plane.
func (v *view) draw(plane []float32, es []ellipsoid, gain float64) {
	for i := range es {
		v.drawOne(plane, &es[i], gain)
	}
}

func (v *view) drawOne(plane []float32, e *ellipsoid, gain float64) {
	c, s := v.cos, v.sin
	xx := c*c*e.xx - 2*c*s*e.xy + s*s*e.yy
	xy := c*s*(e.xx-e.yy) + (c*c-s*s)*e.xy
	yy := s*s*e.xx + 2*c*s*e.xy + c*c*e.yy
	xz, yz := c*e.xz-s*e.yz, s*e.xz+c*e.yz
	p := v.turn(e.c)
	// t is the ray's axis, u the film's; integrate t out (Schur complement)
	tt, uu, ut, tz, uz, pu := yy, xx, xy, yz, xz, p.x
	if v.lateral {
		tt, uu, ut, tz, uz, pu = xx, yy, -xy, xz, -yz, -p.y
	}
	quu, quw, qww := uu-ut*ut/tt, uz-ut*tz/tt, e.zz-tz*tz/tt
	det := quu*qww - quw*quw
	if det <= 0 || quu <= 0 {
		return
	}
	peak := float32(gain * e.weight * 2 / math.Sqrt(tt))
	height := math.Sqrt(quu / det)
	r0 := max(int(math.Ceil(v.row(p.z+height))), 0)
	r1 := min(int(math.Floor(v.row(p.z-height))), v.rows-1)
	for r := r0; r <= r1; r++ {
		dw := v.z(r) - p.z
		if v.z(r) < e.cutBelow {
			break
		}
		b := quw * dw
		d := b*b - quu*(qww*dw*dw-1)
		if d <= 0 {
			continue
		}
		root := math.Sqrt(d)
		from, to := pu+(-b-root)/quu, pu+(-b+root)/quu
		c0, c1 := max(int(math.Ceil(v.column(from))), 0), min(int(math.Floor(v.column(to))), v.cols-1)
		line := plane[r*v.cols : (r+1)*v.cols]
		fq, du := float32(quu), float32(v.u0+float64(c0)*v.pitch-pu)
		b2, cc, step := float32(2*b), float32(1-qww*dw*dw), float32(v.pitch)
		for col := c0; col <= c1; col++ {
			if q := cc - du*(fq*du+b2); q > 0 {
				line[col] += peak * float32(math.Sqrt(float64(q)))
			}
			du += step
		}
	}
}
