package qdrantd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/protobuf/testing/protocmp"
)

// TestOlderCalls: Search, Recommend and their relatives answer as Query does.
func TestOlderCalls(t *testing.T) {
	conn := dial(t)
	ctx := t.Context()
	pts := qdrant.NewPointsClient(conn)
	if _, err := qdrant.NewCollectionsClient(conn).Create(ctx, &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 2, Distance: qdrant.Distance_Euclid})}); err != nil {
		t.Fatal(err)
	}
	if _, err := pts.CreateFieldIndex(ctx, &qdrant.CreateFieldIndexCollection{CollectionName: "c", FieldName: "kind", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum()}); err != nil {
		t.Fatal(err)
	}
	up := &qdrant.UpsertPoints{CollectionName: "c"}
	for i := range uint64(9) {
		up.Points = append(up.Points, &qdrant.PointStruct{Id: qdrant.NewIDNum(i), Vectors: qdrant.NewVectors(float32(i), float32(i*i%7)),
			Payload: qdrant.NewValueMap(map[string]any{"kind": string(rune('a' + i%3))})})
	}
	if _, err := pts.Upsert(ctx, up); err != nil {
		t.Fatal(err)
	}
	limit := uint64(4)
	want := func(q *qdrant.Query) []*qdrant.ScoredPoint {
		r, err := pts.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: q, Limit: &limit, WithPayload: qdrant.NewWithPayload(true)})
		if err != nil || len(r.GetResult()) != int(limit) {
			t.Fatalf("Query: %v, %v", r, err)
		}
		return r.GetResult()
	}
	same := func(name string, want, got any, err error) {
		t.Helper()
		if d := cmp.Diff(want, got, protocmp.Transform()); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	nearest := want(qdrant.NewQueryDense([]float32{3, 1}))
	search := &qdrant.SearchPoints{CollectionName: "c", Vector: []float32{3, 1}, Limit: limit, WithPayload: qdrant.NewWithPayload(true)}
	s, err := pts.Search(ctx, search)
	same("Search", nearest, s.GetResult(), err)
	sb, err := pts.SearchBatch(ctx, &qdrant.SearchBatchPoints{CollectionName: "c", SearchPoints: []*qdrant.SearchPoints{search}})
	same("SearchBatch", []*qdrant.BatchResult{{Result: nearest}}, sb.GetResult(), err)

	liked := want(qdrant.NewQueryRecommend(&qdrant.RecommendInput{Positive: []*qdrant.VectorInput{qdrant.NewVectorInputID(qdrant.NewIDNum(2))}, Negative: []*qdrant.VectorInput{qdrant.NewVectorInputDense([]float32{8, 0})}}))
	recommend := &qdrant.RecommendPoints{CollectionName: "c", Positive: []*qdrant.PointId{qdrant.NewIDNum(2)}, NegativeVectors: []*qdrant.Vector{qdrant.NewVectorDense([]float32{8, 0})}, Limit: limit, WithPayload: qdrant.NewWithPayload(true)}
	r, err := pts.Recommend(ctx, recommend)
	same("Recommend", liked, r.GetResult(), err)
	rb, err := pts.RecommendBatch(ctx, &qdrant.RecommendBatchPoints{CollectionName: "c", RecommendPoints: []*qdrant.RecommendPoints{recommend}})
	same("RecommendBatch", []*qdrant.BatchResult{{Result: liked}}, rb.GetResult(), err)

	two := uint64(2)
	g, err := pts.QueryGroups(ctx, &qdrant.QueryPointGroups{CollectionName: "c", Query: qdrant.NewQueryDense([]float32{3, 1}), GroupBy: "kind", Limit: &two, GroupSize: &two})
	if err != nil || len(g.GetResult().GetGroups()) != 2 || g.GetResult().GetGroups()[0].GetHits()[0].GetId().GetNum() != nearest[0].GetId().GetNum() {
		t.Fatalf("QueryGroups: %v, %v", g, err)
	}
	sg, err := pts.SearchGroups(ctx, &qdrant.SearchPointGroups{CollectionName: "c", Vector: []float32{3, 1}, GroupBy: "kind", Limit: 2, GroupSize: 2})
	same("SearchGroups", g.GetResult(), sg.GetResult(), err)

	f, err := pts.Facet(ctx, &qdrant.FacetCounts{CollectionName: "c", Key: "kind", Limit: &two})
	same("Facet", []*qdrant.FacetHit{
		{Value: &qdrant.FacetValue{Variant: &qdrant.FacetValue_StringValue{StringValue: "a"}}, Count: 3},
		{Value: &qdrant.FacetValue{Variant: &qdrant.FacetValue_StringValue{StringValue: "b"}}, Count: 3},
	}, f.GetHits(), err)
}
