package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TestSessionGo takes the 170 steps with the official client for Go.
func TestSessionGo(t *testing.T) {
	var data struct {
		Image, Text, Query [][]float32
		Payload            []map[string]any
	}
	d := json.NewDecoder(bytes.NewReader(sessionData(t)))
	d.UseNumber() // an integer is not a double to an index
	if err := d.Decode(&data); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(up(t, t.TempDir(), anyPorts).Qdrant)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: number})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	const a, other, v2, none, width, n = "rs_studies", "rs_other", "rs_studies_v2", "rs_none", 16, 300
	q := data.Query
	wait := ptr(true)
	uid := func(i int) *qdrant.PointId { return qdrant.NewID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)) }
	num := func(i int) *qdrant.PointId { return qdrant.NewIDNum(uint64(i)) }
	named := func(vectors map[string][]float32) *qdrant.Vectors {
		all := map[string]*qdrant.Vector{}
		for name, v := range vectors {
			all[name] = qdrant.NewVectorDense(v)
		}
		return qdrant.NewVectorsMap(all)
	}
	point := func(id *qdrant.PointId, payload map[string]any, vectors map[string][]float32) *qdrant.PointStruct {
		return &qdrant.PointStruct{Id: id, Vectors: named(vectors), Payload: values(payload)}
	}
	points := make([]*qdrant.PointStruct, n)
	for i := range points {
		id := num(i)
		if i%2 == 1 {
			id = uid(i)
		}
		points[i] = point(id, data.Payload[i], map[string][]float32{"image": data.Image[i], "text": data.Text[i]})
	}

	var steps []step
	add := func(kind, name string, ok any, err error) {
		s := step{Name: name, Kind: kind}
		if err != nil {
			s.Error = strings.ToUpper(screaming(status.Code(err)))
		} else {
			s.OK = decoded(t, ok)
		}
		steps = append(steps, s)
	}
	value := func(name string, ok any, err error) { add("value", name, ok, err) }
	write := func(name string, r *qdrant.UpdateResult, err error) {
		value(name, strings.ToLower(r.GetStatus().String()), err)
	}
	upsert := func(name string, collection string, update *qdrant.Filter, points ...*qdrant.PointStruct) {
		r, err := c.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: collection, Points: points, UpdateFilter: update, Wait: wait})
		write(name, r, err)
	}
	count := func(name, collection string, f *qdrant.Filter) {
		found, err := c.Count(ctx, &qdrant.CountPoints{CollectionName: collection, Filter: f, Exact: wait})
		value(name, found, err)
	}
	all := qdrant.NewWithPayload(true)
	get := func(name, collection string, payload *qdrant.WithPayloadSelector, vectors *qdrant.WithVectorsSelector, ids ...*qdrant.PointId) {
		r, err := c.Get(ctx, &qdrant.GetPoints{CollectionName: collection, Ids: ids, WithPayload: payload, WithVectors: vectors})
		add("recs", name, records(r), err)
	}
	query := func(name string, q *qdrant.QueryPoints) {
		if q.CollectionName == "" {
			q.CollectionName = a
		}
		if q.WithPayload == nil {
			q.WithPayload = all
		}
		r, err := c.Query(ctx, q)
		add("hits", name, hits(r), err)
	}
	image := func(v []float32, limit uint64) *qdrant.QueryPoints {
		return &qdrant.QueryPoints{Query: qdrant.NewQueryDense(v), Using: ptr("image"), Limit: &limit}
	}
	scroll := func(name string, s *qdrant.ScrollPoints) {
		s.CollectionName, s.WithPayload = a, qdrant.NewWithPayload(false)
		r, err := c.Scroll(ctx, s)
		value(name, ids(r), err)
	}
	must := func(conditions ...*qdrant.Condition) *qdrant.Filter { return &qdrant.Filter{Must: conditions} }
	eq := qdrant.NewMatchKeyword
	span := qdrant.NewRange
	remove := func(name, collection string) { // the client makes an error of a false result
		r, err := c.GetCollectionsClient().Delete(ctx, &qdrant.DeleteCollection{CollectionName: collection})
		value(name, r.GetResult(), err)
	}

	// Collections.
	two := func() *qdrant.CreateCollection {
		params := func() *qdrant.VectorParams {
			return &qdrant.VectorParams{Size: width, Distance: qdrant.Distance_Cosine}
		}
		return &qdrant.CreateCollection{CollectionName: a, VectorsConfig: qdrant.NewVectorsConfigMap(map[string]*qdrant.VectorParams{"image": params(), "text": params()})}
	}
	value("create", true, c.CreateCollection(ctx, two()))
	value("create again", true, c.CreateCollection(ctx, two()))
	exists, err := c.CollectionExists(ctx, a)
	value("exists", exists, err)
	exists, err = c.CollectionExists(ctx, none)
	value("exists not", exists, err)
	_, err = c.GetCollectionInfo(ctx, none)
	value("info of none", nil, err)
	names, err := c.ListCollections(ctx)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "rs_") })
	slices.Sort(names)
	value("names", names, err)
	value("create single unnamed dot", true, c.CreateCollection(ctx, &qdrant.CreateCollection{CollectionName: other, VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 4, Distance: qdrant.Distance_Dot})}))
	info, err := c.GetCollectionInfo(ctx, a)
	params := map[string]any{}
	for name, p := range info.GetConfig().GetParams().GetVectorsConfig().GetParamsMap().GetMap() {
		params[name] = []any{p.Size, p.Distance.String()}
	}
	value("params", params, err)
	for _, index := range []*qdrant.CreateFieldIndexCollection{
		{FieldName: "tenant", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum(), FieldIndexParams: qdrant.NewPayloadIndexParamsKeyword(&qdrant.KeywordIndexParams{IsTenant: ptr(true)})},
		{FieldName: "n", FieldType: qdrant.FieldType_FieldTypeInteger.Enum()},
		{FieldName: "label.effusion", FieldType: qdrant.FieldType_FieldTypeFloat.Enum()},
		{FieldName: "taken", FieldType: qdrant.FieldType_FieldTypeDatetime.Enum()},
		{FieldName: "ok", FieldType: qdrant.FieldType_FieldTypeBool.Enum()},
		{FieldName: "finding", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum()},
		{FieldName: "text", FieldType: qdrant.FieldType_FieldTypeText.Enum(), FieldIndexParams: qdrant.NewPayloadIndexParamsText(&qdrant.TextIndexParams{Tokenizer: qdrant.TokenizerType_Word, Lowercase: ptr(true)})},
	} {
		index.CollectionName, index.Wait = a, wait
		r, err := c.CreateFieldIndex(ctx, index)
		write("index "+index.FieldName, r, err)
	}

	// Writes.
	for k := 0; k < n; k += 100 {
		upsert(fmt.Sprint("upsert ", k), a, nil, points[k:k+100]...)
	}
	upsert("upsert wrong width", a, nil, point(num(9999), nil, map[string][]float32{"image": {1, 1, 1}}))
	upsert("upsert unknown vector", a, nil, point(num(9998), nil, map[string][]float32{"nope": slices.Repeat([]float32{1}, width)}))
	upsert("upsert to none", none, nil, points[0])
	upsert("upsert one vector only", a, nil, point(num(5000), map[string]any{"tenant": "t9"}, map[string][]float32{"text": data.Text[0]}))
	count("count", a, nil)
	revised := func(i int, rev int) *qdrant.PointStruct {
		p := point(num(2), data.Payload[2], map[string][]float32{"image": data.Image[i], "text": data.Text[i]})
		p.Payload["rev"] = qdrant.NewValueInt(int64(rev))
		return p
	}
	older := func(rev float64) *qdrant.Filter { return must(span("rev", &qdrant.Range{Lt: &rev})) }
	upsert("conditional upsert, older rev refused", a, older(0), revised(3, 0))
	get("after refused", a, qdrant.NewWithPayloadInclude("rev", "n"), nil, num(2))
	upsert("conditional upsert, newer rev taken", a, older(2), revised(2, 2))
	get("after taken", a, qdrant.NewWithPayloadInclude("rev", "n"), nil, num(2))
	upsert("conditional upsert of an absent point", a, older(1), point(num(6000), map[string]any{"tenant": "t9", "rev": 1}, map[string][]float32{"image": data.Image[1]}))
	get("absent point is there", a, all, nil, num(6000))

	// Reads.
	get("retrieve", a, all, qdrant.NewWithVectorsInclude("image"), num(0), uid(1), num(4), num(777777))
	get("retrieve include", a, qdrant.NewWithPayloadInclude("label.effusion", "finding"), nil, num(4))
	get("retrieve exclude", a, qdrant.NewWithPayloadExclude("label", "text", "priors", "taken"), nil, num(4))
	for i, v := range q {
		query(fmt.Sprint("nearest image ", i), image(v, 7))
	}
	query("nearest text", &qdrant.QueryPoints{Query: qdrant.NewQueryDense(q[0]), Using: ptr("text"), Limit: ptr(uint64(5)), WithPayload: qdrant.NewWithPayloadInclude("finding")})
	with := func(r *qdrant.QueryPoints, change func(*qdrant.QueryPoints)) *qdrant.QueryPoints { change(r); return r }
	query("nearest with vectors", with(image(q[1], 3), func(r *qdrant.QueryPoints) { r.WithVectors = qdrant.NewWithVectorsInclude("text") }))
	query("offset", with(image(q[0], 5), func(r *qdrant.QueryPoints) { r.Offset = ptr(uint64(5)) }))
	query("score threshold", with(image(q[0], 50), func(r *qdrant.QueryPoints) { r.ScoreThreshold = ptr(float32(0.35)) }))
	query("limit zero", image(q[0], 0))
	query("exact", with(image(q[2], 5), func(r *qdrant.QueryPoints) { r.Params = &qdrant.SearchParams{Exact: ptr(true)} }))
	query("no vector name", with(image(q[0], 3), func(r *qdrant.QueryPoints) { r.Using = nil }))
	query("unknown vector name", with(image(q[0], 3), func(r *qdrant.QueryPoints) { r.Using = ptr("nope") }))
	query("wrong width query", image([]float32{1, 2}, 3))
	query("zero query", with(image(make([]float32, width), 2), func(r *qdrant.QueryPoints) { r.Filter = must(qdrant.NewMatchInt("n", 8)) }))
	asked := func(query *qdrant.Query, limit uint64) *qdrant.QueryPoints {
		return &qdrant.QueryPoints{Query: query, Using: ptr("image"), Limit: &limit}
	}
	query("by id", asked(qdrant.NewQueryID(num(8)), 4))
	query("by uuid", asked(qdrant.NewQueryID(uid(9)), 4))
	query("by missing id", asked(qdrant.NewQueryID(num(424242)), 4))
	for name, strategy := range map[string]qdrant.RecommendStrategy{"average_vector": qdrant.RecommendStrategy_AverageVector, "best_score": qdrant.RecommendStrategy_BestScore, "sum_scores": qdrant.RecommendStrategy_SumScores} {
		query("recommend "+name, asked(qdrant.NewQueryRecommend(&qdrant.RecommendInput{
			Positive: []*qdrant.VectorInput{qdrant.NewVectorInputID(num(8)), qdrant.NewVectorInputID(uid(9))}, Negative: []*qdrant.VectorInput{qdrant.NewVectorInputID(num(10))}, Strategy: &strategy}), 5))
	}
	query("recommend mixed vector", asked(qdrant.NewQueryRecommend(&qdrant.RecommendInput{Positive: []*qdrant.VectorInput{qdrant.NewVectorInputID(num(8)), qdrant.NewVectorInputDense(q[3])}}), 5))
	first := func(v []float32, using string, limit uint64) *qdrant.PrefetchQuery {
		return &qdrant.PrefetchQuery{Query: qdrant.NewQueryDense(v), Using: &using, Limit: &limit}
	}
	for name, fusion := range map[string]qdrant.Fusion{"rrf": qdrant.Fusion_RRF, "dbsf": qdrant.Fusion_DBSF} {
		query(name, &qdrant.QueryPoints{Prefetch: []*qdrant.PrefetchQuery{first(q[0], "image", 20), first(q[1], "text", 20)}, Query: qdrant.NewQueryFusion(fusion), Limit: ptr(uint64(6))})
	}
	prefetch := first(q[0], "image", 30)
	prefetch.Filter = must(eq("tenant", "t1"))
	query("prefetch rescored", &qdrant.QueryPoints{Prefetch: []*qdrant.PrefetchQuery{prefetch}, Query: qdrant.NewQueryDense(q[1]), Using: ptr("text"), Limit: ptr(uint64(5))})
	batch := &qdrant.QueryBatchPoints{CollectionName: a}
	for i := range 3 {
		batch.QueryPoints = append(batch.QueryPoints, with(image(q[i], 2), func(r *qdrant.QueryPoints) {
			r.CollectionName, r.Filter = a, must(eq("tenant", fmt.Sprint("t", i)))
		}))
	}
	batches, err := c.QueryBatch(ctx, batch)
	several := []any{}
	for _, b := range batches {
		several = append(several, hits(b.Result))
	}
	value("batch", several, err)
	groups, err := c.QueryGroups(ctx, &qdrant.QueryPointGroups{CollectionName: a, Query: qdrant.NewQueryDense(q[0]), Using: ptr("image"), GroupBy: "finding", Limit: ptr(uint64(3)), GroupSize: ptr(uint64(2)), WithPayload: all})
	several = []any{}
	for _, g := range groups {
		several = append(several, []any{g.Id.GetStringValue(), hits(g.Hits)})
	}
	value("groups", several, err)
	ordered, err := c.Query(ctx, &qdrant.QueryPoints{CollectionName: a, Query: qdrant.NewQueryOrderBy(&qdrant.OrderBy{Key: "n", Direction: qdrant.Direction_Desc.Enum()}), Limit: ptr(uint64(4))})
	value("order by", ids(ordered), err)

	// Filters: a count, the ids of a scroll, a search.
	day := func(month time.Month, day int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2024, month, day, 0, 0, 0, 0, time.UTC))
	}
	for name, f := range map[string]*qdrant.Filter{
		"match":        must(eq("finding", "edema")),
		"match any":    must(qdrant.NewMatchKeywords("finding", "edema", "nodule")),
		"match except": must(qdrant.NewMatchExceptKeywords("finding", "edema")),
		"match int":    must(qdrant.NewMatchInt("n", 17)),
		"match bool":   must(qdrant.NewMatchBool("ok", true)),
		"array member": must(eq("views", "lateral")),
		"text":         must(qdrant.NewMatchText("text", "number nodule")),
		"range":        must(span("n", &qdrant.Range{Gte: ptr(10.), Lt: ptr(20.)})),
		"range nested": must(span("label.effusion", &qdrant.Range{Gt: ptr(0.9)})),
		"range float":  must(span("score", &qdrant.Range{Lte: ptr(0.1)})),
		"datetime":     must(qdrant.NewDatetimeRange("taken", &qdrant.DatetimeRange{Gte: day(3, 1), Lt: day(3, 8)})),
		"has id":       must(qdrant.NewHasID(num(0), num(2), uid(3), num(999999))),
		"is empty":     must(qdrant.NewIsEmpty("tags")),
		"is null":      must(qdrant.NewIsNull("note")),
		"values count": must(qdrant.NewValuesCount("views", &qdrant.ValuesCount{Gte: ptr(uint64(2))})),
		"nested":       must(qdrant.NewNestedFilter("priors", must(span("days", &qdrant.Range{Lt: ptr(40.)}), qdrant.NewMatchBool("same", false)))),
		"array path":   must(span("priors[].days", &qdrant.Range{Gt: ptr(300.)})),
		"should":       {Should: []*qdrant.Condition{eq("finding", "edema"), qdrant.NewMatchInt("n", 3)}},
		"must not":     {MustNot: []*qdrant.Condition{eq("tenant", "t0")}},
		"min should":   {MinShould: &qdrant.MinShould{Conditions: []*qdrant.Condition{eq("finding", "edema"), qdrant.NewMatchBool("ok", true), eq("tenant", "t1")}, MinCount: 2}},
		"deep": {
			Must:    []*qdrant.Condition{qdrant.NewFilterAsCondition(&qdrant.Filter{Should: []*qdrant.Condition{eq("tenant", "t1"), eq("tenant", "t2")}}), span("n", &qdrant.Range{Lt: ptr(50.)})},
			MustNot: []*qdrant.Condition{qdrant.NewFilterAsCondition(must(eq("finding", "nodule"), eq("tenant", "t1")))},
		},
		"empty filter": {},
		"has vector":   must(qdrant.NewHasVector("image")),
	} {
		count("count "+name, a, f)
		scroll("scroll "+name, &qdrant.ScrollPoints{Filter: f, Limit: ptr(uint32(15))})
		query("query "+name, with(image(q[4], 4), func(r *qdrant.QueryPoints) { r.Filter = f }))
	}
	var pages []any
	var offset *qdrant.PointId
	for more := true; more && len(pages) < 10; more = offset != nil {
		var r []*qdrant.RetrievedPoint
		if r, offset, err = c.ScrollAndOffset(ctx, &qdrant.ScrollPoints{CollectionName: a, Limit: ptr(uint32(40)), Offset: offset, WithPayload: qdrant.NewWithPayload(false)}); err != nil {
			break
		}
		pages = append(pages, ids(r))
	}
	value("scroll all pages", pages, err)
	scroll("scroll ordered", &qdrant.ScrollPoints{Limit: ptr(uint32(6)), OrderBy: &qdrant.OrderBy{Key: "n", Direction: qdrant.Direction_Desc.Enum(), StartFrom: qdrant.NewStartFromInt(250)}})

	// Payloads and vectors changed, points deleted.
	set := func(name string, change func(context.Context, *qdrant.SetPayloadPoints) (*qdrant.UpdateResult, error), payload map[string]any, key *string, which *qdrant.PointsSelector) {
		r, err := change(ctx, &qdrant.SetPayloadPoints{CollectionName: a, Payload: values(payload), Key: key, PointsSelector: which, Wait: wait})
		write(name, r, err)
	}
	one := func(i int) *qdrant.PointsSelector { return qdrant.NewPointsSelector(num(i)) }
	set("set payload", c.SetPayload, map[string]any{"label": map[string]any{"effusion": 0.99}, "new": 1}, nil, one(4))
	get("after set", a, all, nil, num(4))
	set("set payload at key", c.SetPayload, map[string]any{"edema": 0.5}, ptr("label"), one(6))
	get("after set at key", a, qdrant.NewWithPayloadInclude("label"), nil, num(6))
	set("overwrite payload", c.OverwritePayload, map[string]any{"only": true}, nil, one(8))
	get("after overwrite", a, all, nil, num(8))
	r, err := c.DeletePayload(ctx, &qdrant.DeletePayloadPoints{CollectionName: a, Keys: []string{"text", "label.edema"}, PointsSelector: one(10), Wait: wait})
	write("delete payload keys", r, err)
	get("after delete keys", a, all, nil, num(10))
	r, err = c.ClearPayload(ctx, &qdrant.ClearPayloadPoints{CollectionName: a, Points: one(12), Wait: wait})
	write("clear payload", r, err)
	get("after clear", a, all, nil, num(12))
	set("set payload by filter", c.SetPayload, map[string]any{"flag": true}, nil, qdrant.NewPointsSelectorFilter(must(eq("finding", "nodule"), span("n", &qdrant.Range{Lt: ptr(20.)}))))
	count("count flag", a, must(qdrant.NewMatchBool("flag", true)))
	r, err = c.UpdateVectors(ctx, &qdrant.UpdatePointVectors{CollectionName: a, Points: []*qdrant.PointVectors{{Id: num(14), Vectors: named(map[string][]float32{"image": q[5]})}}, Wait: wait})
	write("update vectors", r, err)
	query("after update vectors", image(q[5], 2))
	r, err = c.DeleteVectors(ctx, &qdrant.DeletePointVectors{CollectionName: a, Vectors: &qdrant.VectorsSelector{Names: []string{"image"}}, PointsSelector: one(16), Wait: wait})
	write("delete vectors", r, err)
	count("count has image", a, must(qdrant.NewHasVector("image")))
	erase := func(name string, which *qdrant.PointsSelector) {
		r, err := c.Delete(ctx, &qdrant.DeletePoints{CollectionName: a, Points: which, Wait: wait})
		write(name, r, err)
	}
	erase("delete ids", qdrant.NewPointsSelector(num(18), uid(19), num(123456)))
	count("count after delete", a, nil)
	erase("delete by filter", qdrant.NewPointsSelectorFilter(must(eq("tenant", "t2"))))
	count("count after filter", a, nil)
	query("nearest after deletes", image(q[0], 5))
	results, err := c.UpdateBatch(ctx, &qdrant.UpdateBatchPoints{CollectionName: a, Wait: wait, Operations: []*qdrant.PointsUpdateOperation{
		qdrant.NewPointsUpdateUpsert(&qdrant.PointsUpdateOperation_PointStructList{Points: []*qdrant.PointStruct{point(num(7000), map[string]any{"b": 1}, map[string][]float32{"image": q[6]})}}),
		qdrant.NewPointsUpdateSetPayload(&qdrant.PointsUpdateOperation_SetPayload{Payload: values(map[string]any{"b": 2}), PointsSelector: one(7000)}),
		qdrant.NewPointsUpdateDeletePoints(&qdrant.PointsUpdateOperation_DeletePoints{Points: one(0)}),
	}})
	states := []string{}
	for _, r := range results {
		states = append(states, strings.ToLower(r.GetStatus().String()))
	}
	value("batch ops", states, err)
	get("after batch ops", a, all, nil, num(0), num(7000))

	// Aliases and the other collections.
	second := two()
	second.CollectionName, second.OnDiskPayload = v2, ptr(true)
	second.QuantizationConfig = qdrant.NewQuantizationScalar(&qdrant.ScalarQuantization{Type: qdrant.QuantizationType_Int8, AlwaysRam: ptr(true)})
	value("create v2", true, c.CreateCollection(ctx, second))
	value("alias", true, c.CreateAlias(ctx, "rs_live", a))
	count("query by alias", "rs_live", nil)
	value("switch alias", true, c.UpdateAliases(ctx, []*qdrant.AliasOperations{qdrant.NewAliasDelete("rs_live"), qdrant.NewAliasCreate("rs_live", v2)}))
	count("count by switched alias", "rs_live", nil)
	aliases, err := c.ListAliases(ctx)
	pairs := [][]string{}
	for _, alias := range aliases {
		if strings.HasPrefix(alias.AliasName, "rs_") {
			pairs = append(pairs, []string{alias.AliasName, alias.CollectionName})
		}
	}
	value("aliases", pairs, err)
	value("alias of none", true, c.CreateAlias(ctx, "rs_x", none))
	var dots []*qdrant.PointStruct
	for i := range 5 {
		dots = append(dots, &qdrant.PointStruct{Id: num(i), Vectors: qdrant.NewVectors(float32(i), 1, 0, -float32(i))})
	}
	upsert("dot upsert", other, nil, dots...)
	query("dot query", &qdrant.QueryPoints{CollectionName: other, Query: qdrant.NewQuery(1, 0, 0, 0), Limit: ptr(uint64(3))})
	get("dot vectors kept", other, all, qdrant.NewWithVectors(true), num(3))
	remove("delete collection", other)
	remove("delete collection again", other)
	count("points of deleted", other, nil)

	checkSession(t, steps)
}

func ptr[T any](v T) *T { return &v }

// screaming is the name of a gRPC code as the protocol writes it: NOT_FOUND for NotFound.
func screaming(c codes.Code) string {
	var b strings.Builder
	for i, r := range c.String() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// values makes a payload of what was decoded from JSON or written in Go.
func values(payload map[string]any) map[string]*qdrant.Value {
	return qdrant.NewValueMap(withNumbers(payload).(map[string]any))
}

// withNumbers takes json.Number apart into int64 and float64.
func withNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64() // the decoder has taken it for a number
		return f
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = withNumbers(e)
		}
		return list
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			m[k] = withNumbers(e)
		}
		return m
	default:
		return v
	}
}

// decoded is v as JSON gives it back, the form of the transcript.
func decoded(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// answered is what a hit and a record share.
type answered interface {
	GetId() *qdrant.PointId
	GetPayload() map[string]*qdrant.Value
	GetVectors() *qdrant.VectorsOutput
}

func ids[P answered](points []P) []any {
	all := []any{}
	for _, p := range points {
		all = append(all, id(p.GetId()))
	}
	return all
}

func id(p *qdrant.PointId) any {
	if u := p.GetUuid(); u != "" {
		return u
	}
	return p.GetNum()
}

func hits(points []*qdrant.ScoredPoint) []any {
	all := records(points)
	for i, p := range points {
		all[i].(map[string]any)["score"] = p.GetScore()
	}
	return all
}

func records[P answered](points []P) []any {
	all := []any{}
	for _, p := range points {
		r := map[string]any{"id": id(p.GetId())}
		if payload := p.GetPayload(); len(payload) > 0 {
			r["payload"] = plain(qdrant.NewValueFromFields(payload))
		}
		if v := p.GetVectors().GetVector(); v != nil {
			r["vector"] = v.GetDense().GetData()
		} else if named := p.GetVectors().GetVectors().GetVectors(); len(named) > 0 {
			vectors := map[string]any{}
			for name, v := range named {
				vectors[name] = v.GetDense().GetData()
			}
			r["vector"] = vectors
		}
		all = append(all, r)
	}
	return all
}

// plain is a payload value as JSON has it.
func plain(v *qdrant.Value) any {
	switch v := v.GetKind().(type) {
	case *qdrant.Value_BoolValue:
		return v.BoolValue
	case *qdrant.Value_IntegerValue:
		return v.IntegerValue
	case *qdrant.Value_DoubleValue:
		return v.DoubleValue
	case *qdrant.Value_StringValue:
		return v.StringValue
	case *qdrant.Value_ListValue:
		list := []any{}
		for _, e := range v.ListValue.GetValues() {
			list = append(list, plain(e))
		}
		return list
	case *qdrant.Value_StructValue:
		m := map[string]any{}
		for k, e := range v.StructValue.GetFields() {
			m[k] = plain(e)
		}
		return m
	default:
		return nil
	}
}
