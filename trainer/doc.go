// Package trainer makes models: it re-pretrains ClinVLA from the stream archive, evaluates the
// result and hands it back as a model directory.
//
// What a model computes is fixed by trainer/onnxexport alone: its table of weights
// (onnxexport.Shapes) is what training optimises, what checkpoints hold and what the exported
// graphs contain, so that training, evaluation and serving run the same model.
package trainer
