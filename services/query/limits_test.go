package query

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
)

// TestSlowBody: a body that does not come gives its place back when the time of a request is over.
func TestSlowBody(t *testing.T) {
	s, _ := newFake(nil)
	s.Timeout = 50 * time.Millisecond
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err == nil {
		defer conn.Close()
		err = conn.SetDeadline(time.Now().Add(time.Minute))
	}
	if err == nil {
		_, err = io.WriteString(conn, "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal("the request was waited for without end:", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := problem(t, r); p.Status != 503 || p.Reason != string(reasonSlow) || r.Header.Get("Retry-After") == "" || s.placed != 0 {
		t.Errorf("%+v, %d places taken", p, s.placed)
	}
}

// TestShare: where callers are told apart, none takes all places.
func TestShare(t *testing.T) {
	s, _ := newFake(nil)
	s.Concurrency = 4
	var leave []func()
	for _, step := range []struct {
		caller string
		known  bool
		let    bool
	}{{"a", true, true}, {"a", true, true}, {"a", true, true}, {"a", true, false}, {"b", true, true}, {"b", true, false}, {"b", false, false}} {
		if s.Auth = nil; step.known {
			s.Auth = auth.New(nil, nil)
		}
		_, done, err := s.admit(t.Context(), step.caller)
		if (err == nil) != step.let || err != nil && fault.ReasonOf(err) != reasonBusy {
			t.Fatalf("%+v: %v", step, err)
		}
		if err == nil {
			leave = append(leave, done)
		}
	}
	for _, done := range leave {
		done()
	}
	if s.Auth = nil; s.placed != 0 || len(s.held) != 0 {
		t.Errorf("%d places are taken, by %v", s.placed, s.held)
	}
	for range 4 {
		if _, _, err := s.admit(t.Context(), "anybody"); err != nil {
			t.Error(err)
		}
	}
}

// unread fails the test when anybody reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("a body over the limit was read")
	return 0, io.EOF
}

func TestBodyLimit(t *testing.T) {
	s, _ := newFake(nil)
	r := httptest.NewRequest("POST", "/v1/search", unread{t})
	r.ContentLength, r.Host = maxBody+1, "127.0.0.1"
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if p := problem(t, w.Result()); p.Status != 413 || p.Reason != "too_large" {
		t.Errorf("over the limit: %+v", p)
	}
	broken := io.MultiReader(strings.NewReader(`{"text":`), iotestErr{})
	if p := problem(t, ask(s, "POST", "/v1/search", broken)); p.Status != 400 {
		t.Errorf("cut off: %+v", p)
	}
}

// TestLimitsOfCallers: who asks too often, or when the house is full, is told to come again.
func TestLimitsOfCallers(t *testing.T) {
	s, _ := newFake(nil)
	s.limit = auth.NewLimiter(0.5, 2)
	for i, want := range []int{200, 200, 429} {
		r := ask(s, "GET", "/v1/status", nil)
		if r.StatusCode != want {
			t.Errorf("request %d: %d", i, r.StatusCode)
		}
		if after := r.Header.Get("Retry-After"); want == 429 && (after != "2" || problem(t, r).Reason != string(reasonRate)) {
			t.Errorf("come again after %q", after)
		}
	}
	if r := ask(s, "GET", "/readyz", nil); r.StatusCode != 200 {
		t.Errorf("a probe was held back: %d", r.StatusCode)
	}

	s, _ = newFake(nil)
	s.Concurrency = 1
	running, release := make(chan struct{}), make(chan struct{})
	s.Status = func(context.Context) (Status, error) {
		close(running)
		<-release
		return Status{}, nil
	}
	h, first := s.Handler(), httptest.NewRecorder()
	done := make(chan struct{})
	r := httptest.NewRequest("GET", "http://localhost/v1/status", nil)
	go func() { defer close(done); h.ServeHTTP(first, r) }()
	<-running
	full := ask(s, "GET", "/v1/status", nil)
	if p := problem(t, full); p.Status != 503 || p.Reason != string(reasonBusy) || full.Header.Get("Retry-After") == "" {
		t.Errorf("%+v", p)
	}
	close(release)
	if <-done; first.Code != 200 {
		t.Errorf("the one that was running: %d", first.Code)
	}

	s, _ = newFake(nil)
	s.Timeout = time.Nanosecond
	s.Status = func(ctx context.Context) (Status, error) { <-ctx.Done(); return Status{}, ctx.Err() }
	if p := problem(t, ask(s, "GET", "/v1/status", nil)); p.Status != 503 || p.Kind != "transient" {
		t.Errorf("out of time: %+v", p)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		r    Request
		ok   bool
	}{
		{"text", Request{Text: "a"}, true},
		{"longest text", Request{Text: strings.Repeat("a", MaxText), K: MaxK}, true},
		{"longer text", Request{Text: strings.Repeat("a", MaxText+1)}, false},
		{"blank text", Request{Text: " \n\u00a0\u200b\x01"}, false},
		{"text of signs", Request{Text: " 🩻\n"}, true},
		{"study", Request{Study: "1", Tenant: "north", K: 1}, true},
		{"image of nothing", Request{Image: []byte{}}, true}, // ingest says what is wrong with it
		{"larger image", Request{Image: make([]byte, MaxImage+1)}, false},
		{"nothing", Request{}, false},
		{"two things", Request{Text: "a", Study: "1"}, false},
		{"three things", Request{Text: "a", Study: "1", Image: []byte{1}}, false},
		{"k below", Request{Text: "a", K: -1}, false},
		{"k above", Request{Text: "a", K: MaxK + 1}, false},
		{"tenant", Request{Text: "a", Tenant: "No Tenant"}, false},
		{"projection", Request{Text: "a", Projection: "oblique"}, false},
		{"vector", Request{Vector: []float32{1}, Model: "m@1"}, true},
		{"vector of nobody", Request{Vector: []float32{1}}, false},
		{"vector of zeros", Request{Vector: []float32{0, 0}, Model: "m@1"}, false},
		{"vector of nothing", Request{Vector: []float32{}, Model: "m@1"}, false},
		{"examples", Request{Positive: []event.StudyUID{"1"}, Negative: []event.StudyUID{"2"}}, true},
		{"negative alone", Request{Negative: []event.StudyUID{"2"}}, false},
		{"negative with a text", Request{Text: "a", Negative: []event.StudyUID{"2"}}, false},
		{"empty example", Request{Positive: []event.StudyUID{""}}, false},
		{"many examples", Request{Positive: make([]event.StudyUID, MaxExamples+1)}, false},
		{"long study", Request{Study: event.StudyUID(strings.Repeat("1", maxUID+1))}, false},
		{"views", Request{Text: "a", Views: []string{"lateral", "frontal"}}, true},
		{"view", Request{Text: "a", Views: []string{"oblique"}}, false},
		{"dates", Request{Text: "a", After: "2024-05-31", Before: "2024-05-31T08:00:00.5+02:00"}, true},
		{"no date", Request{Text: "a", After: "31.5.2024"}, false},
		{"no such day", Request{Text: "a", Before: "2024-02-30"}, false},
		{"another age", Request{Text: "a", Before: "0001-01-01"}, false},
	} {
		err := c.r.complete()
		if c.ok != (err == nil) || err != nil && (fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) == "") {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok && (c.r.K == 0 || c.r.Tenant == "") {
			t.Errorf("%s: defaults are missing: %+v", c.name, c.r)
		}
	}
	if _, err := new(Service).EmbedText(t.Context(), EmbedRequest{Text: "\t"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a blank text to embed: %v", err)
	}
}

func TestOwnFirst(t *testing.T) {
	hits := []Hit{{Key: "a", Similarity: 1}, {Key: "b", Similarity: 1}, {Key: "own", Similarity: 1 - 1e-6}, {Key: "c", Similarity: 0.5}}
	ownFirst(hits, "own")
	var keys []string
	for _, h := range hits {
		keys = append(keys, string(h.Key))
	}
	if d := cmp.Diff([]string{"own", "a", "b", "c"}, keys); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	ownFirst(hits, "c") // far behind: it stays
	if hits[0].Key != "own" {
		t.Error("a study that is less alike came first")
	}
}
