package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/indexer/qdrant"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/registry"
)

// another writes the model that serves under another version, and pushes it.
func (s *system) another(t *testing.T, version string, change func(dir string, m *model.Manifest)) (dir string, ref model.Ref) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.serves().dir)); err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Ref.Version = version
	if change != nil {
		change(dir, m)
	}
	if err := m.Write(dir, slices.Collect(maps.Keys(m.Files))...); err != nil {
		t.Fatal(err)
	}
	if _, err := s.models.Push(t.Context(), dir, "", nil); err != nil {
		t.Fatal(err)
	}
	return dir, m.Ref
}

// until asks until the answer comes from a model.
func (s *system) until(t *testing.T, ref model.Ref) query.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		r, err := s.client.Search(ctx, query.Request{Tenant: tenant, Text: "No acute disease."})
		if err != nil {
			t.Fatal(err)
		}
		if r.Model == ref.String() {
			return r
		}
		select {
		case <-time.After(10 * time.Millisecond): // a caller may ask 200 times a second
		case <-ctx.Done():
		}
	}
}

// TestHotSwap: queries go on while models are promoted and rolled back, each answered whole by one
// model from its own full collection; what arrives meanwhile is found under either; the model that
// was replaced is freed.
func TestHotSwap(t *testing.T) {
	var log syncBuffer
	s := start(t, t.TempDir(), &log, func(c *config.Config) { c.Query.Rate, c.Query.Burst = 100_000, 100_000 })
	const studies = 6
	for i := range studies {
		id := strconv.Itoa(i + 1)
		s.send(t, id, study("2.25."+id, s.object(t, film(t, i), frontal)))
	}
	for i := range studies {
		s.expect(t, strconv.Itoa(i+1), event.StudyIndexed, 1)
	}
	shipped := s.serves().manifest.Ref
	before, _ := s.runtime.Live()
	_, second := s.another(t, "2.0.0", nil)

	var load sync.WaitGroup
	stop := make(chan struct{})
	answers := make([]map[string]int, 3)
	for g := range answers {
		answers[g] = map[string]int{}
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r := query.Request{Tenant: tenant, Text: "Small effusion."}
				if (g+i)%2 == 0 {
					r = query.Request{Tenant: tenant, Study: "2.25.3"}
				}
				got, err := s.client.Search(t.Context(), r)
				if err != nil {
					t.Error("a query failed:", err)
					return
				}
				if len(got.Hits) < studies {
					t.Errorf("%s finds %d of %d studies", got.Model, len(got.Hits), studies)
				}
				for _, h := range got.Hits {
					if h.Model != got.Model {
						t.Errorf("an answer by %s holds a study by %s", got.Model, h.Model)
					}
				}
				answers[g][got.Model]++
			}
		})
	}
	_, release, err := s.Lend("") // a query that takes long
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.models.Promote(t.Context(), second, shipped, registry.ByOperator); err != nil {
		t.Fatal(err)
	}
	s.until(t, second)
	if live, _ := s.runtime.Live(); live != before+2 {
		t.Errorf("%d sessions are open while a query uses the old model, want %d", live, before+2)
	}
	release()
	log.await(t, "was freed")
	if live, _ := s.runtime.Live(); live != before {
		t.Errorf("%d sessions are open after the swap, %d before", live, before)
	}
	alias, err := s.store.(*qdrant.Client).AliasTarget(t.Context(), s.conf.Index.Collection)
	if err != nil || alias != s.serves().collection {
		t.Errorf("clients of the index search %s, %v", alias, err)
	}
	s.send(t, "late", study("2.25.99", s.object(t, film(t, 20), frontal)))
	s.expect(t, "late", event.StudyIndexed, 1)
	if _, err := s.models.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.until(t, shipped); len(r.Hits) != studies+1 {
		t.Errorf("after the rollback %d studies are found, want %d", len(r.Hits), studies+1)
	}
	close(stop)
	load.Wait()
	for g, by := range answers {
		if len(by) != 2 {
			t.Errorf("client %d was answered by %v, want both models", g, by)
		}
	}
}

// TestSwapWaits: while the archive is not embedded under the promoted model, the one before
// answers, from its full collection.
func TestSwapWaits(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	s.send(t, "1", study("2.25.1", s.object(t, film(t, 1), frontal)))
	s.expect(t, "1", event.StudyIndexed, 1)
	shipped := s.serves().manifest.Ref
	_, second := s.another(t, "2.0.0", nil)
	_, third := s.another(t, "3.0.0", nil)
	s.stop(t)

	var log syncBuffer
	s = start(t, dir, &log, func(c *config.Config) { c.Target = []string{"index", "query"} }) // nobody embeds
	for _, ref := range []model.Ref{second, third} {
		if _, err := s.models.Promote(t.Context(), ref, model.Ref{}, registry.ByOperator); err != nil {
			t.Fatal(err)
		}
		log.await(t, ref.String()+`","message":"was promoted`)
	}
	// By now the second has had a whole turn to be taken up, had nobody waited.
	if r := s.until(t, shipped); len(r.Hits) != 1 {
		t.Errorf("%d studies are found, want 1", len(r.Hits))
	}
	s.stop(t)
	s = start(t, dir, io.Discard)
	if r := s.until(t, third); len(r.Hits) != 1 {
		t.Errorf("%d studies are found, want 1", len(r.Hits))
	}
}

// TestPromotedModel: a swap that was under way when the process ended goes on; a model that cannot
// be used is named, and the one before goes on.
func TestPromotedModel(t *testing.T) {
	dir := t.TempDir()
	var log syncBuffer
	s := start(t, dir, &log)
	shipped := s.serves().manifest.Ref
	_, second := s.another(t, "2.0.0", nil)
	_, broken := s.another(t, "3.0.0", func(dir string, m *model.Manifest) {
		if err := os.WriteFile(filepath.Join(dir, model.TextGraph), []byte("no graph"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := s.models.Promote(t.Context(), broken, shipped, registry.ByGate); err != nil {
		t.Fatal(err)
	}
	log.await(t, "3.0.0\"") // what cannot be used is reported
	status, err := s.Status(t.Context())
	if err != nil || !status.Ready || !slices.ContainsFunc(status.Warnings, func(w string) bool { return strings.Contains(w, "tiny@3.0.0 was promoted and cannot be used") }) {
		t.Errorf("%v, %v, %v", status.Ready, status.Warnings, err)
	}
	s.until(t, shipped)
	if _, err := s.models.Promote(t.Context(), second, broken, registry.ByOperator); err != nil {
		t.Fatal(err)
	}
	s.stop(t) // whether it has been seen or not
	s = start(t, dir, io.Discard)
	s.until(t, second)
	s.stop(t)
	s = start(t, dir, io.Discard)
	if got := s.serves().manifest.Ref; got != second {
		t.Errorf("%s answers after a restart", got)
	}
	for _, want := range []model.Ref{broken, shipped} {
		serving, err := s.models.Rollback(t.Context())
		if err != nil || serving.Ref != want {
			t.Fatalf("back to %v, %v", serving.Ref, err)
		}
	}
	s.until(t, shipped)
}

// TestAwayAtStart: an index that is away for a moment while a process starts does not let the
// promoted model answer before the archive is embedded under it.
func TestAwayAtStart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	s.send(t, "1", study("2.25.1", s.object(t, film(t, 1), frontal)))
	s.expect(t, "1", event.StudyIndexed, 1)
	shipped := s.serves().manifest.Ref
	_, second := s.another(t, "2.0.0", nil)
	s.stop(t)

	var log syncBuffer
	s = start(t, dir, &log, func(c *config.Config) { c.Target = []string{"index", "query"} }) // nobody embeds
	if _, err := s.models.Promote(t.Context(), second, shipped, registry.ByOperator); err != nil {
		t.Fatal(err)
	}
	log.await(t, second.String()+`","message":"was promoted`)
	// Another process, in this one, where ONNX Runtime is open already.
	again := &App{conf: s.conf, opt: s.opt, bus: s.bus, models: s.models, preparer: s.preparer, runtime: s.runtime, device: s.device, metrics: s.metrics,
		store: &awayOnce{Store: s.store}, versions: map[model.Ref]*version{}, refused: map[model.Ref]refusal{}}
	again.conf.Target = []string{"query"}
	err := again.firstModels(t.Context())
	if err := again.stopVersions(); err != nil {
		t.Error(err)
	}
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v, want that the index is away", err)
	}
	if got, err := s.models.Answers(t.Context()); err != nil || got != shipped {
		t.Errorf("%s answers, %v", got, err)
	}
}

// awayOnce is a store that cannot be reached the first time that a collection is wanted.
type awayOnce struct {
	indexer.Store
	back bool
}

func (s *awayOnce) Ensure(ctx context.Context, spec indexer.Spec) error {
	if !s.back {
		s.back = true
		return fault.Errorf("awayOnce", fault.Unavailable, "the index is away")
	}
	return s.Store.Ensure(ctx, spec)
}

// TestOtherModel: a process that queries by another model than the index holds is refused, with
// both names.
func TestOtherModel(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	dir, other := s.another(t, "2.0.0", nil)
	c := s.conf
	c.DataDir, c.Target = t.TempDir(), []string{"query"}
	c.NATS.URL, c.Qdrant.Address, c.Model.Dir = s.Addresses().NATS, s.Addresses().Qdrant, dir
	models, err := registry.Open(t.Context(), s.bus)
	if err != nil {
		t.Fatal(err)
	}
	// In this process ONNX Runtime is open already, so that the encoder is lent to the second one.
	second := &App{conf: c, models: models, current: &version{manifest: &model.Manifest{Ref: other}}}
	if err := second.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	service := query.New(second, nil, nil, nil, nil, nil, nil, nil)
	_, err = service.Search(t.Context(), query.Request{Text: "effusion"})
	for _, name := range []string{other.String(), s.serves().manifest.Ref.String()} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

// TestStalledDevice: readiness follows the watchdog.
func TestStalledDevice(t *testing.T) {
	var log syncBuffer
	s := start(t, t.TempDir(), &log)
	ready := func() int {
		t.Helper()
		r, err := http.Get("http://" + s.Addresses().Query + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.StatusCode
	}
	for _, c := range []struct {
		graph   string
		stalled bool
		want    int
	}{{"", false, 200}, {"image.onnx", true, 503}, {"text.onnx", true, 503}, {"image.onnx", false, 503}, {"text.onnx", false, 200}} {
		if c.graph != "" {
			s.stalled(s.serves(), c.graph, c.stalled)
		}
		if got := ready(); got != c.want {
			t.Errorf("%s stalled %t: %d, want %d", c.graph, c.stalled, got, c.want)
		}
	}
	log.await(t, "the device does not answer")
	log.await(t, "the device answers again")
}

// TestDevice: without CUDA the encoders run on the CPU and the log says so once; a process that was
// told to use CUDA does not start.
func TestDevice(t *testing.T) {
	var log syncBuffer
	s := start(t, t.TempDir(), &log)
	s.stop(t)
	if n := strings.Count(log.text.String(), "the encoders run on the CPU: CUDA cannot be used"); n != 1 {
		t.Errorf("%d lines say that the CPU is used:\n%s", n, &log.text)
	}
	c := s.conf
	c.Embed.Device = "cuda"
	_, err := Start(t.Context(), c, Options{Version: "test", Log: zerolog.Nop()})
	if fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), "CUDA was asked for and cannot be used") {
		t.Errorf("started with CUDA: %v", err)
	}
}

// syncBuffer is a log that a test waits on.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{}
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.news != nil {
		close(b.news)
		b.news = nil
	}
	return b.text.Write(p)
}

// await returns when the log holds text.
func (b *syncBuffer) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		if strings.Contains(b.text.String(), text) {
			b.mu.Unlock()
			return
		}
		if b.news == nil {
			b.news = make(chan struct{})
		}
		news := b.news
		b.mu.Unlock()
		select {
		case <-news:
		case <-timeout:
			t.Fatalf("the log does not say %q:\n%s", text, &b.text)
		}
	}
}
