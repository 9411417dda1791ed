package phantom

import (
	"math"
	"math/rand/v2"
)

// rib is one rib as a line around the cage, from the spine to where cartilage begins.
type rib struct {
	side   float64
	number int // 1 to 11
	line   []vec
	radius float64
	weight float64
}

// fall is how far a rib drops from the spine to its front end, in mm; reach is the angle
// that it covers, in degrees from the spine.
var ribShapes = [...]struct{ fall, reach float64 }{
	{30, 125}, {52, 138}, {72, 145}, {88, 147}, {98, 147}, {106, 146}, {110, 144}, {108, 138}, {98, 128}, {80, 112}, {52, 84},
}

// buildBones lays ribs, clavicles, scapulae, sternum and the back of the spine.
func (a *anatomy) buildBones(at func(x, y, z float64) vec, r *rand.Rand) {
	for _, side := range []float64{1, -1} {
		tilt := 1 + 0.05*r.NormFloat64()
		for n, shape := range ribShapes {
			a.ribs = append(a.ribs, a.newRib(side, n, shape.fall*tilt, shape.reach, r))
		}
		even := func(mm float64) func(float64) float64 { return func(float64) float64 { return mm } }
		clavicle := curve(22, at(side*17, 46, 116), at(side*50, 44, 124), at(side*95, 18, 139), at(side*148, -10, 146))
		a.bones = append(a.bones, shell(clavicle, even(5.8), 0.95)...)
		a.bones = append(a.bones, // scapula: blade, lateral border, spine of the scapula
			aligned(at(side*138, -70, 72), vec{0.86 * side, 0.5, 0}.unit(), vec{-0.5 * side, 0.86, 0}.unit(), vec{30, 3, 62}, 0.8))
		a.bones = append(a.bones, shell(curve(16, at(side*158, -52, 112), at(side*140, -68, 60), at(side*124, -78, 14)), even(3.6), 0.7)...)
		a.bones = append(a.bones, shell(curve(12, at(side*112, -84, 108), at(side*165, -44, 138)), even(4.2), 0.6)...)
	}
	front := func(z float64) vec { c := a.cage.at(z * a.sz); return vec{0, c.y + c.b + 7, z * a.sz} }
	for z := 104.0; z > -48; z -= 17 { // sternum, a row of sternebrae
		a.bones = append(a.bones, aligned(front(z), vec{1, 0, 0}, vec{0, 0.97, 0.24}, vec{17, 5.5, 20}, 0.3))
	}
	for k := range 22 { // posterior elements of each vertebra
		z := vertebraZ(k)
		s := a.spine.at(z * a.sz)
		if z > 190 || z < -300 {
			continue
		}
		a.bones = append(a.bones, aligned(vec{0, s.y - s.b - 26, (z - 10) * a.sz}, vec{0, 0.8, 0.6}, vec{1, 0, 0}, vec{17, 3, 6}, 0.45))
		for _, side := range []float64{1, -1} {
			a.bones = append(a.bones, boxed(vec{side * s.a * 0.62, s.y - s.b - 5, (z + 5) * a.sz}, vec{3.2, 8, 5.5}, 0.6),
				boxed(vec{side * (s.a + 9), s.y - s.b - 12, (z + 3) * a.sz}, vec{13, 4, 4}, 0.25))
		}
	}
}

// vertebraZ is the height of the middle of the vertebra with this index, which counts
// down from the neck; 3 is the first with a rib.
func vertebraZ(k int) float64 { return 152 - vertebraPitch*float64(k-3) }

const vertebraPitch = 23.5

// newRib bends one rib around the cage.
func (a *anatomy) newRib(side float64, n int, fall, reach float64, r *rand.Rand) rib {
	b := rib{side: side, number: n + 1, radius: 5.2 + 0.3*r.NormFloat64(), weight: 1.5}
	start, steps := vertebraZ(n+3)+4, 56
	if n == 0 {
		b.radius = 5.8
	}
	for i := range steps + 1 {
		t := float64(i) / float64(steps)
		angle := lerp(14, reach, t) * math.Pi / 180
		z := (start + 7*math.Sin(min(t*3.2, math.Pi)) - fall*math.Pow(t, 1.35)) * a.sz
		c := a.cage.at(min(z, 128*a.sz))
		b.line = append(b.line, vec{side * (c.a + 3) * math.Sin(angle), c.y - (c.b+3)*math.Cos(angle), z})
	}
	return b
}

// along returns the rib bent to the line (its own, or that of its pieces) as drawn: a
// shell of dense bone over spongy bone.
func (b rib) along(line []vec) []ellipsoid {
	return shell(line, func(t float64) float64 { return b.radius * (0.9 + 0.3*t) }, b.weight)
}

// shell is a rod of bone whose inside is less dense.
func shell(line []vec, radius func(float64) float64, weight float64) []ellipsoid {
	out := chain(line, radius, weight)
	return append(out, chain(line, func(t float64) float64 { return radius(t) * 0.68 }, -0.75*weight)...)
}
