package publish

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

var taken = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// radiograph is a DICOM file of a study.
func radiograph(t testing.TB, uid, instance, patient string) string {
	t.Helper()
	var b bytes.Buffer
	err := dicom.Encode(&b, dicom.Film{
		StudyUID: uid, SeriesUID: uid + ".1", InstanceUID: uid + ".1." + instance, PatientID: patient, AccessionNumber: "A1", StudyTime: taken,
		Modality: "CR", BodyPart: "CHEST", ViewPosition: "PA", Rows: 2, Columns: 2, BitsStored: 8, Photometric: "MONOCHROME2",
		Syntax: dicom.FilmExplicitLE, Pixels: []uint16{1, 2, 3, 4},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// folder writes files and returns their folder.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	dcm     = "application/dicom"
	frontal = radstreamv1.Projection_PROJECTION_FRONTAL
	lateral = radstreamv1.Projection_PROJECTION_LATERAL
)

func TestScan(t *testing.T) {
	one, two := radiograph(t, "1.2.1", "1", "P1"), radiograph(t, "1.2.1", "2", "P1")
	strange := strings.NewReplacer("Mueller", "M\xfcller ", "ISO_IR 192", "ISO_IR 999").Replace(radiograph(t, "1.2.3", "1", "Mueller"))
	for _, c := range []struct {
		name  string
		files map[string]string
		named []string // files to name instead of the folder
		want  Plan     // paths without the folder; problems without detail
	}{
		{name: "DICOM files by study", files: map[string]string{
			"a/1.dcm": one, "b/2.DICOM": two, "c/3": radiograph(t, "1.2.2", "1", ""),
		}, want: Plan{Studies: []Study{
			{UID: "1.2.1", PatientID: "P1", Accession: "A1", Time: taken, Objects: []Object{{Path: "a/1.dcm", MediaType: dcm}, {Path: "b/2.DICOM", MediaType: dcm}}},
			{UID: "1.2.2", Accession: "A1", Time: taken, Objects: []Object{{Path: "c/3", MediaType: dcm}}},
		}}},
		{name: "what cannot say its study is published by itself", files: map[string]string{
			"a.dcm": "no film", "b.dcm": "", "c.dcm": one[:len(one)-3],
		}, want: Plan{Studies: []Study{
			{Objects: []Object{{Path: "a.dcm", MediaType: dcm}}},
			{Objects: []Object{{Path: "b.dcm", MediaType: dcm}}},
			{UID: "1.2.1", PatientID: "P1", Accession: "A1", Time: taken, Objects: []Object{{Path: "c.dcm", MediaType: dcm}}},
		}}},
		{name: "text in no known character set is Latin-1", files: map[string]string{"a.dcm": strange}, want: Plan{Studies: []Study{
			{UID: "1.2.3", PatientID: "Müller", Accession: "A1", Time: taken, Objects: []Object{{Path: "a.dcm", MediaType: dcm}}},
		}}},
		{name: "other files are counted, unless they are named", files: map[string]string{"a.dcm": one, "b.txt": "", "c.TXT": "", "d.csv": "x", "e.bin": two},
			want: Plan{Ignored: map[string]int{".txt": 2, ".csv": 1, ".bin": 1}, Studies: []Study{
				{UID: "1.2.1", PatientID: "P1", Accession: "A1", Time: taken, Objects: []Object{{Path: "a.dcm", MediaType: dcm}}}}}},
		{name: "named files are DICOM whatever their name", files: map[string]string{"e.bin": two}, named: []string{"e.bin"}, want: Plan{Studies: []Study{
			{UID: "1.2.1", PatientID: "P1", Accession: "A1", Time: taken, Objects: []Object{{Path: "e.bin", MediaType: dcm}}}}}},
		{name: "a file named twice is one object", files: map[string]string{"a.dcm": one}, named: []string{"a.dcm", "a.dcm"}, want: Plan{Studies: []Study{
			{UID: "1.2.1", PatientID: "P1", Accession: "A1", Time: taken, Objects: []Object{{Path: "a.dcm", MediaType: dcm}}}}}},
		{name: "films by their list", files: map[string]string{
			"f/1.png": "", "f/2.JPG": "",
			"f/studies.csv": "\ufeffStudy_ID , image,view,patient_id,accession_number,study_time,findings,impression\n" +
				"s1,1.png,PA,P1,A1,2026-03-04T05:06:07Z,Clear lungs.,Normal.\ns1,2.JPG,Lateral,P1,A1,2026-03-04T05:06:07Z,Clear lungs.,Normal.\n",
		}, want: Plan{Studies: []Study{{UID: "s1", PatientID: "P1", Accession: "A1", Time: taken, Report: "FINDINGS: Clear lungs.\nIMPRESSION: Normal.",
			Objects: []Object{{"f/1.png", "image/png", frontal}, {"f/2.JPG", "image/jpeg", lateral}}}}}},
		{name: "a row with a report only", files: map[string]string{"mystudies.csv": "study_id,image,caption\ns1,,Clear lungs.\n"},
			want: Plan{Studies: []Study{{UID: "s1", Report: "Clear lungs."}}}},
		{name: "a list of any name that is named itself", files: map[string]string{"list.csv": "study_id,image,notes\ns1,,Clear.\n"}, named: []string{"list.csv"},
			want: Plan{Studies: []Study{{UID: "s1", Report: "Clear."}}}},
		{name: "films and lists that do not fit", files: map[string]string{
			"1.png": "", "2.png": "", "3.png": "",
			"studies.csv": "study_id,image,study_time,report\ns1,1.png,,\ns2,gone.png,,Text.\n,2.png,,\ns4,3.png,yesterday,\ns5,../1.png,,\ns6,1.png\n",
			"stray.jpeg":  "",
		}, want: Plan{
			Studies: []Study{{UID: "s1", Objects: []Object{{Path: "1.png", MediaType: "image/png"}}}},
			Problems: []Problem{{"gone.png", ReasonNoImage, ""}, {"stray.jpeg", ReasonNoRow, ""},
				{"studies.csv", ReasonCSV, ""}, {"studies.csv", ReasonRow, ""}, {"studies.csv", ReasonRow, ""}, {"studies.csv", ReasonRow, ""}},
		}},
		{name: "lists that cannot be read", files: map[string]string{
			"a/studies.csv": "", "b/studies.csv": "study_id\ns1\n", "c/studies.csv": "study_id,image\n\"s1,x\n", "d/studies.csv": "study_id,image\ns1,Ergu\xdf\n",
		}, want: Plan{Problems: []Problem{
			{"a/studies.csv", ReasonCSV, ""}, {"b/studies.csv", ReasonCSV, ""}, {"c/studies.csv", ReasonCSV, ""}, {"d/studies.csv", ReasonCSV, ""}}}},
		{name: "reports by their list", files: map[string]string{
			"a.dcm": one, "r/1.txt": "Clear lungs.", "r/2.txt": "Nodule.", "r/latin.txt": "Ergu\xdf", "r/long.txt": strings.Repeat("x", report.MaxBytes+1),
			"reports.csv": "study_uid,report,patient_id,accession_number\n1.2.1,r/1.txt,P9,A9\n1.2.9,r/2.txt,P2,A2\n,r/1.txt,,\n1.2.7,r/gone.txt,,\n1.2.8,/etc/hostname,,\n1.2.8,r/latin.txt,,\n1.2.8,r/long.txt,,\n",
		}, want: Plan{Ignored: map[string]int{".txt": 4}, Studies: []Study{
			{UID: "1.2.1", PatientID: "P1", Accession: "A1", Time: taken, Report: "Clear lungs.", Objects: []Object{{Path: "a.dcm", MediaType: dcm}}},
			{UID: "1.2.9", PatientID: "P2", Accession: "A2", Report: "Nodule."},
		}, Problems: []Problem{{"r/gone.txt", ReasonUnread, ""}, {"r/latin.txt", ReasonUnread, ""}, {"r/long.txt", ReasonTooLarge, ""},
			{"reports.csv", ReasonRow, ""}, {"reports.csv", ReasonNoStudy, ""}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, c.files)
			paths := []string{dir}
			if c.named != nil {
				paths = nil
				for _, name := range c.named {
					paths = append(paths, filepath.Join(dir, name))
				}
			}
			got, err := Scan(t.Context(), paths)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got.Studies {
				for j := range got.Studies[i].Objects {
					o := &got.Studies[i].Objects[j]
					o.Path = relative(t, dir, o.Path)
				}
			}
			for i := range got.Problems {
				p := &got.Problems[i]
				if p.Detail == "" || strings.Contains(p.Detail, "\n") {
					t.Errorf("a problem without a clear line: %+v", *p)
				}
				p.Path, p.Detail = relative(t, dir, p.Path), ""
			}
			less := cmpopts.SortSlices(func(a, b Problem) bool { return a.Path+a.Reason < b.Path+b.Reason })
			if d := cmp.Diff(c.want, got, cmpopts.EquateEmpty(), less); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func relative(t *testing.T, dir, path string) string {
	t.Helper()
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

func TestScanOfNothing(t *testing.T) {
	if _, err := Scan(t.Context(), []string{filepath.Join(t.TempDir(), "missing")}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a missing path: %v", err)
	}
	if p, err := Scan(t.Context(), []string{t.TempDir()}); err != nil || len(p.Studies)+len(p.Problems) != 0 {
		t.Errorf("an empty folder: %+v, %v", p, err)
	}
}

// FuzzLists: whatever a list holds, it is read without a panic, names files below its
// folder only, and yields text that fits in an event.
func FuzzLists(f *testing.F) {
	for _, list := range []string{
		"study_id,image,report\ns1,1.png,Clear.\n", "study_uid,report\n1.2,r.txt\n", "study_id,image\n\"a\"b,c\n", "study_id,image\n\"", "\ufeff",
		"study_id,image\n\n\n s1 ,../1.png\n", "study_id,study_id,image,image\na,b,c,1.png\n", "study_id,image\na\xff,1.png\n", "study_id,image,study_time\na,1.png,now\n",
		"study_uid,report\n1.2,\"r.\ntxt\"\n", "study_id,image\n\r\n\"\",\"\"\n",
	} {
		f.Add([]byte(list))
	}
	dir := folder(f, map[string]string{"1.png": "", "r.txt": "Clear."})
	f.Fuzz(func(t *testing.T, list []byte) {
		path := filepath.Join(dir, "fuzzed.csv")
		if err := os.WriteFile(path, list, 0o644); err != nil {
			t.Fatal(err)
		}
		s := newScanner()
		s.studiesCSV(path)
		s.reportsCSV(path)
		s.joinReports()
		for _, st := range s.plan.Studies {
			if st.UID == "" || !utf8.ValidString(string(st.UID)+string(st.PatientID)+st.Accession+st.Report) {
				t.Errorf("a study that fits in no event: %+v", st)
			}
			for _, o := range st.Objects {
				if o.Path != filepath.Join(dir, "1.png") && o.Path != filepath.Join(dir, "r.txt") && o.Path != path {
					t.Errorf("a file elsewhere: %s", o.Path)
				}
			}
		}
	})
}
