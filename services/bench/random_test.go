package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/services/bench/venv"
)

// TestRandomFiles: files that pydicom wrote, of random bits, signs, sizes, frames, fragments and
// transfer syntaxes, with things in the bits that are not stored, decode to the values that were
// put in.
func TestRandomFiles(t *testing.T) {
	python, err := venv.Make(t.Context(), filepath.Join("..", "..", ".deps", "venv-peer"), peerPins)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "random_files.py"), dir, "1", "400")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); files++ {
		var want struct {
			File, SHA256, How string
			Min, Max          int
		}
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, want.File))
		if err != nil {
			t.Fatal(err)
		}
		got := ingest.Inspect(data, want.File)
		if got.Error != nil || got.PxSHA256 != want.SHA256 || *got.PxMin != want.Min || *got.PxMax != want.Max {
			t.Errorf("%s: %s: %+v, %s, want %d to %d, %s", want.File, want.How, got.Error, got.PxSHA256, want.Min, want.Max, want.SHA256)
		}
	}
	if files != 400 {
		t.Errorf("%d files", files)
	}
}
