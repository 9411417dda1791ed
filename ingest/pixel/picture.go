package pixel

import (
	"bytes"
	"image"
	"image/color"
	"image/png"

	"github.com/radstream/radstream/schemas/fault"
)

// The colours of a picture, none of which is grey.
var (
	outline = color.NRGBA{255, 64, 64, 255} // round what was removed
	hatch   = color.NRGBA{0, 70, 110, 255}  // over what is no part of the film
)

// hatchStep is the distance of the lines over the padding.
const hatchStep = 8

// Picture returns an RGB PNG for people of a view of a film of columns x rows: the view as
// it is, the padding hatched, and a red line of one pixel round each removed part. removed
// is in pixels of the film; a line lies just outside its part, or on the edge of the film
// where there is no room, so that what was filled in can be seen.
func Picture(r Rendered, columns, rows int, removed []image.Rectangle) ([]byte, error) {
	if len(r.Pixels) != Side*Side || r.Exposed == nil || columns < 1 || rows < 1 {
		return nil, fault.Errorf("pixel.Picture", fault.Internal, "a picture needs a rendered film and its size")
	}
	film := image.Rect(int(r.Exposed.X0), int(r.Exposed.Y0), int(r.Exposed.X1), int(r.Exposed.Y1))
	img := image.NewNRGBA(image.Rect(0, 0, Side, Side))
	for i, v := range r.Pixels {
		at := image.Pt(i%Side, i/Side)
		c := color.NRGBA{v, v, v, 255}
		if !at.In(film) && (at.X+at.Y)%hatchStep == 0 {
			c = hatch
		}
		img.SetNRGBA(at.X, at.Y, c)
	}
	for _, part := range removed {
		if part = part.Intersect(image.Rect(0, 0, columns, rows)); part.Empty() {
			continue
		}
		frame(img, inView(part, film, columns, rows).Inset(-1).Intersect(film))
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), fault.E("pixel.Picture", fault.Internal, err)
}

// inView returns the pixels of the view that a part of the film reaches into.
func inView(part, film image.Rectangle, columns, rows int) image.Rectangle {
	x0, x1 := part.Min.X*film.Dx()/columns, (part.Max.X*film.Dx()+columns-1)/columns
	y0, y1 := part.Min.Y*film.Dy()/rows, (part.Max.Y*film.Dy()+rows-1)/rows
	return image.Rect(x0, y0, x1, y1).Add(film.Min)
}

// frame draws the outermost pixels of r.
func frame(img *image.NRGBA, r image.Rectangle) {
	for x := r.Min.X; x < r.Max.X; x++ {
		img.SetNRGBA(x, r.Min.Y, outline)
		img.SetNRGBA(x, r.Max.Y-1, outline)
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		img.SetNRGBA(r.Min.X, y, outline)
		img.SetNRGBA(r.Max.X-1, y, outline)
	}
}
