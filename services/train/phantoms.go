package train

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer"
)

// The files that [Phantoms] writes.
const (
	ManifestFile = "manifest.json"
	archiveFile  = "prepared.pb"
	labelsFile   = "labels.jsonl" // line i: the labels of message i of the archive
	stampFile    = "phantoms.json"
)

// EvaluationSeed is the seed of the phantoms that models are measured on. [Phantoms] refuses
// to make training data from it.
const EvaluationSeed = 20260

// stamp says what an archive was made from; one that differs is not continued. The number of
// studies is left out: no study depends on it, so an archive can grow.
type stamp struct {
	Phantoms    *phantom.Config `json:"phantoms,omitempty"`
	Studies     []string        `json:"studies,omitempty"` // paths
	Labels      bool            `json:"labels,omitempty"`  // of their columns
	Set         string          `json:"set,omitempty"`     // hash of the studies of a data set
	Preparation string          `json:"preparation"`
}

// Phantoms makes training data: phantom studies, prepared by ingest as a running radstream
// would, in dir/prepared.pb with dir/manifest.json. It goes on where an earlier call for the
// same data was interrupted, and does nothing where one was completed. validation is the
// share of patients, 0 to 1, that is never trained on.
//
// Errors: Usage for a wrong configuration, the evaluation's seed, or a folder that holds
// other data; Canceled when ctx ends, after which what was made stays.
func Phantoms(ctx context.Context, dir string, c phantom.Config, validation float64, progress func(done, total int)) (*trainer.Manifest, error) {
	const op = "train.Phantoms"
	if c.Seed >= EvaluationSeed && c.Seed <= lastKeptSeed {
		return nil, fault.Errorf(op, fault.Usage, "seed %d is the evaluation's and must never be trained on: choose another", c.Seed)
	}
	if c.Broken > 0 {
		return nil, fault.Errorf(op, fault.Usage, "training data has no broken studies")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	preparer, err := newPreparer()
	if err != nil {
		return nil, err
	}
	kind := c
	kind.Studies = 0
	if err := claim(dir, stamp{Phantoms: &kind, Preparation: preparer.Version()}); err != nil {
		return nil, err
	}
	if err := generate(ctx, dir, c, preparer, progress); err != nil {
		return nil, fault.Wrap(op, err)
	}
	labels, err := readLabels(filepath.Join(dir, labelsFile))
	if err != nil {
		return nil, err
	}
	freezer := trainer.NewFreezer(trainer.HeldOut{Share: validation})
	err = trainer.Archive{Path: filepath.Join(dir, archiveFile)}.Each(ctx, func(r trainer.Record) error {
		if r.Sequence > uint64(c.Studies) { // an earlier call made more
			return nil
		}
		return freezer.Add(r, true, labels[r.Sequence-1])
	})
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	m, err := freezer.Manifest(trainer.Origin{Archive: archiveFile, Note: note(c)})
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	return m, fault.Wrap(op, m.Write(filepath.Join(dir, ManifestFile)))
}

// generate appends what is missing. Studies are made in parallel, in blocks, and written in
// order: the labels of a block before its messages, so that every message has its labels.
func generate(ctx context.Context, dir string, c phantom.Config, p *ingest.Preparer, progress func(done, total int)) (err error) {
	const op = "train.generate"
	archive, err := trainer.OpenArchive(ctx, filepath.Join(dir, archiveFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	labels, err := openLabels(filepath.Join(dir, labelsFile), archive.Count())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fault.E(op, fault.Internal, labels.Close())) }()
	// The same key wherever this runs, so that the same phantoms give the same bytes.
	secret := sha256.Sum256([]byte("radtrain phantoms"))
	key, err := deid.NewKey(secret[:])
	if err != nil {
		return err
	}
	for done := int(archive.Count()); done < c.Studies; done = int(archive.Count()) {
		if progress != nil {
			progress(done, c.Studies)
		}
		n := min(block, c.Studies-done)
		bodies, names := make([][]byte, n), make([][]string, n)
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i := range n {
			group.Go(func() error {
				study, err := phantom.Generate(c, done+i)
				if err != nil {
					return err
				}
				prepared, err := trainer.PreparePhantom(ctx, p, key, study)
				if err != nil {
					return err
				}
				names[i] = trainer.PhantomLabels(study.Truth)
				bodies[i], err = proto.MarshalOptions{Deterministic: true}.Marshal(prepared)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return fault.Wrap(op, err)
		}
		encoder := json.NewEncoder(labels)
		for _, l := range names {
			if err := encoder.Encode(l); err != nil {
				return fault.E(op, fault.Internal, err)
			}
		}
		for _, b := range bodies {
			if err := archive.Append(b); err != nil {
				return err
			}
		}
	}
	if progress != nil {
		progress(c.Studies, c.Studies)
	}
	return nil
}

// claim marks dir as holding this data, or refuses it when it holds other data.
func claim(dir string, s stamp) error {
	const op = "train.Phantoms"
	want, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	want = append(want, '\n')
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	path := filepath.Join(dir, stampFile)
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.E(op, fault.Usage, os.WriteFile(path, want, 0o644))
	case err != nil:
		return fault.E(op, fault.Usage, err)
	case !bytes.Equal(have, want):
		return fault.Errorf(op, fault.Usage, "%s holds data of other settings (see %s): remove it or name another folder", dir, stampFile)
	}
	return nil
}

// openLabels opens the list of labels behind its first count lines.
func openLabels(path string, count uint64) (*os.File, error) {
	const op = "train.openLabels"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	r, keep := bufio.NewReader(f), int64(0)
	for range count {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, errors.Join(fault.Errorf(op, fault.Corrupt, "%s has fewer lines than the archive has messages: remove the folder and make it again", path), f.Close())
		}
		keep += int64(len(line))
	}
	err = f.Truncate(keep)
	if err == nil {
		_, err = f.Seek(keep, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fault.E(op, fault.Internal, err), f.Close())
	}
	return f, nil
}

func readLabels(path string) ([][]string, error) {
	const op = "train.readLabels"
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	defer f.Close()
	var all [][]string
	for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
		var labels []string
		if err := d.Decode(&labels); err != nil {
			return nil, fault.E(op, fault.Corrupt, err)
		}
		all = append(all, labels)
	}
	return all, nil
}

// note says in words what the phantoms are.
func note(c phantom.Config) string {
	kind := fmt.Sprintf("%.0f %% normal, the others with 1 to 3 findings", 100*c.NormalShare)
	if c.SingleFinding {
		kind = "one finding each"
	}
	return fmt.Sprintf("%d phantoms of seed %d, %d pixels, %s", c.Studies, c.Seed, c.Side, kind)
}

// newPreparer returns ingest as radstream runs it by default, but for the quality gate: phantoms
// are good by construction, and an evaluation counts every film of its list.
func newPreparer() (*ingest.Preparer, error) {
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		return nil, err
	}
	c := ingest.Default()
	c.Limits = pixel.Limits{}
	return ingest.New(c, tok)
}
