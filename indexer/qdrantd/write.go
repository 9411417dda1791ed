package qdrantd

import (
	"cmp"
	"context"
	"time"

	"github.com/qdrant/go-client/qdrant"

	"github.com/radstream/radstream/indexer/flat"
)

// points implements qdrant.PointsServer; what it lacks answers Unimplemented from the
// embedded type.
type points struct {
	qdrant.UnimplementedPointsServer
	db  *flat.DB
	ops operations
}

// done builds the answer to a write.
func (s *points) done(start time.Time, wait *bool, err error) (*qdrant.PointsOperationResponse, error) {
	if err != nil {
		return nil, err
	}
	return &qdrant.PointsOperationResponse{Result: s.ops.result(wait), Time: since(start)}, nil
}

// Upsert implements qdrant.PointsServer.
func (s *points) Upsert(_ context.Context, r *qdrant.UpsertPoints) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.upsert(r.GetCollectionName(), r.GetPoints(), r.GetUpdateFilter(), r.GetUpdateMode(), r.GetShardKeySelector()))
}

func (s *points) upsert(name string, ps []*qdrant.PointStruct, only *qdrant.Filter, mode qdrant.UpdateMode, shards *qdrant.ShardKeySelector) error {
	f, err := filter(only)
	if err := cmp.Or(shardKeys(shards), err); err != nil {
		return err
	}
	opt := flat.UpsertOptions{Filter: f}
	switch mode {
	case qdrant.UpdateMode_Upsert:
	case qdrant.UpdateMode_InsertOnly:
		opt.Mode = flat.InsertOnly
	case qdrant.UpdateMode_UpdateOnly:
		opt.Mode = flat.UpdateOnly
	default:
		return unimplemented("update_mode " + mode.String())
	}
	in := make([]flat.Point, len(ps))
	for i, p := range ps {
		if in[i].ID, err = pointID(p.GetId()); err != nil {
			return err
		}
		if in[i].Payload, err = payload(p.GetPayload()); err != nil {
			return err
		}
		if in[i].Vectors, err = vectors(p.GetVectors()); err != nil {
			return err
		}
	}
	_, err = s.db.Upsert(name, in, opt)
	return err
}

// Delete implements qdrant.PointsServer.
func (s *points) Delete(_ context.Context, r *qdrant.DeletePoints) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.delete(r.GetCollectionName(), r.GetPoints(), r.GetShardKeySelector()))
}

func (s *points) delete(name string, which *qdrant.PointsSelector, shards *qdrant.ShardKeySelector) error {
	sel, err := selector(which, shards)
	if err != nil {
		return err
	}
	return s.db.Delete(name, sel)
}

// UpdateVectors implements qdrant.PointsServer.
func (s *points) UpdateVectors(_ context.Context, r *qdrant.UpdatePointVectors) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.updateVectors(r.GetCollectionName(), r.GetPoints(), r.GetUpdateFilter(), r.GetShardKeySelector()))
}

func (s *points) updateVectors(name string, ps []*qdrant.PointVectors, only *qdrant.Filter, shards *qdrant.ShardKeySelector) error {
	f, err := filter(only)
	if err := cmp.Or(shardKeys(shards), err); err != nil {
		return err
	}
	in := make([]flat.Point, len(ps))
	for i, p := range ps {
		if in[i].ID, err = pointID(p.GetId()); err != nil {
			return err
		}
		if in[i].Vectors, err = vectors(p.GetVectors()); err != nil {
			return err
		}
	}
	return s.db.UpdateVectors(name, in, f)
}

// DeleteVectors implements qdrant.PointsServer.
func (s *points) DeleteVectors(_ context.Context, r *qdrant.DeletePointVectors) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.deleteVectors(r.GetCollectionName(), r.GetPointsSelector(), r.GetVectors(), r.GetShardKeySelector()))
}

func (s *points) deleteVectors(name string, which *qdrant.PointsSelector, v *qdrant.VectorsSelector, shards *qdrant.ShardKeySelector) error {
	sel, err := selector(which, shards)
	if err != nil {
		return err
	}
	return s.db.DeleteVectors(name, sel, v.GetNames())
}

// SetPayload implements qdrant.PointsServer.
func (s *points) SetPayload(_ context.Context, r *qdrant.SetPayloadPoints) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.setPayload(r.GetCollectionName(), r.GetPayload(), r.Key, r.GetPointsSelector(), r.GetShardKeySelector()))
}

func (s *points) setPayload(name string, p map[string]*qdrant.Value, key *string, which *qdrant.PointsSelector, shards *qdrant.ShardKeySelector) error {
	sel, err := selector(which, shards)
	if err != nil {
		return err
	}
	o, err := payload(p)
	if err != nil {
		return err
	}
	var at *flat.Path
	if key != nil {
		path, err := flat.ParsePath(*key)
		if err != nil {
			return err
		}
		at = &path
	}
	return s.db.SetPayload(name, sel, at, o)
}

// OverwritePayload implements qdrant.PointsServer.
func (s *points) OverwritePayload(_ context.Context, r *qdrant.SetPayloadPoints) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.overwritePayload(r.GetCollectionName(), r.GetPayload(), r.Key, r.GetPointsSelector(), r.GetShardKeySelector()))
}

func (s *points) overwritePayload(name string, p map[string]*qdrant.Value, key *string, which *qdrant.PointsSelector, shards *qdrant.ShardKeySelector) error {
	sel, err := selector(which, shards)
	if err := cmp.Or(firstOf(field{"overwrite payload at a key", key != nil}), err); err != nil {
		return err
	}
	o, err := payload(p)
	if err != nil {
		return err
	}
	return s.db.OverwritePayload(name, sel, o)
}

// DeletePayload implements qdrant.PointsServer.
func (s *points) DeletePayload(_ context.Context, r *qdrant.DeletePayloadPoints) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.deletePayload(r.GetCollectionName(), r.GetKeys(), r.GetPointsSelector(), r.GetShardKeySelector()))
}

func (s *points) deletePayload(name string, keys []string, which *qdrant.PointsSelector, shards *qdrant.ShardKeySelector) error {
	sel, err := selector(which, shards)
	if err != nil {
		return err
	}
	at, err := paths(keys)
	if err != nil {
		return err
	}
	return s.db.DeletePayload(name, sel, at)
}

// ClearPayload implements qdrant.PointsServer.
func (s *points) ClearPayload(_ context.Context, r *qdrant.ClearPayloadPoints) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.clearPayload(r.GetCollectionName(), r.GetPoints(), r.GetShardKeySelector()))
}

func (s *points) clearPayload(name string, which *qdrant.PointsSelector, shards *qdrant.ShardKeySelector) error {
	sel, err := selector(which, shards)
	if err != nil {
		return err
	}
	return s.db.ClearPayload(name, sel)
}

// UpdateBatch implements qdrant.PointsServer: the operations run in order, each on its
// own; the first that fails ends the batch and what came before it stays.
func (s *points) UpdateBatch(_ context.Context, r *qdrant.UpdateBatchPoints) (*qdrant.UpdateBatchResponse, error) {
	start := time.Now()
	out := &qdrant.UpdateBatchResponse{}
	for _, op := range r.GetOperations() {
		if err := s.operation(r.GetCollectionName(), op); err != nil {
			return nil, err
		}
		out.Result = append(out.Result, s.ops.result(r.Wait))
	}
	out.Time = since(start)
	return out, nil
}

func (s *points) operation(name string, op *qdrant.PointsUpdateOperation) error {
	switch o := op.GetOperation().(type) {
	case *qdrant.PointsUpdateOperation_Upsert:
		return s.upsert(name, o.Upsert.GetPoints(), o.Upsert.GetUpdateFilter(), o.Upsert.GetUpdateMode(), o.Upsert.GetShardKeySelector())
	case *qdrant.PointsUpdateOperation_DeletePoints_:
		return s.delete(name, o.DeletePoints.GetPoints(), o.DeletePoints.GetShardKeySelector())
	case *qdrant.PointsUpdateOperation_SetPayload_:
		return s.setPayload(name, o.SetPayload.GetPayload(), o.SetPayload.Key, o.SetPayload.GetPointsSelector(), o.SetPayload.GetShardKeySelector())
	case *qdrant.PointsUpdateOperation_OverwritePayload_:
		return s.overwritePayload(name, o.OverwritePayload.GetPayload(), o.OverwritePayload.Key, o.OverwritePayload.GetPointsSelector(), o.OverwritePayload.GetShardKeySelector())
	case *qdrant.PointsUpdateOperation_DeletePayload_:
		return s.deletePayload(name, o.DeletePayload.GetKeys(), o.DeletePayload.GetPointsSelector(), o.DeletePayload.GetShardKeySelector())
	case *qdrant.PointsUpdateOperation_ClearPayload_:
		return s.clearPayload(name, o.ClearPayload.GetPoints(), o.ClearPayload.GetShardKeySelector())
	case *qdrant.PointsUpdateOperation_UpdateVectors_:
		return s.updateVectors(name, o.UpdateVectors.GetPoints(), o.UpdateVectors.GetUpdateFilter(), o.UpdateVectors.GetShardKeySelector())
	case *qdrant.PointsUpdateOperation_DeleteVectors_:
		return s.deleteVectors(name, o.DeleteVectors.GetPointsSelector(), o.DeleteVectors.GetVectors(), o.DeleteVectors.GetShardKeySelector())
	case nil:
		return invalid("an update operation is empty")
	}
	return unimplemented("the deprecated form of an update operation")
}

// CreateFieldIndex implements qdrant.PointsServer.
func (s *points) CreateFieldIndex(_ context.Context, r *qdrant.CreateFieldIndexCollection) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	ix, err := index(r)
	if err == nil {
		err = s.db.CreateIndex(r.GetCollectionName(), r.GetFieldName(), ix)
	}
	return s.done(start, r.Wait, err)
}

// DeleteFieldIndex implements qdrant.PointsServer.
func (s *points) DeleteFieldIndex(_ context.Context, r *qdrant.DeleteFieldIndexCollection) (*qdrant.PointsOperationResponse, error) {
	start := time.Now()
	return s.done(start, r.Wait, s.db.DeleteIndex(r.GetCollectionName(), r.GetFieldName()))
}

func selector(p *qdrant.PointsSelector, shards *qdrant.ShardKeySelector) (flat.Selector, error) {
	if err := shardKeys(shards); err != nil {
		return flat.Selector{}, err
	}
	switch p := p.GetPointsSelectorOneOf().(type) {
	case *qdrant.PointsSelector_Points:
		ids, err := pointIDs(p.Points.GetIds())
		return flat.Selector{IDs: ids}, err
	case *qdrant.PointsSelector_Filter:
		f, err := filter(p.Filter)
		return flat.Selector{Filter: f}, err
	}
	return flat.Selector{}, invalid("a points selector is missing")
}

func shardKeys(s *qdrant.ShardKeySelector) error {
	return firstOf(field{"shard_key_selector", len(s.GetShardKeys()) > 0 || s.GetFallback() != nil})
}
