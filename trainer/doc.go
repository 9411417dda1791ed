// Package trainer makes models: it re-pretrains ClinVLA from the stream archive and hands the
// result back as a model directory.
//
//	PREPARED of a stream, or an archive file of the same messages
//	  -> Manifest   which messages, by hash; split by patient       (frozen once)
//	  -> Dataset    decoded views, tokens, sentences                (NewStudy, in memory)
//	  -> Batcher    batch of step i, drawn from (seed, i) alone     (augmentation, masks)
//	  -> Fit        schedule, Stepper, validation, curves           (the loop)
//	  -> onnxexport a model directory, with everything above in its manifest
//
// What a model computes is fixed by trainer/onnxexport alone: its table of weights
// (onnxexport.Shapes) is what training optimises, what checkpoints hold and what the exported
// graphs contain, so that training, evaluation and serving run the same model.
//
// The package is plain Go. The arithmetic of a step is behind [Stepper]: trainer/torch does it
// with libtorch, tests do without. trainer/eval measures models; it sees them as the embedder
// does, through their exported graphs.
package trainer
