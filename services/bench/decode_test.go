package bench_test

import (
	"path/filepath"
	"testing"

	"github.com/radstream/radstream/services/bench"
)

// TestVersusPydicom: every transfer syntax decodes to the values of another decoder, and the
// measurement runs. How fast is no matter of a test.
func TestVersusPydicom(t *testing.T) {
	c := bench.DecodeConfig{Venv: filepath.Join("..", "..", ".deps", "venv-peer"), Rows: 320, Columns: 256, Rounds: 2}
	decoded, err := bench.Decode(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := bench.Prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(decoded) != 11 || len(prepared) != 11 {
		t.Fatalf("%d and %d transfer syntaxes", len(decoded), len(prepared))
	}
	for _, timing := range append(decoded, prepared...) {
		if timing.PeerError != "" || timing.Ours <= 0 || timing.Peer <= 0 || timing.Ratio <= 0 {
			t.Errorf("%+v", timing)
		}
	}
}
