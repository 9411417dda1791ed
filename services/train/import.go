package train

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/trainer"
)

// ImportOptions are one call of `radtrain import`.
type ImportOptions struct {
	Weights     string     // path of a safetensors file with the weights of the preset, as fit writes it
	Preset      string     // tiny, small or base
	Ref         model.Ref  // of the model that is made
	Data        []string   // paths of the data manifests that the weights were trained on
	Out         string     // folder; the model goes into Out/model
	Temperature float64    // what cosines are divided by; 0 is what the file says
	NATS        bus.Config // for manifests of a stream
	Version     string     // of the code, for the model's manifest
	Measure     bool       // measure the model on phantoms
}

// Import makes a model of weights that another program trained: it is exported, calibrated on
// the validation studies of its data, and measured as a model of [Fit] is.
//
// Errors: Usage for wrong options, and for a folder that holds a model; NotFound, Corrupt and Unsupported for the file; Invalid with
// onnxexport.ReasonWeights for weights of another architecture; those of the data.
func Import(ctx context.Context, o ImportOptions, h FitHooks) error {
	const op = "train.Import"
	config, err := preset(o.Preset)
	if err != nil {
		return err
	}
	if err := wantNoModel(filepath.Join(o.Out, ModelDir)); err != nil {
		return err
	}
	weights, metadata, err := trainer.ReadTensors(o.Weights)
	if err != nil {
		return fault.Wrap(op, err)
	}
	result := trainer.Result{Weights: weights, Temperature: o.Temperature}
	if err := result.Weights.Check(config); err != nil {
		return fault.Wrap(op, err)
	}
	if result.Temperature == 0 {
		if result.Temperature, err = strconv.ParseFloat(metadata[temperatureKey], 64); err != nil {
			return fault.Errorf(op, fault.Usage, "%s does not say what cosines are divided by (%s): give it with --temperature", o.Weights, temperatureKey)
		}
	}
	if !(result.Temperature > 0) || math.IsInf(result.Temperature, 0) {
		return fault.Errorf(op, fault.Usage, "the temperature is above 0")
	}
	r := run{
		options: FitOptions{Preset: o.Preset, Ref: o.Ref, Data: o.Data, Out: o.Out, Version: o.Version, Measure: o.Measure},
		config:  config, maker: "radtrain import",
	}
	if r.tokenizer, err = tokenizer.BERTBaseCased(); err == nil {
		r.data, err = Load(ctx, o.Data, o.NATS, newReader(r.tokenizer, r.config.Text.MaxLength), h.Load)
	}
	if err == nil {
		err = fault.E(op, fault.Usage, os.MkdirAll(filepath.Join(o.Out, ModelDir), 0o755))
	}
	if err == nil {
		err = r.finish(ctx, result, nil, h.Measure)
	}
	return fault.Wrap(op, err)
}
