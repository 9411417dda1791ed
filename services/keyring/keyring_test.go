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
	if _, err := r.Key("north"); fault.KindOf(err) != fault.Corrupt || fault.ReasonOf(err) != ReasonKey || !strings.Contains(fault.Detail(err), "tenant north is damaged: "+filepath.Join(dir, "north.key")) {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "east.key"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Key("east"); fault.KindOf(err) != fault.Transient || fault.ReasonOf(err) != ReasonKey || !strings.Contains(fault.Detail(err), "tenant east cannot be read") {
		t.Errorf("what cannot be read: %v", err)
	}
	if err := inaccessible("west", os.ErrPermission); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("what may not be read: %v", err)
	}
	if _, err := r.Lookup("south"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "south.key")); err == nil {
		t.Error("asking made a key")
	}
}

func TestForget(t *testing.T) {
	r, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key := func() string {
		k, err := r.Key("north")
		if err != nil {
			t.Fatal(err)
		}
		return k.Fingerprint()
	}
	first := key()
	if err := os.WriteFile(filepath.Join(r.dir, File("north")), []byte(strings.Repeat("01", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	if key() != first {
		t.Error("a key in use was read again")
	}
	if r.Forget("north"); key() == first {
		t.Error("a key was not forgotten")
	}
}
