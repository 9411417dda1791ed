package query

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
	"github.com/radstream/radstream/services/telemetry"
	"github.com/radstream/radstream/services/telemetry/tracetest"
)

// fakeAnswers answers every request with what it was asked, or with err.
type fakeAnswers struct {
	err   error
	asked *Request
}

func (f fakeAnswers) Search(_ context.Context, r Request) (Response, error) {
	*f.asked = r
	return Response{Model: "m@1", Vector: "image", Hits: []Hit{{Study: "1.2", Similarity: 1}}}, f.err
}

func (f fakeAnswers) EmbedText(_ context.Context, r EmbedRequest) (EmbedResponse, error) {
	*f.asked = Request{Text: r.Text}
	return EmbedResponse{Model: "m@1", Using: "image"}, f.err
}

func (f fakeAnswers) Labels(_ context.Context, t event.Tenant, s event.StudyUID) (LabelsResponse, error) {
	*f.asked = Request{Tenant: t, Study: s}
	return LabelsResponse{Study: s, Labels: []Label{}}, f.err
}

func (f fakeAnswers) Explain(_ context.Context, r ExplainRequest) (Explanation, error) {
	*f.asked = Request{Tenant: r.Tenant, Study: r.Study, Text: r.Text}
	return Explanation{Study: r.Study, Views: []HeatMap{}}, f.err
}

func (f fakeAnswers) Study(_ context.Context, t event.Tenant, s event.StudyUID) (StudyResponse, error) {
	*f.asked = Request{Tenant: t, Study: s}
	return StudyResponse{Study: s}, f.err
}

// checkedAnswers refuses what a Service would refuse of a request by itself.
type checkedAnswers struct{ fakeAnswers }

func (f checkedAnswers) Search(ctx context.Context, r Request) (Response, error) {
	if err := r.complete(); err != nil {
		return Response{}, err
	}
	return f.fakeAnswers.Search(ctx, r)
}

func (f checkedAnswers) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	if err := r.complete(); err != nil {
		return Explanation{}, err
	}
	return f.fakeAnswers.Explain(ctx, r)
}

func (f checkedAnswers) one(t event.Tenant, s event.StudyUID) error {
	r := Request{Tenant: t, Study: s}
	err := r.complete()
	if err == nil && s != "1.2.3" {
		err = fault.Errorf("x", fault.NotFound, "there is none")
	}
	return err
}

func (f checkedAnswers) Labels(_ context.Context, t event.Tenant, s event.StudyUID) (LabelsResponse, error) {
	return LabelsResponse{}, f.one(t, s)
}

func (f checkedAnswers) Study(_ context.Context, t event.Tenant, s event.StudyUID) (StudyResponse, error) {
	return StudyResponse{}, f.one(t, s)
}

func newFake(err error) (*Server, *Request) {
	asked := &Request{}
	status := func(context.Context) (Status, error) { return Status{Version: "v", Ready: err == nil}, err }
	ready := func(context.Context) error { return err }
	return NewServer(fakeAnswers{err, asked}, ServerConfig{Version: "v", Status: status, Ready: ready, Metrics: telemetry.New("v"), Log: zerolog.Nop(),
		Rate: 1e6, Burst: 1e6, Concurrency: 64, Timeout: 10 * time.Second}), asked
}

func ask(s *Server, method, path string, body io.Reader) *http.Response {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, body)
	r.Host = "localhost:8080"
	r.Header.Set("Content-Type", "application/json")
	s.Handler().ServeHTTP(w, r)
	return w.Result()
}

func problem(t *testing.T, r *http.Response) Problem {
	t.Helper()
	var p Problem
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s is no problem: %v", r.Header.Get("Content-Type"), err)
	}
	if p.Status != r.StatusCode || p.Title == "" || p.Type != "about:blank" {
		t.Errorf("status %d: %+v", r.StatusCode, p)
	}
	return p
}

// TestMalformedRequests: what cannot be read is refused with a reason, without repeating it.
func TestMalformedRequests(t *testing.T) {
	s, _ := newFake(nil)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		reason                   fault.Reason
	}{
		{"no JSON", "POST", "/v1/search", "secret", 400, ReasonRequest},
		{"empty", "POST", "/v1/search", "", 400, ReasonRequest},
		{"unknown field", "POST", "/v1/search", `{"txet":"secret"}`, 400, ReasonRequest},
		{"unknown field of a label", "POST", "/v1/search", `{"text":"a","labels":[{"secret":"x"}]}`, 400, ReasonRequest},
		{"wrong type", "POST", "/v1/search", `{"text":"secret","k":"ten"}`, 400, ReasonRequest},
		{"no base64", "POST", "/v1/search", `{"image":"secret!"}`, 400, ReasonRequest},
		{"two objects", "POST", "/v1/search", `{"text":"a"}{"text":"secret"}`, 400, ReasonRequest},
		{"a list", "POST", "/v1/search", `[{"text":"secret"}]`, 400, ReasonRequest},
		{"unknown parameter", "GET", "/v1/labels?study=1&secret=1", "", 400, ReasonRequest},
		{"parameter of the body", "POST", "/v1/search?secret=1", `{"text":"a"}`, 400, ReasonRequest},
		{"parameter twice", "GET", "/v1/labels?study=secret&study=1", "", 400, ReasonRequest},
		{"long parameter", "GET", "/v1/labels?study=" + strings.Repeat("secret", 100), "", 400, ReasonRequest},
		{"broken parameters", "GET", "/v1/labels?study=%zzsecret", "", 400, ReasonRequest},
		{"no such call", "GET", "/v1/secret", "", 404, "no_such_call"},
		{"another method", "PUT", "/v1/search", "", 405, "no_such_method"},
		{"another method of a probe", "POST", "/readyz", "", 405, "no_such_method"},
		{"not UTF-8", "POST", "/v1/search", "{\"text\":\"secret caf\xe9\"}", 400, ReasonRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := problem(t, ask(s, c.method, c.path, strings.NewReader(c.body)))
			if p.Status != c.status || p.Reason != string(c.reason) || p.Detail == "" || strings.Contains(p.Detail, "secret") {
				t.Errorf("%+v, want %d %s", p, c.status, c.reason)
			}
		})
	}
}

// TestOtherMethods: who asks by another method is told which there are.
func TestOtherMethods(t *testing.T) {
	s, _ := newFake(nil)
	for path, allow := range map[string]string{"/v1/search": "POST", "/v1/studies/1": "GET, HEAD", "/metrics": "GET, HEAD"} {
		if r := ask(s, "DELETE", path, nil); r.StatusCode != 405 || r.Header.Get("Allow") != allow {
			t.Errorf("DELETE %s: %d, Allow %q, want %q", path, r.StatusCode, r.Header.Get("Allow"), allow)
		}
	}
	if r := ask(s, "HEAD", "/v1/status", nil); r.StatusCode != 200 {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
}

// TestCompressedBody: a body in a coding that is not undone is refused as such, not as broken JSON.
func TestCompressedBody(t *testing.T) {
	s, _ := newFake(nil)
	for coding, want := range map[string]int{"gzip": 415, "br": 415, "identity": 200, "": 200} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "http://localhost/v1/search", strings.NewReader(`{"text":"a"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Content-Encoding", coding)
		if s.Handler().ServeHTTP(w, r); w.Code != want {
			t.Errorf("coding %q: %d %s", coding, w.Code, w.Body)
		}
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("connection lost") }

// TestEveryKindOverHTTP: a fault crosses the wire with its kind, its reason and its text.
func TestEveryKindOverHTTP(t *testing.T) {
	for _, k := range fault.Kinds() {
		s, _ := newFake(fault.Reject("secret.op", k, "some_reason", "some text"))
		srv := httptest.NewServer(s.Handler())
		c := NewClient(strings.TrimPrefix(srv.URL, "http://"), "")
		for what, ask := range map[string]func() error{
			"search": func() error { _, err := c.Search(t.Context(), Request{Text: "a"}); return err },
			"labels": func() error { _, err := c.Labels(t.Context(), "", "1"); return err },
			"status": func() error { _, err := c.Status(t.Context()); return err },
		} {
			err := ask()
			if fault.KindOf(err) != k || fault.ReasonOf(err) != "some_reason" || fault.Detail(err) != "some text" {
				t.Errorf("%s, %v: %v, %v, %q", what, k, fault.KindOf(err), fault.ReasonOf(err), fault.Detail(err))
			}
		}
		if code := httpStatus(fault.Reject("x", k, "r", "t")); code < 400 || code > 599 {
			t.Errorf("%v has status %d", k, code)
		}
		srv.Close()
	}
}

// northOnly returns a token of the tenant north, and who takes that one alone.
func northOnly(t *testing.T) (string, *auth.Authenticator) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	token, line, err := auth.NewToken("north", "")
	if err == nil {
		err = os.WriteFile(file, []byte(line), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.OpenTokens(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token, auth.New(tokens, nil)
}

// TestWhoAsks: the credential decides the tenant; without any, only this machine may ask.
func TestWhoAsks(t *testing.T) {
	token, authenticator := northOnly(t)
	s, asked := newFake(nil)
	s.Auth = authenticator
	send := func(method, target, body, token string) *http.Response {
		r := httptest.NewRequest(method, "https://radstream.example"+target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Result()
	}
	for _, c := range []struct {
		method, target, body string
	}{{"POST", "/v1/search", `{"text":"a"%s}`}, {"GET", "/v1/labels?study=1%s", ""}, {"GET", "/v1/studies/1?%s", ""}} {
		for named, want := range map[string]int{"": 200, "north": 200, "south": 403} {
			*asked = Request{}
			inBody, inQuery := "", ""
			if named != "" {
				inBody, inQuery = `,"tenant":"`+named+`"`, "&tenant="+named
			}
			target := strings.Replace(strings.Replace(c.target, "%s", inQuery, 1), "?&", "?", 1)
			r := send(c.method, target, strings.Replace(c.body, "%s", inBody, 1), token)
			if r.StatusCode != want || want == 200 && asked.Tenant != "north" || want != 200 && asked.Tenant != "" {
				t.Errorf("%s for tenant %q: %d, asked as %q", target, named, r.StatusCode, asked.Tenant)
			}
		}
		*asked = Request{}
		for _, token := range []string{"", "rs_wrong"} {
			target := strings.Replace(c.target, "%s", "", 1)
			r := send(c.method, target, strings.Replace(c.body, "%s", "", 1), token)
			if p := problem(t, r); p.Status != 401 || r.Header.Get("WWW-Authenticate") != "Bearer" || asked.Text != "" || asked.Study != "" {
				t.Errorf("%s with token %q: %+v", target, token, p)
			}
		}
	}
	for path, want := range map[string]int{"/v1/status": 401, "/healthz": 200, "/readyz": 200, "/metrics": 200, "/openapi.json": 200} {
		if r := send("GET", path, "", ""); r.StatusCode != want {
			t.Errorf("%s without a token: %d", path, r.StatusCode)
		}
	}
	s.Auth = nil
	for host, want := range map[string]int{"localhost": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "evil.example": 403, "localhost.evil.example:8080": 403, "": 403, "10.0.0.1": 403} {
		r := httptest.NewRequest("GET", "/v1/status", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if s.Handler().ServeHTTP(w, r); w.Code != want {
			t.Errorf("host %q: %d", host, w.Code)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	s, asked := newFake(nil)
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	c := NewClient(strings.TrimPrefix(srv.URL, "http://"), "")
	want := Request{Tenant: "north", Image: []byte{1, 2}, K: 3, Projection: "lateral", Labels: []LabelAtLeast{{"effusion", 0.5}}}
	r, err := c.Search(t.Context(), want)
	if err != nil || len(r.Hits) != 1 || r.Hits[0].Study != "1.2" {
		t.Errorf("%+v, %v", r, err)
	}
	if d := cmp.Diff(want, *asked, cmpopts.IgnoreUnexported(Request{})); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	if l, err := c.Labels(t.Context(), "north", "1 & 2?"); err != nil || l.Study != "1 & 2?" || asked.Tenant != "north" {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := c.Study(t.Context(), "north", "1/2 & 3?"); err != nil || l.Study != "1/2 & 3?" || asked.Tenant != "north" {
		t.Errorf("%+v, %v", l, err)
	}
	if st, err := c.Status(t.Context()); err != nil || st.Version != "v" {
		t.Errorf("%+v, %v", st, err)
	}
	for path, code := range map[string]int{"/healthz": 200, "/readyz": 200} {
		if r := ask(s, "GET", path, nil); r.StatusCode != code {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	failing, _ := newFake(errors.New("no index"))
	if r := ask(failing, "GET", "/readyz", nil); r.StatusCode != 503 {
		t.Errorf("not ready: %d", r.StatusCode)
	}
}

// TestClientFaults: whatever answers, or nobody, is one clear error.
func TestClientFaults(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, "<html>")
	}))
	address := strings.TrimPrefix(other.URL, "http://")
	c := NewClient(address, "")
	_, err1 := c.Search(t.Context(), Request{Text: "a"})
	_, err2 := c.Status(t.Context())
	other.Close()
	_, err3 := c.Labels(t.Context(), "", "SECRET")
	for _, err := range []error{err1, err2, err3} {
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), address) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%v: %v", fault.KindOf(err), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); fault.KindOf(err) != fault.Canceled {
		t.Errorf("given up: %v", err)
	}
}

// TestServeDrains: a request that runs when the server is told to stop gets its answer.
func TestServeDrains(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	s, _ := newFake(nil)
	s.Status = func(context.Context) (Status, error) {
		close(running)
		<-release
		return Status{Version: "late"}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served, answered := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve(ctx, l, time.Minute) }()
	go func() {
		st, err := NewClient(l.Addr().String(), "").Status(context.WithoutCancel(ctx))
		if err == nil && st.Version != "late" {
			err = errors.New("another answer")
		}
		answered <- err
	}()
	<-running
	stop()
	close(release)
	if err := errors.Join(<-answered, <-served); err != nil {
		t.Error(err)
	}
}

// FuzzDecodeRequest: any body is decoded or refused, and what is decoded means the same
// when it is sent on.
func FuzzDecodeRequest(f *testing.F) {
	for _, body := range []string{
		`{"text":"left pleural effusion","k":5}`, `{"image":"AQID","projection":"lateral"}`, `{"study":"1.2","labels":[{"label":"effusion","score":0.5}]}`,
		`{}`, `null`, `[]`, `{"k":1e99}`, `{"text":"\ud800"}`, `{"labels":[{}]} `, `{"text":"a"}x`, "", "\x00",
		`{"vector":[1,-2.5e-3],"model":"m@1","views":["lateral"],"after":"2024-05-31"}`, `{"positive":["1.2"],"negative":["3"],"before":"2024-05-31T00:00:00Z"}`, `{"vector":[1e39]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeRequest(body)
		if err != nil {
			if fault.ReasonOf(err) != ReasonRequest {
				t.Errorf("refused without the reason: %v", err)
			}
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		same, err := decodeRequest(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if len(r.Image) == 0 { // an empty image is left out
			r.Image, same.Image = nil, nil
		}
		if len(r.Labels) == 0 {
			r.Labels, same.Labels = nil, nil
		}
		for _, list := range []*[]event.StudyUID{&r.Positive, &r.Negative, &same.Positive, &same.Negative} {
			if len(*list) == 0 {
				*list = nil
			}
		}
		if len(r.Vector) == 0 {
			r.Vector, same.Vector = nil, nil
		}
		if len(r.Views) == 0 {
			r.Views, same.Views = nil, nil
		}
		if d := cmp.Diff(r, same, cmpopts.IgnoreUnexported(Request{})); d != "" {
			t.Errorf("(-first +again):\n%s", d)
		}
		_ = r.complete() // refuses or fills in, and does not panic
	})
}

// TestStrangersLeaveNoSpan: only who is let in can fill the queue of spans.
func TestStrangersLeaveNoSpan(t *testing.T) {
	token, authenticator := northOnly(t)
	c := tracetest.Serve(t)
	traces, err := telemetry.OpenTraces(t.Context(), c.URL, 100, "test", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s, _ := newFake(nil)
	s.Auth, s.Traces = authenticator, traces
	for _, of := range []string{"", "rs_wrong", token} {
		r := httptest.NewRequest("GET", "https://radstream.example/v1/studies/1", nil)
		r.Header.Set("Authorization", "Bearer "+of)
		r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		s.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	traces.Close(t.Context())
	if spans := c.Spans(); len(spans) != 1 {
		t.Errorf("one of three callers was let in: %+v", spans)
	}
}
