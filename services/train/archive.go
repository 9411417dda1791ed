package train

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/publish"
	"github.com/radstream/radstream/trainer"
)

// StudiesOptions are one call of `radtrain studies`.
type StudiesOptions struct {
	Dir    string          // made, with an archive and a manifest for each split
	Paths  []string        // folders and CSVs, as radstream publish reads them
	Held   trainer.HeldOut // Salt is not used
	Splits int             // how many, each with other patients held out
}

// Studies makes training data of studies in folders and CSVs, without a server: prepared by
// ingest as a running radstream would, but for the quality gate, in Dir/prepared.pb, and frozen
// in Dir/manifest.json, or Dir/split1.json and so on. A study's labels are what ingest reads in
// its report.
//
// Errors: Usage for a folder that holds data already, Invalid where there is nothing to train on.
func Studies(ctx context.Context, o StudiesOptions, progress func(done, total int)) (manifests []*trainer.Manifest, paths []string, err error) {
	const op = "train.Studies"
	preparer, err := newPreparer()
	if err != nil {
		return nil, nil, fault.Wrap(op, err)
	}
	plan, err := publish.Scan(ctx, o.Paths)
	if err != nil {
		return nil, nil, fault.Wrap(op, err)
	}
	// The same key wherever this runs, so that the same studies give the same bytes and splits.
	secret := sha256.Sum256([]byte("radtrain studies"))
	key, err := deid.NewKey(secret[:])
	if err != nil {
		return nil, nil, fault.Wrap(op, err)
	}
	if err := claim(o.Dir, stamp{Studies: o.Paths, Preparation: preparer.Version()}); err != nil {
		return nil, nil, err
	}
	archive, err := trainer.OpenArchive(ctx, filepath.Join(o.Dir, archiveFile))
	if err != nil {
		return nil, nil, fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	const block = 64
	for done := int(archive.Count()); done < len(plan.Studies); done = int(archive.Count()) {
		if progress != nil {
			progress(done, len(plan.Studies))
		}
		bodies := make([][]byte, min(block, len(plan.Studies)-done))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i := range bodies {
			group.Go(func() error {
				s := plan.Studies[done+i]
				prepared, err := prepare(ctx, preparer, key, s)
				if err != nil {
					return err
				}
				if prepared == nil { // its place stays, and it is left out when frozen
					prepared = &radstreamv1.StudyPrepared{StudyKey: string(s.UID)}
				}
				bodies[i], err = proto.MarshalOptions{Deterministic: true}.Marshal(prepared)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, nil, fault.Wrap(op, err)
		}
		for _, b := range bodies {
			if err := archive.Append(b); err != nil {
				return nil, nil, err
			}
		}
	}
	if progress != nil {
		progress(len(plan.Studies), len(plan.Studies))
	}
	for split := range max(o.Splits, 1) {
		held, name := o.Held, ManifestFile
		if o.Splits > 1 {
			held.Salt, name = fmt.Sprint(split+1), fmt.Sprintf("split%d.json", split+1)
		}
		freezer := trainer.NewFreezer(held)
		err := trainer.Archive{Path: filepath.Join(o.Dir, archiveFile)}.Each(ctx, func(r trainer.Record) error {
			var s radstreamv1.StudyPrepared
			if err := proto.Unmarshal(r.Body, &s); err != nil {
				return fault.E(op, fault.Corrupt, err)
			}
			labels, known := reportLabels(s.GetReport())
			return freezer.Add(r, known, labels)
		})
		if err != nil {
			return nil, nil, fault.Wrap(op, err)
		}
		m, err := freezer.Manifest(trainer.Origin{Archive: archiveFile, Note: fmt.Sprintf("%d studies of %d files and folders", len(plan.Studies), len(o.Paths))})
		if err != nil {
			return nil, nil, fault.Wrap(op, err)
		}
		path := filepath.Join(o.Dir, name)
		if err := m.Write(path); err != nil {
			return nil, nil, fault.Wrap(op, err)
		}
		manifests, paths = append(manifests, m), append(paths, path)
	}
	return manifests, paths, nil
}
