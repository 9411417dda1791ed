package trainer

import (
	"errors"
	"fmt"
	"math"

	"github.com/radstream/radstream/schemas/fault"
)

// Config is one run. Start from [DefaultConfig]; what a run used is stored beside its model.
type Config struct {
	Seed  uint64 `json:"seed"`  // of weights, order, augmentation and masks (1)
	Batch int    `json:"batch"` // studies a step, 2 to 4096 (32)
	Steps int    `json:"steps"` // updates, 1 or more (5800)
	// UnmaskedSteps are the last steps, in which all patches enter the encoder, as they do when
	// the model serves; 0 to Steps (3300).
	UnmaskedSteps int     `json:"unmasked_steps"`
	KeepShare     float64 `json:"keep_share"` // of patches in a masked step, above 0 to 1 (0.25)

	// HoldText is for how many first steps the text tower stays as it is, 0 to Steps (300).
	// Random weights keep different texts apart. As long as images say nothing about them, a
	// contrastive loss falls fastest by making all texts alike, and then there is nothing left
	// for images to learn from.
	HoldText int `json:"hold_text"`

	LearningRate float64 `json:"learning_rate"` // at its highest, above 0 (1e-3)
	Warmup       int     `json:"warmup"`        // steps of linear rise, 0 or more (200)
	Floor        float64 `json:"floor"`         // learning rate at the end, as a share of the highest, 0 to 1 (0.01)

	// What stands for the reports in a step: their impressions, one sentence of each, or (what
	// is left) all of them. 0 to 1 together (0.8, 0.1).
	ImpressionShare float64 `json:"impression_share"`
	SentenceShare   float64 `json:"sentence_share"`

	HideShare float64 `json:"hide_share"` // of the words, hidden from a masked-language term, 0 to 1 (0.15)

	// The augmentation at its strongest; it grows over the first HoldText steps.
	Shift     int     `json:"shift"`     // pixels that a film moves at most, 0 to 64 (4)
	Intensity float64 `json:"intensity"` // change of brightness, contrast and gamma, 0 to 0.5 (0.08)
	Noise     float64 `json:"noise"`     // deviation of added noise at most, grey values, 0 to 64 (2)
	ViewDrop  float64 `json:"view_drop"` // share of studies that lack one of their views, 0 to 1 (0.1)
	PriorUse  float64 `json:"prior_use"` // share of studies with a prior that show it, 0 to 1 (0.5)
	// FrontalOnly leaves out all views but the frontal ones, of studies that have one (false).
	FrontalOnly bool `json:"frontal_only,omitempty"`

	ValidateEvery int `json:"validate_every"` // steps between validations; 0 is never (1000)
}

// DefaultConfig returns the settings of the shipped tiny model.
func DefaultConfig() Config {
	return Config{
		Seed: 1, Batch: 32, Steps: 5800, UnmaskedSteps: 3300, KeepShare: 0.25, HoldText: 300,
		LearningRate: 1e-3, Warmup: 200, Floor: 0.01,
		ImpressionShare: 0.8, SentenceShare: 0.1, HideShare: 0.15,
		Shift: 4, Intensity: 0.08, Noise: 2, ViewDrop: 0.1, PriorUse: 0.5,
		ValidateEvery: 1000,
	}
}

// Validate returns a Usage fault that lists everything that is wrong, or nil.
func (c Config) Validate() error {
	var faults []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	share := func(name string, v float64) { want(v >= 0 && v <= 1, "%s must be 0 to 1", name) }
	want(c.Batch >= 2 && c.Batch <= 4096, "batch must be 2 to 4096 studies")
	want(c.Steps >= 1 && c.Steps < 1<<30, "steps must be 1 or more")
	want(c.UnmaskedSteps >= 0 && c.UnmaskedSteps <= c.Steps, "unmasked steps must be 0 to steps")
	want(c.HoldText >= 0 && c.HoldText <= c.Steps, "hold text must be 0 to steps")
	want(c.KeepShare > 0 && c.KeepShare <= 1, "keep share must be above 0, to 1")
	want(c.LearningRate > 0 && !math.IsInf(c.LearningRate, 0), "learning rate must be above 0")
	want(c.Warmup >= 0, "warm-up must not be negative")
	share("floor", c.Floor)
	want(c.ImpressionShare >= 0 && c.SentenceShare >= 0 && c.ImpressionShare+c.SentenceShare <= 1, "impression and sentence share must be 0 to 1 together")
	share("hide share", c.HideShare)
	want(c.Shift >= 0 && c.Shift <= 64, "shift must be 0 to 64 pixels")
	want(c.Intensity >= 0 && c.Intensity <= 0.5, "intensity must be 0 to 0.5")
	want(c.Noise >= 0 && c.Noise <= 64, "noise must be 0 to 64 grey values")
	share("view drop", c.ViewDrop)
	share("prior use", c.PriorUse)
	want(c.ValidateEvery >= 0, "validate every must not be negative")
	return fault.E("trainer.Config", fault.Usage, errors.Join(faults...))
}

// rate returns the learning rate of a step, from 0: a linear warm-up, then half a cosine down
// to the floor.
func (c Config) rate(step int) float64 {
	if step < c.Warmup {
		return c.LearningRate * float64(step+1) / float64(c.Warmup)
	}
	done := float64(step-c.Warmup) / float64(max(1, c.Steps-c.Warmup))
	return c.LearningRate * (c.Floor + (1-c.Floor)*0.5*(1+math.Cos(math.Pi*done)))
}
