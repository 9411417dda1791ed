package eval

// Pair is one study with an image and its own text.
type Pair struct {
	Image, Text []float32 // of unit length
}

// Recall is the share of queries whose partner is among the first 1, 5, 10 and 50, with 95 %
// intervals.
type Recall struct {
	R1    float64    `json:"r1"`
	R1CI  [2]float64 `json:"r1_ci"`
	R5    float64    `json:"r5"`
	R5CI  [2]float64 `json:"r5_ci"`
	R10   float64    `json:"r10"`
	R10CI [2]float64 `json:"r10_ci"`
	R50   float64    `json:"r50"`
	R50CI [2]float64 `json:"r50_ci"`
	// Median is the middle rank of the partner, from 1.
	Median float64 `json:"median_rank"`
}

// PairsTable is the evaluation of one model on pairs.
type PairsTable struct {
	Pairs       int    `json:"pairs"`
	ImageToText Recall `json:"image_to_text"`
	TextToImage Recall `json:"text_to_image"`
	Chance      Recall `json:"chance"` // of random rankings, either way, without intervals
}

// Pairs ranks all texts for each image and all images for each text. Equal scores count
// against the partner, so that a model that says the same of everything finds nothing.
// Intervals resample queries; the candidates stay all.
func Pairs(pairs []Pair) PairsTable {
	n := len(pairs)
	t := PairsTable{Pairs: n}
	if n == 0 {
		return t
	}
	images, texts := make([]int, n), make([]int, n)
	for i, p := range pairs {
		own := dot(p.Image, p.Text)
		for j, q := range pairs {
			if j == i {
				continue
			}
			if dot(p.Image, q.Text) >= own {
				images[i]++
			}
			if dot(q.Image, p.Text) >= own {
				texts[i]++
			}
		}
	}
	t.ImageToText, t.TextToImage = recall(images), recall(texts)
	chance := func(k int) float64 { return min(1, float64(k)/float64(n)) }
	t.Chance = Recall{R1: chance(1), R5: chance(5), R10: chance(10), R50: chance(50), Median: float64(n+1) / 2}
	return t
}

// recall takes how many were ranked before each query's partner.
func recall(before []int) Recall {
	all := [][]int{make([]int, len(before))}
	ranks := make([]float64, len(before))
	for i, b := range before {
		all[0][i] = i
		ranks[i] = float64(b + 1)
	}
	at := func(k int) (float64, [2]float64) {
		found := make([]float64, len(before))
		for i, b := range before {
			if b < k {
				found[i] = 1
			}
		}
		f := meanFigure(found, all)
		return f.Value, [2]float64{f.Low, f.High}
	}
	var r Recall
	r.R1, r.R1CI = at(1)
	r.R5, r.R5CI = at(5)
	r.R10, r.R10CI = at(10)
	r.R50, r.R50CI = at(50)
	r.Median = median(ranks)
	return r
}
