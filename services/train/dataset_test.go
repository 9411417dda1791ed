package train_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
)

// Made-up copies of the data sets, with phantoms for films, and the model that ships, which knows
// some findings of phantoms well: see docs/RESULTS.md.
const tiny = "../app/tiny"

// tree is a data set below a folder.
type tree string

func (d tree) write(t *testing.T, name string, data []byte) {
	t.Helper()
	path := filepath.Join(string(d), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d tree) list(t *testing.T, name string, rows ...[]string) {
	t.Helper()
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	d.write(t, name, b.Bytes())
}

func (d tree) measure(t *testing.T, kind, dir string) train.DatasetResult {
	t.Helper()
	r, err := train.EvaluateDataset(t.Context(), train.DatasetOptions{Model: dir, Kind: kind, Root: string(d), Seeds: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("as JSON: %v", err)
	}
	return r
}

// phantoms makes studies of one finding each, dealt out evenly in pairs.
func phantoms(t *testing.T, c phantom.Config, n int, kinds ...phantom.Kind) []phantom.Study {
	t.Helper()
	c.Studies, c.Side, c.SingleFinding, c.Kinds = n, 256, true, kinds
	out := make([]phantom.Study, n)
	for i := range out {
		var err error
		if out[i], err = phantom.Generate(c, i); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func oneView(seed uint64) phantom.Config {
	c := phantom.Defaults()
	c.Seed, c.PriorShare, c.LateralShare = seed, 0, 0
	return c
}

// dicom returns a film as DICOM.
func dicom(t *testing.T, s phantom.Study, view int) []byte {
	t.Helper()
	files, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	return files[view].Data
}

// jpegs returns the frontal films as JPEG, as ingest shows them.
func jpegs(t *testing.T, studies []phantom.Study) [][]byte {
	t.Helper()
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	c := ingest.Default()
	c.Limits = pixel.Limits{}
	p, err := ingest.New(c, tok)
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]byte, len(studies))
	for i, s := range studies {
		prepared, err := trainer.PreparePhantom(t.Context(), p, keyOf(t, "test"), s)
		if err != nil {
			t.Fatal(err)
		}
		study, err := trainer.NewStudy(prepared, trainer.Reader{Tokenizer: tok, MaxTokens: 128})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, &image.Gray{Pix: study.Images[0].Pixels, Stride: 224, Rect: image.Rect(0, 0, 224, 224)}, &jpeg.Options{Quality: 95}); err != nil {
			t.Fatal(err)
		}
		out[i] = b.Bytes()
	}
	return out
}

func keyOf(t *testing.T, name string) deid.Key {
	t.Helper()
	secret := sha256.Sum256([]byte(name))
	key, err := deid.NewKey(secret[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// chexpertNames are CheXpert's columns of the labels that phantoms have.
var chexpertNames = map[phantom.Kind]string{
	phantom.Atelectasis: "Atelectasis", phantom.Cardiomegaly: "Cardiomegaly", phantom.Consolidation: "Consolidation", phantom.Edema: "Edema",
	phantom.Effusion: "Pleural Effusion", phantom.Fracture: "Fracture", phantom.Pneumothorax: "Pneumothorax",
}

// columns are those of CheXpert's labels.
var columns = []string{
	"Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion", "Lung Opacity",
	"No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
}

// marks are the values of columns for one present label.
func marks(present string) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		if out[i] = "0.0"; c == present {
			out[i] = "1.0"
		}
	}
	return out
}

func kindOf(s phantom.Study) phantom.Kind { return s.Truth.Findings[0].Kind }

func chexpertPath(i, view int) string {
	return fmt.Sprintf("CheXpert-v1.0/train/patient%05d/study1/view%d_frontal.jpg", i/2, i%2+view)
}

// TestDataset8x200: two films of a study are two images; a query that is the only candidate of its
// class finds nothing, since it does not find itself; what is missing or no film is counted.
func TestDataset8x200(t *testing.T) {
	d := tree(t.TempDir())
	films := phantoms(t, oneView(51), 24, phantom.Cardiomegaly, phantom.Edema)
	films = append(films, phantoms(t, oneView(52), 4, phantom.Fracture)...)
	data := jpegs(t, films)
	candidates := [][]string{append([]string{"Path"}, columns...)}
	for i := range 25 { // the last is the one fracture
		candidates = append(candidates, append([]string{chexpertPath(i, 1)}, marks(chexpertNames[kindOf(films[i])])...))
	}
	for i := range data {
		d.write(t, chexpertPath(i, 1), data[i])
	}
	candidates = append(candidates, append([]string{chexpertPath(98, 1)}, marks("Edema")...), append([]string{chexpertPath(99, 1)}, marks("Edema")...))
	d.write(t, chexpertPath(99, 1), []byte("no film"))
	d.write(t, chexpertPath(97, 1), nil)
	if err := os.Truncate(filepath.Join(string(d), chexpertPath(97, 1)), blob.DefaultMaxBytes+1); err != nil {
		t.Fatal(err)
	}
	d.list(t, "image-retrieval/candidate.csv", candidates...)
	d.list(t, "image-retrieval/query.csv", []string{"Variable", "Path"},
		[]string{"Cardiomegaly", chexpertPath(0, 1)}, []string{"Fracture", chexpertPath(24, 1)},
		[]string{"Edema", chexpertPath(97, 1)}, []string{"Edema", chexpertPath(2, 1)})
	d.list(t, "text-retrieval/query.csv", []string{"Variable", "Text"}, []string{"Edema", "There is pulmonary edema."}, []string{"Fracture", "There is pulmonary edema."})
	r := d.measure(t, "chexpert-8x200", tiny)
	if want := (train.LeftOut{Missing: 1, Images: map[fault.Reason]int{"not_dicom": 1, "too_large": 1}}); r.Studies != 25 || !cmp.Equal(r.LeftOut, want) {
		t.Errorf("%d studies, left out %+v", r.Studies, r.LeftOut)
	}
	// The films of cardiomegaly and edema find the 11 others, all first; that of the fracture none.
	// There are 24 to rank.
	i := r.ImageToImage
	if i.Number != 3 || !near(i.P5, 2.0/3) || !near(i.P10, 2.0/3) || !near(i.P50, 2*11.0/24/3) || i.P5CI != [2]float64{i.P5, i.P5} {
		t.Errorf("image to image %+v", i)
	}
	// The text of edema finds edema first, and as a text of fractures no fracture.
	if x := r.TextToImage; x.Number != 2 || x.P5 != 0.5 || x.P10 != 0.5 || !near(x.P50, (12.0+1)/25/2) {
		t.Errorf("text to image %+v", x)
	}
	if d := cmp.Diff(map[string]float64{"cardiomegaly": 12.0 / 25, "edema": 12.0 / 25, "fracture": 1.0 / 25}, r.Chance); d != "" {
		t.Error(d)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestDataset5x200(t *testing.T) {
	d := tree(t.TempDir())
	films := phantoms(t, oneView(53), 40, phantom.Atelectasis, phantom.Cardiomegaly, phantom.Consolidation, phantom.Edema, phantom.Effusion)
	rows := [][]string{append([]string{"Path", "Report Impression"}, columns...)}
	for i, data := range jpegs(t, films) {
		d.write(t, chexpertPath(i, 1), data)
		_, text, _ := strings.Cut(films[i].Report, "IMPRESSION:")
		if kindOf(films[i]) == phantom.Atelectasis {
			text = ""
		}
		rows = append(rows, append([]string{chexpertPath(i, 1), text}, marks(chexpertNames[kindOf(films[i])])...))
	}
	d.list(t, "chexpert_5x200.csv", rows...)
	r := d.measure(t, "chexpert-5x200", tiny)
	if a := r.Answers; a.Of != 40 || len(a.Labels) != 0 || a.Accuracy.Value < 0.7 || a.Accuracy.Value != a.Macro.Value {
		t.Errorf("%+v", a)
	}
	if x := r.ImageToText; x.Number != 32 || x.P5 < 0.6 || x.P100 != 0.25 {
		t.Errorf("image to text %+v", x)
	}
	// Labels that are turned round are wrong answers.
	for i, row := range rows[1:] {
		copy(row[2:], marks(chexpertNames[kindOf(films[(i+2)%40])]))
		row[1] = ""
	}
	d.list(t, "chexpert_5x200.csv", rows...)
	if turned := d.measure(t, "chexpert-5x200", tiny); turned.Answers.Accuracy.Value > 1-r.Answers.Accuracy.Value || turned.ImageToText != nil {
		t.Errorf("%+v", turned.Answers)
	}
}

// withPneumonia is the model that ships with a label pneumonia, which asks for edema.
func withPneumonia(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(m.Labels, func(l model.Label) bool { return l.Name == "edema" })
	l := m.Labels[i]
	l.Name = "pneumonia"
	m.Labels = append(m.Labels, l)
	if err := m.Write(dir, slices.Collect(maps.Keys(m.Files))...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDatasetRSNA: the threshold comes from a fifth of the patients, and nothing that is said of
// the others moves it. There are more films than a block has.
func TestDatasetRSNA(t *testing.T) {
	d := tree(t.TempDir())
	films := phantoms(t, oneView(54), 90, phantom.Edema, phantom.Cardiomegaly)
	for i, s := range films {
		d.write(t, fmt.Sprintf("stage_2_train_images/p%02d.dcm", i), dicom(t, s, 0))
	}
	d.write(t, "stage_2_train_images/p90.dcm", []byte("no DICOM"))
	held := trainer.HeldOut{Share: 0.2}
	lists := func(wrong func(patient string) bool) {
		labels, classes := [][]string{{"patientId", "Target"}, {"p90", "1"}, {"p91", "0"}}, [][]string{{"patientId", "class"}}
		for i, s := range films {
			id, target := fmt.Sprintf("p%02d", i), "0"
			if (kindOf(s) == phantom.Edema) != wrong(id) {
				target = "1"
			}
			labels, classes = append(labels, []string{id, target}), append(classes, []string{id, "Normal"})
		}
		d.list(t, "stage_2_train_labels.csv", labels...)
		d.list(t, "stage_2_detailed_class_info.csv", classes...)
	}
	dir := withPneumonia(t)
	lists(func(string) bool { return false })
	r := d.measure(t, "rsna", dir)
	if r.LeftOut.Missing != 1 || len(r.LeftOut.Images) != 1 || r.Studies != 90 || r.Uncalibrated != nil || len(r.Answers.Labels) != 1 {
		t.Fatalf("%+v", r)
	}
	row := r.Answers.Labels[0]
	tuning := 0
	for i := range films {
		if held.Has(fmt.Sprintf("p%02d", i)) {
			tuning++
		}
	}
	if r.Answers.Validation != tuning || r.Answers.Studies != 90-tuning || row.Positive+row.Negative != 90-tuning {
		t.Errorf("%d of %d tune, %d are measured", r.Answers.Validation, tuning, r.Answers.Studies)
	}
	if row.Label != "pneumonia" || row.AUC.Value < 0.9 || row.Accuracy.Value < 0.8 || row.F1.Value < 0.8 {
		t.Errorf("%+v", row)
	}
	lists(func(id string) bool { return !held.Has(id) })
	turned := d.measure(t, "rsna", dir).Answers.Labels[0]
	if turned.Threshold != row.Threshold || turned.AUC.Value > 1-row.AUC.Value+1e-9 || turned.Accuracy.Value > 1-row.Accuracy.Value+1e-9 {
		t.Errorf("labels of the test part turned: %+v", turned)
	}
	lists(held.Has)
	if other := d.measure(t, "rsna", dir).Answers.Labels[0]; other.Threshold == row.Threshold || other.AUC != row.AUC {
		t.Errorf("labels of the tuning part turned: %+v", other)
	}
	if r := d.measure(t, "rsna", tiny); !slices.Equal(r.Uncalibrated, []string{"pneumonia"}) || len(r.Answers.Labels) != 1 {
		t.Errorf("a model without the label: %+v", r)
	}
}

// TestDatasetMSCXRT: what happened to effusions is seen. Pneumonia is a word that each patient has
// for all of its pairs and that no film shows: if a patient were on both sides, probes would know it.
func TestDatasetMSCXRT(t *testing.T) {
	d := tree(t.TempDir())
	c := oneView(55)
	c.PriorShare = 1
	films := phantoms(t, c, 120, phantom.Effusion)
	words := map[phantom.Progression]string{phantom.Improved: "improving", phantom.Stable: "stable", phantom.Worsened: "worsening"}
	rows := [][]string{{"dicom_id", "previous_dicom_id", "consolidation_progression", "edema_progression", "pleural_effusion_progression", "pneumonia_progression", "pneumothorax_progression"}}
	path := func(i int) string { return fmt.Sprintf("p10/p10%06d/s%d/f%d", i/2, i, i) }
	for i, data := range jpegs(t, films) {
		d.write(t, "files/"+path(i)+".jpg", data)
		if i%2 == 0 {
			continue
		}
		said := []string{"improving", "stable", "worsening"}[sha256.Sum256([]byte(path(i)))[0]%3]
		rows = append(rows, []string{path(i), path(i - 1), "", "", words[films[i].Truth.Progression], said, ""})
		if i < 60 { // the same films and word twice
			rows = append(rows, []string{path(i), path(i - 1), "", "", "", said, ""})
		}
	}
	rows = append(rows, []string{"p10/p10999999/s1/a", path(0), "", "", "stable", "", ""})
	d.list(t, "MS_CXR_T_temporal_image_classification_v1.0.0.csv", rows...)
	r := d.measure(t, "ms-cxr-t", tiny)
	if r.Studies != 120 || r.LeftOut.Missing != 1 || r.Seeds != 2 || len(r.Progression) != 3 {
		t.Fatalf("%+v", r)
	}
	effusion, pneumonia := r.Progression[0], r.Progression[1]
	tested := map[string]bool{} // in any of the divisions
	for i := range films {
		for seed := 1; seed <= 2; seed++ {
			if i%2 == 1 && (trainer.HeldOut{Share: 0.3, Salt: fmt.Sprint(seed)}).Has(fmt.Sprintf("10%06d", i/2)) {
				tested[path(i)] = true
			}
		}
	}
	if effusion.Finding != "effusion" || effusion.Pairs != len(tested) || effusion.Both < 0.6 || effusion.BothSD == 0 {
		t.Errorf("%d were tested: %+v", len(tested), effusion)
	}
	if pneumonia.Finding != "pneumonia" || pneumonia.Both > 0.55 {
		t.Errorf("%+v", pneumonia)
	}
}

// mimic writes n studies of pairs of phantoms, as DICOM with two views or as JPEG with one, and says
// which study keys a split has.
func mimic(t *testing.T, d tree, n int, films bool) map[string][]string {
	t.Helper()
	c := oneView(56)
	c.PriorShare, c.LateralShare = 1, 1
	studies := phantoms(t, c, n, phantom.Effusion, phantom.Cardiomegaly)
	metadata, splits := [][]string{{"dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"}}, [][]string{{"study_id", "split"}}
	labels := [][]string{append([]string{"study_id"}, columns...)}
	keys, key := map[string][]string{}, keyOf(t, "radtrain studies")
	var data [][]byte
	if films {
		data = jpegs(t, studies)
	}
	for i, s := range studies {
		subject, study := fmt.Sprintf("10%06d", i/2), fmt.Sprintf("5%07d", i)
		split := []string{"train", "test", "validate", "test"}[i/4%4]
		if i < 2 {
			split = "" // of a patient that the list of splits has not
		} else {
			splits = append(splits, []string{study, split})
		}
		folder := fmt.Sprintf("files/p10/p%s/s%s", subject, study)
		image := func(id, view string) {
			metadata = append(metadata, []string{id, subject, study, view, s.Time.Format("20060102"), s.Time.Format("150405") + ".5"})
		}
		image("a", "PA")
		uid := event.StudyUID(s.UID)
		if films {
			d.write(t, folder+"/a.jpg", data[i])
			uid = event.StudyUID(study)
		} else {
			d.write(t, folder+"/a.dcm", dicom(t, s, 0))
			image("b", "LATERAL")
			if i != 20 {
				d.write(t, folder+"/b.dcm", dicom(t, s, 1))
			}
		}
		labels = append(labels, append([]string{study}, marks(chexpertNames[kindOf(s)])...))
		d.write(t, folder+".txt", []byte(s.Report))
		keys[split] = append(keys[split], string(key.Study(uid)))
	}
	// A study of which nothing can be read.
	metadata = append(metadata, []string{"x", "19999999", "59999999", "PA", "21800506", "213014.5"})
	splits, labels = append(splits, []string{"59999999", "train"}), append(labels, append([]string{"59999999"}, marks("")...))
	d.write(t, "files/p19/p19999999/s59999999/x"+map[bool]string{true: ".jpg", false: ".dcm"}[films], []byte("no image"))
	d.list(t, "mimic-cxr-2.0.0-metadata.csv", metadata...)
	d.list(t, "mimic-cxr-2.0.0-split.csv", splits...)
	d.list(t, "mimic-cxr-2.0.0-chexpert.csv", labels...)
	return keys
}

func TestDatasetMIMIC(t *testing.T) {
	d := tree(t.TempDir())
	keys := mimic(t, d, 64, false)
	r := d.measure(t, "mimic-cxr", tiny)
	if r.Studies != len(keys["test"]) || r.LeftOut.Missing != 1 || r.LeftOut.Images != nil || r.Pairs == nil || r.Pairs.Pairs != r.Studies || r.Answers.Validation != len(keys["validate"]) {
		t.Fatalf("%+v", r)
	}
	for _, l := range r.ZeroShot.Labels {
		if l.AUC < 0.9 || l.Positive != r.Studies/2 {
			t.Errorf("%+v", l)
		}
	}
	if len(r.ZeroShot.Labels) != 2 || len(r.Answers.Labels) != 2 || r.Answers.Labels[0].Accuracy.Value < 0.7 {
		t.Errorf("%+v", r.ZeroShot)
	}
}

// TestStudiesMIMIC: the splits of MIMIC-CXR hold, of test nothing is there, and priors are those of
// the dates, whether the headers of DICOM or the list say them.
func TestStudiesMIMIC(t *testing.T) {
	for name, films := range map[string]bool{"DICOM": false, "JPEG": true} {
		d := tree(t.TempDir())
		keys := mimic(t, d, 24, films)
		o := train.StudiesOptions{Dir: t.TempDir(), Paths: []string{string(d)}, Set: "mimic-cxr", Held: trainer.HeldOut{Share: 0.5}}
		made, err := train.Studies(t.Context(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := made.Manifests[0]
		got := map[trainer.Split][]string{}
		for _, e := range m.Studies {
			got[e.Split] = append(got[e.Split], e.StudyKey)
		}
		want := map[trainer.Split][]string{trainer.Train: slices.Sorted(slices.Values(keys["train"])), trainer.Validation: slices.Sorted(slices.Values(keys["validate"]))}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: - want, + got\n%s", name, d)
		}
		if l := made.LeftOut; len(l.Images) != 1 || m.LeftOut.Incomplete != 1 || l.Missing != map[bool]int{false: 1}[films] || !strings.Contains(m.Source.Note, "14 studies of other splits") {
			t.Errorf("%s: %+v, %q", name, l, m.Source.Note)
		}
		archived := 0
		if err := (trainer.Archive{Path: filepath.Join(o.Dir, "prepared.pb")}).Each(t.Context(), func(trainer.Record) error { archived++; return nil }); err != nil || archived != len(m.Studies)+1 {
			t.Errorf("%s: %d studies are in the archive: %v", name, archived, err)
		}
		tok, err := tokenizer.BERTBaseCased()
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := train.Load(t.Context(), made.Paths, bus.DefaultConfig(), trainer.Reader{Tokenizer: tok, MaxTokens: 128}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := trainer.DefaultConfig()
		c.PriorUse, c.Batch = 1, len(loaded.Train)
		priors := map[int]bool{} // studies that have one
		for _, i := range trainer.NewBatcher(c, model.Tiny(), loaded).Batch(0).Images {
			if i.Prior {
				priors[i.Study] = true
			}
		}
		if len(loaded.Train) != 6 || len(priors) != 3 {
			t.Errorf("%s: of %d studies %d have a prior, not half", name, len(loaded.Train), len(priors))
		}
		// Of other studies an archive would be split by places that are no longer theirs.
		d.list(t, "mimic-cxr-2.0.0-split.csv", []string{"study_id", "split"}, []string{"50000004", "test"}, []string{"50000002", "train"})
		if _, err := train.Studies(t.Context(), o, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: other splits: %v", name, err)
		}
	}
}

func TestDatasetRefuses(t *testing.T) {
	d := tree(t.TempDir())
	d.list(t, "stage_2_train_labels.csv", []string{"patientId", "Target"}, []string{"p", "1"}, []string{"q", "0"})
	d.list(t, "stage_2_detailed_class_info.csv", []string{"patientId", "class"})
	d.write(t, "stage_2_train_images/p.dcm", []byte("no DICOM"))
	empty := t.TempDir()
	for name, c := range map[string]struct {
		o    train.DatasetOptions
		kind fault.Kind
		says string
	}{
		"another kind": {train.DatasetOptions{Model: tiny, Kind: "nih", Root: empty, Seeds: 1}, fault.Usage, "mimic-cxr"},
		"no set":       {train.DatasetOptions{Model: tiny, Kind: "rsna", Root: empty, Seeds: 1}, fault.NotFound, "stage_2_detailed_class_info.csv"},
		"no film":      {train.DatasetOptions{Model: tiny, Kind: "rsna", Root: string(d), Seeds: 1}, fault.Invalid, "radstream inspect"},
		"no model":     {train.DatasetOptions{Model: empty, Kind: "rsna", Root: string(d), Seeds: 1}, fault.NotFound, "manifest"},
		"no seeds":     {train.DatasetOptions{Model: tiny, Kind: "rsna", Root: string(d)}, fault.Usage, "--seeds"},
	} {
		if _, err := train.EvaluateDataset(t.Context(), c.o, nil); fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range map[string]train.StudiesOptions{
		"a set to measure on": {Dir: t.TempDir(), Paths: []string{string(d)}, Set: "rsna"},
		"two folders":         {Dir: t.TempDir(), Paths: []string{string(d), empty}, Set: "mimic-cxr"},
	} {
		if _, err := train.Studies(t.Context(), o, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
