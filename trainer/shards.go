package trainer

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Shards is a WebDataset on disk: tar files of samples, and an index of them for each split in
// the form of the webdataset package (wids).
type Shards struct {
	Train      []Shard `json:"train"`
	Validation []Shard `json:"validation"`
}

// Shard is one tar file.
type Shard struct {
	URL     string `json:"url"` // its name in the folder of the index
	Samples int    `json:"nsamples"`
	Bytes   int64  `json:"filesize"`
}

// sample is what the JSON file of a study says. The files of one study follow each other in a
// shard and share its key up to the first dot:
//
//	KEY.json            this
//	KEY.txt             the cleaned report
//	KEY.0.frontal.png   a view, 224 x 224 grey; then KEY.1.lateral.png and so on
type sample struct {
	StudyKey   string            `json:"study_key"`
	PatientKey string            `json:"patient_key"`
	Rev        uint64            `json:"rev"`
	PrepID     string            `json:"prep_id"`
	Time       *time.Time        `json:"shifted_time,omitempty"`
	Prior      string            `json:"prior_study_key,omitempty"`
	Labelled   bool              `json:"labelled"` // labels are all findings that are present
	Labels     []string          `json:"labels"`
	Mentions   map[string]string `json:"report_labels"` // CheXpert observation -> positive, negative or uncertain
	Views      []sampleView      `json:"views"`
	Sections   []sampleSection   `json:"sections"`
	Tokens     []int32           `json:"tokens"` // of the text, [CLS] and [SEP] included
	message    *radstreamv1.StudyPrepared
}

type sampleView struct {
	File       string    `json:"file"` // behind the key and a dot
	Projection string    `json:"projection"`
	Exposed    [4]uint32 `json:"exposed"` // where the film lies: x0, y0, x1, y1
}

type sampleSection struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Export writes the studies that a manifest names into dir as shards of at most perShard studies,
// train-000000.tar and so on, checking each message against its hash. The same manifest gives
// the same bytes. progress, if not nil, is called now and then.
//
// Errors: Usage when dir cannot be written or holds shards already; Corrupt for a message that is
// not the frozen one; those of the source and of ctx.
func Export(ctx context.Context, p Part, dir string, perShard int, progress func(done, total int)) (_ Shards, err error) {
	const op = "trainer.Export"
	if perShard < 1 {
		return Shards{}, fault.Errorf(op, fault.Usage, "a shard has at least one study")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Shards{}, fault.E(op, fault.Usage, err)
	}
	entries := make(map[uint64]Entry, len(p.Manifest.Studies))
	var sequences []uint64
	for _, e := range p.Manifest.Studies {
		entries[e.Sequence] = e
		sequences = append(sequences, e.Sequence)
	}
	slices.Sort(sequences)
	writers := map[Split]*shardWriter{
		Train:      {dir: dir, split: Train, most: perShard},
		Validation: {dir: dir, split: Validation, most: perShard},
	}
	defer func() {
		if err != nil {
			for _, w := range writers {
				w.abandon()
			}
		}
	}()
	done := 0
	if err := p.Source.Records(ctx, sequences, func(r Record) error {
		e := entries[r.Sequence]
		s, err := sampleOf(e, r)
		if err == nil {
			err = writers[e.Split].add(s)
		}
		if done++; err == nil && progress != nil && (done%100 == 0 || done == len(sequences)) {
			progress(done, len(sequences))
		}
		return errors.Join(err, ctx.Err())
	}); err != nil {
		return Shards{}, fault.Wrap(op, err)
	}
	for _, w := range writers {
		if err := w.finish(); err != nil {
			return Shards{}, fault.Wrap(op, err)
		}
	}
	return Shards{writers[Train].shards, writers[Validation].shards}, nil
}

// sampleOf reads a message, which must be the one of the entry.
func sampleOf(e Entry, r Record) (sample, error) {
	const op = "trainer.Export"
	if err := e.check(r); err != nil {
		return sample{}, err
	}
	var m radstreamv1.StudyPrepared
	if err := proto.Unmarshal(r.Body, &m); err != nil {
		return sample{}, fault.E(op, fault.Corrupt, err)
	}
	s := sample{
		StudyKey: m.StudyKey, PatientKey: m.PatientKey, Rev: m.Rev, PrepID: m.PrepId, Prior: m.GetPrior().GetStudyKey(),
		Labelled: e.Labelled, Labels: slices.Concat([]string{}, e.Labels), Mentions: map[string]string{}, Tokens: m.GetReport().GetTokens(), message: &m,
	}
	if m.ShiftedTime != nil {
		t := m.ShiftedTime.AsTime()
		s.Time = &t
	}
	for i, v := range m.Views {
		if _, err := decodeView(v); err != nil {
			return sample{}, err
		}
		projection, b := strings.ToLower(strings.TrimPrefix(v.Projection.String(), "PROJECTION_")), v.Exposed
		s.Views = append(s.Views, sampleView{fmt.Sprintf("%d.%s.png", i, projection), projection, [4]uint32{b.X0, b.Y0, b.X1, b.Y1}})
	}
	for _, section := range m.GetReport().GetSections() {
		s.Sections = append(s.Sections, sampleSection{section.Name, section.Text})
	}
	for _, l := range m.GetReport().GetLabels() {
		s.Mentions[l.Label] = l.Mention
	}
	return s, nil
}

// shardWriter writes the shards of one split, one after another. A shard has its name only when
// it is whole, and the index comes last.
type shardWriter struct {
	dir    string
	split  Split
	most   int
	shards []Shard

	file   *os.File
	buffer *bufio.Writer
	tar    *tar.Writer
	count  int
}

func (w *shardWriter) add(s sample) error {
	const op = "trainer.shardWriter"
	if w.file == nil {
		if err := w.open(); err != nil {
			return fault.E(op, fault.Usage, err)
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	err = errors.Join(w.put(s.StudyKey+".json", text), w.put(s.StudyKey+".txt", []byte(s.message.GetReport().GetText())))
	for i, v := range s.Views {
		err = errors.Join(err, w.put(s.StudyKey+"."+v.File, s.message.Views[i].Png))
	}
	if w.count++; err == nil && w.count == w.most {
		err = w.close()
	}
	return fault.E(op, fault.Usage, err)
}

func (w *shardWriter) name() string { return fmt.Sprintf("%s-%06d.tar", w.split, len(w.shards)) }

func (w *shardWriter) open() (err error) {
	path := filepath.Join(w.dir, w.name())
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already: choose another folder", path)
	}
	if w.file, err = os.Create(path + ".tmp"); err != nil {
		return err
	}
	w.buffer = bufio.NewWriterSize(w.file, 1<<20)
	w.tar, w.count = tar.NewWriter(w.buffer), 0
	return nil
}

// put adds a file, with nothing in its header that differs from run to run.
func (w *shardWriter) put(name string, data []byte) error {
	err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o444, Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.tar.Write(data)
	}
	return err
}

// close ends a shard and gives it its name.
func (w *shardWriter) close() error {
	err := errors.Join(w.tar.Close(), w.buffer.Flush(), w.file.Sync())
	size, seekErr := w.file.Seek(0, io.SeekCurrent)
	err = errors.Join(err, seekErr, w.file.Close())
	path := w.file.Name()
	w.file = nil
	if err == nil {
		err = os.Rename(path, strings.TrimSuffix(path, ".tmp"))
	}
	w.shards = append(w.shards, Shard{w.name(), w.count, size})
	return err
}

// finish ends the last shard and writes the index.
func (w *shardWriter) finish() error {
	const op = "trainer.shardWriter"
	if w.file != nil {
		if err := w.close(); err != nil {
			return fault.E(op, fault.Usage, err)
		}
	}
	if len(w.shards) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{
		"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": string(w.split), "shardlist": w.shards,
	}, "", "  ")
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	return fault.E(op, fault.Usage, os.WriteFile(filepath.Join(w.dir, string(w.split)+".json"), append(text, '\n'), 0o644))
}

// abandon removes a shard that is not whole.
func (w *shardWriter) abandon() {
	if w.file != nil {
		_ = errors.Join(w.file.Close(), os.Remove(w.file.Name())) // why is said already
	}
}
