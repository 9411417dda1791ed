package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/publish"
)

// TestBadInput gives radstream everything that goes wrong on a bad day: one clear line, the
// right exit code, nothing lost, and the server still answers.
func TestBadInput(t *testing.T) {
	w := newBadWorld(t)
	t.Run("command line", w.commandLines)
	t.Run("start", w.starts)
	t.Run("files", w.files)
	t.Run("lists", w.lists)
	t.Run("events", w.events)
}

// badWorld is a running radstream, a client of its bus, and phantom films to spoil.
type badWorld struct {
	*server
	js      jetstream.JetStream
	objects jetstream.ObjectStore
	good    string // a folder of phantom studies
	closed  string // an address where nobody listens
}

func newBadWorld(t *testing.T) *badWorld {
	w := &badWorld{server: up(t, t.TempDir(), anyPorts), good: filepath.Join(t.TempDir(), "studies"), closed: freePorts(t).nats}
	if r := run(t, "phantom", w.good, "--studies", "7", "--broken", "7", "--side", "128"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	nc, err := nats.Connect(w.NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if w.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	if w.objects, err = w.js.ObjectStore(t.Context(), bus.BucketObjects); err != nil {
		t.Fatal(err)
	}
	return w
}

// wrong is what a failed command line has to say.
type wrong struct {
	code         int
	kind, reason string
	lines        []string // what each line of standard error holds
}

var progress = regexp.MustCompile(`^(published|phantoms) \d+/\d+`)

// check runs a command line for people and for programs and holds both to want.
func (w *badWorld) check(t *testing.T, want wrong, args ...string) {
	t.Helper()
	r := run(t, args...)
	lines := slices.DeleteFunc(strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n"), progress.MatchString)
	if r.code != want.code || len(lines) != len(want.lines) {
		t.Errorf("%v ended with %d, want %d, and %d lines, want %d:\n%s", args, r.code, want.code, len(lines), len(want.lines), r.stderr)
		return
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, "radstream: ") || !strings.Contains(line, want.lines[i]) || !clear(line) {
			t.Errorf("%v says %q, which should begin with radstream and hold %q", args, line, want.lines[i])
		}
	}
	r = run(t, append([]string{args[0], "--json"}, args[1:]...)...)
	var problem struct {
		Error struct{ Kind, Reason, Detail string }
	}
	d := json.NewDecoder(strings.NewReader(r.stderr))
	d.DisallowUnknownFields()
	if err := d.Decode(&problem); err != nil || d.More() {
		t.Errorf("%v --json does not print one object: %v: %s", args, err, r.stderr)
	}
	if p := problem.Error; r.code != want.code || p.Kind != want.kind || p.Reason != want.reason || !strings.Contains(p.Detail, want.lines[0]) {
		t.Errorf("%v --json ended with %d and %+v, want %d, %s, %q", args, r.code, p, want.code, want.kind, want.reason)
	}
}

// clear tells whether a line is for people: no stack, no Go types, no help text.
func clear(line string) bool {
	for _, no := range []string{"goroutine ", "panic", ".go:", "Usage:", "*fault", "fault.", "<nil>", "%!", "rpc error", "&{", "map["} {
		if strings.Contains(line, no) {
			return false
		}
	}
	return true
}

// answers checks that the server lives.
func (w *badWorld) answers(t *testing.T) {
	t.Helper()
	if r := run(t, "status", "--server", w.Query); r.code != 0 {
		t.Errorf("the server does not answer any more: %s", r.stderr)
	}
}

func (w *badWorld) commandLines(t *testing.T) {
	dir := t.TempDir()
	text, nothing, empty := file(t, dir, "film.png", "no image"), file(t, dir, "empty.dcm", ""), filepath.Join(dir, "none")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	at, on := []string{"--server", w.Query}, []string{"--nats-url", w.NATS}
	usage := func(line string) wrong { return wrong{2, "usage", "", []string{line}} }
	invalid := func(reason, line string) wrong { return wrong{3, "invalid", reason, []string{line}} }
	for _, c := range []struct {
		name string
		want wrong
		args []string
	}{
		{"unknown command", usage(`unknown command "nosuch"`), []string{"nosuch"}},
		{"unknown flag", usage("unknown flag: --nosuch"), []string{"up", "--nosuch"}},
		{"flag without value", usage("flag needs an argument"), []string{"search", "--text"}},
		{"missing argument", usage("requires at least 1 arg"), []string{"publish"}},
		{"missing flag", usage(`"study" not set`), []string{"labels"}},
		{"search with nothing", usage("at least one of the flags"), append([]string{"search"}, at...)},
		{"search with an empty text", invalid("malformed_request", "exactly one of"), append([]string{"search", "--text", ""}, at...)},
		{"search with two things", usage("none of the others can be"), append([]string{"search", "--text", "a", "--study", "1"}, at...)},
		{"k of zero", usage("--k must be 1 to 1000"), append([]string{"search", "--text", "a", "--k", "0"}, at...)},
		{"k out of range", usage("--k must be 1 to 1000"), append([]string{"search", "--text", "a", "--k", "1001"}, at...)},
		{"malformed label", usage("--label must read like"), append([]string{"search", "--text", "a", "--label", "effusion"}, at...)},
		{"unknown label", invalid("unknown_label", "labels must name a label that is scored"), append([]string{"search", "--text", "a", "--label", "nosuch>=0.5"}, at...)},
		{"unknown study", wrong{1, "not_found", "", []string{"the study is not in the index"}}, append([]string{"search", "--study", "1.2.3"}, at...)},
		{"labels of an unknown study", wrong{1, "not_found", "", []string{"the study is not in the index"}}, append([]string{"labels", "--study", "1.2.3"}, at...)},
		{"labels of nothing", invalid("malformed_request", "name the study"), append([]string{"labels", "--study", ""}, at...)},
		{"image that is none", invalid("not_dicom", "a DICOM file has DICM at byte 128"), append([]string{"search", "--image", text}, at...)},
		{"image of zero bytes", invalid("empty_image", "is empty"), append([]string{"search", "--image", nothing}, at...)},
		{"image that is missing", usage("cannot be read: no such file"), append([]string{"search", "--image", missing}, at...)},
		{"bad tenant", usage("a tenant is 1 to 63"), append([]string{"search", "--text", "a", "--tenant", "Bad_"}, at...)},
		{"publish for a bad tenant", usage("a tenant is 1 to 63"), append([]string{"publish", w.good, "--tenant", "Bad_"}, on...)},
		{"publish a missing path", usage("cannot be read: no such file"), append([]string{"publish", missing}, on...)},
		{"publish an empty folder", invalid("nothing_found", "there are no studies"), append([]string{"publish", empty}, on...)},
		{"inspect a missing file", usage("cannot be read: no such file"), []string{"inspect", missing}},
		{"inspect a folder", usage("cannot be read: is a directory"), []string{"inspect", dir}},
		{"inspect what is no film", invalid("unreadable", "1 of 1 files cannot be used"), []string{"inspect", text}},
		{"report that is missing", usage("cannot be read: no such file"), []string{"report", missing}},
		{"phantoms of nothing", wrong{2, "usage", "", []string{"studies must be 1 to", "side must be 96 to"}}, []string{"phantom", empty, "--studies", "0", "--side", "3"}},
		{"demo over other files", usage("holds files that no demo wrote"), []string{"demo", "--dir", dir}},
		{"search without a server", wrong{4, "unavailable", "", []string{"no radstream answers at"}}, []string{"search", "--text", "a", "--server", w.closed}},
		{"status without a server", wrong{4, "unavailable", "", []string{"no radstream answers at"}}, []string{"status", "--server", w.closed}},
		{"publish without a server", wrong{4, "unavailable", "", []string{"cannot connect to NATS at"}}, []string{"publish", w.good, "--nats-url", "nats://" + w.closed}},
	} {
		t.Run(c.name, func(t *testing.T) { w.check(t, c.want, c.args...) })
	}
	w.answers(t)
}

func (w *badWorld) starts(t *testing.T) {
	dir := t.TempDir()
	folder := func(name, format string) string {
		t.Helper()
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		file(t, d, "FORMAT", format)
		return d
	}
	newer, damaged := folder("newer", "99\n"), folder("damaged", "\x00\x01")
	text := file(t, dir, "library.so", "no library")
	faults := file(t, dir, "faults.yml", "nosuch: 1\nlog:\n  level: loud\nembed:\n  batch_size: many\n")
	broken := file(t, dir, "broken.yml", "log: [\n  level: info\n")
	usage := func(line string) wrong { return wrong{2, "usage", "", []string{line}} }
	away := func(line string) wrong { return wrong{4, "unavailable", "", []string{line}} }
	for _, c := range []struct {
		name string
		want wrong
		args []string
	}{
		{"NATS port in use", usage("is in use; stop the server there or set another port"), []string{"--nats-listen", strings.TrimPrefix(w.NATS, "nats://")}},
		{"Qdrant port in use", usage("is in use; stop the server there or set another port"), []string{"--qdrant-listen", w.Qdrant}},
		{"query port in use", usage("is in use; stop the server there or set another port"), []string{"--query-listen", w.Query}},
		{"data folder of a newer version", wrong{3, "unsupported", "newer_data_folder", []string{"was written by a newer radstream (format 99, this one knows 1)"}}, []string{"--data", newer}},
		{"damaged FORMAT", wrong{1, "corrupt", "", []string{"FORMAT must hold a number"}}, []string{"--data", damaged}},
		{"data folder in use", usage("is in use by another running server"), []string{"--data", w.dir}},
		{"faults in the settings", wrong{2, "usage", "", []string{"embed.batch_size: wants a whole number", "nosuch: no such key", "log.level: must be one of"}}, []string{"--config", faults}},
		{"settings that are no YAML", usage("broken.yml"), []string{"--config", broken}},
		{"settings that are missing", usage("no such file"), []string{"--config", filepath.Join(dir, "missing.yml")}},
		{"no ONNX Runtime", away("ONNX Runtime is missing"), []string{"--onnxruntime-library", filepath.Join(dir, "missing.so")}},
		{"something else than ONNX Runtime", away("is not a usable ONNX Runtime"), []string{"--onnxruntime-library", text}},
		{"no NATS server", away("cannot connect to NATS at"), []string{"--nats-url", "nats://" + w.closed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"up", "--embed-device", "cpu", "--data", t.TempDir(), "--nats-listen", "127.0.0.1:0", "--qdrant-listen", "127.0.0.1:0", "--query-listen", "127.0.0.1:0"}
			w.check(t, c.want, append(args, c.args...)...)
		})
	}
	if left, err := os.ReadDir(newer); err != nil || len(left) != 1 {
		t.Errorf("the newer data folder was touched: %v, %v", left, err)
	}
	w.answers(t)
}

// files publishes one spoilt film at a time: each is rejected with its reason, and its
// bytes can still be fetched by the reference in the dead letter.
func (w *badWorld) files(t *testing.T) {
	var truth []struct {
		Folder string
		Broken string
		Object string `json:"broken_object"`
	}
	data, err := os.ReadFile(filepath.Join(w.good, "truth.json"))
	if err == nil {
		err = json.Unmarshal(data, &truth)
	}
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{
		"truncated": "truncated", "empty": "not_dicom", "text": "not_dicom", "ct": "not_a_chest_radiograph",
		"huge": "declared_size_too_large", "no_pixels": "no_pixel_data", "unsupported_syntax": "unsupported_transfer_syntax",
	}
	for _, tr := range truth {
		t.Run(tr.Broken, func(t *testing.T) {
			path := filepath.Join(w.good, tr.Folder, tr.Object)
			sum := w.publish(t, path)
			if sum.Published != 1 || sum.Rejected != 1 || len(sum.Rejections) != 1 {
				t.Fatalf("%+v", sum)
			}
			if r := sum.Rejections[0]; r.Reason != reasons[tr.Broken] || r.Path != path || r.Detail == "" || !clear(r.Detail) || strings.Contains(r.Detail, "\n") {
				t.Errorf("rejected with %+v, want %s", r, reasons[tr.Broken])
			}
			w.check(t, wrong{3, "invalid", "strict", []string{"1 rejections and 0 problems"}}, "publish", "--wait", "--strict", "--nats-url", w.NATS, path)
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			hash := sha256.Sum256(want)
			letter := w.rejected(t, func(r *radstreamv1.Rejected, _ event.Envelope) bool {
				return bytes.Equal(r.GetObject().GetSha256(), hash[:])
			})
			kept, err := w.objects.GetBytes(t.Context(), strings.TrimPrefix(letter.GetObject().GetUri(), "objects:"))
			if err != nil || !bytes.Equal(kept, want) {
				t.Errorf("the rejected object is lost: %d of %d bytes, %v", len(kept), len(want), err)
			}
		})
	}
	w.answers(t)
}

// lists publishes folders whose lists do not fit the films: each problem is told and the
// rest goes through.
func (w *badWorld) lists(t *testing.T) {
	const rest = "good,frontal.png,FINDINGS: Clear lungs.\n"
	for _, c := range []struct {
		name, list string
		files      []string
		problems   []string
		published  int
	}{
		{"image without a row", "study_id,image,report\n" + rest, []string{"stray.jpg"}, []string{publish.ReasonNoRow}, 1},
		{"row without an image", "study_id,image,report\n" + rest + "gone,gone.png,FINDINGS: Nothing.\n", nil, []string{publish.ReasonNoImage}, 1},
		{"row of another length", "study_id,image,report\nx,y\n" + rest, nil, []string{publish.ReasonCSV}, 1},
		{"broken quotes", "study_id,image,report\n" + rest + "x,\"y\"z,w\n", nil, []string{publish.ReasonCSV}, 1},
		{"no such column", "id,film\n1,frontal.png\n", nil, []string{publish.ReasonNoRow, publish.ReasonCSV}, 0},
		{"no header", "", nil, []string{publish.ReasonNoRow, publish.ReasonCSV}, 0},
		{"not UTF-8", "study_id,image,report\ngood,frontal.png,Ergu\xdf\n", nil, []string{publish.ReasonNoRow, publish.ReasonCSV}, 0},
		{"path out of the folder", "study_id,image,report\n" + rest + "out,../frontal.png,\nroot,/etc/hostname,\n", nil, []string{publish.ReasonRow, publish.ReasonRow}, 1},
		{"report that fits on no bus", "study_id,image,report\n" + rest + "long,," + strings.Repeat("word ", 250_000) + "\n", nil, []string{publish.ReasonTooLarge}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			film := grayPNG(t)
			file(t, dir, "frontal.png", film)
			file(t, filepath.Dir(dir), "frontal.png", film)
			for _, name := range c.files {
				file(t, dir, name, film)
			}
			file(t, dir, "studies.csv", c.list)
			args := []string{"publish", "--wait", "--json", "--nats-url", w.NATS, dir}
			if c.published == 0 {
				w.check(t, wrong{3, "invalid", "nothing_published", []string{"nothing could be published"}}, "publish", "--wait", "--nats-url", w.NATS, dir)
			} else {
				w.check(t, wrong{3, "invalid", "strict", []string{fmt.Sprintf("0 rejections and %d problems", len(c.problems))}}, "publish", "--wait", "--strict", "--nats-url", w.NATS, dir)
			}
			r := run(t, args...)
			var sum publish.Summary
			if err := json.Unmarshal([]byte(r.stdout), &sum); err != nil {
				t.Fatalf("%v in %s; %s", err, r.stdout, r.stderr)
			}
			var reasons []string
			for _, p := range sum.Problems {
				reasons = append(reasons, p.Reason)
				if p.Path == "" || !clear(p.Detail) || strings.Contains(p.Detail, "\n") {
					t.Errorf("a problem that is not clear: %+v", p)
				}
			}
			if !slices.Equal(reasons, c.problems) || sum.Published != c.published || sum.Indexed != c.published {
				t.Errorf("problems %v, want %v; %d published, %d indexed, want %d", reasons, c.problems, sum.Published, sum.Indexed, c.published)
			}
		})
	}
	w.answers(t)
}

// events publishes what no program of ours would: each is rejected with its reason and
// stays in STUDIES.
func (w *badWorld) events(t *testing.T) {
	const good = `{"studyUid":"2.25.7","report":{"text":"FINDINGS: Clear lungs."}}`
	missing := sha256.Sum256([]byte("never put"))
	for _, c := range []struct {
		name, subject, kind, contentType, body string
		reason                                 string
	}{
		{"unknown version", "rad.v1.default.study.arrived", "org.radstream.study.arrived.v2", event.JSON, good, "unknown_event_version"},
		{"unknown type", "rad.v1.default.study.arrived", "org.radstream.study.lost.v1", event.JSON, good, "unknown_event_type"},
		{"no type", "rad.v1.default.study.arrived", "", event.JSON, good, "unknown_event_type"},
		{"unknown field", "rad.v1.default.study.arrived", string(event.StudyArrived), event.JSON, `{"studyUid":"2.25.7","ward":"3"}`, "malformed_event"},
		{"cut JSON", "rad.v1.default.report.arrived", string(event.ReportArrived), event.JSON, good[:20], "malformed_event"},
		{"cut protobuf", "rad.v1.default.study.arrived", string(event.StudyArrived), event.Protobuf, "\x0a\x7f2.25", "malformed_event"},
		{"unknown content type", "rad.v1.default.study.arrived", string(event.StudyArrived), "text/xml", "<study/>", "unsupported_content_type"},
		{"bad tenant", "rad.v1.Bad_.study.arrived", string(event.StudyArrived), event.JSON, good, "malformed_subject"},
		{"empty arrival", "rad.v1.default.study.arrived", string(event.StudyArrived), event.JSON, `{"studyUid":"2.25.7"}`, "empty_arrival"},
		{"no study", "rad.v1.default.report.arrived", string(event.ReportArrived), event.JSON, `{"report":{"text":"FINDINGS: Clear lungs."}}`, "no_study_uid"},
		{"missing object", "rad.v1.default.study.arrived", string(event.StudyArrived), event.JSON,
			`{"studyUid":"2.25.7","objects":[{"ref":{"uri":"objects:` + hex.EncodeToString(missing[:]) + `","size":"9","sha256":"` + base64.StdEncoding.EncodeToString(missing[:]) + `"}}]}`, "object_missing"},
		{"object outside", "rad.v1.default.study.arrived", string(event.StudyArrived), event.JSON,
			`{"studyUid":"2.25.7","objects":[{"ref":{"uri":"file:/etc/hostname","sha256":"` + base64.StdEncoding.EncodeToString(missing[:]) + `"}}]}`, "object_not_allowed"},
		{"erasure of two", "rad.v1.default.study.erased", string(event.StudyErased), event.JSON, `{"studyUid":"2.25.7","patientId":"P-7"}`, "malformed_erasure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := "bad input: " + c.name
			m := &nats.Msg{Subject: c.subject, Data: []byte(c.body), Header: nats.Header{
				"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"test"}, "ce-type": {c.kind}, "content-type": {c.contentType}, "Nats-Msg-Id": {id},
			}}
			ack, err := w.js.PublishMsg(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			r := w.rejected(t, func(_ *radstreamv1.Rejected, e event.Envelope) bool { return e.Cause == event.MessageID(id).Public() })
			if r.GetReason() != c.reason || r.GetStage() != "prepare" || r.GetKind() == "" || r.GetDetail() == "" || !clear(r.GetDetail()) {
				t.Errorf("rejected with %v, want %s", r, c.reason)
			}
			stream, err := w.js.Stream(t.Context(), event.StreamStudies)
			if err != nil {
				t.Fatal(err)
			}
			if r.GetInput().GetStream() != event.StreamStudies || r.GetInput().GetSequence() != ack.Sequence {
				t.Errorf("the dead letter points at %v, the event is %d", r.GetInput(), ack.Sequence)
			}
			if kept, err := stream.GetMsg(t.Context(), r.GetInput().GetSequence()); err != nil || string(kept.Data) != c.body {
				t.Errorf("the event is lost: %v", err)
			}
		})
	}
	w.answers(t)
}

// rejected waits for the dead letter that is.
func (w *badWorld) rejected(t *testing.T, is func(*radstreamv1.Rejected, event.Envelope) bool) *radstreamv1.Rejected {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := w.js.OrderedConsumer(ctx, event.StreamRejected, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatalf("there is no such dead letter: %v", err)
		}
		e := event.FromMessage(m.Subject(), m.Headers(), m.Data())
		body, err := e.Message()
		if err != nil {
			t.Fatal(err)
		}
		if r := body.(*radstreamv1.Rejected); is(r, e) {
			return r
		}
	}
}

func file(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// grayPNG is a film that radstream takes.
func grayPNG(t *testing.T) string {
	t.Helper()
	c := phantom.Defaults()
	c.Studies, c.Side = 1, 288
	s, err := phantom.Generate(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	film, err := ingest.Film(files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	view, err := pixel.Render(film, pixel.Auto)
	if err != nil {
		t.Fatal(err)
	}
	data, err := pixel.EncodePNG(view.Pixels)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
