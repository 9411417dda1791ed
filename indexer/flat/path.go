package flat

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/radstream/radstream/schemas/fault"
)

const reasonPath fault.Reason = "json_path"

// Path is a parsed JSON path of Qdrant's form: keys joined by dots, each followed by any
// number of [n] or []; a key with other characters than letters, digits, _ and - stands in
// double quotes. Example: priors[].days.
type Path struct {
	first string
	rest  []step
	text  string
}

type step struct {
	kind stepKind
	key  string
	at   int
}

type stepKind uint8

const (
	stepKey stepKind = iota // .key
	stepAt                  // [n]
	stepAny                 // []
)

// ParsePath parses s or fails with Invalid.
func ParsePath(s string) (Path, error) {
	p := Path{text: s}
	bad := func() (Path, error) {
		return Path{}, fault.Reject("flat.ParsePath", fault.Invalid, reasonPath, `not a JSON path of the form key.key[].key[0]."quoted key"`)
	}
	var ok bool
	if p.first, s, ok = cutKey(s); !ok {
		return bad()
	}
	for s != "" {
		switch {
		case s[0] == '.':
			var k string
			if k, s, ok = cutKey(s[1:]); !ok {
				return bad()
			}
			p.rest = append(p.rest, step{kind: stepKey, key: k})
		case strings.HasPrefix(s, "[]"):
			p.rest, s = append(p.rest, step{kind: stepAny}), s[2:]
		case s[0] == '[':
			num, after, found := strings.Cut(s[1:], "]")
			n, err := strconv.ParseUint(num, 10, 31)
			if !found || err != nil || num[0] == '+' {
				return bad()
			}
			p.rest, s = append(p.rest, step{kind: stepAt, at: int(n)}), after
		default:
			return bad()
		}
		if len(p.rest) > maxDepth {
			return bad()
		}
	}
	return p, nil
}

// String returns the text that was parsed.
func (p Path) String() string { return p.text }

// each calls f with every value at p in o until f returns false; it reports whether f
// never did. An array at the end of the path is one value.
func (p Path) each(o Object, f func(any) bool) bool {
	v, ok := o.Get(p.first)
	return !ok || walk(v, p.rest, f)
}

// arrayed returns p with [] at its end.
func (p Path) arrayed() Path {
	if n := len(p.rest); n == 0 || p.rest[n-1].kind != stepAny {
		p.rest = append(slices.Clip(p.rest), step{kind: stepAny})
	}
	return p
}

// set merges src into the object at p, making objects on the way where there are none.
func (p Path) set(o, src Object) Object {
	v, _ := o.Get(p.first)
	return o.with(p.first, setAt(v, p.rest, src))
}

// remove returns o without the values at p. An element of an array cannot be removed by
// its index, which Qdrant ignores as well.
func (p Path) remove(o Object) Object {
	v, ok := o.Get(p.first)
	switch {
	case !ok:
		return o
	case len(p.rest) == 0:
		return o.without(p.first)
	}
	return o.with(p.first, removeAt(v, p.rest))
}

// Include returns the parts of o that lie on one of the paths: Qdrant's payload selector.
func (o Object) Include(paths []Path) Object { return include(o, steps(paths)).(Object) }

// Exclude returns o without what lies at the paths.
func (o Object) Exclude(paths []Path) Object { return exclude(o, steps(paths)).(Object) }

// steps are those of each path.
func steps(paths []Path) [][]step {
	out := make([][]step, len(paths))
	for i, p := range paths {
		out[i] = append([]step{{kind: stepKey, key: p.first}}, p.rest...)
	}
	return out
}

// follow returns what is left of the paths that begin with s; whole: one of them ends there.
func follow(paths [][]step, s step) (rest [][]step, whole bool) {
	for _, p := range paths {
		switch {
		case p[0] != s:
		case len(p) == 1:
			return nil, true
		default:
			rest = append(rest, p[1:])
		}
	}
	return rest, false
}

func include(v any, paths [][]step) any {
	switch v := v.(type) {
	case Object:
		out := make([]Member, 0, min(len(v.members), len(paths)))
		for _, m := range v.members {
			if rest, whole := follow(paths, step{kind: stepKey, key: m.Key}); whole {
				out = append(out, m)
			} else if rest != nil {
				out = append(out, Member{m.Key, include(m.Value, rest)})
			}
		}
		return Object{out}
	case List:
		rest, whole := follow(paths, step{kind: stepAny})
		switch {
		case whole:
			return v
		case rest == nil:
			return List{}
		}
		out := make([]any, len(v.items))
		for i, x := range v.items {
			out[i] = include(x, rest)
		}
		return List{out}
	}
	return v
}

func exclude(v any, paths [][]step) any {
	if paths == nil {
		return v
	}
	switch v := v.(type) {
	case Object:
		var out []Member
		for _, m := range v.members {
			if rest, whole := follow(paths, step{kind: stepKey, key: m.Key}); !whole {
				out = append(out, Member{m.Key, exclude(m.Value, rest)})
			}
		}
		return Object{out}
	case List:
		rest, whole := follow(paths, step{kind: stepAny})
		if whole {
			return List{}
		}
		out := make([]any, len(v.items))
		for i, x := range v.items {
			out[i] = exclude(x, rest)
		}
		return List{out}
	}
	return v
}

func walk(v any, rest []step, f func(any) bool) bool {
	if len(rest) == 0 {
		return f(v)
	}
	switch s := rest[0]; s.kind {
	case stepKey:
		if o, ok := v.(Object); ok {
			if x, ok := o.Get(s.key); ok {
				return walk(x, rest[1:], f)
			}
		}
	case stepAt:
		if l, ok := v.(List); ok && s.at < len(l.items) {
			return walk(l.items[s.at], rest[1:], f)
		}
	case stepAny:
		if l, ok := v.(List); ok {
			for _, x := range l.items {
				if !walk(x, rest[1:], f) {
					return false
				}
			}
		}
	}
	return true
}

func setAt(v any, rest []step, src Object) any {
	if len(rest) == 0 {
		o, _ := v.(Object)
		return o.Merge(src)
	}
	switch s := rest[0]; s.kind {
	case stepKey:
		o, _ := v.(Object)
		x, _ := o.Get(s.key)
		return o.with(s.key, setAt(x, rest[1:], src))
	default:
		l, _ := v.(List)
		items := slices.Clone(l.items)
		for i := range items {
			if s.kind == stepAny || s.at == i {
				items[i] = setAt(items[i], rest[1:], src)
			}
		}
		return List{items}
	}
}

func removeAt(v any, rest []step) any {
	s, last := rest[0], len(rest) == 1
	switch v := v.(type) {
	case Object:
		x, ok := v.Get(s.key)
		switch {
		case s.kind != stepKey || !ok:
		case last:
			return v.without(s.key)
		default:
			return v.with(s.key, removeAt(x, rest[1:]))
		}
	case List:
		switch {
		case s.kind == stepAny && last:
			return List{}
		case s.kind != stepKey && !last:
			items := slices.Clone(v.items)
			for i := range items {
				if s.kind == stepAny || s.at == i {
					items[i] = removeAt(items[i], rest[1:])
				}
			}
			return List{items}
		}
	}
	return v
}

func cutKey(s string) (key, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s[1:], `"\`)
		if end < 0 || s[1+end] == '\\' {
			return "", "", false
		}
		return s[1 : 1+end], s[2+end:], true
	}
	n := 0
	for n < len(s) {
		r, w := utf8.DecodeRuneInString(s[n:])
		if r == utf8.RuneError || r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			break
		}
		n += w
	}
	return s[:n], s[n:], n > 0
}
