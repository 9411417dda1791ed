package qdrantd

import (
	"strings"
	"testing"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/indexer/flat"
)

func dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	addr, _ := serve(t, t.TempDir())
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestCollectionNames: what a Qdrant refuses to make a folder of is refused here.
func TestCollectionNames(t *testing.T) {
	cols := qdrant.NewCollectionsClient(dial(t))
	for name, want := range map[string]codes.Code{"a/b": codes.InvalidArgument, "a:b": codes.InvalidArgument, "a\x00": codes.InvalidArgument, "": codes.InvalidArgument, "a b.é": codes.OK} {
		_, err := cols.Create(t.Context(), &qdrant.CreateCollection{CollectionName: name, VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 2, Distance: qdrant.Distance_Dot})})
		if status.Code(err) != want {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}

// TestRefusals: what is not implemented is answered Unimplemented with its name.
func TestRefusals(t *testing.T) {
	conn := dial(t)
	ctx := t.Context()
	cols, pts := qdrant.NewCollectionsClient(conn), qdrant.NewPointsClient(conn)
	create := func(r *qdrant.CreateCollection) error {
		r.CollectionName = "other"
		if r.VectorsConfig == nil {
			r.VectorsConfig = qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 2, Distance: qdrant.Distance_Dot})
		}
		_, err := cols.Create(ctx, r)
		return err
	}
	if _, err := cols.Create(ctx, &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 2, Distance: qdrant.Distance_Dot})}); err != nil {
		t.Fatal(err)
	}
	query := func(q *qdrant.QueryPoints) error {
		q.CollectionName = "c"
		_, err := pts.Query(ctx, q)
		return err
	}
	filtered := func(c *qdrant.Condition) error {
		_, err := pts.Count(ctx, &qdrant.CountPoints{CollectionName: "c", Filter: &qdrant.Filter{Must: []*qdrant.Condition{c}}})
		return err
	}
	uint8s, custom := qdrant.Datatype_Uint8, qdrant.ShardingMethod_Custom
	newer := &qdrant.CountPoints{CollectionName: "c"}
	newer.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	_, unknownErr := pts.Count(ctx, newer)
	deep := &qdrant.UpsertPoints{CollectionName: "c", Points: []*qdrant.PointStruct{{Id: qdrant.NewIDNum(1), Payload: map[string]*qdrant.Value{"k": qdrant.NewValueBool(true)}}}}
	deep.Points[0].Payload["k"].ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 1))
	_, deepErr := pts.Upsert(ctx, deep)
	_, discover := pts.Discover(ctx, &qdrant.DiscoverPoints{CollectionName: "c"})
	_, snapshot := qdrant.NewSnapshotsClient(conn).Create(ctx, &qdrant.CreateSnapshotRequest{CollectionName: "c"})
	_, geoIndex := pts.CreateFieldIndex(ctx, &qdrant.CreateFieldIndexCollection{CollectionName: "c", FieldName: "g", FieldType: qdrant.FieldType_FieldTypeGeo.Enum()})
	_, shards := pts.Delete(ctx, &qdrant.DeletePoints{CollectionName: "c", Points: qdrant.NewPointsSelector(qdrant.NewIDNum(1)), ShardKeySelector: &qdrant.ShardKeySelector{ShardKeys: []*qdrant.ShardKey{qdrant.NewShardKey("x")}}})
	for _, c := range []struct {
		err  error
		name string
	}{
		{create(&qdrant.CreateCollection{SparseVectorsConfig: &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"s": {}}}}), "sparse_vectors_config"},
		{create(&qdrant.CreateCollection{ShardingMethod: &custom}), "custom sharding"},
		{create(&qdrant.CreateCollection{VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 2, Distance: qdrant.Distance_Dot, Datatype: &uint8s})}), "datatypes"},
		{create(&qdrant.CreateCollection{VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 2, Distance: qdrant.Distance_Dot, MultivectorConfig: &qdrant.MultiVectorConfig{}})}), "multivector"},
		{query(&qdrant.QueryPoints{Query: qdrant.NewQuerySparse([]uint32{1}, []float32{1})}), "sparse"},
		{query(&qdrant.QueryPoints{Query: qdrant.NewQuerySample(qdrant.Sample_Random)}), "sample"},
		{query(&qdrant.QueryPoints{Query: qdrant.NewQueryDense([]float32{1, 2}), LookupFrom: &qdrant.LookupLocation{CollectionName: "c"}}), "lookup_from"},
		{filtered(qdrant.NewGeoRadius("g", 1, 2, 3)), "geo_radius"},
		{unknownErr, "field 99 of qdrant.CountPoints"},
		{deepErr, "field 77 of qdrant.Value"},
		{discover, "Discover"},
		{snapshot, "Create"},
		{geoIndex, "Geo"},
		{shards, "shard_key_selector"},
	} {
		if s := status.Convert(c.err); s.Code() != codes.Unimplemented || !strings.Contains(s.Message(), c.name) {
			t.Errorf("want Unimplemented with %q, got %v", c.name, c.err)
		}
	}
	n, err := pts.Count(ctx, &qdrant.CountPoints{CollectionName: "c"})
	if err != nil || n.GetResult().GetCount() != 0 {
		t.Errorf("a refused call left %v points behind, %v", n, err)
	}
}

func TestHealth(t *testing.T) {
	conn := dial(t)
	r, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("grpc health: %v, %v", r, err)
	}
	v, err := qdrant.NewQdrantClient(conn).HealthCheck(t.Context(), &qdrant.HealthCheckRequest{})
	if err != nil || v.GetVersion() != Version {
		t.Errorf("HealthCheck: %v, %v", v, err)
	}
}

// TestCompressed: requests and answers may be compressed, and the bound on a message is one on what
// it unpacks to.
func TestCompressed(t *testing.T) {
	conn := dial(t)
	exists := func(name string) error {
		_, err := qdrant.NewCollectionsClient(conn).CollectionExists(t.Context(), &qdrant.CollectionExistsRequest{CollectionName: name}, grpc.UseCompressor("gzip"))
		return err
	}
	if err := exists("c"); err != nil {
		t.Error(err)
	}
	if err := exists(strings.Repeat("c", 64<<20)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a request that unpacks to more than 64 MiB: %v", err)
	}
}

// FuzzFilter: any bytes as a filter message are converted and run, or refused; a filter
// that runs gives the same answer twice.
func FuzzFilter(f *testing.F) {
	lt := 3.0
	for _, c := range []*qdrant.Condition{
		qdrant.NewMatch("a", "x"), qdrant.NewMatchInts("a.b[]", 1, 2), qdrant.NewRange("n", &qdrant.Range{Lt: &lt}),
		qdrant.NewIsNull("n"), qdrant.NewHasID(qdrant.NewIDNum(1)), qdrant.NewMatchText("t", "some text"),
		qdrant.NewNestedFilter("l", &qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewMatchBool("b", true)}}),
		qdrant.NewDatetimeRange("d", &qdrant.DatetimeRange{}),
	} {
		raw, err := proto.Marshal(&qdrant.Filter{Must: []*qdrant.Condition{c}, MustNot: []*qdrant.Condition{c}, MinShould: &qdrant.MinShould{Conditions: []*qdrant.Condition{c}, MinCount: 1}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	db, err := flat.Open(f.TempDir(), flat.Options{Sync: flat.SyncNever})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	if err := db.CreateCollection("c", flat.Config{}); err != nil {
		f.Fatal(err)
	}
	o, err := payload(map[string]*qdrant.Value{"a": qdrant.NewValueString("x"), "n": qdrant.NewValueInt(2), "d": qdrant.NewValueString("2024-01-01"),
		"l": qdrant.NewValueList(&qdrant.ListValue{Values: []*qdrant.Value{qdrant.NewValueNull(), qdrant.NewValueStruct(&qdrant.Struct{})}})})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := db.Upsert("c", []flat.Point{{ID: flat.NumID(1), Payload: o}}, flat.UpsertOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m qdrant.Filter
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		converted, err := filter(&m)
		if err != nil {
			return
		}
		n, err1 := db.Count("c", converted)
		again, err2 := db.Count("c", converted)
		if n != again || (err1 == nil) != (err2 == nil) {
			t.Errorf("count %d, %v, then %d, %v", n, err1, again, err2)
		}
	})
}
