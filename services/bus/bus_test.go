package bus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/natsd"
	"github.com/radstream/radstream/services/stage"
	"github.com/radstream/radstream/services/stage/stagetest"
)

// serve starts a server on a free port.
func serve(t testing.TB, dir string) *natsd.Server {
	t.Helper()
	c := natsd.DefaultConfig(dir)
	c.Port = 0
	s, err := natsd.Start(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// raw is JetStream as others see it.
func raw(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func open(t testing.TB) *bus.Bus { return bustest.Connect(t, bustest.Serve(t)) }

func TestSuite(t *testing.T) {
	stagetest.Suite(t, func(t *testing.T) stagetest.Bus {
		b := open(t)
		c := bus.DefaultSourceConfig(event.StreamStudies, "suite")
		c.AckWait = time.Second
		src, err := b.Source(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		a, err := b.Attempts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stagetest.Bus{Source: src, Publisher: b, Attempts: a}
	})
}

func TestConnectNamesTheServer(t *testing.T) {
	c := bus.DefaultConfig()
	c.URL = "nats://someone:secret@127.0.0.1:1"
	_, err := bus.Connect(t.Context(), c, zerolog.Nop())
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "secret") {
		t.Fatal(err)
	}
	c.Token, c.CredsFile, c.Timeout = "a", "b", 0
	_, err = bus.Connect(t.Context(), c, zerolog.Nop())
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "only one of") || !strings.Contains(err.Error(), "timeout") {
		t.Fatal(err)
	}
}

func TestEnsureStreamsReportsDifferences(t *testing.T) {
	s := serve(t, t.TempDir())
	js := raw(t, s.ClientURL())
	odd := jetstream.StreamConfig{Name: event.StreamPrepared, Subjects: []string{"rad.v1.*.prepared.*.*"}, Retention: jetstream.WorkQueuePolicy,
		MaxAge: time.Hour, Storage: jetstream.MemoryStorage, DenyDelete: true, Duplicates: time.Second, MaxMsgsPerSubject: 1}
	if _, err := js.CreateStream(t.Context(), odd); err != nil {
		t.Fatal(err)
	}
	c := bus.DefaultConfig()
	c.URL = s.ClientURL()
	b, err := bus.Connect(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	err = b.EnsureStreams(t.Context())
	if fault.KindOf(err) != fault.Usage {
		t.Fatal(err)
	}
	for _, want := range []string{"PREPARED: retention is WorkQueue, expected Limits", "max_age is 1h0m0s", "storage is Memory", "deny_delete is true",
		"duplicate_window is 1s", "allow_direct is false", "max_msgs_per_subject is 1, expected -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "STUDIES") {
		t.Errorf("a stream that fits is named: %v", err)
	}
	if info, err := js.Stream(t.Context(), event.StreamPrepared); err != nil || info.CachedInfo().Config.MaxAge != time.Hour {
		t.Errorf("the stream was changed: %v", err)
	}
	if st, err := b.StreamState(t.Context(), event.StreamRejected); err != nil || st.Messages != 0 {
		t.Errorf("the other streams were not created: %+v, %v", st, err)
	}
}

// TestEnsureStreamsBringsUp: a stream of an earlier version of Radstream becomes what it is now.
func TestEnsureStreamsBringsUp(t *testing.T) {
	url := bustest.Serve(t)
	b := bustest.Connect(t, url)
	js := raw(t, url)
	s, err := js.Stream(t.Context(), event.StreamEmbedded)
	if err != nil {
		t.Fatal(err)
	}
	now := s.CachedInfo().Config
	was := now
	was.MaxAge, was.MaxMsgsPerSubject = 7*24*time.Hour, -1
	if _, err := js.UpdateStream(t.Context(), was); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err = js.Stream(t.Context(), event.StreamEmbedded)
	if err != nil || s.CachedInfo().Config.MaxAge != now.MaxAge || s.CachedInfo().Config.MaxMsgsPerSubject != now.MaxMsgsPerSubject {
		t.Errorf("%+v, %v", s.CachedInfo().Config, err)
	}
}

func TestEnsureStreamsNamesAStreamInTheWay(t *testing.T) {
	s := serve(t, t.TempDir())
	js := raw(t, s.ClientURL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"rad.v1.*.prepared.>"}}); err != nil {
		t.Fatal(err)
	}
	c := bus.DefaultConfig()
	c.URL = s.ClientURL()
	b, err := bus.Connect(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureStreams(t.Context()); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "stream PREPARED") {
		t.Fatal(err)
	}
}

// republishing what is stored with an expectation that no longer holds must say "stored",
// not "conflict": it is what happens when a PubAck is lost.
func TestLostPubAckIsNoConflict(t *testing.T) {
	b := open(t)
	none := stage.Expect{}
	e := stagetest.Arrival(t, "a")
	first, err := b.PublishSeq(t.Context(), e, &none)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.PublishSeq(t.Context(), e, &none)
	if err != nil || again != first {
		t.Fatalf("sequence %d then %d, %v", first, again, err)
	}
}

func TestPublishErrors(t *testing.T) {
	b := open(t)
	e := stagetest.Arrival(t, "a")
	e.Subject = "nobody.listens"
	if err := b.Publish(t.Context(), e, nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("no stream: %v", err)
	}
	e = stagetest.Arrival(t, "big")
	e.Body = make([]byte, 1<<20)
	if err := b.Publish(t.Context(), e, nil); fault.KindOf(err) != fault.Unsupported || fault.ReasonOf(err) != bus.ReasonTooLarge {
		t.Errorf("too large: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Publish(ctx, stagetest.Arrival(t, "b"), nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}
}

func TestReads(t *testing.T) {
	b := open(t)
	ctx := t.Context()
	subject := event.StudyArrivedSubject("t")
	if _, _, err := b.LastForSubject(ctx, event.StreamStudies, subject); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("empty: %v", err)
	}
	for _, id := range []string{"a", "b", "c"} {
		if err := b.Publish(ctx, stagetest.Arrival(t, id), nil); err != nil {
			t.Fatal(err)
		}
	}
	e, seq, err := b.LastForSubject(ctx, event.StreamStudies, "rad.v1.*.study.arrived")
	if err != nil || e.ID != "c" || seq != 3 {
		t.Fatalf("last: %s %d %v", e.ID, seq, err)
	}
	m, err := b.Get(ctx, event.StreamStudies, 2)
	if err != nil || m.ID != "b" || m.Subject != subject || m.Stored.IsZero() {
		t.Fatalf("get: %+v %v", m, err)
	}
	for range 2 {
		if err := b.SecureDelete(ctx, event.StreamStudies, 2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Get(ctx, event.StreamStudies, 2); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("deleted: %v", err)
	}
	st, err := b.StreamState(ctx, event.StreamStudies)
	if err != nil || st.Messages != 2 || st.LastSeq != 3 || st.Subjects != 1 {
		t.Fatalf("state: %+v %v", st, err)
	}
	if _, err := b.StreamState(ctx, "NONE"); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("no stream: %v", err)
	}
	if got := b.Sync(ctx); got != bus.SyncAlways {
		t.Errorf("sync: %s", got)
	}
}

// TestLastPerSubject: the newest message of each subject, more of them than one fetch takes,
// and no consumer is left behind.
func TestRedacted(t *testing.T) {
	for in, want := range map[string]string{
		"nats://127.0.0.1:4222":                   "nats://127.0.0.1:4222",
		"nats://u:p@a:4222,tls://u:s@cret@b:4222": "nats://a:4222,tls://b:4222",
		"nats://token@a:4222":                     "nats://a:4222",
		"user:secret@host:4222, nats://u:%zz@c:1": "host:4222, nats://c:1",
	} {
		if got := bus.Redacted(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// TestAddressStaysSecret: no error repeats the credentials of an address.
func TestAddressStaysSecret(t *testing.T) {
	for _, address := range []string{"nats://me:SECRET@127.0.0.1:1", "nats://me:%zzSECRET@127.0.0.1:1", "nats://SECRET@127.0.0.1:1,nats://me:SECRET@127.0.0.1:2"} {
		c := bus.DefaultConfig()
		c.URL = address
		if _, err := bus.Connect(t.Context(), c, zerolog.Nop()); err == nil || strings.Contains(err.Error(), "SECRET") || strings.Contains(fault.Detail(err), "SECRET") {
			t.Errorf("%v", err)
		}
	}
}

// TestSchedule: the server repeats an event on a schedule that a later one replaces.
func TestSchedule(t *testing.T) {
	b := bustest.Connect(t, bustest.Serve(t))
	ctx := t.Context()
	due := func(reason string) event.Envelope {
		e, err := event.New("id", "test", event.TrainingScheduleSubject("t"), time.Unix(1, 0), &radstreamv1.TrainingDue{Reason: reason})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, wrong := range []string{"", "often", "* * *"} {
		if err := b.Schedule(ctx, due("x"), wrong, event.TrainingDueSubject("t")); fault.KindOf(err) != fault.Usage {
			t.Errorf("schedule %q: %v", wrong, err)
		}
	}
	if err := b.Schedule(ctx, due("first"), "@daily", event.TrainingDueSubject("t")); err != nil {
		t.Fatal(err)
	}
	if err := b.Schedule(ctx, due("second"), "@every 1s", event.TrainingDueSubject("t")); err != nil {
		t.Fatal(err)
	}
	w, err := b.Watch(ctx, bus.WatchConfig{Stream: event.StreamTraining, Subjects: []event.Subject{event.TrainingDueSubject("t")}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 2 {
		m, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		body, err := m.Message()
		if due, ok := body.(*radstreamv1.TrainingDue); err != nil || !ok || due.GetReason() != "second" {
			t.Fatalf("%v %v", body, err)
		}
	}
	if err := b.Unschedule(ctx, event.StreamTraining, event.TrainingScheduleSubject("t")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.LastForSubject(ctx, event.StreamTraining, event.TrainingScheduleSubject("t")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the schedule is still there: %v", err)
	}
}

func TestLastPerSubject(t *testing.T) {
	srv := serve(t, t.TempDir())
	b := bustest.Connect(t, srv.ClientURL())
	const subjects = 150
	for round := range 2 {
		for i := range subjects {
			e := stagetest.Arrival(t, fmt.Sprint(round, " ", i))
			e.Subject = event.UnchangedSubject("t", event.StudyKey(fmt.Sprint("s", i)))
			if err := b.Publish(t.Context(), e, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		all, err := b.LastPerSubject(t.Context(), event.StreamAnswers, "rad.v1.t.unchanged.*", bus.Last{})
		if err != nil || len(all) != subjects {
			t.Fatalf("%d messages, %v", len(all), err)
		}
		for i, m := range all {
			if m.Sequence != uint64(subjects+i+1) || m.ID != event.MessageID(fmt.Sprint("1 ", i)) || m.Stream != event.StreamAnswers || m.Stored.IsZero() {
				t.Fatalf("message %d is %+v", i, m)
			}
		}
	}
	if none, err := b.LastPerSubject(t.Context(), event.StreamAnswers, "rad.v1.other.unchanged.*", bus.Last{}); err != nil || len(none) != 0 {
		t.Errorf("%d messages of nobody, %v", len(none), err)
	}
	for from, want := range map[uint64]int{1: subjects, subjects: subjects, 2*subjects - 1: 2, 2*subjects + 1: 0} {
		all, err := b.LastPerSubject(t.Context(), event.StreamAnswers, "rad.v1.t.unchanged.*", bus.Last{From: from})
		if err != nil || len(all) != want || want > 0 && all[want-1].Sequence != 2*subjects {
			t.Errorf("from %d: %d messages, want %d, %v", from, len(all), want, err)
		}
	}
	js := raw(t, srv.ClientURL())
	stream, err := js.Stream(t.Context(), event.StreamAnswers)
	if err != nil || stream.CachedInfo().State.Consumers != 0 {
		t.Errorf("%d consumers are left, %v", stream.CachedInfo().State.Consumers, err)
	}
}

func TestInputWithoutID(t *testing.T) {
	s := serve(t, t.TempDir())
	b := bustest.Connect(t, s.ClientURL())
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, h := range []nats.Header{nil, {"Nats-Msg-Id": {"theirs"}}, {"CE-ID": {"cloud"}}} {
		if _, err := nc.RequestMsg(&nats.Msg{Subject: "rad.v1.t.study.arrived", Header: h, Data: []byte("{}")}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	for seq, want := range []event.MessageID{event.ID("place", event.StreamStudies, "1"), "theirs", "cloud"} {
		if m, err := b.Get(t.Context(), event.StreamStudies, uint64(seq)+1); err != nil || m.ID != want {
			t.Errorf("message %d has id %s, want %s (%v)", seq+1, m.ID, want, err)
		}
	}
}

// TestFull: a server without room for an event is told from other failures, until it has room again.
func TestFull(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 16, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not answer")
	}
	b := bustest.Connect(t, s.ClientURL())
	for i := 0; ; i++ {
		if err = b.Publish(t.Context(), stagetest.Arrival(t, fmt.Sprint(i)), nil); err != nil {
			break
		}
		if b.Full() || i > 10_000 {
			t.Fatalf("full: %v, behind %d events", b.Full(), i)
		}
	}
	if fault.KindOf(err) != fault.Unavailable || !b.Full() {
		t.Fatalf("without room: %v, full: %v", err, b.Full())
	}
	stream, err := raw(t, s.ClientURL()).Stream(t.Context(), event.StreamStudies)
	if err == nil {
		err = stream.Purge(t.Context())
	}
	if err == nil {
		err = b.Publish(t.Context(), stagetest.Arrival(t, "a"), nil)
	}
	if err != nil || b.Full() {
		t.Errorf("with room again: %v, full: %v", err, b.Full())
	}
}

// TestSettled: what is still there counts until it was delivered and settled; what was erased before
// does not, and neither does what the consumer does not read.
func TestSettled(t *testing.T) {
	srv := serve(t, t.TempDir())
	b := bustest.Connect(t, srv.ClientURL())
	ctx := t.Context()
	for i, who := range []event.Tenant{"t", "t", "t", "other"} {
		e := stagetest.Arrival(t, fmt.Sprint(i))
		e.Subject = event.StudyArrivedSubject(who)
		if err := b.Publish(ctx, e, nil); err != nil {
			t.Fatal(err)
		}
	}
	const mine, last = "rad.v1.t.>", 3
	settled := func(to uint64, want bool) {
		t.Helper()
		if done, state, err := b.Settled(ctx, event.StreamStudies, "d", mine, to); done != want || err != nil {
			t.Errorf("settled up to %d: %v, %v, %+v", to, done, err, state)
		}
	}
	if _, _, err := b.Settled(ctx, event.StreamStudies, "d", mine, last); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no consumer: %v", err)
	}
	c, err := raw(t, srv.ClientURL()).CreateConsumer(ctx, event.StreamStudies, jetstream.ConsumerConfig{Durable: "d", FilterSubject: mine, AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	settled(1, false)
	for _, to := range []uint64{1, 2} {
		m, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		settled(to, false)
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
		settled(to, true)
	}
	settled(last, false)
	if err := b.SecureDelete(ctx, event.StreamStudies, last); err != nil {
		t.Fatal(err)
	}
	settled(last, true)
}
