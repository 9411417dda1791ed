package app

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
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
)

// The canaries: every identifier of a patient holds one.
const (
	canary    = "CANARY"                  // in text
	canaryUID = "2.25.770077007700770077" // in identifiers of DICOM
	birthday  = "19311107"
	studyDay  = "1987-06-05"
)

func canaries() []string {
	return []string{canary, strings.ToLower(canary), canaryUID, birthday, studyDay, strings.ReplaceAll(studyDay, "-", "")}
}

// TestNoIdentifierLeaks sends studies whose every identifier is a canary, whole and spoilt
// in every way, and looks for the canaries wherever they must not be: in all streams but
// STUDIES, the objects and the guarded lookup, in the index on disk, in the log at its most
// talkative, and in the answers to requests that go wrong.
func TestNoIdentifierLeaks(t *testing.T) {
	dir := t.TempDir()
	log := &lockedBuffer{}
	s := start(t, dir, log)

	good := canaryDICOM(t, canaryUID, "P"+canary, "CR")
	arrivals := map[string]proto.Message{
		"good": &radstreamv1.StudyArrived{StudyUid: canaryUID, PatientId: "P" + canary, AccessionNumber: "A" + canary,
			StudyTime: timestamppb.New(time.Date(1987, 6, 5, 4, 3, 2, 0, time.UTC)), Report: &radstreamv1.Report{Text: "FINDINGS: Clear lungs."},
			Objects: []*radstreamv1.StudyObject{s.object(t, good, 0)}},
		"report":    &radstreamv1.ReportArrived{StudyUid: canaryUID, PatientId: "P" + canary, Report: &radstreamv1.Report{Text: "IMPRESSION: Small nodule."}},
		"truncated": study("", s.object(t, good[:len(good)*2/3], 0)),
		"cut":       study(canaryUID, s.object(t, good[:300], 0)),
		"ct":        study("", s.object(t, bytes.ReplaceAll(good, []byte("CS\x02\x00CR"), []byte("CS\x02\x00CT")), 0)),
		"mismatch":  study(canaryUID+"1", s.object(t, good, 0)),
		"patient":   &radstreamv1.ReportArrived{StudyUid: canaryUID, PatientId: "Q" + canary, Report: &radstreamv1.Report{Text: "FINDINGS: None."}},
		"text":      study(canaryUID+"2", s.object(t, []byte("the patient is "+canary), 0)),
		"too long":  report(canaryUID+"3", strings.Repeat(canary+" ", 40_000)),
		"empty":     study(canaryUID + "4"),
		"no study":  report("", "FINDINGS: "+canary),
	}
	for id, m := range arrivals {
		s.send(t, id, m)
		s.await(t, id)
	}
	body := `{"studyUid":"` + canaryUID + `","name":"` + canary + `"}`
	e := event.Envelope{ID: "unknown field", Source: "test", Type: event.StudyArrived, ContentType: event.JSON, Subject: event.StudyArrivedSubject(tenant), Body: []byte(body)}
	if err := s.bus.Publish(t.Context(), e, nil); err != nil {
		t.Fatal(err)
	}
	s.await(t, "unknown field")
	if n := s.messages(t, event.StreamRejected); n < 9 {
		t.Errorf("only %d dead letters", n)
	}
	if points := s.points(t); len(points) != 1 {
		t.Errorf("%d studies in the index, want 1", len(points))
	}

	inStreams(t, s.Addresses().NATS)
	badRequests(t, s.Addresses().Query)
	s.stop(t)
	inFiles(t, filepath.Join(dir, "index"))
	inFiles(t, filepath.Join(dir, "keys"))
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
	look(t, "the log", log.Bytes())
}

// look fails the test if data holds a canary.
func look(t *testing.T, where string, data []byte) {
	t.Helper()
	for _, c := range canaries() {
		if i := bytes.Index(data, []byte(c)); i >= 0 {
			t.Errorf("%s holds the canary %s: ...%q...", where, c, data[max(0, i-80):min(len(data), i+80)])
		}
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

// inFiles looks through the files below dir.
func inFiles(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		n += len(data)
		look(t, path, data)
		look(t, "the name of a file", []byte(d.Name()))
		return err
	})
	if err != nil || n == 0 {
		t.Errorf("%s: %d bytes, %v", dir, n, err)
	}
}

// badRequests asks for what fails; the answers must not repeat what was asked.
func badRequests(t *testing.T, address string) {
	t.Helper()
	for _, r := range []struct{ method, path, body string }{
		{http.MethodGet, "/v1/labels?study=" + canary, ""},
		{http.MethodGet, "/v1/labels?study=1&tenant=" + canary, ""},
		{http.MethodGet, "/v1/" + canary, ""},
		{http.MethodPost, "/v1/search", `{"study":"` + canaryUID + `9"}`},
		{http.MethodPost, "/v1/search", `{"` + canary + `":1}`},
		{http.MethodPost, "/v1/search", `{"text":"` + canary},
		{http.MethodPost, "/v1/search", `{"text":"x","labels":[{"label":"` + canary + `"}]}`},
		{http.MethodPost, "/v1/search", `{"image":"` + canary + `"}`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, r.method, "http://"+address+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var answer bytes.Buffer
		if _, err := answer.ReadFrom(resp.Body); err != nil || resp.StatusCode < 400 {
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
		StudyTime: time.Date(1987, 6, 5, 4, 3, 2, 0, time.UTC), Modality: modality, BodyPart: "CHEST", ViewPosition: "PA", InstanceNumber: 1,
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
