package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/telemetry/tracetest"
)

// The canaries: every identifier of a patient holds one.
const (
	canary    = "QXCANARY"                // in text; "canary" alone is a word of the vocabulary on disk
	canaryUID = "2.25.770077007700770077" // in identifiers of DICOM
	birthday  = "19311107"
	// burnedName is in the pixels of a film, and in its header.
	burnedName = "WINTERBOTTOM"
	studyDay   = "1987-06-05"
)

func canaries() []string {
	return []string{canary, strings.ToLower(canary), canaryUID, birthday, studyDay, strings.ReplaceAll(studyDay, "-", ""), burnedName}
}

// studyTime is the time of the study: studyDay in the morning.
var studyTime = time.Date(1987, 6, 5, 4, 3, 2, 987654000, time.UTC)

// TestNoIdentifierLeaks sends studies whose every identifier is a canary, whole and spoilt
// in every way, and looks for the canaries, in every form, wherever they must not be: in all
// streams but STUDIES, the objects and the guarded lookup, on disk beside those three, in
// temporary files, in the log at its most talkative, and in the answers to requests.
func TestNoIdentifierLeaks(t *testing.T) {
	dir, temp, share := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	log := &lockedBuffer{}
	collector := tracetest.Serve(t)
	s := start(t, dir, log, func(c *config.Config) {
		c.Telemetry.Traces = collector.URL
		c.Ingest.AllowedRoots = []string{share}
		c.Ingest.MaxObjectBytes = 4 << 20
	})

	film := canaryDICOM(t, canaryUID, "P"+canary, "CR")
	good := plant(t, film, allCanaries(t))
	var burned bytes.Buffer
	if err := dicom.Encode(&burned, written(t)); err != nil {
		t.Fatal(err)
	}
	inFile := func(name string, data []byte) *radstreamv1.StudyObject {
		path := filepath.Join(share, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		return &radstreamv1.StudyObject{Ref: &radstreamv1.ObjectRef{Uri: "file:" + path, Size: uint64(len(data)), Sha256: sum[:], MediaType: canary}}
	}
	other := func(change func(*radstreamv1.ObjectRef)) *radstreamv1.StudyObject {
		o := proto.CloneOf(s.object(t, film, 0))
		change(o.Ref)
		return o
	}
	arrivals := map[string]proto.Message{
		"burned":     study(canaryUID, s.object(t, burned.Bytes(), 0)),
		"report":     &radstreamv1.ReportArrived{StudyUid: canaryUID, PatientId: " P" + canary + " ", AccessionNumber: canary + "^HIS", Report: &radstreamv1.Report{Text: canaryReport()}},
		"a file":     &radstreamv1.StudyArrived{StudyUid: canaryUID, Objects: []*radstreamv1.StudyObject{inFile(canary+"^JANE.dcm", film)}},
		"bad file":   study(canaryUID+"5", inFile(canary+".dcm", []byte("no film of "+canary))),
		"no file":    study(canaryUID+"6", other(func(r *radstreamv1.ObjectRef) { r.Uri = "file:" + share + "/" + canary })),
		"elsewhere":  study(canaryUID+"7", other(func(r *radstreamv1.ObjectRef) { r.Uri = "file:/" + canary + "/film.dcm" })),
		"http":       study(canaryUID+"8", other(func(r *radstreamv1.ObjectRef) { r.Uri = "https://" + canary + ".org/" + canary })),
		"bad name":   study(canaryUID+"9", other(func(r *radstreamv1.ObjectRef) { r.Uri = "objects:" + canary })),
		"bad hash":   study(canaryUID+"10", other(func(r *radstreamv1.ObjectRef) { r.Sha256 = []byte(canary) })),
		"media type": study(canaryUID+"11", other(func(r *radstreamv1.ObjectRef) { r.MediaType = "application/" + canary; r.Size++ })),
		"oversize":   study(canaryUID+"12", s.object(t, append(bytes.Repeat([]byte(canary), 1<<20), good...), 0)),
		"too many":   &radstreamv1.StudyArrived{StudyUid: canaryUID + "13", PatientId: canary, Objects: slices.Repeat([]*radstreamv1.StudyObject{s.object(t, film, 0)}, 65)},
		"mismatch":   study(canaryUID+"1", s.object(t, good, 0)),
		"patient":    &radstreamv1.ReportArrived{StudyUid: canaryUID, PatientId: "Q" + canary, Report: &radstreamv1.Report{Text: "FINDINGS: None."}},
		"in arrival": &radstreamv1.StudyArrived{StudyUid: canaryUID, PatientId: canary + "^^^HOSP&1.2.3&ISO", Objects: []*radstreamv1.StudyObject{s.object(t, good, 0)}},
		"too long":   report(canaryUID+"3", strings.Repeat(canary+" ", 40_000)),
		"empty":      study(canaryUID + "4"),
		"no study":   report("", "FINDINGS: "+canary),
		"erase":      &radstreamv1.StudyErased{StudyUid: canaryUID, PatientId: canary},
	}
	for name, data := range spoilt(t, film) {
		arrivals["spoilt "+name] = study("", s.object(t, data, 0))
	}
	first := &radstreamv1.StudyArrived{StudyUid: canaryUID, PatientId: "P" + canary, AccessionNumber: "A" + canary,
		StudyTime: timestamppb.New(studyTime), Report: &radstreamv1.Report{Text: canaryReport()},
		Objects: []*radstreamv1.StudyObject{s.object(t, good, 0)}}
	s.send(t, canary+" first", first)
	if m := s.await(t, canary+" first"); m.Type != event.StudyIndexed {
		t.Fatalf("the whole study ends as %s", m.Type)
	}
	indexed := 1
	await := func(id string) {
		if m := s.await(t, canary+" "+id); m.Type == event.StudyIndexed {
			indexed++
		}
	}
	for id, m := range arrivals {
		s.send(t, canary+" "+id, m)
		await(id) // INDEXED keeps the last revision: another arrival of the study could overtake this one
	}
	// The whole of a hospital's messages: one joins the study, one waits, one merges, others fail.
	messages := map[string]string{
		"message":     canaryORU("P"+canary, "A"+canary),
		"waits":       canaryORU("P"+canary, "B"+canary),
		"of another":  canaryORU("T"+canary, "A"+canary),
		"no HL7":      canary,
		"no type":     strings.Replace(canaryORU(canary, canary), "ORU^R01", canary, 1),
		"no text":     strings.Replace(canaryORU(canary, canary), "OBX", "ZBX", 1),
		"no number":   canaryORU(canary, ""),
		"batch":       "BHS|^~\\&|" + canary + "\r" + canaryORU(canary, "") + canaryORU(canary, "C"+canary),
		"second time": canaryORU("P"+canary, "B"+canary),
	}
	for id, body := range messages {
		s.sendRaw(t, canary+" "+id, event.ReportArrived, event.HL7v2, body)
		await(id)
	}
	s.sendRaw(t, canary+" merge", event.PatientMerged, event.HL7v2, "MSH|^~\\&|"+canary+"|||||ADT^A40|1|P|2.5\rPID|1||S"+canary+"||"+canary+"\rMRG|R"+canary+"\r")
	await("merge")
	n := len(arrivals) + len(messages) + 2
	for id, body := range map[string]string{
		"unknown field": `{"studyUid":"` + canaryUID + `","` + canary + `":"` + canary + `"}`,
		"wrong type":    `{"studyUid":["` + canary + `"]}`,
		"no JSON":       `{"studyUid":"` + canary,
		"no UTF-8":      "{\"studyUid\":\"" + canary + "\xff\"}",
	} {
		s.raw(t, canary+" "+id, func(e *event.Envelope) { e.Body = []byte(body) })
		await(id)
		n++
	}
	for id, change := range map[string]func(*event.Envelope){
		"type": func(e *event.Envelope) { e.Type = "org." + canary + ".v1" },
		"version": func(e *event.Envelope) {
			e.Type = event.Type(strings.TrimSuffix(string(event.StudyArrived), "1") + canary)
		},
		"content type": func(e *event.Envelope) { e.ContentType = "application/" + canary + "; charset=\"" + canary },
		"protobuf":     func(e *event.Envelope) { e.ContentType, e.Body = event.Protobuf, []byte(canary) },
		"source":       func(e *event.Envelope) { e.Source = "https://" + canary; e.Body = []byte(`{}`) },
		"trace":        func(e *event.Envelope) { e.Trace = event.Trace{Parent: canary, State: canary}; e.Body = []byte(`{}`) },
		"trace state": func(e *event.Envelope) {
			e.Trace = event.Trace{Parent: parent("1"), State: "ot=" + canary + ",x=" + canaryUID}
			e.Body = []byte(`{}`)
		},
	} {
		s.raw(t, canary+" "+id, change)
		await(id)
		n++
	}
	if n := s.messages(t, event.StreamRejected); n < 40 {
		t.Errorf("only %d dead letters", n)
	}
	t.Logf("%d arrivals, %d dead letters, %d ended as indexed", n, s.messages(t, event.StreamRejected), indexed)
	if m, _ := s.prepared(t, tenant, canaryUID); !slices.ContainsFunc(m.GetViews(), func(v *radstreamv1.PreparedView) bool {
		return len(v.GetRemoved()) > 0 && slices.Equal(v.GetMarkers(), []string{"PORTABLE"})
	}) {
		t.Error("nobody looked for the text in the film")
	}
	if points := s.points(t); len(points) != 1 {
		t.Errorf("%d studies in the index, want 1", len(points))
	}

	inStreams(t, s.Addresses().NATS)
	requests(t, s.Addresses().Query)
	s.stop(t)
	inFiles(t, dir, "STUDIES", "OBJ_"+bus.BucketObjects, "KV_"+bus.BucketIdentity)
	lookInFolder(t, temp, nil)
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
	look(t, "the log", log.Bytes())
	if spans := collector.Spans(); len(spans) < 2*n {
		t.Errorf("only %d spans of %d arrivals", len(spans), n)
	}
	look(t, "the traces", collector.Bytes())
}

// raw publishes an arrival in JSON that change has made wrong.
func (s *system) raw(t *testing.T, id string, change func(*event.Envelope)) {
	t.Helper()
	e := event.Envelope{ID: event.MessageID(id), Source: "test", Type: event.StudyArrived, ContentType: event.JSON, Subject: event.StudyArrivedSubject(tenant)}
	change(&e)
	if err := s.bus.Publish(t.Context(), e, nil); err != nil {
		t.Fatal(err)
	}
}

// inStreams looks through every message of every stream, but those that may hold identifiers;
// there the canaries must be found, or the test looks for the wrong thing.
func inStreams(t *testing.T, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	names := js.StreamNames(t.Context())
	held := map[string]bool{}
	for name := range names.Name() {
		var all bytes.Buffer
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if c := stream.CachedInfo().Config.Compression; c != jetstream.NoCompression {
			t.Errorf("stream %s is compressed (%s): its files cannot be searched", name, c)
		}
		state := stream.CachedInfo().State
		for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if err != nil { // removed since
				continue
			}
			all.WriteString(m.Subject)
			for k, v := range m.Header {
				all.WriteString(" " + k + ": " + strings.Join(v, ", "))
			}
			all.Write(m.Data)
		}
		switch name {
		case event.StreamStudies, "OBJ_" + bus.BucketObjects, "KV_" + bus.BucketIdentity:
			held[name] = bytes.Contains(all.Bytes(), []byte(canaryUID))
		default:
			held[name] = all.Len() > 0
			look(t, "stream "+name, all.Bytes())
		}
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{event.StreamStudies, "OBJ_" + bus.BucketObjects, "KV_" + bus.BucketIdentity,
		event.StreamPrepared, event.StreamEmbedded, event.StreamIndexed, event.StreamRejected} {
		if !held[name] {
			t.Errorf("stream %s has nothing to look at: %v", name, held)
		}
	}
}

// inFiles looks through the files below the data folder, but for the streams that may hold
// identifiers; those must be there, or the test skips the wrong thing.
func inFiles(t *testing.T, dir string, may ...string) {
	t.Helper()
	if n := lookInFolder(t, dir, may); n == 0 {
		t.Errorf("%s is empty", dir)
	}
	for _, name := range may {
		if _, err := os.Stat(filepath.Join(dir, "nats", "jetstream", "$G", "streams", name)); err != nil {
			t.Error(err)
		}
	}
}

// lookInFolder looks through all files below dir, but the folders of the streams that may,
// and through all their names. It returns how many bytes it saw.
func lookInFolder(t *testing.T, dir string, may []string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		look(t, "the name of a file", []byte(below))
		if d.IsDir() {
			if filepath.Base(filepath.Dir(path)) == "streams" && slices.Contains(may, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		data, err := os.ReadFile(path)
		n += len(data)
		look(t, below, data)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return n
}

// requests asks for what fails, and for what is told to anybody; no answer may repeat what
// was asked, or what the system was sent.
func requests(t *testing.T, address string) {
	t.Helper()
	for _, r := range []struct {
		method, path, body string
		works              bool
	}{
		{http.MethodGet, "/v1/labels?study=" + canary, "", false},
		{http.MethodGet, "/v1/labels?study=1&tenant=" + canary, "", false},
		{http.MethodGet, "/v1/studies/" + canaryUID + "9", "", false},
		{http.MethodGet, "/v1/status?" + canary + "=" + canary, "", false},
		{http.MethodGet, "/v1/" + canary, "", false},
		{http.MethodPost, "/v1/search", `{"study":"` + canaryUID + `9"}`, false},
		{http.MethodPost, "/v1/search", `{"` + canary + `":1}`, false},
		{http.MethodPost, "/v1/search", `{"text":"` + canary, false},
		{http.MethodPost, "/v1/search", `{"text":"x","labels":[{"label":"` + canary + `"}]}`, false},
		{http.MethodPost, "/v1/search", `{"image":"` + canary + `"}`, false},
		{http.MethodPost, "/v1/search", `{"positive":["` + canaryUID + `9"],"after":"` + studyDay + `"}`, false},
		{http.MethodPost, "/v1/search", `{"text":"x","after":"` + canary + `"}`, false},
		{http.MethodPost, "/v1/search", `{"text":"x","model":"` + canary + `"}`, false},
		{http.MethodGet, "/openapi.json", "", true},
		{http.MethodGet, "/v1/status", "", true},
		{http.MethodGet, "/debug/vars", "", false},
		{http.MethodGet, "/metrics", "", true}, // the last: it tells of all requests above as well
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, r.method, "http://"+address+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("traceparent", parent("2"))
		req.Header.Set("tracestate", canary+"="+canaryUID)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var answer bytes.Buffer
		if _, err := answer.ReadFrom(resp.Body); err != nil || (resp.StatusCode < 400) != r.works {
			t.Errorf("%s %s is answered with %s, %v", r.method, r.path, resp.Status, err)
		}
		resp.Body.Close()
		look(t, "the answer to "+r.method+" "+r.path, answer.Bytes())
	}
}

// canaryDICOM is a film whose every identifier is a canary.
func canaryDICOM(t *testing.T, uid, patient, modality string) []byte {
	t.Helper()
	conf := phantom.Defaults()
	conf.Studies, conf.Side = 1, 128
	s, err := phantom.Generate(conf, 0)
	if err != nil {
		t.Fatal(err)
	}
	image := s.Views[0]
	f := dicom.Film{
		StudyUID: uid, SeriesUID: canaryUID + ".1", InstanceUID: canaryUID + ".2",
		PatientID: patient, PatientName: canary + "^" + canary, PatientSex: "F", PatientBirthDate: birthday, AccessionNumber: "A" + canary,
		StudyTime: studyTime, Modality: modality, BodyPart: "CHEST", ViewPosition: "PA", InstanceNumber: 1,
		Rows: image.Rows, Columns: image.Columns, BitsStored: image.BitsStored, Photometric: image.Photometric,
		Syntax: dicom.FilmExplicitLE, Pixels: image.Pixels,
	}
	var b bytes.Buffer
	if err := dicom.Encode(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// lockedBuffer is a log that is read when nobody writes any more.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}
