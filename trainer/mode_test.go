package trainer_test

import (
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
)

// TestModeShares: of the paper's sizes at most 12 % train in mode adapters, and each mode trains
// less than the one before.
func TestModeShares(t *testing.T) {
	last := 0
	for i, m := range trainer.Modes {
		trained, all := m.Parameters(model.Base())
		t.Logf("%s trains %d of %d, %.2f %%", m.Name, trained, all, 100*float64(trained)/float64(all))
		if i == 0 && trained != all || i > 0 && trained >= last {
			t.Errorf("%s trains %d of %d", m.Name, trained, all)
		}
		last = trained
		if m.Name == "adapters" && float64(trained) > 0.12*float64(all) {
			t.Errorf("mode adapters trains %d of %d", trained, all)
		}
	}
	if _, err := trainer.FindMode("some"); fault.KindOf(err) != fault.Usage {
		t.Errorf("an unknown mode: %v", err)
	}
}
