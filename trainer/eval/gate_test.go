package eval

import (
	"math"
	"testing"
)

// measured is what the gate is told of a model that is good enough.
func measured(labels map[string]float64) Measured {
	m := Measured{Millis: 1, Bytes: 100, Pairs: PairsTable{Pairs: 50}}
	m.Pairs.ImageToText = Recall{R10: 0.5, R10CI: [2]float64{0.4, 0.6}}
	m.Pairs.TextToImage = m.Pairs.ImageToText
	for name, auc := range labels {
		m.Labels = append(m.Labels, name)
		m.ZeroShot.Labels = append(m.ZeroShot.Labels, LabelRow{Label: name, Area: Area{AUC: auc}})
		m.ZeroShot.Mean += auc / float64(len(labels))
	}
	m.ZeroShot.MeanCI = [2]float64{m.ZeroShot.Mean - 0.05, m.ZeroShot.Mean + 0.05}
	return m
}

// TestJudge: which checks a candidate fails. A label that it scores and the champion does not is
// no merit and no fault.
func TestJudge(t *testing.T) {
	champion := measured(map[string]float64{"a": 0.9, "b": 0.7})
	for name, c := range map[string]struct {
		edit func(*Measured)
		fail string
	}{
		"equal":                     {func(*Measured) {}, ""},
		"a label more, a hard one":  {func(m *Measured) { *m = measured(map[string]float64{"a": 0.9, "b": 0.7, "c": 0.4}) }, ""},
		"a label more, an easy one": {func(m *Measured) { *m = measured(map[string]float64{"a": 0.8, "b": 0.6, "c": 1}) }, "zero_shot_auc"},
		"a label lost":              {func(m *Measured) { *m = measured(map[string]float64{"a": 0.9}) }, "labels_lost"},
		"at the limit":              {func(m *Measured) { m.Pairs.ImageToText.R10, m.Millis, m.ImageCosine = 0.4, 1.5, 0.95 }, ""},
		"finds less":                {func(m *Measured) { m.Pairs.TextToImage.R10 = 0.39 }, "text_to_image_r10"},
		"alike":                     {func(m *Measured) { m.TextCosine = 0.96 }, "text_cosine"},
		"no number":                 {func(m *Measured) { m.ImageCosine = math.NaN() }, "image_cosine"},
		"few":                       {func(m *Measured) { m.Pairs.Pairs = 19 }, "held_out_pairs"},
	} {
		candidate := measured(map[string]float64{"a": 0.9, "b": 0.7})
		c.edit(&candidate)
		failed := ""
		for _, check := range DefaultGate().Judge(champion, candidate, false) {
			if !check.Passed {
				failed += check.Name
			}
		}
		if failed != c.fail {
			t.Errorf("%s: failed %q, want %q", name, failed, c.fail)
		}
	}
}
