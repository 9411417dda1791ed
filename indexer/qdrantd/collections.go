package qdrantd

import (
	"context"
	"strings"
	"time"

	"github.com/qdrant/go-client/qdrant"

	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/schemas/fault"
)

// collections implements qdrant.CollectionsServer; what it lacks answers Unimplemented
// from the embedded type.
type collections struct {
	qdrant.UnimplementedCollectionsServer
	db *flat.DB
}

// distances maps both ways by number: flat has Qdrant's four distances.
var distances = map[qdrant.Distance]flat.Distance{
	qdrant.Distance_Cosine: flat.Cosine, qdrant.Distance_Dot: flat.Dot,
	qdrant.Distance_Euclid: flat.Euclid, qdrant.Distance_Manhattan: flat.Manhattan,
}

// notInNames are the characters that Qdrant takes in no collection's name, of which it makes a folder.
const notInNames = "<>:\"/\\|?*\x00\x1f"

// Create implements qdrant.CollectionsServer.
func (s *collections) Create(_ context.Context, r *qdrant.CreateCollection) (*qdrant.CollectionOperationResponse, error) {
	start := time.Now()
	if strings.ContainsAny(r.GetCollectionName(), notInNames) {
		return nil, invalid("a collection name contains none of %q", notInNames)
	}
	if err := firstOf(
		field{"sparse_vectors_config", len(r.GetSparseVectorsConfig().GetMap()) > 0},
		field{"custom sharding", r.GetShardingMethod() != qdrant.ShardingMethod_Auto},
		field{"collection metadata", len(r.GetMetadata()) > 0},
	); err != nil {
		return nil, err
	}
	cfg, err := vectorsConfig(r.GetVectorsConfig())
	if err != nil {
		return nil, err
	}
	settings, err := mergeStrict("", r.GetStrictModeConfig())
	if err != nil {
		return nil, err
	}
	if err := s.db.CreateCollection(r.GetCollectionName(), cfg); err != nil {
		return nil, err
	}
	if settings != "" {
		if err := s.db.SetSettings(r.GetCollectionName(), settings); err != nil {
			return nil, err
		}
	}
	return &qdrant.CollectionOperationResponse{Result: true, Time: since(start)}, nil
}

func vectorsConfig(c *qdrant.VectorsConfig) (flat.Config, error) {
	params := map[string]*qdrant.VectorParams{}
	switch c := c.GetConfig().(type) {
	case *qdrant.VectorsConfig_Params:
		params[""] = c.Params
	case *qdrant.VectorsConfig_ParamsMap:
		for name, p := range c.ParamsMap.GetMap() {
			if name == "" {
				return flat.Config{}, invalid("a vector name is empty")
			}
			params[name] = p
		}
	}
	out := flat.Config{Vectors: make(map[string]flat.VectorConfig, len(params))}
	for name, p := range params {
		if err := firstOf(
			field{"multivector_config", p.GetMultivectorConfig() != nil},
			field{"vector datatypes other than float32", p.GetDatatype() != qdrant.Datatype_Default && p.GetDatatype() != qdrant.Datatype_Float32},
		); err != nil {
			return flat.Config{}, err
		}
		out.Vectors[name] = flat.VectorConfig{Size: clamp(p.GetSize()), Distance: distances[p.GetDistance()]}
	}
	return out, nil
}

// Update implements qdrant.CollectionsServer. Strict mode can be changed, and nothing that changes answers; as in
// Qdrant, a call with optimizers_config starts the optimizer, which here is done when the call
// returns: the whole store is written anew, without the points that were replaced or deleted.
func (s *collections) Update(_ context.Context, r *qdrant.UpdateCollection) (*qdrant.CollectionOperationResponse, error) {
	start := time.Now()
	if err := firstOf(
		field{"updates of vectors_config", r.GetVectorsConfig() != nil},
		field{"updates of sparse_vectors_config", r.GetSparseVectorsConfig() != nil},
		field{"updates of collection metadata", len(r.GetMetadata()) > 0},
	); err != nil {
		return nil, err
	}
	stored, _, err := s.db.Settings(r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	if r.GetStrictModeConfig() != nil {
		settings, err := mergeStrict(stored, r.GetStrictModeConfig())
		if err == nil && settings != stored {
			err = s.db.SetSettings(r.GetCollectionName(), settings)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.GetOptimizersConfig() != nil {
		if err := s.db.Compact(); err != nil {
			return nil, err
		}
	}
	return &qdrant.CollectionOperationResponse{Result: true, Time: since(start)}, nil
}

// Delete implements qdrant.CollectionsServer.
func (s *collections) Delete(_ context.Context, r *qdrant.DeleteCollection) (*qdrant.CollectionOperationResponse, error) {
	start := time.Now()
	ok, err := s.db.DeleteCollection(r.GetCollectionName())
	return &qdrant.CollectionOperationResponse{Result: ok, Time: since(start)}, err
}

// List implements qdrant.CollectionsServer.
func (s *collections) List(context.Context, *qdrant.ListCollectionsRequest) (*qdrant.ListCollectionsResponse, error) {
	start := time.Now()
	out := &qdrant.ListCollectionsResponse{}
	for _, name := range s.db.Collections() {
		out.Collections = append(out.Collections, &qdrant.CollectionDescription{Name: name})
	}
	out.Time = since(start)
	return out, nil
}

// CollectionExists implements qdrant.CollectionsServer; an alias exists too.
func (s *collections) CollectionExists(_ context.Context, r *qdrant.CollectionExistsRequest) (*qdrant.CollectionExistsResponse, error) {
	start := time.Now()
	_, err := s.db.Info(r.GetCollectionName())
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	return &qdrant.CollectionExistsResponse{Result: &qdrant.CollectionExists{Exists: err == nil}, Time: since(start)}, nil
}

// Get implements qdrant.CollectionsServer. Settings of parts that do not exist here, such
// as the graph (m = 0: none), are zero.
func (s *collections) Get(_ context.Context, r *qdrant.GetCollectionInfoRequest) (*qdrant.GetCollectionInfoResponse, error) {
	start := time.Now()
	info, err := s.db.Info(r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	var zero uint64
	one, none, noShare := uint32(1), uint32(0), 0.0
	n, vectors := uint64(info.Points), uint64(info.Vectors)
	out := &qdrant.CollectionInfo{
		Status: qdrant.CollectionStatus_Green, OptimizerStatus: &qdrant.OptimizerStatus{Ok: true}, SegmentsCount: 1,
		PointsCount: &n, IndexedVectorsCount: &vectors, PayloadSchema: map[string]*qdrant.PayloadSchemaInfo{},
		Config: &qdrant.CollectionConfig{
			Params: &qdrant.CollectionParams{ShardNumber: one, ReplicationFactor: &one, WriteConsistencyFactor: &one,
				ReadFanOutFactor: &none, VectorsConfig: protoVectorsConfig(info.Config)},
			HnswConfig:      &qdrant.HnswConfigDiff{M: &zero, EfConstruct: &zero, FullScanThreshold: &zero, MaxIndexingThreads: &zero},
			OptimizerConfig: &qdrant.OptimizersConfigDiff{DeletedThreshold: &noShare, VacuumMinVectorNumber: &zero, DefaultSegmentNumber: &zero, FlushIntervalSec: &zero},
			WalConfig:       &qdrant.WalConfigDiff{WalCapacityMb: &zero, WalSegmentsAhead: &zero},
		},
	}
	stored, _, err := s.db.Settings(r.GetCollectionName())
	if err == nil && stored != "" {
		out.Config.StrictModeConfig, err = strictMode(stored)
	}
	if err != nil {
		return nil, err
	}
	for name, ix := range info.Indexes {
		out.PayloadSchema[name] = protoIndex(ix)
	}
	return &qdrant.GetCollectionInfoResponse{Result: out, Time: since(start)}, nil
}

func protoVectorsConfig(c flat.Config) *qdrant.VectorsConfig {
	all := make(map[string]*qdrant.VectorParams, len(c.Vectors))
	for name, v := range c.Vectors {
		all[name] = &qdrant.VectorParams{Size: uint64(v.Size)}
		for theirs, ours := range distances {
			if ours == v.Distance {
				all[name].Distance = theirs
			}
		}
	}
	if single, ok := all[""]; ok {
		return qdrant.NewVectorsConfig(single)
	}
	return qdrant.NewVectorsConfigMap(all)
}

// UpdateAliases implements qdrant.CollectionsServer: all actions or none.
func (s *collections) UpdateAliases(_ context.Context, r *qdrant.ChangeAliases) (*qdrant.CollectionOperationResponse, error) {
	start := time.Now()
	var actions []flat.AliasAction
	for _, a := range r.GetActions() {
		switch a := a.GetAction().(type) {
		case *qdrant.AliasOperations_CreateAlias:
			if a.CreateAlias.GetAliasName() == "" {
				return nil, invalid("an alias name is empty")
			}
			actions = append(actions, flat.AliasAction{To: a.CreateAlias.GetAliasName(), Collection: a.CreateAlias.GetCollectionName()})
		case *qdrant.AliasOperations_DeleteAlias:
			actions = append(actions, flat.AliasAction{From: a.DeleteAlias.GetAliasName()})
		case *qdrant.AliasOperations_RenameAlias:
			if a.RenameAlias.GetNewAliasName() == "" || a.RenameAlias.GetOldAliasName() == "" {
				return nil, invalid("an alias name is empty")
			}
			actions = append(actions, flat.AliasAction{From: a.RenameAlias.GetOldAliasName(), To: a.RenameAlias.GetNewAliasName()})
		default:
			return nil, invalid("an alias action is empty")
		}
	}
	if err := s.db.UpdateAliases(actions); err != nil {
		return nil, err
	}
	return &qdrant.CollectionOperationResponse{Result: true, Time: since(start)}, nil
}

// ListAliases implements qdrant.CollectionsServer.
func (s *collections) ListAliases(context.Context, *qdrant.ListAliasesRequest) (*qdrant.ListAliasesResponse, error) {
	return s.aliases(func(string) bool { return true }), nil
}

// ListCollectionAliases implements qdrant.CollectionsServer.
func (s *collections) ListCollectionAliases(_ context.Context, r *qdrant.ListCollectionAliasesRequest) (*qdrant.ListAliasesResponse, error) {
	info, err := s.db.Info(r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	return s.aliases(func(target string) bool { return target == info.Name }), nil
}

func (s *collections) aliases(keep func(target string) bool) *qdrant.ListAliasesResponse {
	start := time.Now()
	out := &qdrant.ListAliasesResponse{}
	for alias, target := range s.db.Aliases() {
		if keep(target) {
			out.Aliases = append(out.Aliases, &qdrant.AliasDescription{AliasName: alias, CollectionName: target})
		}
	}
	out.Time = since(start)
	return out
}
