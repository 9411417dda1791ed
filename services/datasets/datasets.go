// Package datasets reads chest X-ray data sets that need a licence, in the layout in which
// their owners publish them. Radstream cannot ship them. Who has access points at the folder
// and measures what the papers measured.
//
// A list (CSV, or CSV.gz as it was downloaded) names images and what is known of them. A list
// is read row by row; rows become studies in the order of the list; images are looked for and
// never opened. Images that are not there are counted and left out, so that a part of a
// download can be used. Every path is below the root that [Open] is given. No copy of any of
// these sets was there when this was written: tests make folders in their layouts.
//
// What each kind expects below its root, and where that was learned:
//
// mimic-cxr: MIMIC-CXR 2.x (DICOM) or MIMIC-CXR-JPG 2.x (physionet.org/content/mimic-cxr,
// mimic-cxr-jpg). The lists come with MIMIC-CXR-JPG, the reports with MIMIC-CXR: links bring
// them into one folder. The first image that is found, as .dcm before .jpg, decides for all.
//
//	mimic-cxr-2.0.0-metadata.csv[.gz]  dicom_id, subject_id, study_id, ViewPosition, StudyDate, StudyTime
//	mimic-cxr-2.0.0-split.csv[.gz]     study_id, split (train, validate, test)
//	mimic-cxr-2.0.0-chexpert.csv[.gz]  study_id and CheXpert's 14 labels: 1.0, 0.0, -1.0 uncertain, empty
//	files/p10/p10000032/s50414267/DICOM_ID.dcm or .jpg
//	files/p10/p10000032/s50414267.txt, or the same below mimic-cxr-reports; a study may have none
//
// chexpert-5x200: the list of GLoRIA (github.com/marshuang80/gloria, gloria/constants.py and
// preprocess_chexpert_5x200_data in gloria/datasets/preprocess_datasets.py) over CheXpert or
// CheXpert-small. The root is CheXpert's folder or the one that holds it.
//
//	chexpert_5x200.csv  Path, the 5 classes with exactly one 1, and possibly other labels and Report Impression
//	CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg
//
// chexpert-8x200: the release of ConVIRT (github.com/yuhaozhang/convirt, README.md and its
// files), whose two folders are put into the root, over CheXpert as above. Its README speaks
// of 10 text queries for each class; the file has 5, as arXiv:2010.00747 says. Its
// text-retrieval/candidate.csv names the same candidates and is not read.
//
//	image-retrieval/candidate.csv  Path and CheXpert's labels, exactly one 1 among the 8 classes
//	image-retrieval/query.csv      Variable (a class), Path
//	text-retrieval/query.csv       Variable, Text
//
// rsna: RSNA Pneumonia Detection Challenge, stage 2 (kaggle.com/c/rsna-pneumonia-detection-challenge;
// read as by preprocess_pneumonia_data of GLoRIA). It has no splits of its own: those of papers are
// drawn at random.
//
//	stage_2_train_labels.csv         patientId, Target: one row for each box
//	stage_2_detailed_class_info.csv  patientId, class
//	stage_2_train_images/PATIENT_ID.dcm
//
// ms-cxr-t: MS-CXR-T 1.0.0 (physionet.org/content/ms-cxr-t) over the images of mimic-cxr, all
// of them frontal. Its dicom_id is a path such as p10/p10000032/s50414267/DICOM_ID, as
// github.com/f10409/RadHarmony (radharmony/harmonizer/ms_cxr_t.py) reads it.
//
//	MS_CXR_T_temporal_image_classification_v1.0.0.csv[.gz]  dicom_id, previous_dicom_id, and for each
//	        of 5 findings FINDING_progression: improving, stable, worsening or empty
package datasets

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/publish"
)

// ReasonSet is the fault reason of a folder that has not the layout of its kind.
const ReasonSet fault.Reason = "data_set"

const op = "datasets.Open"

// Set is a data set as evaluation needs it.
type Set struct {
	Name    string
	Studies []Study  // in the order of the list
	Classes []string // of a set whose studies have a Class, sorted; else nil
	Queries []Query  // of chexpert-8x200: images, then texts
	Changes []Change // of ms-cxr-t
	Missing int      // images that a list names and that are not there
}

// Study is one study; in all but mimic-cxr it is one image.
type Study struct {
	// Study says UID and PatientID of films only. DICOM files name their own, and ingest
	// refuses a file of another study than its arrival's.
	publish.Study
	ID      string // as the data set names it; never empty
	Patient string // likewise
	Split   string // as the data set names it; empty where it has none
	Class   string // the one label that it was chosen for
	// Labels says by the names of Radstream's labels (embedder/zeroshot) what is present and
	// what is absent. A label that it has not is not known: it was empty or uncertain.
	Labels map[string]bool
}

// Query asks for the studies of a class, by a text or by an image.
type Query struct {
	Class string
	Text  string
	Image *Study // nil where there is a Text
}

// Progress is what became of a finding from one image to the next.
type Progress string

// The values of MS-CXR-T.
const (
	Improving Progress = "improving"
	Stable    Progress = "stable"
	Worsening Progress = "worsening"
)

// Change is a pair of images of a patient. A finding that is not in Progress was not judged.
type Change struct {
	Before, After int // indexes of Set.Studies
	Progress      map[string]Progress
}

// labelNames maps the names of CheXpert's 14 labels to those of Radstream's.
var labelNames = map[string]string{
	"No Finding":                 "no_finding",
	"Enlarged Cardiomediastinum": "enlarged_cardiomediastinum",
	"Cardiomegaly":               "cardiomegaly",
	"Lung Opacity":               "lung_opacity",
	"Lung Lesion":                "nodule",
	"Edema":                      "edema",
	"Consolidation":              "consolidation",
	"Pneumonia":                  "pneumonia",
	"Atelectasis":                "atelectasis",
	"Pneumothorax":               "pneumothorax",
	"Pleural Effusion":           "effusion",
	"Pleural Other":              "pleural_thickening",
	"Fracture":                   "fracture",
	"Support Devices":            "support_devices",
}

// Kinds lists the kinds that [Open] reads.
func Kinds() []string {
	return []string{"chexpert-5x200", "chexpert-8x200", "mimic-cxr", "ms-cxr-t", "rsna"}
}

// Open reads the data set of a kind that lies in the folder root.
//
// Errors: Usage for another kind; NotFound when the root, a list or every image is missing;
// Invalid for a list that has not its form; all but Usage with [ReasonSet].
func Open(kind, root string) (*Set, error) {
	if !slices.Contains(Kinds(), kind) {
		return nil, fault.Errorf(op, fault.Usage, "the kind of a data set is one of %s", strings.Join(Kinds(), ", "))
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, fault.Reject(op, fault.NotFound, ReasonSet, "there is no folder %s", root)
	}
	r := reader{root: root, set: &Set{Name: kind}}
	var err error
	switch kind {
	case "chexpert-5x200":
		err = r.chexpert5x200()
	case "chexpert-8x200":
		err = r.chexpert8x200()
	case "mimic-cxr":
		err = r.mimic()
	case "ms-cxr-t":
		err = r.mscxrt()
	case "rsna":
		err = r.rsna()
	}
	if err != nil {
		return nil, err
	}
	if len(r.set.Studies) == 0 {
		return nil, fault.Reject(op, fault.NotFound, ReasonSet, "%s: of the %d images that the lists name none is there: the layout is that of the documentation of services/datasets", root, r.set.Missing)
	}
	return r.set, nil
}

// reader is one call of Open.
type reader struct {
	root string
	set  *Set
	// ending of the image files; set by the first that is found, so that a set is not a
	// mixture of DICOM and the films that were made from it.
	ending string
}

// image returns the first of the files that is there, nil where none is. They are named below
// the root, with slashes, and without their ending, which is one of endings.
func (r *reader) image(at row, endings []string, files ...string) (*publish.Object, error) {
	if r.ending != "" {
		endings = []string{r.ending}
	}
	for _, file := range files {
		file = filepath.FromSlash(file)
		if !filepath.IsLocal(file) {
			return nil, at.reject("the image does not lie below the root")
		}
		for _, ending := range endings {
			path := filepath.Join(r.root, file+ending)
			info, err := os.Stat(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, at.reject("the image cannot be looked at: %w", fault.WithoutPath(err))
			}
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			r.ending = ending
			object := &publish.Object{Path: path, MediaType: "image/jpeg"}
			if ending == ".dcm" {
				object.MediaType = "application/dicom"
			}
			return object, nil
		}
	}
	r.set.Missing++
	return nil, nil
}

// newStudy returns the study that an image begins.
func newStudy(id, patient string, image publish.Object) Study {
	s := Study{ID: id, Patient: patient}
	if image.MediaType != "application/dicom" {
		s.UID, s.PatientID = event.StudyUID(id), event.PatientID(patient)
	}
	s.Objects = []publish.Object{image}
	return s
}

// projection is that of a view as MIMIC-CXR and CheXpert name it.
func projection(view string) radstreamv1.Projection {
	switch strings.ToUpper(view) {
	case "PA", "AP", "FRONTAL":
		return radstreamv1.Projection_PROJECTION_FRONTAL
	case "LATERAL", "LL":
		return radstreamv1.Projection_PROJECTION_LATERAL
	}
	return radstreamv1.Projection_PROJECTION_UNSPECIFIED
}
