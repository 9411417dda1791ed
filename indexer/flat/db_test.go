package flat

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
)

const testDim = 4

func testConfig() Config {
	return Config{map[string]VectorConfig{"image": {testDim, Cosine}, "text": {testDim, Dot}}}
}

func open(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(dir, Options{Sync: SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func obj(t testing.TB, ms ...Member) Object {
	t.Helper()
	o, err := NewObject(ms)
	check(t, err)
	return o
}

func numbered(t testing.TB, n uint64, rng *rand.Rand) Point {
	v := make([]float32, testDim)
	for i := range v {
		v[i] = rng.Float32() + 0.1
	}
	return Point{ID: NumID(n), Payload: obj(t, Member{"n", int64(n)}, Member{"s", fmt.Sprint("value ", n)}), Vectors: map[string][]float32{"image": v}}
}

// seed writes n points, one record each, and returns the size of the log after each.
func seed(t testing.TB, dir string, n int) (sizes []int64) {
	db := open(t, dir)
	check(t, db.CreateCollection("c", testConfig()))
	sizes = append(sizes, db.log.size)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		_, err := db.Upsert("c", []Point{numbered(t, uint64(i), rng)}, UpsertOptions{})
		check(t, err)
		sizes = append(sizes, db.log.size)
	}
	check(t, db.Close())
	return sizes
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	check(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

// TestTornTail cuts the log at every byte of its last records: what was whole stays, the
// rest is gone, and the store takes writes again.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	sizes := seed(t, dir, 5)
	for cut := sizes[2]; cut <= sizes[5]; cut++ {
		whole := 0
		for i, s := range sizes {
			if s <= cut {
				whole = i
			}
		}
		d := copyDir(t, dir)
		check(t, os.Truncate(walPath(d, 1), cut))
		for round := range 2 {
			db, err := Open(d, Options{Sync: SyncNever})
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if n, _ := db.Count("c", nil); n != whole+round {
				t.Fatalf("cut at %d, opened %d times: %d points, want %d", cut, round+1, n, whole+round)
			}
			_, err = db.Upsert("c", []Point{numbered(t, 100, rand.New(rand.NewPCG(3, 3)))}, UpsertOptions{})
			check(t, err)
			check(t, db.Close())
		}
	}
}

// TestTornHead cuts the log inside its file header, before anything was acknowledged.
func TestTornHead(t *testing.T) {
	dir := t.TempDir()
	seed(t, dir, 0)
	for cut := range int64(fileHeader) {
		d := copyDir(t, dir)
		check(t, os.Truncate(walPath(d, 1), cut))
		db := open(t, d)
		check(t, db.CreateCollection("new", testConfig()))
		check(t, db.Close())
		if got := open(t, d).Collections(); len(got) != 1 || got[0] != "new" {
			t.Fatalf("cut at %d: collections %v", cut, got)
		}
	}
}

// TestLostSectors: the length of the file reached the disk, its last data did not.
func TestLostSectors(t *testing.T) {
	dir := t.TempDir()
	sizes := seed(t, dir, 5)
	for _, from := range []int64{sizes[5], sizes[4], sizes[4] + 3, sizes[4] + frameHeader + 5} {
		d := copyDir(t, dir)
		check(t, os.Truncate(walPath(d, 1), from))
		check(t, os.Truncate(walPath(d, 1), sizes[5]+2*sector))
		want := 4
		if from == sizes[5] {
			want = 5
		}
		if n, err := open(t, d).Count("c", nil); err != nil || n != want {
			t.Errorf("zeros from %d: %d points, %v; want %d", from, n, err, want)
		}
	}
}

// TestBitFlip flips one bit in every byte of the log and of a snapshot: each is found.
func TestBitFlip(t *testing.T) {
	dir := t.TempDir()
	seed(t, dir, 5)
	snapped := copyDir(t, dir)
	db := open(t, snapped)
	check(t, db.Compact())
	check(t, db.Close())
	for _, c := range []struct{ dir, file string }{{dir, walPath("", 1)}, {snapped, snapPath("", 1)}} {
		raw, err := os.ReadFile(filepath.Join(c.dir, c.file))
		check(t, err)
		for i := range raw {
			d := copyDir(t, c.dir)
			raw[i] ^= 1 << (i % 8)
			check(t, os.WriteFile(filepath.Join(d, c.file), raw, 0o644))
			raw[i] ^= 1 << (i % 8)
			if db, err := Open(d, Options{}); fault.KindOf(err) != fault.Corrupt {
				if err == nil {
					db.Close()
				}
				t.Fatalf("%s: bit flipped at offset %d: error %v, want kind corrupt", c.file, i, err)
			}
		}
	}
}

// TestMissingFile: a log that is not there is damage, not an empty log.
func TestMissingFile(t *testing.T) {
	dir := t.TempDir()
	seed(t, dir, 3)
	db := open(t, dir)
	check(t, db.Compact())
	check(t, db.Close())
	for _, name := range []string{walPath("", 2), "FORMAT"} {
		d := copyDir(t, dir)
		check(t, os.Remove(filepath.Join(d, name)))
		if _, err := Open(d, Options{}); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("without %s: error %v, want kind corrupt", name, err)
		}
	}
	two := t.TempDir()
	seed(t, two, 3)
	db = open(t, two)
	_, _, err := db.rotate()
	check(t, err)
	check(t, db.Close())
	check(t, os.Remove(walPath(two, 1)))
	if _, err := Open(two, Options{}); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("without the first of two logs: error %v, want kind corrupt", err)
	}
}

func TestFormatAndLock(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := Open(dir, Options{}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("second open: %v, want kind unavailable", err)
	}
	check(t, db.Close())
	check(t, os.WriteFile(filepath.Join(dir, "FORMAT"), []byte("radstream-flat 2\n"), 0o644))
	if _, err := Open(dir, Options{}); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("newer format: %v, want kind unsupported", err)
	}
	if err := db.CreateCollection("c", testConfig()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("write after Close: %v, want kind unavailable", err)
	}
}

// TestUnfinishedSnapshot: a crash during compaction leaves a temporary file, or a snapshot
// beside the logs it replaces; both are cleared.
func TestUnfinishedSnapshot(t *testing.T) {
	dir := t.TempDir()
	seed(t, dir, 5)
	before := copyDir(t, dir)
	db := open(t, dir)
	check(t, db.Compact())
	check(t, db.Close())
	raw, err := os.ReadFile(walPath(before, 1))
	check(t, err)
	check(t, os.WriteFile(walPath(dir, 1), raw, 0o644))
	check(t, os.WriteFile(snapPath(dir, 2)+".tmp", raw, 0o644))
	if n, err := open(t, dir).Count("c", nil); err != nil || n != 5 {
		t.Errorf("%d points, %v; want 5", n, err)
	}
	for _, name := range []string{walPath(dir, 1), snapPath(dir, 2) + ".tmp"} {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", filepath.Base(name))
		}
	}
}

// TestCompactWhileWriting: whatever a snapshot catches halfway is mended by the log.
func TestCompactWhileWriting(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, Options{Sync: SyncNever, CompactAt: 4096, OnCompactError: func(err error) { t.Error(err) }})
	check(t, err)
	check(t, db.CreateCollection("c", testConfig()))
	rng := rand.New(rand.NewPCG(5, 5))
	for i := range 3000 {
		p := numbered(t, uint64(rng.IntN(1500)), rng)
		p.Payload = obj(t, Member{"round", int64(i)})
		_, err := db.Upsert("c", []Point{p}, UpsertOptions{})
		check(t, err)
		if i%3 == 0 {
			check(t, db.Delete("c", Selector{IDs: []PointID{NumID(uint64(rng.IntN(1500)))}}))
		}
		if i == 1000 {
			check(t, db.UpdateAliases([]AliasAction{{To: "live", Collection: "c"}}))
			check(t, db.CreateIndex("c", "round", Index{Type: IntegerIndex}))
		}
	}
	want, _, err := db.Scroll("c", Scroll{Limit: 5000, Vectors: VectorSelection{All: true}})
	check(t, err)
	check(t, db.Close())
	db = open(t, dir)
	if db.snapGen == 0 {
		t.Error("no compaction ran")
	}
	got, _, err := db.Scroll("live", Scroll{Limit: 5000, Vectors: VectorSelection{All: true}})
	check(t, err)
	compareRecords(t, want, got)
	if info, _ := db.Info("c"); info.Indexes["round"].Type != IntegerIndex {
		t.Error("the index is gone")
	}
}

// TestFailedSync: a write whose sync failed is not acknowledged, and nothing after it is.
func TestFailedSync(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	check(t, db.CreateCollection("c", testConfig()))
	broken := errors.New("disk on fire")
	db.log.sync = func(*os.File) error { return broken }
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2 {
		_, err := db.Upsert("c", []Point{numbered(t, 1, rng)}, UpsertOptions{})
		if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, broken) {
			t.Fatalf("error %v, want the sync's with kind unavailable", err)
		}
		db.log.sync = fdatasync // too late
	}
	if err := db.Close(); err == nil {
		t.Error("Close hid the failure")
	}
	check(t, open(t, dir).DeleteIndex("c", "x"))
}

// TestGroupCommit: writers that wait together share a sync.
func TestGroupCommit(t *testing.T) {
	db := open(t, t.TempDir())
	check(t, db.CreateCollection("c", testConfig()))
	const writers = 32
	start := db.log.lsn
	var syncs atomic.Int32
	db.log.sync = func(*os.File) error {
		if syncs.Add(1) > 1 {
			return nil
		}
		for { // the first sync takes until everybody has written
			db.log.mu.Lock()
			all := db.log.written == start+writers
			db.log.mu.Unlock()
			if all {
				return nil
			}
			runtime.Gosched()
		}
	}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			_, err := db.Upsert("c", []Point{{ID: NumID(uint64(i))}}, UpsertOptions{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d syncs for %d writers, want 2", n, writers)
	}
}
