package films

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// source is one film and what is known of it.
type source struct {
	set     string // the collection, or "phantom"
	name    string
	patient string
	lateral bool
	film    func() (pixel.Film, error)
}

// collections lists the films of the collections under root: every folder with a table
// studies.csv, or image_studies.csv, with the columns image, view and study_id. Folders and
// rows keep their order.
func collections(root string) ([]source, error) {
	const op = "films.collections"
	folders, err := os.ReadDir(root)
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	var all []source
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		for _, table := range []string{"studies.csv", "image_studies.csv"} {
			found, err := rows(filepath.Join(root, folder.Name()), table)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fault.E(op, fault.Invalid, err)
			}
			all = append(all, found...)
		}
	}
	if len(all) == 0 {
		return nil, fault.Errorf(op, fault.Usage, "%s has no folder with a studies.csv", root)
	}
	return all, nil
}

func rows(folder, table string) ([]source, error) {
	in, err := os.Open(filepath.Join(folder, table))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	records, err := csv.NewReader(in).ReadAll()
	if err != nil || len(records) == 0 {
		return nil, err
	}
	column := func(row []string, name string) string {
		if i := slices.Index(records[0], name); i >= 0 {
			return row[i]
		}
		return ""
	}
	var all []source
	for _, row := range records[1:] {
		s := source{set: filepath.Base(folder), name: column(row, "image"), patient: column(row, "patient_id"), lateral: column(row, "view") == "lateral"}
		if s.patient == "" {
			s.patient = column(row, "study_id")
		}
		s.film = func() (pixel.Film, error) { return readFilm(filepath.Join(folder, s.name)) }
		all = append(all, s)
	}
	return all, nil
}

func readFilm(path string) (pixel.Film, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return pixel.Film{}, fault.E("films.readFilm", fault.Internal, err)
	}
	return ingest.Film(data)
}

// phantoms lists the films of n phantom studies, large and small.
func phantoms(n int) []source {
	var all []source
	for i := range n {
		name := fmt.Sprintf("phantom %d", i)
		c := phantom.Defaults()
		c.Studies, c.Seed, c.LateralShare, c.PriorShare = n, 4, 1, 0
		c.Side = []int{576, 288, 128}[i%3]
		for view := range 2 {
			all = append(all, source{set: "phantom", name: name, patient: name, lateral: view == 1, film: func() (pixel.Film, error) {
				s, err := phantom.Generate(c, i)
				if err != nil {
					return pixel.Film{}, err
				}
				files, err := s.Files()
				if err != nil {
					return pixel.Film{}, err
				}
				return ingest.Film(files[view].Data)
			}})
		}
	}
	return all
}

// others lists the objects of the folder dicom that its manifest.csv says are of no chest
// radiograph, by modality. Which of them can be decoded is not known yet.
func others(root string) ([]source, error) {
	in, err := os.Open(filepath.Join(root, "dicom", "manifest.csv"))
	if err != nil {
		return nil, fault.E("films.others", fault.Usage, err)
	}
	defer in.Close()
	records, err := csv.NewReader(in).ReadAll()
	if err != nil {
		return nil, fault.E("films.others", fault.Invalid, err)
	}
	column := map[string]int{}
	for i, name := range records[0] {
		column[name] = i
	}
	var all []source
	for _, row := range records[1:] {
		file, modality, part := row[column["file"]], row[column["modality"]], row[column["body_part"]]
		// hi-ml_1 is a chest film without a body part.
		if strings.Contains(part, "CHEST") || file == "hi-ml_1.dcm" {
			continue
		}
		if modality == "" {
			modality = "none"
		}
		all = append(all, source{set: "dicom", name: file, patient: "dicom " + modality, film: func() (pixel.Film, error) {
			return readFilm(filepath.Join(root, "dicom", file))
		}})
	}
	return all, nil
}
