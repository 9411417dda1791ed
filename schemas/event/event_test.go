package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// examples holds one full example of every event. The goldens made of them must decode
// for ever: never change one, add a new version instead.
func examples() map[Type]proto.Message {
	sha := bytes.Repeat([]byte{0xab}, 32)
	at := timestamppb.New(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	ref := &radstreamv1.ObjectRef{Uri: "objects:" + strings.Repeat("ab", 32), MediaType: "application/dicom", Size: 4096, Sha256: sha}
	report := &radstreamv1.Report{Text: "FINDINGS: No pneumothorax."}
	scores := []*radstreamv1.LabelScore{{Label: "effusion", Score: 0.75}}
	return map[Type]proto.Message{
		StudyArrived: &radstreamv1.StudyArrived{StudyUid: "2.25.1", PatientId: "P1", AccessionNumber: "A1", StudyTime: at,
			Objects: []*radstreamv1.StudyObject{{Ref: ref, Projection: radstreamv1.Projection_PROJECTION_LATERAL}}, Report: report},
		ReportArrived: &radstreamv1.ReportArrived{StudyUid: "2.25.1", PatientId: "P1", AccessionNumber: "A1", Report: report},
		StudyErased:   &radstreamv1.StudyErased{StudyUid: "2.25.1"},
		StudyPrepared: &radstreamv1.StudyPrepared{PrepId: "p", StudyKey: "s", PatientKey: "k", Rev: 2,
			Views: []*radstreamv1.PreparedView{{Projection: radstreamv1.Projection_PROJECTION_FRONTAL, ProjectionSource: "tag", Png: []byte("png"),
				Exposed: &radstreamv1.Box{X0: 1, Y0: 2, X1: 223, Y1: 222}, PixelsSha256: sha, ObjectSha256: sha, WindowPolicy: "dicom", SourceRows: 2048, SourceColumns: 2500}},
			Report: &radstreamv1.PreparedReport{Sections: []*radstreamv1.Section{{Name: "findings", Text: "No pneumothorax."}},
				Text: "No pneumothorax.", Tokens: []int32{101, 1302, 102}, ReportSha256: sha},
			ShiftedTime: at, Provenance: &radstreamv1.Provenance{PreparationVersion: "1", Tokenizer: "t", ArrivalIds: []string{"a"}}},
		StudyUnchanged: &radstreamv1.StudyUnchanged{StudyKey: "s", Rev: 2},
		StudyEmbedded: &radstreamv1.StudyEmbedded{PrepId: "p", StudyKey: "s", PatientKey: "k", Rev: 2, ModelRef: "tiny@1",
			Vectors: []*radstreamv1.Vector{{Name: radstreamv1.VectorName_VECTOR_NAME_IMAGE, Values: []float32{0.6, 0.8}}}, LabelScores: scores,
			ShiftedTime: at, PreparationVersion: "1"},
		StudyIndexed: &radstreamv1.StudyIndexed{StudyKey: "s", Rev: 2, ModelRef: "tiny@1", LabelScores: scores},
		Rejected: &radstreamv1.Rejected{Stage: "prepare", Kind: "invalid", Reason: "truncated", Detail: "the pixel data ends early",
			Input: &radstreamv1.InputRef{Stream: StreamStudies, Sequence: 7, EventId: "e"}, StudyKey: "s", Object: ref, Part: "object"},
		PatientMerged: &radstreamv1.PatientMerged{PatientId: "P1", MergedPatientId: "P2", StudyUid: "2.25.1"},
		StudyMoved:    &radstreamv1.StudyMoved{StudyKey: "s", PatientKey: "k", MovedTo: "l"},
		ArrivalNoted:  &radstreamv1.ArrivalNoted{Reason: "waiting_for_study", Studies: 1},
		TrainingDue:   &radstreamv1.TrainingDue{Reason: "schedule"},
		StudyRemoved:  &radstreamv1.StudyRemoved{StudyKey: "s"},
		ErasureReported: &radstreamv1.ErasureReported{Studies: []*radstreamv1.ErasedStudy{{StudyKey: "s", PreparedSequences: []uint64{4, 7}, Embedded: 2,
			Announcements: 1, ModelsSaw: []string{"tiny@2"}, ModelsUnknown: []string{"tiny@1"}}},
			Arrivals: 3, ObjectSha256: [][]byte{sha}, Identities: 2, DeadLetters: 1, ObjectsShared: 1, ObjectsElsewhere: 1, ReportsShared: 1, DryRun: true},
		ModelDecided: &radstreamv1.ModelDecided{ModelRef: "tiny@2", ChampionRef: "tiny@1", Promoted: true, Reason: "better", ManifestId: "m",
			Checks:       []*radstreamv1.ModelCheck{{Name: "mean_auc", Champion: 0.5, Candidate: 0.75, Limit: 0.25, Passed: true}},
			TrainStudies: 9, ValidationStudies: 1, NeighboursOverlap: 0.5},
	}
}

// added holds an example of each field that an event was given after its golden was made, by type and field.
func added() map[string]proto.Message {
	return map[string]proto.Message{
		string(StudyEmbedded) + ".label_set": &radstreamv1.StudyEmbedded{PrepId: "p", StudyKey: "s", PatientKey: "k", Rev: 2, ModelRef: "tiny@1",
			Vectors:     []*radstreamv1.Vector{{Name: radstreamv1.VectorName_VECTOR_NAME_IMAGE, Values: []float32{0.6, 0.8}}},
			LabelScores: []*radstreamv1.LabelScore{{Label: "effusion", Score: 0.25}}, PreparationVersion: "1", LabelSet: 300},
	}
}

// TestGoldens decodes the stored bytes of every event of version 1 in both encodings.
func TestGoldens(t *testing.T) {
	all := added()
	for _, typ := range types() {
		want, ok := examples()[typ]
		if !ok {
			t.Errorf("%s has no example", typ)
			continue
		}
		all[string(typ)] = want
	}
	for name, want := range all {
		t.Run(name, func(t *testing.T) {
			env, err := New("id", "test", "rad.v1.default.x.y", time.Unix(0, 0), want)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(name, string(env.Type)) {
				t.Fatalf("type %q, want that of %q", env.Type, name)
			}
			golden := filepath.Join("testdata", name)
			if *update {
				js, err := protojson.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				var pretty bytes.Buffer // protojson varies its white space on purpose
				if err := json.Indent(&pretty, js, "", "  "); err != nil {
					t.Fatal(err)
				}
				write(t, golden+".json", append(pretty.Bytes(), '\n'))
				write(t, golden+".hex", []byte(hex.Dump(env.Body)))
			}
			env.Body = undump(t, golden+".hex")
			got, err := env.Message()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
				t.Errorf("protobuf golden (-want +got):\n%s", d)
			}
			js, err := os.ReadFile(golden + ".json")
			if err != nil {
				t.Fatal(err)
			}
			got = got.ProtoReflect().New().Interface()
			if err := protojson.Unmarshal(js, got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
				t.Errorf("JSON golden (-want +got):\n%s", d)
			}
		})
	}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// undump reads back what hex.Dump wrote.
func undump(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for line := range strings.Lines(string(text)) {
		columns, _, _ := strings.Cut(line[8:], "|")
		b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(columns), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

func TestHeaderRoundTrip(t *testing.T) {
	want := Envelope{ID: "i", Source: "s", Type: StudyArrived, Time: time.Unix(1, 2).UTC(), ContentType: JSON,
		Subject: StudyArrivedSubject("north"), Cause: "c", Rev: 3,
		Trace: Trace{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "ot=th:8"}, Body: []byte("{}")}
	if d := cmp.Diff(want, FromMessage(string(want.Subject), want.Header(), want.Body)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	upper := map[string][]string{}
	for k, v := range want.Header() {
		upper[http.CanonicalHeaderKey(k)] = v
	}
	if d := cmp.Diff(want, FromMessage(string(want.Subject), upper, want.Body)); d != "" {
		t.Errorf("canonical header names (-want +got):\n%s", d)
	}
	if tenant, err := want.Tenant(); err != nil || tenant != "north" {
		t.Errorf("tenant %q, %v", tenant, err)
	}
}

func TestMessageRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		env    Envelope
		kind   fault.Kind
		reason fault.Reason
	}{
		{"newer version", Envelope{Type: "org.radstream.study.arrived.v2", ContentType: JSON}, fault.Unsupported, ReasonVersion},
		{"no type", Envelope{ContentType: JSON}, fault.Unsupported, ReasonType},
		{"other type", Envelope{Type: "com.example.v1"}, fault.Unsupported, ReasonType},
		{"no content type", Envelope{Type: StudyArrived, Body: []byte("{}")}, fault.Unsupported, ReasonContentType},
		{"JSON of our own events", Envelope{Type: StudyPrepared, ContentType: JSON, Body: []byte("{}")}, fault.Unsupported, ReasonContentType},
		{"JSON with an unknown field", Envelope{Type: StudyArrived, ContentType: JSON, Body: []byte(`{"patientName":"DOE"}`)}, fault.Invalid, ReasonBody},
		{"cut JSON", Envelope{Type: StudyArrived, ContentType: JSON + "; charset=utf-8", Body: []byte(`{"study`)}, fault.Invalid, ReasonBody},
		{"not protobuf", Envelope{Type: StudyArrived, ContentType: Protobuf, Body: []byte{0xff}}, fault.Invalid, ReasonBody},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.env.Message()
			if fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.reason {
				t.Errorf("got %v (%s, %s), want %s, %s", err, fault.KindOf(err), fault.ReasonOf(err), c.kind, c.reason)
			}
			if err != nil && strings.Contains(err.Error(), "DOE") {
				t.Errorf("the error quotes the input: %v", err)
			}
		})
	}
}

func TestTenantForms(t *testing.T) {
	for subject, ok := range map[Subject]bool{
		"rad.v1.north.study.arrived": true, "rad.v1.a-1.study.arrived": true,
		"rad.v1.North.study.arrived": false, "rad.v1..study.arrived": false, "rad.v2.a.study.arrived": false, "x": false, "": false,
	} {
		if _, err := (Envelope{Subject: subject}).Tenant(); (err == nil) != ok {
			t.Errorf("%q: %v", subject, err)
		}
	}
}

func TestIDKeepsPartsApart(t *testing.T) {
	if ID("ab", "c") == ID("a", "bc") || ID("a") == ID("a", "") {
		t.Error("different parts, same id")
	}
}

// FuzzMessage feeds arbitrary bodies and headers: no input may panic.
func FuzzMessage(f *testing.F) {
	for typ, m := range examples() {
		pb, _ := proto.Marshal(m)
		js, _ := protojson.Marshal(m)
		f.Add(string(typ), Protobuf, pb)
		f.Add(string(typ), JSON, js)
	}
	f.Fuzz(func(t *testing.T, typ, contentType string, body []byte) {
		env := FromMessage("rad.v1.default.study.arrived", map[string][]string{"ce-type": {typ}, "content-type": {contentType}}, body)
		if m, err := env.Message(); (m == nil) == (err == nil) {
			t.Errorf("message %v, error %v", m, err)
		}
	})
}
