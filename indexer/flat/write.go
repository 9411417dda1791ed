package flat

import (
	"cmp"

	"github.com/radstream/radstream/schemas/fault"
)

// recordTarget is the size in bytes at which a mutation of many points goes on in another
// record. A crash can keep the first records of such a mutation and lose the others.
const recordTarget = 4 << 20

// Point is a point to write: its whole payload and its vectors by name, of the widths of
// the collection. The store copies the vectors.
type Point struct {
	ID      PointID
	Payload Object
	Vectors map[string][]float32
}

// Mode says which points an upsert may touch.
type Mode uint8

// The modes.
const (
	InsertOrUpdate Mode = iota
	InsertOnly
	UpdateOnly
)

// UpsertOptions make an upsert conditional: a point that exists is replaced only if it
// meets Filter; one that does not exist is inserted regardless. The check and the write
// are one step for every other writer.
type UpsertOptions struct {
	Filter *Filter
	Mode   Mode
}

// Selector names points by id or, with a nil IDs, by filter.
type Selector struct {
	IDs    []PointID
	Filter *Filter
}

// Upsert replaces whole points, in order: vectors and payload keys that the new point does
// not have are gone. Points that the options hold back are skipped without an error; n is
// the number written. Invalid: a vector has an unknown name, another width or a number
// that is not finite; then nothing is written.
func (db *DB) Upsert(name string, points []Point, opt UpsertOptions) (n int, err error) {
	err = db.onCollection(name, func(t *txn, c *collection) error {
		pass, err := opt.Filter.compileFor(c)
		if err != nil {
			return err
		}
		changes := make([]change, len(points))
		for i, p := range points {
			if changes[i], err = c.change(p.ID, p.Vectors); err != nil {
				return err
			}
			changes[i].replace, changes[i].hasPayload, changes[i].payload = true, true, p.Payload
		}
		b := batch{t: t, c: c}
		for _, ch := range changes {
			// A repeated id has to see what the batch itself wrote before.
			if err := b.flushIf(b.has(ch.id)); err != nil {
				return err
			}
			slot, exists := c.slots[ch.id]
			switch {
			case exists && (opt.Mode == InsertOnly || !c.matches(slot, pass)):
			case !exists && opt.Mode == UpdateOnly:
			default:
				n++
				if err := b.add(ch); err != nil {
					return err
				}
			}
		}
		return b.flushIf(true)
	})
	return n, err
}

// UpdateVectors sets the named vectors of points that exist and, with a filter, meet it.
// NotFound: an id does not exist; the others are updated.
func (db *DB) UpdateVectors(name string, points []Point, filter *Filter) error {
	return db.onCollection(name, func(t *txn, c *collection) error {
		pass, err := filter.compileFor(c)
		if err != nil {
			return err
		}
		var missing error
		b := batch{t: t, c: c}
		for _, p := range points {
			ch, err := c.change(p.ID, p.Vectors)
			if err != nil {
				return err
			}
			slot, ok := c.slots[p.ID]
			switch {
			case !ok:
				missing = noPoint(p.ID)
			case c.matches(slot, pass):
				if err := b.add(ch); err != nil {
					return err
				}
			}
		}
		return cmp.Or(b.flushIf(true), missing)
	})
}

// DeleteVectors removes the named vectors of the selected points. NotFound: a listed id
// does not exist; the others are changed.
func (db *DB) DeleteVectors(name string, sel Selector, vectors []string) error {
	return db.edit(name, sel, func(c *collection, _ uint32) (change, error) {
		for _, v := range vectors {
			if _, ok := c.cfg.Vectors[v]; !ok {
				return change{}, fault.Reject("flat.DeleteVectors", fault.Invalid, reasonVectorName, "not existing vector name %q", v)
			}
		}
		return change{removed: vectors}, nil
	})
}

// SetPayload merges src into the payload of the selected points, at path when it is not
// nil; a null in src removes its key. NotFound: a listed id does not exist; the others are
// changed.
func (db *DB) SetPayload(name string, sel Selector, at *Path, src Object) error {
	return db.editPayload(name, sel, func(o Object) Object {
		if at == nil {
			return o.Merge(src)
		}
		return at.set(o, src)
	})
}

// OverwritePayload replaces the payload of the selected points. NotFound as SetPayload.
func (db *DB) OverwritePayload(name string, sel Selector, payload Object) error {
	return db.editPayload(name, sel, func(Object) Object { return payload })
}

// DeletePayload removes the values at paths from the selected points. NotFound as
// SetPayload.
func (db *DB) DeletePayload(name string, sel Selector, paths []Path) error {
	return db.editPayload(name, sel, func(o Object) Object {
		for _, p := range paths {
			o = p.remove(o)
		}
		return o
	})
}

// ClearPayload empties the payload of the selected points. NotFound as SetPayload.
func (db *DB) ClearPayload(name string, sel Selector) error {
	return db.editPayload(name, sel, func(Object) Object { return Object{} })
}

// Delete removes the selected points; ids that do not exist are fine.
func (db *DB) Delete(name string, sel Selector) error {
	return db.onCollection(name, func(t *txn, c *collection) error {
		slots, _, err := c.selectSlots(sel)
		if err != nil || len(slots) == 0 {
			return err
		}
		ids := make([]PointID, len(slots))
		for i, s := range slots {
			ids[i] = c.ids[s]
		}
		return t.emit(record{kind: recDelete, collection: c.id, ids: ids})
	})
}

func (db *DB) editPayload(name string, sel Selector, edit func(Object) Object) error {
	return db.edit(name, sel, func(c *collection, slot uint32) (change, error) {
		return change{hasPayload: true, payload: edit(c.payloads[slot])}, nil
	})
}

func (db *DB) edit(name string, sel Selector, f func(*collection, uint32) (change, error)) error {
	return db.onCollection(name, func(t *txn, c *collection) error {
		slots, missing, err := c.selectSlots(sel)
		if err != nil {
			return err
		}
		b := batch{t: t, c: c}
		for _, slot := range slots {
			ch, err := f(c, slot)
			if err != nil {
				return err
			}
			ch.id = c.ids[slot]
			// Listed twice, the second edit must see the first.
			if err := b.flushIf(b.has(ch.id)); err != nil {
				return err
			}
			if err := b.add(ch); err != nil {
				return err
			}
		}
		return cmp.Or(b.flushIf(true), missing)
	})
}

// selectSlots resolves sel; missing is a NotFound fault for the first id that is absent.
func (c *collection) selectSlots(sel Selector) (slots []uint32, missing, err error) {
	if sel.IDs != nil {
		for _, id := range sel.IDs {
			if slot, ok := c.slots[id]; ok {
				slots = append(slots, slot)
			} else if missing == nil {
				missing = noPoint(id)
			}
		}
		return slots, missing, nil
	}
	pass, err := sel.Filter.compileFor(c)
	if err != nil {
		return nil, nil, err
	}
	for slot := range uint32(len(c.ids)) {
		if c.matches(slot, pass) {
			slots = append(slots, slot)
		}
	}
	return slots, nil, nil
}

// change checks and copies vectors into the change that sets them.
func (c *collection) change(id PointID, vectors map[string][]float32) (change, error) {
	ch := change{id: id}
	for name, v := range vectors {
		data, err := c.cfg.prepare(name, v)
		if err != nil {
			return change{}, err
		}
		ch.vectors = append(ch.vectors, namedVector{name, data})
	}
	return ch, nil
}

// txn is a mutation under the writers' lock.
type txn struct {
	db  *DB
	lsn uint64
}

// emit logs a record and applies it.
func (t *txn) emit(r record) error {
	if r.kind == recPoints {
		t.db.mu.RLock()
		c := t.db.collections[r.collection]
		t.db.mu.RUnlock()
		if err := c.reserve(r.changes); err != nil {
			return err
		}
	}
	lsn, err := t.db.log.append(r.encode())
	if err != nil {
		return err
	}
	t.lsn = lsn
	if err := t.db.apply(r); err != nil {
		return t.db.log.diverged(err)
	}
	return nil
}

// mutate runs f under the writers' lock and returns when what it emitted is on disk.
func (db *DB) mutate(f func(*txn) error) error {
	db.write.Lock()
	if db.closed {
		db.write.Unlock()
		return errClosed
	}
	t := &txn{db: db}
	err := f(t)
	db.compactIfGrown()
	db.write.Unlock()
	if t.lsn == 0 {
		return err
	}
	return cmp.Or(db.log.commit(t.lsn), err)
}

// onCollection is mutate for one collection. Its points change only under the writers'
// lock, so f reads them without c.mu.
func (db *DB) onCollection(name string, f func(*txn, *collection) error) error {
	return db.mutate(func(t *txn) error {
		c, err := db.collection(name)
		if err != nil {
			return err
		}
		return f(t, c)
	})
}

// batch gathers changes into records of bounded size.
type batch struct {
	t       *txn
	c       *collection
	changes []change
	ids     map[PointID]struct{}
	bytes   int
}

func (b *batch) has(id PointID) bool {
	_, ok := b.ids[id]
	return ok
}

func (b *batch) add(ch change) error {
	if b.ids == nil {
		b.ids = make(map[PointID]struct{})
	}
	b.ids[ch.id] = struct{}{}
	b.changes = append(b.changes, ch)
	b.bytes += sizeHint(b.changes[len(b.changes)-1:])
	return b.flushIf(b.bytes >= recordTarget)
}

func (b *batch) flushIf(now bool) error {
	if !now || len(b.changes) == 0 {
		return nil
	}
	err := b.t.emit(record{kind: recPoints, collection: b.c.id, changes: b.changes})
	b.changes, b.ids, b.bytes = nil, nil, 0
	return err
}

func noPoint(id PointID) error {
	return fault.Errorf("flat", fault.NotFound, "no point with id %s found", id)
}
