package eval

// Pair is one study with an image and its own text.
type Pair struct {
	Patient     string    // of whom there may be several, also in several sets; empty for one of its own
	Image, Text []float32 // of unit length
	Report      string    // what the text says: pairs of equal ones are right for one another; empty is like no other
	// Local is what its image has in common with the text of each pair of its set beside the
	// cosine, as [LocalSimilarities] tells; nil for nothing.
	Local []float64
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

// PairsGain is how much more often one model finds the partner than another, over the same
// queries, with paired 95 % intervals.
type PairsGain struct {
	Against     string  `json:"against"`
	ImageToText [3]Rate `json:"image_to_text_r1_r10_r50"`
	TextToImage [3]Rate `json:"text_to_image_r1_r10_r50"`
}

// gainDepths are those of [PairsGain].
var gainDepths = [...]int{1, 10, 50}

// ComparePairs holds a model against another on the same studies in the same order; sets are as
// in [Pairs].
func ComparePairs(model, against [][]Pair) PairsGain {
	var g PairsGain
	images, texts, patients := beforeAll(model)
	images2, texts2, _ := beforeAll(against)
	gain := func(a, b []int, k int) Rate {
		diff := make([]float64, len(a))
		for i := range a {
			if a[i] < k {
				diff[i]++
			}
			if b[i] < k {
				diff[i]--
			}
		}
		return newRate(patientMean(diff, patients))
	}
	for i, k := range gainDepths {
		g.ImageToText[i], g.TextToImage[i] = gain(images, images2, k), gain(texts, texts2, k)
	}
	return g
}

// Pairs ranks all texts of a set for each of its images and all its images for each text, and
// takes the queries of all sets together: those of several splits, with a model each. Equal
// scores count against the partner, so that a model that says the same of everything finds
// nothing; but another pair with the very same report is no error, and is passed over. Intervals
// resample patients, one of several studies or in several sets as a whole; the candidates stay all.
func Pairs(sets ...[]Pair) PairsTable {
	images, texts, patients := beforeAll(sets)
	n := len(images)
	t := PairsTable{Pairs: n}
	if n == 0 {
		return t
	}
	t.ImageToText, t.TextToImage = recall(images, patients), recall(texts, patients)
	mean := func(of func(n float64) float64) (sum float64) { // of how many are ranked for each query
		for _, s := range sets {
			same := map[string]int{}
			for _, p := range s {
				same[p.Report]++
			}
			for _, p := range s {
				ranked := len(s)
				if p.Report != "" {
					ranked -= same[p.Report] - 1
				}
				sum += of(float64(ranked)) / float64(n)
			}
		}
		return sum
	}
	chance := func(k float64) float64 { return mean(func(n float64) float64 { return min(1, k/n) }) }
	t.Chance = Recall{R1: chance(1), R5: chance(5), R10: chance(10), R50: chance(50), Median: mean(func(n float64) float64 { return (n + 1) / 2 })}
	return t
}

// beforeAll is before for the pairs of all sets, one after another, with the number of the patient
// of each.
func beforeAll(sets [][]Pair) (images, texts, patients []int) {
	known, next := map[string]int{}, 0
	for _, s := range sets {
		i, t := before(s)
		images, texts = append(images, i...), append(texts, t...)
		for _, p := range s {
			n, seen := known[p.Patient]
			if !seen || p.Patient == "" {
				n = next
				known[p.Patient] = n
				next++
			}
			patients = append(patients, n)
		}
	}
	return images, texts, patients
}

// patientMean is the mean of one value a query, resampling patients.
func patientMean(values []float64, patients []int) Figure {
	var sums, counts []float64
	for i, v := range values {
		for patients[i] >= len(sums) {
			sums, counts = append(sums, 0), append(counts, 0)
		}
		sums[patients[i]] += v
		counts[patients[i]]++
	}
	all := make([]int, len(sums))
	for i := range all {
		all[i] = i
	}
	mean := func(chosen []int) float64 {
		sum, n := 0.0, 0.0
		for _, i := range chosen {
			sum += sums[i]
			n += counts[i]
		}
		return sum / n
	}
	f := Figure{Value: mean(all)}
	f.Low, f.High = bootstrap([][]int{all}, mean)
	return f
}

// before counts what is ranked before the partner, for each image and for each text.
func before(pairs []Pair) (images, texts []int) {
	images, texts = make([]int, len(pairs)), make([]int, len(pairs))
	for i := range pairs {
		own := similar(pairs, i, i)
		for j := range pairs {
			if j == i || pairs[j].Report == pairs[i].Report && pairs[i].Report != "" {
				continue
			}
			if similar(pairs, i, j) >= own {
				images[i]++
			}
			if similar(pairs, j, i) >= own {
				texts[i]++
			}
		}
	}
	return images, texts
}

// similar is how similar the image of pair i is to the text of pair j.
func similar(pairs []Pair, i, j int) float64 {
	return dot(pairs[i].Image, pairs[j].Text) + nth(pairs[i].Local, j)
}

// recall takes how many were ranked before each query's partner, and which patient it is of.
func recall(before, patients []int) Recall {
	ranks := make([]float64, len(before))
	for i, b := range before {
		ranks[i] = float64(b + 1)
	}
	at := func(k int) (float64, [2]float64) {
		found := make([]float64, len(before))
		for i, b := range before {
			if b < k {
				found[i] = 1
			}
		}
		f := patientMean(found, patients)
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
