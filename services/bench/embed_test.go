package bench_test

import (
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bench"
)

// TestEmbedRefuses: wrong options are refused before gigabytes of peers are fetched. The measurement
// itself is part of make proof.
func TestEmbedRefuses(t *testing.T) {
	good := bench.EmbedConfig{Venv: t.TempDir(), Batch: 4, Rounds: 1}
	for name, change := range map[string]func(*bench.EmbedConfig){
		"batch":   func(c *bench.EmbedConfig) { c.Batch = 0 },
		"rounds":  func(c *bench.EmbedConfig) { c.Rounds = 0 },
		"queries": func(c *bench.EmbedConfig) { c.Queries = -1 },
		"peer":    func(c *bench.EmbedConfig) { c.Peers = []string{"TensorRT fp8"} },
	} {
		c := good
		change(&c)
		if _, err := bench.Embed(t.Context(), c); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
