package train_test

import (
	"image"
	"image/png"
	"os"
	"testing"
)

// writePNG writes a film of 224 x 224 grey pixels.
func writePNG(t *testing.T, path string, pixels []byte) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, &image.Gray{Pix: pixels, Stride: 224, Rect: image.Rect(0, 0, 224, 224)}); err != nil {
		t.Fatal(err)
	}
}
