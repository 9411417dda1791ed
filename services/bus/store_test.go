package bus_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
)

func TestKV(t *testing.T) {
	dir := t.TempDir()
	b := bustest.Connect(t, serve(t, dir).ClientURL())
	ctx := t.Context()
	if _, err := b.KV(ctx, bus.BucketIdentity, 0); err != nil {
		t.Fatal(err)
	}
	kv, err := b.KV(ctx, bus.BucketIdentity, 0) // now it exists
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := kv.Get(ctx, "t.k"); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("missing: %v", err)
	}
	if keys, err := kv.Keys(ctx); err != nil || len(keys) != 0 {
		t.Fatalf("keys: %v %v", keys, err)
	}
	rev, err := kv.Update(ctx, "t.k", []byte("SECRETVALUE"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(ctx, "t.k", []byte("x"), 0); fault.KindOf(err) != fault.Conflict {
		t.Fatalf("create twice: %v", err)
	}
	if _, err := kv.Update(ctx, "t.k", []byte("x"), rev+9); fault.KindOf(err) != fault.Conflict {
		t.Fatalf("update of another revision: %v", err)
	}
	if v, got, err := kv.Get(ctx, "t.k"); err != nil || string(v) != "SECRETVALUE" || got != rev {
		t.Fatalf("get: %s %d %v", v, got, err)
	}
	if !onDisk(t, dir, "SECRETVALUE") {
		t.Fatal("the value is not on disk, so the check below would mean nothing")
	}
	for range 2 {
		if _, err := kv.Erase(ctx, "t.k"); err != nil {
			t.Fatal(err)
		}
	}
	if onDisk(t, dir, "SECRETVALUE") {
		t.Error("an erased value is still on disk")
	}
	if _, err := kv.Put(ctx, "t.k", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if keys, err := kv.Keys(ctx); err != nil || len(keys) != 1 {
		t.Fatalf("keys: %v %v", keys, err)
	}
	if err := kv.Delete(ctx, "t.k"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := kv.Get(ctx, "t.k"); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("deleted: %v", err)
	}
}

// TestKeysAreWhole: a list of keys that was broken off is an error, and no list of some of them.
func TestKeysAreWhole(t *testing.T) {
	const all = 400
	url := bustest.Serve(t)
	direct := bustest.Connect(t, url)
	kv, err := direct.KV(t.Context(), bus.BucketIdentity, 0)
	for i := 0; i < all && err == nil; i++ {
		_, err = kv.Put(t.Context(), "t."+strconv.Itoa(i), nil)
	}
	if err == nil {
		err = kv.Delete(t.Context(), "t.7")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []func(context.Context) ([]string, error){kv.Keys, func(ctx context.Context) ([]string, error) { return kv.Matching(ctx, "t.*") }} {
		if keys, err := list(t.Context()); err != nil || len(keys) != all-1 || slices.Contains(keys, "t.7") || !slices.IsSorted(keys) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	}
	for end, broken := range map[string]func(*bus.Bus, context.CancelFunc){
		"closed":   func(b *bus.Bus, _ context.CancelFunc) { b.Close() },
		"canceled": func(_ *bus.Bus, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(end, func(t *testing.T) {
			w := newWire(t, strings.TrimPrefix(url, "nats://"))
			b := bustest.Connect(t, "nats://"+w.Addr().String())
			kv, err := b.KV(t.Context(), bus.BucketIdentity, 0)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w.hush(16 << 10)
			go func() { <-w.silent; broken(b, cancel) }()
			if keys, err := kv.Keys(ctx); err == nil {
				t.Errorf("%d keys of %d, without an error", len(keys), all-1)
			}
		})
	}
}

// onDisk says whether any file below dir holds text.
func onDisk(t *testing.T, dir, text string) bool {
	t.Helper()
	found := false
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || strings.Contains(string(data), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestObjectStore(t *testing.T) {
	b := open(t)
	for range 2 {
		o, _, err := b.ObjectStore(t.Context(), "objects")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.PutBytes(t.Context(), "x", []byte("data")); err != nil {
			t.Fatal(err)
		}
	}
}
