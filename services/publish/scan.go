package publish

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/hl7"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Object is one file of a study.
type Object struct {
	Path       string
	MediaType  string
	Projection radstreamv1.Projection // what the CSV says of a film; a DICOM file speaks for itself
}

// Study is what the files say belongs together: it becomes one StudyArrived.
type Study struct {
	UID       event.StudyUID // empty when no file could say
	PatientID event.PatientID
	Accession string
	Time      time.Time
	Objects   []Object
	Report    string
}

// name says which study is meant, for a problem of the whole of it.
func (s Study) name() string {
	if len(s.Objects) > 0 {
		return s.Objects[0].Path
	}
	return "study " + string(s.UID)
}

// Problem is something in the folders that cannot be published as it is.
type Problem struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// Reasons of problems.
const (
	ReasonNoRow    = "image_without_row"
	ReasonNoImage  = "row_without_image"
	ReasonRow      = "malformed_row"
	ReasonCSV      = "malformed_csv"
	ReasonNoStudy  = "report_without_study"
	ReasonUnread   = "unreadable"
	ReasonTooLarge = "too_large"
	ReasonTwice    = "published_already"
)

// maxHeader is how much of a file is read to learn its study: the attributes stand before
// the pixels.
const maxHeader = 4 << 20

// Message is one event that a hospital's message says: a ReportArrived or a PatientMerged.
type Message struct {
	Path string // of the file that says it
	Body proto.Message
}

// Plan is everything a scan found.
type Plan struct {
	Studies  []Study
	Messages []Message
	Problems []Problem
	// Ignored counts the files in scanned folders that are neither DICOM, nor films, nor
	// lists, by extension.
	Ignored map[string]int
}

// Arrivals is how many events the plan is: one for each message, and for each study as many as it
// takes for its objects.
func (p Plan) Arrivals() int { return len(split(p.Studies)) + len(p.Messages) }

// Scan reads folders and files and groups what it finds into studies:
//
//   - DICOM files by their Study Instance UID. A file that cannot say its study is
//     published by itself, so that ingest rejects it with the reason and keeps it.
//   - Films (JPEG, PNG) by the rows of a studies.csv: columns study_id, image, and
//     optionally patient_id, view, accession_number, study_time and the report as report,
//     caption, clinical_notes, notes, or findings and impression.
//   - Reports by the rows of a reports.csv: columns study_uid, report (a file), and
//     optionally patient_id, accession_number.
//   - Messages of hospitals: HL7 v2 (.hl7), and of files that are named themselves FHIR JSON
//     (.json) and C-CDA (.xml); see [ingest.Messages].
//
// In a folder every file ending in .dcm, or without any ending (a UID has none), counts as DICOM. A file
// that is named itself always does, unless it is a film or a list.
//
// Errors: Usage for a path that is not there, Canceled.
func Scan(ctx context.Context, paths []string) (Plan, error) {
	s := newScanner()
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return Plan{}, fault.Errorf("publish.Scan", fault.Usage, "%s cannot be read: %w", p, fault.WithoutPath(err))
		}
		switch {
		case info.IsDir():
			err = s.folder(ctx, p)
		case info.Mode().IsRegular():
			err = s.file(p, true)
		default:
			err = fault.Errorf("publish.Scan", fault.Usage, "%s is neither a file nor a folder", p)
		}
		if err != nil {
			return Plan{}, err
		}
	}
	s.joinReports()
	for film := range s.films {
		if !s.rows[absolute(film)] {
			s.problem(film, ReasonNoRow, "no studies.csv names this image; a film needs a row with its study_id")
		}
	}
	slices.SortFunc(s.plan.Problems, func(a, b Problem) int { return cmp.Compare(a.Path, b.Path) })
	return s.plan, nil
}

type scanner struct {
	plan    Plan
	byUID   map[event.StudyUID]int // index in plan.Studies
	films   map[string]bool        // images seen
	rows    map[string]bool        // images that a row names
	reports []Study                // of reports.csv, joined at the end
}

func newScanner() *scanner {
	return &scanner{plan: Plan{Ignored: map[string]int{}}, byUID: map[event.StudyUID]int{}, films: map[string]bool{}, rows: map[string]bool{}}
}

func (s *scanner) problem(path, reason, format string, args ...any) {
	s.plan.Problems = append(s.plan.Problems, Problem{path, reason, fmt.Sprintf(format, args...)})
}

func (s *scanner) folder(ctx context.Context, root string) error {
	root, err := filepath.EvalSymlinks(root) // WalkDir does not follow them
	if err != nil {
		return fault.Errorf("publish.Scan", fault.Usage, "%s cannot be read: %w", root, fault.WithoutPath(err))
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			s.problem(path, ReasonUnread, "%v", fault.WithoutPath(err))
			return nil
		}
		switch info, err := os.Stat(path); {
		case d.IsDir():
			return nil
		case err != nil:
			s.problem(path, ReasonUnread, "%v", fault.WithoutPath(err))
		case info.Mode().IsRegular(): // a link to a file is one
			return s.file(path, false)
		default:
			s.problem(path, ReasonUnread, "it is no regular file; name a linked folder by itself")
		}
		return nil
	})
}

// file takes one file. named says that the user wrote its name, so that its ending does
// not decide whether it is meant.
func (s *scanner) file(path string, named bool) error {
	ext := strings.ToLower(filepath.Ext(path))
	if _, err := strconv.Atoi(strings.TrimPrefix(ext, ".")); err == nil {
		ext = "" // archives name files by their UID: 1.2.840.113619.2.55
	}
	switch {
	case ext == ".jpg" || ext == ".jpeg" || ext == ".png":
		s.films[path] = true
	case ext == ".csv" && strings.HasSuffix(filepath.Base(path), "studies.csv"), ext == ".csv" && named && filepath.Base(path) != "reports.csv":
		s.studiesCSV(path)
	case ext == ".csv" && filepath.Base(path) == "reports.csv":
		s.reportsCSV(path)
	case ext == ".hl7", named && (ext == ".json" || ext == ".xml"):
		s.messages(path)
	case named || ext == ".dcm" || ext == ".dicom" || ext == "":
		return s.dicom(path)
	default:
		s.plan.Ignored[ext]++
	}
	return nil
}

func (s *scanner) dicom(path string) error {
	object := Object{Path: path, MediaType: "application/dicom"}
	f, err := os.Open(path)
	if err != nil {
		s.problem(path, ReasonUnread, "%v", fault.WithoutPath(err))
		return nil
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, maxHeader))
	if err != nil {
		s.problem(path, ReasonUnread, "%v", fault.WithoutPath(err))
		return nil
	}
	// What is wrong is for ingest to say: it keeps the file beside the reason. A header
	// that was cut off still tells what stands before the cut.
	head, _ := dicom.ParseHeader(start)
	if head.StudyUID == "" {
		s.plan.Studies = append(s.plan.Studies, Study{Objects: []Object{object}})
		return nil
	}
	s.add(Study{UID: head.StudyUID, PatientID: head.PatientID, Accession: head.Accession, Time: head.StudyTime, Objects: []Object{object}})
	return nil
}

// messages reads a file of hospital messages. One that is refused is a problem of its own.
func (s *scanner) messages(path string) {
	f, err := os.Open(path)
	if err != nil {
		s.problem(path, ReasonUnread, "%v", fault.WithoutPath(err))
		return
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, hl7.MaxBytes+1)) // one more, so that the reader sees that it is too long
	if err != nil {
		s.problem(path, ReasonUnread, "%v", fault.WithoutPath(err))
		return
	}
	events, refused := ingest.Messages(data)
	for _, e := range events {
		s.plan.Messages = append(s.plan.Messages, Message{path, e})
	}
	for _, err := range refused {
		s.problem(path, cmp.Or(string(fault.ReasonOf(err)), ReasonUnread), "%v", err)
	}
}

// add joins what was found with what is known of the study already.
func (s *scanner) add(n Study) {
	i, known := s.byUID[n.UID]
	if !known {
		s.byUID[n.UID] = len(s.plan.Studies)
		s.plan.Studies = append(s.plan.Studies, n)
		return
	}
	st := &s.plan.Studies[i]
	st.PatientID = cmp.Or(st.PatientID, n.PatientID)
	st.Accession = cmp.Or(st.Accession, n.Accession)
	st.Report = cmp.Or(st.Report, n.Report)
	if st.Time.IsZero() {
		st.Time = n.Time
	}
	for _, o := range n.Objects {
		if !slices.ContainsFunc(st.Objects, func(have Object) bool { return have.Path == o.Path }) {
			st.Objects = append(st.Objects, o)
		}
	}
}

func (s *scanner) joinReports() {
	for _, r := range s.reports {
		s.add(r)
	}
}

// absolute is path in the one form in which two names of a file are compared.
func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	return abs
}
