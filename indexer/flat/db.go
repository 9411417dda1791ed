package flat

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/radstream/radstream/schemas/fault"
)

const (
	formatName    = "radstream-flat"
	formatVersion = 1
)

// SyncPolicy says when a write counts as done.
type SyncPolicy uint8

const (
	// SyncAlways: a write returns when its record is on disk. The default.
	SyncAlways SyncPolicy = iota
	// SyncNever: a write returns when the kernel has it. It survives a killed process, but
	// not a power cut. For data that can be rebuilt and for tests.
	SyncNever
)

// Options tune a DB. The zero value is right for production.
type Options struct {
	Sync SyncPolicy
	// CompactAt is the size of the log in bytes beyond which it is folded into a snapshot,
	// once it is also half as large as the last snapshot. Default 64 MiB.
	CompactAt int64
	// OnCompactError hears of a compaction in the background that failed; data is safe, the
	// log keeps growing, and the next write past the limit tries again.
	OnCompactError func(error)
}

// DB is an open directory. All methods may be called at the same time. Errors are faults:
// NotFound for a collection or point that is not there, Conflict for one that is, Invalid
// for a bad argument, Unsupported for an option it does not have, Unavailable once the
// log failed or the DB was closed.
type DB struct {
	dir  string
	opt  Options
	lock *os.File

	arena *arena // of the vectors; nil where a store is only looked at

	write    sync.Mutex // serialises mutations; taken before mu
	log      *wal
	nextID   uint64
	snapGen  uint64
	snapSize int64
	closed   bool

	compacting sync.Mutex // held by the one compaction that runs
	background sync.WaitGroup

	mu          sync.RWMutex // guards the maps; a collection guards itself
	collections map[uint64]*collection
	names       map[string]uint64
	aliases     map[string]uint64
}

// Open opens or makes the store in dir and takes its lock. Unavailable: another process
// has it open, or the disk refuses. Unsupported: it was written by a newer version.
// Corrupt: a file does not match its checksum; the text names file and offset.
func Open(dir string, opt Options) (*DB, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.E("flat.Open", fault.Unavailable, err)
	}
	db := newDB(dir, opt)
	db.arena = &arena{dir: dir}
	if err := db.takeLock(); err != nil {
		return nil, err
	}
	err := db.checkFormat()
	if err == nil {
		err = db.recover()
	}
	if err != nil {
		return nil, errors.Join(err, db.release(), db.lock.Close())
	}
	return db, nil
}

func newDB(dir string, opt Options) *DB {
	if opt.CompactAt <= 0 {
		opt.CompactAt = 64 << 20
	}
	if opt.OnCompactError == nil {
		opt.OnCompactError = func(error) {}
	}
	flush := fdatasync
	if opt.Sync == SyncNever {
		flush = func(*os.File) error { return nil }
	}
	return &DB{dir: dir, opt: opt, log: newWAL(dir, flush), nextID: 1,
		collections: map[uint64]*collection{}, names: map[string]uint64{}, aliases: map[string]uint64{}}
}

// Close waits for a running compaction, syncs, and gives memory and the lock back. Later calls
// fail: mutations with Unavailable, the others as if no collection were there.
func (db *DB) Close() error {
	db.write.Lock()
	if db.closed {
		db.write.Unlock()
		return nil
	}
	db.closed = true
	err := db.log.close()
	db.write.Unlock()
	db.background.Wait()
	db.compacting.Lock() // by whoever called Compact: a snapshot of what is released would be one of nothing
	defer db.compacting.Unlock()
	return errors.Join(err, db.release(), db.lock.Close())
}

// Mapped returns how many bytes of a file without a name, in the store's directory, hold vectors.
func (db *DB) Mapped() int64 {
	db.arena.mu.Lock()
	defer db.arena.mu.Unlock()
	return db.arena.mapped
}

// release gives back the memory of all collections.
func (db *DB) release() error {
	db.mu.Lock()
	all := db.collections
	db.collections, db.names, db.aliases = nil, nil, nil
	db.mu.Unlock()
	for _, c := range all {
		c.release()
	}
	if db.arena == nil {
		return nil
	}
	return db.arena.close()
}

func (db *DB) takeLock() error {
	f, err := os.OpenFile(filepath.Join(db.dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fault.E("flat.Open", fault.Unavailable, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return fault.Errorf("flat.Open", fault.Unavailable, "%s is open in another process (LOCK is held)", db.dir)
	}
	db.lock = f
	return nil
}

func (db *DB) checkFormat() error {
	path := filepath.Join(db.dir, "FORMAT")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if entries, _ := filepath.Glob(filepath.Join(db.dir, "*-????????????????.*")); len(entries) > 0 {
			return fault.Errorf("flat.Open", fault.Corrupt, "%s has data but no FORMAT file", db.dir)
		}
		return db.replaceFile(path, fmt.Appendf(nil, "%s %d\n", formatName, formatVersion))
	}
	if err != nil {
		return fault.E("flat.Open", fault.Unavailable, err)
	}
	var version int
	if n, err := fmt.Sscanf(string(raw), formatName+" %d\n", &version); n != 1 || err != nil {
		return fault.Errorf("flat.Open", fault.Corrupt, "FORMAT in %s does not read %q", db.dir, formatName+" N")
	}
	if version > formatVersion {
		return fault.Errorf("flat.Open", fault.Unsupported, "%s is written in format %d, and this program reads up to format %d: use a newer one", db.dir, version, formatVersion)
	}
	return nil
}

func (db *DB) replaceFile(path string, data []byte) error {
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return fault.E("flat.Open", fault.Unavailable, err)
	}
	_, err = f.Write(data)
	return fault.E("flat.Open", fault.Unavailable, errors.Join(err, db.publish(f, path)))
}

// publish makes a finished temporary file durable under its name.
func (db *DB) publish(f *os.File, path string) error {
	err := errors.Join(db.log.sync(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(db.dir)
	}
	return err
}

// recover loads the newest snapshot and the logs behind it, and goes on in the last one.
func (db *DB) recover() error {
	snaps, logs, err := db.generations()
	if err != nil {
		return err
	}
	if len(snaps) > 0 {
		db.snapGen = snaps[len(snaps)-1]
		if err := db.loadSnapshot(db.snapGen); err != nil {
			return err
		}
	}
	logs = slices.DeleteFunc(logs, func(g uint64) bool { return g <= db.snapGen })
	if len(logs) == 0 {
		if len(snaps) > 0 {
			return fault.Errorf("flat.Open", fault.Corrupt, "the log after %s is missing", filepath.Base(snapPath(db.dir, db.snapGen)))
		}
		return db.log.start(1)
	}
	for i, gen := range logs {
		if gen != db.snapGen+1+uint64(i) {
			return fault.Errorf("flat.Open", fault.Corrupt, "%s is missing", filepath.Base(walPath(db.dir, db.snapGen+1+uint64(i))))
		}
		if err := db.replay(gen, i == len(logs)-1); err != nil {
			return err
		}
	}
	return db.dropOld()
}

// generations lists the snapshots and logs by number and removes unfinished files.
func (db *DB) generations() (snaps, logs []uint64, err error) {
	entries, err := os.ReadDir(db.dir)
	if err != nil {
		return nil, nil, fault.E("flat.Open", fault.Unavailable, err)
	}
	for _, e := range entries {
		var gen uint64
		switch name := e.Name(); {
		case strings.HasSuffix(name, ".tmp"):
			if err := os.Remove(filepath.Join(db.dir, name)); err != nil {
				return nil, nil, fault.E("flat.Open", fault.Unavailable, err)
			}
		case scan(name, "snap-%016x.dat", &gen):
			snaps = append(snaps, gen)
		case scan(name, "wal-%016x.log", &gen):
			logs = append(logs, gen)
		}
	}
	slices.Sort(snaps)
	slices.Sort(logs)
	return snaps, logs, nil
}

func scan(name, format string, gen *uint64) bool {
	_, err := fmt.Sscanf(name, format, gen)
	return err == nil && name == fmt.Sprintf(format, *gen)
}

// replay applies one log. Only the last one may be torn: then it is cut and continued.
func (db *DB) replay(gen uint64, last bool) error {
	path := walPath(db.dir, gen)
	fr, err := openFrames(path, walMagic, gen)
	if err == errTorn && last {
		return db.log.start(gen) // the header never was on disk, so nothing behind it was acknowledged
	}
	if err == errTorn {
		return fault.Errorf("flat.Open", fault.Corrupt, "%s has no header", filepath.Base(path))
	}
	if err != nil {
		return err
	}
	defer fr.close()
	for {
		lsn, body, err := fr.next()
		switch {
		case err == io.EOF, err == errTorn && last:
			if !last {
				return nil
			}
			return db.continueLog(path, gen, fr.at)
		case err == errTorn:
			return fr.damage("the file ends within a frame, but another log follows")
		case err != nil:
			return err
		case lsn != db.log.lsn+1:
			return fr.damage("a frame is out of sequence")
		}
		r, err := decodeRecord(body)
		if err == nil {
			err = db.apply(r)
		}
		if err != nil {
			return fr.refused(err)
		}
		db.log.lsn = lsn
	}
}

func (db *DB) continueLog(path string, gen uint64, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		err = errors.Join(f.Truncate(size), db.log.sync(f))
	}
	return db.log.adopt(f, gen, size, db.log.lsn, err)
}

// apply changes memory as r says. It is the only place that does, for new writes and for
// recovery alike; repeating a record changes nothing.
func (db *DB) apply(r record) error {
	db.mu.RLock()
	c := db.collections[r.collection]
	db.mu.RUnlock()
	if r.kind == recCreate || r.kind == recDrop || r.kind == recAliases {
		db.mu.Lock()
		db.applyCatalog(r)
		db.mu.Unlock()
		if r.kind == recDrop && c != nil {
			c.release()
		}
		return nil
	}
	if c == nil {
		return nil // a snapshot taken while a collection was dropped lacks it already
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.kind {
	case recIndex:
		c.index(r.name, r.index)
	case recUnindex:
		c.unindex(r.name)
	case recSetting:
		c.settings = r.name
	case recPoints:
		for _, ch := range r.changes {
			if err := c.put(ch); err != nil {
				return err
			}
		}
	case recDelete:
		for _, id := range r.ids {
			c.remove(id)
		}
	}
	return nil
}

func (db *DB) applyCatalog(r record) {
	switch r.kind {
	case recCreate:
		if db.collections[r.collection] == nil {
			db.collections[r.collection] = newCollection(r.collection, r.name, r.config, db.arena)
			db.names[r.name] = r.collection
		}
		db.nextID = max(db.nextID, r.collection+1)
	case recDrop:
		if c := db.collections[r.collection]; c != nil {
			delete(db.collections, r.collection)
			delete(db.names, c.name)
		}
		maps.DeleteFunc(db.aliases, func(_ string, id uint64) bool { return id == r.collection })
	case recAliases:
		db.aliases = r.aliases
	}
}

// collection finds a collection by its name or alias.
func (db *DB) collection(name string) (*collection, error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	id, ok := db.names[name]
	if !ok {
		id, ok = db.aliases[name]
	}
	if c := db.collections[id]; ok && c != nil {
		return c, nil
	}
	return nil, fault.Errorf("flat", fault.NotFound, "collection %q doesn't exist", name)
}

// sortedByID returns the collections in the order they were made.
func (db *DB) sortedByID() []*collection {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return slices.SortedFunc(maps.Values(db.collections), func(a, b *collection) int { return cmp.Compare(a.id, b.id) })
}
