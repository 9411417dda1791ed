package qdrantd

import (
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/indexer/flat"
)

// filterDepth bounds recursion here; flat has the same limit.
const filterDepth = 100

// filter converts a filter; nil stays nil.
func filter(f *qdrant.Filter) (*flat.Filter, error) { return filterAt(f, filterDepth) }

func filterAt(f *qdrant.Filter, depth int) (*flat.Filter, error) {
	if f == nil {
		return nil, nil
	}
	if depth == 0 {
		return nil, invalid("a filter is nested deeper than %d levels", filterDepth)
	}
	var out flat.Filter
	var err error
	if out.Must, err = conditions(f.GetMust(), depth); err != nil {
		return nil, err
	}
	if out.Should, err = conditions(f.GetShould(), depth); err != nil {
		return nil, err
	}
	if out.MustNot, err = conditions(f.GetMustNot(), depth); err != nil {
		return nil, err
	}
	if m := f.GetMinShould(); m != nil {
		conds, err := conditions(m.GetConditions(), depth)
		if err != nil {
			return nil, err
		}
		out.MinShould = &flat.MinShould{Conditions: conds, Count: m.GetMinCount()}
	}
	return &out, nil
}

func conditions(cs []*qdrant.Condition, depth int) ([]flat.Condition, error) {
	out := make([]flat.Condition, 0, len(cs))
	for _, c := range cs {
		cond, err := condition(c, depth-1)
		if err != nil {
			return nil, err
		}
		out = append(out, cond)
	}
	return out, nil
}

func condition(c *qdrant.Condition, depth int) (flat.Condition, error) {
	switch c := c.GetConditionOneOf().(type) {
	case *qdrant.Condition_Field:
		return fieldCondition(c.Field)
	case *qdrant.Condition_IsEmpty:
		return flat.IsEmpty{Key: c.IsEmpty.GetKey()}, nil
	case *qdrant.Condition_IsNull:
		return flat.IsNull{Key: c.IsNull.GetKey()}, nil
	case *qdrant.Condition_HasId:
		ids, err := pointIDs(c.HasId.GetHasId())
		return flat.HasID(ids), err
	case *qdrant.Condition_HasVector:
		return flat.HasVector(c.HasVector.GetHasVector()), nil
	case *qdrant.Condition_Nested:
		inner, err := filterAt(c.Nested.GetFilter(), depth)
		return flat.Nested{Key: c.Nested.GetKey(), Filter: inner}, err
	case *qdrant.Condition_Filter:
		inner, err := filterAt(c.Filter, depth)
		if inner == nil {
			inner = &flat.Filter{}
		}
		return inner, err
	}
	return nil, invalid("a condition is empty")
}

func fieldCondition(f *qdrant.FieldCondition) (flat.Condition, error) {
	if err := firstOf(
		field{"geo_bounding_box conditions", f.GetGeoBoundingBox() != nil},
		field{"geo_radius conditions", f.GetGeoRadius() != nil},
		field{"geo_polygon conditions", f.GetGeoPolygon() != nil},
	); err != nil {
		return nil, err
	}
	var out []flat.Condition
	key := f.GetKey()
	if m := f.GetMatch(); m != nil {
		cond, err := match(key, m)
		if err != nil {
			return nil, err
		}
		out = append(out, cond)
	}
	if r := f.GetRange(); r != nil {
		out = append(out, flat.Range{Key: key, Lt: r.Lt, Gt: r.Gt, Lte: r.Lte, Gte: r.Gte})
	}
	if r := f.GetDatetimeRange(); r != nil {
		out = append(out, flat.DatetimeRange{Key: key, Lt: instant(r.Lt), Gt: instant(r.Gt), Lte: instant(r.Lte), Gte: instant(r.Gte)})
	}
	if v := f.GetValuesCount(); v != nil {
		out = append(out, flat.ValuesCount{Key: key, Lt: v.Lt, Gt: v.Gt, Lte: v.Lte, Gte: v.Gte})
	}
	if f.IsEmpty != nil {
		out = append(out, flat.FieldEmpty{Key: key, Want: *f.IsEmpty})
	}
	if f.IsNull != nil {
		out = append(out, flat.FieldNull{Key: key, Want: *f.IsNull})
	}
	switch len(out) {
	case 0:
		return nil, invalid("a field condition is empty")
	case 1:
		return out[0], nil
	}
	return nil, unimplemented("a field condition with several parts; use one condition for each")
}

func match(key string, m *qdrant.Match) (flat.Condition, error) {
	switch v := m.GetMatchValue().(type) {
	case *qdrant.Match_Keyword:
		return flat.Match{Key: key, Keywords: []string{v.Keyword}}, nil
	case *qdrant.Match_Integer:
		return flat.Match{Key: key, Ints: []int64{v.Integer}}, nil
	case *qdrant.Match_Boolean:
		return flat.Match{Key: key, Bool: &v.Boolean}, nil
	case *qdrant.Match_Keywords:
		return flat.Match{Key: key, Keywords: v.Keywords.GetStrings()}, nil
	case *qdrant.Match_Integers:
		return flat.Match{Key: key, Ints: v.Integers.GetIntegers()}, nil
	case *qdrant.Match_ExceptKeywords:
		return flat.Match{Key: key, Keywords: v.ExceptKeywords.GetStrings(), Except: true}, nil
	case *qdrant.Match_ExceptIntegers:
		return flat.Match{Key: key, Ints: v.ExceptIntegers.GetIntegers(), Except: true}, nil
	case *qdrant.Match_Text:
		return flat.MatchText{Key: key, Text: v.Text}, nil
	case *qdrant.Match_TextAny:
		return flat.MatchText{Key: key, Text: v.TextAny, Mode: flat.TextAny}, nil
	case *qdrant.Match_Phrase:
		return flat.MatchText{Key: key, Text: v.Phrase, Mode: flat.TextPhrase}, nil
	}
	return nil, invalid("a match condition is empty")
}

func instant(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}
