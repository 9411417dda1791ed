package embedder_test

import (
	"image"
	"math"
	"testing"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
)

// TestExplain: a film of two patches beside each other is explained by what is left of the
// similarity when the model sees one of them only, the other view of the study staying as it is.
func TestExplain(t *testing.T) {
	e := open(t, embedder.Options{})
	patch := e.Model().Config.Image.Patch
	show := func(first, last int) embedder.Image {
		f := film(1, embedder.Frontal)
		f.Exposed = image.Rect(first*patch, 0, (last+1)*patch, patch)
		return f
	}
	lateral := film(2, embedder.Lateral)
	query, err := e.EncodeText(t.Context(), "Small effusion.")
	if err != nil {
		t.Fatal(err)
	}
	similarity := func(frontal embedder.Image) float64 {
		v, err := e.EncodeStudies(t.Context(), []embedder.StudyInput{{Images: []embedder.Image{frontal, lateral}}})
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for i, x := range v[0].Image {
			sum += float64(x) * float64(query[i])
		}
		return sum
	}
	got, heats, err := e.Explain(t.Context(), []embedder.Image{show(1, 2), lateral}, query)
	if err != nil {
		t.Fatal(err)
	}
	whole := similarity(show(1, 2))
	near := func(what string, got float32, want float64) {
		t.Helper()
		if math.Abs(float64(got)-want) > 1e-5 {
			t.Errorf("%s is %g, want %g", what, got, want)
		}
	}
	near("the similarity", got, whole)
	if len(heats) != 2 || heats[0].Rows*heats[0].Columns != len(heats[0].Values) || heats[0].Columns*patch != 224 {
		t.Fatalf("%d heat maps, the first of %d x %d", len(heats), heats[0].Rows, heats[0].Columns)
	}
	for p, h := range heats[0].Values {
		switch p {
		case 1:
			near("the left patch", h, whole-similarity(show(2, 2)))
		case 2:
			near("the right patch", h, whole-similarity(show(1, 1)))
		default:
			near("padding", h, 0)
		}
	}
	if heats[0].Values[1] == heats[0].Values[2] {
		t.Error("both patches say the same")
	}

	if _, _, err := e.Explain(t.Context(), nil, query); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no images: %v", err)
	}
	if _, _, err := e.Explain(t.Context(), []embedder.Image{lateral}, query[1:]); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a query of another width: %v", err)
	}
}
