package flat

import (
	"iter"
	"math"
	"slices"
	"strings"
	"unique"

	"github.com/radstream/radstream/schemas/fault"
)

// Reasons for refusing a payload.
const (
	reasonPayloadType  fault.Reason = "payload_type"
	reasonPayloadDepth fault.Reason = "payload_too_deep"
)

// maxDepth bounds the nesting of payloads and filters, as Qdrant's parsers do.
const maxDepth = 100

// Object is an immutable JSON object: payloads are shared between the store and its
// callers without copying. The zero value is the empty object. Values are nil, bool,
// int64, float64 (finite), string, [List] or Object; integers and floats are distinct, as
// in Qdrant.
type Object struct{ members []Member }

// Member is one key of an Object with its value.
type Member struct {
	Key   string
	Value any
}

// List is an immutable JSON array.
type List struct{ items []any }

// NewObject builds an Object from members in any order; of a repeated key the last one
// counts. It fails with Invalid for a value of another type, a float that is not finite,
// or nesting beyond 100 levels.
func NewObject(members []Member) (Object, error) {
	o := object(slices.Clone(members))
	if err := checkValue(o, maxDepth); err != nil {
		return Object{}, err
	}
	return o, nil
}

// NewList builds a List; the contents are checked when it becomes part of an Object.
func NewList(items []any) List { return List{slices.Clone(items)} }

// Len returns the number of items.
func (l List) Len() int { return len(l.items) }

// All yields the items in order.
func (l List) All() iter.Seq[any] { return slices.Values(l.items) }

// Len returns the number of keys.
func (o Object) Len() int { return len(o.members) }

// Get returns the value of key.
func (o Object) Get(key string) (any, bool) {
	i, ok := o.find(key)
	if !ok {
		return nil, false
	}
	return o.members[i].Value, true
}

// All yields keys and values in the order of the keys.
func (o Object) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, m := range o.members {
			if !yield(m.Key, m.Value) {
				return
			}
		}
	}
}

// Merge returns o with the keys of src replaced; a null in src removes its key.
func (o Object) Merge(src Object) Object {
	for _, m := range src.members {
		if m.Value == nil {
			o = o.without(m.Key)
		} else {
			o = o.with(m.Key, m.Value)
		}
	}
	return o
}

func (o Object) find(key string) (int, bool) {
	return slices.BinarySearchFunc(o.members, key, func(m Member, k string) int { return strings.Compare(m.Key, k) })
}

func (o Object) with(key string, v any) Object {
	i, ok := o.find(key)
	ms := slices.Clone(o.members)
	if ok {
		ms[i].Value = v
		return Object{ms}
	}
	return Object{slices.Insert(ms, i, Member{unique.Make(key).Value(), v})}
}

func (o Object) without(key string) Object {
	i, ok := o.find(key)
	if !ok {
		return o
	}
	return Object{slices.Delete(slices.Clone(o.members), i, i+1)}
}

// object takes ownership of ms. Keys are interned: every point repeats the same few.
func object(ms []Member) Object {
	for i := range ms {
		ms[i].Key = unique.Make(ms[i].Key).Value()
	}
	byKey := func(a, b Member) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(ms, byKey) {
		slices.SortStableFunc(ms, byKey)
	}
	out := ms[:0]
	for i, m := range ms {
		if i+1 == len(ms) || ms[i+1].Key != m.Key {
			out = append(out, m)
		}
	}
	return Object{out}
}

func checkValue(v any, depth int) error {
	if depth == 0 {
		return fault.Reject("flat.NewObject", fault.Invalid, reasonPayloadDepth, "payload is nested deeper than %d levels", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, string:
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fault.Reject("flat.NewObject", fault.Invalid, reasonPayloadType, "a number in the payload is not finite")
		}
	case List:
		for _, x := range v.items {
			if err := checkValue(x, depth-1); err != nil {
				return err
			}
		}
	case Object:
		for _, m := range v.members {
			if err := checkValue(m.Value, depth-1); err != nil {
				return err
			}
		}
	default:
		return fault.Reject("flat.NewObject", fault.Invalid, reasonPayloadType,
			"a payload value is of type %T; expected nil, bool, int64, float64, string, List or Object", v)
	}
	return nil
}
