//go:build !torch

package train_test

import (
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer"
)

func TestFitSaysHowToGetLibtorch(t *testing.T) {
	_, err := train.Fit(t.Context(), train.FitOptions{Preset: "tiny", Trainer: trainer.DefaultConfig()}, train.FitHooks{})
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "make radtrain") {
		t.Errorf("%v", err)
	}
}
