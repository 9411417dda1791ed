package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/radstream/radstream/services/erase"
)

// TestErase erases by the command, as an operator does, and looks for the identifiers.
func TestErase(t *testing.T) {
	dir, studies := t.TempDir(), filepath.Join(t.TempDir(), "studies")
	if r := run(t, "phantom", studies, "--studies", "4", "--side", "128"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	var truth []struct {
		StudyUID  string `json:"study_uid"`
		PatientID string `json:"patient_id"`
	}
	text, err := os.ReadFile(filepath.Join(studies, "truth.json"))
	if err == nil {
		err = json.Unmarshal(text, &truth)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := up(t, dir, anyPorts)
	s.publish(t, studies)
	receipt := func(code int, args ...string) (r erase.Receipt) {
		t.Helper()
		out := run(t, append([]string{"erase", "--json", "--nats-url", s.NATS}, args...)...)
		if out.code != code {
			t.Fatalf("%v ended with %d: %s%s", args, out.code, out.stdout, out.stderr)
		}
		if code == 0 {
			if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
				t.Fatalf("%v in %s", err, out.stdout)
			}
		}
		return r
	}
	uid, patient := truth[0].StudyUID, truth[0].PatientID
	if r := receipt(0, "--study", uid, "--dry-run"); r.Done || len(r.Studies) != 1 || len(r.Studies[0].Prepared) == 0 {
		t.Errorf("a dry run says %+v", r)
	}
	if r := run(t, "search", "--server", s.Query, "--study", uid); r.code != 0 {
		t.Errorf("after a dry run the study is not found: %s", r.stderr)
	}
	first := receipt(0, "--study", uid)
	if !first.Done || len(first.Studies) != 1 || len(first.Objects) == 0 || first.Arrivals == 0 || len(first.Pending) != 0 {
		t.Errorf("the receipt says %+v", first)
	}
	for _, id := range []string{uid, patient} {
		if text, err := json.Marshal(first); err != nil || bytes.Contains(text, []byte(id)) {
			t.Errorf("the receipt names the study or its patient: %s", text)
		}
	}
	if r := run(t, "search", "--server", s.Query, "--study", uid); r.code != 1 || !strings.Contains(r.stderr, "was erased") {
		t.Errorf("a search by an erased study: %d, %s", r.code, r.stderr)
	}
	if r := run(t, "labels", "--server", s.Query, "--study", uid); r.code != 1 || !strings.Contains(r.stderr, "was erased") {
		t.Errorf("labels of an erased study: %d, %s", r.code, r.stderr)
	}
	if r := receipt(0, "--study", uid); !r.Done || r.Arrivals != 0 || len(r.Objects) != 0 || len(r.Studies[0].Prepared) != 0 {
		t.Errorf("erased once more: %+v", r)
	}
	if r := receipt(0, "--patient", patient); !r.Done || len(r.Studies) == 0 {
		t.Errorf("the patient's receipt says %+v", r)
	}
	receipt(3, "--study", "2.25.404")
	receipt(3, "--study", uid, "--tenant", "nobody")
	receipt(2)
	receipt(2, "--study", uid, "--patient", patient)
	if r := run(t, "erase", "--study", uid, "--nats-url", "nats://127.0.0.1:1"); r.code != 4 {
		t.Errorf("without a server: %d, %s", r.code, r.stderr)
	}
	if r := run(t, "erase", "--study", uid, "--nats-url", s.NATS); r.code != 0 || !strings.Contains(r.stdout, "0 arrivals") {
		t.Errorf("%d: %s%s", r.code, r.stdout, r.stderr)
	}
	s.stop(t)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, id := range []string{uid, patient} {
			if bytes.Contains(data, []byte(id)) {
				t.Errorf("%s holds an identifier of what was erased", path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
