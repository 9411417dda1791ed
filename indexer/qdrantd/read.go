package qdrantd

import (
	"cmp"
	"context"
	"time"

	"github.com/qdrant/go-client/qdrant"

	"github.com/radstream/radstream/indexer/flat"
)

// Get implements qdrant.PointsServer.
func (s *points) Get(_ context.Context, r *qdrant.GetPoints) (*qdrant.GetResponse, error) {
	start := time.Now()
	if err := shardKeys(r.GetShardKeySelector()); err != nil {
		return nil, err
	}
	ids, err := pointIDs(r.GetIds())
	if err != nil {
		return nil, err
	}
	w, err := newView(r.GetWithPayload(), r.GetWithVectors(), false)
	if err != nil {
		return nil, err
	}
	recs, err := s.db.Get(r.GetCollectionName(), ids, w.vectors)
	if err != nil {
		return nil, err
	}
	return &qdrant.GetResponse{Result: w.records(recs), Time: since(start)}, nil
}

// Scroll implements qdrant.PointsServer.
func (s *points) Scroll(_ context.Context, r *qdrant.ScrollPoints) (*qdrant.ScrollResponse, error) {
	start := time.Now()
	w, err := newView(r.GetWithPayload(), r.GetWithVectors(), true)
	if err := cmp.Or(shardKeys(r.GetShardKeySelector()), err); err != nil {
		return nil, err
	}
	in := flat.Scroll{Limit: defaultLimit, Vectors: w.vectors}
	if r.Limit != nil {
		in.Limit = clamp(*r.Limit)
	}
	if in.Filter, err = filter(r.GetFilter()); err != nil {
		return nil, err
	}
	if r.GetOffset() != nil {
		id, err := pointID(r.GetOffset())
		if err != nil {
			return nil, err
		}
		in.From = &id
	}
	if r.GetOrderBy() != nil {
		by, err := orderBy(r.GetOrderBy())
		if err != nil {
			return nil, err
		}
		in.OrderBy = &by
	}
	page, next, err := s.db.Scroll(r.GetCollectionName(), in)
	if err != nil {
		return nil, err
	}
	out := &qdrant.ScrollResponse{Result: w.records(page)}
	if next != nil {
		out.NextPageOffset = protoID(*next)
	}
	out.Time = since(start)
	return out, nil
}

// Count implements qdrant.PointsServer; counts are always exact.
func (s *points) Count(_ context.Context, r *qdrant.CountPoints) (*qdrant.CountResponse, error) {
	start := time.Now()
	f, err := filter(r.GetFilter())
	if err := cmp.Or(shardKeys(r.GetShardKeySelector()), err); err != nil {
		return nil, err
	}
	n, err := s.db.Count(r.GetCollectionName(), f)
	return &qdrant.CountResponse{Result: &qdrant.CountResult{Count: uint64(n)}, Time: since(start)}, err
}

// Facet implements qdrant.PointsServer.
func (s *points) Facet(_ context.Context, r *qdrant.FacetCounts) (*qdrant.FacetResponse, error) {
	start := time.Now()
	f, err := filter(r.GetFilter())
	if err := cmp.Or(shardKeys(r.GetShardKeySelector()), err); err != nil {
		return nil, err
	}
	limit := defaultLimit
	if r.Limit != nil {
		limit = clamp(*r.Limit)
	}
	counts, err := s.db.Facet(r.GetCollectionName(), r.GetKey(), f, limit)
	if err != nil {
		return nil, err
	}
	out := &qdrant.FacetResponse{}
	for _, c := range counts {
		v := &qdrant.FacetValue{}
		switch x := c.Value.(type) {
		case string:
			v.Variant = &qdrant.FacetValue_StringValue{StringValue: x}
		case int64:
			v.Variant = &qdrant.FacetValue_IntegerValue{IntegerValue: x}
		case bool:
			v.Variant = &qdrant.FacetValue_BoolValue{BoolValue: x}
		}
		out.Hits = append(out.Hits, &qdrant.FacetHit{Value: v, Count: c.Count})
	}
	out.Time = since(start)
	return out, nil
}

// Query implements qdrant.PointsServer.
func (s *points) Query(_ context.Context, r *qdrant.QueryPoints) (*qdrant.QueryResponse, error) {
	start := time.Now()
	hits, err := s.query(r)
	return &qdrant.QueryResponse{Result: hits, Time: since(start)}, err
}

func (s *points) query(r *qdrant.QueryPoints) ([]*qdrant.ScoredPoint, error) {
	w, err := newView(r.GetWithPayload(), r.GetWithVectors(), false)
	if err := cmp.Or(shardKeys(r.GetShardKeySelector()), err); err != nil {
		return nil, err
	}
	q, err := queryFrom(r, r.ScoreThreshold, r.Limit, prefetchDepth)
	if err != nil {
		return nil, err
	}
	q.Offset, q.Vectors = clamp(r.GetOffset()), w.vectors
	hits, err := s.db.Query(r.GetCollectionName(), q)
	if err != nil {
		return nil, err
	}
	return w.hits(hits), nil
}

// QueryBatch implements qdrant.PointsServer. A query that names another collection than
// the batch is refused.
func (s *points) QueryBatch(_ context.Context, r *qdrant.QueryBatchPoints) (*qdrant.QueryBatchResponse, error) {
	start := time.Now()
	out := &qdrant.QueryBatchResponse{}
	for _, q := range r.GetQueryPoints() {
		q.CollectionName = r.GetCollectionName()
		hits, err := s.query(q)
		if err != nil {
			return nil, err
		}
		out.Result = append(out.Result, &qdrant.BatchResult{Result: hits})
	}
	out.Time = since(start)
	return out, nil
}

// QueryGroups implements qdrant.PointsServer.
func (s *points) QueryGroups(_ context.Context, r *qdrant.QueryPointGroups) (*qdrant.QueryGroupsResponse, error) {
	start := time.Now()
	groups, err := s.groups(r)
	return &qdrant.QueryGroupsResponse{Result: groups, Time: since(start)}, err
}

func (s *points) groups(r *qdrant.QueryPointGroups) (*qdrant.GroupsResult, error) {
	w, err := newView(r.GetWithPayload(), r.GetWithVectors(), false)
	if err := cmp.Or(shardKeys(r.GetShardKeySelector()), firstOf(field{"with_lookup", r.GetWithLookup() != nil}), err); err != nil {
		return nil, err
	}
	q, err := queryFrom(r, r.ScoreThreshold, r.Limit, prefetchDepth)
	if err != nil {
		return nil, err
	}
	size := defaultGroupSize
	if r.GroupSize != nil {
		size = clamp(*r.GroupSize)
	}
	q.Vectors = w.vectors
	found, err := s.db.Groups(r.GetCollectionName(), q, r.GetGroupBy(), q.Limit, size)
	if err != nil {
		return nil, err
	}
	out := &qdrant.GroupsResult{}
	for _, g := range found {
		id := &qdrant.GroupId{}
		switch v := g.Value.(type) {
		case string:
			id.Kind = &qdrant.GroupId_StringValue{StringValue: v}
		case int64:
			id.Kind = &qdrant.GroupId_IntegerValue{IntegerValue: v}
		}
		out.Groups = append(out.Groups, &qdrant.PointGroup{Id: id, Hits: w.hits(g.Hits)})
	}
	return out, nil
}

// Search implements qdrant.PointsServer by way of Query.
func (s *points) Search(_ context.Context, r *qdrant.SearchPoints) (*qdrant.SearchResponse, error) {
	start := time.Now()
	hits, err := s.search(r)
	return &qdrant.SearchResponse{Result: hits, Time: since(start)}, err
}

func (s *points) search(r *qdrant.SearchPoints) ([]*qdrant.ScoredPoint, error) {
	if err := firstOf(field{"sparse vectors", r.GetSparseIndices() != nil}); err != nil {
		return nil, err
	}
	return s.query(&qdrant.QueryPoints{
		CollectionName: r.GetCollectionName(), Query: nearestQuery(r.GetVector()), Using: r.VectorName, Filter: r.GetFilter(),
		Limit: &r.Limit, Offset: r.Offset, ScoreThreshold: r.ScoreThreshold, WithPayload: r.GetWithPayload(), WithVectors: r.GetWithVectors(),
		ShardKeySelector: r.GetShardKeySelector(),
	})
}

// SearchBatch implements qdrant.PointsServer.
func (s *points) SearchBatch(_ context.Context, r *qdrant.SearchBatchPoints) (*qdrant.SearchBatchResponse, error) {
	start := time.Now()
	out := &qdrant.SearchBatchResponse{}
	for _, q := range r.GetSearchPoints() {
		q.CollectionName = r.GetCollectionName()
		hits, err := s.search(q)
		if err != nil {
			return nil, err
		}
		out.Result = append(out.Result, &qdrant.BatchResult{Result: hits})
	}
	out.Time = since(start)
	return out, nil
}

// SearchGroups implements qdrant.PointsServer.
func (s *points) SearchGroups(_ context.Context, r *qdrant.SearchPointGroups) (*qdrant.SearchGroupsResponse, error) {
	start := time.Now()
	if err := firstOf(field{"sparse vectors", r.GetSparseIndices() != nil}); err != nil {
		return nil, err
	}
	limit, size := uint64(r.GetLimit()), uint64(r.GetGroupSize())
	groups, err := s.groups(&qdrant.QueryPointGroups{
		CollectionName: r.GetCollectionName(), Query: nearestQuery(r.GetVector()), Using: r.VectorName, Filter: r.GetFilter(),
		Limit: &limit, GroupSize: &size, GroupBy: r.GetGroupBy(), ScoreThreshold: r.ScoreThreshold, WithLookup: r.GetWithLookup(),
		WithPayload: r.GetWithPayload(), WithVectors: r.GetWithVectors(), ShardKeySelector: r.GetShardKeySelector(),
	})
	return &qdrant.SearchGroupsResponse{Result: groups, Time: since(start)}, err
}

// Recommend implements qdrant.PointsServer by way of Query.
func (s *points) Recommend(_ context.Context, r *qdrant.RecommendPoints) (*qdrant.RecommendResponse, error) {
	start := time.Now()
	hits, err := s.recommend(r)
	return &qdrant.RecommendResponse{Result: hits, Time: since(start)}, err
}

func (s *points) recommend(r *qdrant.RecommendPoints) ([]*qdrant.ScoredPoint, error) {
	query, err := recommendQuery(r.GetPositive(), r.GetNegative(), r.GetPositiveVectors(), r.GetNegativeVectors(), r.Strategy)
	if err != nil {
		return nil, err
	}
	return s.query(&qdrant.QueryPoints{
		CollectionName: r.GetCollectionName(), Query: query, Using: r.Using, Filter: r.GetFilter(), LookupFrom: r.GetLookupFrom(),
		Limit: &r.Limit, Offset: r.Offset, ScoreThreshold: r.ScoreThreshold, WithPayload: r.GetWithPayload(), WithVectors: r.GetWithVectors(),
		ShardKeySelector: r.GetShardKeySelector(),
	})
}

// RecommendBatch implements qdrant.PointsServer.
func (s *points) RecommendBatch(_ context.Context, r *qdrant.RecommendBatchPoints) (*qdrant.RecommendBatchResponse, error) {
	start := time.Now()
	out := &qdrant.RecommendBatchResponse{}
	for _, q := range r.GetRecommendPoints() {
		q.CollectionName = r.GetCollectionName()
		hits, err := s.recommend(q)
		if err != nil {
			return nil, err
		}
		out.Result = append(out.Result, &qdrant.BatchResult{Result: hits})
	}
	out.Time = since(start)
	return out, nil
}

// RecommendGroups implements qdrant.PointsServer.
func (s *points) RecommendGroups(_ context.Context, r *qdrant.RecommendPointGroups) (*qdrant.RecommendGroupsResponse, error) {
	start := time.Now()
	query, err := recommendQuery(r.GetPositive(), r.GetNegative(), r.GetPositiveVectors(), r.GetNegativeVectors(), r.Strategy)
	if err != nil {
		return nil, err
	}
	limit, size := uint64(r.GetLimit()), uint64(r.GetGroupSize())
	groups, err := s.groups(&qdrant.QueryPointGroups{
		CollectionName: r.GetCollectionName(), Query: query, Using: r.Using, Filter: r.GetFilter(), LookupFrom: r.GetLookupFrom(),
		Limit: &limit, GroupSize: &size, GroupBy: r.GetGroupBy(), ScoreThreshold: r.ScoreThreshold, WithLookup: r.GetWithLookup(),
		WithPayload: r.GetWithPayload(), WithVectors: r.GetWithVectors(), ShardKeySelector: r.GetShardKeySelector(),
	})
	return &qdrant.RecommendGroupsResponse{Result: groups, Time: since(start)}, err
}
