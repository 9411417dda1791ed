package datasets

import (
	"path"
	"slices"
	"strings"
)

func (r *reader) chexpert5x200() error {
	classes := []string{"Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"}
	return r.candidates("chexpert_5x200.csv", classes)
}

func (r *reader) chexpert8x200() error {
	classes := []string{"Atelectasis", "Cardiomegaly", "Edema", "Fracture", "No Finding", "Pleural Effusion", "Pneumonia", "Pneumothorax"}
	if err := r.candidates("image-retrieval/candidate.csv", classes); err != nil {
		return err
	}
	query := func(at row, value string) (Query, string, error) {
		v, err := at.must("Variable", value)
		if err != nil {
			return Query{}, "", err
		}
		if !slices.Contains(classes, v[0]) {
			return Query{}, "", at.reject("Variable must be one of %s", strings.Join(classes, ", "))
		}
		return Query{Class: labelNames[v[0]]}, v[1], nil
	}
	if err := r.each("image-retrieval/query.csv", []string{"Variable", "Path"}, func(at row) error {
		q, file, err := query(at, "Path")
		if err != nil {
			return err
		}
		s, err := r.chexpertImage(at, file)
		if err != nil || s == nil {
			return err
		}
		q.Image = s
		r.set.Queries = append(r.set.Queries, q)
		return nil
	}); err != nil {
		return err
	}
	return r.each("text-retrieval/query.csv", []string{"Variable", "Text"}, func(at row) error {
		q, text, err := query(at, "Text")
		if err != nil {
			return err
		}
		q.Text = text
		r.set.Queries = append(r.set.Queries, q)
		return nil
	})
}

// candidates reads a list of images of which each shows one of the classes.
func (r *reader) candidates(list string, classes []string) error {
	for _, c := range classes {
		r.set.Classes = append(r.set.Classes, labelNames[c])
	}
	slices.Sort(r.set.Classes)
	return r.each(list, append([]string{"Path"}, classes...), func(at row) error {
		labels, err := at.labels()
		if err != nil {
			return err
		}
		class := ""
		for _, c := range r.set.Classes {
			if !labels[c] {
				continue
			}
			if class != "" {
				return at.reject("an image has one class, this one has several")
			}
			class = c
		}
		if class == "" {
			return at.reject("an image has one class, this one has none")
		}
		s, err := r.chexpertImage(at, at.get("Path"))
		if err != nil || s == nil {
			return err
		}
		s.Class, s.Labels = class, labels
		if text := at.get("Report Impression"); text != "" {
			s.Report = "IMPRESSION: " + text // the heading by which ingest knows the section
		}
		r.set.Studies = append(r.set.Studies, *s)
		return nil
	})
}

// chexpertImage returns the study of an image, nil where it is missing. The first folder of
// its path is that of CheXpert in whoever made the list, which may be of another size
// (CheXpert-v1.0-small): GLoRIA drops it as well.
func (r *reader) chexpertImage(at row, file string) (*Study, error) {
	parts := strings.Split(file, "/")
	if len(parts) != 5 || path.Ext(file) != ".jpg" {
		return nil, at.reject("Path must read like CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg")
	}
	file = strings.TrimSuffix(file, ".jpg")
	_, id, _ := strings.Cut(file, "/")
	image, err := r.image(at, []string{".jpg"}, file, id)
	if err != nil || image == nil {
		return nil, err
	}
	_, view, _ := strings.Cut(path.Base(file), "_")
	image.Projection = projection(view)
	s := newStudy(id, parts[2], *image)
	return &s, nil
}
