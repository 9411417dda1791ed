package flat

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// Damage is a part of a store that cannot be read. Its JSON field names are a promise.
type Damage struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"` // up to the next part that can be read, or the end
	Reason string `json:"reason"`
	// Collection is the one whose points are stored around there; empty in a log, which mixes them.
	Collection string `json:"collection,omitempty"`
}

// Salvage is what could be read of a store.
type Salvage struct {
	Damage []Damage       `json:"damage"` // none: the store is whole
	Points map[string]int `json:"points"` // that could be read, by collection
}

// Check reads all of the store in dir, which nobody has open, and says what is damaged.
// Errors: Unavailable, it is open or the disk refuses; those of [Open] for its format.
func Check(dir string) (Salvage, error) {
	var s Salvage
	err := withLock(dir, func(db *DB) (err error) {
		s, err = db.salvage(db)
		return err
	})
	return s, err
}

// Repair writes what can be read of the store in dir, which nobody has open, as a new store in the
// directory to, which does not exist. dir stays as it is. What was acknowledged and is damaged is lost
// to the new store: points are missing, all of a collection where the record that made it is damaged, and
// those may be back that a damaged part of the log had replaced or removed, until whoever filled the
// store does so again. Errors: those of [Check]; Conflict, to is there.
func Repair(dir, to string) (Salvage, error) {
	const op = "flat.Repair"
	var s Salvage
	if _, err := os.Lstat(to); err == nil {
		return s, fault.Errorf(op, fault.Conflict, "%s is there already", to)
	}
	err := withLock(dir, func(from *DB) error {
		db, err := Open(to, Options{})
		if err != nil {
			return err
		}
		if s, err = from.salvage(db); err == nil {
			err = db.Compact()
		}
		return errors.Join(err, db.Close())
	})
	return s, err
}

// Copy copies the store in dir, which may be open and written to, to the directory to, which does not
// exist, and reads the copy to its end. It holds every write that was acknowledged before the call.
// Errors: those of [Open]; Conflict, to is there; NotFound, dir holds no store.
func Copy(dir, to string) error {
	const op, attempts = "flat.Copy", 8
	if _, err := os.Stat(filepath.Join(dir, "FORMAT")); err != nil {
		return fault.Errorf(op, fault.NotFound, "%s holds no index: %w", dir, err)
	}
	if _, err := os.Lstat(to); err == nil {
		return fault.Errorf(op, fault.Conflict, "%s is there already", to)
	}
	for n := 1; ; n++ {
		gone, err := copyOnce(dir, to)
		if err == nil {
			return nil
		}
		if clean := os.RemoveAll(to); clean != nil || !gone || n == attempts {
			return fault.Wrap(op, errors.Join(err, clean))
		}
	}
}

// copyOnce copies snapshots before logs. gone says that a compaction may have come between: it removes
// the logs that follow a snapshot which was copied.
func copyOnce(dir, to string) (gone bool, err error) {
	before, err := filepath.Glob(filepath.Join(dir, "snap-*.dat"))
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return false, fault.E("flat.Copy", fault.Unavailable, err)
	}
	for _, pattern := range []string{"FORMAT", "snap-*.dat", "wal-*.log"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if err := copyFile(name, filepath.Join(to, filepath.Base(name))); err != nil {
				return errors.Is(err, os.ErrNotExist), fault.E("flat.Copy", fault.Unavailable, err)
			}
		}
	}
	db, err := Open(to, Options{})
	if err == nil {
		err = db.Close()
	}
	if err == nil {
		err = os.Remove(filepath.Join(to, "LOCK"))
	}
	if err != nil {
		after, globErr := filepath.Glob(filepath.Join(dir, "snap-*.dat"))
		return globErr == nil && !slices.Equal(before, after), err
	}
	return false, syncDir(to)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// withLock calls f with a store that was not read yet.
func withLock(dir string, f func(*DB) error) error {
	if _, err := os.Stat(filepath.Join(dir, "FORMAT")); err != nil {
		return fault.Errorf("flat.Check", fault.NotFound, "%s holds no index: %w", dir, err)
	}
	db := newDB(dir, Options{Sync: SyncNever})
	if err := db.takeLock(); err != nil {
		return err
	}
	defer db.lock.Close()
	if err := db.checkFormat(); err != nil {
		return err
	}
	return f(db)
}

// salvage applies what can be read of db's files to another store's memory, in order.
func (db *DB) salvage(to *DB) (Salvage, error) {
	s := Salvage{Damage: []Damage{}, Points: map[string]int{}}
	snaps, logs, err := db.generations()
	if err != nil {
		return s, err
	}
	// Points of a collection whose own record is damaged can be put nowhere.
	homeless, dropped := map[uint64]int{}, map[uint64]bool{}
	apply := func(r record) error {
		switch {
		case r.kind == recDrop:
			dropped[r.collection] = true
		case r.kind == recPoints && to.collections[r.collection] == nil:
			homeless[r.collection] += len(r.changes)
		}
		return to.apply(r)
	}
	first := uint64(1)
	if len(snaps) > 0 {
		gen := snaps[len(snaps)-1]
		first = gen + 1
		ended := false
		var around string
		damage, err := salvageFile(snapPath(db.dir, gen), snapMagic, gen, false, func(r record) error {
			switch r.kind {
			case recEnd:
				ended = true
				return nil
			case recCreate:
				around = r.name
			}
			return apply(r)
		}, &around)
		if err != nil {
			return s, err
		}
		s.Damage = append(s.Damage, damage...)
		if !ended && len(damage) == 0 {
			s.Damage = append(s.Damage, Damage{File: filepath.Base(snapPath(db.dir, gen)), Reason: "the snapshot has no end"})
		}
	}
	logs = slices.DeleteFunc(logs, func(g uint64) bool { return g < first })
	if len(logs) == 0 {
		s.Damage = append(s.Damage, Damage{File: filepath.Base(walPath(db.dir, first)), Reason: "is missing"})
	}
	for i, gen := range logs {
		for ; first < gen; first++ {
			s.Damage = append(s.Damage, Damage{File: filepath.Base(walPath(db.dir, first)), Reason: "is missing"})
		}
		first++
		damage, err := salvageFile(walPath(db.dir, gen), walMagic, gen, i == len(logs)-1, apply, nil)
		if err != nil {
			return s, err
		}
		s.Damage = append(s.Damage, damage...)
	}
	for _, id := range slices.Sorted(maps.Keys(homeless)) {
		if !dropped[id] {
			s.Damage = append(s.Damage, Damage{File: filepath.Base(db.dir), Reason: fmt.Sprintf("%d points belong to the collection of number %d, whose own record is damaged", homeless[id], id)})
		}
	}
	for _, c := range to.sortedByID() {
		s.Points[c.name] = len(c.slots)
	}
	return s, nil
}

// salvageFile calls f with each record that can be read. last: the file may be torn at its end.
func salvageFile(path, magic string, gen uint64, last bool, f func(record) error, around *string) (all []Damage, err error) {
	damage := func(offset, bytes int64, reason string) {
		d := Damage{File: filepath.Base(path), Offset: offset, Bytes: bytes, Reason: reason}
		if around != nil {
			d.Collection = *around
		}
		all = append(all, d)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.E("flat.salvage", fault.Unavailable, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fault.E("flat.salvage", fault.Unavailable, err)
	}
	fr := &frames{f: file, size: info.Size()}
	head := make([]byte, fileHeader)
	if _, err := file.ReadAt(head, 0); err != nil || string(head) != string(fileHead(magic, gen)) {
		if last && (err != nil || fr.lost(0, fileHeader)) && fr.size <= fileHeader {
			return nil, nil // it never was on disk, so nothing behind it was acknowledged
		}
		damage(0, min(fileHeader, fr.size), "the file header does not match")
	}
	fr.seek(min(fileHeader, fr.size))
	for {
		at := fr.at
		_, body, err := fr.next()
		var reason string
		switch {
		case err == io.EOF, err == errTorn && last:
			return all, nil
		case err == errTorn:
			damage(at, fr.size-at, "the file ends within a frame")
			return all, nil
		case err != nil && fault.KindOf(err) == fault.Corrupt:
			next, err := fr.following()
			if err != nil {
				return nil, err
			}
			damage(at, next-at, "a frame has a wrong checksum")
			fr.seek(next)
			continue
		case err != nil:
			return nil, err
		}
		r, err := decodeRecord(body)
		if err == nil {
			err = f(r)
		}
		if fault.KindOf(err) == fault.Unavailable && err != nil {
			return nil, err // there is no room for it, which is no damage
		}
		if err != nil {
			reason = err.Error()
			damage(at, fr.at-at, reason)
		}
	}
}

func (fr *frames) seek(at int64) {
	fr.at = at
	fr.r = bufio.NewReaderSize(io.NewSectionReader(fr.f, at, fr.size-at), 1<<20)
}

// following returns where the next frame begins that can be read, behind one at fr.at that cannot; or the end.
func (fr *frames) following() (int64, error) {
	const block = 1 << 20
	buf := make([]byte, block+frameHeader)
	if n, err := fr.f.ReadAt(buf[:frameHeader], fr.at); err == nil && n == frameHeader { // of a frame whose header is sound, the body is passed over
		if size, _, ok := parseHead(buf); ok && fr.at+frameHeader+size <= fr.size {
			return fr.at + frameHeader + size, nil
		}
	}
	for from := fr.at + 1; from < fr.size; from += block {
		n, err := fr.f.ReadAt(buf, from)
		if err != nil && err != io.EOF {
			return 0, fault.E("flat.salvage", fault.Unavailable, err)
		}
		for i := 0; i < block && i+frameHeader <= n; i++ {
			size, _, ok := parseHead(buf[i:])
			at := from + int64(i)
			if !ok || at+frameHeader+size > fr.size {
				continue
			}
			body := make([]byte, size)
			if _, err := fr.f.ReadAt(body, at+frameHeader); err != nil {
				return 0, fault.E("flat.salvage", fault.Unavailable, err)
			}
			if checksum(body) == binary.LittleEndian.Uint32(buf[i+16:]) {
				return at, nil
			}
		}
	}
	return fr.size, nil
}

// String is one line for a person.
func (d Damage) String() string {
	where := ""
	if d.Collection != "" {
		where = ", among the points of " + d.Collection
	}
	if d.Bytes == 0 {
		return fmt.Sprintf("%s%s: %s", d.File, where, d.Reason)
	}
	return fmt.Sprintf("%s at offset %d, %d bytes%s: %s", d.File, d.Offset, d.Bytes, where, d.Reason)
}
