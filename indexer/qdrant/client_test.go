package qdrant

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/indexer/qdrantd"
	"github.com/radstream/radstream/indexer/storetest"
	"github.com/radstream/radstream/schemas/fault"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) indexer.Store { return newEmbedded(t) })
}

// embedded is a client of a server over a temporary directory, on one port for its life.
type embedded struct {
	*Client
	t    *testing.T
	dir  string
	addr string
	stop func()
}

func newEmbedded(t *testing.T) *embedded {
	t.Helper()
	e := &embedded{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	e.start()
	var err error
	if e.Client, err = Dial(e.addr, "", false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.stop(); e.Close() })
	return e
}

func (e *embedded) start() {
	e.t.Helper()
	db, err := flat.Open(e.dir, flat.Options{})
	if err != nil {
		e.t.Fatal(err)
	}
	l, err := net.Listen("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	e.addr = l.Addr().String()
	srv := qdrantd.New(db)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	e.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		srv.Stop(ctx)
		if err := errors.Join(<-done, db.Close()); err != nil {
			e.t.Error(err)
		}
	}
}

// Restart implements storetest.Restarter.
func (e *embedded) Restart() {
	e.stop()
	e.start()
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	c, err := Dial(addr, "", false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var delays []time.Duration
	c.wait = func(_ context.Context, d time.Duration) error {
		delays = append(delays, d)
		return nil
	}
	_, err = c.Count(t.Context(), indexer.CountQuery{Collection: "x"})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("error %v, want kind unavailable", err)
	}
	if len(delays) != attempts-1 || delays[0] != firstDelay || delays[3] != 8*firstDelay {
		t.Errorf("waited %v between attempts", delays)
	}
}

func TestClassify(t *testing.T) {
	for code, want := range map[codes.Code]fault.Kind{
		codes.InvalidArgument: fault.Invalid, codes.NotFound: fault.NotFound, codes.AlreadyExists: fault.Conflict,
		codes.Unavailable: fault.Unavailable, codes.DeadlineExceeded: fault.Transient, codes.ResourceExhausted: fault.Transient,
		codes.Canceled: fault.Canceled, codes.Unimplemented: fault.Unsupported, codes.DataLoss: fault.Corrupt,
		codes.PermissionDenied: fault.Usage, codes.Internal: fault.Transient, codes.Unknown: fault.Transient,
	} {
		if got := fault.KindOf(classify("op", status.Error(code, "x"))); got != want {
			t.Errorf("%s: kind %s, want %s", code, got, want)
		}
	}
	if classify("op", nil) != nil {
		t.Error("no error became one")
	}
}

// TestNotApplied: a server that answers before it has applied a write, as Qdrant does after its
// timeout, has not refused it for what is there.
func TestNotApplied(t *testing.T) {
	e := newEmbedded(t)
	ctx := t.Context()
	spec := indexer.Spec{Collection: indexer.CollectionFor("one"), Vectors: map[indexer.VectorName]int{indexer.Image: 2}}
	if err := e.Ensure(ctx, spec); err != nil {
		t.Fatal(err)
	}
	p := indexer.Point{ID: indexer.NewPointID("t", "s"), Tenant: "t", StudyKey: "s", Rev: 2, LabelSet: 1}
	if _, err := e.Upsert(ctx, spec.Collection, []indexer.Point{p}); err != nil {
		t.Fatal(err)
	}
	late, err := qdrant.NewClient(&qdrant.Config{Host: "127.0.0.1", Port: portOf(t, e.addr), SkipCompatibilityCheck: true, GrpcOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
			if r, write := reply.(*qdrant.PointsOperationResponse); write {
				r.Result = &qdrant.UpdateResult{Status: qdrant.UpdateStatus_WaitTimeout}
				return nil
			}
			return call(ctx, method, req, reply, c, o...)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{conn: late, wait: wait}
	defer c.Close()
	for name, next := range map[string]func(*indexer.Point){
		"revision": func(p *indexer.Point) { p.Rev++ }, "label set": func(p *indexer.Point) { p.LabelSet++ }, "erased": func(p *indexer.Point) { *p = indexer.NewTombstone("t", "s") },
	} {
		newer := p
		next(&newer)
		if r, err := c.Upsert(ctx, spec.Collection, []indexer.Point{newer}); fault.KindOf(err) != fault.Transient || err == nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if err := c.Erase(ctx, []indexer.Point{indexer.NewTombstone("t", "s")}); fault.KindOf(err) != fault.Transient || err == nil {
		t.Error("erased everywhere:", err)
	}
	p.Rev--
	if r, err := c.Upsert(ctx, spec.Collection, []indexer.Point{p}); err != nil || r[0].Outcome != indexer.Refused || r[0].Rev != 2 {
		t.Errorf("an older one: %+v, %v", r, err)
	}
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	port, bad := strconv.Atoi(text)
	if err := errors.Join(err, bad); err != nil {
		t.Fatal(err)
	}
	return port
}

func TestCatalog(t *testing.T) {
	e := newEmbedded(t)
	ctx := t.Context()
	for _, name := range []string{"one", "two"} {
		if err := e.Ensure(ctx, indexer.Spec{Collection: name, Alias: "live", Vectors: map[indexer.VectorName]int{indexer.Image: 2}}); err != nil {
			t.Fatal(err)
		}
	}
	p := indexer.Point{ID: indexer.NewPointID("t", "s"), Tenant: "t", StudyKey: "s", Rev: 1}
	if _, err := e.Upsert(ctx, "live", []indexer.Point{p, indexer.NewTombstone("t", "gone")}); err != nil {
		t.Fatal(err)
	}
	var seen int
	for from := (*indexer.PointID)(nil); ; {
		page, next, err := e.Scan(ctx, "one", from, 1)
		if err != nil {
			t.Fatal(err)
		}
		if seen += len(page); next == nil {
			break
		}
		from = next
	}
	if seen != 2 {
		t.Errorf("scan saw %d points, want 2", seen)
	}
	if err := e.SwitchAlias(ctx, "live", "two"); err != nil {
		t.Fatal(err)
	}
	if got, err := e.AliasTarget(ctx, "live"); err != nil || got != "two" {
		t.Errorf("alias points at %q, %v", got, err)
	}
	if err := e.Drop(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	if got, err := e.AliasTarget(ctx, "live"); err != nil || got != "" {
		t.Errorf("alias of a dropped collection points at %q, %v", got, err)
	}
}

// TestErase: tombstones go into every collection of studies and into no other, and the embedded
// server's files then hold nothing of what they replaced.
func TestErase(t *testing.T) {
	e := newEmbedded(t)
	ctx := t.Context()
	p := indexer.Point{ID: indexer.NewPointID("t", "QXERASED"), Tenant: "t", StudyKey: "QXERASED", Rev: 1}
	kept := indexer.Point{ID: indexer.NewPointID("t", "QXKEPT"), Tenant: "t", StudyKey: "QXKEPT", Rev: 1}
	names := []string{indexer.CollectionFor("one"), indexer.CollectionFor("two"), "another"}
	for _, name := range names {
		if err := e.Ensure(ctx, indexer.Spec{Collection: name, Vectors: map[indexer.VectorName]int{indexer.Image: 2}}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Upsert(ctx, name, []indexer.Point{p, kept}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := e.Erase(ctx, []indexer.Point{indexer.NewTombstone("t", "QXERASED"), indexer.NewTombstone("t", "never there")}); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range names {
		got, err := e.Get(ctx, name, []indexer.PointID{p.ID, kept.ID})
		if err != nil || len(got) != 2 || got[0].Tombstone() != (i < 2) || got[1].Tombstone() {
			t.Errorf("collection %s holds %+v, %v", name, got, err)
		}
	}
	if err := e.Drop(ctx, "another"); err != nil {
		t.Fatal(err)
	}
	if err := e.Erase(ctx, nil); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(e.dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	if bytes.Contains(all, []byte("QXERASED")) || !bytes.Contains(all, []byte("QXKEPT")) {
		t.Errorf("of %d bytes on disk, erased %v, kept %v", len(all), bytes.Contains(all, []byte("QXERASED")), bytes.Contains(all, []byte("QXKEPT")))
	}
}
