package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/datasets"
	"github.com/radstream/radstream/services/publish"
	"github.com/radstream/radstream/trainer"
)

// StudiesOptions are one call of `radtrain studies`.
type StudiesOptions struct {
	Dir    string          // made, with an archive and a manifest for each split
	Paths  []string        // folders and CSVs, as radstream publish reads them
	Set    string          // kind of data set that the one path holds; empty for what radstream publish reads
	Labels bool            // the one path is a CSV whose label columns are what studies show; see [labelColumns]
	Held   trainer.HeldOut // of this Share and Studies are used, and none where the set has splits of its own
	Splits int             // how many, each with other patients held out
}

// StudiesResult is what [Studies] made.
type StudiesResult struct {
	Manifests []*trainer.Manifest
	Paths     []string // of the manifests
	LeftOut   LeftOut  // of what this call prepared
}

// Studies makes training data of studies in folders and CSVs, without a server: prepared by
// ingest as a running radstream would, but for the quality gate, in Dir/prepared.pb, and frozen
// in Dir/manifest.json, or Dir/split1.json and so on. A study's labels are what ingest reads in
// its report. With Labels they are those of the CSV, and where a study has no report, one is made
// of them, in words of the prompts that labels are scored by; one of which a label is not known
// calibrates and measures nothing. MIMIC-CXR's own splits hold: validate
// is held out and test is not there at all.
//
// Errors: Usage for a folder that holds data already or a set to measure on, Invalid where there is
// nothing to train on, and those of [datasets.Open].
func Studies(ctx context.Context, o StudiesOptions, progress func(done, total int)) (out StudiesResult, err error) {
	const op = "train.Studies"
	preparer, err := newPreparer()
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	plan, err := planOf(ctx, o)
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	out.LeftOut.Missing, out.LeftOut.Problems = plan.missing, plan.problems
	// The same key wherever this runs, so that the same studies give the same bytes and splits.
	secret := sha256.Sum256([]byte("radtrain studies"))
	key, err := deid.NewKey(secret[:])
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	if err := claim(o.Dir, stamp{Studies: o.Paths, Set: plan.hash, Labels: o.Labels, Preparation: preparer.Version()}); err != nil {
		return out, err
	}
	archive, err := trainer.OpenArchive(ctx, filepath.Join(o.Dir, archiveFile))
	if err != nil {
		return out, fault.Wrap(op, err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	for done := int(archive.Count()); done < len(plan.studies); done = int(archive.Count()) {
		if progress != nil {
			progress(done, len(plan.studies))
		}
		prepared, refused, err := prepareAll(ctx, preparer, key, plan.studies[done:min(done+block, len(plan.studies))])
		if err != nil {
			return out, fault.Wrap(op, err)
		}
		for i, p := range prepared {
			out.LeftOut.add(refused[i])
			if p == nil { // its place stays, and it is left out when frozen
				p = &radstreamv1.StudyPrepared{StudyKey: fmt.Sprintf("unread %d", done+i)}
			}
			body, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
			if err != nil {
				return out, fault.E(op, fault.Internal, err)
			}
			if err := archive.Append(body); err != nil {
				return out, err
			}
		}
	}
	if progress != nil {
		progress(len(plan.studies), len(plan.studies))
	}
	for split := range max(o.Splits, 1) {
		held, name := o.Held, ManifestFile
		held.Messages = plan.held
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
			if plan.labels != nil {
				labels, known = plan.labels[r.Sequence-1], plan.known[r.Sequence-1]
			}
			return freezer.Add(r, known, labels)
		})
		if err != nil {
			return out, fault.Wrap(op, err)
		}
		m, err := freezer.Manifest(trainer.Origin{Archive: archiveFile, Note: plan.note})
		if err != nil {
			return out, fault.Wrap(op, err)
		}
		path := filepath.Join(o.Dir, name)
		if err := m.Write(path); err != nil {
			return out, fault.Wrap(op, err)
		}
		out.Manifests, out.Paths = append(out.Manifests, m), append(out.Paths, path)
	}
	return out, nil
}

// plan is what [Studies] prepares, in this order.
type plan struct {
	studies  []publish.Study
	labels   [][]string      // that each is known to show; nil where its report says so
	known    []bool          // that these are all of them; as many as labels
	held     map[uint64]bool // sequences that a set holds out; nil where it has no splits
	missing  int
	problems map[string]int // by reason; see [LeftOut]
	hash     string         // of a set: an archive goes on only with the same studies at the same places
	note     string
}

func planOf(ctx context.Context, o StudiesOptions) (plan, error) {
	const op = "train.Studies"
	if o.Set == "" {
		found, err := publish.Scan(ctx, o.Paths)
		p := plan{studies: found.Studies, problems: map[string]int{}, note: fmt.Sprintf("%d studies of %d files and folders", len(found.Studies), len(o.Paths))}
		for _, problem := range found.Problems {
			p.problems[problem.Reason]++
		}
		if err == nil {
			err = wholeLists(found)
		}
		if err == nil && o.Labels {
			err = p.readLabels(o.Paths)
		}
		return p, err
	}
	if o.Labels {
		return plan{}, fault.Errorf(op, fault.Usage, "a data set has labels of its own: leave out --labels or --set")
	}
	if o.Set != "mimic-cxr" || len(o.Paths) != 1 || o.Splits > 1 || o.Held.Studies > 0 {
		return plan{}, fault.Errorf(op, fault.Usage, "the data set to train on is mimic-cxr, in one folder and with its own splits; the others are for radtrain eval dataset")
	}
	set, err := datasets.Open(o.Set, o.Paths[0])
	if err != nil {
		return plan{}, err
	}
	p := plan{held: map[uint64]bool{}, missing: set.Missing}
	names, tests := sha256.New(), 0
	for _, s := range set.Studies {
		// A study without a split may be of a patient of the test split.
		if s.Split != "train" && s.Split != "validate" {
			tests++
			continue
		}
		p.studies = append(p.studies, s.Study)
		if s.Split == "validate" {
			p.held[uint64(len(p.studies))] = true
		}
		fmt.Fprintln(names, s.ID, s.Split, len(s.Objects), s.Objects[0].MediaType, len(s.Report))
	}
	if len(p.studies) == 0 {
		return p, fault.Reject(op, fault.Invalid, ReasonStudies, "no image there is of a study to train on: %d studies are of the test split or of none", tests)
	}
	p.hash = hex.EncodeToString(names.Sum(nil))
	p.note = fmt.Sprintf("%d studies of the splits train and validate of %s; %d images are missing, %d studies of other splits left out", len(p.studies), set.Name, set.Missing, tests)
	return p, nil
}

// readLabels takes the labels of the studies from the columns of the CSV.
func (p *plan) readLabels(paths []string) error {
	const op = "train.readLabels"
	if len(paths) != 1 {
		return fault.Errorf(op, fault.Usage, "labels are the columns of one CSV: name it alone")
	}
	labels, err := zeroshot.DefaultLabels()
	if err != nil {
		return fault.Wrap(op, err)
	}
	truth, err := labelColumns(paths[0], labels)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, t := range truth {
		for name := range t {
			names[name] = true
		}
	}
	p.labels, p.known = make([][]string, len(p.studies)), make([]bool, len(p.studies))
	for i := range p.studies {
		s := &p.studies[i]
		p.known[i] = len(truth[s.UID]) == len(names) // else one is uncertain
		var said []string
		// Which of a label's prompts says it is drawn by the study, so that it stays.
		draw := sha256.Sum256([]byte(s.UID))
		say := func(l model.Label) { said = append(said, l.Positive[int(draw[0])%len(l.Positive)]) }
		for _, l := range labels {
			if truth[s.UID][l.Name] {
				p.labels[i] = append(p.labels[i], l.Name)
				say(l)
			}
		}
		if s.Report == "" { // nor is there one where nothing is known to be there, not even nothing
			s.Report = strings.Join(said, " ")
		}
	}
	return nil
}
