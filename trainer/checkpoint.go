package trainer

import (
	"encoding/json"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// State is what a step depends on besides its batch and its rate, and what it changes: the
// weights, the optimiser's moments and counts, and learned scales.
type State struct {
	Tensors  map[string]onnxexport.Tensor
	Counters map[string]int
}

// Checkpoint is a run between two steps. Batches, masks and rates are functions of the step, so
// that with the same data a run goes on from it as if it had never stopped, bit for bit.
type Checkpoint struct {
	Step   int // are done
	Config Config
	Labels map[string]string // what else must be the same for the run to go on: data, preset, arithmetic
	State  State
	Curves Curves // up to there
}

// head is what the metadata of a checkpoint's file holds, beside the state's tensors.
type head struct {
	Step       int               `json:"step"`
	Config     Config            `json:"config"`
	Labels     map[string]string `json:"labels"`
	Counters   map[string]int    `json:"counters"`
	Steps      [][]string        `json:"steps"`      // of Curves
	Validation [][]string        `json:"validation"` // of Curves
}

const headKey = "radstream.checkpoint"

// WriteCheckpoint writes a safetensors file; see [WriteTensors].
func WriteCheckpoint(path string, c *Checkpoint) error {
	const op = "trainer.WriteCheckpoint"
	text, err := json.Marshal(head{c.Step, c.Config, c.Labels, c.State.Counters, c.Curves.table(exact), c.Curves.validations(exact)})
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	return fault.Wrap(op, WriteTensors(path, c.State.Tensors, map[string]string{headKey: string(text)}))
}

// ReadCheckpoint reads what [WriteCheckpoint] wrote. Errors: those of [ReadTensors]; Invalid for
// tensors that are no checkpoint.
func ReadCheckpoint(path string) (*Checkpoint, error) {
	const op = "trainer.ReadCheckpoint"
	tensors, metadata, err := ReadTensors(path)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if metadata[headKey] == "" {
		return nil, fault.Errorf(op, fault.Invalid, "%s holds tensors, but is no checkpoint of radtrain", path)
	}
	var h head
	if err := json.Unmarshal([]byte(metadata[headKey]), &h); err != nil {
		return nil, fault.Errorf(op, fault.Corrupt, "the checkpoint %s has a damaged header: %w", path, err)
	}
	c := &Checkpoint{Step: h.Step, Config: h.Config, Labels: h.Labels, State: State{tensors, h.Counters}}
	if c.Curves, err = parseCurves(h.Steps, h.Validation); err != nil || len(c.Curves.steps) != c.Step {
		return nil, fault.Errorf(op, fault.Corrupt, "the checkpoint %s has damaged curves: %d steps of %d, %v", path, len(c.Curves.steps), c.Step, err)
	}
	return c, nil
}
