package flat

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSieve: what indexes leave out never matches the filter, whatever payloads and filters
// look like, and a search finds the same with indexes as without.
func TestSieve(t *testing.T) {
	keys := map[string]IndexType{"word": KeywordIndex, "id": UUIDIndex, "int": IntegerIndex, "float": FloatIndex, "flag": BoolIndex,
		"time": DatetimeIndex, "text": TextIndex, "in.int": IntegerIndex, "list[].word": KeywordIndex}
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		c := newCollection(1, "c", Config{map[string]VectorConfig{"": {2, Dot}}}, nil)
		late := rng.IntN(2) == 0 // indexes made after the data
		declare := func() {
			for key, kind := range keys {
				c.index(key, Index{Type: kind})
			}
		}
		if !late {
			declare()
		}
		for range rapid.IntRange(1, 2*chunkSlots).Draw(rt, "changes") {
			id := NumID(rng.Uint64N(1500))
			switch rng.IntN(8) {
			case 0:
				c.remove(id)
			case 1:
				c.put(change{id: id, hasPayload: true, payload: payload(t, rng)})
			case 2:
				c.put(change{id: id, vectors: []namedVector{{"", []float32{1, rng.Float32()}}}})
			default:
				c.put(change{id: id, replace: true, hasPayload: true, payload: payload(t, rng), vectors: []namedVector{{"", []float32{1, rng.Float32()}}}})
			}
		}
		if late {
			declare()
		}
		f := randomFilter(rng, 2)
		within, err := scope{}.narrow(c, f)
		check(t, err)
		query := []float32{1, 1}
		s := search{c: c, col: c.columns[""], score: func(v []float32) float32 { return dot(query, v) }, coarse: newCoarse(Dot, query), scope: within}
		for from := 0; from < len(c.ids); from += chunkSlots {
			to := min(from+chunkSlots, len(c.ids))
			m := s.mask(from, to)
			for i := range to - from {
				if m[i/64]>>(i%64)&1 == 0 && c.matches(uint32(from+i), s.pass) {
					rt.Fatalf("the indexes leave out point %v with %v, which matches %+v", c.ids[from+i], c.payloads[from+i], f)
				}
			}
		}
		got := s.best(20)
		s.sieves = nil
		if want := s.best(20); !slices.Equal(got, want) {
			rt.Fatalf("with indexes %v, without %v, for %+v", got, want, f)
		}
	})
}

// payload draws values that are mostly of the type of their index.
func payload(t *testing.T, rng *rand.Rand) Object {
	number := func() any {
		return []any{int64(rng.IntN(5) - 2), float64(rng.IntN(9)-4) / 2, int64(1) << 60, 1e300, math.Copysign(0, -1)}[rng.IntN(5)]
	}
	word := func() any { return fmt.Sprint("w", rng.IntN(4)) }
	moment := func() any {
		return []any{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.0000004Z", "2026-01-02", "1890-01-01", "no time"}[rng.IntN(5)]
	}
	var any1 func(depth int) any
	any1 = func(depth int) any {
		switch n := rng.IntN(7); {
		case n == 0:
			return nil
		case n == 1:
			return rng.IntN(2) == 0
		case n == 2 && depth > 0:
			items := make([]any, rng.IntN(3))
			for i := range items {
				items[i] = any1(depth - 1)
			}
			return NewList(items)
		case n == 3:
			return moment()
		case n == 4:
			return number()
		}
		return word()
	}
	mostly := func(f func() any) any {
		if rng.IntN(4) == 0 {
			return any1(2)
		}
		return f()
	}
	ms := []Member{{"word", mostly(word)}, {"id", mostly(word)}, {"int", mostly(number)}, {"float", mostly(number)},
		{"flag", mostly(func() any { return rng.IntN(2) == 0 })}, {"time", mostly(moment)}, {"text", mostly(word)},
		{"in", obj(t, Member{"int", mostly(number)})},
		{"list", NewList([]any{obj(t, Member{"word", mostly(word)}), obj(t, Member{"word", mostly(word)})}[:rng.IntN(3)])}}
	rng.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
	return obj(t, ms[:rng.IntN(len(ms)+1)]...)
}

func randomFilter(rng *rand.Rand, depth int) *Filter {
	key := func() string {
		return []string{"word", "id", "int", "float", "flag", "time", "text", "in.int", "list[].word", "list", "nothing"}[rng.IntN(11)]
	}
	bound := func() *float64 {
		if rng.IntN(2) == 0 {
			return nil
		}
		return []*float64{ptr(float64(rng.IntN(9)-4) / 2), ptr(0.0), ptr(1e300), ptr(float64(1 << 60))}[rng.IntN(4)]
	}
	at := func() *time.Time {
		if rng.IntN(2) == 0 {
			return nil
		}
		return ptr([]time.Time{time.Date(2026, 1, 2, 3, 4, 5, rng.IntN(2)*400, time.UTC), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), {}}[rng.IntN(3)])
	}
	condition := func() Condition {
		switch n := rng.IntN(11); {
		case n < 2:
			return Match{Key: key(), Keywords: []string{"w1", "w2", "2026-01-02"}[:1+rng.IntN(3)], Except: rng.IntN(4) == 0}
		case n < 4:
			return Match{Key: key(), Ints: []int64{int64(rng.IntN(5) - 2), 1 << 60}[:1+rng.IntN(2)], Except: rng.IntN(4) == 0}
		case n == 4:
			return Match{Key: key(), Bool: ptr(rng.IntN(2) == 0)}
		case n < 7:
			return Range{Key: key(), Lt: bound(), Gt: bound(), Lte: bound(), Gte: bound()}
		case n == 7:
			return DatetimeRange{Key: key(), Lt: at(), Gt: at(), Lte: at(), Gte: at()}
		case n == 8:
			return HasID{NumID(rng.Uint64N(1500)), NumID(rng.Uint64N(1500)), NumID(99999)}
		case n == 9:
			return IsEmpty{key()}
		case depth > 0:
			return randomFilter(rng, depth-1)
		}
		return ValuesCount{Key: key(), Gte: ptr(uint64(1))}
	}
	list := func() (out []Condition) {
		for range rng.IntN(3) {
			out = append(out, condition())
		}
		return out
	}
	f := &Filter{Must: list(), Should: list(), MustNot: list()}
	if rng.IntN(4) == 0 {
		f.MinShould = &MinShould{list(), uint64(rng.IntN(2))}
	}
	return f
}

// TestSieveSkips: indexes leave of scalars exactly what matches.
func TestSieveSkips(t *testing.T) {
	c := newCollection(1, "c", Config{map[string]VectorConfig{"": {2, Dot}}}, nil)
	for key, kind := range map[string]IndexType{"word": KeywordIndex, "int": IntegerIndex, "float": FloatIndex, "flag": BoolIndex, "time": DatetimeIndex} {
		c.index(key, Index{Type: kind})
	}
	for i := range 3 * chunkSlots {
		c.put(change{id: NumID(uint64(i)), hasPayload: true, payload: obj(t, Member{"word", fmt.Sprint(i % 7)}, Member{"int", int64(i)},
			Member{"float", math.Copysign(float64(i)/2, float64(i)-1)}, Member{"flag", i%3 == 0}, Member{"time", time.Unix(int64(i), 0).UTC().Format(time.RFC3339)})})
	}
	for _, cond := range []Condition{
		Match{Key: "word", Keywords: []string{"1", "3"}}, Match{Key: "int", Ints: []int64{5, 2000}}, Match{Key: "flag", Bool: ptr(true)},
		Range{Key: "int", Gte: ptr(100.0), Lte: ptr(1500.0)}, Range{Key: "float", Lte: ptr(-1.0)}, Range{Key: "float", Gte: ptr(0.0), Lte: ptr(1.0)}, HasID{NumID(7), NumID(3000)},
		DatetimeRange{Key: "time", Gte: ptr(time.Unix(1000, 0)), Lte: ptr(time.Unix(1010, 0))},
		&Filter{Should: []Condition{Range{Key: "int", Lte: ptr(3.0)}, Range{Key: "int", Gte: ptr(3000.0)}}},
	} {
		within, err := scope{}.narrow(c, &Filter{Must: []Condition{cond}})
		check(t, err)
		s := search{scope: within}
		left, matching := 0, 0
		for from := 0; from < len(c.ids); from += chunkSlots {
			m := s.mask(from, min(from+chunkSlots, len(c.ids)))
			left += m.count()
			for i := range min(chunkSlots, len(c.ids)-from) {
				if c.matches(uint32(from+i), s.pass) {
					matching++
				}
			}
		}
		if left != matching {
			t.Errorf("%+v: %d points are left, and %d match", cond, left, matching)
		}
	}
}
