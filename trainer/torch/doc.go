// Package torch trains ClinVLA on libtorch. It is the only importer of gotch.
//
// Everything but this comment has the build tag torch; deploy/torch/env.sh prints the
// environment that it builds in, after `deploy/setup.sh libtorch`. Without the tag the package
// is empty, so that a machine without libtorch builds and tests the rest.
//
// # Data flow
//
//	trainer.Batch -> layout       plain Go: kept patches side by side, indices, masks, targets
//	              -> image, text  the equations of trainer/onnxexport, over its table of weights
//	              -> objective    the loss terms of a preset
//	              -> backward, clip, AdamW
//
// A [Trainer] is a trainer.Stepper. Nothing in a step is random (masks are drawn by the
// caller), so that seed, batches and number of threads fix the result.
//
// # Memory
//
// A step makes about a thousand tensors. They belong to an arena, which frees them at its end;
// a ledger counts what is open and, with Options.Trace, remembers what made it
// ([Trainer.Open]). gotch's wrapper around a tensor is not used, only its operators
// (package libtch): see the type tensor.
//
// # Losses
//
// With unit vectors v of the B studies' images and t of their texts, sentences u of all texts
// and r(u, b) the region of study b that sentence u attends to:
//
//	global      1 - mean v_b t_b
//	local       1 - mean u r(u, its study)
//	global_nce  cross-entropy of v_b t_c / temperature, over texts and over studies
//	local_nce   cross-entropy of u r(u, b) / temperature, over studies and over sentences
//	r(u, b) =   sum a_j x_j, scaled to length 1;  a = softmax (u x_j / attention temperature),
//	            x_j the unit local vectors of the patches of study b's current images
//
// The negatives of a sentence in local_nce are the regions that the same sentence finds in other
// studies. Regions that other sentences found would be told apart by their sentences alone, with
// nothing learned from the image.
//
// The masked-modelling terms are optional (Options.MaskedImage, MaskedText) and, alone, the preset
// mrm (masked image and record modelling, Zhou et al. 2023):
//
//	masked_image  mean squared error of the standardised pixels of the patches that a masked step
//	              leaves out; one layer of attention from their places to the kept patches
//	masked_text   cross-entropy of the words that BatchText.Hidden names, read off a second pass of
//	              the text tower that has [MASK] in their place, plus the pooled state of the images
//
// Both pass the inverse of the invertible adapter before their output layers (section 5), the
// words' being the vocabulary itself. Their heads are trained like the other heads and are in no
// exported graph. Steps that keep all patches have no masked_image, those that hold the text
// tower no masked_text.
//
// # What keeps the vectors apart
//
// From scratch, a contrastive loss is lowered soonest by making all logits equal: all vectors
// become one (cosine 0.9999 after 300 steps, loss log B, where it stays). Beside what the caller
// does (trainer.Start, Batch.HoldText), this prevents it, in every preset (but centring, which paper does without):
//
//   - The text tower learns at a fifth of the rate; once it was held, over 500 steps more.
//   - Vectors are centred: before they are scaled to length 1, their mean over the batch is
//     taken off; that of local vectors over the patches of current images. It stands where the
//     head's bias stands, and the biases follow it (a moving mean), so that the exported weights
//     do the same.
//   - The temperatures learn 30 times as fast as the weights. They start at 0.07, rise to about
//     0.5 while nothing is known, and fall as cosines come to mean something. The pressure to
//     make logits equal grows with 1/temperature squared, what is to be learned with
//     1/temperature.
//
// # Texts that repeat one another
//
// Reports repeat one another. Texts of a batch that say the same are positives of one another:
// the target of the cross-entropy is spread evenly over the studies with that text
// (BatchText.Group), and for sentences over the studies in whose report the sentence stands.
package torch
