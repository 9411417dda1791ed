package flat

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
)

func twoPoints(v ...float32) []Point {
	return []Point{{ID: NumID(1), Vectors: map[string][]float32{"": v}}, {ID: NumID(2), Vectors: map[string][]float32{"": v}}}
}

// TestArena: what is mapped follows the collections, has no name, and is given back.
func TestArena(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, Options{})
	check(t, err)
	mapped := func(want int64) {
		t.Helper()
		if got := db.Mapped(); got != want {
			t.Errorf("%d bytes are mapped, want %d", got, want)
		}
	}
	for _, name := range []string{"a", "b"} {
		check(t, db.CreateCollection(name, Config{map[string]VectorConfig{"": {8, Dot}}}))
		_, err = db.Upsert(name, twoPoints(1, 2, 3, 4, 5, 6, 7, 8), UpsertOptions{})
		check(t, err)
	}
	const chunk = 4 * 8 * chunkSlots
	mapped(2 * chunk)
	found, err := db.collection("a")
	check(t, err)
	_, err = db.DeleteCollection("a")
	check(t, err)
	mapped(chunk)
	if slots := found.rlockSorted(); len(slots) != 0 {
		t.Errorf("%d points are left for who found the collection before", len(slots))
	}
	found.mu.RUnlock()
	names, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	if check(t, err); len(names) > 0 {
		t.Error(names)
	}
	check(t, db.Close())
	mapped(0)
}

// TestDeletedVectorIsZeroed: nothing of a deleted point's vector stays in memory that the disk has, too.
func TestDeletedVectorIsZeroed(t *testing.T) {
	db, err := Open(t.TempDir(), Options{})
	check(t, err)
	defer db.Close()
	check(t, db.CreateCollection("a", Config{map[string]VectorConfig{"": {2, Dot}}}))
	_, err = db.Upsert("a", twoPoints(3, 4), UpsertOptions{})
	check(t, err)
	check(t, db.Delete("a", Selector{IDs: []PointID{NumID(1)}}))
	c, err := db.collection("a")
	check(t, err)
	if got := c.columns[""].chunks[0].floats[:4]; got[0] != 0 || got[1] != 0 || got[2] != 3 {
		t.Errorf("the chunk begins with %v", got)
	}
}

// TestNoRoom: where the disk has no room for a vector the write is refused and leaves nothing; the
// next is taken when there is room.
func TestNoRoom(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, Options{})
	check(t, err)
	check(t, db.CreateCollection("a", Config{map[string]VectorConfig{"": {2, Dot}}}))
	db.arena.dir = filepath.Join(dir, "gone")
	if _, err := db.Upsert("a", twoPoints(3, 4), UpsertOptions{}); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a write without room: %v", err)
	}
	if n, err := db.Count("a", nil); err != nil || n != 0 {
		t.Errorf("%d points of it are left, %v", n, err)
	}
	db.arena.dir = dir
	_, err = db.Upsert("a", twoPoints(3, 4), UpsertOptions{})
	check(t, err)
	check(t, db.Close())
	again := newDB(dir, Options{})
	again.arena = &arena{dir: filepath.Join(dir, "gone")}
	if err := again.recover(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("no room at the start is told as %v", err)
	}
	check(t, again.release())
	db, err = Open(dir, Options{})
	check(t, err)
	defer db.Close()
	if n, err := db.Count("a", nil); err != nil || n != 2 {
		t.Errorf("%d points, %v", n, err)
	}
}
