package train

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/datasets"
	"github.com/radstream/radstream/services/publish"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

// DatasetOptions are one call of `radtrain eval dataset`.
type DatasetOptions struct {
	Model string // directory
	Kind  string // see [datasets.Kinds]
	Root  string // folder in the layout of the kind
	Seeds int    // how many divisions of ms-cxr-t into training and test pairs
}

// DatasetResult is what `radtrain eval dataset` prints: of the tables those that the set is for.
type DatasetResult struct {
	Model   string  `json:"model"`
	Set     string  `json:"set"`
	Studies int     `json:"studies"` // that have an image; in all sets but mimic-cxr a study is an image
	LeftOut LeftOut `json:"left_out"`
	// Uncalibrated are the labels that the model has not and the default prompts were asked for.
	Uncalibrated []string `json:"uncalibrated,omitempty"`

	ImageToImage *eval.Precision       `json:"image_to_image,omitempty"` // Table 3
	TextToImage  *eval.Precision       `json:"text_to_image,omitempty"`
	ImageToText  *eval.Precision       `json:"image_to_text,omitempty"`
	Chance       map[string]float64    `json:"class_shares,omitempty"` // of candidates: what random rankings have
	Answers      *eval.Classification  `json:"answers,omitempty"`      // Table 4
	ZeroShot     *eval.ZeroShotTable   `json:"zero_shot,omitempty"`
	Pairs        *eval.PairsTable      `json:"pairs,omitempty"`
	Progression  []eval.ProgressionRow `json:"progression,omitempty"` // Table 5
	Seeds        int                   `json:"seeds,omitempty"`
	// Paper has the figures of the paper; see [eval.Paper].
	Paper json.RawMessage `json:"paper"`
}

// The shares of patients, by a hash, that the threshold of rsna comes from, and that probes of
// ms-cxr-t are measured on: neither set has splits for it.
const thresholdShare, testShare = 0.2, 0.3

// EvaluateDataset measures a model on a data set that needs a licence, as the paper does.
//
// Errors: those of [datasets.Open] and of the model; Invalid where too little could be read.
func EvaluateDataset(ctx context.Context, o DatasetOptions, progress func(done, total int)) (DatasetResult, error) {
	const op = "train.EvaluateDataset"
	out := DatasetResult{Set: o.Kind, Paper: eval.Paper()}
	if o.Seeds < 1 {
		return out, fault.Errorf(op, fault.Usage, "--seeds must be at least 1")
	}
	set, err := datasets.Open(o.Kind, o.Root)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	var labels []string // that have to be scored
	switch o.Kind {
	case "chexpert-5x200":
		labels = set.Classes
	case "rsna":
		labels = []string{pneumonia}
	case "mimic-cxr":
		set.Studies = slices.DeleteFunc(set.Studies, func(s datasets.Study) bool { return s.Split != "test" && s.Split != "validate" })
		known := map[string]bool{}
		for _, s := range set.Studies {
			maps.Copy(known, s.Labels)
		}
		labels = slices.Collect(maps.Keys(known))
		if !slices.ContainsFunc(set.Studies, func(s datasets.Study) bool { return s.Split == "test" }) {
			return out, fault.Reject(op, fault.Invalid, ReasonStudies, "of the test split no image is there: it is what is measured")
		}
	}
	err = withCoder(ctx, o.Model, labels, embedder.Options{}, func(c *coder) error {
		out.Model = c.Model().Ref.String()
		c.left.Missing = set.Missing
		for _, l := range c.labels[len(c.Model().Labels):] {
			out.Uncalibrated = append(out.Uncalibrated, l.Name)
		}
		films := make([]publish.Study, len(set.Studies))
		for i, s := range set.Studies {
			films[i] = s.Study
		}
		for _, q := range set.Queries {
			if q.Image != nil {
				films = append(films, q.Image.Study)
			}
		}
		encoded, err := c.encode(ctx, films, progress)
		if err != nil {
			return err
		}
		out.LeftOut = c.left
		seen := encoded[:len(set.Studies)]
		for _, v := range seen {
			if v.Image != nil {
				out.Studies++
			}
		}
		if out.Studies == 0 {
			return fault.Reject(op, fault.Invalid, ReasonStudies, "no image of the set could be read (%s): look at one with `radstream inspect`", reasons(c.left.Images))
		}
		switch o.Kind {
		case "chexpert-8x200":
			return out.search(ctx, c, set, seen, encoded[len(set.Studies):])
		case "chexpert-5x200":
			return out.classify(set, seen)
		case "rsna":
			return out.answer(set, seen)
		case "ms-cxr-t":
			return out.follow(set, seen, o.Seeds)
		default:
			return out.test(set, seen)
		}
	})
	return out, fault.Wrap(op, err)
}

const pneumonia = "pneumonia"

// reasons lists counts by reason.
func reasons(counts map[fault.Reason]int) string {
	var parts []string
	for _, r := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[r], r))
	}
	return strings.Join(parts, ", ")
}

// casesOf returns the studies that have an image, and the share of each class among them.
func casesOf(set *datasets.Set, seen []eval.Encoded) (cases []eval.Case, shares map[string]float64) {
	shares = map[string]float64{}
	for i, v := range seen {
		if s := set.Studies[i]; v.Image != nil {
			cases = append(cases, eval.Case{ID: s.ID, Class: s.Class, Image: v.Image, Text: v.Text})
			shares[s.Class]++
		}
	}
	for c := range shares {
		shares[c] /= float64(len(cases))
	}
	return cases, shares
}

// search is Table 3 on the 8x200 set.
func (r *DatasetResult) search(ctx context.Context, c *coder, set *datasets.Set, seen, asked []eval.Encoded) error {
	cases, shares := casesOf(set, seen)
	var images, texts []eval.Query
	for _, q := range set.Queries {
		if q.Image == nil {
			v, err := c.EncodeText(ctx, q.Text)
			if err != nil {
				return err
			}
			texts = append(texts, eval.Query{Class: q.Class, Text: q.Text, Image: v})
			continue
		}
		if v := asked[0]; v.Image != nil {
			images = append(images, eval.Query{ID: q.Image.ID, Class: q.Class, Image: v.Image})
		}
		asked = asked[1:]
	}
	byImage, byText := eval.SearchImages(cases, images), eval.SearchTexts(cases, texts)
	r.ImageToImage, r.TextToImage, r.Chance = &byImage, &byText, shares
	return nil
}

// classify is Table 4's question which of five, and Table 3's reports of an image, on the 5x200 set.
func (r *DatasetResult) classify(set *datasets.Set, seen []eval.Encoded) error {
	var cases []eval.Case
	cases, r.Chance = casesOf(set, seen)
	var labelled []eval.Labelled
	for i, v := range seen {
		if v.Image != nil {
			labelled = append(labelled, eval.Labelled{Scores: v.Scores, Truth: set.Studies[i].Labels, Patient: set.Studies[i].Patient})
		}
	}
	answers, reports := eval.Classify(nil, labelled, set.Classes), eval.SearchReports(cases)
	r.Answers = &answers
	if reports.Number > 0 {
		r.ImageToText = &reports
	}
	return nil
}

// answer is Table 4's pneumonia on the RSNA set.
func (r *DatasetResult) answer(set *datasets.Set, seen []eval.Encoded) error {
	held := trainer.HeldOut{Share: thresholdShare}
	var validation, test []eval.Labelled
	for i, v := range seen {
		if v.Image == nil {
			continue
		}
		s := set.Studies[i]
		l := eval.Labelled{Scores: v.Scores, Truth: map[string]bool{pneumonia: s.Labels[pneumonia]}, Patient: s.Patient}
		if held.Has(s.Patient) {
			validation = append(validation, l)
		} else {
			test = append(test, l)
		}
	}
	answers := eval.Classify(validation, test, nil)
	r.Answers = &answers
	if len(answers.Labels) == 0 {
		return fault.Reject("train.EvaluateDataset", fault.Invalid, ReasonStudies, "there are no studies with and without pneumonia both among the %d that thresholds come from and among the %d that are measured: more of the set must be there", len(validation), len(test))
	}
	return nil
}

// follow is Table 5 on MS-CXR-T.
func (r *DatasetResult) follow(set *datasets.Set, seen []eval.Encoded, seeds int) error {
	words := map[datasets.Progress]phantom.Progression{datasets.Improving: phantom.Improved, datasets.Stable: phantom.Stable, datasets.Worsening: phantom.Worsened}
	var changes []eval.Change
	for _, c := range set.Changes {
		before, after := seen[c.Before].Image, seen[c.After].Image
		if before == nil || after == nil {
			continue
		}
		for _, finding := range slices.Sorted(maps.Keys(c.Progress)) {
			changes = append(changes, eval.Change{Finding: finding, Patient: set.Studies[c.After].Patient, Current: after, Prior: before, Progression: words[c.Progress[finding]]})
		}
	}
	sets := make([]eval.ProgressionSet, seeds)
	for i := range sets {
		held := trainer.HeldOut{Share: testShare, Salt: fmt.Sprint(i + 1)}
		for j, c := range changes {
			if held.Has(c.Patient) {
				sets[i].Test = append(sets[i].Test, j)
			} else {
				sets[i].Training = append(sets[i].Training, j)
			}
		}
	}
	r.Progression, r.Seeds = eval.Progression(changes, sets), seeds
	if len(r.Progression) == 0 {
		return fault.Reject("train.EvaluateDataset", fault.Invalid, ReasonStudies, "the %d changes that could be read are too few to train and test on: more of the set must be there", len(changes))
	}
	return nil
}

// test measures the test split of MIMIC-CXR, with thresholds of its validate split.
func (r *DatasetResult) test(set *datasets.Set, seen []eval.Encoded) error {
	var validation, test []eval.Labelled
	var pairs []eval.Pair
	for i, v := range seen {
		s := set.Studies[i]
		l := eval.Labelled{Scores: v.Scores, Truth: s.Labels, Patient: s.Patient}
		switch {
		case v.Image == nil:
		case s.Split == "validate":
			validation = append(validation, l)
		default:
			test = append(test, l)
			if v.Text != nil {
				pairs = append(pairs, v.Pair(s.Patient))
			}
		}
	}
	zeroShot, answers := eval.ZeroShot(test), eval.Classify(validation, test, nil)
	r.ZeroShot, r.Studies = &zeroShot, len(test)
	if len(zeroShot.Labels) == 0 {
		return fault.Reject("train.EvaluateDataset", fault.Invalid, ReasonStudies, "of the test split too little could be read: no label has studies with and without it")
	}
	if len(answers.Labels) > 0 { // none where the validate split is not there
		r.Answers = &answers
	}
	if len(pairs) > 0 {
		found := eval.Pairs(pairs)
		r.Pairs = &found
	}
	return nil
}
