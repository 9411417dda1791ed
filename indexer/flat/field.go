package flat

import (
	"hash/maphash"
	"math"
	"math/bits"
	"time"
)

// field is a payload index in memory: for every slot what its payload holds at the path, as
// one ordered number. A scan compares these numbers before it reads a vector. They only ever
// leave out points that certainly do not match; the filter itself looks at what remains.
type field struct {
	path  Path
	kind  IndexType
	seed  maphash.Seed
	cells []uint64 // by slot
	many  []uint64 // bits of the slots with several values, which have no cell
}

// cellNone says that nothing is there that a condition on this type of index could match.
// No value has this cell.
const cellNone = 0

func newField(key string, kind IndexType) *field {
	path, err := ParsePath(key)
	if err != nil || kind == TextIndex {
		return nil
	}
	return &field{path: path, kind: kind, seed: maphash.MakeSeed()}
}

// set notes the payload of a slot.
func (f *field) set(slot uint32, payload Object) {
	for int(slot) >= len(f.cells) {
		f.cells, f.many = append(f.cells, make([]uint64, 64)...), append(f.many, 0)
	}
	cell, values := uint64(cellNone), 0
	f.path.each(payload, func(v any) bool {
		eachElement(func(v any) bool {
			if c := f.cell(v); c != cellNone {
				cell = c
				values++
			}
			return false
		})(v)
		return true
	})
	f.many[slot/64] &^= 1 << (slot % 64)
	if values > 1 {
		cell = cellNone
		f.many[slot/64] |= 1 << (slot % 64)
	}
	f.cells[slot] = cell
}

// cell orders the values that conditions on this type of index compare.
func (f *field) cell(v any) uint64 {
	switch v := v.(type) {
	case int64:
		if f.kind == IntegerIndex || f.kind == FloatIndex {
			return numberCell(float64(v))
		}
	case float64:
		if f.kind == IntegerIndex || f.kind == FloatIndex {
			return numberCell(v)
		}
	case bool:
		if f.kind == BoolIndex {
			return numberCell(float64(boolByte(v)))
		}
	case string:
		switch f.kind {
		case KeywordIndex, UUIDIndex:
			return f.word(v)
		case DatetimeIndex:
			if t, ok := ParseDatetime(v); ok {
				return numberCell(float64(t.UnixMicro()))
			}
		}
	}
	return cellNone
}

func (f *field) word(s string) uint64 { return maphash.String(f.seed, s)>>1 + 1 }

// numberCell keeps the order of finite and infinite numbers.
func numberCell(v float64) uint64 {
	b := math.Float64bits(v + 0) // -0 becomes 0
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

// mask has a bit for each slot of a block that may match.
type mask [chunkSlots / 64]uint64

func (m *mask) count() (n int) {
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	return n
}

// rows yields the bits that are set.
func (m *mask) rows(yield func(uint32) bool) {
	for w, word := range m {
		for ; word != 0; word &= word - 1 {
			if !yield(uint32(64*w + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}

// sieve clears bits of the block that starts at slot from.
type sieve func(from int, m *mask)

// span is a closed interval of cells.
type span struct{ low, high uint64 }

// maxSpans bounds how many values a sieve compares; a longer list is left to the filter.
const maxSpans = 16

// sieve keeps the slots whose cell lies in one of the spans.
func (f *field) sieve(spans []span) sieve {
	return func(from int, m *mask) {
		for w := range m {
			if m[w] == 0 {
				continue
			}
			if from/64+w >= len(f.many) {
				m[w] = 0
				continue
			}
			in := f.many[from/64+w]
			for _, s := range spans {
				in |= s.bits((*[64]uint64)(f.cells[from+64*w:]))
			}
			m[w] &= in
		}
	}
}

// bits has bit i set where cell i lies in s. It has no branches to guess.
func (s span) bits(cells *[64]uint64) (word uint64) {
	width := s.high - s.low
	for _, cell := range cells {
		_, outside := bits.Sub64(width, cell-s.low, 0)
		word = word>>1 | (outside^1)<<63
	}
	return word
}

// sieveFor gives what c's indexes can tell about f: nil when nothing.
func (f *Filter) sieveFor(c *collection) sieve {
	if f == nil {
		return nil
	}
	var all []sieve
	for _, cond := range f.Must {
		if s := sieveOf(c, cond); s != nil {
			all = append(all, s)
		}
	}
	var any []sieve
	for _, cond := range f.Should {
		s := sieveOf(c, cond)
		if s == nil {
			any = nil
			break
		}
		any = append(any, s)
	}
	if any != nil {
		all = append(all, func(from int, m *mask) {
			var union mask
			for _, s := range any {
				part := *m
				s(from, &part)
				for w := range union {
					union[w] |= part[w]
				}
			}
			*m = union
		})
	}
	if all == nil {
		return nil
	}
	return func(from int, m *mask) {
		for _, s := range all {
			s(from, m)
		}
	}
}

func sieveOf(c *collection, cond Condition) sieve {
	switch cond := cond.(type) {
	case *Filter:
		return cond.sieveFor(c)
	case HasID:
		listed := make(map[int]*mask)
		for _, id := range cond {
			if slot, ok := c.slots[id]; ok {
				block := int(slot) / chunkSlots
				if listed[block] == nil {
					listed[block] = new(mask)
				}
				listed[block][slot%chunkSlots/64] |= 1 << (slot % 64)
			}
		}
		return func(from int, m *mask) {
			in := listed[from/chunkSlots]
			if in == nil {
				in = new(mask)
			}
			for w := range m {
				m[w] &= in[w]
			}
		}
	case Match:
		return cond.sieve(c.fields[cond.Key])
	case Range:
		if f := c.fields[cond.Key]; f != nil && (f.kind == IntegerIndex || f.kind == FloatIndex) {
			low, high := math.Inf(-1), math.Inf(1)
			for _, bound := range []*float64{cond.Gt, cond.Gte} {
				if bound != nil {
					low = max(low, *bound)
				}
			}
			for _, bound := range []*float64{cond.Lt, cond.Lte} {
				if bound != nil {
					high = min(high, *bound)
				}
			}
			return f.between(low, high)
		}
	case DatetimeRange:
		if f := c.fields[cond.Key]; f != nil && f.kind == DatetimeIndex {
			low, high := math.Inf(-1), math.Inf(1)
			for _, bound := range []*time.Time{cond.Gt, cond.Gte} {
				if bound != nil {
					low = max(low, float64(bound.UnixMicro()))
				}
			}
			for _, bound := range []*time.Time{cond.Lt, cond.Lte} {
				if bound != nil {
					high = min(high, float64(bound.UnixMicro()))
				}
			}
			return f.between(low, high)
		}
	}
	return nil
}

// between keeps what lies from low to high. An empty or impossible interval keeps nothing
// but slots with several values.
func (f *field) between(low, high float64) sieve {
	if !(low <= high) {
		return f.sieve(nil)
	}
	return f.sieve([]span{{numberCell(low), numberCell(high)}})
}

func (m Match) sieve(f *field) sieve {
	if f == nil || m.Except || len(m.Ints)+len(m.Keywords) > maxSpans {
		return nil
	}
	var spans []span
	add := func(cell uint64) { spans = append(spans, span{cell, cell}) }
	switch {
	case m.Bool != nil && m.Ints == nil && m.Keywords == nil && f.kind == BoolIndex:
		add(numberCell(float64(boolByte(*m.Bool))))
	case m.Bool == nil && m.Ints != nil && m.Keywords == nil && (f.kind == IntegerIndex || f.kind == FloatIndex):
		for _, i := range m.Ints {
			add(numberCell(float64(i)))
		}
	case m.Bool == nil && m.Ints == nil && m.Keywords != nil && (f.kind == KeywordIndex || f.kind == UUIDIndex):
		for _, w := range m.Keywords {
			add(f.word(w))
		}
	default:
		return nil
	}
	return f.sieve(spans)
}
