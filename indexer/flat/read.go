package flat

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
)

// Scroll asks for points in the order of their ids, or of a field.
type Scroll struct {
	Filter  *Filter
	From    *PointID // first id wanted; nil: from the start. Not with OrderBy.
	Limit   int      // at least 1
	OrderBy *OrderBy
	Vectors VectorSelection
}

// Group is a value of the grouping field (string or int64) with its best hits.
type Group struct {
	Value any
	Hits  []Hit
}

// FacetCount is how many points have a value (string, int64 or bool) in a field.
type FacetCount struct {
	Value any
	Count uint64
}

// Get returns the points with these ids that exist, in the order asked.
func (db *DB) Get(name string, ids []PointID, sel VectorSelection) ([]Record, error) {
	c, err := db.collection(name)
	if err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []Record
	for _, id := range ids {
		slot, ok := c.slots[id]
		if !ok {
			continue
		}
		r, err := c.record(slot, sel)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Scroll returns a page and the id at which the next one starts, nil at the end.
func (db *DB) Scroll(name string, s Scroll) (page []Record, next *PointID, err error) {
	if s.Limit < 1 || s.From != nil && s.OrderBy != nil {
		return nil, nil, fault.Reject("flat.Scroll", fault.Invalid, reasonLimit, "limit must be at least 1, and order_by takes no offset")
	}
	c, err := db.collection(name)
	if err != nil {
		return nil, nil, err
	}
	order := c.rlockSorted()
	defer c.mu.RUnlock()
	pass, err := s.Filter.compileFor(c)
	if err != nil {
		return nil, nil, err
	}
	if s.OrderBy != nil {
		found, err := c.orderBy(*s.OrderBy, scope{pass: pass})
		for _, f := range found[:min(s.Limit, len(found))] {
			h, e := c.hit(f, s.Vectors)
			page, err = append(page, h.Record), cmp.Or(err, e)
		}
		return page, nil, err
	}
	if s.From != nil {
		at, _ := slices.BinarySearchFunc(order, *s.From, func(slot uint32, id PointID) int { return c.ids[slot].Compare(id) })
		order = order[at:]
	}
	for _, slot := range order {
		if !c.matches(slot, pass) {
			continue
		}
		if len(page) == s.Limit {
			id := c.ids[slot]
			return page, &id, nil
		}
		r, err := c.record(slot, s.Vectors)
		if err != nil {
			return nil, nil, err
		}
		page = append(page, r)
	}
	return page, nil, nil
}

// Count returns how many points meet the filter (nil: all).
func (db *DB) Count(name string, f *Filter) (int, error) {
	c, err := db.collection(name)
	if err != nil {
		return 0, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	pass, err := f.compileFor(c)
	if err != nil || pass == nil {
		return len(c.slots), err
	}
	n := 0
	for slot := range uint32(len(c.ids)) {
		if c.matches(slot, pass) {
			n++
		}
	}
	return n, nil
}

// Groups ranks as Query does, and returns the first groups groups in the order of their
// best hit, each with its best size hits. A point with several values is in several
// groups, one without a string or integer at by is in none. q's Limit and Offset are not
// used.
func (db *DB) Groups(name string, q Query, by string, groups, size int) ([]Group, error) {
	path, err := ParsePath(by)
	if err != nil {
		return nil, err
	}
	if groups < 1 || size < 1 {
		return nil, fault.Reject("flat.Groups", fault.Invalid, reasonLimit, "limit and group_size must be at least 1")
	}
	c, err := db.collection(name)
	if err != nil {
		return nil, err
	}
	if q.byID() {
		c.rlockSorted()
	} else {
		c.mu.RLock()
	}
	defer c.mu.RUnlock()
	q.Offset, q.Limit = 0, len(c.ids)+1
	found, err := c.runRoot(q)
	if err != nil {
		return nil, err
	}
	var out []Group
	at := make(map[any]int)
	for _, f := range found {
		for _, value := range fieldValues(path, c.payloads[f.slot]) {
			if _, isBool := value.(bool); isBool {
				continue
			}
			i, ok := at[value]
			if !ok && len(out) < groups {
				i, ok = len(out), true
				at[value] = i
				out = append(out, Group{Value: value})
			}
			if !ok || len(out[i].Hits) == size {
				continue
			}
			h, err := c.hit(f, q.Vectors)
			if err != nil {
				return nil, err
			}
			out[i].Hits = append(out[i].Hits, h)
		}
	}
	return out, nil
}

// Facet counts the points with each value of a field that its index holds, most frequent first, ties
// by value.
// Invalid: the field has no keyword, integer, bool or UUID index.
func (db *DB) Facet(name, key string, f *Filter, limit int) ([]FacetCount, error) {
	path, err := ParsePath(key)
	if err != nil {
		return nil, err
	}
	c, err := db.collection(name)
	if err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	pass, err := f.compileFor(c)
	if err != nil {
		return nil, err
	}
	switch c.indexes[key].Type {
	case KeywordIndex, IntegerIndex, BoolIndex, UUIDIndex:
	default:
		return nil, fault.Reject("flat.Facet", fault.Invalid, reasonNoIndex, "no keyword, integer, bool or uuid index on %q", key)
	}
	counts := make(map[any]uint64)
	for slot := range uint32(len(c.ids)) {
		if c.matches(slot, pass) {
			for _, v := range fieldValues(path, c.payloads[slot]) {
				if c.fields[key].cell(v) != cellNone {
					counts[v]++
				}
			}
		}
	}
	out := make([]FacetCount, 0, len(counts))
	for v, n := range counts {
		out = append(out, FacetCount{v, n})
	}
	slices.SortFunc(out, func(a, b FacetCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), compareValues(a.Value, b.Value))
	})
	return out[:max(0, min(limit, len(out)))], nil
}

// fieldValues lists the distinct strings, integers and bools at path, arrays opened.
func fieldValues(path Path, o Object) []any {
	var out []any
	path.each(o, func(v any) bool {
		eachElement(func(v any) bool {
			switch v.(type) {
			case string, int64, bool:
				if !slices.Contains(out, v) {
					out = append(out, v)
				}
			}
			return false
		})(v)
		return true
	})
	return out
}

func compareValues(a, b any) int {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b)
		}
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
	case bool:
		if b, ok := b.(bool); ok {
			return cmp.Compare(boolByte(a), boolByte(b))
		}
	}
	return 0
}

func (c *collection) record(slot uint32, sel VectorSelection) (Record, error) {
	r := Record{ID: c.ids[slot], Payload: c.payloads[slot]}
	names := sel.Names
	if sel.All {
		names = slices.Collect(maps.Keys(c.columns))
	}
	for _, name := range names {
		col, ok := c.columns[name]
		if !ok {
			return Record{}, fault.Reject("flat.Get", fault.Invalid, reasonVectorName, "not existing vector name %q", name)
		}
		if col.has(slot) {
			if r.Vectors == nil {
				r.Vectors = make(map[string][]float32)
			}
			r.Vectors[name] = slices.Clone(col.at(slot))
		}
	}
	return r, nil
}
