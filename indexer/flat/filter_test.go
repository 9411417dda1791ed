package flat

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

func ptr[T any](v T) *T { return &v }

func sample(t testing.TB) Object {
	visit := func(days int64, same bool) any { return obj(t, Member{"days", days}, Member{"same", same}) }
	return obj(t,
		Member{"n", int64(7)}, Member{"f", 7.5}, Member{"one", 1.0}, Member{"s", "edema"}, Member{"ok", true}, Member{"none", nil},
		Member{"tags", NewList([]any{"a", "b", int64(3)})}, Member{"empty", List{}}, Member{"nulls", NewList([]any{nil})},
		Member{"when", "2024-03-05T10:00:00+02:00"}, Member{"text", "Study number 7: Small Nodule"},
		Member{"label", obj(t, Member{"effusion", 0.5})},
		Member{"priors", NewList([]any{visit(6, true), visit(36, false)})},
		Member{"odd key", int64(1)},
	)
}

// TestConditions: the cases about except, null, empty, counts, paths, nested objects and text
// without an index were tried on Qdrant's own engine (PyPI qdrant-edge-py 0.6.1, which is
// Qdrant 1.17.0) with the same outcome; later versions differ in three of them.
func TestConditions(t *testing.T) {
	db := open(t, t.TempDir())
	check(t, db.CreateCollection("c", testConfig()))
	id := UUIDID([16]byte{1})
	_, err := db.Upsert("c", []Point{{ID: id, Payload: sample(t), Vectors: map[string][]float32{"image": {1, 0, 0, 0}}}}, UpsertOptions{})
	check(t, err)
	day := func(s string) *time.Time {
		d, ok := ParseDatetime(s)
		if !ok {
			t.Fatal(s)
		}
		return &d
	}
	both := func(cs ...Condition) *Filter { return &Filter{Must: cs} }
	for name, c := range map[string]struct {
		cond Condition
		want bool
	}{
		"int":                          {Match{Key: "n", Ints: []int64{7}}, true},
		"int is not a float":           {Match{Key: "one", Ints: []int64{1}}, false},
		"keyword":                      {Match{Key: "s", Keywords: []string{"edema"}}, true},
		"keyword is not a substring":   {Match{Key: "s", Keywords: []string{"ede"}}, false},
		"any":                          {Match{Key: "s", Keywords: []string{"x", "edema"}}, true},
		"bool":                         {Match{Key: "ok", Bool: ptr(true)}, true},
		"bool other":                   {Match{Key: "ok", Bool: ptr(false)}, false},
		"member of an array":           {Match{Key: "tags", Keywords: []string{"b"}}, true},
		"except hit":                   {Match{Key: "s", Keywords: []string{"edema"}, Except: true}, false},
		"except miss":                  {Match{Key: "s", Keywords: []string{"x"}, Except: true}, true},
		"except another type":          {Match{Key: "f", Keywords: []string{"x"}, Except: true}, true},
		"except absent":                {Match{Key: "absent", Keywords: []string{"x"}, Except: true}, false},
		"except null":                  {Match{Key: "none", Keywords: []string{"x"}, Except: true}, false},
		"except one of an array":       {Match{Key: "tags", Keywords: []string{"a"}, Except: true}, true},
		"range int":                    {Range{Key: "n", Gte: ptr(7.0), Lt: ptr(8.0)}, true},
		"range strict":                 {Range{Key: "n", Gt: ptr(7.0)}, false},
		"range of a string":            {Range{Key: "s", Gt: ptr(0.0)}, false},
		"range nested key":             {Range{Key: "label.effusion", Lte: ptr(0.5)}, true},
		"array path":                   {Range{Key: "priors[].days", Gt: ptr(30.0)}, true},
		"array index":                  {Range{Key: "priors[0].days", Gt: ptr(30.0)}, false},
		"array without brackets":       {Range{Key: "priors.days", Gt: ptr(30.0)}, false},
		"quoted key":                   {Range{Key: `"odd key"`, Gt: ptr(0.0)}, true},
		"datetime":                     {DatetimeRange{Key: "when", Gte: day("2024-03-05T08:00:00Z"), Lte: day("2024-03-05 08:00:00")}, true},
		"datetime before":              {DatetimeRange{Key: "when", Lt: day("2024-03-05T08:00:00Z")}, false},
		"datetime of a number":         {DatetimeRange{Key: "n", Gt: day("1970-01-01")}, false},
		"is empty absent":              {IsEmpty{"absent"}, true},
		"is empty null":                {IsEmpty{"none"}, true},
		"is empty array":               {IsEmpty{"empty"}, true},
		"is empty array of null":       {IsEmpty{"nulls"}, false},
		"is empty value":               {IsEmpty{"n"}, false},
		"is null":                      {IsNull{"none"}, true},
		"is null absent":               {IsNull{"absent"}, false},
		"is null array of null":        {IsNull{"nulls"}, false},
		"field null array of null":     {FieldNull{"nulls", true}, true},
		"field not null absent":        {FieldNull{"absent", false}, true},
		"field empty absent":           {FieldEmpty{"absent", true}, true},
		"field not empty":              {FieldEmpty{"n", false}, true},
		"values count":                 {ValuesCount{Key: "tags", Gte: ptr(uint64(3))}, true},
		"values count scalar":          {ValuesCount{Key: "n", Gt: ptr(uint64(0)), Lt: ptr(uint64(2))}, true},
		"values count absent":          {ValuesCount{Key: "absent", Lt: ptr(uint64(9))}, false},
		"has id":                       {HasID{NumID(1), id}, true},
		"has other id":                 {HasID{NumID(1)}, false},
		"has vector":                   {HasVector("image"), true},
		"has not the vector":           {HasVector("text"), false},
		"has unknown vector":           {HasVector("nope"), false},
		"nested in one object":         {Nested{"priors", both(Range{Key: "days", Gt: ptr(30.0)}, Match{Key: "same", Bool: ptr(false)})}, true},
		"nested over two objects":      {Nested{"priors", both(Range{Key: "days", Gt: ptr(30.0)}, Match{Key: "same", Bool: ptr(true)})}, false},
		"nested has id":                {Nested{"priors", both(HasID{id})}, false},
		"text without index":           {MatchText{Key: "text", Text: "Small Nod"}, true},
		"text without index, any":      {MatchText{Key: "text", Text: "xx Nod", Mode: TextAny}, true},
		"text without index, in order": {MatchText{Key: "text", Text: "Nodule Small"}, false},
		"should":                       {&Filter{Should: []Condition{HasID{}, HasID{id}}}, true},
		"should none":                  {&Filter{Should: []Condition{HasID{}}}, false},
		"must not":                     {&Filter{MustNot: []Condition{HasID{id}}}, false},
		"min should":                   {&Filter{MinShould: &MinShould{[]Condition{HasID{id}, HasID{id}, HasID{}}, 2}}, true},
		"min should too few":           {&Filter{MinShould: &MinShould{[]Condition{HasID{id}, HasID{}}, 2}}, false},
		"empty filter":                 {&Filter{}, true},
	} {
		n, err := db.Count("c", both(c.cond))
		if err != nil || (n == 1) != c.want {
			t.Errorf("%s: count %d, %v; want match %v", name, n, err, c.want)
		}
	}
	for _, key := range []string{"", "a.", ".a", "a[", "a[x]", "a[-1]", `"a`, "a b", "a[]b"} {
		if _, err := db.Count("c", both(IsNull{key})); fault.KindOf(err) != fault.Invalid {
			t.Errorf("path %q: error %v, want kind invalid", key, err)
		}
	}
}

func TestTextIndex(t *testing.T) {
	db := open(t, t.TempDir())
	check(t, db.CreateCollection("c", testConfig()))
	_, err := db.Upsert("c", []Point{{Payload: sample(t)}}, UpsertOptions{})
	check(t, err)
	count := func(text string, m TextMode) (int, error) {
		return db.Count("c", &Filter{Must: []Condition{MatchText{"text", text, m}}})
	}
	check(t, db.CreateIndex("c", "text", Index{Type: TextIndex}))
	if _, err := count("small nodule", TextPhrase); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("phrase without phrase_matching: %v, want kind unsupported", err)
	}
	check(t, db.CreateIndex("c", "text", Index{Type: TextIndex, Text: TextParams{PhrasesSupported: true}}))
	for _, c := range []struct {
		text string
		mode TextMode
		want int
	}{
		{"nodule STUDY", TextAll, 1}, {"nodule large", TextAll, 0}, {"nod", TextAll, 0}, {"", TextAll, 0},
		{"large nodule", TextAny, 1}, {"large", TextAny, 0}, {"small nodule", TextPhrase, 1}, {"nodule small", TextPhrase, 0},
	} {
		if n, err := count(c.text, c.mode); err != nil || n != c.want {
			t.Errorf("%q in mode %d: %d, %v; want %d", c.text, c.mode, n, err, c.want)
		}
	}
}

func TestPaths(t *testing.T) {
	path := func(s string) Path {
		p, err := ParsePath(s)
		check(t, err)
		return p
	}
	show := func(o Object) string {
		var keys []string
		for k, v := range o.All() {
			if sub, ok := v.(Object); ok {
				for k2 := range sub.All() {
					keys = append(keys, k+"."+k2)
				}
			} else if l, ok := v.(List); ok {
				for x := range l.All() {
					if sub, ok := x.(Object); ok {
						for k2 := range sub.All() {
							keys = append(keys, k+"[]."+k2)
						}
					}
				}
			} else {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		return strings.Join(slices.Compact(keys), " ")
	}
	o := sample(t).Include([]Path{path("n"), path("label"), path("priors")})
	if got := show(o); got != "label.effusion n priors[].days priors[].same" {
		t.Errorf("include: %s", got)
	}
	if got := show(sample(t).Include([]Path{path("priors[].days")})); got != "priors[].days" {
		t.Errorf("include inside an array: %s", got)
	}
	if got := show(o.Exclude([]Path{path("label"), path("priors[].same")})); got != "n priors[].days" {
		t.Errorf("exclude: %s", got)
	}
	if got := show(path("priors[].days").remove(o)); got != "label.effusion n priors[].same" {
		t.Errorf("remove: %s", got)
	}
	if got := show(path("priors[0]").remove(o)); got != show(o) {
		t.Errorf("remove by index: %s", got)
	}
	deep := path("label.deep").set(o, obj(t, Member{"x", int64(1)}))
	if got := show(deep); got != "label.deep label.effusion n priors[].days priors[].same" {
		t.Errorf("set: %s", got)
	}
	if path("label.deep.x").each(deep, func(v any) bool { return v != int64(1) }) {
		t.Error("set: label.deep.x is not 1")
	}
	if got := show(o); got != "label.effusion n priors[].days priors[].same" {
		t.Errorf("include: %s", got)
	}
	if got := show(sample(t).Include([]Path{path("priors[].days")})); got != "priors[].days" {
		t.Errorf("include inside an array: %s", got)
	}
	if got := show(o.Exclude([]Path{path("label"), path("priors[].same")})); got != "n priors[].days" {
		t.Errorf("exclude: %s", got)
	}
	if got := show(path("priors[].days").remove(o)); got != "label.effusion n priors[].same" {
		t.Errorf("remove: %s", got)
	}
	if got := show(path("label.deep").set(o, obj(t, Member{"x", int64(1)}))); got != "label.deep label.effusion n priors[].days priors[].same" && got != "label.deep.x label.effusion n priors[].days priors[].same" {
		// label.deep is an object; show goes one level down.
		t.Errorf("set: %s", got)
	}
	if got := show(o); got != "label.effusion n priors[].days priors[].same" {
		t.Errorf("an edit changed its input: %s", got)
	}
}

func TestQueryRefusals(t *testing.T) {
	db := open(t, t.TempDir())
	check(t, db.CreateCollection("c", testConfig()))
	_, err := db.Upsert("c", []Point{{ID: NumID(1)}}, UpsertOptions{})
	check(t, err)
	v := Input{Vector: []float32{1, 2, 3, 4}}
	one := NumID(1)
	for name, c := range map[string]struct {
		q    Query
		want fault.Kind
	}{
		"limit":               {Query{Ranking: Nearest{v}, Using: "text"}, fault.Invalid},
		"vector name":         {Query{Ranking: Nearest{v}, Limit: 1}, fault.Invalid},
		"width":               {Query{Ranking: Nearest{Input{Vector: []float32{1}}}, Using: "text", Limit: 1}, fault.Invalid},
		"fusion alone":        {Query{Ranking: DBSF{}, Limit: 1}, fault.Invalid},
		"weights":             {Query{Ranking: RRF{2, []float32{1}}, Limit: 1, Prefetch: []Query{{Limit: 1}, {Limit: 1}}}, fault.Invalid},
		"prefetch unmerged":   {Query{Limit: 1, Prefetch: []Query{{Limit: 1}}}, fault.Invalid},
		"order without index": {Query{Ranking: OrderBy{Key: "n"}, Limit: 1}, fault.Invalid},
		"no examples":         {Query{Ranking: Recommend{Negative: []Input{v}}, Using: "text", Limit: 1}, fault.Invalid},
		"point lacks vector":  {Query{Ranking: Nearest{Input{ID: &one}}, Using: "text", Limit: 1}, fault.NotFound},
		"unknown point":       {Query{Ranking: Nearest{Input{ID: ptr(NumID(2))}}, Using: "text", Limit: 1}, fault.NotFound},
		"unknown vector out":  {Query{Limit: 1, Vectors: VectorSelection{Names: []string{"nope"}}}, fault.Invalid},
	} {
		if _, err := db.Query("c", c.q); fault.KindOf(err) != c.want || err == nil {
			t.Errorf("%s: error %v, want kind %s", name, err, c.want)
		}
	}
}

// TestScoreOfNothing: where nothing is compared Qdrant 1.17 gives every point the score 1.
func TestScoreOfNothing(t *testing.T) {
	db := open(t, t.TempDir())
	check(t, db.CreateCollection("c", testConfig()))
	check(t, db.CreateIndex("c", "n", Index{Type: IntegerIndex}))
	_, err := db.Upsert("c", []Point{{ID: NumID(1), Payload: obj(t, Member{"n", int64(5)})}}, UpsertOptions{})
	check(t, err)
	for name, r := range map[string]Ranking{"no ranking": nil, "order by": OrderBy{Key: "n"}} {
		hits, err := db.Query("c", Query{Ranking: r, Limit: 3})
		check(t, err)
		if len(hits) != 1 || hits[0].Score != 1 {
			t.Errorf("%s: %+v", name, hits)
		}
	}
}

// TestValuesOfIndex: what a field holds of another type than its index has no place in an order or a
// facet, as in Qdrant's own engine.
func TestValuesOfIndex(t *testing.T) {
	db := open(t, t.TempDir())
	check(t, db.CreateCollection("c", testConfig()))
	check(t, db.CreateIndex("c", "when", Index{Type: DatetimeIndex}))
	check(t, db.CreateIndex("c", "n", Index{Type: IntegerIndex}))
	for i, v := range []any{"2024-03-05", int64(3), "2024-03-04", true, nil} {
		_, err := db.Upsert("c", []Point{{ID: NumID(uint64(i)), Payload: obj(t, Member{"when", v}, Member{"n", v})}}, UpsertOptions{})
		check(t, err)
	}
	from := time.Date(2024, 3, 5, 0, 0, 0, 0, time.UTC).UnixMicro()
	for _, c := range []struct {
		by   OrderBy
		want []PointID
	}{{OrderBy{Key: "when"}, []PointID{NumID(2), NumID(0)}}, {OrderBy{Key: "when", From: from}, []PointID{NumID(0)}}, {OrderBy{Key: "n"}, []PointID{NumID(1)}}} {
		hits, err := db.Query("c", Query{Ranking: c.by, Limit: 9})
		check(t, err)
		var got []PointID
		for _, h := range hits {
			got = append(got, h.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("by %+v: %v, want %v", c.by, got, c.want)
		}
	}
	counts, err := db.Facet("c", "n", nil, 9)
	check(t, err)
	if !slices.Equal(counts, []FacetCount{{int64(3), 1}}) {
		t.Errorf("facet %v", counts)
	}
}

func TestDistances(t *testing.T) {
	db := open(t, t.TempDir())
	for d, want := range map[Distance][]float32{Euclid: {5, 13}, Manhattan: {7, 17}, Dot: {60, 25}} {
		name := string(rune('a' + d))
		check(t, db.CreateCollection(name, Config{map[string]VectorConfig{"": {2, d}}}))
		_, err := db.Upsert(name, []Point{{ID: NumID(1), Vectors: map[string][]float32{"": {3, 4}}}, {ID: NumID(2), Vectors: map[string][]float32{"": {5, 12}}}}, UpsertOptions{})
		check(t, err)
		query := []float32{0, 0}
		if d == Dot {
			query = []float32{0, 5}
			want = []float32{60, 20}
		}
		hits, err := db.Query(name, Query{Ranking: Nearest{Input{Vector: query}}, Limit: 5})
		check(t, err)
		if len(hits) != 2 || hits[0].Score != want[0] || hits[1].Score != want[1] {
			t.Errorf("distance %d: hits %+v, want scores %v", d, hits, want)
		}
		cut, err := db.Query(name, Query{Ranking: Nearest{Input{Vector: query}}, Limit: 5, Threshold: &want[1]})
		check(t, err)
		if len(cut) != 1 || cut[0].Score != want[0] {
			t.Errorf("distance %d: a threshold at the second score keeps %+v", d, cut)
		}
	}
}
