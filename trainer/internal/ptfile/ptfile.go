// Package ptfile reads the weights in a file that PyTorch's torch.save has written since its
// version 1.6 (.pt, .pth, .bin), without PyTorch and without running what such a file says.
//
//	file -> zip archive -> data.pkl, a pickle: names, shapes, where -> data/N: the numbers
//
// The format is that of torch/serialization.py (_save and _load; PyTorch 2.11.0), the pickle's
// opcodes those of CPython's pickletools. A pickle is a program: it may call any function of
// Python by its name. Here a machine of its own knows the opcodes of a state dict, and for the
// few names that one holds does what they would; every other name is refused, and nothing is
// ever called. Sizes are claims of the file until they are held against what lies in it, and
// nothing is allocated before that.
package ptfile

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// Bounds of what a file may make of a reader; those of a state dict are far below.
const (
	maxPickle  = 16 << 20 // bytes; a tensor takes 150
	maxSteps   = 1 << 20  // opcodes, and then entries of dicts; a tensor takes 40
	maxTensors = 1 << 15
	maxDepth   = 16   // dicts in dicts
	maxName    = 512  // bytes of a tensor's name
	maxRank    = 16   // dimensions
	maxUnpack  = 8    // bytes for a byte of the file; weights hardly compress
	maxViews   = 4    // numbers for a number of the file: tensors may share them
	slack      = 1024 // times both, so that small files may be of any kind
)

// advice is what to do about a file that holds more than weights.
const advice = `save the weights alone, in Python: torch.save(model.state_dict(), "weights.pt")`

// Read returns the tensors in a file by name: float32, and half, bfloat16 and double as float32.
// Dicts in dicts are names with dots between ("state_dict.encoder.weight"). Integers are no
// weights, and left out like all that is no tensor in a dict.
//
// Errors: NotFound; Usage when the file cannot be read; Corrupt for one that is cut, changed or of
// another kind; Unsupported for one that holds more than weights, or was not written as above.
func Read(path string) (map[string]onnxexport.Tensor, error) {
	const op = "ptfile.Read"
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.E(op, fault.NotFound, err)
	}
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a folder")
	}
	if err != nil {
		return nil, fault.Errorf(op, fault.Usage, "%s: %w", path, err)
	}
	tensors, err := Decode(file, info.Size())
	if err != nil {
		return nil, fault.Errorf(op, fault.KindOf(err), "%s %s", path, fault.Detail(err)) // in one, for who reads only the innermost
	}
	return tensors, nil
}

// Decode is [Read] for a file of size bytes that is open.
func Decode(r io.ReaderAt, size int64) (map[string]onnxexport.Tensor, error) {
	a, err := open(r, size)
	if err != nil {
		return nil, err
	}
	text, err := a.read("data.pkl", maxPickle)
	if err != nil {
		return nil, err
	}
	top, err := unpickle(text)
	if err != nil {
		return nil, err
	}
	d, ok := top.(dict)
	if !ok {
		return nil, refuse("holds no dict of tensors: %s", advice)
	}
	c := collector{tensors: map[string]tensor{}}
	if err := c.collect(d); err != nil {
		return nil, err
	}
	return a.load(c.tensors)
}

// corrupt and refuse go on where [Read] has named the file.
func corrupt(format string, args ...any) error {
	return fault.Errorf("", fault.Corrupt, format, args...)
}

func refuse(format string, args ...any) error {
	return fault.Errorf("", fault.Unsupported, format, args...)
}

// archive is the zip file.
type archive struct {
	size   int64 // bytes of the file
	root   string
	files  map[string]*zip.File
	budget uint64 // bytes that may still be unpacked
}

func open(r io.ReaderAt, size int64) (*archive, error) {
	head := make([]byte, min(size, 512))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, fault.E("", fault.Usage, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
	case bytes.HasPrefix(head, []byte{opProto}), len(head) > 262 && string(head[257:262]) == "ustar":
		return nil, refuse("is in the format that torch.save had before PyTorch 1.6: with a newer one %s", advice)
	default:
		return nil, corrupt("is cut, or no file of torch.save")
	}
	z, err := zip.NewReader(r, size)
	if err != nil || len(z.File) == 0 {
		return nil, corrupt("is cut: it has no directory of its parts")
	}
	a := &archive{size: size, files: map[string]*zip.File{}, budget: maxUnpack * (uint64(size) + slack)}
	a.root, _, _ = strings.Cut(z.File[0].Name, "/") // as PyTorch does
	for _, f := range z.File {
		if a.files[f.Name] != nil {
			return nil, corrupt("is damaged: it has a part twice")
		}
		a.files[f.Name] = f
	}
	if a.has("constants.pkl") {
		return nil, refuse(`is TorchScript, a program: save its weights alone, in Python: torch.save(torch.jit.load("model.pt").state_dict(), "weights.pt")`)
	}
	if !a.has("data.pkl") {
		return nil, refuse("is a zip archive that torch.save did not write: %s", advice)
	}
	if a.has("byteorder") { // older ones are little-endian
		order, err := a.read("byteorder", 16)
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, refuse("was written on a big-endian machine: load it in Python and save it on another")
		}
	}
	return a, nil
}

func (a *archive) has(name string) bool { return a.files[a.root+"/"+name] != nil }

// find returns a part whose size is not yet to be trusted, but can be that of a part.
func (a *archive) find(name string) (*zip.File, error) {
	f := a.files[a.root+"/"+name]
	switch {
	case f == nil:
		return nil, corrupt("is damaged: it has no part %.64q", name)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return nil, refuse("has parts that are compressed in another way than deflate")
	case f.CompressedSize64 > uint64(a.size), f.Method == zip.Store && f.CompressedSize64 != f.UncompressedSize64:
		return nil, corrupt("is damaged: a part is larger than the file")
	}
	return f, nil
}

// book lets a part be unpacked: bombs, and many parts that lie in one place, are more than the
// file can hold.
func (a *archive) book(f *zip.File) error {
	if f.UncompressedSize64 > a.budget {
		return refuse("would unpack to more than %d times its size", maxUnpack)
	}
	a.budget -= f.UncompressedSize64
	return nil
}

// read returns a part of at most limit bytes.
func (a *archive) read(name string, limit uint64) ([]byte, error) {
	f, err := a.find(name)
	if err != nil {
		return nil, err
	}
	if f.UncompressedSize64 > limit {
		return nil, refuse("has a %s of more than %d bytes: %s", name, limit, advice)
	}
	if err := a.book(f); err != nil {
		return nil, err
	}
	return unpack(f)
}

// unpack returns what is in a part that is booked. It does not use [zip.File.Open], which refuses
// what torch.serialization.set_crc32_options(False) writes: no checksums.
func unpack(f *zip.File) ([]byte, error) {
	r, err := f.OpenRaw()
	if err != nil {
		return nil, corrupt("is damaged: %w", err)
	}
	if f.Method == zip.Deflate {
		r = flate.NewReader(r)
	}
	data := make([]byte, f.UncompressedSize64)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, corrupt("is cut or changed: %w", err)
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 || err != io.EOF {
		return nil, corrupt("is changed: a part is longer than it should be")
	}
	if f.CRC32 != 0 && crc32.ChecksumIEEE(data) != f.CRC32 {
		return nil, corrupt("is changed: a part has another checksum")
	}
	return data, nil
}

// collector gives tensors their names.
type collector struct {
	tensors map[string]tensor
	path    []string // keys of the dicts that are being looked at
	steps   int
}

func (c *collector) collect(d dict) error {
	if len(c.path) > maxDepth { // or a dict that holds itself
		return refuse("holds dicts in dicts, more than %d deep: %s", maxDepth, advice)
	}
	for key, v := range d {
		if c.steps++; c.steps > maxSteps {
			return refuse("holds more than %d entries: %s", maxSteps, advice)
		}
		name, ok := key.(string)
		if n, is := key.(int64); !ok && is { // in the state of an optimizer
			name = strconv.FormatInt(n, 10)
		}
		c.path = append(c.path, name)
		var err error
		switch v := v.(type) {
		case dict:
			err = c.collect(v)
		case tensor:
			err = c.add(v)
		}
		if err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	return nil
}

func (c *collector) add(t tensor) error {
	length := len(c.path) - 1 // dots; names are only put together when they can be one
	for _, key := range c.path {
		length += len(key)
	}
	if length > maxName {
		return refuse("has a tensor with a name of more than %d bytes: %s", maxName, advice)
	}
	name := strings.Join(c.path, ".")
	if _, twice := c.tensors[name]; twice {
		return refuse("has two tensors that are called %q", name)
	}
	if len(c.tensors) == maxTensors {
		return refuse("holds more than %d tensors: %s", maxTensors, advice)
	}
	c.tensors[name] = t
	return nil
}

// load reads the numbers of tensors, once all that they claim has been checked.
func (a *archive) load(tensors map[string]tensor) (map[string]onnxexport.Tensor, error) {
	names := slices.Sorted(maps.Keys(tensors))
	views := map[string][]string{} // the tensors of a storage
	room := maxViews * slack       // numbers that tensors may have
	for _, name := range names {
		t := tensors[name]
		f, err := a.find("data/" + t.key)
		if err != nil {
			return nil, err
		}
		number, width := decoder(t.class)
		if f.UncompressedSize64%uint64(width) != 0 || f.UncompressedSize64/uint64(width) != uint64(t.count) {
			return nil, corrupt("is damaged: the numbers of %q are %d bytes, not %d of %d", name, f.UncompressedSize64, t.count, width)
		}
		if !t.fits() {
			return nil, corrupt("is damaged: %q reaches beyond its numbers", name)
		}
		if number == nil {
			continue
		}
		if views[t.key] == nil {
			if err := a.book(f); err != nil {
				return nil, err
			}
			room += maxViews * t.count
		}
		views[t.key] = append(views[t.key], name)
	}
	for _, names := range views {
		for _, name := range names {
			n, ok := tensors[name].size(room)
			if !ok {
				return nil, refuse("repeats its numbers more than %d times: save what torch.Tensor.clone makes of its tensors", maxViews)
			}
			room -= n
		}
	}
	out := make(map[string]onnxexport.Tensor, len(names))
	for _, key := range slices.Sorted(maps.Keys(views)) { // one storage at a time is in memory
		f, err := a.find("data/" + key)
		if err != nil {
			return nil, err
		}
		data, err := unpack(f)
		if err != nil {
			return nil, err
		}
		for _, name := range views[key] {
			out[name] = tensors[name].decode(data)
		}
	}
	return out, nil
}

// storage is where numbers lie: count of a class, such as torch.FloatStorage, in data/KEY.
type storage struct {
	class, key string
	count      int
}

// tensor is a view of a storage.
type tensor struct {
	storage
	offset        int // numbers, as are strides
	shape, stride []int
}

// fits says whether the last number of t lies in its storage.
func (t tensor) fits() bool {
	if slices.Contains(t.shape, 0) {
		return true
	}
	if t.offset >= t.count {
		return false
	}
	last := t.offset
	for i, d := range t.shape {
		if d > 1 && t.stride[i] > (t.count-1-last)/(d-1) {
			return false
		}
		last += (d - 1) * t.stride[i]
	}
	return true
}

// size is how many numbers t has, if they are at most limit. A stride of 0 lets it have any number.
func (t tensor) size(limit int) (n int, ok bool) {
	if slices.Contains(t.shape, 0) {
		return 0, true
	}
	n = 1
	for _, d := range t.shape {
		if d > limit/n {
			return 0, false
		}
		n *= d
	}
	return n, n <= limit
}

// decode returns the numbers of t, row by row, from those of its storage.
func (t tensor) decode(data []byte) onnxexport.Tensor {
	number, width := decoder(t.class)
	n, _ := t.size(math.MaxInt)
	out := onnxexport.Tensor{Shape: slices.Clone(t.shape), Data: make([]float32, n)}
	index, at := make([]int, len(t.shape)), t.offset
	for i := range out.Data {
		out.Data[i] = number(data[at*width:])
		for d := len(index) - 1; d >= 0; d-- {
			at += t.stride[d]
			if index[d]++; index[d] < t.shape[d] {
				break
			}
			at -= t.shape[d] * t.stride[d]
			index[d] = 0
		}
	}
	return out
}

// decoder returns what reads a number of a class of storage, nil for integers, and its bytes,
// 0 for what is no such class.
func decoder(class string) (number func([]byte) float32, width int) {
	switch class {
	case "torch.FloatStorage":
		return func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }, 4
	case "torch.DoubleStorage":
		return func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) }, 8
	case "torch.BFloat16Storage":
		return func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) }, 2
	case "torch.HalfStorage":
		return half, 2
	case "torch.LongStorage":
		return nil, 8
	case "torch.IntStorage":
		return nil, 4
	case "torch.ShortStorage":
		return nil, 2
	case "torch.CharStorage", "torch.ByteStorage", "torch.BoolStorage":
		return nil, 1
	}
	return nil, 0
}

func half(b []byte) float32 {
	h := binary.LittleEndian.Uint16(b)
	if h&0x7c00 == 0x7c00 { // infinite or no number
		return math.Float32frombits(uint32(h&0x8000)<<16 | 0x7f800000 | uint32(h&0x3ff)<<13)
	}
	return onnxexport.FromFloat16(h)
}
