package keyring

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

func TestKeysLast(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	pseudonym := func(tenant event.Tenant) event.StudyKey {
		r, err := Open(dir)
		if err != nil {
			t.Error(err)
			return ""
		}
		k, err := r.Key(tenant)
		if err != nil {
			t.Error(err)
		}
		return k.Study("2.25.1")
	}
	var wg sync.WaitGroup
	got := make([]event.StudyKey, 8)
	for i := range got { // as eight processes that meet the tenant at once
		wg.Go(func() { got[i] = pseudonym("north") })
	}
	wg.Wait()
	for _, k := range got {
		if k != got[0] {
			t.Fatalf("two secrets for one tenant: %s, %s", k, got[0])
		}
	}
	if pseudonym("south") == got[0] {
		t.Error("two tenants share a secret")
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("%d files, %v", len(files), err)
	}
	info, err := os.Stat(filepath.Join(dir, "north.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestCorruptKeyIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "north.key"), []byte("12"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Key("north"); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Detail(err), "north.key") {
		t.Errorf("got %v", err)
	}
	if _, err := r.Lookup("south"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "south.key")); err == nil {
		t.Error("asking made a key")
	}
}
