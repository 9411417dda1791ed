package flat

import (
	"slices"
	"strings"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

const (
	reasonFilterDepth fault.Reason = "filter_too_deep"
	reasonPhrase      fault.Reason = "phrase_matching_off"
)

// Filter selects points with Qdrant's semantics: every Must, no MustNot, at least one
// Should (when there are any) and at least MinShould.Count of MinShould. The empty filter
// selects all.
type Filter struct {
	Must, Should, MustNot []Condition
	MinShould             *MinShould
}

// MinShould wants at least Count of its conditions.
type MinShould struct {
	Conditions []Condition
	Count      uint64
}

// Condition is one of *Filter, HasID, HasVector, IsEmpty, IsNull, Nested, Match,
// MatchText, Range, DatetimeRange, ValuesCount, FieldEmpty and FieldNull. On an array a
// condition holds when it holds for one of the elements.
type Condition interface {
	compile(c *compiler, depth int) (predicate, error)
}

type (
	// HasID holds for the listed ids. It never holds inside Nested.
	HasID []PointID
	// HasVector holds for points with a vector of this name ("" is the unnamed one).
	HasVector string
	// IsEmpty holds when the key is absent, null or an empty array.
	IsEmpty struct{ Key string }
	// IsNull holds when the value is null; an absent key is not null.
	IsNull struct{ Key string }
	// FieldEmpty is IsEmpty written as a field condition, with the answer wanted.
	FieldEmpty struct {
		Key  string
		Want bool
	}
	// FieldNull asks whether the value is null or an array with a null in it.
	FieldNull struct {
		Key  string
		Want bool
	}
	// Nested holds when one object of the array at Key meets the whole filter.
	Nested struct {
		Key    string
		Filter *Filter
	}
	// Match compares with values of one type. Except inverts it for every value that is
	// present: absent keys and nulls match neither way.
	Match struct {
		Key      string
		Bool     *bool
		Ints     []int64
		Keywords []string
		Except   bool
	}
	// MatchText is full-text search: by the tokens of the field's text index, else by
	// substring.
	MatchText struct {
		Key, Text string
		Mode      TextMode
	}
	// Range compares numbers; nil bounds are open.
	Range struct {
		Key              string
		Lt, Gt, Lte, Gte *float64
	}
	// DatetimeRange compares strings that ParseDatetime understands.
	DatetimeRange struct {
		Key              string
		Lt, Gt, Lte, Gte *time.Time
	}
	// ValuesCount compares the number of elements; a scalar counts 1, null and absent
	// keys do not match.
	ValuesCount struct {
		Key              string
		Lt, Gt, Lte, Gte *uint64
	}
)

// TextMode is what MatchText asks for.
type TextMode uint8

// The modes: every token, any token, or the tokens in this order without gaps.
const (
	TextAll TextMode = iota
	TextAny
	TextPhrase
)

// candidate is what a predicate looks at: a point, or inside Nested only an object.
type candidate struct {
	c       *collection // nil inside Nested
	slot    uint32
	payload Object
}

type predicate func(candidate) bool

type compiler struct{ indexes map[string]Index }

// compileFor parses paths and looks up indexes once for a scan. A nil filter gives nil.
func (f *Filter) compileFor(c *collection) (predicate, error) {
	if f == nil || len(f.Must)+len(f.Should)+len(f.MustNot) == 0 && f.MinShould == nil {
		return nil, nil
	}
	return f.compile(&compiler{c.indexes}, maxDepth)
}

func (f *Filter) compile(c *compiler, depth int) (predicate, error) {
	if depth == 0 {
		return nil, fault.Reject("flat.Filter", fault.Invalid, reasonFilterDepth, "filter is nested deeper than %d levels", maxDepth)
	}
	var err error
	list := func(conds []Condition) []predicate {
		out := make([]predicate, 0, len(conds))
		for _, cond := range conds {
			p, e := cond.compile(c, depth-1)
			if e != nil {
				err = e
			}
			out = append(out, p)
		}
		return out
	}
	must, should, mustNot := list(f.Must), list(f.Should), list(f.MustNot)
	var minOf []predicate
	var minCount uint64
	if f.MinShould != nil {
		minOf, minCount = list(f.MinShould.Conditions), f.MinShould.Count
	}
	if err != nil {
		return nil, err
	}
	return func(x candidate) bool {
		for _, p := range must {
			if !p(x) {
				return false
			}
		}
		for _, p := range mustNot {
			if p(x) {
				return false
			}
		}
		if len(should) > 0 && !slices.ContainsFunc(should, func(p predicate) bool { return p(x) }) {
			return false
		}
		var n uint64
		for _, p := range minOf {
			if n == minCount {
				break
			}
			if p(x) {
				n++
			}
		}
		return n >= minCount
	}, nil
}

func (h HasID) compile(*compiler, int) (predicate, error) {
	set := make(map[PointID]struct{}, len(h))
	for _, id := range h {
		set[id] = struct{}{}
	}
	return func(x candidate) bool {
		if x.c == nil {
			return false
		}
		_, ok := set[x.c.ids[x.slot]]
		return ok
	}, nil
}

func (h HasVector) compile(*compiler, int) (predicate, error) {
	return func(x candidate) bool {
		if x.c == nil {
			return false
		}
		col, ok := x.c.columns[string(h)]
		return ok && col.has(x.slot)
	}, nil
}

func (n Nested) compile(c *compiler, depth int) (predicate, error) {
	path, err := ParsePath(n.Key)
	if err != nil {
		return nil, err
	}
	// Indexes of nested fields are named by their full path.
	inner := &compiler{make(map[string]Index)}
	for key, ix := range c.indexes {
		if sub, ok := strings.CutPrefix(key, path.arrayed().prefix()); ok {
			inner.indexes[sub] = ix
		}
	}
	f := n.Filter
	if f == nil {
		f = &Filter{}
	}
	p, err := f.compile(inner, depth-1)
	if err != nil {
		return nil, err
	}
	array := path.arrayed()
	return func(x candidate) bool {
		return !array.each(x.payload, func(v any) bool {
			o, ok := v.(Object)
			return !ok || !p(candidate{payload: o})
		})
	}, nil
}

func (p Path) prefix() string { return strings.TrimSuffix(p.text, "[]") + "[]." }

func (e IsEmpty) compile(*compiler, int) (predicate, error) {
	path, err := ParsePath(e.Key)
	return func(x candidate) bool {
		return path.each(x.payload, func(v any) bool {
			l, ok := v.(List)
			return v == nil || ok && l.Len() == 0
		})
	}, err
}

func (n IsNull) compile(*compiler, int) (predicate, error) {
	path, err := ParsePath(n.Key)
	return func(x candidate) bool {
		return !path.each(x.payload, func(v any) bool { return v != nil })
	}, err
}

// onField builds a predicate that holds when check holds for one of the values at key, or
// equals absent when there are none.
func onField(key string, absent bool, check func(any) bool) (predicate, error) {
	path, err := ParsePath(key)
	return func(x candidate) bool {
		seen, hit := false, false
		path.each(x.payload, func(v any) bool {
			seen, hit = true, check(v)
			return !hit
		})
		return hit || !seen && absent
	}, err
}

// eachElement looks into an array, one level, as Qdrant does.
func eachElement(check func(any) bool) func(any) bool {
	return func(v any) bool {
		if l, ok := v.(List); ok {
			return slices.ContainsFunc(l.items, check)
		}
		return check(v)
	}
}

func (e FieldEmpty) compile(*compiler, int) (predicate, error) {
	return onField(e.Key, e.Want, func(v any) bool {
		l, ok := v.(List)
		return (v == nil || ok && l.Len() == 0) == e.Want
	})
}

func (n FieldNull) compile(*compiler, int) (predicate, error) {
	return onField(n.Key, !n.Want, func(v any) bool {
		l, _ := v.(List)
		return (v == nil || slices.Contains(l.items, nil)) == n.Want
	})
}

func (m Match) compile(*compiler, int) (predicate, error) {
	ints, words := make(map[int64]struct{}, len(m.Ints)), make(map[string]struct{}, len(m.Keywords))
	for _, i := range m.Ints {
		ints[i] = struct{}{}
	}
	for _, w := range m.Keywords {
		words[w] = struct{}{}
	}
	return onField(m.Key, false, eachElement(func(v any) bool {
		var in bool
		switch v := v.(type) {
		case nil:
			return false
		case bool:
			in = m.Bool != nil && *m.Bool == v
		case int64:
			_, in = ints[v]
		case string:
			_, in = words[v]
		}
		return in != m.Except
	}))
}

func (m MatchText) compile(c *compiler, _ int) (predicate, error) {
	ix, indexed := c.indexes[m.Key]
	if !indexed || ix.Type != TextIndex {
		words := strings.Fields(m.Text)
		return onField(m.Key, false, eachElement(func(v any) bool {
			s, ok := v.(string)
			if m.Mode == TextAny {
				return ok && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
			}
			return ok && strings.Contains(s, m.Text)
		}))
	}
	if m.Mode == TextPhrase && !ix.Text.PhrasesSupported {
		return nil, fault.Reject("flat.Filter", fault.Unsupported, reasonPhrase, "match phrase over a text index made without phrase_matching")
	}
	want := ix.Text.tokens(m.Text)
	check := [...]func(doc, query []string) bool{TextAll: containsAll, TextAny: containsAny, TextPhrase: containsPhrase}[m.Mode]
	return onField(m.Key, false, eachElement(func(v any) bool {
		s, ok := v.(string)
		return ok && check(ix.Text.tokens(s), want)
	}))
}

func (r Range) compile(*compiler, int) (predicate, error) {
	return onField(r.Key, false, eachElement(func(v any) bool {
		var f float64
		switch v := v.(type) {
		case int64:
			f = float64(v)
		case float64:
			f = v
		default:
			return false
		}
		return (r.Lt == nil || f < *r.Lt) && (r.Gt == nil || f > *r.Gt) && (r.Lte == nil || f <= *r.Lte) && (r.Gte == nil || f >= *r.Gte)
	}))
}

func (r DatetimeRange) compile(*compiler, int) (predicate, error) {
	return onField(r.Key, false, eachElement(func(v any) bool {
		s, _ := v.(string)
		t, ok := ParseDatetime(s)
		return ok && (r.Lt == nil || t.Before(*r.Lt)) && (r.Gt == nil || t.After(*r.Gt)) &&
			(r.Lte == nil || !t.After(*r.Lte)) && (r.Gte == nil || !t.Before(*r.Gte))
	}))
}

func (r ValuesCount) compile(*compiler, int) (predicate, error) {
	return onField(r.Key, false, func(v any) bool {
		n := uint64(1)
		switch v := v.(type) {
		case nil:
			n = 0
		case List:
			n = uint64(v.Len())
		}
		return (r.Lt == nil || n < *r.Lt) && (r.Gt == nil || n > *r.Gt) && (r.Lte == nil || n <= *r.Lte) && (r.Gte == nil || n >= *r.Gte)
	})
}
