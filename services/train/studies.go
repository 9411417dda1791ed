package train

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/publish"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/eval"
)

// ReasonStudies is the fault reason of a folder or CSV that nothing can be measured on.
const ReasonStudies fault.Reason = "evaluation_studies"

// maxTable bounds a CSV of labels in bytes.
const maxTable = 256 << 20

// LeftOut says which parts of studies did not count.
type LeftOut struct {
	Missing  int                  `json:"missing"`            // images that a list names and that are not there
	Images   map[fault.Reason]int `json:"images,omitempty"`   // that ingest did not take, by reason
	Reports  map[fault.Reason]int `json:"reports,omitempty"`  // likewise
	Problems map[string]int       `json:"problems,omitempty"` // files and rows that [publish.Scan] could not use, by its reasons
}

func (l *LeftOut) add(refused []ingest.Refusal) {
	for _, r := range refused {
		of := &l.Images
		if r.Ref == nil {
			of = &l.Reports
		}
		if *of == nil {
			*of = map[fault.Reason]int{}
		}
		(*of)[fault.ReasonOf(r.Err)]++
	}
}

// block is how many studies are in memory at once: films are large, what is made of them is not.
const block = 64

// scan lists the studies below path.
func scan(ctx context.Context, path string) ([]publish.Study, error) {
	plan, err := publish.Scan(ctx, []string{path})
	if err == nil {
		err = wholeLists(plan)
	}
	if err == nil && len(plan.Studies) == 0 {
		err = fault.Reject("train.scan", fault.Invalid, ReasonStudies, "there are no studies: a CSV needs the columns study_id and image")
	}
	return plan.Studies, err
}

// wholeLists refuses what was scanned where a list could not be read, or not to its end: the studies
// are not all that it names.
func wholeLists(p publish.Plan) error {
	for _, problem := range p.Problems {
		list := strings.EqualFold(filepath.Ext(problem.Path), ".csv") // else a film or a report
		if problem.Reason == publish.ReasonCSV || list && (problem.Reason == publish.ReasonTooLarge || problem.Reason == publish.ReasonUnread) {
			return fault.Reject("train.scan", fault.Invalid, ReasonStudies, "%s: %s", problem.Path, problem.Detail)
		}
	}
	return nil
}

// coder takes studies through ingest and a model.
type coder struct {
	*embedder.Encoder
	preparer *ingest.Preparer
	key      deid.Key
	labels   []zeroshot.Label
	left     LeftOut
}

// withCoder opens the model in dir for f. Its labels are scored, and of more those that it does
// not have, by the default prompts and uncalibrated.
func withCoder(ctx context.Context, dir string, more []string, o embedder.Options, f func(*coder) error) error {
	preparer, err := newPreparer()
	if err != nil {
		return err
	}
	secret := sha256.Sum256([]byte("radtrain eval"))
	key, err := deid.NewKey(secret[:])
	if err != nil {
		return err
	}
	return withOptions(ctx, dir, preparer.Version(), o, func(e *embedder.Encoder) error {
		labels := slices.Clone(e.Model().Labels)
		defaults, err := zeroshot.DefaultLabels()
		if err != nil {
			return err
		}
		for _, l := range defaults {
			if slices.Contains(more, l.Name) && !slices.ContainsFunc(labels, func(have model.Label) bool { return have.Name == l.Name }) {
				labels = append(labels, l)
			}
		}
		c := &coder{Encoder: e, preparer: preparer, key: key}
		if c.labels, err = e.EncodeLabels(ctx, labels); err != nil {
			return err
		}
		return f(c)
	})
}

// encode returns what the model says of each study. What ingest refuses of a study is counted
// and left out of it.
func (c *coder) encode(ctx context.Context, studies []publish.Study, progress func(done, total int)) ([]eval.Encoded, error) {
	out := make([]eval.Encoded, 0, len(studies))
	for some := range slices.Chunk(studies, block) {
		if progress != nil {
			progress(len(out), len(studies))
		}
		prepared, refused, err := prepareAll(ctx, c.preparer, c.key, some)
		if err != nil {
			return nil, err
		}
		read := make([]*trainer.Study, len(some))
		for i, p := range prepared {
			c.left.add(refused[i])
			if read[i] = new(trainer.Study); p != nil {
				if read[i], err = trainer.NewStudy(p, readerOf(c.Encoder)); err != nil {
					return nil, err
				}
			}
		}
		encoded, err := eval.EncodeScored(ctx, c.Encoder, c.labels, read)
		if err != nil {
			return nil, err
		}
		out = append(out, encoded...)
	}
	if progress != nil {
		progress(len(out), len(studies))
	}
	return out, nil
}

// prepareAll takes studies through ingest in parallel; see prepare.
func prepareAll(ctx context.Context, p *ingest.Preparer, key deid.Key, studies []publish.Study) ([]*radstreamv1.StudyPrepared, [][]ingest.Refusal, error) {
	prepared, refused := make([]*radstreamv1.StudyPrepared, len(studies)), make([][]ingest.Refusal, len(studies))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range studies {
		group.Go(func() (err error) {
			prepared[i], refused[i], err = prepare(ctx, p, key, s)
			return err
		})
	}
	return prepared, refused, group.Wait()
}

// prepare takes one study through ingest. What is not taken of it is in refused; where that is all,
// there is no study.
func prepare(ctx context.Context, p *ingest.Preparer, key deid.Key, s publish.Study) (prepared *radstreamv1.StudyPrepared, refused []ingest.Refusal, err error) {
	name := string(s.UID)
	if name == "" && len(s.Objects) > 0 { // DICOM of a data set, whose files have names of their own
		name = filepath.Base(s.Objects[0].Path)
	}
	a := ingest.Arrival{ID: event.ID("eval", name), StudyUID: s.UID, PatientID: s.PatientID, StudyTime: s.Time, Report: s.Report, HasReport: s.Report != ""}
	for _, o := range s.Objects {
		object := ingest.Object{Ref: &radstreamv1.ObjectRef{Uri: "file:" + o.Path, MediaType: o.MediaType}, Projection: o.Projection}
		object.Data, object.Err = readObject(o.Path)
		a.Objects = append(a.Objects, object)
	}
	facts, refused, err := p.Prepare(ctx, key, a)
	if err == nil {
		prepared, _, err = assemble.Next(nil, facts)
	}
	if fault.ReasonOf(err) == "" { // no fault, or not the study's
		return prepared, refused, err
	}
	for _, o := range a.Objects {
		if !slices.ContainsFunc(refused, func(r ingest.Refusal) bool { return r.Ref == o.Ref }) {
			refused = append(refused, ingest.Refusal{Ref: o.Ref, Err: err})
		}
	}
	return nil, refused, nil
}

func readObject(path string) ([]byte, error) {
	const op = "train.readObject"
	info, err := os.Stat(path)
	if err == nil && info.Size() > blob.DefaultMaxBytes {
		return nil, fault.Reject(op, fault.Unsupported, publish.ReasonTooLarge, "an object has at most %d bytes", int64(blob.DefaultMaxBytes))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Reject(op, fault.NotFound, publish.ReasonUnread, "the file cannot be read")
	}
	return data, nil
}

// labelNames maps what data sets call a label to the name that models use.
var labelNames = [...][2]string{
	{"pleural_effusion", "effusion"},
	{"hernia", "hiatal_hernia"},
	{"enlarged_heart", "cardiomegaly"},
	{"pulmonary_edema", "edema"},
	{"lung_lesion", "nodule"},
	{"infiltration", "lung_opacity"},
	{"airspace_opacity", "lung_opacity"},
	{"pleural_other", "pleural_thickening"},
}

// labelColumns reads the truth of a CSV with a column study_id and one column a label, named
// like one of the model's labels (or as CheXpert and ChestX-ray14 name it; upper case, spaces
// and underscores do not matter): 1 present, 0 absent, anything else (such as -1, uncertain)
// not known. ChestX-ray14's column finding_labels says no_finding where it is "No Finding". Rows
// of one study are joined: present in any is present.
func labelColumns(path string, labels []model.Label) (map[event.StudyUID]map[string]bool, error) {
	const op = "train.labelColumns"
	info, err := os.Stat(path)
	if err != nil || info.IsDir() || info.Size() > maxTable {
		return nil, fault.Reject(op, fault.Invalid, ReasonStudies, "%s must be a CSV of at most %d bytes", path, maxTable)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	header, err := r.Read()
	if err != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonStudies, "the first line of the CSV must name its columns")
	}
	id, found, columns := -1, -1, map[int]string{}
	for i, name := range header {
		name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")
		if name == "study_id" {
			id = i
		}
		if name == "finding_labels" {
			found = i
		}
		for _, alias := range labelNames {
			if name == alias[0] && !slices.ContainsFunc(labels, func(l model.Label) bool { return l.Name == name }) {
				name = alias[1]
			}
		}
		if slices.ContainsFunc(labels, func(l model.Label) bool { return l.Name == name }) {
			columns[i] = name
		}
	}
	if id < 0 || len(columns) == 0 {
		return nil, fault.Reject(op, fault.Invalid, ReasonStudies, "the CSV needs a column study_id and a column named like a label of the model, with 1 and 0")
	}
	truth := map[event.StudyUID]map[string]bool{}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return truth, nil
		}
		if err != nil {
			return nil, fault.Reject(op, fault.Invalid, ReasonStudies, "line %d of the CSV has not the columns of the first line", line(err))
		}
		uid := event.StudyUID(strings.TrimSpace(record[id]))
		if truth[uid] == nil {
			truth[uid] = map[string]bool{}
		}
		if found >= 0 {
			none := strings.EqualFold(strings.TrimSpace(record[found]), "no finding")
			truth[uid][trainer.NoFinding] = truth[uid][trainer.NoFinding] || none
		}
		for i, name := range columns {
			v, err := strconv.ParseFloat(strings.TrimSpace(record[i]), 64)
			if err == nil && (v == 0 || v == 1) {
				truth[uid][name] = truth[uid][name] || v == 1
			}
		}
	}
}

func line(err error) int {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return p.Line
	}
	return 0
}
