package zeroshot_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// TestSets: those that ship have all of their labels, and can be written to a file and read back.
func TestSets(t *testing.T) {
	for name, n := range map[string]int{"chexpert-14": 14, "phantom": 10} {
		labels, err := zeroshot.Set(name)
		if err != nil || len(labels) != n {
			t.Errorf("%s has %d labels, want %d: %v", name, len(labels), n, err)
		}
		file, err := json.Marshal(labels)
		if err != nil {
			t.Fatal(err)
		}
		again, err := zeroshot.ParseLabels(file)
		if d := cmp.Diff(labels, again); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
	if _, err := zeroshot.Set("chexpert"); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "chexpert-14") {
		t.Errorf("another name: %v", err)
	}
}

func TestParseLabels(t *testing.T) {
	got, err := zeroshot.ParseLabels([]byte(`[{"name":"b","positive":["B."],"negative":["No B."]},{"name":"a","positive":["A."],"negative":["No A."],"calibration":{"a":2,"b":-1}}]`))
	want := []model.Label{
		{Name: "a", Positive: []string{"A."}, Negative: []string{"No A."}, Calibration: model.Calibration{A: 2, B: -1}},
		{Name: "b", Positive: []string{"B."}, Negative: []string{"No B."}},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	for name, c := range map[string]struct{ in, says string }{
		"no JSON":       {"effusion", "JSON array"},
		"empty":         {"[]", "1 to 64 labels"},
		"a key":         {`[{"name":"a","prompts":["A."]}]`, "prompts"},
		"a name":        {`[{"name":"Pleural Effusion","positive":["A."],"negative":["B."]}]`, "the name of a label"},
		"more":          {`[{"name":"a","positive":["A."],"negative":["B."]}] []`, "follows"},
		"twice":         {`[{"name":"a","positive":["A."],"negative":["B."]},{"name":"a","positive":["A."],"negative":["B."]}]`, "a is there twice"},
		"one side":      {`[{"name":"a","positive":["A."]}]`, "0 negative prompts"},
		"a blank":       {`[{"name":"a","positive":[" "],"negative":["B."]}]`, "empty"},
		"a calibration": {`[{"name":"a","positive":["A."],"negative":["B."],"calibration":{"a":-1,"b":0}}]`, "calibration.a"},
	} {
		if _, err := zeroshot.ParseLabels([]byte(c.in)); fault.ReasonOf(err) != zeroshot.ReasonLabels || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
