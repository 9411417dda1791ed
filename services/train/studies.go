package train

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/radstream/radstream/embedder"
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
)

// ReasonStudies is the fault reason of a folder or CSV that nothing can be measured on.
const ReasonStudies fault.Reason = "evaluation_studies"

// maxTable bounds a CSV of labels in bytes.
const maxTable = 256 << 20

// foundStudy is a study of a folder, prepared; it may lack images or report.
type foundStudy struct {
	uid   event.StudyUID
	study *trainer.Study
}

func studiesOf(found []foundStudy) []*trainer.Study {
	out := make([]*trainer.Study, len(found))
	for i, f := range found {
		out[i] = f.study
	}
	return out
}

// withStudies prepares the studies below path and opens the model in dir for f. What ingest
// refuses of a study is left out of it.
func withStudies(ctx context.Context, dir, path string, progress func(done, total int), f func(*embedder.Encoder, []foundStudy) error) error {
	preparer, err := newPreparer()
	if err != nil {
		return err
	}
	plan, err := publish.Scan(ctx, []string{path})
	if err != nil {
		return err
	}
	if len(plan.Studies) == 0 {
		return fault.Reject("train.withStudies", fault.Invalid, ReasonStudies, "there are no studies: a CSV needs the columns study_id and image")
	}
	return withModel(ctx, dir, preparer.Version(), func(e *embedder.Encoder) error {
		secret := sha256.Sum256([]byte("radtrain eval"))
		key, err := deid.NewKey(secret[:])
		if err != nil {
			return err
		}
		found := make([]foundStudy, len(plan.Studies))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i, s := range plan.Studies {
			if progress != nil {
				progress(i+1, len(plan.Studies))
			}
			group.Go(func() error {
				found[i] = foundStudy{s.UID, &trainer.Study{}}
				prepared, err := prepare(ctx, preparer, key, s)
				if err == nil && prepared != nil {
					found[i].study, err = trainer.NewStudy(prepared, readerOf(e))
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		return f(e, found)
	})
}

// prepare takes one study through ingest; nil where nothing of it can be read at all.
func prepare(ctx context.Context, p *ingest.Preparer, key deid.Key, s publish.Study) (*radstreamv1.StudyPrepared, error) {
	a := ingest.Arrival{ID: event.ID("eval", string(s.UID)), StudyUID: s.UID, PatientID: s.PatientID, StudyTime: s.Time, Report: s.Report, HasReport: s.Report != ""}
	for _, o := range s.Objects {
		object := ingest.Object{Ref: &radstreamv1.ObjectRef{Uri: "file:" + o.Path, MediaType: o.MediaType}, Projection: o.Projection}
		object.Data, object.Err = readObject(o.Path)
		a.Objects = append(a.Objects, object)
	}
	facts, _, err := p.Prepare(ctx, key, a)
	if fault.ReasonOf(err) == ingest.ReasonNoStudy { // an object that cannot be read at all
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	prepared, _, err := assemble.Next(nil, facts)
	return prepared, err
}

func readObject(path string) ([]byte, error) {
	const op = "train.readObject"
	info, err := os.Stat(path)
	if err == nil && info.Size() > blob.DefaultMaxBytes {
		return nil, fault.Reject(op, fault.Unsupported, ReasonStudies, "an object has at most %d bytes", int64(blob.DefaultMaxBytes))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Reject(op, fault.NotFound, ReasonStudies, "the file cannot be read")
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
// not known. Rows of one study are joined: present in any is present.
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
	id, columns := -1, map[int]string{}
	for i, name := range header {
		name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")
		if name == "study_id" {
			id = i
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
