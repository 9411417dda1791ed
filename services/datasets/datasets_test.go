package datasets

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/publish"
)

const (
	frontal = radstreamv1.Projection_PROJECTION_FRONTAL
	lateral = radstreamv1.Projection_PROJECTION_LATERAL
	unknown = radstreamv1.Projection_PROJECTION_UNSPECIFIED
)

// A patient and a study that no message of an error may name.
const patient, study = "19999999", "59999999"

const (
	labelColumns = "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
	chexpertHead = "Path,Sex,Age,Frontal/Lateral,AP/PA," + labelColumns
	temporalHead = "dicom_id,previous_dicom_id,study_id,subject_id,consolidation_progression,edema_progression,pleural_effusion_progression,pneumonia_progression,pneumothorax_progression"
	temporalList = "MS_CXR_T_temporal_image_classification_v1.0.0.csv"
)

// files maps paths below a root to what lies there.
type files map[string]string

func (f files) with(name, text string) files {
	out := files{name: text}
	for n, t := range f {
		if n != name {
			out[n] = t
		}
	}
	return out
}

func (f files) without(names ...string) files {
	out := files{}
	for n, t := range f {
		out[n] = t
	}
	for _, n := range names {
		delete(out, n)
	}
	return out
}

func (f files) write(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range f {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// pack returns the text as a .gz holds it.
func pack(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

// ones returns the values of the 14 labels that are 1 at these columns and 0 at all others.
func ones(columns ...string) string {
	var values []string
	for _, c := range strings.Split(labelColumns, ",") {
		v := "0.0"
		for _, o := range columns {
			if c == o {
				v = "1.0"
			}
		}
		values = append(values, v)
	}
	return strings.Join(values, ",")
}

// one returns all labels known, one of them present.
func one(present string) map[string]bool {
	m := map[string]bool{}
	for _, name := range labelNames {
		m[name] = name == present
	}
	return m
}

func mimicFiles() files {
	return files{
		"mimic-cxr-2.0.0-split.csv": "\ufeffstudy_id,split,dicom_id,subject_id\n50414267,train,a,10000032\n50414267,train,b,10000032\n59999999,test,c,19999999\n",
		"mimic-cxr-2.0.0-chexpert.csv.gz": pack("subject_id,study_id," + labelColumns + "\n" +
			"10000032,50414267,1.0,,-1.0,0.0,,,,,,1.0,,,,\n"),
		"mimic-cxr-2.0.0-metadata.csv.gz": "not read where the list lies unpacked",

		"files/p10/p10000032/s50414267/a.jpg":                 "jpeg",
		"files/p10/p10000032/s50414267/b.jpg":                 "jpeg",
		"files/p19/p19999999/s59999999/c.jpg":                 "jpeg",
		"files/p10/p10000032/s50414267.txt":                   "FINDINGS: Clear.\n",
		"mimic-cxr-reports/files/p19/p19999999/s59999999.txt": strings.Repeat("a", report.MaxBytes+7),
	}.with("mimic-cxr-2.0.0-metadata.csv", metadata(
		"a,10000032,50414267,PA,21800506,213014.531",
		"b,10000032,50414267,LATERAL,21800506,90014.5",
		"c,19999999,59999999,,,",
		"d,19999999,59999999,AP,,"))
}

func metadata(rows ...string) string {
	return "dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime\n" + strings.Join(rows, "\n") + "\n"
}

func chexpertFiles() files {
	return files{
		"chexpert_5x200.csv": ",Report Impression," + chexpertHead + "\n" +
			"7,\"Small effusion,\n\"\"left\"\".\",CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg,Female,1,Frontal,AP," + ones("Pleural Effusion") + "\n" +
			"8,,CheXpert-v1.0/train/patient00001/study1/view2_lateral.jpg,Female,1,Lateral,," + ones("Edema", "Support Devices") + "\n" +
			"9,,CheXpert-v1.0/train/patient00009/study1/view1_frontal.jpg,Female,1,Frontal,AP," + ones("Edema") + "\n",
		"image-retrieval/candidate.csv": chexpertHead + "\n" +
			"CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,1,Frontal,AP," + ones("No Finding") + "\n",
		"image-retrieval/query.csv": "Variable,Path\nPleural Effusion,CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg\nEdema,CheXpert-v1.0-small/train/patient00009/study1/view1_frontal.jpg\n",
		"text-retrieval/query.csv":  "Variable,Text\nNo Finding,The lungs are clear.\n",

		"train/patient00001/study1/view1_frontal.jpg": "jpeg",
		"train/patient00001/study1/view2_lateral.jpg": "jpeg",
	}
}

func rsnaFiles() files {
	return files{
		"stage_2_train_labels.csv":        "patientId,x,y,width,height,Target\nq,,,,,0\np,1,2,3,4,1\np,5,6,7,8,1\np,,,,,0\nr,,,,,0\ns,,,,,0\n",
		"stage_2_detailed_class_info.csv": "patientId,class\nq,No Lung Opacity / Not Normal\np,Lung Opacity\np,Lung Opacity\nr,Normal\ns,Normal\n",
		"stage_2_train_images/p.dcm":      "dicom", "stage_2_train_images/q.dcm": "dicom", "stage_2_train_images/r.dcm": "dicom",
	}
}

func temporalFiles() files {
	return files{
		temporalList: temporalHead + "\n" +
			"p10/p10000032/s2/b,p10/p10000032/s1/a,2,10000032,improving,,worsening,,\n" +
			"p10/p10000032/s3/c,p10/p10000032/s2/b,3,10000032,,,,,stable\n" +
			"p10/p10000032/s4/gone,p10/p10000032/s3/c,4,10000032,,stable,,,\n",
		"files/p10/p10000032/s1/a.dcm": "dicom", "files/p10/p10000032/s1/a.jpg": "jpeg",
		"files/p10/p10000032/s2/b.dcm":    "dicom",
		"files/p10/p10000032/s3/c.dcm":    "dicom",
		"files/p10/p10000032/s4/gone.jpg": "of another form than all others",
	}
}

func film(root, path string, p radstreamv1.Projection) publish.Object {
	return publish.Object{Path: filepath.Join(root, filepath.FromSlash(path)), MediaType: "image/jpeg", Projection: p}
}

func dicom(root, path string, p radstreamv1.Projection) publish.Object {
	return publish.Object{Path: filepath.Join(root, filepath.FromSlash(path)), MediaType: "application/dicom", Projection: p}
}

func filmStudy(id, patient string, objects ...publish.Object) Study {
	return Study{ID: id, Patient: patient, Study: publish.Study{UID: event.StudyUID(id), PatientID: event.PatientID(patient), Objects: objects}}
}

func dicomStudy(id, patient string, objects ...publish.Object) Study {
	return Study{ID: id, Patient: patient, Study: publish.Study{Objects: objects}}
}

func read(t *testing.T, kind string, f files) (*Set, string) {
	t.Helper()
	root := f.write(t)
	set, err := Open(kind, root)
	if err != nil {
		t.Fatal(err)
	}
	return set, root
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Error("- want, + got\n" + d)
	}
}

func TestMIMIC(t *testing.T) {
	set, root := read(t, "mimic-cxr", mimicFiles())
	a := filmStudy("50414267", "10000032",
		film(root, "files/p10/p10000032/s50414267/a.jpg", frontal),
		film(root, "files/p10/p10000032/s50414267/b.jpg", lateral))
	a.Time = time.Date(2180, 5, 6, 9, 0, 14, 5e8, time.UTC) // the earlier, whose zero was lost
	a.Split, a.Report = "train", "FINDINGS: Clear.\n"
	a.Labels = map[string]bool{"atelectasis": true, "edema": false, "effusion": true}
	c := filmStudy("59999999", "19999999", film(root, "files/p19/p19999999/s59999999/c.jpg", unknown))
	c.Split, c.Report = "test", strings.Repeat("a", report.MaxBytes+1)
	same(t, set, &Set{Name: "mimic-cxr", Studies: []Study{a, c}, Missing: 1})
}

// A DICOM file names its own study: that of MIMIC-CXR's list would make ingest refuse it.
func TestMIMICDICOM(t *testing.T) {
	f := mimicFiles().with("files/p10/p10000032/s50414267/a.dcm", "dicom")
	set, root := read(t, "mimic-cxr", f)
	if set.Missing != 3 || len(set.Studies) != 1 {
		t.Fatalf("%+v", set)
	}
	same(t, set.Studies[0].Objects, []publish.Object{dicom(root, "files/p10/p10000032/s50414267/a.dcm", frontal)})
	if s := set.Studies[0]; s.ID != "50414267" || s.UID != "" || s.PatientID != "" {
		t.Errorf("%q %q %q", s.ID, s.UID, s.PatientID)
	}
}

// The lists of the whole of MIMIC-CXR are long; its studies are few where few were downloaded.
func TestMIMICLong(t *testing.T) {
	const rows = 377110
	var b strings.Builder
	b.WriteString("dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime\na,10000032,50414267,PA,21800506,213014.531\n")
	for i := range rows {
		n := strconv.Itoa(i)
		b.WriteString("d" + n + ",10000032,6" + n + ",AP,21800506,213014.531\n")
	}
	f := mimicFiles().without("mimic-cxr-2.0.0-metadata.csv").with("mimic-cxr-2.0.0-metadata.csv.gz", pack(b.String()))
	set, _ := read(t, "mimic-cxr", f)
	if len(set.Studies) != 1 || set.Missing != rows {
		t.Errorf("%d studies, %d missing", len(set.Studies), set.Missing)
	}
}

func TestCheXpert5x200(t *testing.T) {
	set, root := read(t, "chexpert-5x200", chexpertFiles())
	a := filmStudy("train/patient00001/study1/view1_frontal", "patient00001", film(root, "train/patient00001/study1/view1_frontal.jpg", frontal))
	a.Class, a.Labels, a.Report = "effusion", one("effusion"), "IMPRESSION: Small effusion,\n\"left\"."
	b := filmStudy("train/patient00001/study1/view2_lateral", "patient00001", film(root, "train/patient00001/study1/view2_lateral.jpg", lateral))
	b.Class, b.Labels = "edema", one("edema")
	b.Labels["support_devices"] = true
	same(t, set, &Set{
		Name: "chexpert-5x200", Studies: []Study{a, b}, Missing: 1,
		Classes: []string{"atelectasis", "cardiomegaly", "consolidation", "edema", "effusion"},
	})
}

func TestCheXpert8x200(t *testing.T) {
	// Here the root is the folder that holds CheXpert's.
	f := chexpertFiles()
	for name, text := range f {
		if strings.HasPrefix(name, "train/") {
			f = f.without(name).with("CheXpert-v1.0-small/"+name, text)
		}
	}
	set, root := read(t, "chexpert-8x200", f)
	a := filmStudy("train/patient00001/study1/view1_frontal", "patient00001", film(root, "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg", frontal))
	a.Class, a.Labels = "no_finding", one("no_finding")
	q := filmStudy("train/patient00001/study1/view2_lateral", "patient00001", film(root, "CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg", lateral))
	same(t, set, &Set{
		Name: "chexpert-8x200", Studies: []Study{a}, Missing: 1,
		Classes: []string{"atelectasis", "cardiomegaly", "edema", "effusion", "fracture", "no_finding", "pneumonia", "pneumothorax"},
		Queries: []Query{{Class: "effusion", Image: &q}, {Class: "no_finding", Text: "The lungs are clear."}},
	})
}

func TestRSNA(t *testing.T) {
	set, root := read(t, "rsna", rsnaFiles())
	want := &Set{Name: "rsna", Missing: 1}
	for _, s := range []struct {
		id     string
		labels map[string]bool
	}{
		{"q", map[string]bool{"pneumonia": false, "lung_opacity": false, "no_finding": false}},
		{"p", map[string]bool{"pneumonia": true, "lung_opacity": true, "no_finding": false}},
		{"r", map[string]bool{"pneumonia": false, "lung_opacity": false, "no_finding": true}},
	} {
		study := dicomStudy(s.id, s.id, dicom(root, "stage_2_train_images/"+s.id+".dcm", unknown))
		study.Labels = s.labels
		want.Studies = append(want.Studies, study)
	}
	same(t, set, want)
}

func TestMSCXRT(t *testing.T) {
	set, root := read(t, "ms-cxr-t", temporalFiles())
	want := &Set{Name: "ms-cxr-t", Missing: 1, Changes: []Change{
		{Before: 0, After: 1, Progress: map[string]Progress{"consolidation": Improving, "effusion": Worsening}},
		{Before: 1, After: 2, Progress: map[string]Progress{"pneumothorax": Stable}},
	}}
	for _, path := range []string{"s1/a", "s2/b", "s3/c"} {
		want.Studies = append(want.Studies, dicomStudy(path[3:], "10000032", dicom(root, "files/p10/p10000032/"+path+".dcm", frontal)))
	}
	same(t, set, want)

	films := files{temporalList: temporalFiles()[temporalList], "files/p10/p10000032/s1/a.jpg": "", "files/p10/p10000032/s2/b.jpg": ""}
	set, root = read(t, "ms-cxr-t", films)
	if len(set.Changes) != 1 || set.Missing != 2 {
		t.Fatalf("%+v", set)
	}
	same(t, set.Studies[0], filmStudy("a", "10000032", film(root, "files/p10/p10000032/s1/a.jpg", frontal)))
}

func TestRefused(t *testing.T) {
	const (
		meta, split, labels = "mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-split.csv", "mimic-cxr-2.0.0-chexpert.csv"
		candidates          = "image-retrieval/candidate.csv"
	)
	mimic, chexpert, rsna, temporal := mimicFiles(), chexpertFiles(), rsnaFiles(), temporalFiles()
	chexpertRow := func(path, values string) string {
		return chexpertHead + "\n" + path + ",Female,1,Frontal,AP," + values + "\n"
	}
	const image = "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg"
	for name, c := range map[string]struct {
		kind  string
		files files
		fault fault.Kind
		says  string
	}{
		"no metadata":      {"mimic-cxr", mimic.without(meta, meta+".gz"), fault.NotFound, meta},
		"no splits":        {"mimic-cxr", mimic.without(split), fault.NotFound, split},
		"no labels":        {"mimic-cxr", mimic.without(labels + ".gz"), fault.NotFound, labels + ", nor " + labels + ".gz"},
		"no 5x200":         {"chexpert-5x200", chexpert.without("chexpert_5x200.csv"), fault.NotFound, "chexpert_5x200.csv"},
		"no candidates":    {"chexpert-8x200", chexpert.without(candidates), fault.NotFound, "candidate.csv"},
		"no image queries": {"chexpert-8x200", chexpert.without("image-retrieval/query.csv"), fault.NotFound, filepath.Join("image-retrieval", "query.csv")},
		"no text queries":  {"chexpert-8x200", chexpert.without("text-retrieval/query.csv"), fault.NotFound, filepath.Join("text-retrieval", "query.csv")},
		"no boxes":         {"rsna", rsna.without("stage_2_train_labels.csv"), fault.NotFound, "stage_2_train_labels.csv"},
		"no class info":    {"rsna", rsna.without("stage_2_detailed_class_info.csv"), fault.NotFound, "stage_2_detailed_class_info.csv"},
		"no changes":       {"ms-cxr-t", temporal.without(temporalList), fault.NotFound, temporalList},

		"metadata without a column": {"mimic-cxr", mimic.with(meta, "dicom_id,subject_id,study_id,ViewPosition,StudyDate\n"), fault.Invalid, `no column "StudyTime"`},
		"splits without a column":   {"mimic-cxr", mimic.with(split, "dicom_id,study_id\n"), fault.Invalid, `no column "split"`},
		"labels without a column":   {"mimic-cxr", mimic.with(labels, "study_id,Edema\n"), fault.Invalid, `no column "Atelectasis"`},
		"5x200 without a column":    {"chexpert-5x200", chexpert.with("chexpert_5x200.csv", "Path,Edema\n"), fault.Invalid, `no column "Atelectasis"`},
		"queries without a column":  {"chexpert-8x200", chexpert.with("text-retrieval/query.csv", "Variable\n"), fault.Invalid, `no column "Text"`},
		"boxes without a column":    {"rsna", rsna.with("stage_2_train_labels.csv", "patientId\n"), fault.Invalid, `no column "Target"`},
		"changes without a column":  {"ms-cxr-t", temporal.with(temporalList, "dicom_id,previous_dicom_id\n"), fault.Invalid, `no column "consolidation_progression"`},
		"no first line":             {"rsna", rsna.with("stage_2_train_labels.csv", ""), fault.Invalid, "first line"},
		"a gzip cut short":          {"mimic-cxr", mimic.with(labels+".gz", pack("study_id," + labelColumns + "\n" + study + "\n")[:60]), fault.Invalid, labels},
		"no gzip":                   {"mimic-cxr", mimic.with(labels+".gz", "plain"), fault.Invalid, "unpacked"},

		"too few values":        {"mimic-cxr", mimic.with(meta, metadata("a,"+patient+","+study)), fault.Invalid, meta + " line 2: wrong number"},
		"a quote is open":       {"mimic-cxr", mimic.with(meta, metadata(`a,`+patient+`,"`+study)), fault.Invalid, meta + " line 2"},
		"no image named":        {"mimic-cxr", mimic.with(meta, metadata(","+patient+","+study+",PA,,")), fault.Invalid, "line 2: dicom_id is empty"},
		"a subject's id":        {"mimic-cxr", mimic.with(meta, metadata("a,p"+patient+","+study+",PA,,")), fault.Invalid, "line 2: subject_id"},
		"a study's id":          {"mimic-cxr", mimic.with(meta, metadata("a,"+patient+",../"+study+",PA,,")), fault.Invalid, "line 2: subject_id and study_id"},
		"a date":                {"mimic-cxr", mimic.with(meta, metadata("a,10000032,50414267,PA,21800506,213014.531", "a,"+patient+","+study+",PA,2180-05-06,0")), fault.Invalid, "line 3: StudyDate"},
		"a time":                {"mimic-cxr", mimic.with(meta, metadata("a,"+patient+","+study+",PA,21800506,9h")), fault.Invalid, "line 2: StudyDate"},
		"an escape":             {"mimic-cxr", mimic.with(meta, metadata("../../../../../a,"+patient+","+study+",PA,,")), fault.Invalid, "line 2: the image does not lie below"},
		"a label":               {"mimic-cxr", mimic.with(labels, "study_id,"+labelColumns+"\n"+study+",0.5,,,,,,,,,,,,,\n"), fault.Invalid, "line 2: Atelectasis must be"},
		"two splits":            {"mimic-cxr", mimic.with(split, "study_id,split\n"+study+",train\n"+study+",test\n"), fault.Invalid, "line 3: the images of a study"},
		"a CheXpert path":       {"chexpert-5x200", chexpert.with("chexpert_5x200.csv", chexpertRow("patient00001.jpg", ones("Edema"))), fault.Invalid, "line 2: Path must read like"},
		"a CheXpert escape":     {"chexpert-5x200", chexpert.with("chexpert_5x200.csv", chexpertRow("../../../../"+study+".jpg", ones("Edema"))), fault.Invalid, "line 2: the image does not lie below"},
		"two classes":           {"chexpert-5x200", chexpert.with("chexpert_5x200.csv", chexpertRow(image, ones("Edema", "Atelectasis"))), fault.Invalid, "line 2: an image has one class, this one has several"},
		"no class":              {"chexpert-8x200", chexpert.with(candidates, chexpertRow(image, ones("Support Devices"))), fault.Invalid, "line 2: an image has one class, this one has none"},
		"a query's class":       {"chexpert-8x200", chexpert.with("text-retrieval/query.csv", "Variable,Text\nHernia,A hernia.\n"), fault.Invalid, "line 2: Variable must be"},
		"a query without words": {"chexpert-8x200", chexpert.with("text-retrieval/query.csv", "Variable,Text\nEdema,\n"), fault.Invalid, "line 2: Text is empty"},
		"a target":              {"rsna", rsna.with("stage_2_train_labels.csv", "patientId,Target\np,2\n"), fault.Invalid, "line 2: Target must be"},
		"a class of RSNA":       {"rsna", rsna.with("stage_2_detailed_class_info.csv", "patientId,class\np,Opacity\n"), fault.Invalid, "line 2: class must be"},
		"an escape of RSNA":     {"rsna", rsna.with("stage_2_train_labels.csv", "patientId,Target\n../../"+patient+",1\n"), fault.Invalid, "line 2: the image does not lie below"},
		"a bare dicom_id":       {"ms-cxr-t", temporal.with(temporalList, temporalHead+"\n"+patient+",b,,,,,,,\n"), fault.Invalid, "line 2: previous_dicom_id must read like"},
		"an escape of MS-CXR-T": {"ms-cxr-t", temporal.with(temporalList, temporalHead+"\np10/p10000032/s2/b,../../../"+patient+",,,,,,,\n"), fault.Invalid, "line 2: the image does not lie below"},
		"a path too short":      {"ms-cxr-t", temporal.with(temporalList, temporalHead+"\np10/p10000032/s2/b,p10/"+study+"/a,,,,,,,\n"), fault.Invalid, "line 2: previous_dicom_id must read like"},
		"a progress":            {"ms-cxr-t", temporal.with(temporalList, temporalHead+"\np10/p10000032/s2/b,p10/p10000032/s1/a,,,better,,,,\n"), fault.Invalid, "line 2: consolidation_progression must be"},

		"no images of MIMIC":    {"mimic-cxr", mimic.with(meta, metadata("z,"+patient+","+study+",PA,,")), fault.NotFound, "1 images"},
		"no images of CheXpert": {"chexpert-5x200", chexpert.without("train/patient00001/study1/view1_frontal.jpg", "train/patient00001/study1/view2_lateral.jpg"), fault.NotFound, "3 images"},
		"no images of RSNA":     {"rsna", rsna.without("stage_2_train_images/p.dcm", "stage_2_train_images/q.dcm", "stage_2_train_images/r.dcm"), fault.NotFound, "4 images"},
		"no pair of MS-CXR-T":   {"ms-cxr-t", temporal.without("files/p10/p10000032/s2/b.dcm"), fault.NotFound, "pair"},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Open(c.kind, c.files.write(t))
			if set != nil || fault.KindOf(err) != c.fault || fault.ReasonOf(err) != ReasonSet || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v: %v, want %v and %q", fault.KindOf(err), err, c.fault, c.says)
			}
			if strings.Contains(err.Error(), patient) || strings.Contains(err.Error(), study) {
				t.Errorf("the error names a patient: %v", err)
			}
		})
	}
}

func TestRefusedRoot(t *testing.T) {
	if _, err := Open("rsna", filepath.Join(t.TempDir(), "none")); fault.KindOf(err) != fault.NotFound || fault.ReasonOf(err) != ReasonSet {
		t.Error(err)
	}
	if _, err := Open("nih", t.TempDir()); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "mimic-cxr") {
		t.Error(err)
	}
	for _, kind := range Kinds() {
		if _, err := Open(kind, t.TempDir()); fault.KindOf(err) != fault.NotFound || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
