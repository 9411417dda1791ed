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

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/blob/blobtest"
)

func TestDirectory(t *testing.T) {
	var dir string // of the store opened last
	blobtest.Run(t, blobtest.Harness{
		Open: func(t *testing.T, maxBytes uint64) blob.Store {
			dir = t.TempDir()
			return openDirectory(t, dir, maxBytes)
		},
		Damage: func(t *testing.T, name string) {
			file := filepath.Join(dir, "objects", name[:2], name)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			data[0] ^= 1
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	})
}

func TestJetStream(t *testing.T) {
	var bucket jetstream.ObjectStore
	var stream jetstream.Stream
	var stop func()
	blobtest.Run(t, blobtest.Harness{
		Open: func(t *testing.T, maxBytes uint64) blob.Store {
			bucket, stream, stop = startBucket(t)
			return blob.NewJetStream(bucket, stream, maxBytes)
		},
		Damage: func(t *testing.T, name string) {
			data, err := bucket.GetBytes(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			data[0] ^= 1
			if _, err := bucket.PutBytes(t.Context(), name, data); err != nil {
				t.Fatal(err)
			}
		},
		Stop: func(*testing.T) { stop() },
	})
}

func TestDirectoryMends(t *testing.T) {
	dir := t.TempDir()
	s := openDirectory(t, dir, 100)
	ref, err := s.Put(t.Context(), []byte("film"))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(ref.Uri, "objects:")
	file := filepath.Join(dir, "objects", name[:2], name)
	for _, leftover := range []string{file, file + ".tmpX"} {
		if err := os.WriteFile(leftover, []byte("f"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), []byte("film")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), ref); err != nil {
		t.Error("putting again does not mend a damaged object:", err)
	}
	if err := s.Delete(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 0 {
		t.Errorf("delete leaves %v %v", left, err)
	}
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
	store := openDirectory(t, filepath.Join(base, "store"), 100)
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

func openDirectory(t *testing.T, dir string, maxBytes uint64) *blob.Directory {
	t.Helper()
	d, err := blob.OpenDirectory(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
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
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not answer")
	}
	nc, err := nats.Connect(s.ClientURL(), nats.Timeout(5*time.Second), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
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
