package eval

import (
	"context"
	"crypto/sha256"
	_ "embed" // the queries
	"encoding/json"
	"fmt"
	"image"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer"
)

// queries.json holds, for each class of phantoms, texts as a report would put them.
//
//go:embed queries.json
var queriesJSON []byte

// paper.json holds what the paper printed, as far as it is known here.
//
//go:embed paper.json
var paperJSON []byte

// Paper returns the figures of the paper, for tables that stand beside them.
func Paper() json.RawMessage { return slices.Clone(paperJSON) }

// PhantomConfig returns the phantoms of the retrieval evaluation: one finding each, the first
// eight of phantom.Ranges dealt out evenly, both views, no priors.
func PhantomConfig(studies int, seed uint64) phantom.Config {
	c := phantom.Defaults()
	c.Studies, c.Seed, c.SingleFinding, c.LateralShare, c.PriorShare = studies, seed, true, 1, 0
	for _, r := range phantom.Ranges()[:8] {
		c.Kinds = append(c.Kinds, r.Kind)
	}
	return c
}

// Sample is a study and what it shows.
type Sample struct {
	Study *trainer.Study
	Class string
	Size  float64
	// Lesions are where each view of Study shows it, in pixels of the view; empty where it does not.
	Lesions     []image.Rectangle
	LateralOnly bool                // the frontal view hides it
	Progression phantom.Progression // since the prior; empty where there is none
}

// PhantomSamples makes phantoms and takes them through ingest. Those of c have one finding
// each. progress, if not nil, is called after each study, never twice at once.
func PhantomSamples(ctx context.Context, c phantom.Config, p *ingest.Preparer, t trainer.Reader, progress func(done, total int)) ([]Sample, error) {
	const op = "eval.PhantomSamples"
	secret := sha256.Sum256([]byte("radtrain eval"))
	key, err := deid.NewKey(secret[:])
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	samples := make([]Sample, c.Studies)
	finished := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 1)
	group.Go(func() error {
		for done := range c.Studies {
			select {
			case <-finished:
			case <-ctx.Done():
				return ctx.Err()
			}
			if progress != nil {
				progress(done+1, c.Studies)
			}
		}
		return nil
	})
	for i := range c.Studies {
		group.Go(func() error {
			study, err := phantom.Generate(c, i)
			if err != nil {
				return err
			}
			prepared, err := trainer.PreparePhantom(ctx, p, key, study)
			if err != nil {
				return err
			}
			if len(study.Truth.Findings) != 1 {
				return fault.Errorf(op, fault.Usage, "the phantoms of an evaluation have one finding each")
			}
			f := study.Truth.Findings[0]
			samples[i] = Sample{Class: string(f.Kind), Size: f.SizeMM, LateralOnly: f.LateralOnly, Progression: f.Progression}
			if samples[i].Study, err = trainer.NewStudy(prepared, t); err != nil {
				return err
			}
			samples[i].Lesions = lesions(study, f, samples[i].Study)
			select {
			case finished <- struct{}{}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	return samples, fault.Wrap(op, group.Wait())
}

// lesions moves the boxes of a finding from a phantom's films to its prepared views. Film and
// exposed box have the same shape.
func lesions(p phantom.Study, f phantom.Finding, s *trainer.Study) []image.Rectangle {
	out := make([]image.Rectangle, len(s.Images))
	for i, view := range s.Images {
		box := f.Frontal
		if view.View == embedder.Lateral {
			box = f.Lateral
		}
		if box == nil {
			continue
		}
		film := p.Views[int(view.View)] // frontal, then lateral
		scale := func(v, from, to int) int { return int(math.Round(float64(v) * float64(to) / float64(from))) }
		e := view.Exposed
		out[i] = image.Rect(scale(box[0], film.Columns, e.Dx()), scale(box[1], film.Rows, e.Dy()), scale(box[2], film.Columns, e.Dx()), scale(box[3], film.Rows, e.Dy())).Add(e.Min)
	}
	return out
}

// Cases encodes samples and scores their labels.
func Cases(ctx context.Context, e *embedder.Encoder, samples []Sample) ([]Case, error) {
	const op = "eval.Cases"
	studies := make([]*trainer.Study, len(samples))
	for i, s := range samples {
		studies[i] = s.Study
	}
	vectors, err := Encode(ctx, e, studies)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	cases := make([]Case, len(samples))
	for i, s := range samples {
		cases[i] = Case{Class: s.Class, Size: s.Size, Image: vectors[i].Image, Text: vectors[i].Text, Pixel: pixels(s.Study), Scores: vectors[i].Scores,
			Patches: vectors[i].Patches, Sentences: vectors[i].Sentences}
	}
	return cases, nil
}

// Encoded is what a model says of one study.
type Encoded struct {
	Image, Text []float32          // nil where there is none
	Tokens      []int32            // of the text
	Scores      map[string]float64 // calibrated label scores; nil without an image
	Logits      map[string]float64 // cosine differences over temperature: what calibration starts from
	// The local vectors that [LocalSimilarity] takes; of an encoder with embedder.Options.Local.
	Patches, Sentences [][]float32
}

// Pair is a study of a patient that has both an image and a text.
func (e Encoded) Pair(patient string) Pair {
	return Pair{Patient: patient, Image: e.Image, Text: e.Text, Report: fmt.Sprint(e.Tokens)}
}

// Encode runs the model on studies and scores its labels.
func Encode(ctx context.Context, e *embedder.Encoder, studies []*trainer.Study) ([]Encoded, error) {
	labels, err := e.Labels(ctx)
	if err != nil {
		return nil, fault.Wrap("eval.Encode", err)
	}
	return EncodeScored(ctx, e, labels, studies)
}

// EncodeScored is [Encode] with labels that were encoded before and need not be the model's.
func EncodeScored(ctx context.Context, e *embedder.Encoder, labels []zeroshot.Label, studies []*trainer.Study) ([]Encoded, error) {
	const op = "eval.EncodeScored"
	inputs := make([]embedder.StudyInput, len(studies))
	for i, s := range studies {
		inputs[i] = embedder.StudyInput{Images: s.Images, Tokens: s.Report.Tokens}
	}
	vectors, err := e.EncodeStudies(ctx, inputs)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	out := make([]Encoded, len(studies))
	for i, v := range vectors {
		out[i] = Encoded{Image: v.Image, Text: v.Text, Tokens: studies[i].Report.Tokens, Patches: v.Patches, Sentences: sentences(v.Tokens, studies[i].Report.Sentences)}
		if v.Image == nil {
			continue
		}
		scores, err := zeroshot.Scores(v.Image, labels, e.Model().Temperature)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		out[i].Scores, out[i].Logits = map[string]float64{}, map[string]float64{}
		for _, s := range scores {
			out[i].Scores[s.Label] = float64(s.Value)
		}
		for _, l := range labels {
			out[i].Logits[l.Name] = (dot(v.Image, l.Positive) - dot(v.Image, l.Negative)) / e.Model().Temperature
		}
	}
	return out, nil
}

// PhantomQueries encodes the text queries of the classes that occur in samples: a sentence each.
func PhantomQueries(ctx context.Context, e *embedder.Encoder, samples []Sample) ([]Query, error) {
	const op = "eval.PhantomQueries"
	var lists []struct {
		Class string   `json:"class"`
		Texts []string `json:"texts"`
	}
	if err := json.Unmarshal(queriesJSON, &lists); err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	occurs := map[string]bool{}
	for _, s := range samples {
		occurs[s.Class] = true
	}
	var out []Query
	for _, l := range lists {
		if !occurs[l.Class] {
			continue
		}
		for _, text := range l.Texts {
			ids, _ := e.Tokenizer().EncodeMax(text, e.Model().Tokenizer.MaxLength)
			v, err := e.EncodeStudies(ctx, []embedder.StudyInput{{Tokens: ids}})
			if err != nil {
				return nil, fault.Wrap(op, err)
			}
			out = append(out, Query{Class: l.Class, Text: text, Image: v[0].Text, Sentences: sentences(v[0].Tokens, [][]int32{ids[1 : len(ids)-1]})})
		}
	}
	return out, nil
}

// controlSide is the width of the pixel control's image of a view.
const controlSide = 32

// pixels is the vector of the pixel control: each view averaged down to 32 x 32, without its
// mean, one behind the other (a study without one of the views has zeros there), of unit
// length. Its cosine is the correlation of the pixels.
func pixels(s *trainer.Study) []float32 {
	const side, cell = 224, 224 / controlSide
	out := make([]float32, 2*controlSide*controlSide)
	for v := range 2 {
		for _, i := range s.Images {
			if int(i.View) != v {
				continue
			}
			part := out[v*controlSide*controlSide:][:controlSide*controlSide]
			mean := float32(0)
			for p := range part {
				x, y := p%controlSide*cell, p/controlSide*cell
				sum := 0
				for dy := range cell {
					for dx := range cell {
						sum += int(i.Pixels[(y+dy)*side+x+dx])
					}
				}
				part[p] = float32(sum)
				mean += part[p] / float32(len(part))
			}
			for p := range part {
				part[p] -= mean
			}
			break // the first view of a projection
		}
	}
	return unit(out)
}
