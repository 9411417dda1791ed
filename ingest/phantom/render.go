package phantom

import (
	"math"
	"math/rand/v2"
)

// exposure is what the rays of one view met: the logarithm of entrance over exit dose,
// and how much of it each finding changed.
type exposure struct {
	view    *view
	plane   []float32
	changes [][]float32 // one a lesion, in their order
}

// expose projects the patient with the lesions onto the film. texture seeds what differs
// from film to film but not with the lesions.
func expose(v *view, a *anatomy, lesions []lesion, texture *rand.Rand) exposure {
	e := exposure{view: v, plane: v.newPlane()}
	air := v.airPlane(a, a.heart, nil)
	lungs, soft := cloud(texture, v.rows, v.cols, 24, 4, 0.8), cloud(texture, v.rows, v.cols, 90, 4, 0.55)

	vessels := v.newPlane()
	v.draw(vessels, a.vessels, 1)
	extra := v.newPlane() // soft tissue and bone over what the body's outline gives
	v.draw(extra, a.air, muSoft)
	v.draw(extra, a.bones, muBone*a.bone)
	if !v.lateral {
		v.draw(extra, a.arms, muBone*a.bone)
	}
	for _, b := range a.ribs {
		v.draw(extra, b.along(b.line), v.ribGain()*a.bone)
	}
	v.drawSpine(extra, a)

	for row := range v.rows {
		outline, breasts := v.bodySpans(a, v.z(row))
		for col := range v.cols {
			u, i := v.u0+float64(col)*v.pitch, row*v.cols+col
			var trunk interval
			for k := range outline {
				if c := outline[k].at(u); c.length() > trunk.length() {
					trunk = c
				}
			}
			body := trunk.length()
			for k := range breasts {
				cut := [1]interval{trunk}
				body += 0.6 * breasts[k].at(u).outside(cut[:]) // fat attenuates less
			}
			lung := min(float64(air[i]), body)
			tissue := muSoft*(body-lung)*(1+0.02*float64(soft[i])) + muLung*lung*(1+0.05*float64(lungs[i]))
			e.plane[i] = float32(max(tissue+float64(extra[i])+muDiff*float64(vessels[i]), 0))
		}
	}
	base := air
	for i := range lesions {
		l := &lesions[i]
		change := l.render(v, a, &air, base, vessels)
		for k, d := range change {
			e.plane[k] += d
		}
		e.changes = append(e.changes, change)
	}
	return e
}

// ribGain is the attenuation of ribs: less from the side, where scatter in the longer path
// washes thin bone out.
func (v *view) ribGain() float64 {
	if v.lateral {
		return 0.55 * muBone
	}
	return muBone
}

// bodySpans returns the outlines of the trunk at z (a ray is in it for the longest of
// their chords) and the breasts, which count where they stand out of it.
func (v *view) bodySpans(a *anatomy, z float64) (outline, breasts []span) {
	for _, b := range a.breasts {
		breasts = append(breasts, v.span(b, z))
	}
	if v.lateral {
		return []span{v.span(a.torso, z)}, breasts
	}
	outline = append(outline, v.span(a.body, z))
	for _, s := range a.shoulders {
		outline = append(outline, v.span(s, z))
	}
	return outline, breasts
}

// inner narrows the air of one lung at a height: fluid or a collapsed lung leave only
// this section of it aerated, or nothing. A nil inner leaves the lung whole.
type inner func(z float64) (section, bool)

// airPlane returns the mm of aerated lung on each ray: inside a lung (and its inner, if
// any), outside diaphragm, heart and everything in the middle.
func (v *view) airPlane(a *anatomy, heart []ellipsoid, inners *[2]inner) []float32 {
	plane := v.newPlane()
	solids := make([]span, 0, len(heart)+len(a.middle)+1)
	cuts := make([]interval, 0, cap(solids))
	for row := range v.rows {
		z := v.z(row)
		line := plane[row*v.cols : (row+1)*v.cols]
		for k := range a.lungs {
			l := &a.lungs[k]
			space := v.span(l.space, z)
			if !space.on {
				continue
			}
			within := space
			if inners != nil && inners[k] != nil {
				c, ok := inners[k](z)
				if !ok {
					continue
				}
				within = v.spanOf(c)
			}
			solids = append(solids[:0], v.span(l.dome, z))
			for _, h := range heart {
				solids = append(solids, v.span(h, z))
			}
			for _, m := range a.middle {
				solids = append(solids, v.span(m, z))
			}
			c0 := max(int(v.column(space.u-space.reach)), 0)
			c1 := min(int(v.column(space.u+space.reach))+1, v.cols-1)
			for col := c0; col <= c1; col++ {
				u := v.u0 + float64(col)*v.pitch
				ray := space.at(u).and(within.at(u))
				if ray.hi <= ray.lo {
					continue
				}
				cuts = cuts[:0]
				for s := range solids {
					if cut := solids[s].at(u); cut.hi > cut.lo && cut.hi > ray.lo && cut.lo < ray.hi {
						cuts = append(cuts, cut)
					}
				}
				line[col] += float32(ray.outside(cuts))
			}
		}
	}
	return plane
}

// drawSpine adds the bodies of the vertebrae: flat-sided in depth, with dense end plates
// and discs between.
func (v *view) drawSpine(plane []float32, a *anatomy) {
	for row := range v.rows {
		z := v.z(row)
		s := v.span(a.spine, z)
		if !s.on {
			continue
		}
		// t runs from -0.5 to 0.5 through one vertebra and its disc
		t := (z/a.sz - 152) / vertebraPitch
		t -= math.Round(t)
		d := math.Abs(t)
		dense := 0.24*smooth(0.46, 0.36, d) + 0.13*max(0, 1-math.Abs(d-0.37)/0.06) + 0.05
		dense *= muBone * a.bone
		full := 2 * math.Sqrt(s.k) * s.inv
		c0, c1 := max(int(v.column(s.u-s.reach)), 0), min(int(v.column(s.u+s.reach))+1, v.cols-1)
		for col := c0; col <= c1; col++ {
			x := math.Abs(v.u0+float64(col)*v.pitch-s.u) / s.reach
			if x >= 1 {
				continue
			}
			x2 := x * x
			flat := math.Sqrt(math.Sqrt(1 - x2*x2*x2))
			edge := 1 + 0.35*smooth(0.75, 0.95, x)
			plane[row*v.cols+col] += float32(dense * full * flat * edge)
		}
	}
}

// box returns the rectangle of the film where a change is at least a tenth of its
// greatest, grown by the blur, or nil where the greatest is below floor.
func (v *view) box(change []float32, floor float32) *Box {
	var most float32
	for _, d := range change {
		most = max(most, d, -d)
	}
	if most < floor {
		return nil
	}
	b := Box{v.cols, v.rows, 0, 0}
	for row := range v.rows {
		for col, d := range change[row*v.cols : (row+1)*v.cols] {
			if max(d, -d) >= most*0.1 {
				b = Box{min(b[0], col), min(b[1], row), max(b[2], col+1), max(b[3], row+1)}
			}
		}
	}
	const grow = 2
	return &Box{max(b[0]-grow, 0), max(b[1]-grow, 0), min(b[2]+grow, v.cols), min(b[3]+grow, v.rows)}
}
