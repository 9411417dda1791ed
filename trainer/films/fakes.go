package films

import (
	"math"
	"math/rand/v2"

	"github.com/radstream/radstream/ingest/pixel"
)

// fakeKinds are pictures that are no chest film, made by rules.
var fakeKinds = []struct {
	name string
	make func(chest pixel.Film, r *rand.Rand) pixel.Film
}{
	{"jigsaw of a chest", jigsaw}, {"texture", texture}, {"section of a body", section}, {"limb", limb}, {"page of text", page}, {"test pattern", pattern},
}

// canvas is a picture being drawn, 0 to 1.
type canvas struct {
	columns, rows int
	values        []float64
}

func newCanvas(r *rand.Rand) *canvas {
	c := &canvas{columns: 160 + r.IntN(160), rows: 160 + r.IntN(160)}
	c.values = make([]float64, c.columns*c.rows)
	return c
}

// film returns the picture as it is, turned round in half of the cases, with some noise.
func (c *canvas) film(r *rand.Rand) pixel.Film {
	f := pixel.Film{Rows: c.rows, Columns: c.columns, Display: true, Slope: 1, Samples: make([]uint16, len(c.values))}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range c.values {
		low, high = min(low, v), max(high, v)
	}
	flip, noise := r.IntN(2) == 1, 6*r.Float64()
	for i, v := range c.values {
		v = (v - low) / max(high-low, 1e-9)
		if flip {
			v = 1 - v
		}
		f.Samples[i] = uint16(max(0, min(255, 255*v+noise*r.NormFloat64())))
	}
	return f
}

// each sets every pixel; x and y are -1 to 1.
func (c *canvas) each(value func(x, y, before float64) float64) {
	for i := range c.values {
		x := 2*float64(i%c.columns)/float64(c.columns-1) - 1
		y := 2*float64(i/c.columns)/float64(c.rows-1) - 1
		c.values[i] = value(x, y, c.values[i])
	}
}

// jigsaw cuts a chest film into pieces and exchanges them.
func jigsaw(f pixel.Film, r *rand.Rand) pixel.Film {
	n := 3 + r.IntN(4)
	out := f
	out.Samples = make([]uint16, len(f.Samples))
	columns, rows := f.Columns/n, f.Rows/n
	order := r.Perm(n * n)
	for i, from := range order {
		for y := range rows {
			to := (i/n*rows+y)*f.Columns + i%n*columns
			copy(out.Samples[to:to+columns], f.Samples[(from/n*rows+y)*f.Columns+from%n*columns:][:columns])
		}
	}
	return cut(out, 0, 0, n*columns, n*rows)
}

// texture is a sum of waves whose strength falls with their frequency, as in photographs.
func texture(_ pixel.Film, r *rand.Rand) pixel.Film {
	c := newCanvas(r)
	fall := 0.3 + 1.5*r.Float64()
	for range 60 {
		frequency := math.Exp(r.Float64() * math.Log(40))
		turn, phase, strength := 2*math.Pi*r.Float64(), 2*math.Pi*r.Float64(), r.NormFloat64()*math.Pow(frequency, -fall)
		a, b := frequency*math.Cos(turn), frequency*math.Sin(turn)
		c.each(func(x, y, before float64) float64 { return before + strength*math.Sin(a*x+b*y+phase) })
	}
	if r.IntN(2) == 0 { // things before a background
		level := 0.5 * r.NormFloat64()
		c.each(func(_, _, v float64) float64 {
			if v > level {
				return v + 1
			}
			return v
		})
	}
	return c.film(r)
}

// ellipse is 1 inside and 0 outside, with a soft rim.
type ellipse struct{ x, y, a, b, cos, sin float64 }

func drawEllipse(r *rand.Rand, spread, size float64) ellipse {
	turn := math.Pi * r.Float64()
	return ellipse{spread * r.NormFloat64(), spread * r.NormFloat64(), size * (0.4 + r.Float64()), size * (0.4 + r.Float64()), math.Cos(turn), math.Sin(turn)}
}

func (e ellipse) at(x, y float64) float64 {
	x, y = x-e.x, y-e.y
	u, v := (e.cos*x+e.sin*y)/e.a, (e.cos*y-e.sin*x)/e.b
	return max(0, min(1, 20*(1-math.Sqrt(u*u+v*v))))
}

// section is a body cut across, as CT and MR show it: a rim, and organs within, on black.
func section(_ pixel.Film, r *rand.Rand) pixel.Film {
	c := newCanvas(r)
	body := ellipse{0.1 * r.NormFloat64(), 0.1 * r.NormFloat64(), 0.5 + 0.4*r.Float64(), 0.4 + 0.5*r.Float64(), 1, 0}
	inner := body
	inner.a, inner.b = 0.9*body.a, 0.9*body.b
	rim, base := r.Float64(), 0.2+0.5*r.Float64()
	c.each(func(x, y, _ float64) float64 { return rim*body.at(x, y) + (base-rim)*inner.at(x, y) })
	for range 3 + r.IntN(12) {
		organ, level := drawEllipse(r, 0.35, 0.05+0.3*r.Float64()), 0.5*r.NormFloat64()
		c.each(func(x, y, before float64) float64 { return before + level*organ.at(x, y)*inner.at(x, y) })
	}
	return c.film(r)
}

// limb is one to four long bones, brighter at their walls, in soft tissue.
func limb(_ pixel.Film, r *rand.Rand) pixel.Film {
	c := newCanvas(r)
	turn := 0.4 * r.NormFloat64()
	cos, sin := math.Cos(turn), math.Sin(turn)
	tube := func(centre, width, wall, level float64) {
		bend, flare := 0.1*r.NormFloat64(), 0.5*r.Float64()
		c.each(func(x, y, before float64) float64 {
			along, across := cos*y+sin*x, cos*x-sin*y
			half := width * (1 + flare*along*along)
			d := math.Abs(across-centre-bend*along*along) / half
			if d >= 1 {
				return before
			}
			if wall == 0 {
				return before + level*math.Sqrt(1-d*d)
			}
			return before + level*(0.5+0.5/(1+math.Exp(-20*(d-1+wall))))
		})
	}
	n := 1 + r.IntN(4)
	width := 0.25 + 0.4*r.Float64()
	tube(0, width, 0, 0.3+0.4*r.Float64())
	for i := range n {
		tube(width*(float64(2*i+1)/float64(n)-1)*0.8, width*(0.2+0.3*r.Float64())/float64(n), 0.2+0.3*r.Float64(), 0.4+0.4*r.Float64())
	}
	if r.IntN(2) == 0 { // a joint
		gap := 0.5 * r.NormFloat64()
		c.each(func(x, y, before float64) float64 {
			if math.Abs(cos*y+sin*x-gap) < 0.04 {
				return before * 0.6
			}
			return before
		})
	}
	return c.film(r)
}

// page is lines of words on a ground.
func page(_ pixel.Film, r *rand.Rand) pixel.Film {
	c := newCanvas(r)
	height := 6 + r.IntN(14)
	margin := 4 + r.IntN(30)
	for top := margin; top+height < c.rows-margin; top += height + height/2 + 1 {
		end := c.columns - margin - r.IntN(c.columns/2)
		for x := margin; x < end; {
			word := 1 + r.IntN(9)
			for range word * height / 2 {
				if x >= end {
					break
				}
				for y := top; y < top+height; y++ {
					if r.IntN(2) == 0 {
						c.values[y*c.columns+x] = 1
					}
				}
				x++
			}
			x += height / 2
		}
	}
	return c.film(r)
}

// pattern is stripes, a chessboard, rings, a ramp, or boxes as charts have them.
func pattern(_ pixel.Film, r *rand.Rand) pixel.Film {
	c := newCanvas(r)
	n, kind := 1+9*r.Float64(), r.IntN(5)
	turn := math.Pi * r.Float64()
	cos, sin := math.Cos(turn), math.Sin(turn)
	step := func(v float64) float64 { return math.Floor(v) - 2*math.Floor(v/2) }
	c.each(func(x, y, _ float64) float64 {
		u, v := n*(cos*x+sin*y), n*(cos*y-sin*x)
		switch kind {
		case 0:
			return step(u)
		case 1:
			return step(step(u) + step(v))
		case 2:
			return step(math.Hypot(u, v))
		case 3:
			return u
		}
		return 0
	})
	if kind > 2 {
		for range r.IntN(12) {
			x0, y0, w, h, level := 2*r.Float64()-1, 2*r.Float64()-1, 0.1+r.Float64(), 0.1+r.Float64(), r.NormFloat64()
			c.each(func(x, y, before float64) float64 {
				if x > x0 && x < x0+w && y > y0 && y < y0+h {
					return before + n*level
				}
				return before
			})
		}
	}
	return c.film(r)
}
