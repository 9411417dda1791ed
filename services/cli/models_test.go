package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/trainer/onnxexport"
)

func TestModels(t *testing.T) {
	t.Setenv("RADSTREAM_NATS_URL", bustest.Serve(t))
	k, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	for _, version := range []string{"1", "2"} {
		dirs[version] = t.TempDir()
		m := model.Manifest{Ref: model.Ref{Name: "m", Version: version}, Preprocessing: "1", Temperature: 0.1, Untrained: true}
		if err := onnxexport.WriteModel(dirs[version], model.Tiny(), onnxexport.Untrained(model.Tiny(), 1), onnxexport.FP16, k, m); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "pulled")
	for _, step := range []struct {
		line string
		code int
		want string
	}{
		{"models list", 0, ""},
		{"models rollback", 1, "no model served before"},
		{"models push " + dirs["1"], 0, "pushed m@1"},
		{"models push " + dirs["2"], 0, "pushed m@2"},
		{"models push " + t.TempDir(), 1, "manifest.json"},
		{"models promote m", 3, "name@version"},
		{"models promote m@3", 1, "no model m@3"},
		{"models promote m@1", 0, "m@1 serves"},
		{"models promote m@2", 0, "m@2 serves"},
		{"models rollback", 0, "m@1 serves"},
		{"models pull m@2 " + out, 0, "is in"},
		{"models pull m@2 " + out, 1, "is there already"},
		{"models list --json", 0, `"ref":"m@1"`},
		{"models list", 0, "serves"},
		{"models saw 0123456789abcdef0123456789abcdef", 0, "no model saw it"},
		{"models saw 0123456789abcdef0123456789abcdef --json", 0, `{"saw":[],"unknown":[]}`},
		{"models list too", 2, "models list --help"},
		{"models", 0, "radstream models rollback"},
	} {
		code, stdout, stderr := runLine(t, "", strings.Fields(step.line)...)
		if code != step.code || !strings.Contains(stdout+stderr, step.want) {
			t.Errorf("%s: %d, want %d: %s%s", step.line, code, step.code, stdout, stderr)
		}
	}
	if m, err := model.Load(out); err != nil || m.Ref.Version != "2" {
		t.Errorf("pulled %v, %v", m, err)
	}
}
