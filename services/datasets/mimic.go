package datasets

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// mimicEndings are those of MIMIC-CXR's images; DICOM has what the films were made from.
var mimicEndings = []string{".dcm", ".jpg"}

func (r *reader) mimic() error {
	const prefix = "mimic-cxr-2.0.0-"
	labels := map[string]map[string]bool{} // by study_id
	needs := append([]string{"study_id"}, slices.Sorted(maps.Keys(labelNames))...)
	if err := r.each(prefix+"chexpert.csv", needs, func(at row) error {
		id, err := at.must("study_id")
		if err != nil {
			return err
		}
		labels[id[0]], err = at.labels()
		return err
	}); err != nil {
		return err
	}
	splits := map[string]string{} // by study_id: the studies of a patient are in one split
	words := map[string]string{}  // each split's name once
	if err := r.each(prefix+"split.csv", []string{"study_id", "split"}, func(at row) error {
		v, err := at.must("study_id", "split")
		if err != nil {
			return err
		}
		id, split := v[0], v[1]
		if words[split] == "" {
			words[split] = split
		}
		if old, known := splits[id]; known && old != split {
			return at.reject("the images of a study are in two splits")
		}
		splits[id] = words[split]
		return nil
	}); err != nil {
		return err
	}
	places := map[string]int{} // of a study in the set, by study_id
	return r.each(prefix+"metadata.csv", []string{"dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"}, func(at row) error {
		v, err := at.must("dicom_id", "subject_id", "study_id")
		if err != nil {
			return err
		}
		dicom, subject, id := v[0], v[1], v[2]
		if !isNumber(subject) || len(subject) < 2 || !isNumber(id) {
			return at.reject("subject_id and study_id must be numbers of 8 digits")
		}
		taken, err := mimicTime(at)
		if err != nil {
			return err
		}
		folder := path.Join("p"+subject[:2], "p"+subject, "s"+id)
		image, err := r.image(at, mimicEndings, path.Join("files", folder, dicom))
		if err != nil || image == nil {
			return err
		}
		image.Projection = projection(at.get("ViewPosition"))
		i, known := places[id]
		if known {
			s := &r.set.Studies[i]
			s.Objects = append(s.Objects, *image)
			if s.Time.IsZero() || !taken.IsZero() && taken.Before(s.Time) {
				s.Time = taken
			}
			return nil
		}
		places[id] = len(r.set.Studies)
		s := newStudy(id, subject, *image)
		s.Time, s.Split, s.Labels = taken, splits[id], labels[id]
		if s.Report, err = r.report(at, folder+".txt"); err != nil {
			return err
		}
		r.set.Studies = append(r.set.Studies, s)
		return nil
	})
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// mimicTime reads the date as yyyymmdd and the time as hhmmss.fff, whose leading zeros are
// lost: whoever wrote the list took it for a number. MedFuse puts them back too
// (github.com/nyuad-cai/MedFuse, datasets/fusion.py).
func mimicTime(at row) (time.Time, error) {
	date, clock := at.get("StudyDate"), at.get("StudyTime")
	if date == "" {
		return time.Time{}, nil
	}
	seconds, _, _ := strings.Cut(clock, ".")
	t, err := time.Parse("20060102150405", date+strings.Repeat("0", max(0, 6-len(seconds)))+clock)
	if err != nil {
		return time.Time{}, at.reject("StudyDate must read like 21800506 and StudyTime like 213014.531")
	}
	return t, nil
}

// report returns the text of a report, whole: ingest finds the sections and judges the text.
func (r *reader) report(at row, file string) (string, error) {
	for _, folder := range []string{"files", filepath.Join("mimic-cxr-reports", "files")} {
		f, err := os.Open(filepath.Join(r.root, folder, filepath.FromSlash(file)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", at.reject("the report cannot be read: %w", fault.WithoutPath(err))
		}
		text, err := io.ReadAll(io.LimitReader(f, report.MaxBytes+1)) // one more, so that ingest sees that it is too long
		f.Close()
		if err != nil {
			return "", at.reject("the report cannot be read: %w", fault.WithoutPath(err))
		}
		return string(text), nil
	}
	return "", nil
}

func (r *reader) mscxrt() error {
	findings := map[string]string{ // column to label
		"consolidation_progression":    "consolidation",
		"edema_progression":            "edema",
		"pleural_effusion_progression": "effusion",
		"pneumonia_progression":        "pneumonia",
		"pneumothorax_progression":     "pneumothorax",
	}
	needs := []string{"dicom_id", "previous_dicom_id"}
	for column := range findings {
		needs = append(needs, column)
	}
	slices.Sort(needs)
	places := map[string]int{} // of an image's study, by its file; below 0 where it is missing
	place := func(at row, column string) (int, error) {
		file := at.get(column)
		parts := strings.Split(file, "/")
		if len(parts) != 4 || len(parts[1]) < 2 {
			return 0, at.reject("%s must read like p10/p10000032/s50414267/ and the name of an image", column)
		}
		if i, known := places[file]; known {
			return i, nil
		}
		image, err := r.image(at, mimicEndings, "files/"+file)
		if err != nil {
			return 0, err
		}
		places[file] = -1
		if image != nil {
			image.Projection = radstreamv1.Projection_PROJECTION_FRONTAL
			places[file] = len(r.set.Studies)
			r.set.Studies = append(r.set.Studies, newStudy(parts[3], parts[1][1:], *image))
		}
		return places[file], nil
	}
	if err := r.each("MS_CXR_T_temporal_image_classification_v1.0.0.csv", needs, func(at row) error {
		progress := map[string]Progress{}
		for column, finding := range findings {
			switch p := Progress(at.get(column)); p {
			case Improving, Stable, Worsening:
				progress[finding] = p
			case "":
			default:
				return at.reject("%s must be improving, stable, worsening or empty", column)
			}
		}
		before, err := place(at, "previous_dicom_id")
		if err != nil {
			return err
		}
		after, err := place(at, "dicom_id")
		if err != nil || before < 0 || after < 0 {
			return err
		}
		r.set.Changes = append(r.set.Changes, Change{before, after, progress})
		return nil
	}); err != nil {
		return err
	}
	if len(r.set.Studies) > 0 && len(r.set.Changes) == 0 {
		return fault.Reject(op, fault.NotFound, ReasonSet, "%s: of no pair of images are both there; %d are missing", r.root, r.set.Missing)
	}
	return nil
}
