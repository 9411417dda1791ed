package train_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// tenant is whose studies the tests publish.
const tenant event.Tenant = "clinic"

// TestCutList: a list that cannot be read, or not to its end, is refused, and not taken for a shorter
// one.
func TestCutList(t *testing.T) {
	list := filepath.Join(t.TempDir(), "studies.csv")
	if err := os.WriteFile(list, []byte("study_id,image,report\n1.2.1,,Clear lungs.\n1.2.2,,A \"clear\" lung.\n1.2.3,,Clear lungs.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := train.StudiesOptions{Dir: t.TempDir(), Paths: []string{list}, Held: trainer.HeldOut{Studies: 1}}
	_, made := train.Studies(t.Context(), o, nil)
	_, measured := train.EvaluatePairs(t.Context(), train.PairsOptions{Models: []string{"../app/tiny"}, Path: list}, nil)
	for _, err := range []error{made, measured} {
		if fault.ReasonOf(err) != train.ReasonStudies || !strings.Contains(fault.Detail(err), "a quote is out of place") {
			t.Errorf("a list that is read in part: %v", err)
		}
	}
	if err := os.Truncate(list, 1<<30); err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "studies.csv")
	if err := os.WriteFile(whole, []byte("study_id,image,report\n1.2.1,,Clear lungs.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Paths = append(o.Paths, whole)
	if _, err := train.Studies(t.Context(), o, nil); fault.ReasonOf(err) != train.ReasonStudies || !strings.Contains(fault.Detail(err), "split it") {
		t.Errorf("a list that is too large: %v", err)
	}
}

// TestStudies: films and captions of a CSV become training data, held out by a hash of the
// patient, otherwise in each split.
func TestStudies(t *testing.T) {
	source := realdata.Path(t, "rocov2cxr/studies.csv")
	if source == "" {
		return
	}
	rows, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	csv := filepath.Join(folder, "some.csv")
	some := strings.SplitAfter(string(rows), "\n")[:25]
	if err := os.WriteFile(csv, []byte(strings.Join(some, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "images"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, row := range some[1:] {
		name := strings.Split(row, ",")[2]
		film, err := os.ReadFile(filepath.Join(filepath.Dir(source), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), film, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	last := some[len(some)-1]
	missing := strings.Replace(last, strings.Split(last, ",")[2], "images/none.jpg", 1)
	if err := os.WriteFile(csv, []byte(strings.Join(some, "")+missing), 0o600); err != nil {
		t.Fatal(err)
	}
	o := train.StudiesOptions{Dir: t.TempDir(), Paths: []string{csv}, Held: trainer.HeldOut{Studies: 6}, Splits: 2}
	made, err := train.Studies(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if left := made.LeftOut.Problems; len(left) != 1 || left["row_without_image"] != 1 {
		t.Errorf("left out: %v", left)
	}
	manifests, paths := made.Manifests, made.Paths
	sides := map[trainer.Split]int{}
	other := 0
	for i, m := range manifests {
		if m.Count(trainer.Train) != 18 || m.Count(trainer.Validation) != 6 {
			t.Errorf("split %d has %d and %d studies", i, m.Count(trainer.Train), m.Count(trainer.Validation))
		}
	}
	for i, e := range manifests[0].Studies {
		sides[e.Split]++
		if e.Split != manifests[1].Studies[i].Split {
			other++
		}
	}
	if other == 0 {
		t.Error("both splits hold out the same studies")
	}
	again, err := train.Studies(t.Context(), o, nil) // nothing is left to do
	if err != nil || again.Manifests[1].ID != manifests[1].ID {
		t.Errorf("made once more: %+v, not %s: %v", again.Paths, manifests[1].ID, err)
	}
	// The tokens of another vocabulary are made from the cleaned text.
	k, err := tokenizer.Read("letters", tokenizer.Uncased, strings.NewReader("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##a\nchest\n"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := train.Load(t.Context(), paths[:1], bus.DefaultConfig(), trainer.Reader{Tokenizer: k, MaxTokens: 128}, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int32]bool{}
	for _, s := range d.Train {
		for _, id := range s.Report.Tokens {
			seen[id] = true
		}
	}
	if len(seen) > 7 || !seen[6] || !seen[2] {
		t.Errorf("tokens of a vocabulary of 7: %v", seen)
	}
	// The studies that a split holds out are what models are compared on.
	tiny := "../app/tiny"
	r, err := train.EvaluatePairs(t.Context(), train.PairsOptions{Models: []string{tiny, tiny}, Against: []string{tiny, tiny}, Data: paths}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Pairs != 12 || r.Gain == nil || r.Gain.Against != r.Model || r.Gain.ImageToText != [3]eval.Rate{} || r.Gain.TextToImage != [3]eval.Rate{} {
		t.Errorf("a model against itself on two splits of 6 pairs: %+v", r)
	}
}

func small(studies int) phantom.Config {
	c := phantom.Defaults()
	c.Studies, c.Side, c.Seed = studies, 128, 4
	return c
}

func generate(t *testing.T, dir string, c phantom.Config) *trainer.Manifest {
	t.Helper()
	m, err := train.Phantoms(t.Context(), dir, c, 0.2, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPhantomsGoOnWhereTheyWereInterrupted(t *testing.T) {
	whole, parts := t.TempDir(), t.TempDir()
	want := generate(t, whole, small(70))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := train.Phantoms(ctx, parts, small(70), 0.2, func(done, _ int) {
		if done > 0 {
			cancel()
		}
	})
	if fault.KindOf(err) != fault.Canceled {
		t.Fatalf("interrupted: %v", err)
	}
	// A crash while writing leaves a part of a message.
	path := filepath.Join(parts, "prepared.pb")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) == 0 {
		t.Fatal("nothing was kept")
	}
	if err := os.WriteFile(path, data[:len(data)-100], 0o644); err != nil {
		t.Fatal(err)
	}
	got := generate(t, parts, small(70))
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-in one go +in parts)\n%s", d)
	}
	for _, name := range []string{"prepared.pb", "labels.jsonl", train.ManifestFile} {
		a, errA := os.ReadFile(filepath.Join(whole, name))
		b, errB := os.ReadFile(filepath.Join(parts, name))
		if errA != nil || errB != nil || !cmp.Equal(a, b) {
			t.Errorf("%s differs: %v, %v", name, errA, errB)
		}
	}
	if fewer := generate(t, parts, small(10)); len(fewer.Studies) != 10 {
		t.Errorf("10 of 70 studies gave %d", len(fewer.Studies))
	}
}

func TestPhantomsRefuse(t *testing.T) {
	dir := t.TempDir()
	generate(t, dir, small(2))
	other, evaluation, broken := small(2), small(2), small(2)
	other.Side++
	evaluation.Seed = train.EvaluationSeed
	broken.Broken = 1
	for name, c := range map[string]phantom.Config{"other data": other, "the evaluation's seed": evaluation, "broken studies": broken, "no studies": {}} {
		if _, err := train.Phantoms(t.Context(), dir, c, 0.1, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// serve starts a NATS server with the streams of radstream and returns how to reach it.
func serve(t *testing.T) (bus.Config, *bus.Bus) {
	t.Helper()
	conf := bus.DefaultConfig()
	conf.URL = bustest.Serve(t)
	return conf, bustest.Connect(t, conf.URL)
}

// publish puts a message into PREPARED as the prepare stage does.
func publish(t *testing.T, b *bus.Bus, who event.Tenant, m *radstreamv1.StudyPrepared, id string) {
	t.Helper()
	e, err := event.New(event.MessageID(id), "test", event.PreparedSubject(who, event.PatientKey(m.PatientKey), event.StudyKey(m.StudyKey)), m.ShiftedTime.AsTime(), m)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), e, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAStreamAndAnArchiveGiveTheSameBatches(t *testing.T) {
	dir := t.TempDir()
	archived := generate(t, dir, small(12))
	conf, b := serve(t)
	var newest *radstreamv1.StudyPrepared
	err := trainer.Archive{Path: filepath.Join(dir, "prepared.pb")}.Each(t.Context(), func(r trainer.Record) error {
		m := new(radstreamv1.StudyPrepared)
		if err := proto.Unmarshal(r.Body, m); err != nil {
			return err
		}
		if r.Sequence == 5 { // an older revision and another tenant's study come between
			old := proto.CloneOf(m)
			old.Rev, old.Report = 0, nil
			publish(t, b, tenant, old, "old")
			publish(t, b, "other", m, "other")
			newest = m
		}
		publish(t, b, tenant, m, m.PrepId)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := train.Freeze(t.Context(), conf, tenant, train.Range{}, 0.2, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Source.Stream != event.StreamPrepared || m.Source.First != 1 || m.Source.Last != 14 || len(m.Studies) != 12 {
		t.Fatalf("frozen: %+v with %d studies", m.Source, len(m.Studies))
	}
	// What comes later changes nothing.
	newest.Rev = 9
	publish(t, b, tenant, newest, "later")
	path := filepath.Join(t.TempDir(), "stream.json")
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	load := func(path string) *trainer.Dataset {
		d, err := train.Load(t.Context(), []string{path}, conf, trainer.Reader{Tokenizer: tok, MaxTokens: 128}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	fromArchive, fromStream := load(filepath.Join(dir, train.ManifestFile)), load(path)
	if len(archived.Studies) != 12 || len(fromStream.Train) != len(fromArchive.Train) || len(fromStream.Validation) != len(fromArchive.Validation) {
		t.Fatalf("%d and %d studies to train on", len(fromStream.Train), len(fromArchive.Train))
	}
	c := trainer.DefaultConfig()
	c.Batch = 4
	for step := range 3 {
		a := trainer.NewBatcher(c, model.Tiny(), fromArchive).Batch(step)
		s := trainer.NewBatcher(c, model.Tiny(), fromStream).Batch(step)
		if !cmp.Equal(a, s) {
			t.Fatalf("batch %d differs", step)
		}
	}
	if _, err := train.Freeze(t.Context(), conf, tenant, train.Range{First: 9, Last: 3}, 0, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("an empty range: %v", err)
	}
	if _, err := train.Freeze(t.Context(), conf, "nobody", train.Range{}, 0, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a tenant without studies: %v", err)
	}
	// By time it is the same as by sequence.
	third, err := b.Get(t.Context(), event.StreamPrepared, 3)
	if err != nil {
		t.Fatal(err)
	}
	tenth, err := b.Get(t.Context(), event.StreamPrepared, 10)
	if err != nil {
		t.Fatal(err)
	}
	bySequence, err := train.Freeze(t.Context(), conf, tenant, train.Range{First: 3, Last: 9}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	byTime, err := train.Freeze(t.Context(), conf, tenant, train.Range{From: third.Stored, To: tenth.Stored}, 0, nil)
	if err != nil || byTime.ID != bySequence.ID || byTime.Source.Last != 9 || byTime.Source.First != 3 {
		t.Errorf("from %v to %v: %+v, %v; by sequence %+v", third.Stored, tenth.Stored, byTime.Source, err, bySequence.Source)
	}
	if _, err := train.Freeze(t.Context(), conf, tenant, train.Range{From: tenth.Stored, To: third.Stored}, 0, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("a time that ends before it begins: %v", err)
	}
	part, err := train.Freeze(t.Context(), conf, tenant, train.Range{First: 1, Last: 4}, 0, nil)
	if err != nil || len(part.Studies) != 4 {
		t.Errorf("four messages gave %d studies, %v", len(part.Studies), err)
	}
	// A study that was erased enters no manifest, though its messages are still there and the range
	// ends before its tombstone.
	erased := m.Studies[0]
	on, err := b.Get(t.Context(), event.StreamPrepared, erased.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	tombstone, err := event.New("tombstone", "test", on.Subject, time.Now(), &radstreamv1.StudyRemoved{StudyKey: erased.StudyKey})
	if err == nil {
		err = b.Publish(t.Context(), tombstone, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	without, err := train.Freeze(t.Context(), conf, tenant, train.Range{First: m.Source.First, Last: m.Source.Last}, 0.2, nil)
	if err != nil || len(without.Studies) != len(m.Studies)-1 || slices.ContainsFunc(without.Studies, func(e trainer.Entry) bool { return e.StudyKey == erased.StudyKey }) {
		t.Errorf("with one of 12 erased, %d studies were frozen, %v", len(without.Studies), err)
	}
	// A message that was trimmed or erased since is named, with the way on.
	gone := erased.Sequence
	if err := b.SecureDelete(t.Context(), event.StreamPrepared, gone); err != nil {
		t.Fatal(err)
	}
	_, err = train.Load(t.Context(), []string{path}, conf, trainer.Reader{Tokenizer: tok, MaxTokens: 128}, nil)
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), fmt.Sprintf("message %d", gone)) || !strings.Contains(err.Error(), "radtrain manifest") {
		t.Errorf("a trimmed stream: %v", err)
	}
}

// untrained writes a model with random weights.
func untrained(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	labels, err := zeroshot.DefaultLabels()
	if err != nil {
		t.Fatal(err)
	}
	c := model.Tiny()
	c.Image.Layers, c.Text.Layers = 1, 1
	err = onnxexport.WriteModel(dir, c, onnxexport.Untrained(c, 1), onnxexport.FP16, tok, model.Manifest{
		Ref: model.Ref{Name: "tiny", Version: "0"}, Preprocessing: "1", Temperature: 0.07, Labels: labels, Untrained: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestAdapters: adapters leave a model and enter another with the same encoders, whatever
// precision stores them, and no other.
func TestAdapters(t *testing.T) {
	k, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	c := model.Tiny()
	write := func(name string, w onnxexport.Weights, p onnxexport.Precision, saw string) string {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		m := model.Manifest{Ref: model.Ref{Name: name, Version: "1.0.0"}, Preprocessing: "p", Temperature: 0.5, DataManifests: []string{saw}}
		if name == "trained" {
			m.Temperature = 0.25
		}
		if err := onnxexport.WriteModel(dir, c, w, p, k, m); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	base := onnxexport.Untrained(c, 1)
	trained := maps.Clone(base)
	for _, row := range onnxexport.Shapes(c) {
		if row.Group == onnxexport.Task || row.Group == onnxexport.Head || row.Group == onnxexport.Language {
			row.Init.Std = 0.5
			trained[row.Name] = row.New(2)
		}
	}
	from, onto := write("trained", trained, onnxexport.FP16, "two"), write("base", base, onnxexport.FP32, "one")
	other := write("other", onnxexport.Untrained(c, 3), onnxexport.FP16, "three")
	file := filepath.Join(t.TempDir(), "task.safetensors")
	if _, err := train.ExtractAdapters(from, []string{"base"}, file); fault.KindOf(err) != fault.Usage {
		t.Errorf("the encoders as adapters: %v", err)
	}
	if _, err := train.ExtractAdapters(from, []string{"task", "head", "task"}, file); err != nil {
		t.Fatal(err)
	}
	ref, out := model.Ref{Name: "both", Version: "1.0.0"}, filepath.Join(t.TempDir(), "both")
	set, err := train.ApplyAdapters(onto, file, ref, out, "test")
	if err != nil || set.From.Name != "trained" || len(set.Groups) != 2 {
		t.Fatalf("%+v: %v", set, err)
	}
	m, got, err := onnxexport.ReadModel(out)
	if err != nil {
		t.Fatal(err)
	}
	if m.Ref != ref || m.Temperature != 0.25 || !slices.Equal(m.DataManifests, []string{"one", "two"}) || m.Precision != "fp32" {
		t.Errorf("%+v", m)
	}
	_, stored, err := onnxexport.ReadModel(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range onnxexport.Shapes(c) {
		want := base[row.Name] // language adapters too: they were not taken
		if row.Group == onnxexport.Task || row.Group == onnxexport.Head {
			want = stored[row.Name]
		}
		if !slices.Equal(want.Data, got[row.Name].Data) {
			t.Errorf("%s (group %s) is not as it should be", row.Name, row.Group)
		}
	}
	for name, c := range map[string]struct {
		dir, file, out string
		ref            model.Ref
		kind           fault.Kind
	}{
		"other encoders":    {other, file, "x", ref, fault.Invalid},
		"no such file":      {onto, file + "x", "x", ref, fault.NotFound},
		"its own name":      {onto, file, "x", model.Ref{Name: "base", Version: "1.0.0"}, fault.Usage},
		"a model's folder":  {onto, file, from, ref, fault.Usage},
		"no adapters' file": {onto, filepath.Join(from, "vocab.txt"), "x", ref, fault.Corrupt},
	} {
		if c.out == "x" {
			c.out = t.TempDir()
		}
		if _, err := train.ApplyAdapters(c.dir, c.file, c.ref, c.out, "test"); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}

// TestFitRefusesNumbers: what no run can have is refused before its folder is made.
func TestFitRefusesNumbers(t *testing.T) {
	for want, change := range map[string]func(*train.FitOptions){
		"masked":      func(o *train.FitOptions) { o.MaskedImage = math.NaN() },
		"masked ":     func(o *train.FitOptions) { o.MaskedText = math.Inf(1) },
		"threads":     func(o *train.FitOptions) { o.Threads = 100_000 },
		"checkpoints": func(o *train.FitOptions) { o.CheckpointEvery = -1 },
	} {
		o := train.FitOptions{Preset: "tiny", Trainer: trainer.DefaultConfig(), Out: filepath.Join(t.TempDir(), "run")}
		change(&o)
		if _, err := train.Fit(t.Context(), o, train.FitHooks{}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if _, err := os.Stat(o.Out); !os.IsNotExist(err) {
			t.Errorf("%s: the folder was made: %v", want, err)
		}
	}
}
