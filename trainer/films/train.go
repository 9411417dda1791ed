package films

import (
	"encoding/json"
	"math"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

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

// fitOn fits a network on the samples that use accepts.
func (c *Collection) fitOn(use func(*sample) bool) network {
	var examples []example
	for i := range c.samples {
		s := &c.samples[i]
		e := example{features: s.features}
		any := false
		for k, q := range pixel.Questions() {
			e.yes[k], e.asked[k] = ask(q, s)
			any = any || e.asked[k]
		}
		if any && use(s) {
			examples = append(examples, e)
		}
	}
	return fit(examples)
}

// fitEach fits n networks, each on the samples that use accepts for it.
func (c *Collection) fitEach(n int, use func(k int, s *sample) bool, progress func(done, total int)) []network {
	nets := make([]network, n)
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	done := 0
	for k := range nets {
		group.Go(func() error {
			nets[k] = c.fitOn(func(s *sample) bool { return use(k, s) })
			mu.Lock()
			defer mu.Unlock()
			done++
			progress(done, n)
			return nil
		})
	}
	_ = group.Wait() // fitting does not fail
	return nets
}

// crossFit returns networks of which each did not see the samples of a fold, and the factors
// that make log odds of their margins, one a question.
func (c *Collection) crossFit(progress func(done, total int)) (nets []network, slopes [questions]float64) {
	nets = c.fitEach(folds, func(k int, s *sample) bool { return s.fold != k }, progress)
	var margins [questions][]float64
	var answers [questions][]bool
	for i := range c.samples {
		s := &c.samples[i]
		odds := nets[s.fold].odds(s.features)
		for k, q := range pixel.Questions() {
			if yes, asked := ask(q, s); asked {
				margins[k], answers[k] = append(margins[k], float64(odds[k])), append(answers[k], yes)
			}
		}
	}
	for k := range slopes {
		slopes[k] = slopeOf(margins[k], answers[k])
	}
	return nets, slopes
}

// Train makes the classifier's file. command is kept in it.
func (c *Collection) Train(command string, progress func(done, total int)) pixel.ClassifierFile {
	_, slopes := c.crossFit(func(done, _ int) { progress(done, folds+1) })
	f := pack(c.fitOn(func(*sample) bool { return true }), slopes)
	progress(folds+1, folds+1)
	f.Command = command
	f.Films, f.Inputs = c.inputs()
	return f
}

// pack makes the file of a network: over features as they are, in whole numbers of 8 bits, and
// with slopes times its margins.
func pack(net network, slopes [questions]float64) pixel.ClassifierFile {
	const n = pixel.FeatureCount
	f := pixel.ClassifierFile{Questions: pixel.Questions()}
	for q, slope := range slopes {
		f.Bias = append(f.Bias, slope*float64(net.out[questions*hidden+q]))
	}
	for u := range hidden {
		row := net.in[u*n:][:n]
		most, bias := 0.0, float64(net.in[hidden*n+u])
		for k, w := range row {
			most = max(most, math.Abs(float64(w)))
			bias -= float64(w) * float64(net.mean[k]) * float64(net.scale)
		}
		unit := pixel.Unit{Bias: bias, Scale: most / math.MaxInt8}
		for _, w := range row {
			unit.Values = append(unit.Values, byte(int8(math.Round(float64(w)/unit.Scale))))
		}
		unit.Scale *= float64(net.scale)
		for q, slope := range slopes {
			unit.Out = append(unit.Out, slope*float64(net.out[q*hidden+u]))
		}
		f.Units = append(f.Units, unit)
	}
	return f
}

// Write writes f to path.
func Write(path string, f pixel.ClassifierFile) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fault.E("films.Write", fault.Internal, err)
	}
	return fault.E("films.Write", fault.Internal, os.WriteFile(path, append(data, '\n'), 0o644))
}
