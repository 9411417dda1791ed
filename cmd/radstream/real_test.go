package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/services/publish"
	"github.com/radstream/radstream/services/query"
)

// TestRealInput publishes real films and DICOM files and looks for every study by its own
// id: published = indexed + rejected, every rejection has a reason, every indexed study is
// its own best hit.
func TestRealInput(t *testing.T) {
	s := up(t, t.TempDir(), anyPorts)
	client := query.NewClient(s.Query, "")
	total := 0
	for _, c := range []struct {
		set      string
		args     []string
		studies  int // expected to be published; 0 is whatever the folder holds
		rejected int // expected; -1 is any number
	}{
		{set: "covidcxr", args: []string{"--limit", "24"}, studies: 24, rejected: 0}, // text is looked for in each film: a second a film
		{set: "rocov2cxr", args: []string{"--limit", "24"}, studies: 24, rejected: 0},
		{set: "dicom", rejected: -1},
	} {
		t.Run(c.set, func(t *testing.T) {
			dir := realData(t, c.set)
			sum := s.publish(t, append(c.args, dir)...)
			t.Logf("%d published = %d indexed + %d rejected, %d rejections, %d problems, %.1f s",
				sum.Published, sum.Indexed, sum.Rejected, len(sum.Rejections), len(sum.Problems), sum.Seconds)
			if sum.Published != sum.Indexed+sum.Rejected || c.studies != 0 && sum.Published != c.studies {
				t.Errorf("%d published, %d indexed, %d rejected; want %d published", sum.Published, sum.Indexed, sum.Rejected, c.studies)
			}
			if c.rejected >= 0 && len(sum.Rejections) != c.rejected {
				t.Errorf("%d rejections, want %d: %+v", len(sum.Rejections), c.rejected, sum.Rejections)
			}
			for _, r := range sum.Rejections {
				if r.Reason == "" || r.Kind == "" || r.Detail == "" || r.Stage == "" {
					t.Errorf("a rejection without a reason: %+v", r)
				}
			}
			for _, p := range sum.Problems {
				if p.Reason != publish.ReasonTwice {
					t.Errorf("problem: %+v", p)
				}
			}
			total += sum.Indexed
			if c.set == "dicom" {
				return // the subtest below knows which studies these are
			}
			for _, uid := range studyIDs(t, dir, sum.Published) {
				findItself(t, client, uid)
			}
		})
	}
	t.Run("the chest films of dicom", func(t *testing.T) {
		dir := realData(t, "dicom")
		for _, name := range []string{"fo-dicom_CR-MONO1-10-chest.dcm", "torchxrayvision_chest_pa.dcm"} {
			film, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			r, err := client.Search(t.Context(), query.Request{Image: film, K: 1})
			if err != nil || len(r.Hits) != 1 || r.Hits[0].Similarity < 0.999 {
				t.Errorf("%s: %+v, %v", name, r.Hits, err)
				continue
			}
			findItself(t, client, r.Hits[0].Study)
		}
	})
	t.Run("again", func(t *testing.T) {
		dir := realData(t, "covidcxr")
		sum := s.publish(t, "--limit", "24", dir)
		if sum.Published != 24 || sum.Indexed != 24 || len(sum.Rejections) != 0 {
			t.Errorf("publishing again: %+v", sum)
		}
		status, err := client.Status(t.Context())
		if err != nil || int(status.Indexed) != total {
			t.Errorf("%d studies in the index, want %d (%v)", status.Indexed, total, err)
		}
		for _, stream := range status.Streams {
			if stream.Name == event.StreamPrepared && stream.Messages != uint64(total) {
				t.Errorf("%d revisions for %d studies: publishing again made some", stream.Messages, total)
			}
		}
	})
}

func findItself(t *testing.T, client *query.Client, uid event.StudyUID) {
	t.Helper()
	r, err := client.Search(t.Context(), query.Request{Study: uid, K: 3})
	if err != nil {
		t.Errorf("%s: %v", uid, err)
		return
	}
	if len(r.Hits) == 0 || r.Hits[0].Study != uid || r.Hits[0].Similarity < 0.999 || r.Hits[0].Similarity > 1.001 {
		t.Errorf("%s is not its own best hit: %+v", uid, r.Hits)
	}
}

// studyIDs returns the first n studies of a list.
func studyIDs(t *testing.T, dir string, n int) []event.StudyUID {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "studies.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var ids []event.StudyUID
	seen := map[string]bool{}
	for _, row := range rows[1:] {
		if id := row[0]; !seen[id] && len(ids) < n {
			seen[id] = true
			ids = append(ids, event.StudyUID(id))
		}
	}
	return ids
}

// TestInspectRealFiles holds `radstream inspect --json` to the figures of the manifest for
// the files it can read; ingest/dicom has the whole table.
func TestInspectRealFiles(t *testing.T) {
	dir := realData(t, "dicom")
	r := run(t, "inspect", "--json", filepath.Join(dir, "fo-dicom_CR-MONO1-10-chest.dcm"), filepath.Join(dir, "pydicom_MR_truncated.dcm"))
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(r.stdout)))
	var chest, cut struct {
		Rows, Columns int
		View, Quality string
		PxSHA256      string `json:"px_sha256"`
		Error         *struct{ Kind, Reason string }
	}
	if err := errors.Join(d.Decode(&chest), d.Decode(&cut)); err != nil {
		t.Fatal(err)
	}
	if chest.Rows != 440 || chest.Columns != 440 || chest.View != "frontal" || chest.Quality != "ok" || len(chest.PxSHA256) != 64 || chest.Error != nil {
		t.Errorf("chest: %+v", chest)
	}
	if cut.Error == nil || cut.Error.Kind != "invalid" || cut.Error.Reason != "truncated" {
		t.Errorf("truncated: %+v", cut.Error)
	}
}
