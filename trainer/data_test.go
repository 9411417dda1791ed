package trainer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/trainer"
)

// words returns the tokenizer of the reports.
func words(t testing.TB) trainer.Reader {
	t.Helper()
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	return trainer.Reader{Tokenizer: tok, MaxTokens: 128}
}

// phantoms returns n small studies as prepared messages, two of each patient where they pair.
func phantoms(t testing.TB, n int, edit func(*phantom.Config)) (bodies [][]byte, truths []phantom.Truth) {
	t.Helper()
	c := phantom.Defaults()
	c.Studies, c.Side = n, 96
	if edit != nil {
		edit(&c)
	}
	p, err := ingest.New(ingest.Default(), words(t))
	if err != nil {
		t.Fatal(err)
	}
	key, err := deid.NewKey(make([]byte, deid.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		study, err := phantom.Generate(c, i)
		if err != nil {
			t.Fatal(err)
		}
		prepared, err := trainer.PreparePhantom(t.Context(), p, key, study)
		if err != nil {
			t.Fatal(err)
		}
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(prepared)
		if err != nil {
			t.Fatal(err)
		}
		bodies, truths = append(bodies, body), append(truths, study.Truth)
	}
	return bodies, truths
}

// archive writes messages to a file.
func archive(t testing.TB, path string, bodies [][]byte) trainer.Archive {
	t.Helper()
	w, err := trainer.OpenArchive(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bodies {
		if err := w.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return trainer.Archive{Path: path}
}

// freeze makes a manifest of messages.
func freeze(t testing.TB, bodies [][]byte, validation float64) *trainer.Manifest {
	t.Helper()
	f := trainer.NewFreezer(trainer.HeldOut{Share: validation})
	for i, b := range bodies {
		if err := f.Add(trainer.Record{Sequence: uint64(i + 1), Body: b}, true, []string{"nodule", "edema"}); err != nil {
			t.Fatal(err)
		}
	}
	m, err := f.Manifest(trainer.Origin{Archive: "prepared.pb"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestArchiveSurvivesACut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.pb")
	all := [][]byte{[]byte("one"), {}, []byte(strings.Repeat("three", 100))}
	a := archive(t, path, all)
	read := func() (got [][]byte, err error) {
		err = a.Each(t.Context(), func(r trainer.Record) error {
			if r.Sequence != uint64(len(got)+1) {
				t.Errorf("message %d has sequence %d", len(got)+1, r.Sequence)
			}
			got = append(got, r.Body)
			return nil
		})
		return got, err
	}
	got, err := read()
	if d := cmp.Diff(all, got); d != "" || err != nil {
		t.Fatalf("read back: %v (-want +got)\n%s", err, d)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < 500; cut += 100 {
		if err := os.WriteFile(path, data[:len(data)-cut], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := read(); fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("%d bytes cut off: %v", cut, err)
		}
		archive(t, path, all[2:]) // opening for appending removes the part
		if got, err := read(); err != nil || !cmp.Equal(all, got) {
			t.Fatalf("%d bytes cut off and written again: %d messages, %v", cut, len(got), err)
		}
	}
}

func TestRecordsStopsAndMisses(t *testing.T) {
	a := archive(t, filepath.Join(t.TempDir(), "a.pb"), [][]byte{[]byte("1"), []byte("2"), []byte("3")})
	var got []string
	err := a.Records(t.Context(), []uint64{1, 3}, func(r trainer.Record) error {
		got = append(got, string(r.Body))
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := a.Records(t.Context(), []uint64{2, 4}, func(trainer.Record) error { return nil }); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a missing message: %v", err)
	}
	stop := errors.New("stop")
	if err := a.Records(t.Context(), []uint64{1, 2}, func(trainer.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("yield's error became %v", err)
	}
	if err := (trainer.Archive{Path: "nowhere"}).Each(t.Context(), nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no file: %v", err)
	}
}

func FuzzArchive(f *testing.F) {
	for _, s := range []string{"", "\x03one\x00", "\x03on", "\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x80\x80\x80\x80\x80\x00"} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "a.pb")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		total := 0
		err := trainer.Archive{Path: path}.Each(t.Context(), func(r trainer.Record) error {
			total += len(r.Body)
			return nil
		})
		if k := fault.KindOf(err); err != nil && k != fault.Corrupt && k != fault.Invalid {
			t.Fatalf("not classified: %v", err)
		}
		if total > len(data) {
			t.Fatalf("%d bytes of messages in a file of %d", total, len(data))
		}
	})
}

func TestManifest(t *testing.T) {
	bodies, _ := phantoms(t, 6, nil)
	m := freeze(t, bodies, 0)
	path := filepath.Join(t.TempDir(), "manifest.json")
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(link); fault.KindOf(err) != fault.Usage {
		t.Errorf("in the place of a device it writes with %v", err)
	}
	back, err := trainer.ReadManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m, back); d != "" {
		t.Errorf("read back (-wrote +read)\n%s", d)
	}
	if len(m.Studies) != 6 || m.Preparation == "" || m.Tokenizer != words(t).ID() {
		t.Errorf("%d studies, preparation %q, tokenizer %q", len(m.Studies), m.Preparation, m.Tokenizer)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"another split":   {`"split":"train"`, `"split":"validation"`},
		"another label":   {`"edema"`, `"effusion"`},
		"outside":         {`"prepared.pb"`, `"../prepared.pb"`},
		"newer format":    {`"format": 1`, `"format": 2`},
		"doubled message": {`"sequence":2,`, `"sequence":3,`},
		"not JSON":        {`{`, ``},
	} {
		changed := strings.Replace(string(text), edit[0], edit[1], 1)
		if changed == string(text) {
			t.Fatalf("%s: %s is not in the manifest", name, edit[0])
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := trainer.ReadManifest(path); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != trainer.ReasonData {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trainer.ReadManifest(filepath.Join(t.TempDir(), "none")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no file: %v", err)
	}
}

func TestFreezerTakesTheNewestRevision(t *testing.T) {
	bodies, _ := phantoms(t, 2, func(c *phantom.Config) { c.PriorShare = 0 })
	edit := func(body []byte, f func(*radstreamv1.StudyPrepared)) []byte {
		var s radstreamv1.StudyPrepared
		if err := proto.Unmarshal(body, &s); err != nil {
			t.Fatal(err)
		}
		f(&s)
		out, err := proto.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	second := edit(bodies[0], func(s *radstreamv1.StudyPrepared) { s.Rev = 2 })
	m := freeze(t, [][]byte{bodies[0], bodies[1], second}, 0)
	if len(m.Studies) != 2 || !slices.ContainsFunc(m.Studies, func(e trainer.Entry) bool { return e.Rev == 2 && e.Sequence == 3 }) {
		t.Errorf("the manifest has %+v", m.Studies)
	}
	// Without its report the study is of no use, whatever it was before.
	bare := edit(bodies[0], func(s *radstreamv1.StudyPrepared) { s.Rev, s.Report = 3, nil })
	if m := freeze(t, [][]byte{bodies[0], bodies[1], bare}, 0); len(m.Studies) != 1 || m.LeftOut.Incomplete != 1 {
		t.Errorf("a study without a report is in the manifest: %d studies", len(m.Studies))
	}
	mixed := edit(bodies[1], func(s *radstreamv1.StudyPrepared) { s.Provenance.PreparationVersion = "0" })
	f := trainer.NewFreezer(trainer.HeldOut{})
	for i, b := range [][]byte{bodies[0], mixed} {
		if err := f.Add(trainer.Record{Sequence: uint64(i + 1), Body: b}, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Manifest(trainer.Origin{Stream: "PREPARED"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("two preparations: %v", err)
	}
	inPart := edit(bodies[1], func(s *radstreamv1.StudyPrepared) { s.Provenance.PreparationVersion = "0 1" })
	if m := freeze(t, [][]byte{bodies[0], inPart}, 0); len(m.Studies) != 1 || m.LeftOut != (trainer.LeftOut{Mixed: 1}) {
		t.Errorf("a study of two preparations: %d studies, left out %+v", len(m.Studies), m.LeftOut)
	}
	if err := f.Add(trainer.Record{Sequence: 9, Body: []byte("\xff")}, false, nil); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("no message: %v", err)
	}
}

func TestSplitIsByPatient(t *testing.T) {
	bodies, truths := phantoms(t, 40, func(c *phantom.Config) { c.PriorShare, c.LateralShare = 1, 0 })
	m := freeze(t, bodies, 0.3)
	split, kept := map[string]trainer.Split{}, map[trainer.Split]int{}
	for _, e := range m.Studies {
		patient := truths[e.Sequence-1].PatientID
		if was, known := split[patient]; known && was != e.Split {
			t.Errorf("the studies of a patient are on both sides")
		}
		split[patient] = e.Split
		kept[e.Split]++
	}
	if len(split) != 20 {
		t.Fatalf("%d patients, want 20", len(split))
	}
	if n := kept[trainer.Validation]; n < 2 || n > 24 {
		t.Errorf("%d of 40 studies are for validation, want about 12", n)
	}
	if m := freeze(t, bodies, 1); m.Count(trainer.Validation) != 40 {
		t.Error("a share of 1 leaves studies to train on")
	}
}

func TestLoadRefuses(t *testing.T) {
	bodies, _ := phantoms(t, 3, nil)
	m := freeze(t, bodies, 0)
	dir := t.TempDir()
	good := trainer.Part{Manifest: m, Source: archive(t, filepath.Join(dir, "good.pb"), bodies)}
	swapped := trainer.Part{Manifest: m, Source: archive(t, filepath.Join(dir, "swapped.pb"), [][]byte{bodies[1], bodies[0], bodies[2]})}
	short := trainer.Part{Manifest: m, Source: archive(t, filepath.Join(dir, "short.pb"), bodies[:2])}
	other := *m
	other.Preparation = "0"
	held := freeze(t, bodies, 1)
	pairs, _ := phantoms(t, 2, func(c *phantom.Config) { c.PriorShare = 1 }) // of one patient
	first := trainer.Part{Manifest: freeze(t, pairs[:1], 0), Source: archive(t, filepath.Join(dir, "first.pb"), pairs[:1])}
	second := trainer.Part{Manifest: freeze(t, pairs[1:], 1), Source: archive(t, filepath.Join(dir, "second.pb"), pairs[1:])}
	for name, c := range map[string]struct {
		parts []trainer.Part
		kind  fault.Kind
	}{
		"another message":     {[]trainer.Part{swapped}, fault.Corrupt},
		"a message missing":   {[]trainer.Part{short}, fault.NotFound},
		"a study twice":       {[]trainer.Part{good, good}, fault.Invalid},
		"another preparation": {[]trainer.Part{{Manifest: &other, Source: good.Source}, good}, fault.Invalid},
		"a patient in both":   {[]trainer.Part{first, second}, fault.Invalid},
		"nothing to train on": {[]trainer.Part{{Manifest: held, Source: good.Source}}, fault.Invalid},
	} {
		if _, err := trainer.Load(t.Context(), c.parts, words(t), nil); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := trainer.Load(ended, []trainer.Part{good}, words(t), nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}
}

func TestNewStudyFindsViewsAndSentences(t *testing.T) {
	bodies, truths := phantoms(t, 12, nil)
	for i, body := range bodies {
		var m radstreamv1.StudyPrepared
		if err := proto.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		s, err := trainer.NewStudy(&m, words(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Images) != len(truths[i].Objects) {
			t.Errorf("study %d has %d images of %d films", i, len(s.Images), len(truths[i].Objects))
		}
		r := s.Report
		if joined := slices.Concat(r.Sentences...); !slices.Equal(joined, r.Tokens[1:len(r.Tokens)-1]) {
			t.Errorf("study %d: its sentences are not its tokens", i)
		}
		if len(r.Sentences) < 2 || r.Impression < 1 || r.Impression >= len(r.Sentences) {
			t.Errorf("study %d: %d sentences, the impression begins at %d", i, len(r.Sentences), r.Impression)
		}
		sum := sha256.Sum256(s.Images[0].Pixels)
		if !slices.Equal(sum[:], m.Views[0].PixelsSha256) {
			t.Errorf("study %d: other pixels", i)
		}
		m.Views[0].PixelsSha256[0]++
		if _, err := trainer.NewStudy(&m, words(t)); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("changed pixels: %v", err)
		}
	}
}
