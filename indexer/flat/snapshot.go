package flat

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/radstream/radstream/schemas/fault"
)

// snapshotBatch is how many slots a snapshot copies while it holds a collection's lock.
const snapshotBatch = 512

// Compact folds the log into a new snapshot and removes what it replaces. Reads and writes
// go on meanwhile. It runs by itself when the log has grown; see Options.CompactAt. When it
// returns, no file holds what was replaced or deleted before the call.
func (db *DB) Compact() error {
	db.compacting.Lock()
	defer db.compacting.Unlock()
	db.write.Lock()
	folded := !db.closed && db.log.size == fileHeader && db.log.gen == db.snapGen+1 && db.snapGen > 0
	db.write.Unlock()
	if folded { // nothing was written since the last time
		return nil
	}
	gen, head, err := db.rotate()
	if err != nil {
		return err
	}
	size, err := db.writeSnapshot(gen, head)
	if err != nil {
		return fault.E("flat.Compact", fault.Unavailable, err)
	}
	db.write.Lock()
	defer db.write.Unlock()
	db.snapGen, db.snapSize = gen, size
	return db.dropOld()
}

// rotate starts a new log. The snapshot of generation gen must hold every record before
// it; head is the catalogue at that moment, ending with the sequence number reached.
func (db *DB) rotate() (gen uint64, head []record, err error) {
	db.write.Lock()
	defer db.write.Unlock()
	if db.closed {
		return 0, nil, errClosed
	}
	gen = db.log.gen
	if err := db.log.start(gen + 1); err != nil {
		return 0, nil, err
	}
	for _, c := range db.sortedByID() {
		head = append(head, record{kind: recCreate, collection: c.id, name: c.name, config: c.cfg})
		if c.settings != "" {
			head = append(head, record{kind: recSetting, collection: c.id, name: c.settings})
		}
		for field, ix := range c.indexes {
			head = append(head, record{kind: recIndex, collection: c.id, name: field, index: ix})
		}
	}
	return gen, append(head, record{kind: recAliases, aliases: db.aliasMap()}, record{kind: recEnd, lsn: db.log.lsn}), nil
}

// writeSnapshot writes the catalogue and all points. Points change while it runs; what it
// misses or has too new is in the log that follows, whose records are absolute.
func (db *DB) writeSnapshot(gen uint64, head []record) (size int64, err error) {
	end := head[len(head)-1]
	f, err := os.Create(snapPath(db.dir, gen) + ".tmp")
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = w.Write(fileHead(snapMagic, gen))
	var n uint64
	put := func(r record) {
		if err == nil {
			n++
			body := r.encode()
			size += int64(frameHeader + len(body))
			_, err = w.Write(appendFrame(nil, n, body))
		}
	}
	for _, r := range head[:len(head)-1] {
		put(r)
		if r.kind != recCreate {
			continue
		}
		db.mu.RLock()
		c := db.collections[r.collection]
		db.mu.RUnlock()
		for at := 0; c != nil && err == nil; at += snapshotBatch {
			changes, more := c.copySlots(at)
			if len(changes) > 0 {
				put(record{kind: recPoints, collection: c.id, changes: changes})
			}
			end.points += uint64(len(changes))
			if !more {
				break
			}
		}
	}
	put(end)
	err = errors.Join(err, w.Flush())
	if err != nil {
		return 0, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return size, db.publish(f, snapPath(db.dir, gen))
}

func (c *collection) copySlots(at int) (out []change, more bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	end := min(at+snapshotBatch, len(c.ids))
	for slot := at; slot < end; slot++ {
		if c.live[slot] {
			out = append(out, c.full(uint32(slot)))
		}
	}
	return out, end < len(c.ids)
}

// loadSnapshot reads a snapshot. It was renamed into place after a sync, so any fault in it
// is damage.
func (db *DB) loadSnapshot(gen uint64) error {
	path := snapPath(db.dir, gen)
	fr, err := openFrames(path, snapMagic, gen)
	if err == errTorn {
		return fault.Errorf("flat.Open", fault.Corrupt, "%s has no header", filepath.Base(path))
	}
	if err != nil {
		return err
	}
	defer fr.close()
	db.snapSize = fr.size
	var points, n uint64
	for {
		lsn, body, err := fr.next()
		switch {
		case err == io.EOF || err == errTorn:
			return fr.damage("the snapshot has no end")
		case err != nil:
			return err
		}
		n++
		r, err := decodeRecord(body)
		if err == nil && lsn != n {
			err = errors.New("a frame is out of sequence")
		}
		if err == nil && r.kind == recEnd {
			if r.points != points || fr.at != fr.size {
				return fr.damage("the snapshot does not end where it says")
			}
			db.log.lsn = r.lsn
			return nil
		}
		if err == nil {
			err = db.apply(r)
		}
		if err != nil {
			return fr.refused(err)
		}
		points += uint64(len(r.changes))
	}
}

// dropOld removes the files that the newest snapshot replaces.
func (db *DB) dropOld() error {
	snaps, logs, err := db.generations()
	if err != nil {
		return err
	}
	for _, g := range snaps {
		if g < db.snapGen {
			err = errors.Join(err, os.Remove(snapPath(db.dir, g)))
		}
	}
	for _, g := range logs {
		if g <= db.snapGen {
			err = errors.Join(err, os.Remove(walPath(db.dir, g)))
		}
	}
	return fault.E("flat.Compact", fault.Unavailable, err)
}

// compactIfGrown starts a compaction in the background; the caller holds the writers' lock.
func (db *DB) compactIfGrown() {
	if db.closed || db.log.size < db.opt.CompactAt || db.log.size < db.snapSize/2 || !db.compacting.TryLock() {
		return
	}
	db.compacting.Unlock()
	db.background.Go(func() {
		if err := db.Compact(); err != nil && !errors.Is(err, errClosed) {
			db.opt.OnCompactError(err)
		}
	})
}
