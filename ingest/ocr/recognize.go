package ocr

import (
	"context"
	"math"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
)

const (
	lineHeight = 48   // pixels that recognition wants
	leastWidth = 320  // that it was trained with; less is padded with grey
	mostWidth  = 2400 // a line longer than 50 times its height is squeezed
	sure       = 0.8  // a confidence from which no other way up is tried
)

// recognize reads l in src. Text that stands on its side or on its head is turned: the way up
// that reads best wins.
func (r *run) recognize(ctx context.Context, src Source, as look, l *Line) error {
	seen := as(src, l.Box.Grow(2)) // 1 is what bilinear values need
	ways := []int{0, 2}
	if across, down := sides(l.Quad); down > 1.5*across {
		ways = []int{1, 3}
	}
	best := l.Quad
	for i, turn := range ways {
		var q [4]Point
		for k := range q {
			q[k] = l.Quad[(k+turn)%4]
		}
		text, confidence, err := r.read(ctx, seen, q)
		if err != nil {
			return err
		}
		if i == 0 || confidence > l.Confidence && len(text) >= len(l.Text) {
			l.Text, l.Confidence, best = text, confidence, q
		}
		if l.Confidence >= sure {
			break
		}
	}
	l.Quad = best
	return nil
}

func sides(q [4]Point) (across, down float64) {
	return math.Hypot(q[1].X-q[0].X, q[1].Y-q[0].Y), math.Hypot(q[3].X-q[0].X, q[3].Y-q[0].Y)
}

// read reads the text of a rectangle, whose first corner is the upper left of the text.
func (r *run) read(ctx context.Context, seen cut, q [4]Point) (string, float64, error) {
	across, down := sides(q)
	width := min(max(int(math.Ceil(lineHeight*across/max(down, 1))), 1), mostWidth)
	full := max(padded(width), leastWidth)
	plane := lineHeight * full
	input := make([]float32, 3*plane)
	for y := range lineHeight {
		v := (float64(y) + 0.5) / lineHeight
		for x := range width {
			u := (float64(x) + 0.5) / float64(width)
			p := Point{
				q[0].X + u*(q[1].X-q[0].X) + v*(q[3].X-q[0].X),
				q[0].Y + u*(q[1].Y-q[0].Y) + v*(q[3].Y-q[0].Y),
			}
			input[y*full+x] = float32(sample(seen, p)/127.5 - 1)
		}
	}
	copy(input[plane:], input[:plane])
	copy(input[2*plane:], input[:plane])
	shape, probability, err := r.ask(ctx, r.recognition, []int64{1, 3, lineHeight, int64(full)}, input)
	if err != nil {
		return "", 0, err
	}
	if len(shape) != 3 || shape[2] != int64(len(r.alphabet)) {
		return "", 0, fault.Errorf("ocr.read", fault.Internal, "recognition gave a tensor of shape %v for %d characters", shape, len(r.alphabet))
	}
	text, confidence := r.decode(probability)
	return text, confidence, nil
}

// decode takes the best class of each step, drops repeats and blanks (greedy CTC decoding)
// and returns the text with the mean probability of its characters.
func (r *Reader) decode(probability []float32) (string, float64) {
	var text strings.Builder
	sum, n, last := 0.0, 0, 0
	for ; len(probability) >= len(r.alphabet); probability = probability[len(r.alphabet):] {
		best := 0
		for class, p := range probability[:len(r.alphabet)] {
			if p > probability[best] {
				best = class
			}
		}
		if best != 0 && best != last {
			text.WriteString(r.alphabet[best])
			sum += float64(probability[best])
			n++
		}
		last = best
	}
	return strings.TrimSpace(text.String()), sum / float64(max(n, 1))
}
