package eval

import (
	"image"
	"math/rand/v2"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
)

// Coverage is how much of the lesions the patches show that a masked training step keeps. The
// paper says 92.3 % for a quarter of the patches.
type Coverage struct {
	Views   int     `json:"views"`   // that show a lesion
	Patches float64 `json:"patches"` // share of the patches of an image that are kept
	Area    Rate    `json:"area"`    // share of the area of a lesion's box that lies in kept patches
	Touched Rate    `json:"touched"` // share of lesions of which at least one patch is kept
	Seen    float64 `json:"seen_in_ten"`
}

// coverageDraws is how many masks are drawn for each view.
const coverageDraws = 10

// Cover draws masks as training does, ten for each view that shows a lesion. Seen is the share
// of the area of a box that at least one of them shows.
func Cover(samples []Sample, c model.ImageConfig, share float64) Coverage {
	out := Coverage{Patches: share}
	var area, touched []float64
	r := rand.New(rand.NewPCG(bootstrapSeed, 2))
	for _, s := range samples {
		for i, view := range s.Study.Images {
			box := s.Lesions[i].Intersect(view.Exposed)
			if box.Empty() {
				continue
			}
			whole := float64(box.Dx() * box.Dy())
			sum, hit, seen := 0.0, 0.0, map[int32]bool{}
			for range coverageDraws {
				covered := 0.0
				for _, p := range trainer.Keep(view.Exposed, c, share, r) {
					covered += overlap(box, c, p)
					seen[p] = true
				}
				sum += covered / whole / coverageDraws
				if covered > 0 {
					hit += 1.0 / coverageDraws
				}
			}
			area, touched = append(area, sum), append(touched, hit)
			for p := range seen {
				out.Seen += overlap(box, c, p) / whole
			}
		}
	}
	out.Views = len(area)
	if out.Views == 0 {
		return out
	}
	out.Seen /= float64(out.Views)
	all := make([]int, out.Views)
	for i := range all {
		all[i] = i
	}
	out.Area, out.Touched = newRate(meanFigure(area, [][]int{all})), newRate(meanFigure(touched, [][]int{all}))
	return out
}

// overlap is the area that a patch shares with a box.
func overlap(box image.Rectangle, c model.ImageConfig, patch int32) float64 {
	side := c.Size / c.Patch
	at := image.Pt(int(patch)%side*c.Patch, int(patch)/side*c.Patch)
	both := box.Intersect(image.Rectangle{Min: at, Max: at.Add(image.Pt(c.Patch, c.Patch))})
	return float64(both.Dx() * both.Dy())
}
