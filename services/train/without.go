package train

import (
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// Parts are what a run can go without, to see what each is worth (the paper's Table 6).
var Parts = []string{
	partAdapters, partInvertible, partLateral, partPrior, partLocal, partGlobal,
}

const (
	partAdapters   = "adapters"   // language and task adapters: Transformer-Adapt
	partInvertible = "invertible" // invertible adapters
	partLateral    = "lateral"    // views but the frontal one
	partPrior      = "prior"      // the prior's images
	partLocal      = "local"      // terms of sentences and regions
	partGlobal     = "global"     // terms of whole studies and texts
)

// check refuses numbers that no run can have; those of the trainer it checks itself.
func (o FitOptions) check() error {
	const op = "train.Fit"
	const most = 1024 // threads: far more take the memory of the machine before the first step
	if !(o.MaskedImage >= 0 && o.MaskedText >= 0) || math.IsInf(o.MaskedImage+o.MaskedText, 0) {
		return fault.Errorf(op, fault.Usage, "the weights of masked terms are numbers of 0 or more")
	}
	if o.Threads < 0 || o.Threads > most {
		return fault.Errorf(op, fault.Usage, "threads are 1 to %d, or 0 for one a core", most)
	}
	if o.CheckpointEvery < 0 {
		return fault.Errorf(op, fault.Usage, "steps between checkpoints are 0, for never, or more")
	}
	return nil
}

// settled returns o with what is decided when a run starts: threads, device, and the parts of the
// training that the run goes without.
func (o FitOptions) settled() (FitOptions, error) {
	if o.Threads == 0 { // how sums are split decides how they round
		o.Threads = runtime.NumCPU()
	}
	var err error
	if o.Device, err = Device(o.Device); err != nil {
		return o, err
	}
	for _, part := range o.Without {
		switch part {
		case partLateral:
			o.Trainer.FrontalOnly = true
		case partPrior:
			o.Trainer.PriorUse = 0
		case partAdapters, partInvertible: // see architecture
		case partLocal, partGlobal: // see newStepper
		default:
			return o, fault.Errorf("train.Fit", fault.Usage, "a run can go without %s", strings.Join(Parts, ", "))
		}
	}
	if slices.Contains(o.Without, partLocal) && slices.Contains(o.Without, partGlobal) && o.MaskedImage == 0 && o.MaskedText == 0 {
		return o, fault.Errorf("train.Fit", fault.Usage, "without local and global terms nothing is left to learn from")
	}
	return o, nil
}

// architecture takes the parts out of an architecture, and out of its weights, that o names.
func (o FitOptions) architecture(c *model.Config, w onnxexport.Weights) {
	if slices.Contains(o.Without, partAdapters) {
		c.Adapter = 0
	}
	if slices.Contains(o.Without, partInvertible) {
		c.Invertible = false
	}
	kept := map[string]bool{}
	for _, row := range onnxexport.Shapes(*c) {
		kept[row.Name] = true
	}
	maps.DeleteFunc(w, func(name string, _ onnxexport.Tensor) bool { return !kept[name] })
}
