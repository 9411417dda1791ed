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

// Of a safetensors file (github.com/huggingface/safetensors): the length of a JSON header, the
// header, the numbers.
const (
	metadataKey = "__metadata__"
	sumKey      = "radstream.sha256" // of all else: entries, metadata and numbers
	maxHeader   = 100 << 20          // bytes; the format's own bound
)

// tensorEntry is a tensor in the header.
type tensorEntry struct {
	Type    string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

// WriteTensors writes a safetensors file in the place of the one at path, so that at any time,
// whatever ends the process, there is a whole one. Errors: Usage when the folder cannot be
// written or is full, and for a path that is a folder or a device; the file before is left alone.
func WriteTensors(path string, tensors map[string]onnxexport.Tensor, metadata map[string]string) (err error) {
	const op = "trainer.WriteTensors"
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // a device would be gone
		return fault.Errorf(op, fault.Usage, "%s is no file that another could take the place of: name another", path)
	}
	var data []byte
	header := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		t := tensors[name]
		start := len(data)
		for _, v := range t.Data {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		header[name] = tensorEntry{"F32", t.Shape, [2]int{start, len(data)}}
	}
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	if metadata[sumKey], err = checksum(header, metadata, data); err != nil {
		return fault.E(op, fault.Internal, err)
	}
	header[metadataKey] = metadata
	text, err := json.Marshal(header)
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	for len(text)%8 != 0 { // numbers begin at a multiple of 8; the format fills up with spaces
		text = append(text, ' ')
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
	for _, part := range [][]byte{binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, data} {
		if err == nil {
			_, err = file.Write(part)
		}
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

// checksum is that of the tensors' entries, the metadata but for itself, and the numbers.
func checksum(entries any, metadata map[string]string, data []byte) (string, error) {
	metadata = maps.Clone(metadata)
	delete(metadata, sumKey)
	h := sha256.New()
	for _, part := range []any{entries, metadata} {
		text, err := json.Marshal(part) // whose keys are sorted
		if err != nil {
			return "", err
		}
		h.Write(text)
	}
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)), nil
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

// ReadTensors reads a safetensors file, of [WriteTensors] or another program: what it holds as
// float32 (F32), float16 or bfloat16. Integers are no weights and are left out. Errors: NotFound;
// Corrupt for a file that is cut or changed, as far as it can be told; Unsupported for numbers of
// another kind.
func ReadTensors(path string) (tensors map[string]onnxexport.Tensor, metadata map[string]string, err error) {
	const op = "trainer.ReadTensors"
	file, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil, fault.E(op, fault.NotFound, err)
	}
	if err != nil {
		return nil, nil, fault.E(op, fault.Usage, err)
	}
	corrupt := func(what string) error { return fault.Errorf(op, fault.Corrupt, "%s %s", path, what) }
	if len(file) < 8 {
		return nil, nil, corrupt("is cut")
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader || int(n) > len(file)-8 {
		return nil, nil, corrupt("is cut, or no safetensors file")
	}
	text, data := file[8:8+n], file[8+n:]
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, nil, corrupt("is no safetensors file, or damaged")
	}
	if raw := entries[metadataKey]; raw != nil {
		if err := json.Unmarshal(raw, &metadata); err != nil {
			return nil, nil, corrupt("has damaged metadata")
		}
	}
	delete(entries, metadataKey)
	if want := metadata[sumKey]; want != "" {
		if sum, err := checksum(entries, metadata, data); err != nil || sum != want {
			return nil, nil, corrupt("is cut or changed: its sha256 is another")
		}
	}
	tensors = make(map[string]onnxexport.Tensor, len(entries))
	for name, raw := range entries {
		var e tensorEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, nil, corrupt("has a damaged header")
		}
		number, width := decoder(e.Type)
		if width == 0 {
			return nil, nil, fault.Errorf(op, fault.Unsupported, "%s holds %s as %s: save it as float32", path, name, e.Type)
		}
		size, fits := 1, e.Offsets[0] >= 0 && e.Offsets[0] <= e.Offsets[1] && e.Offsets[1] <= len(data)
		for _, d := range e.Shape {
			fits = fits && d >= 0 && (d == 0 || size <= len(data)/d)
			if fits {
				size *= d
			}
		}
		if !fits || e.Offsets[1]-e.Offsets[0] != width*size {
			return nil, nil, corrupt("has a damaged header")
		}
		if number == nil {
			continue
		}
		t := onnxexport.Tensor{Shape: e.Shape, Data: make([]float32, size)}
		for i := range t.Data {
			t.Data[i] = number(data[e.Offsets[0]+width*i:])
		}
		tensors[name] = t
	}
	return tensors, metadata, nil
}

// decoder returns what reads a number of a type of safetensors, nil for integers, and its bytes,
// 0 for what is not read.
func decoder(kind string) (number func([]byte) float32, width int) {
	switch kind {
	case "F32":
		return func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }, 4
	case "BF16":
		return func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) }, 2
	case "F16":
		return func(b []byte) float32 { return onnxexport.FromFloat16(binary.LittleEndian.Uint16(b)) }, 2
	case "I64", "U64":
		return nil, 8
	case "I32", "U32":
		return nil, 4
	case "I16", "U16":
		return nil, 2
	case "I8", "U8", "BOOL":
		return nil, 1
	}
	return nil, 0
}
