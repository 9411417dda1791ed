package pixel_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/radstream/radstream/ingest/pixel"
)

// TestPicture: where the lines lie, and that everything else is as the model sees it.
func TestPicture(t *testing.T) {
	r, err := pixel.Render(film(1000, 500), pixel.Auto) // 224 x 112, from row 56 on
	if err != nil {
		t.Fatal(err)
	}
	data, err := pixel.Picture(r, 1000, 500, []image.Rectangle{
		image.Rect(100, 100, 200, 150), // 22.4 to 44.8 and 22.4 to 33.6 of the view
		image.Rect(990, -5, 2000, 10),  // cut at the corner
		image.Rect(2000, 0, 2100, 10),  // not on the film
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil || img.Bounds() != image.Rect(0, 0, pixel.Side, pixel.Side) {
		t.Fatal(img.Bounds(), err)
	}
	red, hatched := 0, 0
	for y := range pixel.Side {
		for x := range pixel.Side {
			c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
			v := r.Pixels[y*pixel.Side+x]
			switch {
			case c == color.NRGBA{255, 64, 64, 255}:
				red++
			case y >= 56 && y < 168:
				if c != (color.NRGBA{v, v, v, 255}) {
					t.Fatalf("%v at %d, %d, where the view has %d", c, x, y, v)
				}
			case c != color.NRGBA{0, 0, 0, 255}:
				hatched++
			}
		}
	}
	// 21 to 45 and 77 to 90; 220 to 223 and 56 to 59.
	first, corner := 2*(46-21)+2*(91-77)-4, 2*4+2*4-4
	if red != first+corner || hatched != 112*pixel.Side/8 {
		t.Errorf("%d red pixels, want %d; %d hatched", red, first+corner, hatched)
	}
	for _, at := range []image.Point{{21, 77}, {45, 90}, {45, 77}, {21, 90}, {220, 56}, {223, 59}} {
		if c := color.NRGBAModel.Convert(img.At(at.X, at.Y)); c != (color.NRGBA{255, 64, 64, 255}) {
			t.Errorf("%v at the corner %v", c, at)
		}
	}
	if _, err := pixel.Picture(pixel.Rendered{}, 1, 1, nil); err == nil {
		t.Error("a picture of nothing")
	}
}
