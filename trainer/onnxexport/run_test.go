package onnxexport_test

import (
	"image"
	_ "image/jpeg" // the films are JPEG files
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/image/draw"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// images makes n random images with padding at the right and every embedding in use.
func images(c model.Config, n int, seed uint64) []imageInput {
	rng := rand.New(rand.NewPCG(seed, 0))
	side := c.Image.Size / c.Image.Patch
	out := make([]imageInput, n)
	for i := range out {
		out[i] = imageInput{pixels: make([]uint8, c.Image.Size*c.Image.Size), mask: make([]bool, c.Image.Patches()), view: i % 2, prior: float64((i + 1) % 2), days: 30}
		for j := range out[i].pixels {
			out[i].pixels[j] = uint8(rng.IntN(256))
		}
		for j := range out[i].mask {
			out[i].mask[j] = j%side < side-1-i%2
		}
	}
	return out
}

// film reads a film and scales it to the model's square.
func film(t *testing.T, path string, c model.Config) imageInput {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	grey := image.NewGray(image.Rect(0, 0, c.Image.Size, c.Image.Size))
	draw.BiLinear.Scale(grey, grey.Bounds(), src, src.Bounds(), draw.Src, nil)
	in := imageInput{pixels: grey.Pix, mask: make([]bool, c.Image.Patches())}
	for i := range in.mask {
		in.mask[i] = true
	}
	return in
}

func runImage(t *testing.T, c model.Config, w onnxexport.Weights, p onnxexport.Precision, in []imageInput) []imageOutput {
	t.Helper()
	graph, err := onnxexport.ImageGraph(c, w, p)
	if err != nil {
		t.Fatal(err)
	}
	out, n := run(t, c, graph, in, "m", "s", "v", "tokens"), c.Image.Patches()
	tokens := rows(out[3], c.Joint)
	results := make([]imageOutput, len(in))
	for i := range results {
		results[i] = imageOutput{
			m: float64(out[0].Data.([]float32)[i]), s: float64(out[1].Data.([]float32)[i]),
			v: rows(out[2], c.Joint)[i], tokens: tokens[i*n : (i+1)*n],
		}
	}
	return results
}

func runText(t *testing.T, c model.Config, w onnxexport.Weights, p onnxexport.Precision, texts [][]int32) (global matrix, hidden []matrix) {
	t.Helper()
	graph, err := onnxexport.TextGraph(c, w, p)
	if err != nil {
		t.Fatal(err)
	}
	return runTextGraph(t, c, graph, texts)
}

func runTextGraph(t *testing.T, c model.Config, graph []byte, texts [][]int32) (global matrix, hidden []matrix) {
	t.Helper()
	s := session(t, graph, []string{"input_ids", "attention_mask"}, []string{"text", "hidden"})
	length := 0
	for _, ids := range texts {
		length = max(length, len(ids))
	}
	ids, mask := make([]int64, len(texts)*length), make([]int64, len(texts)*length)
	for i, text := range texts {
		for j, id := range text {
			ids[i*length+j], mask[i*length+j] = int64(id), 1
		}
	}
	shape := []int64{int64(len(texts)), int64(length)}
	out, err := s.Run(t.Context(), ort.Tensor{Shape: shape, Data: ids}, ort.Tensor{Shape: shape, Data: mask})
	if err != nil {
		t.Fatal(err)
	}
	states := rows(out[1], c.Text.Width)
	for i := range texts {
		hidden = append(hidden, states[i*length:(i+1)*length])
	}
	return rows(out[0], c.Joint), hidden
}

func session(t *testing.T, graph []byte, inputs, outputs []string) *ort.Session {
	t.Helper()
	s, err := runtime.Session(ort.Model{Name: t.Name(), Data: graph}, inputs, outputs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func rows(t ort.Tensor, width int) matrix {
	data := t.Data.([]float32)
	var out matrix
	for i := 0; i < len(data); i += width {
		row := make([]float64, width)
		for j := range row {
			row[j] = float64(data[i+j])
		}
		out = append(out, row)
	}
	return out
}

func scaled(x []float64, by float64) []float64 {
	y := make([]float64, len(x))
	for i := range x {
		y[i] = x[i] * by
	}
	return y
}

// near allows an error of tolerance, relative where numbers are above 1.
func near(t *testing.T, what string, tolerance float64, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(got[i] - want[i]); !(d <= tolerance*max(1, math.Abs(want[i]))) {
			t.Errorf("%s[%d] is %g, want %g", what, i, got[i], want[i])
			return
		}
	}
}
