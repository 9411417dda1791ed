package qdrant

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/fault"
)

const (
	// upsertBatch is how many points go into one request: about 1 MB at four vectors of 512.
	upsertBatch = 128
	// upsertsAtOnce is how many requests are under way: while the server decodes one, the client
	// encodes the next, and one sync of the server's log serves both.
	upsertsAtOnce = 2
)

// Upsert implements indexer.Store.
func (c *Client) Upsert(ctx context.Context, collection string, points []indexer.Point) ([]indexer.Result, error) {
	// Qdrant lets the last of equal ids in a request win whatever the filter says.
	winner := make(map[indexer.PointID]int, len(points))
	var order []int
	for i, p := range points {
		if err := p.Validate(); err != nil {
			return nil, err
		}
		w, seen := winner[p.ID]
		if !seen || p.Newer(points[w]) {
			winner[p.ID] = i
		}
		if !seen {
			order = append(order, i)
		}
	}
	stored := make(map[indexer.PointID]indexer.Result, len(order))
	var mu sync.Mutex // guards stored
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(upsertsAtOnce)
	for some := range slices.Chunk(order, upsertBatch) {
		batch := make([]indexer.Point, len(some))
		for i, at := range some {
			batch[i] = points[winner[points[at].ID]]
		}
		g.Go(func() error {
			results, err := c.upsert(ctx, collection, batch)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(stored, results)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make([]indexer.Result, len(points))
	for i, p := range points {
		out[i] = stored[p.ID]
		if winner[p.ID] != i {
			out[i].Outcome = indexer.Refused
		}
	}
	return out, nil
}

// upsert writes points with different ids and returns what is there afterwards.
func (c *Client) upsert(ctx context.Context, collection string, points []indexer.Point) (map[indexer.PointID]indexer.Result, error) {
	write, wait := rand.Text(), true
	req := &qdrant.UpsertPoints{CollectionName: collection, Wait: &wait, UpdateFilter: newerThanStored(points)}
	ids := make([]indexer.PointID, len(points))
	for i, p := range points {
		ids[i] = p.ID
		req.Points = append(req.Points, encode(p, write))
	}
	if _, err := call(ctx, c, "qdrant.Upsert", c.conn.GetPointsClient().Upsert, req); err != nil {
		return nil, err
	}
	recs, err := c.retrieve(ctx, "qdrant.Upsert", collection, ids, qdrant.NewWithPayloadInclude(keyRev, keyLabelSet, keyPrep, keyWrite), false)
	if err != nil {
		return nil, err
	}
	stored := make(map[indexer.PointID]indexer.Result, len(points))
	for _, r := range recs {
		p, err := decode(r.GetId(), r.GetPayload(), nil)
		if err != nil {
			return nil, err
		}
		res := indexer.Result{Rev: p.Rev, LabelSet: p.LabelSet, PrepID: p.PrepID}
		// A tombstone has no room for a mark, and one is as good as another.
		if r.GetPayload()[keyWrite].GetStringValue() == write || p.Tombstone() {
			res.Outcome = indexer.Applied
		}
		stored[p.ID] = res
	}
	for _, p := range points {
		r, ok := stored[p.ID]
		if !ok {
			return nil, fault.Errorf("qdrant.Upsert", fault.Transient, "a point that was written cannot be read back; was the collection dropped?")
		}
		if p.Newer(indexer.Point{Rev: r.Rev, LabelSet: r.LabelSet}) { // the server went on without waiting for the write, as after its own timeout
			return nil, fault.Errorf("qdrant.Upsert", fault.Transient, "a point was written, and what it replaces is still there")
		}
		if r.Rev != p.Rev || r.LabelSet != p.LabelSet {
			r.Outcome = indexer.Refused
			stored[p.ID] = r
		}
	}
	return stored, nil
}

// newerThanStored holds for stored points that one of points may replace. Absent points
// are inserted whatever the filter says.
func newerThanStored(points []indexer.Point) *qdrant.Filter {
	type version struct{ rev, labelSet uint64 }
	alike := make(map[version][]*qdrant.PointId)
	for _, p := range points {
		v := version{p.Rev, p.LabelSet}
		alike[v] = append(alike[v], qdrant.NewIDUUID(p.ID.String()))
	}
	older := func(v version) *qdrant.Condition {
		rev, set := float64(v.rev), float64(v.labelSet)
		before := qdrant.NewRange(keyRev, &qdrant.Range{Lt: &rev})
		if v.labelSet == 0 {
			return before
		}
		return qdrant.NewFilterAsCondition(&qdrant.Filter{Should: []*qdrant.Condition{before, qdrant.NewFilterAsCondition(&qdrant.Filter{
			Must:    []*qdrant.Condition{qdrant.NewRange(keyRev, &qdrant.Range{Gte: &rev, Lte: &rev})},
			MustNot: []*qdrant.Condition{qdrant.NewRange(keyLabelSet, &qdrant.Range{Gte: &set})}, // absent is 0
		})}})
	}
	f := &qdrant.Filter{}
	for v, ids := range alike {
		if len(alike) == 1 {
			f.Must = []*qdrant.Condition{older(v)}
			break
		}
		f.Should = append(f.Should, qdrant.NewFilterAsCondition(&qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewHasID(ids...), older(v)}}))
	}
	return f
}

// Get implements indexer.Store.
func (c *Client) Get(ctx context.Context, collection string, ids []indexer.PointID) ([]indexer.Point, error) {
	recs, err := c.retrieve(ctx, "qdrant.Get", collection, ids, qdrant.NewWithPayload(true), true)
	if err != nil {
		return nil, err
	}
	found := make(map[indexer.PointID]indexer.Point, len(recs))
	for _, r := range recs {
		p, err := decode(r.GetId(), r.GetPayload(), r.GetVectors())
		if err != nil {
			return nil, err
		}
		found[p.ID] = p
	}
	var out []indexer.Point
	for _, id := range ids {
		if p, ok := found[id]; ok {
			out = append(out, p)
		}
	}
	return out, nil
}

func (c *Client) retrieve(ctx context.Context, op, collection string, ids []indexer.PointID, payload *qdrant.WithPayloadSelector, vectors bool) ([]*qdrant.RetrievedPoint, error) {
	req := &qdrant.GetPoints{CollectionName: collection, WithPayload: payload, WithVectors: qdrant.NewWithVectors(vectors)}
	for _, id := range ids {
		req.Ids = append(req.Ids, qdrant.NewIDUUID(id.String()))
	}
	r, err := call(ctx, c, op, c.conn.GetPointsClient().Get, req)
	return r.GetResult(), err
}

// shown are the keys that a hit has.
var shown = []string{keyTenant, keyStudy, keyPatient, keyRev, keyModel, keyLabels, keyLabelSet, keyViews, keyTime}

// Search implements indexer.Store.
func (c *Client) Search(ctx context.Context, q indexer.Query) ([]indexer.Hit, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	using, limit, offset := string(q.Using), uint64(q.K), uint64(q.Offset)
	req := &qdrant.QueryPoints{
		CollectionName: q.Collection, Using: &using, Filter: queryFilter(q),
		Limit: &limit, Offset: &offset, WithPayload: qdrant.NewWithPayloadInclude(shown...), Params: searched(),
	}
	if q.ID != nil {
		req.Query = qdrant.NewQueryID(qdrant.NewIDUUID(q.ID.String()))
	} else {
		req.Query = qdrant.NewQueryDense(q.Vector)
	}
	r, err := call(ctx, c, "qdrant.Search", c.conn.GetPointsClient().Query, req)
	if err != nil {
		return nil, err
	}
	hits := make([]indexer.Hit, len(r.GetResult()))
	for i, h := range r.GetResult() {
		if hits[i].Point, err = decode(h.GetId(), h.GetPayload(), nil); err != nil {
			return nil, err
		}
		hits[i].Score = h.GetScore()
	}
	return hits, nil
}

// Count implements indexer.Store.
func (c *Client) Count(ctx context.Context, q indexer.CountQuery) (int, error) {
	if err := q.Validate(); err != nil {
		return 0, err
	}
	exact, filter := true, tenantFilter(q.Tenant, q.Labels)
	if q.Tenant == "" { // of which a tombstone has none
		below := float64(indexer.MaxRev)
		filter.Must = append(filter.Must, qdrant.NewRange(keyRev, &qdrant.Range{Lt: &below}))
	}
	r, err := call(ctx, c, "qdrant.Count", c.conn.GetPointsClient().Count,
		&qdrant.CountPoints{CollectionName: q.Collection, Filter: filter, Exact: &exact})
	return int(r.GetResult().GetCount()), err
}

// Scan returns up to limit points, tombstones included and without vectors, in the order
// of their ids from the given one on (nil: the first), and the id at which to go on, nil
// at the end.
func (c *Client) Scan(ctx context.Context, collection string, from *indexer.PointID, limit int) ([]indexer.Point, *indexer.PointID, error) {
	n := uint32(max(1, limit))
	req := &qdrant.ScrollPoints{CollectionName: collection, Limit: &n, WithPayload: qdrant.NewWithPayload(true)}
	if from != nil {
		req.Offset = qdrant.NewIDUUID(from.String())
	}
	r, err := call(ctx, c, "qdrant.Scan", c.conn.GetPointsClient().Scroll, req)
	if err != nil {
		return nil, nil, err
	}
	out := make([]indexer.Point, len(r.GetResult()))
	for i, p := range r.GetResult() {
		if out[i], err = decode(p.GetId(), p.GetPayload(), nil); err != nil {
			return nil, nil, err
		}
	}
	if r.GetNextPageOffset() == nil {
		return out, nil, nil
	}
	next, err := indexer.ParsePointID(r.GetNextPageOffset().GetUuid())
	return out, &next, err
}

func tenantFilter(tenant string, labels []indexer.LabelAtLeast) *qdrant.Filter {
	f := &qdrant.Filter{}
	if tenant != "" {
		f.Must = append(f.Must, qdrant.NewMatchKeyword(keyTenant, tenant))
	}
	for _, l := range labels {
		gte := float64(l.Min)
		f.Must = append(f.Must, qdrant.NewRange(labelPrefix+l.Name, &qdrant.Range{Gte: &gte}))
	}
	return f
}

// queryFilter is what a hit must have.
func queryFilter(q indexer.Query) *qdrant.Filter {
	f := tenantFilter(q.Tenant, q.Labels)
	for _, v := range q.Views { // of a list, one element must match
		f.Must = append(f.Must, qdrant.NewMatchKeyword(keyViews, v))
	}
	if !q.From.IsZero() || !q.To.IsZero() {
		r := &qdrant.DatetimeRange{}
		if !q.From.IsZero() {
			r.Gte = timestamppb.New(q.From)
		}
		if !q.To.IsZero() {
			r.Lt = timestamppb.New(q.To)
		}
		f.Must = append(f.Must, qdrant.NewDatetimeRange(keyTime, r))
	}
	return f
}

// encode lays a point out as package indexer documents.
func encode(p indexer.Point, write string) *qdrant.PointStruct {
	out := &qdrant.PointStruct{Id: qdrant.NewIDUUID(p.ID.String())}
	vs := make(map[string]*qdrant.Vector, len(p.Vectors))
	for name, v := range p.Vectors {
		vs[string(name)] = qdrant.NewVectorDense(v)
	}
	out.Vectors = qdrant.NewVectorsMap(vs)
	out.Payload = map[string]*qdrant.Value{keyRev: qdrant.NewValueInt(int64(p.Rev))}
	if p.Tombstone() {
		return out
	}
	labels := &qdrant.Struct{Fields: make(map[string]*qdrant.Value, len(p.Labels))}
	for name, score := range p.Labels {
		labels.Fields[name] = qdrant.NewValueDouble(float64(score))
	}
	views := &qdrant.ListValue{}
	for _, v := range p.Views {
		views.Values = append(views.Values, qdrant.NewValueString(v))
	}
	for key, s := range map[string]string{
		keyTenant: p.Tenant, keyStudy: p.StudyKey, keyPatient: p.PatientKey, keyModel: p.ModelRef,
		keyPrep: p.PrepID, keyPreparation: p.PreparationVersion, keyWrite: write,
	} {
		out.Payload[key] = qdrant.NewValueString(s)
	}
	if p.LabelSet > 0 {
		out.Payload[keyLabelSet] = qdrant.NewValueInt(int64(p.LabelSet))
	}
	if !p.StudyTime.IsZero() {
		out.Payload[keyTime] = qdrant.NewValueString(p.StudyTime.UTC().Format(time.RFC3339Nano))
	}
	out.Payload[keyLabels], out.Payload[keyViews] = qdrant.NewValueStruct(labels), qdrant.NewValueList(views)
	return out
}

// decode is the inverse of encode for what was asked back. A point that somebody else put
// there under a number is Corrupt.
func decode(id *qdrant.PointId, payload map[string]*qdrant.Value, vectors *qdrant.VectorsOutput) (indexer.Point, error) {
	pid, err := indexer.ParsePointID(id.GetUuid())
	if err != nil {
		return indexer.Point{}, fault.Errorf("qdrant.decode", fault.Corrupt, "the collection holds a point without a UUID")
	}
	text := func(key string) string { return payload[key].GetStringValue() }
	p := indexer.Point{
		ID: pid, Tenant: text(keyTenant), StudyKey: text(keyStudy), PatientKey: text(keyPatient), Rev: uint64(payload[keyRev].GetIntegerValue()),
		ModelRef: text(keyModel), PrepID: text(keyPrep), PreparationVersion: text(keyPreparation),
		LabelSet: uint64(payload[keyLabelSet].GetIntegerValue()),
	}
	if t := text(keyTime); t != "" {
		if p.StudyTime, err = time.Parse(time.RFC3339Nano, t); err != nil {
			return indexer.Point{}, fault.Errorf("qdrant.decode", fault.Corrupt, "the collection holds a point whose %s is no time", keyTime)
		}
	}
	for name, v := range payload[keyLabels].GetStructValue().GetFields() {
		if p.Labels == nil {
			p.Labels = make(map[string]float32)
		}
		p.Labels[name] = float32(v.GetDoubleValue())
	}
	for _, v := range payload[keyViews].GetListValue().GetValues() {
		p.Views = append(p.Views, v.GetStringValue())
	}
	for name, v := range vectors.GetVectors().GetVectors() {
		if p.Vectors == nil {
			p.Vectors = make(map[indexer.VectorName][]float32)
		}
		data := v.GetDense().GetData()
		if data == nil {
			//lint:ignore SA1019 servers before 1.16 answer in this form
			data = v.GetData()
		}
		p.Vectors[indexer.VectorName(name)] = data
	}
	return p, nil
}
