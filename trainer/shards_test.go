package trainer_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/trainer"
)

// readShards returns the files of shards by name.
func readShards(t *testing.T, dir string, shards []trainer.Shard) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, s := range shards {
		data, err := os.ReadFile(filepath.Join(dir, s.URL))
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(data)) != s.Bytes {
			t.Errorf("%s has %d bytes, the index says %d", s.URL, len(data), s.Bytes)
		}
		keys := map[string]bool{}
		for r := tar.NewReader(bytes.NewReader(data)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			key, _, _ := strings.Cut(h.Name, ".")
			keys[key] = true
			if all[h.Name], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		if len(keys) != s.Samples {
			t.Errorf("%s has %d samples, the index says %d", s.URL, len(keys), s.Samples)
		}
	}
	return all
}

// TestExport: every study is in a shard of its split with all that was prepared, the index lists
// them, and the same manifest gives the same bytes.
func TestExport(t *testing.T) {
	bodies, _ := phantoms(t, 9, nil)
	source := archive(t, filepath.Join(t.TempDir(), "prepared.pb"), bodies)
	m := freeze(t, bodies, 0.4)
	dir, last := filepath.Join(t.TempDir(), "shards"), 0
	shards, err := trainer.Export(t.Context(), trainer.Part{Manifest: m, Source: source}, dir, 2, func(done, _ int) { last = done })
	if err != nil || last != 9 {
		t.Fatal(last, err)
	}
	train, validation := readShards(t, dir, shards.Train), readShards(t, dir, shards.Validation)
	if len(shards.Train) < 2 || len(shards.Validation) < 1 {
		t.Errorf("%d and %d shards", len(shards.Train), len(shards.Validation))
	}
	studies := map[string]*radstreamv1.StudyPrepared{}
	for _, b := range bodies {
		s := &radstreamv1.StudyPrepared{}
		if err := proto.Unmarshal(b, s); err != nil {
			t.Fatal(err)
		}
		studies[s.StudyKey] = s
	}
	for _, e := range m.Studies {
		files, s := train, studies[e.StudyKey]
		if e.Split == trainer.Validation {
			files = validation
		}
		var about struct {
			StudyKey   string            `json:"study_key"`
			PatientKey string            `json:"patient_key"`
			Labels     []string          `json:"labels"`
			Mentions   map[string]string `json:"report_labels"`
			Tokens     []int32           `json:"tokens"`
			Views      []struct {
				File       string
				Projection string
				Exposed    [4]uint32
			}
		}
		if err := json.Unmarshal(files[e.StudyKey+".json"], &about); err != nil {
			t.Fatalf("%s: %v", e.StudyKey, err)
		}
		if about.StudyKey != s.StudyKey || about.PatientKey != s.PatientKey || len(about.Mentions) != len(s.Report.Labels) ||
			!cmp.Equal(about.Labels, e.Labels) || !cmp.Equal(about.Tokens, s.Report.Tokens) || len(about.Views) != len(s.Views) {
			t.Errorf("%+v", about)
		}
		if text := files[e.StudyKey+".txt"]; string(text) != s.Report.Text {
			t.Errorf("text %q, want %q", text, s.Report.Text)
		}
		for i, v := range about.Views {
			if want := strings.ToLower(strings.TrimPrefix(s.Views[i].Projection.String(), "PROJECTION_")); v.Projection != want || v.Exposed[2] != s.Views[i].Exposed.X1 {
				t.Errorf("%+v", v)
			}
			if !bytes.Equal(files[e.StudyKey+"."+v.File], s.Views[i].Png) {
				t.Errorf("%s is not the view", v.File)
			}
		}
	}
	var index struct {
		Kind   string          `json:"__kind__"`
		Shards []trainer.Shard `json:"shardlist"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "train.json"))
	if err == nil {
		err = json.Unmarshal(text, &index)
	}
	if d := cmp.Diff(shards.Train, index.Shards); err != nil || d != "" || index.Kind != "wids-shard-index-v1" {
		t.Errorf("%q, %v (-want +got)\n%s", index.Kind, err, d)
	}

	again := t.TempDir()
	if _, err := trainer.Export(t.Context(), trainer.Part{Manifest: m, Source: source}, again, 2, nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range shards.Train {
		one, errOne := os.ReadFile(filepath.Join(dir, s.URL))
		two, errTwo := os.ReadFile(filepath.Join(again, s.URL))
		if errOne != nil || errTwo != nil || !bytes.Equal(one, two) {
			t.Errorf("%s is another the second time: %v %v", s.URL, errOne, errTwo)
		}
	}
	if _, err := trainer.Export(t.Context(), trainer.Part{Manifest: m, Source: source}, dir, 2, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("over other shards: %v", err)
	}
	m.Studies[3].SHA256 = strings.Repeat("0", 64)
	other := t.TempDir()
	if _, err := trainer.Export(t.Context(), trainer.Part{Manifest: m, Source: source}, other, 100, nil); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("another message: %v", err)
	}
	if left, err := os.ReadDir(other); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
