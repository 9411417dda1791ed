package train

import (
	"os"
	"path/filepath"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/backbone"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// BackboneOptions are one call of `radtrain backbone`.
type BackboneOptions struct {
	Preset string    // small or base: what the files do not tell, such as the number of heads
	Image  string    // path of a vision encoder; "" leaves random weights
	Text   string    // path of a text encoder; "" likewise
	Ref    model.Ref // of the model that is made
	Out    string    // folder; the model goes into Out/model
	Seed   uint64    // of what is not in the files
	// Vocabulary is the path of the text encoder's vocabulary, Uncased says that it has no upper case.
	Vocabulary string
	Uncased    bool
	Version    string // of the code
}

// BackboneReport says what became of the files.
type BackboneReport struct {
	Image string `json:"image,omitempty"` // layout
	Text  string `json:"text,omitempty"`
	// Parameters of the model, and how many of them each mode trains.
	Parameters int            `json:"parameters"`
	Trained    map[string]int `json:"trained"`
}

// Backbone makes a model of encoders that others trained, for [Fit] to start from. It has
// projections that know nothing, so it is marked as untrained, and stores its weights as they are.
//
// Errors: Usage for wrong options, those of [backbone.Read] and [backbone.Import], and of the
// vocabulary.
func Backbone(o BackboneOptions) (BackboneReport, error) {
	const op = "train.Backbone"
	report := BackboneReport{Trained: map[string]int{}}
	c, err := preset(o.Preset)
	if err != nil {
		return report, err
	}
	if o.Image == "" && o.Text == "" || (o.Text == "") != (o.Vocabulary == "") {
		return report, fault.Errorf(op, fault.Usage, "name a vision encoder (--image), a text encoder with its vocabulary (--text, --vocabulary), or both")
	}
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		return report, fault.Wrap(op, err)
	}
	w := onnxexport.Weights{}
	for path, name := range map[string]*string{o.Image: &report.Image, o.Text: &report.Text} {
		if path == "" {
			continue
		}
		t, err := backbone.Read(path)
		if err != nil {
			return report, fault.Wrap(op, err)
		}
		if *name, err = backbone.Import(&c, w, t); err != nil {
			return report, fault.Wrap(op, err)
		}
	}
	if o.Vocabulary != "" {
		if tok, err = readVocabulary(o.Vocabulary, o.Uncased); err != nil {
			return report, fault.Wrap(op, err)
		}
	}
	if tok.Size() != c.Text.Vocabulary {
		return report, fault.Errorf(op, fault.Usage, "the vocabulary has %d entries, and the text encoder %d", tok.Size(), c.Text.Vocabulary)
	}
	for _, row := range onnxexport.Shapes(c) {
		if _, imported := w[row.Name]; !imported {
			w[row.Name] = row.New(o.Seed)
		}
	}
	// Pooling begins as a mean over all tokens, which leaves nothing out.
	clear(w["image.pool.query"].Data)
	for _, mode := range trainer.Modes {
		report.Trained[mode.Name], report.Parameters = mode.Parameters(c)
	}
	dir := filepath.Join(o.Out, ModelDir)
	if err := wantNoModel(dir); err != nil {
		return report, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return report, fault.E(op, fault.Usage, err)
	}
	preparer, err := newPreparer()
	if err != nil {
		return report, fault.Wrap(op, err)
	}
	err = onnxexport.WriteModel(dir, c, w, onnxexport.FP32, tok, model.Manifest{
		Ref: o.Ref, Preprocessing: preparer.Version(), Temperature: 0.07, Untrained: true,
		Provenance: model.Provenance{CreatedBy: "radtrain backbone", Seed: o.Seed, CodeVersion: o.Version},
	})
	return report, fault.Wrap(op, err)
}

func readVocabulary(path string, uncased bool) (*tokenizer.Tokenizer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.E("train.readVocabulary", fault.Usage, err)
	}
	defer f.Close()
	name := "bert-base-cased"
	if uncased {
		name = "bert-base-uncased"
	}
	return tokenizer.Read(name, tokenizer.Case(!uncased), f)
}
