package train

import (
	"context"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/trainer"
)

// Load reads the manifests at the given paths and decodes their studies, with reports as
// t reads them. nats is asked only
// for manifests of a stream; an archive lies beside its manifest.
func Load(ctx context.Context, paths []string, nats bus.Config, t trainer.Reader, progress func(done, total int)) (*trainer.Dataset, error) {
	const op = "train.Load"
	if len(paths) == 0 {
		return nil, fault.Errorf(op, fault.Usage, "name at least one data manifest: radtrain phantoms and radtrain manifest make them")
	}
	parts, done, err := open(ctx, paths, nats)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	defer done()
	return trainer.Load(ctx, parts, t, progress)
}

// Export writes the studies of a manifest as WebDataset shards; see [trainer.Export].
func Export(ctx context.Context, manifest string, nats bus.Config, dir string, perShard int, progress func(done, total int)) (trainer.Shards, error) {
	const op = "train.Export"
	parts, done, err := open(ctx, []string{manifest}, nats)
	if err != nil {
		return trainer.Shards{}, fault.Wrap(op, err)
	}
	defer done()
	shards, err := trainer.Export(ctx, parts[0], dir, perShard, progress)
	return shards, fault.Wrap(op, err)
}

// open reads manifests and finds their messages; done ends the connection, if there is one.
func open(ctx context.Context, paths []string, nats bus.Config) (parts []trainer.Part, done func(), err error) {
	var b *bus.Bus
	done = func() {
		if b != nil {
			b.Close()
		}
	}
	for _, path := range paths {
		m, err := trainer.ReadManifest(path)
		if err != nil {
			done()
			return nil, nil, err
		}
		part := trainer.Part{Manifest: m, Source: trainer.Archive{Path: filepath.Join(filepath.Dir(path), m.Source.Archive)}}
		if m.Source.Stream != "" {
			if b == nil {
				if b, err = bus.Connect(ctx, nats, zerolog.Nop()); err != nil {
					return nil, nil, err
				}
			}
			part.Source = stream{b, m.Source.Stream}
		}
		parts = append(parts, part)
	}
	return parts, done, nil
}

// reasonGone is for a message that a manifest names and a stream has not.
const reasonGone fault.Reason = "message_gone"

// stream is the source of a manifest's messages in a stream.
type stream struct {
	bus  *bus.Bus
	name string
}

var _ trainer.Source = stream{}

func (s stream) Records(ctx context.Context, sequences []uint64, yield func(trainer.Record) error) error {
	for _, seq := range sequences {
		m, err := s.bus.Get(ctx, s.name, seq)
		if fault.KindOf(err) == fault.NotFound {
			return fault.Reject("train.Load", fault.NotFound, reasonGone, "message %d, which the manifest names, is not in stream %s: it was trimmed or erased since, or this is another server; radtrain manifest freezes what is there: %w", seq, s.name, err)
		}
		if err != nil {
			return err
		}
		if err := yield(trainer.Record{Sequence: seq, Body: m.Body}); err != nil {
			return err
		}
	}
	return nil
}
