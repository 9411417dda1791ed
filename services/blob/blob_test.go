package blob_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
)

func TestJetStream(t *testing.T) {
	for name, c := range map[string]func(*testing.T){
		"round trip": roundTrip, "same bytes same ref": twice, "missing": missing, "delete": deletes,
		"limit": limit, "malformed refs": malformed, "mismatch": mismatch, "damage": damage,
		"concurrent": concurrent, "canceled": canceled, "stopped": stopped,
	} {
		t.Run(name, c)
	}
}

// store is an object store with what lies under it.
type store struct {
	*blob.JetStream
	bucket jetstream.ObjectStore
	stop   func()
}

// open returns an empty store that takes objects of up to maxBytes.
func open(t *testing.T, maxBytes uint64) store {
	t.Helper()
	bucket, stream, stop := startBucket(t)
	return store{blob.NewJetStream(bucket, stream, maxBytes), bucket, stop}
}

const limitBytes = 4 << 20

func roundTrip(t *testing.T) {
	s := open(t, limitBytes)
	for _, size := range []int{1, 131, 128 << 10, 128<<10 + 1, 3 << 20, limitBytes, 0} {
		data := bytes.Repeat([]byte{byte(size), 7, byte(size >> 8)}, size/3+1)[:size]
		ref := put(t, s, data)
		if ref.Size != uint64(size) || len(ref.Sha256) != 32 {
			t.Errorf("%d bytes have the reference %v", size, ref)
		}
		got, err := s.Get(t.Context(), ref)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d: %v", size, len(got), err)
		}
		n, err := s.Stat(t.Context(), ref)
		if err != nil || n != uint64(size) {
			t.Errorf("Stat of %d bytes: %d %v", size, n, err)
		}
		// What a sender that writes JSON by hand may leave out.
		if got, err := s.Get(t.Context(), &radstreamv1.ObjectRef{Uri: ref.Uri}); err != nil || !bytes.Equal(got, data) {
			t.Errorf("by uri alone: %v", err)
		}
	}
}

func twice(t *testing.T) {
	s := open(t, limitBytes)
	if a, b := put(t, s, []byte("film")), put(t, s, []byte("film")); !proto.Equal(a, b) {
		t.Errorf("%v and %v", a, b)
	}
}

func missing(t *testing.T) {
	ref := put(t, open(t, limitBytes), []byte("elsewhere"))
	s := open(t, limitBytes)
	_, err := s.Get(t.Context(), ref)
	want(t, err, fault.Invalid, blob.ReasonMissing)
	_, err = s.Stat(t.Context(), ref)
	want(t, err, fault.Invalid, blob.ReasonMissing)
}

func deletes(t *testing.T) {
	s := open(t, limitBytes)
	ref, other := put(t, s, []byte("film")), put(t, s, []byte("other"))
	for range 2 { // the second finds nothing, which is no error
		if err := s.Delete(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Get(t.Context(), ref)
	want(t, err, fault.Invalid, blob.ReasonMissing)
	if _, err := s.Get(t.Context(), other); err != nil {
		t.Error("another object went as well:", err)
	}
	put(t, s, []byte("film"))
	if _, err := s.Get(t.Context(), ref); err != nil {
		t.Error("put again after delete:", err)
	}
}

func limit(t *testing.T) {
	s := open(t, 10)
	put(t, s, make([]byte, 10))
	_, err := s.Put(t.Context(), make([]byte, 11))
	want(t, err, fault.Unsupported, blob.ReasonTooLarge)
}

func malformed(t *testing.T) {
	s := open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	for uri, c := range map[string]struct {
		kind   fault.Kind
		reason fault.Reason
	}{
		"":                       {fault.Unsupported, blob.ReasonNotAllowed},
		"file:/etc/passwd":       {fault.Unsupported, blob.ReasonNotAllowed},
		"http://example.org/a":   {fault.Unsupported, blob.ReasonNotAllowed},
		"objects:":               {fault.Invalid, blob.ReasonMalformed},
		"objects:ab":             {fault.Invalid, blob.ReasonMalformed},
		"objects:../../etc":      {fault.Invalid, blob.ReasonMalformed},
		ref.Uri + "00":           {fault.Invalid, blob.ReasonMalformed},
		upper(ref.Uri):           {fault.Invalid, blob.ReasonMalformed},
		ref.Uri[:len(ref.Uri)-2]: {fault.Invalid, blob.ReasonMalformed},
	} {
		bad := &radstreamv1.ObjectRef{Uri: uri}
		_, err := s.Get(t.Context(), bad)
		want(t, err, c.kind, c.reason)
		_, err = s.Stat(t.Context(), bad)
		want(t, err, c.kind, c.reason)
		want(t, s.Delete(t.Context(), bad), c.kind, c.reason)
	}
}

func mismatch(t *testing.T) {
	s := open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	for _, bad := range []*radstreamv1.ObjectRef{
		{Uri: ref.Uri, Size: 4, Sha256: make([]byte, 32)},
		{Uri: ref.Uri, Size: 4, Sha256: ref.Sha256[:31]},
		{Uri: ref.Uri, Size: 5, Sha256: ref.Sha256},
	} {
		_, err := s.Get(t.Context(), bad)
		want(t, err, fault.Invalid, blob.ReasonMismatch)
	}
}

func damage(t *testing.T) {
	s := open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	_, err := s.bucket.PutBytes(t.Context(), ref.Uri[len("objects:"):], []byte("blur"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), ref)
	want(t, err, fault.Corrupt, "")
}

func concurrent(t *testing.T) {
	s := open(t, limitBytes)
	data := bytes.Repeat([]byte("film"), 100_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ref, err := s.Put(t.Context(), data)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := s.Get(t.Context(), ref); err != nil || !bytes.Equal(got, data) {
				t.Error("while others put the same bytes:", err)
			}
		})
	}
	wg.Wait()
}

func canceled(t *testing.T) {
	s := open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, ref)
	want(t, err, fault.Canceled, "")
	_, err = s.Put(ctx, []byte("other"))
	want(t, err, fault.Canceled, "")
}

func stopped(t *testing.T) {
	s := open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	s.stop()
	_, err := s.Get(t.Context(), ref)
	want(t, err, fault.Unavailable, "")
	_, err = s.Put(t.Context(), []byte("other"))
	want(t, err, fault.Unavailable, "")
}

func put(t *testing.T, s store, data []byte) *radstreamv1.ObjectRef {
	t.Helper()
	ref, err := s.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func want(t *testing.T, err error, kind fault.Kind, reason fault.Reason) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || fault.ReasonOf(err) != reason {
		t.Errorf("want %v %q, got %v %q: %v", kind, reason, fault.KindOf(err), fault.ReasonOf(err), err)
	}
}

// upper writes the hash of an object in capitals.
func upper(uri string) string {
	const scheme = "objects:"
	return scheme + string(bytes.ToUpper([]byte(uri[len(scheme):])))
}

func TestReader(t *testing.T) {
	base := t.TempDir()
	root, outside := filepath.Join(base, "allowed"), filepath.Join(base, "allowed-not")
	write := func(path, text string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(root, "deep", "a.dcm"), "film")
	write(filepath.Join(outside, "secret"), "film")
	for link, to := range map[string]string{
		"inside": "deep/a.dcm", "escape": "../allowed-not/secret", "absolute": filepath.Join(outside, "secret"), "folder": outside, "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	store := open(t, 100).JetStream
	stored, err := store.Put(t.Context(), []byte("stored"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := blob.NewReader(store, []string{root}, 100)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if got, err := r.Get(t.Context(), stored); err != nil || string(got) != "stored" {
		t.Errorf("from the store: %q %v", got, err)
	}

	sum := sha256.Sum256([]byte("film"))
	for _, c := range []struct {
		path   string
		size   uint64
		sha    []byte
		kind   fault.Kind
		reason fault.Reason
	}{
		{path: root + "/deep/a.dcm", size: 4, sha: sum[:]},
		{path: "//" + root + "/deep/a.dcm", sha: sum[:]},
		{path: root + "/other/../deep/a.dcm", sha: sum[:]},
		{path: root + "/inside", sha: sum[:]},
		{root + "/escape", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{root + "/absolute", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{root + "/folder/secret", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{root + "/loop", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{root + "/pipe", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{root + "/deep", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{root, 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{root + "/../allowed-not/secret", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{outside + "/secret", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{"deep/a.dcm", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{"", 0, sum[:], fault.Unsupported, blob.ReasonNotAllowed},
		{root + "/none", 0, sum[:], fault.Invalid, blob.ReasonMissing},
		{root + "/deep/a.dcm", 5, sum[:], fault.Invalid, blob.ReasonMismatch},
		{root + "/deep/a.dcm", 4, make([]byte, 32), fault.Invalid, blob.ReasonMismatch},
		{root + "/deep/a.dcm", 4, nil, fault.Invalid, blob.ReasonMalformed},
	} {
		got, err := r.Get(t.Context(), &radstreamv1.ObjectRef{Uri: "file:" + c.path, Size: c.size, Sha256: c.sha})
		if c.reason == "" {
			if err != nil || string(got) != "film" {
				t.Errorf("%s: %q %v", c.path, got, err)
			}
			continue
		}
		if err == nil || fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v %v %v", c.path, fault.KindOf(err), fault.ReasonOf(err), err)
		}
		if err != nil && strings.Contains(err.Error(), base) {
			t.Errorf("the error names the path: %v", err)
		}
	}

	write(filepath.Join(root, "large"), strings.Repeat("x", 101))
	_, err = r.Get(t.Context(), &radstreamv1.ObjectRef{Uri: "file:" + root + "/large", Sha256: sum[:]})
	if fault.ReasonOf(err) != blob.ReasonTooLarge {
		t.Error("a file over the limit:", err)
	}
	_, err = r.Get(t.Context(), &radstreamv1.ObjectRef{Uri: "https://example.org"})
	if fault.ReasonOf(err) != blob.ReasonNotAllowed {
		t.Error("another scheme:", err)
	}
	for _, bad := range []string{"relative", filepath.Join(base, "none")} {
		if _, err := blob.NewReader(store, []string{root, bad}, 100); fault.KindOf(err) != fault.Usage {
			t.Errorf("root %s: %v", bad, err)
		}
	}
}

// TestIncompleteObject: a server that died in the middle of a Put has the description of an
// object without all of its pieces.
func TestIncompleteObject(t *testing.T) {
	bucket, stream, _ := startBucket(t)
	store := blob.NewJetStream(bucket, stream, 1<<20)
	data := bytes.Repeat([]byte("film"), 100_000) // several pieces
	ref, err := store.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	info, err := bucket.GetInfo(t.Context(), strings.TrimPrefix(ref.Uri, "objects:"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject("$O.objects.C."+info.NUID), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), ref); fault.KindOf(err) != fault.NotFound || fault.ReasonOf(err) != blob.ReasonIncomplete {
		t.Errorf("get of an incomplete object: %v", err)
	}
	if _, err := store.Put(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(t.Context(), ref); err != nil || !bytes.Equal(got, data) {
		t.Errorf("putting again does not mend it: %d bytes, %v", len(got), err)
	}
}

// TestReplacedObject: a Put that began before the object was there replaces it, pieces
// and all, under who reads it.
func TestReplacedObject(t *testing.T) {
	bucket, stream, _ := startBucket(t)
	store := blob.NewJetStream(bucket, stream, 1<<20)
	data := bytes.Repeat([]byte("film"), 100_000)
	ref, err := store.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for range 50 {
			if _, err := bucket.PutBytes(t.Context(), strings.TrimPrefix(ref.Uri, "objects:"), data); err != nil {
				t.Error(err)
			}
		}
	})
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		if got, err := store.Get(t.Context(), ref); err != nil || !bytes.Equal(got, data) {
			t.Error("while it was replaced:", err)
			break
		}
	}
	wg.Wait()
}

// startBucket runs a server on a free port and makes an Object Store on it.
func startBucket(t *testing.T) (jetstream.ObjectStore, jetstream.Stream, func()) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not answer")
	}
	nc, err := nats.Connect(s.ClientURL(), nats.Timeout(time.Minute), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bucket, err := js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "objects"})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, "OBJ_objects")
	if err != nil {
		t.Fatal(err)
	}
	return bucket, stream, func() { s.Shutdown(); s.WaitForShutdown() }
}
