package query

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
	"github.com/radstream/radstream/services/bus/bustest"
)

// onBus serves the endpoints of s on a server of their own. What it returns asks them.
func onBus(t *testing.T, s *Server) (request func(subject, body string) *nats.Msg) {
	t.Helper()
	url := bustest.Serve(t)
	stop, err := bustest.Connect(t, url).Serve(s.NATS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return func(subject, body string) *nats.Msg {
		t.Helper()
		m, err := nc.Request(subject, []byte(body), time.Minute)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		return m
	}
}

// refused checks that m is a problem with a status and a reason, in headers and body alike, and
// returns when to ask again, in seconds; 0 for never.
func refused(t *testing.T, m *nats.Msg, status int, reason fault.Reason) (again int) {
	t.Helper()
	var p Problem
	if err := json.Unmarshal(m.Data, &p); err != nil || p.Status != status || p.Reason != string(reason) || m.Header.Get(micro.ErrorCodeHeader) != strconv.Itoa(status) || m.Header.Get(micro.ErrorHeader) != p.Detail || p.Detail == "" {
		t.Errorf("want %d %s: %v, %v, %s", status, reason, err, m.Header, m.Data)
	}
	if s := m.Header.Get("Retry-After"); s != "" {
		var err error
		if again, err = strconv.Atoi(s); err != nil || again < 1 {
			t.Errorf("come again after %q", s)
		}
	}
	return again
}

// TestFloodOnTheBus: a tenant whose subjects are asked too often is told to come again, by every
// endpoint; other tenants and HTTP are answered meanwhile, and the metrics count both.
func TestFloodOnTheBus(t *testing.T) {
	s, asked := newFake(nil)
	s.limit = auth.NewLimiter(0.01, 2) // 100 seconds for another one
	request := onBus(t, s)
	const body = `{"text":"a"}`
	served := func(subject string) {
		t.Helper()
		*asked = Request{}
		if m := request(subject, body); m.Header.Get(micro.ErrorCodeHeader) != "" || asked.Text != "a" {
			t.Errorf("%s: %v, %s", subject, m.Header, m.Data)
		}
	}
	const flood = 50
	served("radstream.search.north")
	served("radstream.search.north")
	*asked = Request{}
	for range flood {
		if again := refused(t, request("radstream.search.north", body), 429, reasonRate); again < 1 || again > 100 {
			t.Errorf("come again after %d seconds", again)
		}
	}
	refused(t, request("radstream.embed.text.north", body), 429, reasonRate)
	if asked.Text != "" {
		t.Errorf("a request that was refused came through: %+v", asked)
	}
	served("radstream.search.south")
	served("radstream.embed.text.south")
	served("radstream.search")
	served("radstream.embed.text")
	refused(t, request("radstream.search", body), 429, reasonRate) // the default tenant's
	if r := ask(s, "POST", "/v1/search", strings.NewReader(body)); r.StatusCode != 200 {
		t.Errorf("over HTTP: %s", r.Status)
	}
	metrics, err := io.ReadAll(ask(s, "GET", "/metrics", nil).Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		route     string
		status, n int
	}{
		{"NATS search-tenant", 200, 3}, {"NATS search-tenant", 429, flood}, {"NATS search", 200, 1}, {"NATS search", 429, 1},
		{"NATS embed-text-tenant", 200, 1}, {"NATS embed-text-tenant", 429, 1}, {"NATS embed-text", 200, 1}, {"POST /v1/search", 200, 1},
	} {
		if line := fmt.Sprintf("radstream_query_requests_total{route=%q,status=\"%d\"} %d\n", c.route, c.status, c.n); !strings.Contains(string(metrics), line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// waiting answers a search when its context ends.
type waiting struct {
	fakeAnswers
	begun chan struct{}
}

func (w waiting) Search(ctx context.Context, _ Request) (Response, error) {
	w.begun <- struct{}{}
	<-ctx.Done()
	return Response{}, ctx.Err()
}

// TestRoomOnTheBus: requests on the bus take the places that those over HTTP have, for as long
// as those may, and are no larger.
func TestRoomOnTheBus(t *testing.T) {
	s, _ := newFake(nil)
	s.Concurrency = 1
	request := onBus(t, s)
	busy := func() {
		t.Helper()
		if again := refused(t, request("radstream.search.north", `{"text":"a"}`), 503, reasonBusy); again != 1 {
			t.Errorf("come again after %d seconds", again)
		}
		if r := ask(s, "GET", "/v1/status", nil); r.StatusCode != 503 {
			t.Errorf("over HTTP: %s", r.Status)
		}
	}
	release, done := make(chan struct{}), make(chan struct{})
	begun := make(chan struct{})
	s.Status = func(context.Context) (Status, error) {
		close(begun)
		<-release
		return Status{}, nil
	}
	go func() { defer close(done); ask(s, "GET", "/v1/status", nil) }()
	<-begun
	busy()
	close(release)
	<-done

	var search func(context.Context, string, event.Trace, []byte) ([]byte, error)
	for _, e := range s.NATS().Endpoints {
		if e.Name == "search" {
			search = e.Answer
		}
	}
	if _, err := search(t.Context(), SubjectSearch, event.Trace{}, make([]byte, maxBody+1)); httpStatus(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("over the limit: %v", err)
	}

	slow := waiting{begun: make(chan struct{})}
	s.answer = slow
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := search(ctx, SubjectSearch, event.Trace{}, []byte(`{"text":"a"}`))
		failed <- err
	}()
	<-slow.begun
	busy()
	cancel()
	if err := <-failed; fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}

	s.Timeout = time.Millisecond
	go func() { <-slow.begun }()
	if again := refused(t, request("radstream.search", `{"text":"a"}`), 503, ""); again != 1 {
		t.Errorf("out of time: come again after %d seconds", again)
	}
}
