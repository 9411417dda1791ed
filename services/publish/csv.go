package publish

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// maxCSV bounds a list in bytes, which is read whole: tens of thousands of studies with
// their reports fit.
const maxCSV = 64 << 20

// row is one record of a list by column name.
type row struct {
	line    int
	columns map[string]int // shared by all rows of a list
	values  []string
}

func (r row) get(names ...string) string {
	for _, n := range names {
		if i, ok := r.columns[n]; ok {
			if v := strings.TrimSpace(r.values[i]); v != "" {
				return v
			}
		}
	}
	return ""
}

// readCSV returns the rows of a list, or reports why it cannot be read.
func (s *scanner) readCSV(path string, needs ...string) []row {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxCSV {
		s.problem(path, ReasonTooLarge, "the list has %d bytes, at most %d are read: split it", info.Size(), maxCSV)
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		s.problem(path, ReasonUnread, "%v", fault.WithoutPath(err))
		return nil
	}
	if !utf8.Valid(data) {
		s.problem(path, ReasonCSV, "a list must be in UTF-8: save it again in that encoding")
		return nil
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	header, err := r.Read()
	if err != nil {
		s.problem(path, ReasonCSV, "the first line must name the columns")
		return nil
	}
	columns := map[string]int{}
	for i := range header {
		columns[strings.ToLower(strings.TrimSpace(header[i]))] = i
	}
	for _, n := range needs {
		if _, ok := columns[n]; !ok {
			s.problem(path, ReasonCSV, "there is no column %q; needed are: %s", n, strings.Join(needs, ", "))
			return nil
		}
	}
	var rows []row
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows
		}
		var broken *csv.ParseError
		switch {
		case errors.Is(err, csv.ErrFieldCount) && errors.As(err, &broken):
			s.problem(path, ReasonCSV, "line %d: it has not the columns of the first line", broken.StartLine)
			continue
		case errors.As(err, &broken):
			s.problem(path, ReasonCSV, "line %d: a quote is out of place, nothing from here on was read: a value with quotes stands in quotes, its own are doubled", broken.StartLine)
			return rows
		case err != nil:
			s.problem(path, ReasonUnread, "%v", err)
			return rows
		}
		line, _ := r.FieldPos(0)
		rows = append(rows, row{line, columns, record})
	}
}

func (s *scanner) studiesCSV(path string) {
	for _, r := range s.readCSV(path, "study_id", "image") {
		var object Object
		image := r.get("image")
		if image != "" {
			var ok bool
			if object, ok = s.film(path, r, image); !ok {
				continue
			}
		}
		id := r.get("study_id")
		if id == "" {
			s.problem(path, ReasonRow, "line %d: study_id is empty", r.line)
			continue
		}
		study := Study{
			UID: event.StudyUID(id), PatientID: event.PatientID(r.get("patient_id")),
			Accession: r.get("accession_number"), Report: reportText(r),
		}
		if t := r.get("study_time"); t != "" {
			var err error
			if study.Time, err = time.Parse(time.RFC3339, t); err != nil {
				s.problem(path, ReasonRow, "line %d: study_time must read like 2006-01-02T15:04:05Z", r.line)
				continue
			}
		}
		if image != "" {
			study.Objects = []Object{object}
		}
		if len(study.Objects) == 0 && study.Report == "" {
			s.problem(path, ReasonRow, "line %d: it has neither an image nor a report", r.line)
			continue
		}
		s.add(study)
	}
}

// film resolves the image of a row, relative to the list's folder.
func (s *scanner) film(list string, r row, image string) (Object, bool) {
	if !filepath.IsLocal(image) {
		s.problem(list, ReasonRow, "line %d: image must be a path below the folder of the list", r.line)
		return Object{}, false
	}
	file := filepath.Join(filepath.Dir(list), image)
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		s.problem(file, ReasonNoImage, "%s line %d names this image, but the file is not there", list, r.line)
		return Object{}, false
	}
	s.rows[absolute(file)] = true
	object := Object{Path: file, MediaType: mime.TypeByExtension(strings.ToLower(filepath.Ext(file)))}
	switch strings.ToLower(r.get("view")) {
	case "frontal", "pa", "ap":
		object.Projection = radstreamv1.Projection_PROJECTION_FRONTAL
	case "lateral", "ll", "rl", "l":
		object.Projection = radstreamv1.Projection_PROJECTION_LATERAL
	}
	return object, true
}

// reportText takes the report from whichever column the list has.
func reportText(r row) string {
	if text := r.get("report", "caption", "clinical_notes", "notes"); text != "" {
		return text
	}
	var parts []string
	for _, section := range []string{"indication", "findings", "impression"} {
		if text := r.get(section); text != "" {
			parts = append(parts, strings.ToUpper(section)+": "+text)
		}
	}
	return strings.Join(parts, "\n")
}

func (s *scanner) reportsCSV(path string) {
	for _, r := range s.readCSV(path, "study_uid", "report") {
		file := r.get("report")
		switch {
		case r.get("study_uid") == "":
			s.problem(path, ReasonNoStudy, "line %d: study_uid is empty", r.line)
			continue
		case !filepath.IsLocal(file):
			s.problem(path, ReasonRow, "line %d: report must be a path below the folder of the list", r.line)
			continue
		}
		file = filepath.Join(filepath.Dir(path), file)
		if info, err := os.Stat(file); err == nil && info.Size() > report.MaxBytes {
			s.problem(file, ReasonTooLarge, "a report has at most %d bytes", report.MaxBytes)
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			s.problem(file, ReasonUnread, "%v", fault.WithoutPath(err))
			continue
		}
		if !utf8.Valid(text) {
			s.problem(file, ReasonUnread, "a report must be in UTF-8: save it again in that encoding")
			continue
		}
		s.reports = append(s.reports, Study{
			UID: event.StudyUID(r.get("study_uid")), PatientID: event.PatientID(r.get("patient_id")),
			Accession: r.get("accession_number"), Report: string(text),
		})
	}
}
