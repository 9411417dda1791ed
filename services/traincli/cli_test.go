package traincli_test

import (
	"bytes"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/radstream/radstream/services/command"
	"github.com/radstream/radstream/services/traincli"
)

// radtrain runs a command line.
func radtrain(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = traincli.Run(t.Context(), command.Env{Version: "test", Args: args, Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

func TestPhantomsPrintWhatWasFrozen(t *testing.T) {
	dir := t.TempDir()
	args := []string{"phantoms", dir, "--studies", "4", "--side", "128", "--seed", "8", "--validation", "0.5"}
	code, out, errs := radtrain(t, args...)
	if code != 0 || !strings.Contains(out, "next: radtrain fit --data "+filepath.Join(dir, "manifest.json")) || !strings.Contains(errs, "phantoms 4/4") {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	shards := filepath.Join(dir, "shards")
	if code, out, errs := radtrain(t, "export-archive", filepath.Join(dir, "manifest.json"), "--out", shards, "--shard", "3"); code != 0 || !strings.Contains(out, "4 studies in ") {
		t.Errorf("export-archive: %d\n%s\n%s", code, out, errs)
	}
	if code, _, errs := radtrain(t, "export-archive", filepath.Join(dir, "manifest.json"), "--out", shards); code != 2 || !strings.Contains(errs, "choose another folder") {
		t.Errorf("export-archive again: %d\n%s", code, errs)
	}
	code, out, _ = radtrain(t, append(args, "--json")...)
	var printed struct {
		ID         string
		Train      int
		Validation int
	}
	if err := json.Unmarshal([]byte(out), &printed); code != 0 || err != nil || printed.ID == "" || printed.Train+printed.Validation != 4 {
		t.Errorf("%d: %s", code, out)
	}
}

func TestExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		args []string
		code int
		text string
	}{
		"no command":        {nil, 0, ""},
		"version":           {[]string{"version"}, 0, ""},
		"help of a command": {[]string{"eval", "retrieval", "--help"}, 0, ""},
		"unknown command":   {[]string{"paint"}, 2, "see `radtrain --help`"},
		"unknown flag":      {[]string{"fit", "--colour"}, 2, "radtrain fit --help"},
		"no model":          {[]string{"eval", "retrieval"}, 2, "model"},
		"a model's name":    {[]string{"fit", "--model", "Tiny"}, 3, "name@version"},
		"the test's seed":   {[]string{"phantoms", t.TempDir(), "--seed", "20260"}, 2, "never be trained on"},
		"no such model":     {[]string{"eval", "retrieval", "--model", "nowhere"}, 1, "nowhere"},
		"no films":          {[]string{"eval", "quality", "--data", t.TempDir()}, 2, "studies.csv"},
		"no folder":         {[]string{"eval", "views", "--data", "nowhere"}, 2, "nowhere"},
		"no file to write":  {[]string{"views"}, 2, "out"},
		"no run to resume":  {[]string{"fit", "--resume", "--out", t.TempDir()}, 2, "no run to go on with"},
		"other settings":    {[]string{"fit", "--resume", "--steps", "9"}, 2, "leave out --steps"},
		"no weights":        {[]string{"import", "nowhere.safetensors"}, 1, "nowhere.safetensors"},
		"no address":        {[]string{"fit", "--telemetry-listen", "9090"}, 2, "telemetry.listen: must be host:port"},
		"a taken address":   {[]string{"serve", "--telemetry-listen", taken.Addr().String()}, 2, taken.Addr().String() + " is in use"},
		"no kind of set":    {[]string{"eval", "dataset", "nowhere", "--model", "x"}, 2, "radtrain eval dataset --help"},
		"another set":       {[]string{"eval", "dataset", "nih", ".", "--model", "x"}, 2, "chexpert-5x200"},
		"no folder of it":   {[]string{"eval", "dataset", "rsna", "nowhere", "--model", "x"}, 1, "no folder nowhere"},
		"no list of it":     {[]string{"eval", "dataset", "rsna", ".", "--model", "x"}, 1, "stage_2_detailed_class_info.csv"},
		"a set's own split": {[]string{"studies", "x", ".", "--set", "mimic-cxr", "--held-out", "9"}, 2, "held-out"},
		"a set of tests":    {[]string{"studies", t.TempDir(), ".", "--set", "rsna"}, 2, "radtrain eval dataset"},
		"no server":         {[]string{"manifest", "x.json", "--nats", "nats://127.0.0.1:1"}, 4, "127.0.0.1:1"},
	} {
		code, _, errs := radtrain(t, c.args...)
		if code != c.code || !strings.Contains(errs, c.text) {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, c.code, errs)
		}
	}
	code, _, errs := radtrain(t, "fit", "--model", "Tiny", "--json")
	if code != 3 || !strings.Contains(errs, `{"error":{"kind":"invalid","reason":"model_ref"`) {
		t.Errorf("%d: %s", code, errs)
	}
}
