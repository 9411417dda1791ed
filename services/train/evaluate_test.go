package train_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
	"github.com/radstream/radstream/trainer/onnxexport"
)

func TestEvaluateRetrieval(t *testing.T) {
	o := train.RetrievalOptions{Studies: 32, Seed: 3, Side: 128}
	dir := untrained(t)
	r, err := train.EvaluateRetrieval(t.Context(), dir, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Model != "tiny@0" || r.Cases != 32 || len(r.Classes) != 8 || r.Classes[0].Cases != 4 || r.Classes[0].ZeroShot == nil || r.TextToImage.Number != 24 {
		t.Errorf("%+v", r)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"text_to_image":{"p5":`, `"p10_ci":[`, `"pixels":{`, `"random":{`, `"zero_shot":{"auc":`, `"by_size":[`} {
		if !strings.Contains(string(text), field) {
			t.Errorf("the JSON has no %s:\n%.400s", field, text)
		}
	}
	again, err := train.EvaluateRetrieval(t.Context(), dir, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, again); d != "" {
		t.Errorf("measured again:\n%s", d)
	}
	// Local similarities change where texts find films and films find reports, and nothing else.
	o.Local = 1000
	local, err := train.EvaluateRetrieval(t.Context(), dir, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if local.Local != 1000 || local.TextToImage == r.TextToImage || local.ImageToText == r.ImageToText || local.ImageToImage != r.ImageToImage || local.ZeroShot != r.ZeroShot {
		t.Errorf("by local similarities %+v, without %+v", local.Table, r.Table)
	}
	for name, bad := range map[string]train.RetrievalOptions{
		"a weight below 0":      {Studies: 32, Seed: 3, Local: -1},
		"a weight of none":      {Studies: 32, Seed: 3, Local: math.NaN()},
		"more than it can hold": {Studies: 4097, Seed: 3, Local: 1},
	} {
		if _, err := train.EvaluateRetrieval(t.Context(), dir, bad, nil); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--local") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := train.EvaluateRetrieval(t.Context(), dir, train.RetrievalOptions{Studies: 8, Seed: 3, Side: 128}, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("too few studies: %v", err)
	}
	if _, err := train.EvaluateRetrieval(t.Context(), t.TempDir(), o, nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no model: %v", err)
	}
}

func TestReproduces(t *testing.T) {
	dir := untrained(t)
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	was := train.RetrievalResult{Studies: 240, Seed: train.EvaluationSeed, Side: 576}
	was.ImageToImage = eval.Precision{P10: 0.5, P10CI: [2]float64{0.45, 0.55}}
	was.TextToImage = eval.Precision{P10: 0.6, P10CI: [2]float64{0.5, 0.7}}
	if err := train.Reproduces(dir, was); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a model that was never measured: %v", err)
	}
	text, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	m.Evaluation = map[string]json.RawMessage{"retrieval": text}
	if err := m.Write(dir, slices.Collect(maps.Keys(m.Files))...); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit       func(*train.RetrievalResult)
		reproduced bool
		kind       fault.Kind
	}{
		"near by":           {func(r *train.RetrievalResult) { r.ImageToImage.P10, r.TextToImage.P10 = 0.46, 0.69 }, true, 0},
		"worse images":      {func(r *train.RetrievalResult) { r.ImageToImage.P10 = 0.44 }, false, fault.Internal},
		"better texts":      {func(r *train.RetrievalResult) { r.TextToImage.P10 = 0.71 }, false, fault.Internal},
		"on other phantoms": {func(r *train.RetrievalResult) { r.Seed++ }, false, fault.Invalid},
		"on smaller films":  {func(r *train.RetrievalResult) { r.Side = 128 }, false, fault.Invalid},
		"on fewer phantoms": {func(r *train.RetrievalResult) { r.Studies = 16 }, false, fault.Invalid},
	} {
		r := was
		c.edit(&r)
		if err := train.Reproduces(dir, r); (err == nil) != c.reproduced || err != nil && fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestShippedModel measures the model that ships as `radtrain eval retrieval` does, and holds
// it to what its manifest says and to what was promised.
func TestShippedModel(t *testing.T) {
	const dir = "../app/tiny"
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Untrained || m.Precision != "fp16" || m.Config.Text.VocabularyWidth == 0 || len(m.DataManifests) == 0 || m.Provenance.Seed == 0 ||
		m.Provenance.Steps == 0 || m.Provenance.CodeVersion == "" || m.Evaluation["training"] == nil {
		t.Errorf("%+v", m)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size >= 6e6 {
		t.Errorf("the directory has %d bytes, want under 6 MB", size)
	}
	r, err := train.EvaluateRetrieval(t.Context(), dir, train.DefaultRetrieval(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := train.Reproduces(dir, r); err != nil {
		t.Error(err)
	}
	if r.ImageToImage.P10 < 0.5 || r.TextToImage.P10 < 0.5 || r.ImageToImage.P10CI[0] <= r.Pixels.P10CI[1] || r.ImageToImage.P10 < r.Pixels.P10+0.2 {
		t.Errorf("P@10: image to image %.3f %v, text to image %.3f, pixels %.3f %v", r.ImageToImage.P10, r.ImageToImage.P10CI, r.TextToImage.P10, r.Pixels.P10, r.Pixels.P10CI)
	}
}

// studies writes phantoms with a list in the layout of film collections and returns its path.
func studies(t *testing.T, header string, row func(i int, uid string) string) string {
	t.Helper()
	dir := t.TempDir()
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	m := generate(t, dir, small(6))
	d, err := trainer.Load(t.Context(), []trainer.Part{{Manifest: m, Source: trainer.Archive{Path: filepath.Join(dir, "prepared.pb")}}}, trainer.Reader{Tokenizer: tok, MaxTokens: 128}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	list.WriteString(header + "\n")
	for i, s := range append(d.Train, d.Validation...) {
		name := string(rune('a'+i)) + ".png"
		writePNG(t, filepath.Join(dir, name), s.Images[0].Pixels)
		list.WriteString(row(i, name) + "\n")
	}
	path := filepath.Join(dir, "studies.csv")
	if err := os.WriteFile(path, []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEvaluatePairs(t *testing.T) {
	path := studies(t, "study_id,image,view,caption", func(i int, name string) string {
		caption := strings.Repeat("Left pleural effusion. ", i) // the first has none
		return strings.Join([]string{"s" + name, name, "frontal", caption}, ",")
	})
	r, err := train.EvaluatePairs(t.Context(), train.PairsOptions{Models: []string{untrained(t)}, Path: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Pairs != 5 || r.Skipped != 1 || r.ImageToText.R5 != 1 || r.Chance.R1 != 0.2 {
		t.Errorf("%+v", r)
	}
	// By local similarities too: the report that says most has the most in common with every film.
	local, err := train.EvaluatePairs(t.Context(), train.PairsOptions{Models: []string{untrained(t)}, Path: path, Local: 1000}, nil)
	if err != nil || local.Local != 1000 || local.Pairs != 5 || local.ImageToText.R1 != 0.2 {
		t.Errorf("%+v, %v", local, err)
	}
	if _, err := train.EvaluatePairs(t.Context(), train.PairsOptions{Models: []string{untrained(t)}, Path: path, Local: -1}, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("a weight below 0: %v", err)
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(text), `"image_to_text":{"r1":`) || !strings.Contains(string(text), `"r10":`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestEvaluateZeroShot(t *testing.T) {
	path := studies(t, "study_id,image,view,Pleural Effusion,Edema,Nodule", func(i int, name string) string {
		return strings.Join([]string{"s" + name, name, "frontal", []string{"1", "0", "1.0", "0", "-1", ""}[i], []string{"0", "1", "0", "0", "0", "1"}[i], "0"}, ",")
	})
	r, err := train.EvaluateZeroShot(t.Context(), train.ZeroShotOptions{Models: []string{untrained(t)}, Path: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Labels) != 2 || r.Labels[0].Label != "edema" || r.Labels[0].Positive != 2 || r.Labels[0].Negative != 4 ||
		r.Labels[1].Label != "effusion" || r.Labels[1].Positive != 2 || r.Labels[1].Negative != 2 {
		t.Errorf("%+v", r)
	}
	bare := studies(t, "study_id,image,view", func(_ int, name string) string { return "s" + name + "," + name + ",frontal" })
	if _, err := train.EvaluateZeroShot(t.Context(), train.ZeroShotOptions{Models: []string{untrained(t)}, Path: bare}, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no labels: %v", err)
	}
	if _, err := train.EvaluatePairs(t.Context(), train.PairsOptions{Models: []string{untrained(t)}, Path: bare}, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no reports: %v", err)
	}
}

// TestZeroShotOnItsOwnData: what calibrated a model says nothing of its calibration.
func TestZeroShotOnItsOwnData(t *testing.T) {
	dir := t.TempDir()
	c := small(30)
	c.SingleFinding, c.PriorShare = true, 0
	data := generate(t, dir, c)
	labels, err := zeroshot.DefaultLabels()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	for id, told := range map[string]bool{data.ID: false, strings.Repeat("0", 32): true} {
		m := model.Manifest{Ref: model.Ref{Name: "m", Version: "1"}, Preprocessing: data.Preparation, Temperature: 0.07, Labels: labels, DataManifests: []string{id}}
		at := t.TempDir()
		if err := onnxexport.WriteModel(at, model.Tiny(), onnxexport.Untrained(model.Tiny(), 1), onnxexport.FP16, tok, m); err != nil {
			t.Fatal(err)
		}
		r, err := train.EvaluateZeroShot(t.Context(), train.ZeroShotOptions{Models: []string{at}, Data: []string{filepath.Join(dir, train.ManifestFile)}}, nil)
		if err != nil || (r.Labels[0].Calibration != nil) != told {
			t.Errorf("trained on %s: %+v, %v", id, r.Labels, err)
		}
	}
}

// TestLabelsForReports: label columns become what a study shows, and its report where it has
// none; a study of which nothing is known is left out, one of which a label is uncertain is not
// known to show no more; a model can be scored on what is held out.
func TestLabelsForReports(t *testing.T) {
	path := studies(t, "study_id,patient_id,image,view,finding_labels,Effusion,Edema,caption", func(i int, name string) string {
		row := [][3]string{{"Effusion", "1", "0"}, {"Edema", "-1", "1"}, {"No Finding", "0", "0"}, {"Mass", "0", "0"}, {"Effusion|Edema", "1", "1"}, {"Edema", "", "1"}}[i]
		caption := ""
		if i == 5 {
			caption = "A left pleural effusion."
		}
		return strings.Join([]string{"s" + name, "p" + name, name, "frontal", row[0], row[1], row[2], caption}, ",")
	})
	dir := filepath.Join(t.TempDir(), "labels")
	o := train.StudiesOptions{Dir: dir, Paths: []string{path}, Labels: true, Held: trainer.HeldOut{Studies: 2}}
	made, err := train.Studies(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, e := range made.Manifests[0].Studies {
		if said := strings.Join(e.Labels, " "); e.Labelled {
			labels = append(labels, said)
		} else {
			labels = append(labels, said+", perhaps more")
		}
	}
	slices.Sort(labels)
	if d := cmp.Diff([]string{"edema effusion", "edema, perhaps more", "edema, perhaps more", "effusion", "no_finding"}, labels); d != "" {
		t.Error(d)
	}
	var texts []string
	err = trainer.Archive{Path: filepath.Join(dir, "prepared.pb")}.Each(t.Context(), func(r trainer.Record) error {
		var s radstreamv1.StudyPrepared
		err := proto.Unmarshal(r.Body, &s)
		texts = append(texts, s.GetReport().GetText())
		return err
	})
	if err != nil || len(texts) != 6 || texts[3] != "" || !strings.Contains(strings.ToLower(texts[0]), "effusion") || !strings.Contains(texts[5], "left pleural effusion") {
		t.Errorf("%q, %v", texts, err)
	}
	tiny := "../app/tiny"
	r, err := train.EvaluateZeroShot(t.Context(), train.ZeroShotOptions{Models: []string{tiny}, Data: made.Paths}, nil)
	if err != nil && fault.KindOf(err) != fault.Invalid || r.Studies != 1 { // of the two held out one has an uncertain label
		t.Errorf("%+v, %v", r, err)
	}
	for name, edit := range map[string]func(*train.StudiesOptions){
		"two paths":           func(o *train.StudiesOptions) { o.Paths = append(o.Paths, path) },
		"a set":               func(o *train.StudiesOptions) { o.Set = "mimic-cxr" },
		"the other's archive": func(o *train.StudiesOptions) { o.Labels = false },
	} {
		bad := o
		edit(&bad)
		if _, err := train.Studies(t.Context(), bad, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReport: a page of two models that needs no other file, and the same tables as JSON has.
func TestReport(t *testing.T) {
	micro := "../../embedder/testdata/micro"
	o := train.TablesOptions{Studies: 16, Validation: 16, Side: 128, Keep: 0.25}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := train.Report(t.Context(), []string{micro, micro}, o, path, nil); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for want, n := range map[string]int{"<img src=\"data:image/png;base64,": 16*2*8 + 8, "micro@1": 5, "src=\"http": 0, "ZgotmplZ": 0, "the paper, on CheXpert": 1, ">NaN": 0, "(NaN": 0} {
		if got := strings.Count(string(page), want); got < n || n == 0 && got > 0 || strings.HasPrefix(want, "<img") && got != n {
			t.Errorf("the page has %d of %q, want %d", got, want, n)
		}
	}
	tables, err := train.MeasureTables(t.Context(), micro, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(tables); err != nil {
		t.Errorf("the tables as JSON: %v", err)
	}
	if tables.Coverage.Views == 0 || tables.Cost.Millis <= 0 || tables.Retrieval.ImageToText.Number != 16 {
		t.Errorf("%+v %+v", tables.Coverage, tables.Cost)
	}
	o.Studies = 3
	if _, err := train.MeasureTables(t.Context(), micro, o, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("three studies: %v", err)
	}
}

// TestViewsAndPriors: what the lateral view and the prior add, and whether heat maps point at
// lesions, is measured on any model. The micro model knows nothing, so only the form is looked at;
// docs/RESULTS.md has figures.
func TestViewsAndPriors(t *testing.T) {
	micro := "../../embedder/testdata/micro"
	p, err := train.EvaluateProgression(t.Context(), micro, train.ProgressionOptions{Pairs: 32, Training: 32, Sets: 1, Side: 128}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Rows); n != 5 || p.Rows[4].Finding != "mean" || p.Rows[4].Pairs != 32 || p.Rows[0].Pairs != 8 {
		t.Errorf("%+v", p.Rows)
	}
	m, err := train.EvaluateMultiView(t.Context(), micro, train.RetrievalOptions{Studies: 54, Seed: train.EvaluationSeed, Side: 128}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Rows); n == 0 || m.Rows[n-1].Class != "all" || m.Rows[n-1].Cases == 0 {
		t.Errorf("%+v", m.Rows)
	}
	x, err := train.EvaluateExplain(t.Context(), micro, train.RetrievalOptions{Studies: 8, Seed: train.EvaluationSeed, Side: 128}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(x.Rows); n == 0 || x.Rows[n-1].Class != "all" || x.Rows[n-1].Views < 8 || !(x.Rows[n-1].Chance.Value > 0) {
		t.Errorf("%+v", x.Rows)
	}
	if _, err := train.EvaluateProgression(t.Context(), micro, train.ProgressionOptions{Pairs: 32, Training: 32, Sets: 99}, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("more sets than seeds: %v", err)
	}
}
