package backbone_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/backbone"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// micro has two layers, so that numbers of layers matter.
func micro() model.Config {
	c := model.Small()
	c.Image.Width, c.Image.Layers, c.Image.Heads, c.Image.MLPRatio, c.Image.Size, c.Image.Patch = 8, 2, 2, 2, 56, 14
	c.Text.Width, c.Text.Layers, c.Text.Heads, c.Text.MLPRatio, c.Text.Vocabulary, c.Text.MaxLength = 8, 2, 2, 2, 20, 16
	c.Joint, c.Adapter = 8, 2
	return c
}

// outside names the weights of a model as another program would, under prefix. LayerScales
// are one half, and the projections before them twice as large.
func outside(w onnxexport.Weights, names map[string]string, mean, std []float64, prefix string) backbone.Tensors {
	out := backbone.Tensors{}
	half := onnxexport.Tensor{Shape: []int{8}, Data: slices.Repeat([]float32{0.5}, 8)}
	for name, t := range w {
		tower, local, _ := strings.Cut(name, ".")
		if (tower == "text") != (mean == nil) {
			continue
		}
		number := ""
		if parts := strings.Split(local, "."); parts[0] == "layers" {
			number = parts[1]
			local = strings.Replace(local, number, "#", 1)
		}
		to, ok := names[local]
		if stem := strings.TrimSuffix(strings.TrimSuffix(local, ".weight"), ".bias"); !ok && names[stem] != "" {
			to, ok = names[stem]+local[len(stem):], true
			if scale := names[stem+".scale"]; scale != "" {
				out[prefix+strings.Replace(scale, "#", number, 1)] = half
				t = onnxexport.Tensor{Shape: t.Shape, Data: slices.Clone(t.Data)}
				for i := range t.Data {
					t.Data[i] *= 2
				}
			}
		}
		if !ok {
			continue
		}
		switch local {
		case "patch.weight": // a third of each channel's share of the grey one
			colour := onnxexport.Tensor{Shape: []int{8, 3, 14, 14}}
			for o := range 8 {
				for ch := range 3 {
					for _, v := range t.Data[o*196:][:196] {
						colour.Data = append(colour.Data, v*float32(std[ch]/0.25/3))
					}
				}
			}
			t = colour
		case "patch.bias":
			t = onnxexport.Tensor{Shape: t.Shape, Data: slices.Clone(t.Data)}
			for o := range t.Data {
				for i := range 196 {
					for ch := range 3 {
						t.Data[o] -= w["image.patch.weight"].Data[o*196+i] * float32((0.5-mean[ch])/0.25/3)
					}
				}
			}
		case "position", "cls":
			if tower == "text" {
				break
			}
			t = onnxexport.Tensor{Shape: append([]int{1}, t.Shape...), Data: t.Data}
		}
		out[prefix+strings.Replace(to, "#", number, 1)] = t
	}
	return out
}

var (
	imagenet    = []float64{0.485, 0.456, 0.406}
	imagenetStd = []float64{0.229, 0.224, 0.225}
	halves      = []float64{0.5, 0.5, 0.5}
)

var dinov2 = map[string]string{
	"patch": "embeddings.patch_embeddings.projection", "cls": "embeddings.cls_token", "position": "embeddings.position_embeddings",
	"layers.#.norm1": "encoder.layer.#.norm1", "layers.#.norm2": "encoder.layer.#.norm2", "norm": "layernorm",
	"layers.#.attention.query": "encoder.layer.#.attention.attention.query", "layers.#.attention.key": "encoder.layer.#.attention.attention.key",
	"layers.#.attention.value": "encoder.layer.#.attention.attention.value", "layers.#.attention.output": "encoder.layer.#.attention.output.dense",
	"layers.#.attention.output.scale": "encoder.layer.#.layer_scale1.lambda1", "layers.#.mlp.down.scale": "encoder.layer.#.layer_scale2.lambda1",
	"layers.#.mlp.up": "encoder.layer.#.mlp.fc1", "layers.#.mlp.down": "encoder.layer.#.mlp.fc2",
}

var vit = map[string]string{
	"patch": "embeddings.patch_embeddings.projection", "cls": "embeddings.cls_token", "position": "embeddings.position_embeddings",
	"layers.#.norm1": "encoder.layer.#.layernorm_before", "layers.#.norm2": "encoder.layer.#.layernorm_after", "norm": "layernorm",
	"layers.#.attention.query": "encoder.layer.#.attention.attention.query", "layers.#.attention.key": "encoder.layer.#.attention.attention.key",
	"layers.#.attention.value": "encoder.layer.#.attention.attention.value", "layers.#.attention.output": "encoder.layer.#.attention.output.dense",
	"layers.#.mlp.up": "encoder.layer.#.intermediate.dense", "layers.#.mlp.down": "encoder.layer.#.output.dense",
}

var timm = map[string]string{
	"patch": "patch_embed.proj", "cls": "cls_token", "position": "pos_embed",
	"layers.#.norm1": "blocks.#.norm1", "layers.#.norm2": "blocks.#.norm2", "norm": "norm",
	"layers.#.attention.query": "blocks.#.q", "layers.#.attention.key": "blocks.#.k", "layers.#.attention.value": "blocks.#.v",
	"layers.#.attention.output": "blocks.#.attn.proj", "layers.#.mlp.up": "blocks.#.mlp.fc1", "layers.#.mlp.down": "blocks.#.mlp.fc2",
}

var bert = map[string]string{
	"vocabulary": "embeddings.word_embeddings.weight", "position": "embeddings.position_embeddings.weight", "embedding_norm": "embeddings.LayerNorm",
	"layers.#.attention.query": "encoder.layer.#.attention.self.query", "layers.#.attention.key": "encoder.layer.#.attention.self.key",
	"layers.#.attention.value": "encoder.layer.#.attention.self.value", "layers.#.attention.output": "encoder.layer.#.attention.output.dense",
	"layers.#.norm1": "encoder.layer.#.attention.output.LayerNorm", "layers.#.norm2": "encoder.layer.#.output.LayerNorm",
	"layers.#.mlp.up": "encoder.layer.#.intermediate.dense", "layers.#.mlp.down": "encoder.layer.#.output.dense",
}

// files are the weights of one model as programs would have saved them.
func files(w onnxexport.Weights) map[string]backbone.Tensors {
	all := map[string]backbone.Tensors{
		"dinov2": outside(w, dinov2, imagenet, imagenetStd, "backbone."),
		"vit":    outside(w, vit, halves, halves, "vit."),
		"timm":   outside(w, timm, imagenet, imagenetStd, ""),
	}
	for l := range 2 { // one matrix for all three
		for _, end := range []string{"weight", "bias"} {
			var all3 onnxexport.Tensor
			for _, part := range []string{"q", "k", "v"} {
				name := fmt.Sprintf("blocks.%d.%s.%s", l, part, end)
				t := all["timm"][name]
				all3.Data = append(all3.Data, t.Data...)
				all3.Shape = append([]int{24}, t.Shape[1:]...)
				delete(all["timm"], name)
			}
			all["timm"][fmt.Sprintf("blocks.%d.attn.qkv.%s", l, end)] = all3
		}
	}
	// The decoder that a masked autoencoder has besides, of another width.
	for _, name := range []string{"decoder_blocks.0.norm1.weight", "decoder_blocks.0.norm1.bias", "decoder_pos_embed", "mask_token"} {
		all["timm"][name] = onnxexport.Tensor{Shape: []int{4}, Data: make([]float32, 4)}
	}
	text := outside(w, bert, nil, nil, "bert.")
	for name, t := range maps.Clone(text) { // as in old files
		for now, old := range map[string]string{"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"} {
			if before, is := strings.CutSuffix(name, now); is {
				delete(text, name)
				text[before+old] = t
			}
		}
	}
	segment := make([]float32, 16)
	segment[3] = 0.25
	text["bert.embeddings.token_type_embeddings.weight"] = onnxexport.Tensor{Shape: []int{2, 8}, Data: segment}
	long := text["bert.embeddings.position_embeddings.weight"]
	long = onnxexport.Tensor{Shape: []int{32, 8}, Data: append(slices.Clone(long.Data), make([]float32, 128)...)}
	for i := range 16 {
		long.Data[i*8+3] -= 0.25
	}
	text["bert.embeddings.position_embeddings.weight"] = long
	all["bert"] = text
	return all
}

func TestImport(t *testing.T) {
	c := micro()
	w := onnxexport.Untrained(c, 4)
	for _, zero := range []string{"image.view", "image.time", "image.days"} {
		clear(w[zero].Data)
	}
	for name, tensors := range files(w) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "encoder.safetensors")
			if err := trainer.WriteTensors(path, tensors, nil); err != nil {
				t.Fatal(err)
			}
			read, err := backbone.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			got, seen := onnxexport.Weights{}, model.Small()
			seen.Image.Size, seen.Image.Heads, seen.Text.Heads, seen.Text.MaxLength, seen.Joint, seen.Adapter = 56, 2, 2, 16, 8, 2
			layout, err := backbone.Import(&seen, got, read)
			if err != nil || layout != name {
				t.Fatalf("taken for %q: %v", layout, err)
			}
			tower, want := "image.", c
			if name == "bert" {
				tower, want.Image = "text.", seen.Image
			} else {
				want.Text = seen.Text
			}
			if d := cmp.Diff(want, seen); d != "" {
				t.Errorf("architecture (-want +got)\n%s", d)
			}
			for _, row := range onnxexport.Shapes(c) {
				if row.Group != onnxexport.Base || !strings.HasPrefix(row.Name, tower) {
					continue
				}
				if d := cmp.Diff(w[row.Name], got[row.Name], cmpopts.EquateApprox(0, 1e-5)); d != "" {
					t.Errorf("%s differs (-want +got)\n%s", row.Name, d)
				}
			}
		})
	}
}

func TestImportRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		change func(backbone.Tensors)
		kind   fault.Kind
		says   string
	}{
		"nothing known":  {"vit", func(t backbone.Tensors) { clear(t) }, fault.Unsupported, "none of its names is known"},
		"a layer's bias": {"bert", func(t backbone.Tensors) { delete(t, "bert.encoder.layer.1.output.dense.bias") }, fault.Unsupported, "encoder.layer.1.output.dense.bias"},
		"register tokens": {"dinov2", func(t backbone.Tensors) {
			p := t["backbone.embeddings.position_embeddings"]
			t["backbone.embeddings.position_embeddings"] = onnxexport.Tensor{Shape: []int{1, 21, 8}, Data: append(slices.Clone(p.Data), make([]float32, 32)...)}
		}, fault.Invalid, "register tokens"},
		"another width": {"timm", func(t backbone.Tensors) {
			t["norm.weight"] = onnxexport.Tensor{Shape: []int{4}, Data: make([]float32, 4)}
		}, fault.Invalid, "norm.weight"},
		"patches that do not fit": {"vit", func(t backbone.Tensors) {
			t["vit.embeddings.patch_embeddings.projection.weight"] = onnxexport.Tensor{Shape: []int{8, 3, 16, 16}, Data: make([]float32, 8*3*256)}
		}, fault.Invalid, "do not fill"},
	} {
		t.Run(name, func(t *testing.T) {
			tensors := files(onnxexport.Untrained(micro(), 4))[c.file]
			c.change(tensors)
			seen, w := model.Small(), onnxexport.Weights{}
			seen.Image.Size, seen.Image.Heads, seen.Text.Heads, seen.Text.MaxLength, seen.Joint, seen.Adapter = 56, 2, 2, 16, 8, 2
			before := seen
			_, err := backbone.Import(&seen, w, tensors)
			if fault.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v, want %v with %q", err, c.kind, c.says)
			}
			if seen != before || len(w) > 0 {
				t.Error("what was refused has left something behind")
			}
		})
	}
	for path, c := range map[string]struct {
		kind   fault.Kind
		reason fault.Reason
		says   string
	}{
		"model.h5":                              {fault.Unsupported, backbone.ReasonBackbone, ".bin, .pt or .pth"},
		"model.pt":                              {fault.NotFound, "", "model.pt"},
		"../internal/ptfile/testdata/evil.pt":   {fault.Unsupported, backbone.ReasonBackbone, `the file wants to run "posix.system"`},
		"../internal/ptfile/testdata/legacy.pt": {fault.Unsupported, backbone.ReasonBackbone, "torch.save(model.state_dict()"},
	} {
		_, err := backbone.Read(path)
		if fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.reason || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v, want %v with %q", path, err, c.kind, c.says)
		}
	}
}

// TestTorch: one BERT gives the same, whether PyTorch saved it, alone or as part of a run, or
// safetensors did. ptfile/testdata/make.py writes all three.
func TestTorch(t *testing.T) {
	read := func(name string) backbone.Tensors {
		t.Helper()
		tensors, err := backbone.Read(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return tensors
	}
	imported := func(tensors backbone.Tensors) (model.Config, onnxexport.Weights) {
		t.Helper()
		c, w := micro(), onnxexport.Weights{}
		layout, err := backbone.Import(&c, w, tensors)
		if err != nil || layout != "bert" {
			t.Fatalf("taken for %q: %v", layout, err)
		}
		return c, w
	}
	want := read("bert.safetensors")
	if len(want) != 37 {
		t.Errorf("%d tensors", len(want))
	}
	if d := cmp.Diff(want, read("bert.bin")); d != "" {
		t.Errorf("bert.bin (-safetensors +torch.save)\n%s", d)
	}
	wantConfig, wantWeights := imported(want)
	config, weights := imported(read("bert.pth"))
	if d := cmp.Diff(wantConfig, config); d != "" {
		t.Errorf("architecture of bert.pth (-safetensors +torch.save)\n%s", d)
	}
	if d := cmp.Diff(wantWeights, weights); d != "" {
		t.Errorf("weights of bert.pth (-safetensors +torch.save)\n%s", d)
	}
}
