package trainer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

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

// head is what the metadata of a checkpoint holds.
type head struct {
	Step       int               `json:"step"`
	Config     Config            `json:"config"`
	Labels     map[string]string `json:"labels"`
	Counters   map[string]int    `json:"counters"`
	Steps      [][]string        `json:"steps"`      // of Curves
	Validation [][]string        `json:"validation"` // of Curves
}

// The metadata of a safetensors file are strings.
const (
	metadataKey   = "__metadata__"
	checkpointKey = "radstream.checkpoint" // a head, as JSON
	sumKey        = "radstream.sha256"     // of all else; see checksum
	maxHeader     = 100 << 20              // the format's own bound
)

// tensorEntry is a tensor in the header of a safetensors file.
type tensorEntry struct {
	Type    string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

// WriteCheckpoint writes a safetensors file in the place of the one at path, so that at any
// time, whatever ends the process, there is one whole checkpoint. Errors: Usage when the folder
// cannot be written or is full; the one before is left alone.
func WriteCheckpoint(path string, c *Checkpoint) (err error) {
	const op = "trainer.WriteCheckpoint"
	var data []byte
	header := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(c.State.Tensors)) {
		t := c.State.Tensors[name]
		start := len(data)
		for _, v := range t.Data {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		header[name] = tensorEntry{"F32", t.Shape, [2]int{start, len(data)}}
	}
	entries, err := json.Marshal(header)
	var meta []byte
	if err == nil {
		meta, err = json.Marshal(head{c.Step, c.Config, c.Labels, c.State.Counters, c.Curves.table(exact), c.Curves.validations(exact)})
	}
	if err == nil {
		header[metadataKey] = map[string]string{checkpointKey: string(meta), sumKey: checksum(entries, meta, data)}
		meta, err = json.Marshal(header)
	}
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	for len(meta)%8 != 0 { // numbers begin at a multiple of 8; the format fills up with spaces
		meta = append(meta, ' ')
	}
	file, err := os.Create(path + ".tmp") // which a killed process may have left
	if err != nil {
		return fault.E(op, fault.Usage, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // what is wrong is said already
		}
	}()
	if _, err = file.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(meta)))); err == nil {
		_, err = file.Write(meta)
	}
	if err == nil {
		_, err = file.Write(data)
	}
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return fault.E(op, fault.Usage, err)
}

// checksum is that of the tensors' entries, the head and the numbers.
func checksum(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}

// ReadCheckpoint reads what [WriteCheckpoint] wrote. Errors: NotFound; Corrupt for a file that is
// cut or changed, and Invalid for another one.
func ReadCheckpoint(path string) (*Checkpoint, error) {
	const op = "trainer.ReadCheckpoint"
	file, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, fault.E(op, fault.NotFound, err)
	}
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	corrupt := func(what string) error {
		return fault.Errorf(op, fault.Corrupt, "the checkpoint %s %s", path, what)
	}
	if len(file) < 8 {
		return nil, corrupt("is cut")
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader || int(n) > len(file)-8 {
		return nil, corrupt("is cut")
	}
	text, data := file[8:8+n], file[8+n:]
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, corrupt("is no safetensors file")
	}
	var meta map[string]string
	if entries[metadataKey] == nil || json.Unmarshal(entries[metadataKey], &meta) != nil || meta[checkpointKey] == "" {
		return nil, fault.Errorf(op, fault.Invalid, "%s holds tensors, but is no checkpoint of radtrain", path)
	}
	delete(entries, metadataKey)
	var h head
	if err := json.Unmarshal([]byte(meta[checkpointKey]), &h); err != nil {
		return nil, corrupt("has a damaged header")
	}
	if again, err := json.Marshal(entries); err != nil || checksum(again, []byte(meta[checkpointKey]), data) != meta[sumKey] {
		return nil, corrupt("is cut or changed: its sha256 is another")
	}
	c := &Checkpoint{Step: h.Step, Config: h.Config, Labels: h.Labels, State: State{map[string]onnxexport.Tensor{}, h.Counters}}
	for name, raw := range entries {
		var e tensorEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, corrupt("has a damaged header")
		}
		size := 1
		for _, d := range e.Shape {
			size *= d
		}
		if e.Type != "F32" || e.Offsets[0] < 0 || e.Offsets[1] > len(data) || e.Offsets[1]-e.Offsets[0] != 4*size {
			return nil, corrupt("has a damaged header")
		}
		t := onnxexport.Tensor{Shape: e.Shape, Data: make([]float32, size)}
		for i := range t.Data {
			t.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[e.Offsets[0]+4*i:]))
		}
		c.State.Tensors[name] = t
	}
	if c.Curves, err = parseCurves(h.Steps, h.Validation); err != nil || len(c.Curves.steps) != c.Step {
		return nil, corrupt("has damaged curves")
	}
	return c, nil
}
