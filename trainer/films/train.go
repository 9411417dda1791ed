package films

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// ask returns what s answers to q, and whether it is asked at all. An inverted film is still a
// film of a view, of a chest, and whole. What a part of a chest shows is not asked.
func ask(q pixel.Question, s *sample) (yes, asked bool) {
	turned := s.fault != nil && s.fault.Reason == pixel.ReasonInverted
	part := s.fault != nil && s.fault.Reason == pixel.ReasonCropped
	switch q {
	case pixel.Lateral:
		return s.lateral, s.other == "" && (s.fault == nil || turned)
	case pixel.NotChest:
		return s.other != "", s.fault == nil || turned
	case pixel.Inverted:
		return turned, s.other == "" && (s.fault == nil || turned)
	case pixel.Cropped:
		return part, s.other == "" && (s.fault == nil || part || turned)
	}
	return false, false
}

// fitOn fits a machine for q on the samples that use accepts.
func (c *Collection) fitOn(q pixel.Question, use func(*sample) bool) machine {
	var examples []example
	for i := range c.samples {
		if yes, asked := ask(q, &c.samples[i]); asked && use(&c.samples[i]) {
			examples = append(examples, example{c.samples[i].features, yes})
		}
	}
	return fitMachine(examples)
}

// crossFit returns, for each question, machines that did not see the samples of a fold, and
// the factor that makes log odds of their margins.
func (c *Collection) crossFit(q pixel.Question, progress func()) ([folds]machine, float64) {
	var machines [folds]machine
	for k := range machines {
		machines[k] = c.fitOn(q, func(s *sample) bool { return s.fold != k })
		progress()
	}
	var margins []float64
	var answers []bool
	for i := range c.samples {
		s := &c.samples[i]
		if yes, asked := ask(q, s); asked {
			margins, answers = append(margins, machines[s.fold].margin(s.features)), append(answers, yes)
		}
	}
	return machines, slopeOf(margins, answers)
}

// Train makes the classifier's file. command is kept in it.
func (c *Collection) Train(command string, progress func(done, total int)) pixel.ClassifierFile {
	f := pixel.ClassifierFile{Command: command}
	f.Films, f.Inputs = c.inputs()
	questions := pixel.Questions()
	done := 0
	step := func() { done++; progress(done, len(questions)*(folds+1)) }
	for _, q := range questions {
		_, slope := c.crossFit(q, step)
		m := c.fitOn(q, func(*sample) bool { return true })
		step()
		f.Weights = append(f.Weights, pack(q, m, slope))
	}
	return f
}

// pack makes the file's weights of m.
func pack(q pixel.Question, m machine, slope float64) pixel.Weights {
	most := 0.0
	for _, w := range m.weights {
		most = max(most, math.Abs(w*slope))
	}
	out := pixel.Weights{Question: q, Bias: m.bias * slope, Scale: most / math.MaxInt16}
	for _, w := range m.weights {
		out.Values = binary.LittleEndian.AppendUint16(out.Values, uint16(int16(math.Round(w*slope/out.Scale))))
	}
	return out
}

// Write writes f to path.
func Write(path string, f pixel.ClassifierFile) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fault.E("films.Write", fault.Internal, err)
	}
	return fault.E("films.Write", fault.Internal, os.WriteFile(path, append(data, '\n'), 0o644))
}
