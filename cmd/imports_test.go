// Package cmd holds the main packages; its test keeps the house in order.
package cmd

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/radstream/radstream/"

// layers lists, for each top-level folder, those it may import, with the reason for the
// rule. Below the list of ARCHITECTURE.md; change both.
var layers = map[string]struct {
	may []string
	why string
}{
	"schemas":  {nil, "everybody reads the schemas, so they depend on nobody"},
	"ingest":   {[]string{"schemas"}, "stages meet only through events: each can be replaced, scaled and replayed alone"},
	"embedder": {[]string{"schemas"}, "stages meet only through events: each can be replaced, scaled and replayed alone"},
	"indexer":  {[]string{"schemas"}, "stages meet only through events: each can be replaced, scaled and replayed alone"},
	"trainer":  {[]string{"schemas", "ingest", "embedder"}, "training and serving run the same preprocessing and the same exported graph"},
	"services": {[]string{"schemas", "ingest", "embedder", "indexer", "trainer"}, "services wire the stages together and hold no clinical logic"},
	"cmd":      {[]string{"services"}, "a main package only starts a service"},
	"deploy":   {nil, "deploy holds files that are run or read, and tests of them"},
}

// homes says which packages alone may import a third-party module.
var homes = []struct {
	path string
	in   []string
	why  string
}{
	{"github.com/nats-io/", []string{"services/"}, "stages hold no NATS: they can be tested and run without a server"},
	{"github.com/qdrant/", []string{"indexer/qdrant", "indexer/qdrantd"}, "Qdrant's types stay in the packages that adapt them"},
	{"github.com/yalue/onnxruntime_go", []string{"embedder/ort"}, "ONNX Runtime is process-wide: it has one owner"},
	{"github.com/suyashkumar/dicom", []string{"ingest/dicom"}, "the DICOM library panics on bad input: one package guards it"},
	{"github.com/sugarme/gotch", []string{"trainer/torch"}, "libtorch is only there where somebody trains"},
	{"github.com/prometheus/", []string{"services/telemetry"}, "what is counted, and by which labels, is decided in one place: none of them may be an identifier"},
	{"go.opentelemetry.io/", []string{"services/telemetry"}, "what a span says is decided in one place: none of it may be an identifier"},
	{"github.com/coreos/go-oidc", []string{"services/auth"}, "who is let in is decided in one place"},
	{"github.com/danielgtaylor/huma", []string{"services/query"}, "what the API looks like is decided where it is answered"},
	{"github.com/spf13/", []string{"services/", "cmd/"}, "flags belong to the command line"},
}

type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports"}, args...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func top(path string) string {
	dir, _, _ := strings.Cut(strings.TrimPrefix(path, module), "/")
	return dir
}

// TestImports holds the import rule of ARCHITECTURE.md. Tests may import more than the
// code they test, but not gotch.
func TestImports(t *testing.T) {
	pkgs := list(t, module+"...")
	if len(pkgs) < 10 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	for _, p := range pkgs {
		from, known := layers[top(p.ImportPath)]
		if !known {
			t.Errorf("%s lies in a folder that ARCHITECTURE.md does not have", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module) {
				to := top(imp)
				if to != top(p.ImportPath) && !slices.Contains(from.may, to) {
					t.Errorf("%s imports %s.\n%s may import only %v: %s", p.ImportPath, imp, top(p.ImportPath), from.may, from.why)
				}
				continue
			}
			for _, h := range homes {
				if strings.HasPrefix(imp, h.path) && !inside(p.ImportPath, h.in) {
					t.Errorf("%s imports %s, which only %v may: %s", p.ImportPath, imp, h.in, h.why)
				}
			}
		}
	}
}

// TestNoGotch: radstream builds and runs where libtorch is not.
func TestNoGotch(t *testing.T) {
	for _, p := range list(t, "-deps", module+"cmd/radstream") {
		if strings.HasPrefix(p.ImportPath, "github.com/sugarme/gotch") {
			t.Errorf("cmd/radstream depends on %s; libtorch must stay behind services/train and cmd/radtrain", p.ImportPath)
		}
	}
}

func inside(path string, prefixes []string) bool {
	rel := strings.TrimPrefix(path, module)
	for _, p := range prefixes {
		if rel == p || strings.HasPrefix(rel, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}
