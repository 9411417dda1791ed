package qdrantd

import (
	"github.com/qdrant/go-client/qdrant"

	"github.com/radstream/radstream/indexer/flat"
)

// defaults of Qdrant for what a request leaves out.
const (
	defaultLimit     = 10
	defaultGroupSize = 3
	defaultRRF       = 2
	prefetchDepth    = 10
)

// queryParts are the fields that QueryPoints, QueryPointGroups and PrefetchQuery share.
type queryParts interface {
	GetPrefetch() []*qdrant.PrefetchQuery
	GetQuery() *qdrant.Query
	GetUsing() string
	GetFilter() *qdrant.Filter
	GetLookupFrom() *qdrant.LookupLocation
}

func queryFrom(r queryParts, threshold *float32, limit *uint64, depth int) (flat.Query, error) {
	if depth == 0 {
		return flat.Query{}, invalid("prefetches are nested deeper than %d levels", prefetchDepth)
	}
	if err := firstOf(field{"lookup_from", r.GetLookupFrom() != nil}); err != nil {
		return flat.Query{}, err
	}
	q := flat.Query{Using: r.GetUsing(), Threshold: threshold, Limit: defaultLimit}
	if limit != nil {
		q.Limit = clamp(*limit)
	}
	var err error
	if q.Filter, err = filter(r.GetFilter()); err != nil {
		return flat.Query{}, err
	}
	if q.Ranking, err = ranking(r.GetQuery()); err != nil {
		return flat.Query{}, err
	}
	for _, p := range r.GetPrefetch() {
		sub, err := queryFrom(p, p.ScoreThreshold, p.Limit, depth-1)
		if err != nil {
			return flat.Query{}, err
		}
		q.Prefetch = append(q.Prefetch, sub)
	}
	return q, nil
}

func ranking(q *qdrant.Query) (flat.Ranking, error) {
	if q == nil {
		return nil, nil
	}
	switch v := q.GetVariant().(type) {
	case *qdrant.Query_Nearest:
		in, err := vectorInput(v.Nearest)
		return flat.Nearest{Input: in}, err
	case *qdrant.Query_Recommend:
		return recommend(v.Recommend)
	case *qdrant.Query_OrderBy:
		return orderBy(v.OrderBy)
	case *qdrant.Query_Fusion:
		switch v.Fusion {
		case qdrant.Fusion_RRF:
			return flat.RRF{K: defaultRRF}, nil
		case qdrant.Fusion_DBSF:
			return flat.DBSF{}, nil
		}
		return nil, unimplemented("fusion " + v.Fusion.String())
	case *qdrant.Query_Rrf:
		k := defaultRRF
		if v.Rrf.K != nil {
			k = clamp(*v.Rrf.K)
		}
		return flat.RRF{K: k, Weights: v.Rrf.GetWeights()}, nil
	case *qdrant.Query_Discover:
		return nil, unimplemented("discover queries")
	case *qdrant.Query_Context:
		return nil, unimplemented("context queries")
	case *qdrant.Query_Sample:
		return nil, unimplemented("sample queries")
	case *qdrant.Query_Formula:
		return nil, unimplemented("formula queries")
	case *qdrant.Query_NearestWithMmr:
		return nil, unimplemented("mmr")
	case *qdrant.Query_RelevanceFeedback:
		return nil, unimplemented("relevance feedback queries")
	}
	return nil, invalid("a query is empty")
}

func recommend(r *qdrant.RecommendInput) (flat.Ranking, error) {
	out := flat.Recommend{}
	for _, side := range []struct {
		in  []*qdrant.VectorInput
		out *[]flat.Input
	}{{r.GetPositive(), &out.Positive}, {r.GetNegative(), &out.Negative}} {
		for _, v := range side.in {
			in, err := vectorInput(v)
			if err != nil {
				return nil, err
			}
			*side.out = append(*side.out, in)
		}
	}
	switch r.GetStrategy() {
	case qdrant.RecommendStrategy_AverageVector:
	case qdrant.RecommendStrategy_BestScore:
		out.Strategy = flat.BestScore
	case qdrant.RecommendStrategy_SumScores:
		out.Strategy = flat.SumScores
	default:
		return nil, unimplemented("strategy " + r.GetStrategy().String())
	}
	return out, nil
}

func orderBy(o *qdrant.OrderBy) (flat.OrderBy, error) {
	out := flat.OrderBy{Key: o.GetKey(), Descending: o.GetDirection() == qdrant.Direction_Desc}
	switch v := o.GetStartFrom().GetValue().(type) {
	case *qdrant.StartFrom_Integer:
		out.From = v.Integer
	case *qdrant.StartFrom_Float:
		out.From = v.Float
	case *qdrant.StartFrom_Timestamp:
		out.From = v.Timestamp.AsTime().UnixMicro()
	case *qdrant.StartFrom_Datetime:
		t, ok := flat.ParseDatetime(v.Datetime)
		if !ok {
			return out, invalid("start_from is not a datetime of RFC 3339")
		}
		out.From = t.UnixMicro()
	}
	return out, nil
}

// nearestQuery and recommendQuery put the older calls into the form of Query.
func nearestQuery(v []float32) *qdrant.Query { return qdrant.NewQueryDense(v) }

func recommendQuery(positive, negative []*qdrant.PointId, pv, nv []*qdrant.Vector, s *qdrant.RecommendStrategy) (*qdrant.Query, error) {
	in := &qdrant.RecommendInput{Strategy: s}
	for _, id := range positive {
		in.Positive = append(in.Positive, qdrant.NewVectorInputID(id))
	}
	for _, id := range negative {
		in.Negative = append(in.Negative, qdrant.NewVectorInputID(id))
	}
	for _, v := range pv {
		data, err := vector(v)
		if err != nil {
			return nil, err
		}
		in.Positive = append(in.Positive, qdrant.NewVectorInputDense(data))
	}
	for _, v := range nv {
		data, err := vector(v)
		if err != nil {
			return nil, err
		}
		in.Negative = append(in.Negative, qdrant.NewVectorInputDense(data))
	}
	return qdrant.NewQueryRecommend(in), nil
}
