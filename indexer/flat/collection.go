package flat

import (
	"errors"
	"slices"
	"sync"
)

// chunkSlots is how many vectors lie in one allocation of a column.
const chunkSlots = 1024

// collection is the state of one collection in memory. A point lives in a slot; its
// vectors lie in one column for each vector name, side by side, so that a scan reads
// memory in order. mu guards everything; changes are short, scans share it.
type collection struct {
	id   uint64
	name string
	cfg  Config

	mu       sync.RWMutex
	settings string // see [DB.SetSettings]
	indexes  map[string]Index
	fields   map[string]*field // of the indexes that a scan can compare by
	slots    map[PointID]uint32
	ids      []PointID
	live     []bool
	payloads []Object
	columns  map[string]*column

	// order holds the live slots by id, but for pending (added since) and freed (removed
	// since, not reusable before order is rebuilt without them).
	order, pending, freed, free []uint32
}

func newCollection(id uint64, name string, cfg Config, a *arena) *collection {
	c := &collection{id: id, name: name, cfg: cfg, indexes: map[string]Index{}, fields: map[string]*field{}, slots: map[PointID]uint32{}, columns: map[string]*column{}}
	for name, v := range cfg.Vectors {
		c.columns[name] = newColumn(v, a)
	}
	return c
}

// put applies one change. Vectors that the configuration does not know are damage that
// decoding cannot see.
func (c *collection) put(ch change) error {
	for _, v := range ch.vectors {
		if c.cfg.Vectors[v.name].Size != len(v.data) || len(v.data) == 0 {
			return errors.New("a vector does not fit its collection")
		}
	}
	slot, known := c.slots[ch.id]
	if !known {
		slot = c.newSlot(ch.id)
	}
	if ch.replace {
		c.payloads[slot] = Object{}
		for _, col := range c.columns {
			col.clear(slot)
		}
	}
	if ch.hasPayload {
		c.payloads[slot] = ch.payload
	}
	for _, f := range c.fields {
		if ch.replace || ch.hasPayload {
			f.set(slot, c.payloads[slot])
		}
	}
	for _, name := range ch.removed {
		if col := c.columns[name]; col != nil {
			col.clear(slot)
		}
	}
	for _, v := range ch.vectors {
		if err := c.columns[v.name].set(slot, v.data); err != nil {
			return err
		}
	}
	return nil
}

// release empties a collection that is no longer in the store and gives back its memory. Who has
// found it before finds no points in it.
func (c *collection) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, col := range c.columns {
		for _, ch := range col.chunks {
			col.arena.give(ch)
		}
		col.chunks, col.codes, col.present = nil, nil, nil
	}
	c.slots, c.fields = map[PointID]uint32{}, map[string]*field{}
	c.ids, c.live, c.payloads, c.order, c.pending, c.freed, c.free = nil, nil, nil, nil, nil, nil, nil
}

// reserve makes room for the vectors of changes, so that putting them does not fail for want of it.
// Unavailable: there is none.
func (c *collection) reserve(changes []change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := 0
	for _, ch := range changes {
		if _, known := c.slots[ch.id]; !known {
			fresh++
		}
	}
	if fresh > len(c.free) {
		c.reuse()
	}
	next := 0
	for _, ch := range changes {
		slot, known := c.slots[ch.id]
		if !known { // as newSlot will choose
			if slot = uint32(len(c.ids) + next - len(c.free)); next < len(c.free) {
				slot = c.free[len(c.free)-1-next]
			}
			next++
		}
		for _, v := range ch.vectors {
			if col := c.columns[v.name]; col != nil {
				if err := col.room(slot); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// reuse makes slots free that were freed, when they are many.
func (c *collection) reuse() {
	if len(c.freed) > chunkSlots+len(c.slots)/2 {
		c.sort()
	}
}

// index declares a payload field and reads it from every point.
func (c *collection) index(key string, ix Index) {
	c.unindex(key)
	c.indexes[key] = ix
	if f := newField(key, ix.Type); f != nil {
		for slot, payload := range c.payloads {
			f.set(uint32(slot), payload)
		}
		c.fields[key] = f
	}
}

func (c *collection) unindex(key string) {
	delete(c.indexes, key)
	delete(c.fields, key)
}

func (c *collection) newSlot(id PointID) uint32 {
	if len(c.free) == 0 {
		c.reuse()
	}
	var slot uint32
	if n := len(c.free); n > 0 {
		slot, c.free = c.free[n-1], c.free[:n-1]
		c.ids[slot], c.live[slot] = id, true
	} else {
		slot = uint32(len(c.ids))
		c.ids, c.live, c.payloads = append(c.ids, id), append(c.live, true), append(c.payloads, Object{})
	}
	c.slots[id] = slot
	c.pending = append(c.pending, slot)
	return slot
}

func (c *collection) remove(id PointID) {
	slot, ok := c.slots[id]
	if !ok {
		return
	}
	delete(c.slots, id)
	c.live[slot], c.payloads[slot] = false, Object{}
	for _, col := range c.columns {
		col.clear(slot)
	}
	c.freed = append(c.freed, slot)
}

// rlockSorted returns the live slots in the order of their ids. It takes the lock itself
// and leaves it read-locked: the caller unlocks.
func (c *collection) rlockSorted() []uint32 {
	c.mu.RLock()
	for len(c.pending)+len(c.freed) > 0 {
		c.mu.RUnlock()
		c.mu.Lock()
		c.sort()
		c.mu.Unlock()
		c.mu.RLock()
	}
	return c.order
}

// sort merges pending into order, drops what was freed and makes it reusable. Readers may
// still hold the old order, so it is never changed in place.
func (c *collection) sort() {
	dead := func(s uint32) bool { return !c.live[s] }
	byID := func(a, b uint32) int { return c.ids[a].Compare(c.ids[b]) }
	added := slices.DeleteFunc(c.pending, dead)
	slices.SortFunc(added, byID)
	merged := make([]uint32, 0, len(c.slots))
	for _, s := range c.order {
		if dead(s) {
			continue
		}
		for len(added) > 0 && byID(added[0], s) < 0 {
			merged, added = append(merged, added[0]), added[1:]
		}
		merged = append(merged, s)
	}
	c.order, c.pending = append(merged, added...), nil
	c.free, c.freed = append(c.free, c.freed...), nil
}

// matches reports whether slot is a live point that p (nil: any) accepts.
func (c *collection) matches(slot uint32, p predicate) bool {
	return c.live[slot] && (p == nil || p(candidate{c, slot, c.payloads[slot]}))
}

// full is the change that makes a point from nothing, for a snapshot. It copies.
func (c *collection) full(slot uint32) change {
	ch := change{id: c.ids[slot], replace: true, hasPayload: true, payload: c.payloads[slot]}
	for name, col := range c.columns {
		if col.has(slot) {
			ch.vectors = append(ch.vectors, namedVector{name, slices.Clone(col.at(slot))})
		}
	}
	return ch
}

// column holds the vectors of one name, dim elements a slot.
type column struct {
	dim      int
	distance Distance
	arena    *arena
	chunks   []chunk  // empty where no slot has a vector
	codes    []*codes // the same for the first passes; nil throughout for Manhattan
	dot      kernelFunc
	present  []bool
}

func newColumn(v VectorConfig, a *arena) *column {
	i := slices.IndexFunc(kernels[:], func(k kernel) bool { return k.has })
	return &column{dim: v.Size, distance: v.Distance, arena: a, dot: kernels[i].dot}
}

func (col *column) has(slot uint32) bool { return int(slot) < len(col.present) && col.present[slot] }

func (col *column) at(slot uint32) []float32 {
	i := int(slot) % chunkSlots * col.dim
	return col.chunks[slot/chunkSlots].floats[i : i+col.dim : i+col.dim]
}

// room makes sure that a slot has a place.
func (col *column) room(slot uint32) error {
	for int(slot/chunkSlots) >= len(col.chunks) {
		col.chunks, col.codes = append(col.chunks, chunk{}), append(col.codes, nil)
	}
	if col.chunks[slot/chunkSlots].floats == nil {
		var err error
		if col.chunks[slot/chunkSlots], err = col.arena.take(chunkSlots * col.dim); err != nil {
			return err
		}
		if col.distance != Manhattan {
			col.codes[slot/chunkSlots] = newCodes(col.dim)
		}
	}
	return nil
}

func (col *column) set(slot uint32, v []float32) error {
	if err := col.room(slot); err != nil {
		return err
	}
	for int(slot) >= len(col.present) {
		col.present = append(col.present, false)
	}
	copy(col.at(slot), v)
	if near := col.codes[slot/chunkSlots]; near != nil {
		near.set(int(slot%chunkSlots), v)
	}
	col.present[slot] = true
	return nil
}

func (col *column) clear(slot uint32) {
	if col.has(slot) {
		col.present[slot] = false
		clear(col.at(slot)) // it lies on the disk, too
	}
}
