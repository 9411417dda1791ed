package eval

import (
	"context"
	"slices"
	"time"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/trainer"
)

// Measured is what the gate knows of a model: the same held-out studies seen by it.
type Measured struct {
	Model    string        `json:"model"`
	Pairs    PairsTable    `json:"pairs"`     // report of an image, image of a report
	ZeroShot ZeroShotTable `json:"zero_shot"` // against what the reports say
	// Cosines are the means between different studies of the image and of the text vectors;
	// 1 says that all are alike.
	ImageCosine float64 `json:"image_cosine"`
	TextCosine  float64 `json:"text_cosine"`
	// Millis is how long a study takes to encode, in milliseconds: the median of some passes.
	Millis float64  `json:"millis"`
	Bytes  int64    `json:"bytes"`  // of the graphs, which is what the weights take in memory
	Labels []string `json:"labels"` // that it scores, by name
}

// latencyStudies are encoded again and again to see how long a study takes.
const latencyStudies, latencyPasses = 32, 3

// Measure lets a model see studies. truth says which labels a study is known to show and not to
// show. Studies without an image or a text are left out of the pairs.
func Measure(ctx context.Context, e *embedder.Encoder, bytes int64, studies []*trainer.Study, truth func(*trainer.Study) map[string]bool) (Measured, []Encoded, error) {
	m := Measured{Model: e.Model().Ref.String(), Bytes: bytes}
	for _, l := range e.Model().Labels {
		m.Labels = append(m.Labels, l.Name)
	}
	encoded, err := Encode(ctx, e, studies)
	if err != nil {
		return m, nil, err
	}
	var pairs []Pair
	var images, texts [][]float32
	var labelled []Labelled
	for i, v := range encoded {
		if v.Image != nil && v.Text != nil {
			pairs = append(pairs, v.Pair(studies[i].Patient))
			images, texts = append(images, v.Image), append(texts, v.Text)
		}
		if v.Image != nil {
			labelled = append(labelled, Labelled{Scores: v.Scores, Truth: truth(studies[i]), Patient: studies[i].Patient})
		}
	}
	m.Pairs, m.ZeroShot = Pairs(pairs), ZeroShot(labelled)
	m.ImageCosine, m.TextCosine = offDiagonal(images), offDiagonal(texts)
	some := studies[:min(latencyStudies, len(studies))]
	var passes []float64
	for range latencyPasses {
		start := time.Now()
		if _, err := Encode(ctx, e, some); err != nil {
			return m, nil, err
		}
		passes = append(passes, float64(time.Since(start).Microseconds())/1000/float64(max(1, len(some))))
	}
	m.Millis = median(passes)
	return m, encoded, nil
}

// offDiagonal is the mean cosine between different vectors of unit length.
func offDiagonal(vectors [][]float32) float64 {
	n := float64(len(vectors))
	if n < 2 {
		return 0
	}
	sum := make([]float32, len(vectors[0]))
	for _, v := range vectors {
		for i, x := range v {
			sum[i] += x
		}
	}
	return (dot(sum, sum) - n) / (n * (n - 1))
}

// Gate says what a candidate may cost beside the champion whose place it is to take.
type Gate struct {
	MinStudies int     // held-out pairs without which nothing can be said
	MaxCosine  float64 // between vectors of different studies; above it a model has collapsed
	MaxSlower  float64 // times the champion's time for a study
	MaxLarger  float64 // times the champion's bytes
}

// DefaultGate returns the gate of radtrain serve.
func DefaultGate() Gate {
	return Gate{MinStudies: 20, MaxCosine: trainer.Collapsed, MaxSlower: 1.5, MaxLarger: 1.25}
}

// Check is one condition of a promotion.
type Check struct {
	Name      string  `json:"name"`
	Champion  float64 `json:"champion"`
	Candidate float64 `json:"candidate"`
	Limit     float64 `json:"limit"` // what the candidate had to reach (figures) or not to pass (costs)
	Passed    bool    `json:"passed"`
}

// Judge holds a candidate against the champion on the same studies. It is promoted if all checks
// pass: retrieval both ways and the mean zero-shot AUC over the champion's labels no worse than the
// lower end of the champion's 95 % interval, vectors that differ, no label lost, time and memory
// within budget.
// collapsed is what the training itself saw.
func (g Gate) Judge(champion, candidate Measured, collapsed bool) []Check {
	var all []Check
	reach := func(name string, champion, candidate, limit float64) {
		all = append(all, Check{name, champion, candidate, limit, candidate >= limit})
	}
	stay := func(name string, champion, candidate, limit float64) {
		all = append(all, Check{name, champion, candidate, limit, candidate <= limit})
	}
	reach("held_out_pairs", float64(champion.Pairs.Pairs), float64(candidate.Pairs.Pairs), float64(g.MinStudies))
	reach("image_to_text_r10", champion.Pairs.ImageToText.R10, candidate.Pairs.ImageToText.R10, champion.Pairs.ImageToText.R10CI[0])
	reach("text_to_image_r10", champion.Pairs.TextToImage.R10, candidate.Pairs.TextToImage.R10, champion.Pairs.TextToImage.R10CI[0])
	if len(champion.ZeroShot.Labels) > 0 {
		reach("zero_shot_auc", champion.ZeroShot.Mean, candidate.ZeroShot.meanOf(champion.ZeroShot), champion.ZeroShot.MeanCI[0])
	}
	lost := 0
	for _, l := range champion.Labels {
		if !slices.Contains(candidate.Labels, l) {
			lost++
		}
	}
	stay("labels_lost", 0, float64(lost), 0)
	stay("image_cosine", champion.ImageCosine, candidate.ImageCosine, g.MaxCosine)
	stay("text_cosine", champion.TextCosine, candidate.TextCosine, g.MaxCosine)
	training := 0.0
	if collapsed {
		training = 1
	}
	stay("collapsed_in_training", 0, training, 0)
	stay("millis_per_study", champion.Millis, candidate.Millis, g.MaxSlower*champion.Millis)
	stay("bytes", float64(champion.Bytes), float64(candidate.Bytes), g.MaxLarger*float64(champion.Bytes))
	return all
}

// Overlap returns the share of the k nearest studies of each of the golden ones under one model
// that are among its k nearest under the other. a and b are the same studies in the same order.
func Overlap(a, b []Encoded, golden, k int) float64 {
	shared, total := 0, 0
	nearest := func(all []Encoded, of int) []int {
		ranking := rank(len(all), of, func(i int) float64 {
			if all[i].Image == nil {
				return -2
			}
			return dot(all[of].Image, all[i].Image)
		})
		return ranking[:min(k, len(ranking))]
	}
	for i := 0; i < len(a) && golden > 0; i++ {
		if a[i].Image == nil || b[i].Image == nil {
			continue
		}
		golden--
		other := nearest(b, i)
		for _, j := range nearest(a, i) {
			total++
			if slices.Contains(other, j) {
				shared++
			}
		}
	}
	if total == 0 {
		return 0
	}
	return float64(shared) / float64(total)
}
