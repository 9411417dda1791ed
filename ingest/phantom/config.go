package phantom

import (
	"errors"
	"fmt"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// maxStudies bounds Config.Studies: accession numbers have seven digits.
const maxStudies = 2_000_000

// Config says what to make. The zero value is not valid; start from [Defaults].
type Config struct {
	Studies int    // how many, 1 to 2,000,000 (60)
	Seed    uint64 // other seed, other patients (1)
	Side    int    // pixels of a film's longer side at most; it varies down to 0.8 of that; 96 to 2048 (576)

	LateralShare float64 // share of patients with a lateral view (2/3)
	NormalShare  float64 // share of patients without a finding; not with SingleFinding (0.25)
	PriorShare   float64 // share of studies that belong to a pair: a prior and its follow-up (0.3)

	// Variants, above 1, makes so many studies in a row of one patient on one day: the same
	// body, detector and noise, but other findings. What tells them apart is what was found,
	// which is what a model has to learn. Not with PriorShare or Broken. (0)
	Variants int

	// Broken studies have one damaged object and no report. They are spread evenly over
	// the run and take the kinds of [BrokenKind] in turn. (0)
	Broken int

	// SingleFinding gives every study exactly one finding and deals the Kinds out evenly:
	// of 2*len(Kinds) studies in a row, each kind has two. (false)
	SingleFinding bool
	Kinds         []Kind // which findings occur; empty = all of Ranges
}

// Defaults returns the configuration of the demo.
func Defaults() Config {
	return Config{Studies: 60, Seed: 1, Side: 576, LateralShare: 2.0 / 3, NormalShare: 0.25, PriorShare: 0.3}
}

// Validate returns a Usage fault that lists everything that is wrong, or nil.
func (c Config) Validate() error {
	var faults []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	want(c.Studies >= 1 && c.Studies <= maxStudies, "studies must be 1 to %d", maxStudies)
	want(c.Side >= 96 && c.Side <= 2048, "side must be 96 to 2048 pixels")
	want(c.LateralShare >= 0 && c.LateralShare <= 1, "lateral share must be 0 to 1")
	want(c.NormalShare >= 0 && c.NormalShare <= 1, "normal share must be 0 to 1")
	want(c.PriorShare >= 0 && c.PriorShare <= 1, "prior share must be 0 to 1")
	want(c.Broken >= 0 && c.Broken <= c.Studies, "broken must be 0 to the number of studies")
	want(c.Variants >= 0 && c.Variants <= 64, "variants must be 0 to 64")
	want(c.Variants <= 1 || c.PriorShare == 0 && c.Broken == 0, "variants go with neither priors nor broken studies")
	for i, k := range c.Kinds {
		_, known := rangeOf(k)
		want(known, "finding %d is not one of the known kinds", i+1)
		want(!slices.Contains(c.Kinds[:i], k), "finding %d is named twice", i+1)
	}
	return fault.E("phantom.Config", fault.Usage, errors.Join(faults...))
}

// kinds returns the rows of the findings that may occur.
func (c Config) kinds() []Range {
	all := Ranges()
	if len(c.Kinds) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(r Range) bool { return !slices.Contains(c.Kinds, r.Kind) })
}

// brokenKind returns how study i is damaged, if it is. Study i is damaged where the
// running total i*Broken/Studies passes a whole number.
func (c Config) brokenKind(i int) (BrokenKind, bool) {
	before, after := i*c.Broken/c.Studies, (i+1)*c.Broken/c.Studies
	if i < 0 || i >= c.Studies || before == after {
		return "", false
	}
	return brokenKinds()[before%len(brokenKinds())], true
}
