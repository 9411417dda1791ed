package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/trainer"
)

// person is somebody whose studies a test publishes. Every identifier and sentence holds its word.
type person struct {
	word string
	n    int // tells its films from others'
}

func (p person) id() string           { return "MRN" + p.word + "77" }
func (p person) uid(study int) string { return fmt.Sprintf("2.25.88001122%02d%02d", p.n, study) }
func (p person) number(study int) string {
	return fmt.Sprintf("ACC%s%d", p.word, study)
}
func (p person) sentence(study int) string {
	return fmt.Sprintf("Nodule of %d mm beside the %s hilum.", 100+study, strings.ToLower(p.word))
}

// film is a DICOM file of one of the person's studies, and a run of its pixels.
func (p person) film(t *testing.T, study int) (file, pixels []byte) {
	t.Helper()
	conf := phantom.Defaults()
	conf.Studies, conf.Side = 10*p.n+study+1, 160
	s, err := phantom.Generate(conf, 10*p.n+study)
	if err != nil {
		t.Fatal(err)
	}
	image := s.Views[0]
	f := dicom.Film{
		StudyUID: p.uid(study), SeriesUID: p.uid(study) + ".1", InstanceUID: p.uid(study) + ".2", PatientID: p.id(), PatientName: p.word + "^JANE",
		PatientSex: "F", PatientBirthDate: "19311107", AccessionNumber: p.number(study), StudyTime: p.time(study),
		Modality: "CR", BodyPart: "CHEST", ViewPosition: "PA", InstanceNumber: 1,
		Rows: image.Rows, Columns: image.Columns, BitsStored: image.BitsStored, Photometric: image.Photometric, Syntax: dicom.FilmExplicitLE, Pixels: image.Pixels,
	}
	var b bytes.Buffer
	if err := dicom.Encode(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), b.Bytes()[b.Len()/2 : b.Len()/2+200]
}

func (p person) time(study int) time.Time {
	return time.Date(2020, 1, 1+10*study, 8, 0, 0, 0, time.UTC)
}

// needle is what must not be found.
type needle struct {
	name  string
	bytes []byte
}

// needles lists what names a study or can be seen or read in it.
func (p person) needles(t *testing.T, s *system, study int) []needle {
	t.Helper()
	_, run := p.film(t, study)
	all := []needle{{"StudyUID", []byte(p.uid(study))}, {"accession number", []byte(p.number(study))}, {"sentence", []byte(p.sentence(study))}, {"pixels of the film", run}}
	m, _ := s.prepared(t, tenant, p.uid(study))
	for _, v := range m.GetViews() {
		all = append(all, needle{"pixels of the view", v.GetPng()[len(v.GetPng())/2:][:200]})
	}
	if len(all) < 5 {
		t.Fatalf("study %s has no view", p.uid(study))
	}
	return all
}

// publish sends a study in the parts of a hospital: a film whose header alone names the study, the
// report under the study's UID, and another as HL7 v2 under its accession number.
func (p person) publish(t *testing.T, s *system, study int) {
	t.Helper()
	file, _ := p.film(t, study)
	id := func(part string) string { return p.word + part + fmt.Sprint(study) }
	s.send(t, id("film"), &radstreamv1.StudyArrived{Objects: []*radstreamv1.StudyObject{s.object(t, file, frontal)}})
	s.await(t, id("film"))
	s.send(t, id("report"), &radstreamv1.ReportArrived{StudyUid: p.uid(study), PatientId: p.id(), Report: &radstreamv1.Report{Text: "FINDINGS: " + p.sentence(study)},
		ReportTime: timestamppb.New(p.time(study))})
	s.await(t, id("report"))
	s.sendRaw(t, id("hl7"), event.ReportArrived, event.HL7v2, oru(p.number(study), p.id(), "20200301120000", "F", p.sentence(study)+" Unchanged."))
	s.await(t, id("hl7"))
	s.send(t, id("refused"), &radstreamv1.ReportArrived{StudyUid: p.uid(study), PatientId: p.id() + "9", Report: &radstreamv1.Report{Text: "FINDINGS: " + p.sentence(study)}})
	s.expect(t, id("refused"), event.Rejected, 0)
}

// erase asks for an erasure and returns the receipt, when the index has followed.
func (s *system) erase(t *testing.T, id string, m *radstreamv1.StudyErased) *radstreamv1.ErasureReported {
	t.Helper()
	s.send(t, id, m)
	r := s.receipt(t, id)
	if m.GetDryRun() {
		return r
	}
	for _, study := range r.GetStudies() {
		awaitRemoved(t, s.bus, event.StudyKey(study.GetStudyKey()))
	}
	return r
}

// receipt awaits the answer to a request.
func (s *system) receipt(t *testing.T, id string) (r *radstreamv1.ErasureReported) {
	t.Helper()
	awaitMessage(t, s.bus, event.StreamAnswers, event.UnchangedSubject(tenant, "*"), func(answer bus.Message) bool {
		if answer.Type != event.ErasureReported || answer.Cause != event.MessageID(id).Public() {
			return false
		}
		body, err := answer.Message()
		if err != nil {
			t.Fatal(err)
		}
		r = body.(*radstreamv1.ErasureReported)
		return true
	})
	return r
}

// TestErase erases a study, and all studies of a patient, and then looks for them in every byte of
// the data folder, while the studies of others can still be found.
func TestErase(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	compress(t, s.Addresses().NATS, event.StreamPrepared, event.StreamStudies)
	// One study of the first goes, and its follow-up stays; all of the second go; the third stays.
	one, two, other := person{"QXBRONTE", 1}, person{"QXAUSTEN", 2}, person{"QXWOOLF", 3}
	for _, p := range []person{other, one, two} {
		p.publish(t, s, 0)
		p.publish(t, s, 1)
	}
	follow := func(prior string) func(*radstreamv1.StudyPrepared, event.Subject) bool {
		return func(m *radstreamv1.StudyPrepared, _ event.Subject) bool { return m.GetPrior().GetStudyKey() == prior }
	}
	key := s.key(t, tenant)
	s.awaitPrepared(t, one.uid(1), follow(string(key.Study(event.StudyUID(one.uid(0))))))
	// One message that is of the patient who goes and of one who stays, and an object of both.
	both := two.word + "both"
	s.sendRaw(t, both, event.ReportArrived, event.HL7v2, "BHS|^~\\&\r"+oru("WAITS"+two.word, two.id(), "20200401120000", "F", two.sentence(7))+
		oru(other.number(0), other.id(), "20200401120000", "F", "Stable heart."))
	s.await(t, both)
	shared, _ := other.film(t, 0)
	twice := study(two.uid(1), s.object(t, shared, frontal))
	s.send(t, "mistaken", twice) // refused: the film is of another study; it must stay for that one
	s.expect(t, "mistaken", event.Rejected, 0)

	gone := one.needles(t, s, 0)
	for i := range 2 {
		gone = append(gone, two.needles(t, s, i)...)
	}
	gone = append(gone, needle{"patient's number", []byte(two.id())}, needle{"name", []byte(two.word)}, needle{"sentence that waits", []byte(two.sentence(7))})
	kept := append(one.needles(t, s, 1), other.needles(t, s, 0)...)
	before := s.points(t)
	for _, uid := range []string{one.uid(0), two.uid(0), two.uid(1)} {
		var vector []byte
		for _, x := range before[string(key.Study(event.StudyUID(uid)))].Vectors[indexer.Image] {
			vector = binary.LittleEndian.AppendUint32(vector, math.Float32bits(x))
		}
		gone = append(gone, needle{"vector", vector[:64]})
	}
	trained := s.trainedOn(t, key.Study(event.StudyUID(one.uid(0))))
	// What was under way while it was erased: an embedding, and an arrival.
	late, _, err := s.bus.LastForSubject(t.Context(), event.StreamEmbedded, event.EmbeddedSubject(tenant, s.serves().manifest.Ref.Key(), key.Study(event.StudyUID(one.uid(0)))))
	if err != nil {
		t.Fatal(err)
	}
	underWay := s.underWay(t, report(one.uid(0), "FINDINGS: Clear lungs."))
	count := func() uint64 {
		t.Helper()
		status, err := s.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return status.Indexed
	}
	if n := count(); n != 6 {
		t.Fatalf("%d studies are indexed", n)
	}

	for _, n := range gone {
		if where := holding(t, dir, n); len(where) == 0 {
			t.Errorf("the %s (%.60q) is not found before it is erased: the search is of no use", n.name, n.bytes)
		}
	}

	dry := s.erase(t, "dry", &radstreamv1.StudyErased{StudyUid: one.uid(0), DryRun: true})
	if n := count(); n != 6 || len(dry.GetStudies()) != 1 {
		t.Errorf("a dry run left %d studies and says %v", n, dry)
	}
	receipt := s.erase(t, "study", &radstreamv1.StudyErased{StudyUid: one.uid(0)})
	want := dry.GetStudies()[0]
	if d := receipt.GetStudies()[0]; !slices.Equal(d.GetPreparedSequences(), want.GetPreparedSequences()) || len(d.GetPreparedSequences()) != 3 ||
		d.GetEmbedded() != want.GetEmbedded() || receipt.GetArrivals() != dry.GetArrivals() || receipt.GetArrivals() != 4 || len(receipt.GetObjectSha256()) != 1 || receipt.GetDeadLetters() != 1 {
		t.Errorf("the dry run says\n%v\nthe erasure\n%v", dry, receipt)
	}
	if d := receipt.GetStudies()[0]; !slices.Equal(d.GetModelsSaw(), []string{trained}) || len(d.GetModelsUnknown()) > 0 {
		t.Errorf("the receipt says that %v saw the study, and perhaps %v; want %s", d.GetModelsSaw(), d.GetModelsUnknown(), trained)
	}
	if err := s.bus.Publish(t.Context(), underWay, &stage.Expect{Last: want.GetPreparedSequences()[2], On: event.PreparedOf(tenant, underWay.StudyKey())}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a revision that was under way is stored: %v", err)
	}
	late.ID = "late"
	at, err := s.bus.PublishSeq(t.Context(), late, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.awaitPrepared(t, one.uid(1), follow(""))
	awaitNothingPending(t, s)
	if _, err := s.bus.Get(t.Context(), event.StreamEmbedded, at); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an embedding that came late is still there: %v", err)
	}
	again := s.erase(t, "again", &radstreamv1.StudyErased{StudyUid: one.uid(0)})
	if d := again.GetStudies()[0]; len(d.GetPreparedSequences()) != 0 || d.GetEmbedded() != 0 || again.GetArrivals() != 0 || again.GetIdentities() != 0 {
		t.Errorf("erased once more: %v", again)
	}
	// Two who ask at once are both answered.
	s.send(t, "patient too", &radstreamv1.StudyErased{PatientId: two.id()})
	receipt = s.erase(t, "patient", &radstreamv1.StudyErased{PatientId: two.id()})
	too := s.receipt(t, "patient too")
	if len(receipt.GetStudies()) != 2 || len(too.GetStudies()) != 2 || receipt.GetObjectsShared()+too.GetObjectsShared() == 0 {
		t.Errorf("of the patient: %v and %v", receipt, too)
	}
	if n := count(); n != 3 {
		t.Errorf("%d studies are indexed after erasing three of six", n)
	}
	for _, uid := range []string{one.uid(0), two.uid(0), two.uid(1)} {
		if _, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Study: event.StudyUID(uid), K: 5}); fault.KindOf(err) != fault.Erased {
			t.Errorf("a search by an erased study: %v", err)
		}
	}
	awaitNothingPending(t, s)
	r, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Text: "nodule", K: 50})
	if err != nil || len(r.Hits) != 3 {
		t.Errorf("a search shows %v, %v", r.Hits, err)
	}
	after := s.points(t)
	for _, p := range []person{one, two, other} {
		for i := range 2 {
			k := string(key.Study(event.StudyUID(p.uid(i))))
			_, had := before[k]
			if _, has := after[k]; !had || has != (p == other || p == one && i == 1) {
				t.Errorf("study %s was in the index: %v, and is now: %v", p.uid(i), had, has)
			}
		}
	}
	s.findsItself(t, one.uid(1))
	s.findsItself(t, other.uid(0))
	if m, _ := s.prepared(t, tenant, other.uid(0)); m.GetReport().GetText() != "Stable heart." {
		t.Errorf("the other's report is %q", m.GetReport().GetText())
	}

	// What arrives of it again is refused, as it is, and a further request removes it.
	file, _ := one.film(t, 0)
	s.send(t, "re-sent", &radstreamv1.StudyArrived{Objects: []*radstreamv1.StudyObject{s.object(t, file, frontal)}})
	m := s.await(t, "re-sent")
	if m.Type != event.Rejected || !strings.Contains(string(m.Body), string(reasonErased)) {
		t.Errorf("a study that is sent again ends as %s: %s", m.Type, m.Body)
	}
	if r := s.erase(t, "once more", &radstreamv1.StudyErased{StudyUid: one.uid(0)}); r.GetArrivals() != 1 || len(r.GetObjectSha256()) != 1 {
		t.Errorf("what was sent again: %v", r)
	}
	if r := s.erase(t, "unknown", &radstreamv1.StudyErased{StudyUid: "2.25.999"}); len(r.GetStudies()) != 0 {
		t.Errorf("of an unknown study: %v", r)
	}
	for id, m := range map[string]*radstreamv1.StudyErased{"both": {StudyUid: "2.25.9", PatientId: "x"}, "neither": {}} {
		s.send(t, id, m)
		s.expect(t, id, event.Rejected, 0)
	}
	s.stop(t)
	for _, n := range kept {
		if where := holding(t, dir, n); len(where) == 0 {
			t.Errorf("the %s of a study that stays is not found: the search is of no use", n.name)
		}
	}
	for _, n := range gone {
		if where := holding(t, dir, n); len(where) > 0 {
			t.Errorf("the %s of an erased study (%.60q) is found in %v", n.name, n.bytes, where)
		}
	}
	// An index that is lost is made again without it.
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, io.Discard)
	awaitNothingPending(t, s)
	if n := count(); n != 3 {
		t.Errorf("%d studies are in an index that was made again, want 3", n)
	}
	if _, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Study: event.StudyUID(one.uid(0)), K: 5}); fault.KindOf(err) != fault.Erased {
		t.Errorf("a search by an erased study in an index that was made again: %v", err)
	}
}

// underWay is the revision that an arrival makes of what is known now.
func (s *system) underWay(t *testing.T, m proto.Message) event.Envelope {
	t.Helper()
	h := &prepareHandler{preparer: s.preparer, objects: s.objects, archive: s.bus, identities: s.identity, keys: s.ring, memory: semaphore.NewWeighted(arrivalBytes)}
	e, err := event.New("under way", "test", event.ReportArrivedSubject(tenant), time.Now(), m)
	if err != nil {
		t.Fatal(err)
	}
	in, err := h.Decode(stage.Input{Envelope: e, Stream: event.StreamStudies, Sequence: 1 << 20, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := h.Handle(t.Context(), []input{in})[0]
	if r.Err != nil || len(r.Out) != 1 {
		t.Fatalf("the arrival makes %v, %v", r.Out, r.Err)
	}
	e, err = event.New(r.Out[0].ID, "test", r.Out[0].Subject, time.Now(), r.Out[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// trainedOn puts a model into the registry that saw a study, and returns its name.
func (s *system) trainedOn(t *testing.T, study event.StudyKey) string {
	t.Helper()
	dir := t.TempDir()
	freezer := trainer.NewFreezer(trainer.HeldOut{})
	body, err := proto.Marshal(&radstreamv1.StudyPrepared{StudyKey: string(study), PatientKey: "p", Rev: 1, Views: []*radstreamv1.PreparedView{{}},
		Report: &radstreamv1.PreparedReport{Tokens: []int32{1, 2, 3}}, Provenance: &radstreamv1.Provenance{PreparationVersion: "1", Tokenizer: "t"}})
	if err == nil {
		err = freezer.Add(trainer.Record{Sequence: 1, Body: body}, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := freezer.Manifest(trainer.Origin{Stream: event.StreamPrepared, First: 1, Last: 1})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "data.json")
	if err := errors.Join(data.Write(path), s.models.PutData(t.Context(), data, path), os.CopyFS(dir, os.DirFS("tiny"))); err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Ref.Version, m.DataManifests = "9.9.9", []string{data.ID}
	err = m.Write(dir, slices.Collect(maps.Keys(m.Files))...)
	if err == nil {
		_, err = s.models.Push(t.Context(), dir, tenant, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Ref.String()
}

// compress has a server compress streams, as an operator may.
func compress(t *testing.T, url string, streams ...string) {
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
	for _, name := range streams {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		c.Compression = jetstream.S2Compression
		if _, err := js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitNothingPending waits until every stage has handled all there is.
func awaitNothingPending(t *testing.T, s *system) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := s.serves()
	for _, c := range []struct {
		stream, durable string
		subjects        event.Subject
	}{ // in this order: each fills those that follow
		{event.StreamStudies, stagePrepare, "rad.v1.>"}, {event.StreamPrepared, stageRelate, "rad.v1.>"},
		{event.StreamPrepared, v.durable(stageEmbed), "rad.v1.>"}, {event.StreamEmbedded, v.durable(stageIndex), v.embedded()},
	} {
		for {
			done, _, err := s.bus.Settled(ctx, c.stream, c.durable, c.subjects, math.MaxUint64)
			if err != nil {
				t.Fatalf("%s has not handled all there is: %v", c.durable, err)
			}
			if done {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// holding looks for bytes in all files below a folder, as they are and, in the blocks of a stream
// that is compressed, decoded. It returns where they are.
func holding(t *testing.T, dir string, n needle) []string {
	t.Helper()
	where := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if plain, ok := decoded(t, data); ok {
			data = append(data, plain...)
		}
		if bytes.Contains(lower(data), lower(n.bytes)) {
			where[strings.TrimPrefix(path, dir)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(where))
}

// decoded returns what a compressed block of a stream holds: behind "cmp", the kind of compression
// and the size as a varint comes an S2 stream, then a checksum (nats-server, server/filestore.go).
func decoded(t *testing.T, data []byte) ([]byte, bool) {
	t.Helper()
	if !bytes.HasPrefix(data, []byte("cmp")) {
		return nil, false
	}
	_, size := binary.Uvarint(data[4:])
	plain, err := io.ReadAll(s2.NewReader(bytes.NewReader(data[4+size : len(data)-8])))
	if err != nil {
		t.Fatalf("a compressed block cannot be read: %v", err)
	}
	return plain, true
}
