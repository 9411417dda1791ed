//go:build torch

package traincli_test

import (
	"bytes"
	"encoding/csv"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/radstream/radstream/services/command"
	"github.com/radstream/radstream/services/traincli"
)

// scraper is standard error: it reads the metrics at the address that is told there, once that
// is told and once the last step is.
type scraper struct {
	t           *testing.T
	url         string
	first, last string
	said        bytes.Buffer
}

func (s *scraper) Write(line []byte) (int, error) {
	switch text := string(line); {
	case strings.HasPrefix(text, "metrics "):
		s.url = strings.TrimSpace(strings.TrimPrefix(text, "metrics "))
		s.first = s.get()
	case strings.HasPrefix(text, "step 6/6 "):
		s.last = s.get()
	}
	return s.said.Write(line)
}

func (s *scraper) get() string {
	client := http.Client{Timeout: time.Minute} // the run waits for it
	r, err := client.Get(s.url)
	if err != nil {
		s.t.Error(err)
		return ""
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		s.t.Errorf("%s: %d, %v", s.url, r.StatusCode, err)
	}
	return string(text)
}

// TestFitIsWatched: at the last step of a run /metrics says what steps.csv does of it; with the
// run the address is gone.
func TestFitIsWatched(t *testing.T) {
	dir := t.TempDir()
	data, run := filepath.Join(dir, "data"), filepath.Join(dir, "run")
	if code, out, errs := radtrain(t, "phantoms", data, "--studies", "24", "--side", "128", "--seed", "8", "--single-finding"); code != 0 {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	s := &scraper{t: t}
	fit := strings.Fields("fit --model tiny@0.0.1 --batch 8 --steps 6 --unmasked-steps 2 --hold-text 2 --warmup 2 --validate-every 0 --measure=false --telemetry-listen 127.0.0.1:0")
	fit = append(fit, "--data", filepath.Join(data, "manifest.json"), "--out", run)
	if code := traincli.Run(t.Context(), command.Env{Version: "test", Args: fit, Stdout: io.Discard, Stderr: s}); code != 0 {
		t.Fatalf("%d\n%s", code, &s.said)
	}
	if strings.Contains(s.first, "radstream_training") || !strings.Contains(s.first, `radstream_build_info{goversion="`) {
		t.Errorf("before the run: %s", s.first)
	}
	text, err := os.ReadFile(filepath.Join(run, "steps.csv"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(table) != 7 {
		t.Fatalf("%d lines, %v", len(table), err)
	}
	names := map[string]string{
		"step": "step", "learning_rate": "learning_rate", "loss": "loss", "grad_norm": "gradient_norm",
		"image_cosine": `cosine{side="image"}`, "text_cosine": `cosine{side="text"}`, "image_rank": `effective_rank{side="image"}`, "text_rank": `effective_rank{side="text"}`,
		"temperature": `temperature{scope="global"}`, "local_temperature": `temperature{scope="local"}`, "seconds": "step_duration_seconds",
		"process_mb": "", "heap_mb": "", // Go's own metrics have the memory
	}
	for i, column := range table[0] {
		name, known := names[column]
		if !known {
			name = `loss_term{term="` + column + `"}`
		}
		if name == "" {
			continue
		}
		name = "radstream_training_" + name
		m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (.+)$`).FindStringSubmatch(s.last)
		if m == nil {
			t.Errorf("%s is missing:\n%s", name, s.last)
			continue
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if got, want := strconv.FormatFloat(v, 'g', 6, 64), table[6][i]; err != nil || got != want {
			t.Errorf("%s is %s, and %s of steps.csv %s (%v)", name, got, column, want, err)
		}
	}
	for _, name := range []string{`radstream_training_run_info{model="tiny@0.0.1"} 1`, "radstream_training_planned_steps 6\n", "radstream_training_steps_per_second ", "radstream_training_loading_ratio ", "process_resident_memory_bytes ", "go_memstats_heap_alloc_bytes "} {
		if !strings.Contains(s.last, "\n"+name) {
			t.Errorf("%s is missing", name)
		}
	}
	if strings.Contains(s.last, "radstream_training_rounds") || strings.Contains(s.last, "radstream_training_pending") {
		t.Error("a run alone tells of rounds")
	}
	if r, err := http.Get(s.url); err == nil {
		r.Body.Close()
		t.Error("metrics are served behind the end of the run")
	}
}
