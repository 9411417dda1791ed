package ingest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// element is a text attribute in explicit VR little endian.
func element(tag uint32, vr, value string) string {
	le := binary.LittleEndian
	value += strings.Repeat(" ", len(value)%2)
	b := le.AppendUint16(le.AppendUint16(nil, uint16(tag>>16)), uint16(tag))
	if vr == "SQ" || vr == "UN" {
		return string(le.AppendUint32(append(append(b, vr...), 0, 0), uint32(len(value)))) + value
	}
	return string(le.AppendUint16(append(b, vr...), uint16(len(value)))) + value
}

func sequenceItem(elements string) string {
	return string(binary.LittleEndian.AppendUint32([]byte("\xFE\xFF\x00\xE0"), uint32(len(elements)))) + elements
}

// TestTags: an inspection names what goes on and what does not, and holds no value.
func TestTags(t *testing.T) {
	nested := sequenceItem(element(0x00100020, "LO", "CANARY-4"))
	o := insert(t, object(t, nil), element(0x00090010, "LO", "CANARY-1")+element(0x00091001, "LO", "CANARY-2")+
		element(0x00081120, "SQ", nested+nested)+element(0x00100021, "LO", "CANARY-3")+element(0x0008FFFE, "LO", "CANARY-5")+
		element(0x60020010, "SH", "CANARY-6")+element(0x60023000, "UN", "CANARY-7"))
	i := ingest.Inspect(o.Data, "f")
	text, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("CANARY")) || bytes.Contains(text, []byte("MRN-4711")) || bytes.Contains(text, []byte("Doe")) {
		t.Errorf("an inspection holds a value: %s", text)
	}
	removed := map[string]ingest.RemovedTag{}
	for _, r := range i.Removed {
		removed[r.Tag] = r
	}
	for _, want := range []ingest.RemovedTag{
		{Tag: "(0008,0050)", Name: "AccessionNumber", Action: "Z", Count: 1},
		{Tag: "(0008,0070)", Name: "Manufacturer", Action: "", Count: 1},
		{Tag: "(0008,1120)", Name: "ReferencedPatientSequence", Action: "X", Count: 1},
		{Tag: "(0008,1120)/(0010,0020)", Name: "PatientID", Action: "Z/D", Count: 2},
		{Tag: "(0008,FFFE)", Name: "Unknown", Action: "", Count: 1},
		{Tag: "(0009,0010)", Name: "PrivateAttributes", Action: "X", Count: 1},
		{Tag: "(0009,1001)", Name: "PrivateAttributes", Action: "X", Count: 1},
		{Tag: "(0010,0010)", Name: "PatientName", Action: "Z", Count: 1},
		{Tag: "(0010,0021)", Name: "IssuerOfPatientID", Action: "X", Count: 1},
		{Tag: "(6002,3000)", Name: "OverlayData", Action: "X", Count: 1},
	} {
		if d := cmp.Diff(want, removed[want.Tag]); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	used := map[string]ingest.UsedTag{}
	for _, u := range i.Used {
		used[u.Tag] = u
		if _, both := removed[u.Tag]; both {
			t.Errorf("%s goes on and does not", u.Tag)
		}
	}
	for _, want := range []ingest.UsedTag{
		{Tag: "(0010,0020)", Name: "PatientID", Treatment: deid.Hashed, Field: "patient_key"},
		{Tag: "(0008,0018)", Name: "SOPInstanceUID", Treatment: deid.Hashed, Field: "views.instance_key"},
		{Tag: "(0020,000D)", Name: "StudyInstanceUID", Treatment: deid.Hashed, Field: "study_key"},
		{Tag: "(0008,0020)", Name: "StudyDate", Treatment: deid.Shifted, Field: "shifted_time"},
		{Tag: "(0028,0010)", Name: "Rows", Treatment: deid.Kept, Field: "views.source_rows"},
		{Tag: "(7FE0,0010)", Name: "PixelData", Treatment: deid.Used, Field: "views.png"},
	} {
		if d := cmp.Diff(want, used[want.Tag]); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if i.Cut {
		t.Error("the list is cut")
	}
	if i := ingest.Inspect(o.Data[:len(o.Data)-10], "f"); !i.Cut || len(i.Removed) == 0 {
		t.Errorf("a truncated file: %+v", i.Tags)
	}
	if i := ingest.Inspect(plain(t, 70, func(x, y int) uint8 { return uint8(x) }).Data, "f"); i.Used != nil || i.Removed != nil {
		t.Errorf("a PNG has attributes: %+v", i.Tags)
	}
}

// TestTagsOfTheCollection: every real DICOM file can be listed to its end, or is damaged.
func TestTagsOfTheCollection(t *testing.T) {
	dir := realdata.Path(t, "dicom")
	if dir == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	listed, removed, private, nested := 0, 0, 0, 0
	var cut []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		i := ingest.Inspect(data, filepath.Base(file))
		if len(i.Used) > 0 {
			listed++
		}
		removed += len(i.Removed)
		for _, r := range i.Removed {
			if r.Name == "PrivateAttributes" {
				private++
			}
			if strings.Contains(r.Tag, "/") {
				nested++
			}
		}
		if i.Cut {
			cut = append(cut, i.File)
			if i.Error == nil || i.Error.Reason != "truncated" && i.Error.Reason != "malformed_dicom" {
				t.Logf("%s: the list is cut, though the image can be read", i.File)
			}
		}
	}
	t.Logf("%d of %d files listed; of their attributes %d do not go on, %d of them private, %d in sequences; cut: %v",
		listed, len(files), removed, private, nested, cut)
	if len(cut) > 12 {
		t.Errorf("%d lists are cut", len(cut))
	}
}

// TestOthersDoNotCount: with every attribute that the profile marks in the file, each
// holding a canary, what is prepared is the same but for the hash of the object, and the
// canaries in those that are read are nowhere in it.
func TestOthersDoNotCount(t *testing.T) {
	rules, err := deid.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	prepare := func(o ingest.Object) *radstreamv1.StudyPrepared {
		f, refusals, err := preparer(t).Prepare(t.Context(), key(t), ingest.Arrival{ID: "a", Objects: []ingest.Object{o}})
		if err != nil || len(refusals) > 0 {
			t.Fatal(err, refusals)
		}
		study, _, err := assemble.Next(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range study.Views {
			v.ObjectSha256 = nil
		}
		study.PrepId = "" // made from that hash as well
		return study
	}
	base := object(t, nil)
	var more strings.Builder
	n := 0
	for tag := uint32(0x00080000); tag < 0x00500000; tag++ {
		if _, _, marked := rules.Profile(deid.Tag(tag)); !marked || rules.Treatment(deid.Tag(tag), 0).GoesOn() || deid.Tag(tag).Private() && tag&0xffff != 0x10 && tag&0xffff != 0x1001 {
			continue
		}
		n++
		more.WriteString(element(tag, "LO", "CANARY"))
	}
	if n < 400 {
		t.Fatalf("only %d attributes", n)
	}
	plainStudy, full := prepare(base), prepare(insert(t, base, more.String()))
	if !proto.Equal(plainStudy, full) {
		t.Error("an attribute that is not on the allow-list changes what is prepared")
	}
	body, err := proto.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"CANARY", "MRN-4711", "1.2.840.99", "Doe", "20240506", "070809"} {
		if bytes.Contains(body, []byte(value)) {
			t.Errorf("the prepared study holds %s", value)
		}
	}
}

// TestPaddedIdentifiers: what sender and header say may differ in padding.
func TestPaddedIdentifiers(t *testing.T) {
	want, _, err := preparer(t).Prepare(t.Context(), key(t), ingest.Arrival{Objects: []ingest.Object{object(t, nil)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []ingest.Arrival{
		{StudyUID: " 1.2.840.99\x00", PatientID: "MRN-4711 "},
		{StudyUID: "1.2.840.99 ", PatientID: "\tMRN-4711\r\n"},
		{PatientID: " \x00"},
	} {
		a.Objects = []ingest.Object{object(t, nil)}
		got, refusals, err := preparer(t).Prepare(t.Context(), key(t), a)
		if err != nil || len(refusals) > 0 || got.StudyKey != want.StudyKey || got.PatientKey != want.PatientKey || got.StudyUID != want.StudyUID {
			t.Errorf("%q %q: %v %v", a.StudyUID, a.PatientID, refusals, err)
		}
	}
	for _, id := range []event.PatientID{"mrn-4711", "MRN 4711", "04711"} {
		_, refusals, err := preparer(t).Prepare(t.Context(), key(t), ingest.Arrival{PatientID: id, Objects: []ingest.Object{object(t, nil)}})
		if err != nil || len(refusals) != 1 {
			t.Errorf("%q was joined with MRN-4711: %v %v", id, refusals, err)
		}
	}
}

// TestFieldsExist: what the allow-list says an attribute feeds is a field of StudyPrepared.
func TestFieldsExist(t *testing.T) {
	rules, err := deid.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range rules.Allowed() {
		message := (&radstreamv1.StudyPrepared{}).ProtoReflect().Descriptor()
		for name := range strings.SplitSeq(a.Field, ".") {
			if a.Field == "" {
				break
			}
			if message == nil || message.Fields().ByName(protoreflect.Name(name)) == nil {
				t.Errorf("%s feeds %s, which is no field", a.Keyword, a.Field)
				break
			}
			message = message.Fields().ByName(protoreflect.Name(name)).Message()
		}
	}
}
