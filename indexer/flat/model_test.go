package flat

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// modelPoint is a point in the simplest form that could be right.
type modelPoint struct {
	payload map[string]any
	vectors map[string][]float32
}

// TestModel runs random operations on a store and on a map, and compares every answer;
// compaction and reopening may happen at any time.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		db, err := Open(dir, Options{Sync: SyncNever})
		check(t, err)
		defer func() { db.Close() }()
		check(t, db.CreateCollection("c", testConfig()))
		model := map[PointID]modelPoint{}
		ids := rapid.Custom(func(rt *rapid.T) PointID {
			n := rapid.Uint64Range(0, 12).Draw(rt, "n")
			if rapid.Bool().Draw(rt, "uuid") {
				return UUIDID([16]byte{0: byte(n), 15: 1})
			}
			return NumID(n)
		})
		vec := rapid.SliceOfN(rapid.Float32Range(-1, 1), testDim, testDim)
		rev := rapid.Int64Range(0, 5)
		rt.Repeat(map[string]func(*rapid.T){
			"upsert": func(rt *rapid.T) {
				opt := UpsertOptions{Mode: Mode(rapid.IntRange(0, 2).Draw(rt, "mode"))}
				limit := rev.Draw(rt, "limit")
				conditional := rapid.Bool().Draw(rt, "conditional")
				if conditional {
					f := float64(limit)
					opt.Filter = &Filter{Must: []Condition{Range{Key: "rev", Lt: &f}}}
				}
				var ps []Point
				for range rapid.IntRange(1, 4).Draw(rt, "points") {
					p := Point{ID: ids.Draw(rt, "id"), Vectors: map[string][]float32{}}
					r := rev.Draw(rt, "rev")
					p.Payload = obj(t, Member{"rev", r}, Member{"tag", fmt.Sprint(r % 2)})
					for _, name := range []string{"image", "text"} {
						if rapid.Bool().Draw(rt, name) {
							p.Vectors[name] = vec.Draw(rt, "vector")
						}
					}
					ps = append(ps, p)
					old, exists := model[p.ID]
					oldRev, _ := old.payload["rev"].(int64)
					_, hasRev := old.payload["rev"]
					if exists && (opt.Mode == InsertOnly || conditional && !(hasRev && oldRev < limit)) || !exists && opt.Mode == UpdateOnly {
						continue
					}
					model[p.ID] = modelPoint{map[string]any{"rev": r, "tag": fmt.Sprint(r % 2)}, stored(p.Vectors)}
				}
				_, err := db.Upsert("c", ps, opt)
				check(t, err)
			},
			"delete": func(rt *rapid.T) {
				id := ids.Draw(rt, "id")
				check(t, db.Delete("c", Selector{IDs: []PointID{id}}))
				delete(model, id)
			},
			"delete by filter": func(rt *rapid.T) {
				r := rev.Draw(rt, "rev")
				check(t, db.Delete("c", Selector{Filter: &Filter{Must: []Condition{Match{Key: "rev", Ints: []int64{r}}}}}))
				maps.DeleteFunc(model, func(_ PointID, p modelPoint) bool { return p.payload["rev"] == r })
			},
			"set payload": func(rt *rapid.T) {
				id, v := ids.Draw(rt, "id"), rev.Draw(rt, "value")
				err := db.SetPayload("c", Selector{IDs: []PointID{id}}, nil, obj(t, Member{"extra", v}, Member{"tag", nil}))
				p, ok := model[id]
				if (err == nil) != ok {
					rt.Fatalf("set payload on a point that exists (%v): %v", ok, err)
				}
				if ok {
					p.payload = maps.Clone(p.payload)
					p.payload["extra"] = v
					delete(p.payload, "tag")
					model[id] = p
				}
			},
			"update vectors": func(rt *rapid.T) {
				id, v := ids.Draw(rt, "id"), vec.Draw(rt, "vector")
				err := db.UpdateVectors("c", []Point{{ID: id, Vectors: map[string][]float32{"image": v}}}, nil)
				p, ok := model[id]
				if (err == nil) != ok {
					rt.Fatalf("update vectors of a point that exists (%v): %v", ok, err)
				}
				if ok {
					p.vectors = maps.Clone(p.vectors)
					p.vectors["image"] = stored(map[string][]float32{"image": v})["image"]
					model[id] = p
				}
			},
			"delete vectors": func(rt *rapid.T) {
				id := ids.Draw(rt, "id")
				err := db.DeleteVectors("c", Selector{IDs: []PointID{id}}, []string{"text"})
				p, ok := model[id]
				if (err == nil) != ok {
					rt.Fatalf("delete vectors of a point that exists (%v): %v", ok, err)
				}
				if ok {
					p.vectors = maps.Clone(p.vectors)
					delete(p.vectors, "text")
					model[id] = p
				}
			},
			"compact": func(*rapid.T) { check(t, db.Compact()) },
			"reopen": func(*rapid.T) {
				check(t, db.Close())
				db, err = Open(dir, Options{Sync: SyncNever})
				check(t, err)
			},
			"search": func(rt *rapid.T) { compareSearch(t, rt, db, model, vec.Draw(rt, "query")) },
			"": func(rt *rapid.T) {
				var got []Record
				for from := (*PointID)(nil); ; {
					page, next, err := db.Scroll("c", Scroll{From: from, Limit: 3, Vectors: VectorSelection{All: true}})
					check(t, err)
					if got = append(got, page...); next == nil {
						break
					}
					from = next
				}
				var want []Record
				for _, id := range slices.SortedFunc(maps.Keys(model), PointID.Compare) {
					r := Record{ID: id, Vectors: model[id].vectors}
					for k, v := range model[id].payload {
						r.Payload = r.Payload.with(k, v)
					}
					want = append(want, r)
				}
				compareRecords(rt, want, got)
			},
		})
	})
}

func compareSearch(t *testing.T, rt *rapid.T, db *DB, model map[PointID]modelPoint, query []float32) {
	limit, offset := rapid.IntRange(1, 8).Draw(rt, "limit"), rapid.IntRange(0, 3).Draw(rt, "offset")
	hits, err := db.Query("c", Query{Ranking: Nearest{Input{Vector: query}}, Using: "text", Limit: limit, Offset: offset,
		Filter: &Filter{MustNot: []Condition{Match{Key: "tag", Keywords: []string{"1"}}}}})
	check(t, err)
	type ranked struct {
		id    PointID
		score float32
	}
	var want []ranked
	for id, p := range model {
		if v, ok := p.vectors["text"]; ok && p.payload["tag"] != "1" {
			want = append(want, ranked{id, dot(query, v)})
		}
	}
	slices.SortFunc(want, func(a, b ranked) int {
		if a.score != b.score {
			return int(math.Copysign(1, float64(b.score-a.score)))
		}
		return a.id.Compare(b.id)
	})
	want = want[min(offset, len(want)):]
	want = want[:min(limit, len(want))]
	if len(want) != len(hits) {
		rt.Fatalf("%d hits, want %d", len(hits), len(want))
	}
	for i, h := range hits {
		if h.ID != want[i].id || h.Score != want[i].score {
			rt.Fatalf("hit %d is %v with %v, want %v", i, h.ID, h.Score, want[i])
		}
	}
}

func stored(vs map[string][]float32) map[string][]float32 {
	out := map[string][]float32{}
	for name, v := range vs {
		out[name], _ = testConfig().prepare(name, v)
	}
	return out
}

func compareRecords(t interface{ Fatalf(string, ...any) }, want, got []Record) {
	if len(got) != len(want) {
		t.Fatalf("%d points, want %d", len(got), len(want))
	}
	for i := range want {
		w, g := want[i], got[i]
		if w.ID != g.ID || string(appendValue(nil, w.Payload)) != string(appendValue(nil, g.Payload)) || !maps.EqualFunc(w.Vectors, g.Vectors, slices.Equal) {
			t.Fatalf("point %d is %+v, want %+v", i, g, w)
		}
	}
}
