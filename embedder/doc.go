// Package embedder turns prepared studies into vectors: it runs the two encoders of a ClinVLA
// model directory in ONNX Runtime and combines what they say of a study's images.
//
// Every image goes through the image encoder alone, and what comes out is not yet a vector but
// a [Piece]: the image's share of one attention pooling over all tokens of all images of a
// study. [Combine] puts any set of pieces together exactly as if their images had been encoded
// side by side. So a batch is over images, whatever study they belong to; fused, frontal-only
// and lateral-only vectors come from one pass; an absent view leaves no trace; and a view that
// arrives later encodes nothing twice.
//
//	Image (224 x 224 grey, exposed box, view, role)  -- image.onnx -->  Piece  -- Combine -->  Vector
//	tokens ([CLS] ... [SEP])                         -- text.onnx  -->  Vector
//
// All callers' requests meet in one queue for images and one for texts, which make batches of few
// sizes by size and deadline; who waits for an answer goes before the archive, and a full queue
// holds its callers. A vector does not depend on what else was in its batch (but for rounding,
// below 1e-5 in a component). A watchdog tells when the device stops to answer.
//
// [Encoder] is made from a model directory, whose files are checked against their hashes, and
// from the process's one runtime (embedder/ort). embedder/tokenizer makes tokens,
// embedder/zeroshot turns vectors into label scores.
package embedder
