package bench

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/radstream/radstream/indexer/flat"
)

// store puts a round into an embedded index.
func (r edgeRound) store(t *testing.T) *flat.DB {
	t.Helper()
	db, err := flat.Open(t.TempDir(), flat.Options{Sync: flat.SyncNever})
	var d flat.Distance
	for _, known := range edgeDistances {
		if known.name == r.Distance {
			d = known.d
		}
	}
	if err == nil {
		err = db.CreateCollection("c", flat.Config{Vectors: map[string]flat.VectorConfig{"v": {Size: r.Width, Distance: d}}})
	}
	kinds := map[string]flat.IndexType{"Keyword": flat.KeywordIndex, "Integer": flat.IntegerIndex, "Float": flat.FloatIndex, "Bool": flat.BoolIndex, "Datetime": flat.DatetimeIndex}
	for key, kind := range r.Indexes {
		if err == nil {
			err = db.CreateIndex("c", key, flat.Index{Type: kinds[kind]})
		}
	}
	var points []flat.Point
	for _, p := range r.Points {
		points = append(points, flat.Point{ID: edgeID(p.ID), Vectors: map[string][]float32{"v": p.Vector}, Payload: edgeValue(t, p.Payload).(flat.Object)})
	}
	if err == nil {
		_, err = db.Upsert("c", points, flat.UpsertOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func edgeID(id any) flat.PointID {
	if n, ok := id.(uint64); ok {
		return flat.NumID(n)
	}
	return flat.UUIDID(uuid.MustParse(id.(string)))
}

func edgeValue(t *testing.T, v any) any {
	switch v := v.(type) {
	case map[string]any:
		var ms []flat.Member
		for key, x := range v {
			ms = append(ms, flat.Member{Key: key, Value: edgeValue(t, x)})
		}
		o, err := flat.NewObject(ms)
		if err != nil {
			t.Fatal(err)
		}
		return o
	case []any:
		items := make([]any, len(v))
		for i, x := range v {
			items[i] = edgeValue(t, x)
		}
		return flat.NewList(items)
	}
	return v
}

// ask runs a case on the embedded index; n is the answer of a count.
func (c edgeCase) ask(t *testing.T, db *flat.DB) (hits []edgeHit, n int, err error) {
	var f *flat.Filter
	if c.Filter != nil {
		f = edgeFilter(t, c.Filter)
	}
	if c.Kind == "count" {
		n, err = db.Count("c", f)
		return nil, n, err
	}
	if c.Kind == "scroll" {
		page, _, err := db.Scroll("c", flat.Scroll{Filter: f, Limit: c.Limit})
		for _, r := range page {
			hits = append(hits, edgeHit{id: r.ID.String()})
		}
		return hits, 0, err
	}
	inputs := func(vs [][]float32) (out []flat.Input) {
		for _, v := range vs {
			out = append(out, flat.Input{Vector: v})
		}
		return out
	}
	q := flat.Query{Using: "v", Filter: f, Limit: c.Limit, Offset: c.Offset, Threshold: c.Threshold}
	switch c.Kind {
	case "nearest":
		q.Ranking = flat.Nearest{Input: flat.Input{Vector: c.Vector}}
	case "best":
		q.Ranking = flat.Recommend{Positive: inputs(c.Positives), Negative: inputs(c.Negatives), Strategy: flat.BestScore}
	case "sum":
		q.Ranking = flat.Recommend{Positive: inputs(c.Positives), Negative: inputs(c.Negatives), Strategy: flat.SumScores}
	case "rrf":
		q.Ranking = flat.RRF{K: 2}
		for _, in := range inputs(c.Positives) {
			q.Prefetch = append(q.Prefetch, flat.Query{Ranking: flat.Nearest{Input: in}, Using: "v", Limit: c.Limit})
		}
	}
	found, err := db.Query("c", q)
	for _, h := range found {
		hits = append(hits, edgeHit{h.ID.String(), h.Score})
	}
	return hits, 0, err
}

func edgeFilter(t *testing.T, m map[string]any) *flat.Filter {
	list := func(v any) (out []flat.Condition) {
		for _, c := range v.([]any) {
			out = append(out, edgeCondition(t, c.(map[string]any)))
		}
		return out
	}
	f := &flat.Filter{Must: list(m["must"]), Should: list(or(m["should"])), MustNot: list(or(m["must_not"]))}
	if min, ok := m["min_should"].(map[string]any); ok {
		f.MinShould = &flat.MinShould{Conditions: list(min["conditions"]), Count: uint64(min["count"].(int))}
	}
	return f
}

func or(v any) any {
	if v == nil {
		return []any{}
	}
	return v
}

func edgeCondition(t *testing.T, c map[string]any) flat.Condition {
	key, _ := c["key"].(string)
	match := func(values []any, except bool) flat.Match {
		m := flat.Match{Key: key, Except: except}
		for _, v := range values {
			switch v := v.(type) {
			case string:
				m.Keywords = append(m.Keywords, v)
			case int:
				m.Ints = append(m.Ints, int64(v))
			case bool:
				m.Bool = &v
			}
		}
		return m
	}
	number := func(name string) *float64 {
		v, ok := c["range"].(map[string]any)[name].(float64)
		if !ok {
			return nil
		}
		return &v
	}
	moment := func(name string) *time.Time {
		text, _ := c["time"].(map[string]any)[name].(string)
		v, ok := flat.ParseDatetime(text)
		if !ok {
			return nil
		}
		return &v
	}
	for name, v := range c {
		switch name {
		case "value":
			return match([]any{v}, false)
		case "any":
			return match(v.([]any), false)
		case "except":
			return match(v.([]any), true)
		case "range":
			return flat.Range{Key: key, Lt: number("lt"), Gt: number("gt"), Lte: number("lte"), Gte: number("gte")}
		case "time":
			return flat.DatetimeRange{Key: key, Lt: moment("lt"), Gt: moment("gt"), Lte: moment("lte"), Gte: moment("gte")}
		case "count":
			least := uint64(v.(map[string]any)["gte"].(int))
			return flat.ValuesCount{Key: key, Gte: &least}
		case "empty":
			return flat.IsEmpty{Key: v.(string)}
		case "null":
			return flat.IsNull{Key: v.(string)}
		case "ids":
			var ids flat.HasID
			for _, id := range v.([]any) {
				ids = append(ids, edgeID(id))
			}
			return ids
		case "nested":
			return flat.Nested{Key: v.(string), Filter: edgeFilter(t, c["filter"].(map[string]any))}
		case "filter":
			if c["nested"] == nil {
				return edgeFilter(t, v.(map[string]any))
			}
		}
	}
	t.Fatalf("no condition: %v", c)
	return nil
}
