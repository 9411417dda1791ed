package traincli

import (
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer/eval"
)

// TestPrintDataset: each table stands beside the paper's figures at the same depths, and what was
// left out is said with the reason.
func TestPrintDataset(t *testing.T) {
	p := &eval.Precision{P5: 0.1, P10: 0.2, P50: 0.3, P100: 0.4, Number: 80}
	rate := func(v float64) eval.Rate { return eval.Rate{Value: v} }
	for name, c := range map[string]struct {
		result train.DatasetResult
		lines  []string
	}{
		"8x200": {
			train.DatasetResult{ImageToImage: p, TextToImage: p, Chance: map[string]float64{"edema": 0.125}, LeftOut: train.LeftOut{Missing: 7, Problems: map[string]int{"malformed_row": 3}, Images: map[fault.Reason]int{"not_dicom": 2}, Reports: map[fault.Reason]int{"too_long": 1}}},
			[]string{
				"7 images that the lists name are missing", "3 files or rows could not be used: malformed_row", "2 images were not taken: not_dicom", "1 reports were not taken: too_long",
				"Table 3, image to image queries P@5 P@10 P@50", "m@1 80 0.100 (0.000 to 0.000) 0.200 (0.000 to 0.000) 0.300 (0.000 to 0.000)",
				"the paper 0.525 0.484 0.398", "Table 3, text to image queries P@5 P@10 P@50", "the paper 0.642 0.661 0.537", "edema 0.125",
			},
		},
		"5x200": {
			train.DatasetResult{ImageToText: p, Answers: &eval.Classification{Classes: eval.CheXpertClasses, Of: 9, Accuracy: rate(0.5), Macro: rate(0.6)}, Uncalibrated: []string{"edema", "effusion"}},
			[]string{
				"the model has no label of these, scored by default prompts: edema, effusion", "Table 3, image to text queries P@5 P@10 P@100",
				"m@1 80 0.100 (0.000 to 0.000) 0.200 (0.000 to 0.000) 0.400 (0.000 to 0.000)", "the paper 0.562 0.558 0.474",
				"Table 4, which of 5 classes images accuracy mean over classes", "m@1 9 0.500 (0.000 to 0.000) 0.600 (0.000 to 0.000)", "the paper 0.555",
			},
		},
		"rsna": {
			train.DatasetResult{Set: "rsna", Answers: &eval.Classification{Validation: 4, Labels: []eval.BinaryRow{{Label: "pneumonia", Positive: 1, Negative: 2, Accuracy: rate(0.5), F1: rate(0.6), AUC: rate(0.7), Calibration: 0.8}}}},
			[]string{
				"Table 4, thresholds from 4 studies with without accuracy F1 AUC calibration error",
				"pneumonia 1 2 0.500 (0.000 to 0.000) 0.600 (0.000 to 0.000) 0.700 (0.000 to 0.000) 0.800", "the paper 0.825 0.789 0.915",
			},
		},
		"ms-cxr-t": {
			train.DatasetResult{Seeds: 3, Progression: []eval.ProgressionRow{{Finding: "effusion", Pairs: 5, Both: 0.6, BothSD: 0.1, Current: 0.5}, {Finding: "mean"}}},
			[]string{"Table 5, 3 seeds pairs current and prior current only gain the paper", "effusion 5 0.600 +- 0.100 0.500 0.000 (0.000 to 0.000) 0.690"},
		},
		"mimic-cxr": {
			train.DatasetResult{ZeroShot: &eval.ZeroShotTable{Mean: 0.75, Labels: []eval.LabelRow{{Label: "edema", Positive: 3, Negative: 4, Area: eval.Area{AUC: 0.7}}}}, Pairs: &eval.PairsTable{Pairs: 6}},
			[]string{"edema 3 4 0.700 (0.000 to 0.000)", "mean 0.750 (0.000 to 0.000)", "6 pairs R@1 R@5 R@10 R@50 median rank"},
		},
	} {
		c.result.Model, c.result.Paper = "m@1", eval.Paper()
		var out strings.Builder
		if err := printDataset(&out, c.result); err != nil {
			t.Fatal(err)
		}
		printed := map[string]bool{}
		for line := range strings.Lines(out.String()) {
			printed[strings.Join(strings.Fields(line), " ")] = true
		}
		for _, line := range c.lines {
			if !printed[line] {
				t.Errorf("%s: there is no line %q in\n%s", name, line, out.String())
			}
		}
	}
}
