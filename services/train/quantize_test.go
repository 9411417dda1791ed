package train_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/train"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TestQuantizeShippedModel holds the int8 and the half form of the model that ships to its float form, on
// phantoms that nothing was measured on before.
func TestQuantizeShippedModel(t *testing.T) {
	c := phantom.Defaults()
	c.Studies, c.Seed, c.Side = 48, 7, 224
	data := t.TempDir()
	if _, err := train.Phantoms(t.Context(), data, c, 0.4, nil); err != nil {
		t.Fatal(err)
	}
	o := train.QuantizeOptions{Model: "../app/tiny", Precision: onnxexport.INT8, Ref: model.Ref{Name: "tiny", Version: "1.0.1-int8"}, NATS: bus.DefaultConfig(), Films: 48, Least: 0.995,
		Data: []string{filepath.Join(data, train.ManifestFile)}, Out: filepath.Join(t.TempDir(), "int8")}
	q, err := train.Quantize(t.Context(), o, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", q)
	if len(q.Float) > 0 || q.Products != 24 || q.Reports == 0 {
		t.Errorf("%d of %d products are in float", len(q.Float), q.Products)
	}
	if q.Compared < 10 || q.Cosine < 0.995 || q.Texts < 10 || q.TextCosine < 0.995 {
		t.Errorf("cosine %.4f over %d films and %.4f over %d reports, want 0.995", q.Cosine, q.Compared, q.TextCosine, q.Texts)
	}
	m, err := model.Load(o.Out)
	if err != nil || m.Precision != "int8" || m.Ref != o.Ref || len(m.Labels) == 0 {
		t.Errorf("%+v, %v", m, err)
	}
	half := o
	half.Precision, half.Ref.Version, half.Out = onnxexport.HALF, "1.0.1-half", t.TempDir()
	if q, err = train.Quantize(t.Context(), half, nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", q)
	if q.Compared < 10 || q.Least < 0.9995 || q.Texts < 10 || q.LeastText < 0.9995 || q.Largest < 1 || q.Largest > 1000 || q.Products != 0 {
		t.Errorf("half: %+v", q)
	}
	if m, err := model.Load(half.Out); err != nil || m.Precision != "half" || m.Ref != half.Ref || len(m.Labels) == 0 {
		t.Errorf("half: %+v, %v", m, err)
	}
	large := half
	large.Model, large.Out = tooLarge(t, half.Model), t.TempDir()
	if _, err := train.Quantize(t.Context(), large, nil, nil); fault.ReasonOf(err) != onnxexport.ReasonWeights || !strings.Contains(err.Error(), "float16 ends at 65504") {
		t.Errorf("numbers above those of float16: %v", err)
	}
	if _, err := model.Load(large.Out); err == nil {
		t.Error("a model that overflows was written")
	}
	twice := o
	twice.Model, twice.Ref.Version, twice.Out = o.Out, "1.0.1-int4", t.TempDir()
	if _, err := train.Quantize(t.Context(), twice, nil, nil); fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), "radtrain quantize of tiny@1.0.1") {
		t.Errorf("an int8 model quantised again: %v", err)
	}
	for name, change := range map[string]func(*train.QuantizeOptions){
		"again":        func(*train.QuantizeOptions) {},
		"its own name": func(o *train.QuantizeOptions) { o.Ref.Version = "1.0.1" },
		"cosine of 1":  func(o *train.QuantizeOptions) { o.Least, o.Out = 1, t.TempDir() },
		"float":        func(o *train.QuantizeOptions) { o.Precision, o.Out = onnxexport.FP16, t.TempDir() },
		"no films":     func(o *train.QuantizeOptions) { o.Films = 0 },
		"no data":      func(o *train.QuantizeOptions) { o.Data, o.Out = nil, t.TempDir() },
	} {
		bad := o
		change(&bad)
		if _, err := train.Quantize(t.Context(), bad, nil, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tooLarge writes a model like another, with weights that float16 can hold and their sums that it cannot.
func tooLarge(t *testing.T, dir string) string {
	t.Helper()
	m, w, err := onnxexport.ReadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"image.position", "image.view"} {
		for i := range w[name].Data {
			w[name].Data[i] = 60000
		}
	}
	k, err := embedder.ReadTokenizer(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := onnxexport.WriteModel(out, m.Config, w, onnxexport.FP16, k, *m); err != nil {
		t.Fatal(err)
	}
	return out
}
