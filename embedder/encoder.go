package embedder

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// Options tune an encoder. The zero value is the default.
type Options struct {
	// MaxBatch is how many images or texts one run holds at most. 0 is 4: on a CPU more are not
	// faster.
	MaxBatch int
	// Deadline is how long bulk work waits for others to fill its batch; 0 is 5 ms.
	Deadline time.Duration
	// Device is where the graphs run, as [ort.Runtime.Device] tells; "" is CPU. On a GPU two batches of
	// bulk work run at a time.
	Device ort.Device
	// Patience is how long one run may take until Stalled is told that the device does not answer;
	// 0 is 30 s. Stalled hears of each graph that hangs, and when it answers again; it must return
	// quickly and not call the encoder. nil is nobody.
	Patience time.Duration
	Stalled  func(graph string, stalled bool)
	// Local asks the graphs for local vectors too: of each patch that is no padding and of each token.
	// They take as much memory as a hundred vectors and more, and no answer of a server needs them.
	Local bool
}

// Encoder runs one model. Its methods are safe for concurrent use; their requests are batched
// together, and those that somebody waits for go first.
type Encoder struct {
	manifest  *model.Manifest
	tokenizer *tokenizer.Tokenizer
	image     *ort.Session
	text      *ort.Session
	bias      []float32 // of the image projection, added once a study
	images    *queue[Image, Piece]
	texts     *queue[[]int32, text]
}

// Open loads the model in dir, checks it ([model.Load]), and runs each encoder once in every
// shape that it will meet, so that a model that cannot serve fails here, and no request pays for
// what a first run costs. Close the encoder before the runtime.
func Open(ctx context.Context, dir string, runtime *ort.Runtime, o Options) (*Encoder, error) {
	const op = "embedder.Open"
	manifest, err := model.Load(dir)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if o.Stalled == nil {
		o.Stalled = func(string, bool) {}
	}
	e := &Encoder{manifest: manifest}
	if e.tokenizer, err = ReadTokenizer(dir, manifest); err != nil {
		return nil, fault.Wrap(op, err)
	}
	name := func(graph string) string { return manifest.Ref.String() + " " + graph }
	ofImages, ofTexts := []string{"m", "s", "v", "bias"}, []string{"text"}
	if o.Local {
		ofImages, ofTexts = append(ofImages, "tokens"), append(ofTexts, "tokens")
	}
	if manifest.Precision == "int8" { // its operators run on a CPU
		o.Device = ort.CPU
	}
	e.image, err = runtime.Session(ort.Model{Name: name(model.ImageGraph), Path: filepath.Join(dir, model.ImageGraph), Device: o.Device},
		ImageInputs(), ofImages)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	e.text, err = runtime.Session(ort.Model{Name: name(model.TextGraph), Path: filepath.Join(dir, model.TextGraph), Device: o.Device},
		[]string{"input_ids", "attention_mask"}, ofTexts)
	most := cmp.Or(o.MaxBatch, 4)
	if err == nil {
		err = e.warm(ctx, most)
	}
	if err != nil {
		return nil, fault.Wrap(op, errors.Join(err, e.Close()))
	}
	deadline, patience := cmp.Or(o.Deadline, 5*time.Millisecond), cmp.Or(o.Patience, 30*time.Second)
	e.images = &queue[Image, Piece]{graph: name(model.ImageGraph), run: e.runImages, bucket: e.imageBucket,
		max: most, inFlight: batchesInFlight(o.Device), deadline: deadline, patience: patience, stalled: o.Stalled}
	e.texts = &queue[[]int32, text]{graph: name(model.TextGraph), run: e.runTexts,
		bucket: func(ids []int32) int { return paddedLength(len(ids), manifest.Tokenizer.MaxLength) },
		max:    most, inFlight: batchesInFlight(o.Device), deadline: deadline, patience: patience, stalled: o.Stalled}
	e.images.start()
	e.texts.start()
	return e, nil
}

// Close frees the model after the runs in flight; requests that wait are refused.
func (e *Encoder) Close() error {
	if e.images != nil { // nil when Open failed
		e.images.close()
		e.texts.close()
	}
	var err error
	for _, s := range []*ort.Session{e.image, e.text} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	return err
}

// Model returns the manifest. The caller must not change it.
func (e *Encoder) Model() *model.Manifest { return e.manifest }

// Tokenizer returns the model's tokenizer. Tokens made elsewhere fit only if the id of what
// made them is the same.
func (e *Encoder) Tokenizer() *tokenizer.Tokenizer { return e.tokenizer }

// Width returns p, the length of every vector.
func (e *Encoder) Width() int { return e.manifest.Config.Joint }

// Labels encodes the manifest's prompts: what [zeroshot.Scores] needs beside an image vector.
// Once a model is enough.
func (e *Encoder) Labels(ctx context.Context) ([]zeroshot.Label, error) {
	return e.EncodeLabels(ctx, e.manifest.Labels)
}

// EncodeLabels is [Encoder.Labels] for prompts that need not be the manifest's.
func (e *Encoder) EncodeLabels(ctx context.Context, from []model.Label) ([]zeroshot.Label, error) {
	const op = "embedder.Encoder.EncodeLabels"
	var prompts []string
	for _, l := range from {
		prompts = append(append(prompts, l.Positive...), l.Negative...)
	}
	tokens := make([][]int32, len(prompts))
	for i, p := range prompts {
		ids, cut := e.tokenizer.EncodeMax(p, e.manifest.Tokenizer.MaxLength)
		if cut {
			return nil, fault.Reject(op, fault.Invalid, model.ReasonManifest, "a prompt is longer than the model's %d tokens", e.manifest.Tokenizer.MaxLength)
		}
		tokens[i] = ids
	}
	vectors, err := e.EncodeTexts(ctx, tokens)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	next := func(n int) [][]float32 {
		out := make([][]float32, n)
		for i := range out {
			out[i] = vectors[i]
		}
		vectors = vectors[n:]
		return out
	}
	labels := make([]zeroshot.Label, len(from))
	for i, l := range from {
		positive, errP := zeroshot.Ensemble(next(len(l.Positive)))
		negative, errN := zeroshot.Ensemble(next(len(l.Negative)))
		if err := errors.Join(errP, errN); err != nil {
			return nil, fault.Wrap(op, err)
		}
		labels[i] = zeroshot.Label{Name: l.Name, Positive: positive, Negative: negative, Calibration: l.Calibration}
	}
	return labels, nil
}

// warm runs each encoder once in every shape of its batches, up to most, and keeps the image bias.
func (e *Encoder) warm(ctx context.Context, most int) error {
	c := e.manifest.Config.Image
	blank := Image{Pixels: make([]byte, c.Size*c.Size), Exposed: square(c.Size)}
	none := e.tokenizer.Encode("")
	for _, n := range batchSizes(most) {
		if _, err := e.runImages(ctx, 0, slices.Repeat([]Image{blank}, n)); err != nil {
			return err
		}
		for _, length := range lengths(e.manifest.Tokenizer.MaxLength) {
			if _, err := e.runTexts(ctx, length, slices.Repeat([][]int32{none}, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReadTokenizer returns the tokenizer of the model in dir, whose manifest is m.
func ReadTokenizer(dir string, m *model.Manifest) (*tokenizer.Tokenizer, error) {
	const op = "embedder.ReadTokenizer"
	b, err := os.ReadFile(filepath.Join(dir, m.Tokenizer.Vocabulary))
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	parts := strings.Split(m.Tokenizer.ID, "/")
	if len(parts) != 3 {
		return nil, fault.Reject(op, fault.Invalid, model.ReasonManifest, "tokenizer.id is not wordpiece/NAME/HASH")
	}
	k, err := tokenizer.Read(parts[1], tokenizer.Case(m.Tokenizer.Cased), bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if k.ID() != m.Tokenizer.ID || k.Size() != m.Config.Text.Vocabulary {
		return nil, fault.Reject(op, fault.Invalid, model.ReasonManifest, "the vocabulary is %s with %d entries, the manifest says %s with %d",
			k.ID(), k.Size(), m.Tokenizer.ID, m.Config.Text.Vocabulary)
	}
	return k, nil
}
