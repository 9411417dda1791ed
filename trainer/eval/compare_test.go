package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestCompare: one way to train tells two classes apart, the other says the same of all.
func TestCompare(t *testing.T) {
	draw := func(seed uint64, apart float64) Run {
		r := rand.New(rand.NewPCG(seed, 0))
		var out Run
		for i := range 40 {
			class := i % 2
			a := apart*90*float64(class) + 20*r.Float64()
			v := at(a)
			out.Cases = append(out.Cases, Case{Class: fmt.Sprint(class), Image: v, Text: at(apart * 90 * float64(class)), Scores: map[string]float64{"1": apart*a + (1-apart)*r.Float64()}})
		}
		out.Queries = []Query{{Class: "0", Image: at(10)}, {Class: "1", Image: at(100)}}
		return out
	}
	good, bad := []Run{draw(1, 1), draw(2, 1)}, []Run{draw(3, 0), draw(4, 0)}
	training := [][]Case{draw(5, 1).Cases, draw(6, 1).Cases}
	row := Compare("good", good, bad, training, make([][]Change, 2))
	if row.Runs != 2 || row.ImageToImage != (OverSeeds{1, 0}) || row.TextToImage.Mean != 1 || row.ImageToText.Mean != 1 || row.ZeroShot.Mean != 1 || row.Supervised.Mean < 0.99 || row.Progression != (OverSeeds{}) {
		t.Errorf("%+v", row)
	}
	for name, gain := range map[string]Rate{"image to image": row.ImageToImageGain, "text to image": row.TextToImageGain, "image to text": row.ImageToTextGain, "zero shot": row.ZeroShotGain} {
		if !(gain.CI[0] > 0.2) || math.Abs(gain.Value-0.5) > 0.3 {
			t.Errorf("%s gains %+v", name, gain)
		}
	}
	same := Compare("same", good, good, training, make([][]Change, 2))
	if same.ImageToImageGain != (Rate{}) || same.TextToImageGain != (Rate{}) || same.ZeroShotGain != (Rate{}) {
		t.Errorf("beside itself: %+v", same)
	}
	if first := Compare("first", good, nil, training, make([][]Change, 2)); first.ImageToImageGain != (Rate{}) || first.ImageToImage != row.ImageToImage {
		t.Errorf("beside nothing: %+v", first)
	}
}
