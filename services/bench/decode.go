package bench

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/fault"
)

// DecodeConfig says what [Decode] and [Prepare] measure.
type DecodeConfig struct {
	Venv          string           // the peer's virtual environment; made on first use
	Rows, Columns int              // of the film
	Rounds        int              // each decodes every syntax with both, in turn
	Progress      func(rounds int) // may be nil
}

// Timing is one transfer syntax.
type Timing struct {
	Syntax  string     `json:"syntax"`
	Bytes   int        `json:"bytes"` // of the file
	Ours    float64    `json:"ours_ms"`
	Peer    float64    `json:"peer_ms"`
	Ratio   float64    `json:"ratio"`    // median of peer/ours over the rounds: above 1 ours is faster
	RatioCI [2]float64 `json:"ratio_ci"` // 95 %, bootstrap of the median
	// Differ is the largest difference of a stored value from the peer's; 0 is demanded of
	// lossless syntaxes. Not told by [Prepare].
	Differ    int    `json:"differ"`
	PeerError string `json:"peer_error,omitempty"` // why there is nothing to compare with
}

// Decode times the way from a file in memory to its stored values, on one core, for one film in
// every transfer syntax, beside pydicom with pylibjpeg and pyjpegls in the same run. The film is
// a phantom of 2,048 pixels, enlarged and with detector noise of 8 levels of 4,096, so that
// compressed sizes are those of films; imagecodecs compresses it. The two take turns.
//
// Errors: Unavailable, the peer cannot be started; Corrupt, ours differs from the peer by more
// than 2 levels, or at all where nothing is lost.
func Decode(ctx context.Context, c DecodeConfig) ([]Timing, error) {
	return c.run(ctx, "decode", func(data []byte) error {
		f, err := dicom.Parse(data)
		if err == nil {
			_, err = f.Pixels(codec.Standard())
		}
		return err
	})
}

// Prepare times the way from a file in memory to the prepared view, as [Decode] does. Ours
// looks at the quality of the film and compresses the view too; burned-in text is not looked
// for, since the peer does nothing of the kind.
func Prepare(ctx context.Context, c DecodeConfig) ([]Timing, error) {
	const op = "bench.Prepare"
	p, err := ingest.New(ingest.Default(), noTokens{})
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	return c.run(ctx, "prepare", func(data []byte) error {
		_, err := p.View(ctx, ingest.Object{Data: data})
		return err
	})
}

// noTokens stands in for a tokenizer where there are no reports.
type noTokens struct{}

func (noTokens) Encode(string) []int32 { return []int32{101, 102} }
func (noTokens) ID() string            { return "none" }

func (c DecodeConfig) run(ctx context.Context, what string, ours func([]byte) error) (_ []Timing, err error) {
	const op = "bench.decode"
	dir, err := os.MkdirTemp("", "radstream-bench-*")
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	defer os.RemoveAll(dir)
	peer, err := startPeer(ctx, c.Venv)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closed := peer.close(); err == nil {
			err = closed
		}
	}()
	film := filepath.Join(dir, "film.dcm")
	if err := writeFilm(film); err != nil {
		return nil, err
	}
	made, err := peer.ask(map[string]any{"write": film, "dir": dir, "rows": c.Rows, "columns": c.Columns})
	if err != nil || made.Error != "" {
		return nil, fault.Errorf(op, fault.Internal, "the films cannot be written: %w %s", err, made.Error)
	}
	timings := make([]Timing, len(made.Files))
	data := make([][]byte, len(made.Files))
	for i, f := range made.Files {
		if data[i], err = os.ReadFile(f.Path); err != nil {
			return nil, fault.E(op, fault.Internal, err)
		}
		timings[i] = Timing{Syntax: f.Name, Bytes: len(data[i])}
		if what == "decode" {
			values := filepath.Join(dir, "values")
			a, err := peer.ask(map[string]any{"decode": f.Path, "values": values})
			if err != nil {
				return nil, err
			}
			if timings[i].PeerError = a.Error; a.Error != "" {
				continue
			}
			if timings[i].Differ, err = differ(data[i], values); err != nil {
				return nil, err
			}
			if timings[i].Differ > 2 || timings[i].Differ > 0 && !f.Lossy {
				return nil, fault.Errorf(op, fault.Corrupt, "%s: a stored value differs by %d from the peer's", f.Name, timings[i].Differ)
			}
		}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	mine, theirs := make([][]float64, len(data)), make([][]float64, len(data))
	for round := range c.Rounds {
		for i, f := range made.Files {
			runtime.GC() // what was left by the one before is not this one's to clear
			start := time.Now()
			if err := ours(data[i]); err != nil {
				return nil, fault.Wrap(op, err)
			}
			mine[i] = append(mine[i], float64(time.Since(start).Microseconds())/1000)
			a, err := peer.ask(map[string]any{what: f.Path})
			if err != nil {
				return nil, err
			}
			if timings[i].PeerError = a.Error; a.Error == "" {
				theirs[i] = append(theirs[i], a.MS)
			}
		}
		if c.Progress != nil {
			c.Progress(round + 1)
		}
	}
	for i := range timings {
		timings[i].Ours = median(mine[i])
		if len(theirs[i]) == len(mine[i]) {
			timings[i].Peer = median(theirs[i])
			ratios := make([]float64, len(mine[i]))
			for k := range ratios {
				ratios[k] = theirs[i][k] / mine[i][k]
			}
			timings[i].Ratio, timings[i].RatioCI = median(ratios), medianCI(ratios)
		}
	}
	return timings, nil
}

// writeFilm writes a frontal phantom of 12 bits, uncompressed.
func writeFilm(path string) error {
	const op = "bench.writeFilm"
	c := phantom.Defaults()
	c.Studies, c.Side = 1, 2048
	s, err := phantom.Generate(c, 0)
	if err != nil {
		return fault.Wrap(op, err)
	}
	film := s.Views[0]
	film.Syntax = dicom.FilmExplicitLE
	file, err := os.Create(path)
	if err == nil {
		err = dicom.Encode(file, film)
	}
	if err == nil {
		err = file.Close()
	}
	return fault.E(op, fault.Internal, err)
}

// differ returns the largest difference of our stored values from the peer's.
func differ(data []byte, values string) (int, error) {
	const op = "bench.differ"
	f, err := dicom.Parse(data)
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	p, err := f.Pixels(codec.Standard())
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	want, err := os.ReadFile(values)
	if err != nil {
		return 0, fault.E(op, fault.Internal, err)
	}
	if len(want) != 2*len(p.Samples) {
		return 0, fault.Errorf(op, fault.Corrupt, "the peer has %d values, ours %d", len(want)/2, len(p.Samples))
	}
	most := 0
	for i, v := range p.Samples {
		d := int(v) - int(binary.LittleEndian.Uint16(want[2*i:]))
		most = max(most, d, -d)
	}
	return most, nil
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// medianCI is the bootstrap's 95 % interval of a median.
func medianCI(v []float64) [2]float64 {
	r := rand.New(rand.NewPCG(7, 0))
	medians := make([]float64, 1000)
	drawn := make([]float64, len(v))
	for i := range medians {
		for k := range drawn {
			drawn[k] = v[r.IntN(len(v))]
		}
		medians[i] = median(drawn)
	}
	slices.Sort(medians)
	return [2]float64{medians[25], medians[974]}
}
