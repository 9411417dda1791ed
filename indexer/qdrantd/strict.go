package qdrantd

import (
	"cmp"
	"strings"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/schemas/fault"
)

// Strict mode bounds what requests to the points of a collection may ask for, as the collection's own
// strict_mode_config says. It is looked at in one place, before any request is run. An index of any
// type makes a field one that may be filtered by, where Qdrant asks for one that fits the condition.

// mergeStrict returns the settings of a collection with those that a request changes.
func mergeStrict(stored string, change *qdrant.StrictModeConfig) (string, error) {
	if change == nil {
		return stored, nil
	}
	if err := firstOf(
		field{"strict_mode_config.max_collection_vector_size_bytes", change.MaxCollectionVectorSizeBytes != nil},
		field{"strict_mode_config.max_collection_payload_size_bytes", change.MaxCollectionPayloadSizeBytes != nil},
		field{"strict_mode_config.read_rate_limit", change.ReadRateLimit != nil},
		field{"strict_mode_config.write_rate_limit", change.WriteRateLimit != nil},
		field{"strict_mode_config.multivector_config", change.MultivectorConfig != nil},
		field{"strict_mode_config.sparse_config", change.SparseConfig != nil},
		field{"strict_mode_config.max_points_count", change.MaxPointsCount != nil},
		field{"strict_mode_config.max_payload_index_count", change.MaxPayloadIndexCount != nil},
	); err != nil {
		return "", err
	}
	c, err := strictMode(stored)
	if err != nil {
		return "", err
	}
	proto.Merge(c, change)
	b, err := proto.Marshal(c)
	return string(b), fault.E("qdrantd.strict", fault.Internal, err)
}

// strictMode reads the settings of a collection.
func strictMode(stored string) (*qdrant.StrictModeConfig, error) {
	c := &qdrant.StrictModeConfig{}
	if err := proto.Unmarshal([]byte(stored), c); err != nil {
		return nil, fault.E("qdrantd.strict", fault.Corrupt, err)
	}
	return c, nil
}

// strict refuses a request that its collection's strict mode does not allow.
func strict(db *flat.DB, req any) error {
	r, ok := req.(interface{ GetCollectionName() string })
	if !ok {
		return nil
	}
	stored, indexed, err := db.Settings(r.GetCollectionName())
	if err != nil || stored == "" {
		return nil // who runs the request says that the collection is not there
	}
	c, err := strictMode(stored)
	if err != nil || !c.GetEnabled() {
		return err
	}
	return limits{c, indexed}.request(req)
}

// limits are a strict mode in force.
type limits struct {
	*qdrant.StrictModeConfig
	indexed func(field string) bool
}

func (l limits) request(req any) error {
	var errs []error
	refuse := func(err error) { errs = append(errs, err) }
	if r, ok := req.(interface{ GetLimit() uint64 }); ok {
		refuse(above("limit", r.GetLimit(), l.MaxQueryLimit))
	}
	if r, ok := req.(interface{ GetLimit() uint32 }); ok {
		refuse(above("limit", uint64(r.GetLimit()), l.MaxQueryLimit))
	}
	if r, ok := req.(interface{ GetTimeout() uint64 }); ok {
		refuse(above("timeout", r.GetTimeout(), l.MaxTimeout))
	}
	if r, ok := req.(interface{ GetParams() *qdrant.SearchParams }); ok {
		p := r.GetParams()
		refuse(above("hnsw_ef", p.GetHnswEf(), l.SearchMaxHnswEf))
		if p.GetExact() && l.SearchAllowExact != nil && !l.GetSearchAllowExact() {
			refuse(forbidden("exact search is not allowed"))
		}
		if most := l.SearchMaxOversampling; most != nil && p.GetQuantization().GetOversampling() > float64(*most) {
			refuse(forbidden("oversampling is above %g", *most))
		}
	}
	if r, ok := req.(interface{ GetPoints() []*qdrant.PointStruct }); ok {
		refuse(above("number of points", uint64(len(r.GetPoints())), l.UpsertMaxBatchsize))
	}
	retrieve, update := l.UnindexedFilteringRetrieve, l.UnindexedFilteringUpdate
	if r, ok := req.(interface{ GetUpdateFilter() *qdrant.Filter }); ok {
		refuse(l.filter(r.GetUpdateFilter(), update))
	}
	if r, ok := req.(interface {
		GetPointsSelector() *qdrant.PointsSelector
	}); ok {
		refuse(l.filter(r.GetPointsSelector().GetFilter(), update))
	}
	if r, ok := req.(interface{ GetPoints() *qdrant.PointsSelector }); ok {
		refuse(l.filter(r.GetPoints().GetFilter(), update))
	}
	if r, ok := req.(interface{ GetGroupBy() string }); ok && retrieve != nil && !*retrieve && !l.indexed(r.GetGroupBy()) {
		refuse(forbidden("index required but not found for %q, by which groups are made", r.GetGroupBy()))
	}
	if r, ok := req.(interface{ GetFilter() *qdrant.Filter }); ok {
		refuse(l.filter(r.GetFilter(), retrieve))
	}
	if r, ok := req.(interface {
		GetPrefetch() []*qdrant.PrefetchQuery
	}); ok {
		for _, p := range r.GetPrefetch() {
			refuse(l.request(p))
		}
	}
	switch r := req.(type) { // requests of requests
	case *qdrant.QueryBatchPoints:
		for _, q := range r.GetQueryPoints() {
			refuse(l.request(q))
		}
	case *qdrant.UpdateBatchPoints:
		for _, o := range r.GetOperations() {
			if fd := o.ProtoReflect().WhichOneof(o.ProtoReflect().Descriptor().Oneofs().Get(0)); fd != nil {
				refuse(l.request(o.ProtoReflect().Get(fd).Message().Interface()))
			}
		}
	}
	return cmp.Or(errs...)
}

// filter refuses one that asks for too much, or for fields without an index where those are not allowed.
func (l limits) filter(f *qdrant.Filter, unindexed *bool) error {
	n := uint64(0)
	if err := l.conditions(f, "", unindexed, &n); err != nil {
		return err
	}
	return above("number of conditions", n, l.FilterMaxConditions)
}

func (l limits) conditions(f *qdrant.Filter, prefix string, unindexed *bool, n *uint64) error {
	all := [][]*qdrant.Condition{f.GetMust(), f.GetShould(), f.GetMustNot(), f.GetMinShould().GetConditions()}
	for _, cs := range all {
		for _, c := range cs {
			if inner := c.GetFilter(); inner != nil {
				if err := l.conditions(inner, prefix, unindexed, n); err != nil {
					return err
				}
				continue
			}
			if nested := c.GetNested(); nested != nil {
				if err := l.conditions(nested.GetFilter(), prefix+strings.TrimSuffix(nested.GetKey(), "[]")+"[].", unindexed, n); err != nil {
					return err
				}
				continue
			}
			*n++
			m := c.GetField().GetMatch()
			size := len(m.GetKeywords().GetStrings()) + len(m.GetIntegers().GetIntegers()) + len(m.GetExceptKeywords().GetStrings()) + len(m.GetExceptIntegers().GetIntegers())
			if err := above("size of a condition", uint64(size), l.ConditionMaxSize); err != nil {
				return err
			}
			key := c.GetField().GetKey() + c.GetIsEmpty().GetKey() + c.GetIsNull().GetKey() // one of them
			if key != "" && unindexed != nil && !*unindexed && !l.indexed(prefix+key) {
				return forbidden("index required but not found for %q: create one, or use another filter", prefix+key)
			}
		}
	}
	return nil
}

// above refuses what is larger than its bound, if it has one.
func above[T uint32 | uint64](what string, n uint64, most *T) error {
	if most == nil || n <= uint64(*most) {
		return nil
	}
	return forbidden("%s %d is above %d", what, n, *most)
}

func forbidden(format string, args ...any) error { return invalid("strict mode: "+format, args...) }
