package trainer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Dataset is what a run trains on and measures itself on, in memory: about 50 KB a view.
type Dataset struct {
	Train, Validation []*Study
	Manifests         []string // ids
	Preparation       string
	MaskToken         int32 // of the tokenizer, see Batch.MaskToken
}

// Part is one manifest with the place where its messages are.
type Part struct {
	Manifest *Manifest
	Source   Source
}

// Load fetches and decodes what the manifests name, checking every message against its hash.
// The order of studies, and so of all batches, is the order of parts and in each that of study
// keys: it does not matter whether messages come from a stream or from a file. progress, if
// not nil, is called now and then, never twice at once.
//
// Errors: Invalid for manifests that do not fit together, that share a study, or of which one trains
// on a patient whom another holds out; Corrupt for a
// message that is not the frozen one, and the source's own.
func Load(ctx context.Context, parts []Part, t Reader, progress func(done, total int)) (*Dataset, error) {
	const op = "trainer.Load"
	d := &Dataset{MaskToken: t.Mask}
	total, done := 0, 0
	for _, p := range parts {
		total += len(p.Manifest.Studies)
	}
	seen, sides := make(map[string]bool, total), map[string]Split{}
	for i, p := range parts {
		m := p.Manifest
		if i == 0 {
			d.Preparation = m.Preparation
		}
		if m.Preparation != d.Preparation {
			return nil, fault.Reject(op, fault.Invalid, ReasonData, "the manifests were prepared by different versions")
		}
		for _, e := range m.Studies {
			if seen[e.StudyKey] {
				return nil, fault.Reject(op, fault.Invalid, ReasonData, "a study is in two manifests")
			}
			seen[e.StudyKey] = true
		}
		studies, err := loadPart(ctx, p, t, func() {
			if done++; progress != nil && (done%100 == 0 || done == total) {
				progress(done, total)
			}
		})
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		for _, s := range studies {
			if side, known := sides[s.Patient]; known && side != s.Split {
				return nil, fault.Reject(op, fault.Invalid, ReasonData, "a patient has studies to train on and others that are held out: make the manifests with the same split (--validation, --held-out)")
			}
			if s.Patient != "" {
				sides[s.Patient] = s.Split
			}
			if s.Split == Validation {
				d.Validation = append(d.Validation, s)
			} else {
				d.Train = append(d.Train, s)
			}
		}
		d.Manifests = append(d.Manifests, m.ID)
	}
	if len(d.Train) == 0 {
		return nil, fault.Reject(op, fault.Invalid, ReasonData, "the manifests have no study to train on")
	}
	linkPriors(d.Train)
	return d, nil
}

// Differs says whether any two reports to train on do not say the same: without, a contrastive loss
// has nothing to tell apart.
func (d *Dataset) Differs() bool {
	first := d.Train[0].Report.said()
	return slices.ContainsFunc(d.Train, func(s *Study) bool { return s.Report.said() != first })
}

// loadPart returns the studies of one manifest in its order.
func loadPart(ctx context.Context, p Part, t Reader, one func()) ([]*Study, error) {
	const op = "trainer.loadPart"
	places := make(map[uint64]int, len(p.Manifest.Studies))
	sequences := make([]uint64, len(p.Manifest.Studies))
	for i, e := range p.Manifest.Studies {
		places[e.Sequence], sequences[i] = i, e.Sequence
	}
	slices.Sort(sequences)
	studies := make([]*Study, len(sequences))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 1)
	err := p.Source.Records(ctx, sequences, func(r Record) error {
		one()
		i, named := places[r.Sequence]
		if !named {
			return fault.Errorf(op, fault.Internal, "the source returned a message that was not asked for")
		}
		group.Go(func() error {
			s, err := decode(p.Manifest.Studies[i], r, t)
			studies[i] = s
			return err
		})
		return ctx.Err()
	})
	// The group's error comes first: it is why the source was stopped.
	if failed := group.Wait(); failed != nil {
		return nil, failed
	}
	return studies, err
}

// check refuses a message that is not the one that was frozen.
func (e Entry) check(r Record) error {
	if sum := sha256.Sum256(r.Body); hex.EncodeToString(sum[:]) != e.SHA256 {
		return fault.Errorf("trainer.Entry", fault.Corrupt, "message %d is not the one that was frozen: its SHA-256 differs", r.Sequence)
	}
	return nil
}

func decode(e Entry, r Record, t Reader) (*Study, error) {
	const op = "trainer.decode"
	if err := e.check(r); err != nil {
		return nil, err
	}
	var m radstreamv1.StudyPrepared
	if err := proto.Unmarshal(r.Body, &m); err != nil {
		return nil, fault.E(op, fault.Corrupt, err)
	}
	s, err := NewStudy(&m, t)
	if err != nil {
		return nil, err
	}
	s.Split, s.Labelled, s.Labels = e.Split, e.Labelled, e.Labels
	return s, nil
}

// linkPriors finds the prior of each study: the newest older one of its patient.
func linkPriors(studies []*Study) {
	byPatient := map[string][]*Study{}
	for _, s := range studies {
		if !s.Time.IsZero() {
			byPatient[s.Patient] = append(byPatient[s.Patient], s)
		}
	}
	for _, all := range byPatient {
		slices.SortFunc(all, func(a, b *Study) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Key, b.Key)) })
		for i := 1; i < len(all); i++ {
			all[i].prior = all[i-1]
			if !all[i-1].Time.Before(all[i].Time) { // of the same time: theirs is one
				all[i].prior = all[i-1].prior
			}
		}
	}
}
