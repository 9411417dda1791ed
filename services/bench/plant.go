package bench

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/go-fonts/dejavu/dejavusansmono"
	"github.com/go-fonts/liberation/liberationsansregular"
	"github.com/go-fonts/liberation/liberationserifregular"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/inconsolata"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/radstream/radstream/schemas/fault"
)

// typeface draws in one font.
type typeface struct {
	name   string
	bitmap font.Face      // drawn at its own size and scaled, as consoles of modalities do
	vector *opentype.Font // else
}

// typefaces are eight fonts of the kinds that are burned into films: what Arial, Times and
// console fonts look like, and three of other makes.
func typefaces() ([]typeface, error) {
	all := []typeface{{name: "basicfont 7x13", bitmap: basicfont.Face7x13}, {name: "Inconsolata 8x16", bitmap: inconsolata.Regular8x16}}
	for _, f := range []struct {
		name string
		ttf  []byte
	}{
		{"Go Regular", goregular.TTF}, {"Go Bold", gobold.TTF}, {"Go Mono", gomono.TTF},
		{"Liberation Sans", liberationsansregular.TTF}, {"Liberation Serif", liberationserifregular.TTF}, {"DejaVu Sans Mono", dejavusansmono.TTF},
	} {
		parsed, err := opentype.Parse(f.ttf)
		if err != nil {
			return nil, fault.Errorf("bench.typefaces", fault.Internal, "%s: %w", f.name, err)
		}
		all = append(all, typeface{name: f.name, vector: parsed})
	}
	return all, nil
}

// draw returns text in letters of size pixels (the font's em) as coverage, 0 to 255.
func (t typeface) draw(text string, size int) (*image.Alpha, error) {
	face, scale := t.bitmap, 1.0
	if t.vector != nil {
		var err error
		if face, err = opentype.NewFace(t.vector, &opentype.FaceOptions{Size: float64(size), DPI: 72, Hinting: font.HintingFull}); err != nil {
			return nil, fault.E("bench.draw", fault.Internal, err)
		}
		defer face.Close()
	} else {
		m := face.Metrics()
		scale = float64(size) / float64((m.Ascent + m.Descent).Ceil())
	}
	m := face.Metrics()
	width, height := font.MeasureString(face, text).Ceil()+2, (m.Ascent+m.Descent).Ceil()+2
	mask := image.NewAlpha(image.Rect(0, 0, width, height))
	d := font.Drawer{Dst: mask, Src: image.Opaque, Face: face, Dot: fixed.P(1, 1+m.Ascent.Ceil())}
	d.DrawString(text)
	if scale == 1 {
		return mask, nil
	}
	return turned(mask, scale, 0), nil
}

// turned returns m scaled and turned about its centre by an angle, bilinear.
func turned(m *image.Alpha, scale, radians float64) *image.Alpha {
	sin, cos := math.Sincos(radians)
	w, h := float64(m.Rect.Dx())*scale, float64(m.Rect.Dy())*scale
	out := image.NewAlpha(image.Rect(0, 0, int(math.Ceil(w*math.Abs(cos)+h*math.Abs(sin))), int(math.Ceil(w*math.Abs(sin)+h*math.Abs(cos)))))
	at := func(x, y int) float64 { return float64(m.AlphaAt(x, y).A) }
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			dx, dy := float64(x)+0.5-float64(out.Rect.Dx())/2, float64(y)+0.5-float64(out.Rect.Dy())/2
			u := (dx*cos+dy*sin)/scale + float64(m.Rect.Dx())/2 - 0.5
			v := (-dx*sin+dy*cos)/scale + float64(m.Rect.Dy())/2 - 0.5
			fu, fv := math.Floor(u), math.Floor(v)
			a, b := u-fu, v-fv
			i, j := int(fu), int(fv)
			value := (at(i, j)*(1-a)+at(i+1, j)*a)*(1-b) + (at(i, j+1)*(1-a)+at(i+1, j+1)*a)*b
			out.Pix[y*out.Stride+x] = byte(value + 0.5)
		}
	}
	return out
}

// Plant is a text that was burned into a film.
type Plant struct {
	Film     string  `json:"film"`
	Text     string  `json:"text"`
	Font     string  `json:"font"`
	Size     int     `json:"size"`     // of the letters (em) in pixels
	Angle    float64 `json:"angle"`    // degrees
	Level    int     `json:"level"`    // its grey
	Contrast float64 `json:"contrast"` // mean difference to the film beneath, in grey levels
	X        int     `json:"x"`        // upper left corner in the film
	Y        int     `json:"y"`
	Found    float64 `json:"found"`    // share of its pixels that were removed
	Rejected bool    `json:"rejected"` // the film was refused for its text

	ink *image.Alpha
}

// plant burns a text into grey, a film of columns x rows bytes, and says which; ok is false
// when the film is too small for it.
func plant(grey []byte, columns, rows int, faces []typeface, rng *rand.Rand) (p Plant, ok bool, err error) {
	face := faces[rng.IntN(len(faces))]
	p = Plant{Text: identifier(rng), Font: face.name, Size: 10 + rng.IntN(31), Angle: 10*rng.Float64() - 5, Level: rng.IntN(40)}
	if rng.IntN(2) == 0 {
		p.Level = 255 - p.Level
	}
	straight, err := face.draw(p.Text, p.Size)
	if err != nil {
		return p, false, err
	}
	p.ink = turned(straight, 1, p.Angle*math.Pi/180)
	width, height := p.ink.Rect.Dx(), p.ink.Rect.Dy()
	if width > columns || height > rows {
		return p, false, nil
	}
	p.X, p.Y = rng.IntN(columns-width+1), rng.IntN(rows-height+1)
	sum, n := 0.0, 0
	for y := range height {
		for x := range width {
			a := int(p.ink.Pix[y*p.ink.Stride+x])
			i := (p.Y+y)*columns + p.X + x
			if a >= inked {
				difference := math.Abs(float64(p.Level) - float64(grey[i]))
				sum += difference
				n++
				if difference < visible { // nobody reads it, so nobody needs to remove it
					p.ink.Pix[y*p.ink.Stride+x] = 0
				}
			}
			grey[i] = byte((int(grey[i])*(255-a) + p.Level*a + 127) / 255)
		}
	}
	p.Contrast = sum / float64(max(n, 1))
	return p, n > 0, nil
}

const (
	inked   = 128 // coverage from which a pixel counts as ink
	visible = 10  // grey levels from which ink can be seen on the film beneath
)

// identifier makes up what is burned into films: names, dates, ids, and technical factors.
func identifier(rng *rand.Rand) string {
	pick := func(list string) string {
		all := strings.Fields(list)
		return all[rng.IntN(len(all))]
	}
	family := pick("SMITH GARCIA MUELLER NGUYEN KOWALSKI JOHNSON OKAFOR ROSSI Tanaka Petersen Dubois O'Brien Haddad Silva Andersson WRIGHT")
	given := pick("JANE JOHN MARIA AHMED Wei Olga PIERRE Ingrid Carlos FATIMA Peter LUCIA")
	day, month, year := 1+rng.IntN(28), 1+rng.IntN(12), 1925+rng.IntN(95)
	date := []string{
		fmt.Sprintf("%04d-%02d-%02d", year, month, day), fmt.Sprintf("%02d/%02d/%04d", month, day, year),
		fmt.Sprintf("%02d.%02d.%04d", day, month, year), fmt.Sprintf("%04d%02d%02d", year, month, day),
	}[rng.IntN(4)]
	id := []string{
		fmt.Sprintf("%07d", rng.IntN(10_000_000)), fmt.Sprintf("MRN %06d", rng.IntN(1_000_000)),
		fmt.Sprintf("ID:%c%05d", 'A'+rune(rng.IntN(26)), rng.IntN(100_000)), fmt.Sprintf("ACC%d-%03d", 1000+rng.IntN(9000), rng.IntN(1000)),
	}[rng.IntN(4)]
	return []string{family + "^" + given, family + ", " + given, date, "DOB " + date, id, family + " " + id}[rng.IntN(6)]
}
