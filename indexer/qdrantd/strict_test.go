package qdrantd

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func served(t *testing.T, dir string) (*qdrant.Client, func()) {
	t.Helper()
	addr, stop := serve(t, dir)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: n, SkipCompatibilityCheck: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, stop
}

// TestStrictMode: what a collection's strict mode does not allow is refused, by whatever call; it can
// be changed, is told, and outlives a restart.
func TestStrictMode(t *testing.T) {
	dir := t.TempDir()
	c, stop := served(t, dir)
	yes, no, ten, two := true, false, uint32(10), uint64(2)
	wait := true
	if err := c.CreateCollection(t.Context(), &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 2, Distance: qdrant.Distance_Dot}),
		StrictModeConfig: &qdrant.StrictModeConfig{Enabled: &yes, MaxQueryLimit: &ten, UnindexedFilteringRetrieve: &no, UnindexedFilteringUpdate: &no, UpsertMaxBatchsize: &two, FilterMaxConditions: &two, ConditionMaxSize: &two, SearchAllowExact: &no}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateFieldIndex(t.Context(), &qdrant.CreateFieldIndexCollection{CollectionName: "c", FieldName: "known", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum(), Wait: &wait}); err != nil {
		t.Fatal(err)
	}
	points := func(n int) (ps []*qdrant.PointStruct) {
		for i := range n {
			ps = append(ps, &qdrant.PointStruct{Id: qdrant.NewIDNum(uint64(i)), Vectors: qdrant.NewVectors(1, 2), Payload: qdrant.NewValueMap(map[string]any{"known": "a", "other": "b"})})
		}
		return ps
	}
	where := func(keys ...string) *qdrant.Filter {
		f := &qdrant.Filter{}
		for _, k := range keys {
			f.Must = append(f.Must, qdrant.NewMatch(k, "a"))
		}
		return f
	}
	vector := qdrant.NewQuery(1, 2)
	eleven, exact := uint64(11), &qdrant.SearchParams{Exact: &yes}
	ctx := t.Context()
	calls := map[string]func() error{
		"": func() error {
			_, err := c.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: "c", Points: points(2), UpdateFilter: where("known")})
			return err
		},
		"number of points 3 is above 2": func() error {
			_, err := c.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: "c", Points: points(3)})
			return err
		},
		"limit 11 is above 10": func() error {
			_, err := c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: vector, Limit: &eleven})
			return err
		},
		"\"other\"": func() error {
			_, err := c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: vector, Filter: where("known", "other")})
			return err
		},
		"\"inner\"": func() error {
			_, err := c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: vector, Prefetch: []*qdrant.PrefetchQuery{{Query: vector, Filter: &qdrant.Filter{Should: []*qdrant.Condition{qdrant.NewFilterAsCondition(where("inner"))}}}}})
			return err
		},
		"\"list[].inner\"": func() error {
			_, err := c.Count(ctx, &qdrant.CountPoints{CollectionName: "c", Filter: &qdrant.Filter{MustNot: []*qdrant.Condition{qdrant.NewNestedFilter("list", where("inner"))}}})
			return err
		},
		"\"update\"": func() error {
			_, err := c.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: "c", Points: points(1), UpdateFilter: where("update")})
			return err
		},
		"\"deleted\"": func() error {
			_, err := c.Delete(ctx, &qdrant.DeletePoints{CollectionName: "c", Points: qdrant.NewPointsSelectorFilter(where("deleted"))})
			return err
		},
		"\"set\"": func() error {
			_, err := c.SetPayload(ctx, &qdrant.SetPayloadPoints{CollectionName: "c", Payload: qdrant.NewValueMap(map[string]any{"x": 1}), PointsSelector: qdrant.NewPointsSelectorFilter(where("set"))})
			return err
		},
		"\"batch\"": func() error {
			_, err := c.UpdateBatch(ctx, &qdrant.UpdateBatchPoints{CollectionName: "c", Operations: []*qdrant.PointsUpdateOperation{qdrant.NewPointsUpdateDeletePoints(&qdrant.PointsUpdateOperation_DeletePoints{Points: qdrant.NewPointsSelectorFilter(where("batch"))})}})
			return err
		},
		"\"queries\"": func() error {
			_, err := c.QueryBatch(ctx, &qdrant.QueryBatchPoints{CollectionName: "c", QueryPoints: []*qdrant.QueryPoints{{Query: vector, Filter: where("queries")}}})
			return err
		},
		"\"group\"": func() error {
			_, err := c.QueryGroups(ctx, &qdrant.QueryPointGroups{CollectionName: "c", Query: vector, GroupBy: "group"})
			return err
		},
		"\"scrolled\"": func() error {
			_, err := c.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: "c", Filter: &qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewIsEmpty("scrolled")}}})
			return err
		},
		"number of conditions 3 is above 2": func() error {
			_, err := c.Count(ctx, &qdrant.CountPoints{CollectionName: "c", Filter: where("known", "known", "known")})
			return err
		},
		"size of a condition 3 is above 2": func() error {
			_, err := c.Count(ctx, &qdrant.CountPoints{CollectionName: "c", Filter: &qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewMatchKeywords("known", "a", "b", "c")}}})
			return err
		},
		"exact search": func() error {
			_, err := c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: vector, Params: exact})
			return err
		},
	}
	judge := func() {
		t.Helper()
		for says, call := range calls {
			err := call()
			switch {
			case says == "" && err != nil:
				t.Error("what is allowed:", err)
			case says != "" && (status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), says)):
				t.Errorf("want an error with %s: %v", says, err)
			}
		}
	}
	judge()
	if err := c.UpdateCollection(ctx, &qdrant.UpdateCollection{CollectionName: "c", OptimizersConfig: &qdrant.OptimizersConfigDiff{}}); err != nil { // folds the log into a snapshot
		t.Fatal(err)
	}
	stop()
	c, _ = served(t, dir)
	judge()

	if err := c.UpdateCollection(ctx, &qdrant.UpdateCollection{CollectionName: "c", StrictModeConfig: &qdrant.StrictModeConfig{UnindexedFilteringRetrieve: &yes}}); err != nil {
		t.Fatal(err)
	}
	if err := calls["\"other\""](); err != nil {
		t.Error("a field without an index, which is allowed by now:", err)
	}
	info, err := c.GetCollectionInfo(ctx, "c")
	if s := info.GetConfig().GetStrictModeConfig(); err != nil || !s.GetEnabled() || s.GetMaxQueryLimit() != 10 || !s.GetUnindexedFilteringRetrieve() || s.GetUnindexedFilteringUpdate() {
		t.Errorf("%v, %v", s, err)
	}
	if err := c.UpdateCollection(ctx, &qdrant.UpdateCollection{CollectionName: "c", StrictModeConfig: &qdrant.StrictModeConfig{ReadRateLimit: &ten}}); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "read_rate_limit") {
		t.Errorf("a limit that is not implemented: %v", err)
	}
	if err := c.UpdateCollection(ctx, &qdrant.UpdateCollection{CollectionName: "c", StrictModeConfig: &qdrant.StrictModeConfig{Enabled: &no}}); err != nil {
		t.Fatal(err)
	}
	if err := calls["limit 11 is above 10"](); err != nil {
		t.Error("strict mode that was switched off:", err)
	}
}
