package ocr

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFlatten: a faint stroke on a steep slope comes out as strong as a clear one on a flat
// ground, and flat ground stays flat.
func TestFlatten(t *testing.T) {
	img := Image{200, 100, make([]byte, 200*100)}
	for i := range img.Pix {
		img.Pix[i] = 60
		if i%200 >= 100 {
			img.Pix[i] = byte(60 + (i%200 - 100))
		}
	}
	for y := 20; y < 80; y++ {
		img.Pix[y*200+40] = 200  // clear
		img.Pix[y*200+150] += 25 // faint
	}
	got := flatten(img)
	clear, faint := int(got.Pix[50*200+40])-128, int(got.Pix[50*200+150])-int(got.Pix[50*200+149])
	if clear < 100 || faint < 90 {
		t.Errorf("the clear stroke stands out by %d, the faint one by %d", clear, faint)
	}
	if v := got.Pix[0]; v != 128 {
		t.Errorf("flat ground is %d", v)
	}
}

// TestEqualised: a part looks as it does in the whole, and has its place.
func TestEqualised(t *testing.T) {
	img := film(150, 120)
	write(img, 60, 50, "DOE")
	want := flatten(img)
	for _, b := range []Box{{0, 0, 150, 120}, {50, 40, 90, 70}, {0, 0, 20, 10}, {140, 100, 170, 140}, {-9, 60, 3, 61}} {
		got, inside := equalised(img, b), b.Intersect(whole(img))
		if got.x0 != inside.X0 || got.y0 != inside.Y0 || got.img.Columns != inside.X1-inside.X0 || got.img.Rows != inside.Y1-inside.Y0 {
			t.Errorf("%v has %d x %d pixels from %d, %d", b, got.img.Columns, got.img.Rows, got.x0, got.y0)
		}
		if d := cmp.Diff(cutOut(want, b).img.Pix, got.img.Pix); d != "" {
			t.Errorf("%v: (-want +got)\n%s", b, d)
		}
	}
}

// TestFlattenIsLocal holds the running sums against plain ones.
func TestFlattenIsLocal(t *testing.T) {
	img := film(70, 50)
	write(img, 10, 10, "DOE")
	got := flatten(img)
	for _, at := range [][2]int{{0, 0}, {69, 49}, {12, 15}, {35, 25}, {69, 0}} {
		part := Box{at[0] - window, at[1] - window, at[0] + window + 1, at[1] + window + 1}.Intersect(Box{0, 0, 70, 50})
		alone := Image{part.X1 - part.X0, part.Y1 - part.Y0, nil}
		for y := part.Y0; y < part.Y1; y++ {
			alone.Pix = append(alone.Pix, img.Pix[y*70+part.X0:y*70+part.X1]...)
		}
		want := flatten(alone).Pix[(at[1]-part.Y0)*alone.Columns+at[0]-part.X0]
		if v := got.Pix[at[1]*70+at[0]]; v != want {
			t.Errorf("at %v: %d, want %d", at, v, want)
		}
	}
}
