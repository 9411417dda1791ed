package embedder

import (
	"math"

	"github.com/radstream/radstream/schemas/fault"
)

// Vector is an embedding in the joint space, of unit length. nil means absent.
type Vector []float32

// Piece is one image's share of the attention pooling: with scores t_i of its tokens x_i and
// the projection W to the joint space, M = max t_i, S = sum exp(t_i - M),
// V = sum exp(t_i - M) W x_i. S is at least 1.
type Piece struct {
	M, S float32
	V    []float32
	// Patches are the local vectors of the patches that the model saw, row by row; see
	// [Options.Local].
	Patches [][]float32
}

// ReasonPiece is the fault reason of pieces that cannot be combined.
const ReasonPiece fault.Reason = "piece"

// Combine returns the vector of the images behind pieces: the softmax-weighted mean over all
// their tokens, plus bias, normalised. It is exact whatever the pieces' maxima, and depends on
// their order only by rounding. No pieces, pieces of another width than bias, or pieces that
// are no numbers are Invalid.
func Combine(pieces []Piece, bias []float32) (Vector, error) {
	const op = "embedder.Combine"
	if len(pieces) == 0 {
		return nil, fault.Reject(op, fault.Invalid, ReasonPiece, "there are no images to combine")
	}
	highest := math.Inf(-1)
	for _, p := range pieces {
		if len(p.V) != len(bias) || !(p.S > 0) || !finite(p.S) || !finite(p.M) {
			return nil, fault.Reject(op, fault.Invalid, ReasonPiece, "a piece has a finite maximum, a sum above 0 and %d numbers", len(bias))
		}
		highest = max(highest, float64(p.M))
	}
	sum := 0.0
	mixed := make([]float64, len(bias))
	for _, p := range pieces {
		scale := math.Exp(float64(p.M) - highest)
		sum += scale * float64(p.S)
		for i, v := range p.V {
			mixed[i] += scale * float64(v)
		}
	}
	for i := range mixed {
		mixed[i] = mixed[i]/sum + float64(bias[i])
	}
	return unit(op, mixed)
}

func unit(op string, x []float64) (Vector, error) {
	square := 0.0
	for _, v := range x {
		square += v * v
	}
	if !(square > 0) || math.IsInf(square, 0) {
		return nil, fault.Errorf(op, fault.Internal, "the vector has no direction: its length is 0 or not a number")
	}
	out := make(Vector, len(x))
	for i, v := range x {
		out[i] = float32(v / math.Sqrt(square))
	}
	return out, nil
}

func finite(x float32) bool { return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0) }
