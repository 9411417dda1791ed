package phantom

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/radstream/radstream/schemas/fault"
)

// Summary counts what Write made.
type Summary struct {
	Studies  int          `json:"studies"`
	Objects  int          `json:"objects"`
	Reports  int          `json:"reports"`
	Broken   int          `json:"broken"`
	Normal   int          `json:"normal"`
	Laterals int          `json:"laterals"`
	FollowUp int          `json:"follow_ups"` // studies with a prior
	Bytes    int64        `json:"bytes"`      // of DICOM
	Findings map[Kind]int `json:"findings"`   // studies by finding
}

// Write makes the studies of c under dir, which it creates:
//
//	dir/<study>/frontal.dcm, lateral.dcm   the films
//	dir/<study>/report.txt                 the report and nothing else
//	dir/reports.csv                        study_uid, patient_id, accession_number, report (path under dir)
//	dir/truth.json                         a list of Truth, in study order
//
// GOMAXPROCS studies are made at a time; the files do not depend on how many. progress,
// if not nil, is called after each study, never twice at once. A wrong c is a Usage
// fault, a failure to write is Internal, a cancelled ctx is Canceled; the files written
// so far stay.
func Write(ctx context.Context, dir string, c Config, progress func(done, total int)) (Summary, error) {
	const op = "phantom.Write"
	if err := c.Validate(); err != nil {
		return Summary{}, err
	}
	sum := Summary{Studies: c.Studies, Findings: map[Kind]int{}}
	truths := make([]Truth, c.Studies)
	var mu sync.Mutex
	done := 0

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range c.Studies {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			study, err := Generate(c, i)
			if err != nil {
				return err
			}
			size, err := study.write(dir)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			truths[i] = study.Truth
			sum.add(study, size)
			if done++; progress != nil {
				progress(done, c.Studies)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Summary{}, fault.Wrap(op, err)
	}
	if err := ctx.Err(); done < c.Studies && err != nil {
		return Summary{}, fault.Wrap(op, err)
	}
	if err := writeTables(dir, truths); err != nil {
		return Summary{}, fault.E(op, fault.Internal, err)
	}
	return sum, nil
}

// add counts one study.
func (s *Summary) add(study Study, size int64) {
	s.Objects += len(study.Views)
	s.Bytes += size
	if study.Truth.Broken != "" {
		s.Broken++
		return
	}
	s.Reports++
	if len(study.Truth.Findings) == 0 {
		s.Normal++
	}
	if len(study.Views) > 1 {
		s.Laterals++
	}
	if study.Truth.PriorStudyUID != "" {
		s.FollowUp++
	}
	for _, f := range study.Truth.Findings {
		s.Findings[f.Kind]++
	}
}

// write stores the objects and the report in the study's folder and returns the bytes of
// the objects.
func (s Study) write(dir string) (int64, error) {
	const op = "phantom.write"
	files, err := s.Files()
	if err != nil {
		return 0, err
	}
	if s.Report != "" {
		files = append(files, File{reportName, []byte(s.Report)})
	}
	folder := filepath.Join(dir, s.Truth.Folder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return 0, fault.E(op, fault.Internal, err)
	}
	var size int64
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(folder, f.Name), f.Data, 0o644); err != nil {
			return 0, fault.E(op, fault.Internal, err)
		}
		if f.Name != reportName {
			size += int64(len(f.Data))
		}
	}
	return size, nil
}

const reportName = "report.txt"

// writeTables stores truth.json and reports.csv.
func writeTables(dir string, truths []Truth) error {
	text, err := json.MarshalIndent(truths, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "truth.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	var table bytes.Buffer
	w := csv.NewWriter(&table)
	rows := [][]string{{"study_uid", "patient_id", "accession_number", "report"}}
	for _, t := range truths {
		if t.Broken == "" {
			rows = append(rows, []string{t.StudyUID, t.PatientID, t.AccessionNumber, t.Folder + "/" + reportName})
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "reports.csv"), table.Bytes(), 0o644)
}
