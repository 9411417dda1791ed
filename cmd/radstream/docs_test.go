package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/png"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/query"
)

// The documents that show commands, relative to the root.
var documents = []string{"README.md", "CONTRIBUTING.md", "docs/OPERATIONS.md", "docs/PUBLISHING.md", "docs/QUERYING.md", "docs/LABELS.md", "docs/ERASING.md", "docs/PERFORMANCE.md"}

// TestDocumentedCommands runs every command line that the documents and the help of the
// commands show, in a shell, against a running radstream. What would not return has its
// settings validated instead.
func TestDocumentedCommands(t *testing.T) {
	d := newReader(t)
	var lines, spans []string
	for _, name := range documents {
		l, s := commandsOf(document(t, name))
		lines, spans = append(lines, l...), append(spans, s...)
	}
	if len(lines) < 8 || len(spans) < 2 {
		t.Fatalf("the documents show only %d commands and name %d", len(lines), len(spans))
	}
	examples := d.examples(t)
	if len(examples) < 15 {
		t.Fatalf("the help shows only %d examples", len(examples))
	}
	for _, line := range append(lines, examples...) {
		t.Run(line, func(t *testing.T) { d.try(t, line) })
	}
	t.Run("queries", d.queries)
	for _, span := range spans { // named in a sentence: at least there is such a command
		t.Run("named: "+span, func(t *testing.T) { d.shell(t, span+" --help") })
	}
}

// reader is somebody who types in what the documents show.
type reader struct {
	dir  string // where they stand
	env  []string
	real *strings.Replacer // of the documents' placeholders

	server *server
	bus    *bus.Bus
}

func newReader(t *testing.T) *reader {
	s := up(t, t.TempDir(), anyPorts)
	dir := t.TempDir()
	peer, err := filepath.Abs(filepath.Join("..", "..", ".deps", "venv-peer"))
	if err != nil {
		t.Fatal(err)
	}
	edge := filepath.Join(filepath.Dir(peer), "venv-edge")
	if r := run(t, "phantom", filepath.Join(dir, "studies"), "--studies", "4", "--side", "128"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	s.publish(t, filepath.Join(dir, "studies"))
	var truth []struct {
		StudyUID string `json:"study_uid"`
		Folder   string
		Objects  []string
	}
	data, err := os.ReadFile(filepath.Join(dir, "studies", "truth.json"))
	if err == nil {
		err = json.Unmarshal(data, &truth)
	}
	if err != nil {
		t.Fatal(err)
	}
	film, err := os.ReadFile(filepath.Join(dir, "studies", truth[0].Folder, truth[0].Objects[0]))
	if err != nil {
		t.Fatal(err)
	}
	file(t, dir, "film.dcm", string(film))
	file(t, dir, "film.png", grayPNG(t))
	file(t, dir, "report.txt", "FINDINGS: No pneumothorax.")
	file(t, dir, "report.hl7", "MSH|^~\\&|RIS|HOSP|||20260102030405||ORU^R01|1|P|2.5\rPID|1||P-1\rOBR|1||A-1\rOBX|1|TX|&GDT||No pneumothorax.||||||F\r")
	file(t, dir, "radstream.yml", run(t, "config", "print", "--reference").stdout)
	index, err := flat.Open(filepath.Join(dir, "data", "index"), flat.Options{}) // of somebody who does not run it
	if err == nil {
		err = index.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "films"), 0o755); err != nil {
		t.Fatal(err)
	}
	file(t, filepath.Join(dir, "films"), "film.png", widePNG(t))
	library, err := ort.FindLibrary()
	if err != nil {
		t.Fatal(err)
	}
	graphs, err := filepath.Abs(filepath.Join("..", "..", ".deps", "ocr"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, "bin", "radstream")); err != nil {
		t.Fatal(err)
	}
	d := &reader{
		server: s, dir: dir, bus: bustest.Connect(t, s.NATS),
		env: append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "RADSTREAM_SERVER="+s.Query, "RADSTREAM_NATS_URL="+s.NATS,
			ort.LibraryEnv+"="+library, "RADSTREAM_INGEST_OCR_DIR="+graphs),
		real: strings.NewReplacer("/path/to/studies", "studies", "/backups/", "", "UID", truth[0].StudyUID, "2.25.1234", truth[0].StudyUID, "2.25.5678", truth[1].StudyUID,
			"--studies 60", "--studies 6 --side 128",
			"/path/to/films --strings 20 --untouched 20", "films --strings 1 --untouched 1", " | jq .error", "",
			"--rounds 15", "--rounds 1 --rows 320 --columns 256 --venv "+peer,
			"--queries 500", "--queries 5 --points 500 --width 32", "--points 20000 --edge", "--queries 5 --points 300 --width 32 --edge --venv "+edge),
	}
	trained := filepath.Join(dir, "work", "run", "model") // what radtrain fit would have left there
	if err := os.CopyFS(trained, os.DirFS(filepath.Join("..", "..", "services", "app", "tiny"))); err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(trained)
	if err != nil {
		t.Fatal(err)
	}
	for _, m.Ref.Version = range []string{"1.2.0", "1.1.0"} { // the one to reindex under must not answer yet
		if err := m.Write(trained, slices.Collect(maps.Keys(m.Files))...); err != nil {
			t.Fatal(err)
		}
		d.shell(t, "radstream models push work/run/model")
	}
	d.shell(t, "radstream models promote tiny@1.1.0") // so that there is something to roll back
	return d
}

var (
	starts = regexp.MustCompile(`^(bin/)?radstream up\b`)
	demo   = regexp.MustCompile(`^(bin/)?radstream demo\b`)
	embeds = regexp.MustCompile(`^(bin/)?radstream bench embed\b`)
)

// try does what a line of the documents says.
func (d *reader) try(t *testing.T, line string) {
	t.Helper()
	line = d.real.Replace(line)
	if strings.Contains(line, "radstream dlq ") {
		line = strings.NewReplacer("12", d.refuse(t), "13", d.refuse(t)).Replace(line)
	}
	switch {
	case starts.MatchString(line):
		d.shell(t, starts.ReplaceAllString(line, "${1}radstream config validate"))
	case demo.MatchString(line):
		d.shell(t, demo.ReplaceAllString(line, "${1}radstream demo --help")) // `make demo` runs it
	case embeds.MatchString(line):
		d.shell(t, line+" --help") // its peers are 5 GB; --help is looked at after all flags were taken
	default:
		d.shell(t, line)
	}
}

// refuse leaves a dead letter for the first arrival, and returns its number.
func (d *reader) refuse(t *testing.T) string {
	t.Helper()
	studies, err := d.bus.StreamState(t.Context(), event.StreamStudies)
	if err != nil {
		t.Fatal(err)
	}
	id := event.MessageID(rand.Text())
	e, err := event.New(id, "test", event.RejectedSubject("default", "prepare"), time.Now(), &radstreamv1.Rejected{
		Stage: "prepare", Kind: "invalid", Reason: "truncated", Input: &radstreamv1.InputRef{Stream: event.StreamStudies, Sequence: studies.FirstSeq}})
	if err != nil {
		t.Fatal(err)
	}
	seq, err := d.bus.PublishSeq(t.Context(), e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(seq, 10)
}

func (d *reader) shell(t *testing.T, line string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", line)
	cmd.Dir, cmd.Env = d.dir, d.env
	r := runCommand(t, cmd)
	if r.code != 0 {
		t.Errorf("%s\nended with %d: %s", line, r.code, r.stderr)
	}
	return r
}

// examples returns the lines of the example blocks of all commands.
func (d *reader) examples(t *testing.T) []string {
	t.Helper()
	var lines []string
	commands := []string{""}
	for len(commands) > 0 {
		path := commands[0]
		commands = commands[1:]
		help := d.shell(t, "radstream "+path+" --help").stdout
		for _, line := range block(help, "Available Commands:") {
			if name := strings.Fields(line)[0]; name != "help" {
				commands = append(commands, strings.TrimSpace(path+" "+name))
			}
		}
		examples := block(help, "Examples:")
		if len(examples) == 0 && len(block(help, "Available Commands:")) == 0 && path != "version" {
			t.Errorf("%s has no example", path)
		}
		lines = append(lines, examples...)
	}
	return lines
}

// widePNG is a film that has room for a text.
func widePNG(t *testing.T) string {
	t.Helper()
	film := image.NewGray(image.Rect(0, 0, 900, 700))
	for i := range film.Pix {
		film.Pix[i] = uint8(60 + i%900/10)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, film); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// block returns the lines below a heading of a help text.
func block(help, heading string) []string {
	_, rest, found := strings.Cut(help, heading+"\n")
	if !found {
		return nil
	}
	rest, _, _ = strings.Cut(rest, "\n\n")
	var lines []string
	for line := range strings.Lines(rest) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

var spanOfCommand = regexp.MustCompile("`(radstream [a-z][^`\n]*)`")

// commandsOf returns the commands in the indented and fenced blocks of a document, and
// those that stand in its sentences.
func commandsOf(text string) (lines, spans []string) {
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		if command := strings.TrimSpace(line); fenced || strings.HasPrefix(line, "    ") {
			if strings.HasPrefix(command, "radstream") || strings.HasPrefix(command, "bin/radstream") {
				lines = append(lines, command)
			}
		}
	}
	for _, m := range spanOfCommand.FindAllStringSubmatch(text, -1) {
		spans = append(spans, m[1])
	}
	return lines, spans
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// queries sends the requests that docs/QUERYING.md shows, over HTTP and on the bus.
func (d *reader) queries(t *testing.T) {
	text := d.real.Replace(document(t, "docs/QUERYING.md"))
	bodies := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(text, -1)
	requests := regexp.MustCompile(`(?m)^    nats request (\S+) '(.*)'$`).FindAllStringSubmatch(text, -1)
	if len(bodies) < 4 || len(requests) < 3 {
		t.Fatalf("docs/QUERYING.md shows %d requests over HTTP and %d on the bus", len(bodies), len(requests))
	}
	for _, b := range bodies {
		r, err := http.Post("http://"+d.server.Query+"/v1/search", "application/json", strings.NewReader(b[1]))
		if err != nil {
			t.Fatal(err)
		}
		if r.Body.Close(); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", b[1], r.Status)
		}
	}
	nc, err := nats.Connect(d.server.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, r := range requests {
		if m, err := nc.Request(r[1], []byte(r[2]), time.Minute); err != nil || len(m.Header) > 0 || !json.Valid(m.Data) {
			t.Errorf("%s %s: %v, %+v", r[1], r[2], err, m)
		}
	}
}

// TestDocumentedEvent publishes the event of docs/PUBLISHING.md as it is shown there, by
// nats.go alone, and then a film for the same study.
func TestDocumentedEvent(t *testing.T) {
	text := document(t, "docs/PUBLISHING.md")
	part := func(form string) string {
		t.Helper()
		m := regexp.MustCompile(form).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("docs/PUBLISHING.md shows nothing of the form %s", form)
		}
		return m[1]
	}
	subject := strings.ReplaceAll(part("(rad\\.v1\\.<tenant>\\.study\\.arrived)"), "<tenant>", string(event.DefaultTenant))
	body := part("(?s)```json\n(.*?)```")
	header := nats.Header{}
	for _, line := range regexp.MustCompile(`(?m)^      ([A-Za-z-]+): +(\S+)`).FindAllStringSubmatch(part(`(?s)    headers\n(.*?)\n\n`), -1) {
		header.Set(line[1], line[2])
	}
	if len(header) != 6 {
		t.Fatalf("docs/PUBLISHING.md shows %d headers: %v", len(header), header)
	}

	s := up(t, t.TempDir(), anyPorts)
	nc, err := nats.Connect(s.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	send := func(id, body string) event.Envelope {
		t.Helper()
		header.Set("ce-id", id)
		header.Set("Nats-Msg-Id", id)
		ack, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: header, Data: []byte(body)})
		if err != nil || ack.Stream != event.StreamStudies {
			t.Fatalf("%+v, %v", ack, err)
		}
		return outcome(t, js, event.MessageID(id))
	}
	if e := send("first", body); e.Type != event.StudyIndexed {
		t.Fatalf("the event of docs/PUBLISHING.md ends as %s", e.Type)
	}
	var arrival struct {
		StudyUID event.StudyUID `json:"studyUid"`
	}
	if err := json.Unmarshal([]byte(body), &arrival); err != nil {
		t.Fatal(err)
	}
	uid := string(arrival.StudyUID)
	// A report alone is in the index, but there is no film to score or to compare.
	if r := run(t, "labels", "--server", s.Query, "--study", uid); r.code != 0 || !strings.Contains(r.stdout, "no scores") {
		t.Errorf("labels of a report: %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if r := run(t, "search", "--server", s.Query, "--study", uid); r.code != 3 || !strings.Contains(r.stderr, "the study has a report only") {
		t.Errorf("search by a report: %d, %s", r.code, r.stderr)
	}

	film := []byte(grayPNG(t))
	sum := sha256.Sum256(film)
	store, err := js.ObjectStore(t.Context(), bus.BucketObjects)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.PutBytes(t.Context(), hex.EncodeToString(sum[:]), film); err != nil {
		t.Fatal(err)
	}
	objects := strings.NewReplacer("<sha256 in hex>", hex.EncodeToString(sum[:]), "123456", strconv.Itoa(len(film)),
		"<base64>", base64.StdEncoding.EncodeToString(sum[:]), "application/dicom", "image/png").Replace(part(`(?s)("objects": \[.*?\])`))
	if e := send("second", `{"studyUid": "`+uid+`", `+objects+`}`); e.Type != event.StudyIndexed || e.Rev != 2 {
		t.Fatalf("the film of the study ends as %s, revision %d", e.Type, e.Rev)
	}
	findItself(t, query.NewClient(s.Query, ""), arrival.StudyUID)
}

// outcome waits until the arrival is indexed, found unchanged or rejected.
func outcome(t *testing.T, js jetstream.JetStream, id event.MessageID) event.Envelope {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	found := make(chan event.Envelope, 2)
	for _, stream := range []string{event.StreamIndexed, event.StreamRejected, event.StreamAnswers} {
		c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		consuming, err := c.Consume(func(m jetstream.Msg) {
			if e := event.FromMessage(m.Subject(), m.Headers(), m.Data()); e.Cause == id.Public() {
				select {
				case found <- e:
				default:
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer consuming.Stop()
	}
	select {
	case e := <-found:
		return e
	case <-ctx.Done():
		t.Fatalf("nothing came of the arrival %s", id)
		return event.Envelope{}
	}
}
