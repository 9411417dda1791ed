// Package backbone starts a model from encoders that others trained: a ViT and a BERT, read
// from safetensors and ONNX files, and those of PyTorch's torch.save.
//
//	file -> Read -> tensors by their names there -> Import -> weights of the table of onnxexport
//
// Which name stands for what is data, layouts.json: Hugging Face BERT (BioBERT, MiniLM), ViT and
// DINOv2 (as safetensors, and as PyTorch exports it to ONNX), timm ViT (also the encoder of a
// masked autoencoder). What the model does not have is folded into what it has, so that the
// outputs stay equal: LayerScale into the output projections, three colour channels and their
// normalisation into one grey channel, BERT's segment embedding into the positions. Positions
// of another image size are resampled as PyTorch does (bicubic). Pooling layers, mask tokens and
// decoders are left behind; embeddings of view and time are zero.
package backbone

import (
	_ "embed" // the layouts
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/internal/ptfile"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// ReasonBackbone is the fault reason of a file that holds no encoder that is known.
const ReasonBackbone fault.Reason = "backbone"

// Tensors are the weights in a file, by their names there.
type Tensors map[string]onnxexport.Tensor

//go:embed layouts.json
var layoutsJSON []byte

// layout says how one kind of program names the weights of an encoder.
type layout struct {
	Name  string    `json:"name"`
	Tower string    `json:"tower"` // "image" or "text"
	Mean  []float64 `json:"mean"`  // of each channel, of pixels from 0 to 1
	Std   []float64 `json:"std"`
	// Names gives for each weight or layer here, # being its number, what it is called there:
	// several are put end to end.
	Names map[string][]string `json:"names"`
}

// optional are what an encoder need not have.
var optional = []string{"cls", "segment", "layers.#.attention.scale", "layers.#.mlp.scale"}

// Read returns what is in a .safetensors or .onnx file, or in one that torch.save wrote (.bin, .pt,
// .pth), of which nothing is run. Errors: NotFound, Corrupt, Usage, and Unsupported for other files
// and for what PyTorch saved besides weights.
func Read(path string) (Tensors, error) {
	const op = "backbone.Read"
	switch filepath.Ext(path) {
	case ".safetensors":
		t, _, err := trainer.ReadTensors(path)
		return t, fault.Wrap(op, err)
	case ".onnx":
		t, err := onnxexport.ReadGraph(path)
		return t, fault.Wrap(op, err)
	case ".bin", ".pt", ".pth":
		t, err := ptfile.Read(path)
		if fault.KindOf(err) == fault.Unsupported {
			return nil, fault.Reject(op, fault.Unsupported, ReasonBackbone, "%w", err)
		}
		return t, fault.Wrap(op, err)
	}
	return nil, fault.Reject(op, fault.Unsupported, ReasonBackbone, "%s: an encoder is read from a .safetensors or .onnx file, or a .bin, .pt or .pth file of torch.save", path)
}

// Import puts an encoder of either kind into w, without adapters and what follows it, and makes
// c say what it looks like. The number of heads is the only thing that its weights do not tell:
// that of c stays. Of the position embeddings of texts the first c.Text.MaxLength are taken. It
// returns the name of the layout.
//
// Errors: Unsupported with [ReasonBackbone] for tensors of no known layout, naming what is
// missing; Invalid for a shape that c cannot have.
func Import(c *model.Config, w onnxexport.Weights, t Tensors) (string, error) {
	const op = "backbone.Import"
	var layouts []layout
	if err := json.Unmarshal(layoutsJSON, &layouts); err != nil {
		return "", fault.E(op, fault.Internal, err)
	}
	var nearest string // what the layout that fits best misses
	most := 0
	for _, l := range layouts {
		s := newSource(l, t)
		found, missing := s.complete()
		if missing == "" {
			own, err := s.convert(c)
			if err != nil {
				return "", fault.Wrap(op, err)
			}
			maps.Copy(w, own)
			return l.Name, nil
		}
		if found > most {
			most, nearest = found, fmt.Sprintf("it looks most like %s, but has no %s", l.Name, missing)
		}
	}
	if nearest == "" {
		nearest = "none of its names is known"
	}
	return "", fault.Reject(op, fault.Unsupported, ReasonBackbone, "this is no encoder that is known: %s", nearest)
}

// source is an encoder seen through a layout.
type source struct {
	layout
	prefix  string // of all names
	layers  int
	tensors Tensors
}

// newSource finds out what stands before all names, and how many layers there are.
func newSource(l layout, t Tensors) source {
	s := source{layout: l, tensors: t}
	probe := strings.ReplaceAll(l.Names["layers.#.norm1"][0], "#", "0")
	// Of several the first by name, so that a file is always read alike.
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(t))) {
		for _, end := range []string{".weight", ".gamma"} {
			// A prefix is whole names: decoder_blocks are no blocks.
			if prefix, ok := strings.CutSuffix(name, probe+end); ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
				s.prefix = prefix
			}
		}
	}
	for s.layers = 0; ; s.layers++ {
		if _, ok := s.part("layers." + strconv.Itoa(s.layers) + ".norm1.weight"); !ok {
			return s
		}
	}
}

// there returns what a weight here is called there.
func (s source) there(name string) []string {
	fields := strings.Split(name, ".")
	number := ""
	if fields[0] == "layers" {
		number, fields[1] = fields[1], "#"
	}
	last := ""
	names, ok := s.Names[strings.Join(fields, ".")]
	if !ok && len(fields) > 1 {
		last = "." + fields[len(fields)-1]
		names = s.Names[strings.Join(fields[:len(fields)-1], ".")]
	}
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = s.prefix + strings.ReplaceAll(n, "#", number) + last
	}
	return out
}

// part returns a weight as it is there, several put end to end.
func (s source) part(name string) (onnxexport.Tensor, bool) {
	var out onnxexport.Tensor
	for i, n := range s.there(name) {
		t, ok := s.tensors[n]
		for old, now := range map[string]string{".gamma": ".weight", ".beta": ".bias"} {
			if !ok && strings.HasSuffix(n, now) {
				t, ok = s.tensors[strings.TrimSuffix(n, now)+old]
			}
		}
		if !ok {
			return out, false
		}
		if i == 0 {
			out.Shape = slices.Clone(t.Shape)
		} else if len(t.Shape) > 1 && len(out.Shape) > 1 {
			out.Shape[1] += t.Shape[1]
		}
		out.Data = append(out.Data[:len(out.Data):len(out.Data)], t.Data...)
	}
	return out, len(out.Data) > 0
}

// complete counts what of the layout is there and names what is not.
func (s source) complete() (found int, missing string) {
	for _, row := range slices.Sorted(maps.Keys(s.Names)) {
		if slices.Contains(optional, row) {
			continue
		}
		for l := range max(s.layers, 1) {
			name := strings.ReplaceAll(row, "#", strconv.Itoa(l))
			ends := []string{".weight", ".bias"}
			if row == "vocabulary" || row == "position" {
				ends = []string{""}
			}
			for _, end := range ends {
				if _, ok := s.part(name + end); ok {
					found++
				} else if missing == "" {
					missing = strings.Join(s.there(name+end), ", ")
				}
			}
		}
	}
	return found, missing
}

// convert returns the weights of a tower and writes into c what they tell of it.
func (s source) convert(c *model.Config) (onnxexport.Weights, error) {
	const op = "backbone.convert"
	next := *c
	tower := &next.Text.Tower
	if s.Tower == "image" {
		tower = &next.Image.Tower
	}
	up, _ := s.part("layers.0.mlp.up.weight")
	if len(up.Shape) != 2 || up.Shape[1] == 0 {
		return nil, fault.Reject(op, fault.Invalid, ReasonBackbone, "the first feed-forward weight is no matrix")
	}
	tower.Width, tower.Layers, tower.MLPRatio = up.Shape[1], s.layers, up.Shape[0]/up.Shape[1]
	w := onnxexport.Weights{}
	var err error
	if s.Tower == "image" {
		err = s.imageInput(&next.Image, w)
	} else {
		err = s.textInput(&next.Text, w)
	}
	if err != nil {
		return nil, err
	}
	if err := next.Validate(); err != nil {
		return nil, fault.Wrap(op, err)
	}
	for _, row := range onnxexport.Shapes(next) {
		name, ours := strings.CutPrefix(row.Name, s.Tower+".")
		if _, done := w[row.Name]; !ours || done || row.Group != onnxexport.Base {
			continue
		}
		t, ok := s.weight(name, tower.Width)
		if !ok || !slices.Equal(t.Shape, row.Shape) || len(t.Data) != size(row.Shape) {
			return nil, fault.Reject(op, fault.Invalid, ReasonBackbone, "%s has shape %v, want %v", strings.Join(s.there(name), ", "), t.Shape, row.Shape)
		}
		w[row.Name] = t
	}
	*c = next
	return w, nil
}

// weight returns a weight of a layer: one third of three that are kept as one, and with the
// LayerScale that follows it multiplied in.
func (s source) weight(name string, width int) (onnxexport.Tensor, bool) {
	t, ok := s.part(name)
	stem, end := name[:strings.LastIndex(name, ".")], name[strings.LastIndex(name, ".")+1:]
	for i, third := range []string{"query", "key", "value"} {
		if before, is := strings.CutSuffix(stem, "."+third); is && !ok {
			all, whole := s.part(before + ".qkv." + end)
			n := len(all.Data) / 3
			if !whole || all.Shape[0] != 3*width {
				return all, false
			}
			return onnxexport.Tensor{Shape: append([]int{width}, all.Shape[1:]...), Data: all.Data[i*n : (i+1)*n]}, true
		}
	}
	for from, scale := range map[string]string{"attention.output": "attention.scale", "mlp.down": "mlp.scale"} {
		before, is := strings.CutSuffix(stem, from)
		by, scaled := s.part(before + scale)
		if !ok || !is || !scaled {
			continue
		}
		rows := len(by.Data)
		if rows == 0 || len(t.Data)%rows != 0 {
			return t, false
		}
		t.Data = slices.Clone(t.Data)
		for r := range rows {
			row := t.Data[r*len(t.Data)/rows:][:len(t.Data)/rows]
			for i := range row {
				row[i] *= by.Data[r]
			}
		}
	}
	return t, ok
}

// imageInput fills in what stands before the layers of an image tower.
func (s source) imageInput(c *model.ImageConfig, w onnxexport.Weights) error {
	const op = "backbone.imageInput"
	patch, _ := s.part("patch.weight")
	bias, _ := s.part("patch.bias")
	if len(patch.Shape) != 4 || patch.Shape[0] != c.Width || patch.Shape[1] != len(s.Mean) || patch.Shape[2] != patch.Shape[3] || patch.Shape[2] == 0 ||
		len(patch.Data) != size(patch.Shape) || len(bias.Data) != c.Width {
		return fault.Reject(op, fault.Invalid, ReasonBackbone, "the patch projection has shape %v, want [%d %d P P]", patch.Shape, c.Width, len(s.Mean))
	}
	c.Patch = patch.Shape[2]
	if c.Size%c.Patch != 0 {
		return fault.Reject(op, fault.Invalid, ReasonBackbone, "patches of %d pixels do not fill an image of %d", c.Patch, c.Size)
	}
	cls, has := s.part("cls")
	c.CLS = has
	area := c.Patch * c.Patch
	fold := onnxexport.Tensor{Shape: []int{c.Width, area}, Data: make([]float32, c.Width*area)}
	bias.Data = slices.Clone(bias.Data)
	for o := range c.Width {
		shift := 0.0
		for i := range area {
			sum := 0.0
			for ch := range s.Mean {
				v := float64(patch.Data[(o*len(s.Mean)+ch)*area+i]) / s.Std[ch]
				sum += v * c.Std
				shift += v * (c.Mean - s.Mean[ch])
			}
			fold.Data[o*area+i] = float32(sum)
		}
		bias.Data[o] += float32(shift)
	}
	w["image.patch.weight"], w["image.patch.bias"] = fold, bias
	if has {
		if len(cls.Data) != c.Width {
			return fault.Reject(op, fault.Invalid, ReasonBackbone, "the CLS token has %d numbers, not %d", len(cls.Data), c.Width)
		}
		w["image.cls"] = onnxexport.Tensor{Shape: []int{c.Width}, Data: cls.Data}
	}
	for name, shape := range map[string][]int{"view": {2, c.Width}, "time": {2, c.Width}, "days": {c.Width}} {
		w["image."+name] = onnxexport.Tensor{Shape: shape, Data: make([]float32, size(shape))}
	}
	position, _ := s.part("position")
	first := c.Tokens() - c.Patches()
	side := int(math.Round(math.Sqrt(float64(len(position.Data)/c.Width - first))))
	if len(position.Data) != (side*side+first)*c.Width {
		return fault.Reject(op, fault.Invalid, ReasonBackbone, "%d position embeddings are not those of a square image: register tokens are not supported", len(position.Data)/c.Width)
	}
	own := slices.Concat(position.Data[:first*c.Width], resample(position.Data[first*c.Width:], side, c.Size/c.Patch, c.Width))
	w["image.position"] = onnxexport.Tensor{Shape: []int{c.Tokens(), c.Width}, Data: own}
	return nil
}

// textInput fills in what stands before the layers of a text tower.
func (s source) textInput(c *model.TextConfig, w onnxexport.Weights) error {
	const op = "backbone.textInput"
	vocabulary, _ := s.part("vocabulary")
	position, _ := s.part("position")
	if len(vocabulary.Shape) != 2 || vocabulary.Shape[1] != c.Width || len(position.Shape) != 2 || position.Shape[1] != c.Width {
		return fault.Reject(op, fault.Invalid, ReasonBackbone, "the embeddings of words and positions have shapes %v and %v, not of width %d", vocabulary.Shape, position.Shape, c.Width)
	}
	c.Vocabulary, c.VocabularyWidth = vocabulary.Shape[0], 0
	c.MaxLength = min(c.MaxLength, position.Shape[0])
	position = onnxexport.Tensor{Shape: []int{c.MaxLength, c.Width}, Data: slices.Clone(position.Data[:c.MaxLength*c.Width])}
	if segment, ok := s.part("segment"); ok && len(segment.Data) >= c.Width {
		for i := range position.Data {
			position.Data[i] += segment.Data[i%c.Width]
		}
	}
	w["text.vocabulary"], w["text.position"] = vocabulary, position
	return nil
}

// resample is torch.nn.functional.interpolate (bicubic, a = -0.75, no antialiasing) of a square
// of vectors from one side to another.
func resample(data []float32, from, to, width int) []float32 {
	if from == to {
		return data
	}
	const a = -0.75
	kernel := func(x float64) float64 {
		switch x = math.Abs(x); {
		case x <= 1:
			return (a+2)*x*x*x - (a+3)*x*x + 1
		case x < 2:
			return a*x*x*x - 5*a*x*x + 8*a*x - 4*a
		}
		return 0
	}
	type tap struct {
		at     int
		weight float64
	}
	taps := make([][4]tap, to)
	for i := range taps {
		x := (float64(i)+0.5)*float64(from)/float64(to) - 0.5
		for k := range 4 {
			at := int(math.Floor(x)) - 1 + k
			taps[i][k] = tap{min(max(at, 0), from-1), kernel(x - float64(at))}
		}
	}
	out := make([]float32, to*to*width)
	sum := make([]float64, width)
	for y := range to {
		for x := range to {
			clear(sum)
			for _, ty := range taps[y] {
				for _, tx := range taps[x] {
					weight := ty.weight * tx.weight
					for i, v := range data[(ty.at*from+tx.at)*width:][:width] {
						sum[i] += weight * float64(v)
					}
				}
			}
			for i, v := range sum {
				out[(y*to+x)*width+i] = float32(v)
			}
		}
	}
	return out
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
