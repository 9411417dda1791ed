package eval

import (
	"context"
	"math"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer"
)

// aggregationTemperature is GLoRIA's: it divides the cosines of sentences and regions in
// [LocalSimilarity].
const aggregationTemperature = 0.2

// LocalSimilarity is GLoRIA's similarity of a study and a text by their local vectors (Huang et al.
// 2021): each sentence u attends to a region r of the patches x as in training, and
//
//	r = sum a_j x_j,  a = softmax (u x_j / trainer.AttentionTemperature)
//	similarity = t log sum exp (cos (u, r) / t),  over the sentences, t = 0.2
//
// GLoRIA's local unit of text is a word, this model's a sentence. All vectors have length 1. Of
// one sentence it is the cosine, of n it is at most t log n above the highest: a text that says more
// fits more. Of no sentence it is -Inf.
func LocalSimilarity(patches, sentences [][]float32) float64 {
	cosines := make([]float64, len(sentences))
	highest := math.Inf(-1)
	for i, u := range sentences {
		cosines[i] = regionCosine(patches, u)
		highest = max(highest, cosines[i])
	}
	sum := 0.0
	for _, c := range cosines {
		sum += math.Exp((c - highest) / aggregationTemperature)
	}
	return highest + aggregationTemperature*math.Log(sum)
}

// regionCosine is the cosine of a sentence and the region that it attends to.
func regionCosine(patches [][]float32, sentence []float32) float64 {
	share := make([]float64, len(patches))
	highest := math.Inf(-1)
	for j, x := range patches {
		share[j] = dot(sentence, x)
		highest = max(highest, share[j])
	}
	region := make([]float32, len(sentence))
	for j, x := range patches {
		a := float32(math.Exp((share[j] - highest) / trainer.AttentionTemperature))
		for i, v := range x {
			region[i] += a * v
		}
	}
	return dot(sentence, unit(region))
}

// unit scales x to length 1, in place; zeros stay zeros.
func unit(x []float32) []float32 {
	if square := dot(x, x); square > 0 {
		for i := range x {
			x[i] = float32(float64(x[i]) / math.Sqrt(square))
		}
	}
	return x
}

// sentences are the vectors of a text's sentences: the means of their tokens, of length 1. tokens
// are all of the text's, [CLS] and [SEP] included; nil gives nil.
func sentences(tokens [][]float32, spans [][]int32) [][]float32 {
	if tokens == nil {
		return nil
	}
	out := make([][]float32, len(spans))
	at := 1
	for i, s := range spans {
		mean := make([]float32, len(tokens[at]))
		for _, token := range tokens[at : at+len(s)] {
			for j, v := range token {
				mean[j] += v
			}
		}
		out[i] = unit(mean)
		at += len(s)
	}
	return out
}

// LocalSimilarities returns [LocalSimilarity] of each study and each text, times weight: one row a
// study, of its patches, one column a text, of its sentences. It takes two multiplications for
// each number of each patch, for each sentence. progress, if not nil, is called after each study,
// never twice at once.
func LocalSimilarities(ctx context.Context, weight float64, patches, texts [][][]float32, progress func(done, total int)) ([][]float64, error) {
	out := make([][]float64, len(patches))
	var mu sync.Mutex
	done := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, study := range patches {
		group.Go(func() error {
			out[i] = make([]float64, len(texts))
			for j, text := range texts {
				if err := ctx.Err(); err != nil {
					return err
				}
				out[i][j] = weight * LocalSimilarity(study, text)
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; progress != nil {
				progress(done, len(patches))
			}
			return nil
		})
	}
	return out, fault.Wrap("eval.LocalSimilarities", group.Wait())
}

// AddLocal lets [Retrieval] and [Compare] rank by local similarities too: it fills in Local of cases
// that all have a report, and of queries, from their local vectors, and lets go of these.
func AddLocal(ctx context.Context, weight float64, cases []Case, queries []Query, progress func(done, total int)) error {
	var patches, texts [][][]float32
	for _, c := range cases {
		patches, texts = append(patches, c.Patches), append(texts, c.Sentences)
	}
	for _, q := range queries {
		texts = append(texts, q.Sentences)
	}
	rows, err := LocalSimilarities(ctx, weight, patches, texts, progress)
	if err != nil {
		return err
	}
	for q := range queries {
		queries[q].Sentences = nil
		for _, row := range rows {
			queries[q].Local = append(queries[q].Local, row[len(cases)+q])
		}
	}
	for i := range cases {
		cases[i].Patches, cases[i].Sentences, cases[i].Local = nil, nil, rows[i][:len(cases)]
	}
	return nil
}

// nth is one of a row of local similarities, 0 where there are none.
func nth(local []float64, n int) float64 {
	if local == nil {
		return 0
	}
	return local[n]
}
