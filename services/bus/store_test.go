package bus_test

import (
	"os"
	"path/filepath"
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
