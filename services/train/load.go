package train

import (
	"context"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/trainer"
)

// Load reads the manifests at the given paths and decodes their studies. nats is asked only
// for manifests of a stream; an archive lies beside its manifest.
func Load(ctx context.Context, paths []string, nats bus.Config, progress func(done, total int)) (*trainer.Dataset, error) {
	const op = "train.Load"
	if len(paths) == 0 {
		return nil, fault.Errorf(op, fault.Usage, "name at least one data manifest: radtrain phantoms and radtrain manifest make them")
	}
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	var b *bus.Bus
	var parts []trainer.Part
	for _, path := range paths {
		m, err := trainer.ReadManifest(path)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		part := trainer.Part{Manifest: m, Source: trainer.Archive{Path: filepath.Join(filepath.Dir(path), m.Source.Archive)}}
		if m.Source.Stream != "" {
			if b == nil {
				if b, err = bus.Connect(ctx, nats, zerolog.Nop()); err != nil {
					return nil, fault.Wrap(op, err)
				}
				defer b.Close()
			}
			part.Source = stream{b, m.Source.Stream}
		}
		parts = append(parts, part)
	}
	return trainer.Load(ctx, parts, tok, progress)
}

// stream is the source of a manifest's messages in a stream.
type stream struct {
	bus  *bus.Bus
	name string
}

var _ trainer.Source = stream{}

func (s stream) Records(ctx context.Context, sequences []uint64, yield func(trainer.Record) error) error {
	for _, seq := range sequences {
		m, err := s.bus.Get(ctx, s.name, seq)
		if err != nil {
			return err
		}
		if err := yield(trainer.Record{Sequence: seq, Body: m.Body}); err != nil {
			return err
		}
	}
	return nil
}
