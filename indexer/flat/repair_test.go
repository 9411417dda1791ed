package flat

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
)

// TestRepair: a byte that turned, wherever it lies, costs the points of its own frame and no others, and is
// reported by file and offset; the damaged store stays as it is.
func TestRepair(t *testing.T) {
	const folded, logged = 4 * snapshotBatch, 40
	rng := rand.New(rand.NewPCG(1, 1))
	dir := filepath.Join(t.TempDir(), "index")
	db := open(t, dir)
	check(t, db.CreateCollection("c", testConfig()))
	check(t, db.UpdateAliases([]AliasAction{{To: "alias", Collection: "c"}}))
	var points []Point
	for n := range uint64(folded) {
		points = append(points, numbered(t, n, rng))
	}
	_, err := db.Upsert("c", points, UpsertOptions{})
	check(t, err)
	check(t, db.Compact())
	for n := range uint64(logged) {
		_, err := db.Upsert("c", []Point{numbered(t, folded+n, rng)}, UpsertOptions{})
		check(t, err)
	}
	snap, log := snapPath(dir, db.snapGen), walPath(dir, db.log.gen)
	check(t, db.Close())
	if s, err := Check(dir); err != nil || len(s.Damage) > 0 || s.Points["c"] != folded+logged {
		t.Fatalf("a whole store: %+v, %v", s, err)
	}

	for _, c := range []struct {
		file string
		most int // points of a frame
	}{{snap, snapshotBatch}, {log, 1}} {
		whole, err := os.ReadFile(c.file)
		check(t, err)
		for range 40 {
			at := fileHeader + rng.Int64N(int64(len(whole)-fileHeader))
			if c.file == snap && at < fileHeader+200 || c.file == log && at > int64(len(whole))-300 {
				continue // the catalogue is another matter; the end of the log is a torn write
			}
			bad := append([]byte(nil), whole...)
			bad[at] ^= 0x41
			check(t, os.WriteFile(c.file, bad, 0o644))
			s, err := Check(dir)
			if err != nil || len(s.Damage) != 1 {
				t.Fatalf("%s, byte %d: %+v, %v", c.file, at, s.Damage, err)
			}
			if d := s.Damage[0]; d.File != filepath.Base(c.file) || d.Offset > at || d.Offset+d.Bytes <= at {
				t.Errorf("byte %d of %s: reported as %s", at, c.file, d)
			}
			to := filepath.Join(t.TempDir(), "repaired")
			again, err := Repair(dir, to)
			if err != nil || len(again.Damage) != 1 {
				t.Fatalf("%+v, %v", again, err)
			}
			repaired := open(t, to)
			n, err := repaired.Count("alias", nil)
			check(t, err)
			if n != s.Points["c"] || n < folded+logged-c.most {
				t.Errorf("byte %d of %s: %d points are left of %d", at, c.file, n, folded+logged)
			}
			_, err = repaired.Upsert("c", points, UpsertOptions{})
			check(t, err)
			check(t, repaired.Close())
			if kept, err := os.ReadFile(c.file); err != nil || string(kept) != string(bad) {
				t.Error("the damaged file was changed")
			}
		}
		check(t, os.WriteFile(c.file, whole, 0o644))
	}

	// The record of the collection itself: all of its points are lost, and said to be.
	whole, err := os.ReadFile(snap)
	check(t, err)
	bad := append([]byte(nil), whole...)
	bad[fileHeader+frameHeader+3] ^= 1
	check(t, os.WriteFile(snap, bad, 0o644))
	lost, err := Check(dir)
	if err != nil || len(lost.Damage) != 2 || lost.Damage[1].Reason != "2088 points belong to the collection of number 1, whose own record is damaged" || len(lost.Points) != 0 {
		t.Errorf("%+v, %v", lost, err)
	}
	check(t, os.WriteFile(snap, whole, 0o644))

	// Files that are gone, cut off, or have another header.
	check(t, os.Remove(log))
	check(t, os.Truncate(snap, fileHeader+1000))
	s, err := Check(dir)
	if err != nil || len(s.Damage) != 2 || s.Damage[0].Reason != "the file ends within a frame" || s.Damage[1].Reason != "is missing" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Repair(dir, dir); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a repair in place: %v", err)
	}
	if _, err := Check(t.TempDir()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestCopy: a copy that is made while somebody writes and folds the log holds all that was acknowledged before.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	check(t, db.CreateCollection("c", testConfig()))
	stop, ended := make(chan struct{}), make(chan error, 1)
	acknowledged := make(chan uint64, 1)
	folds := make(chan struct{}, 4) // that may come under one copy, which tries 8 times
	go func() {
		rng := rand.New(rand.NewPCG(2, 2))
		for n := uint64(0); ; n++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if _, err := db.Upsert("c", []Point{numbered(t, n, rng)}, UpsertOptions{}); err != nil {
				ended <- err
				return
			}
			if n%50 == 0 {
				select {
				case <-folds:
				case <-stop:
					ended <- nil
					return
				}
				if err := db.Compact(); err != nil {
					ended <- err
					return
				}
			}
			select {
			case <-acknowledged:
			default:
			}
			acknowledged <- n + 1
		}
	}()
	for range 20 {
		for len(folds) < cap(folds) {
			folds <- struct{}{}
		}
		at := <-acknowledged
		to := filepath.Join(t.TempDir(), "copy")
		if err := Copy(dir, to); err != nil {
			t.Fatal(err)
		}
		s, err := Check(to)
		if err != nil || len(s.Damage) > 0 || uint64(s.Points["c"]) < at {
			t.Fatalf("%d points were acknowledged: %+v, %v", at, s, err)
		}
	}
	close(stop)
	check(t, <-ended)
	if err := Copy(dir, dir); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a copy in place: %v", err)
	}
}
