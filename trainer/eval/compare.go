package eval

import (
	"slices"
	"strconv"
)

// Run is what one model, of one seed, says of the phantoms of an evaluation.
type Run struct {
	Cases   []Case
	Queries []Query
	Changes []Change // for Table 5; may be nil
}

// OverSeeds is a figure over runs that differ in their seeds.
type OverSeeds struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"` // 0 of one run
}

// ComparisonRow is one way to train beside the one that it is compared with: the counterpart of a
// row of Table 6. Gains are paired by study, query and seed; their intervals resample studies,
// class by class. Those of the first row of a table are zero.
type ComparisonRow struct {
	Name         string    `json:"name"`
	Runs         int       `json:"runs"`
	ImageToImage OverSeeds `json:"image_to_image_p10"`
	TextToImage  OverSeeds `json:"text_to_image_p10"`
	ImageToText  OverSeeds `json:"image_to_text_p10"`
	ZeroShot     OverSeeds `json:"zero_shot_auc"`
	Progression  OverSeeds `json:"progression"` // macro accuracy of linear probes on current and prior
	Supervised   OverSeeds `json:"supervised"`  // macro accuracy over classes of linear probes on image vectors

	ImageToImageGain Rate `json:"image_to_image_gain"`
	TextToImageGain  Rate `json:"text_to_image_gain"`
	ImageToTextGain  Rate `json:"image_to_text_gain"`
	ZeroShotGain     Rate `json:"zero_shot_gain"`
}

// resampled finds the figures of a run for cases that were drawn, class by class, and may repeat.
type resampled struct {
	groups                                           [][]int
	imageToImage, textToImage, imageToText, zeroShot func(chosen []int) float64
}

// p10 is the place of 10 in depths.
const p10 = 1

func resample(r Run) resampled {
	e := newRetrieval(r.Cases)
	mean := func(values []float64) func([]int) float64 {
		return func(chosen []int) float64 { return meanOf(values, chosen) }
	}
	out := resampled{groups: e.groups, zeroShot: e.areas()}
	out.imageToImage = mean(e.fromImages(func(i, j int) float64 { return dot(r.Cases[i].Image, r.Cases[j].Image) })[p10])
	out.imageToText = mean(e.rankings(false, func(i, j int) float64 { return report(r.Cases, i, j) })[p10])
	texts := scores(r.Queries, r.Cases, func(q, c int) float64 { return asked(r.Queries, r.Cases, q, c) })
	out.textToImage = e.textPrecision(r.Queries, texts, depths[p10])
	return out
}

// Compare measures runs of one way to train, and how much more they reach than those of another on
// the same phantoms, seed by seed; against is nil for none. Every case has a report. training are the
// cases of other phantoms that each run's supervised probe is trained on, and changes those of
// its progression probe.
func Compare(name string, runs, against []Run, training [][]Case, changes [][]Change) ComparisonRow {
	row := ComparisonRow{Name: name, Runs: len(runs)}
	own, others := make([]resampled, len(runs)), make([]resampled, len(against))
	for i, r := range runs {
		own[i] = resample(r)
	}
	for i, r := range against {
		others[i] = resample(r)
	}
	every := slices.Concat(own[0].groups...)
	for _, c := range []struct {
		of     func(resampled) func([]int) float64
		figure *OverSeeds
		gain   *Rate
	}{
		{func(r resampled) func([]int) float64 { return r.imageToImage }, &row.ImageToImage, &row.ImageToImageGain},
		{func(r resampled) func([]int) float64 { return r.textToImage }, &row.TextToImage, &row.TextToImageGain},
		{func(r resampled) func([]int) float64 { return r.imageToText }, &row.ImageToText, &row.ImageToTextGain},
		{func(r resampled) func([]int) float64 { return r.zeroShot }, &row.ZeroShot, &row.ZeroShotGain},
	} {
		if c.of(own[0]) == nil {
			continue // a model without labels of these findings
		}
		var values []float64
		for _, r := range own {
			values = append(values, c.of(r)(every))
		}
		c.figure.Mean, c.figure.SD = meanAndDeviation(values)
		if len(against) == 0 {
			continue
		}
		gain := func(chosen []int) float64 {
			sum := 0.0
			for i := range own {
				sum += (c.of(own[i])(chosen) - c.of(others[i])(chosen)) / float64(len(own))
			}
			return sum
		}
		f := Figure{Value: gain(every)}
		f.Low, f.High = bootstrap(own[0].groups, gain)
		*c.gain = newRate(f)
	}
	var supervised, progression []float64
	for i, r := range runs {
		supervised = append(supervised, supervise(training[i], r.Cases))
		all := slices.Concat(r.Changes, changes[i])
		rows := Progression(all, []ProgressionSet{{Training: span(len(r.Changes), len(all)), Test: span(0, len(r.Changes))}})
		if len(rows) > 0 {
			progression = append(progression, rows[len(rows)-1].Both)
		}
	}
	row.Supervised.Mean, row.Supervised.SD = meanAndDeviation(supervised)
	if len(progression) > 0 {
		row.Progression.Mean, row.Progression.SD = meanAndDeviation(progression)
	}
	return row
}

// supervise trains a linear probe on the image vectors of cases and returns its macro accuracy over
// the classes of others: what a head on a frozen encoder reaches with labels.
func supervise(training, test []Case) float64 {
	classes := newRetrieval(test).classes
	of := func(cases []Case) (x [][]float64, y []int, groups []string) {
		for i, c := range cases {
			row := make([]float64, len(c.Image))
			for i, v := range c.Image {
				row[i] = float64(v)
			}
			x, y, groups = append(x, row), append(y, slices.Index(classes, c.Class)), append(groups, strconv.Itoa(i))
		}
		return x, y, groups
	}
	x, y, groups := of(training)
	p := FitProbe(x, y, groups, len(classes))
	x, y, _ = of(test)
	answers := make([]int, len(x))
	for i := range x {
		answers[i] = p.Answer(x[i])
	}
	return macro(answers, y, len(classes))
}

func span(from, to int) (out []int) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}
