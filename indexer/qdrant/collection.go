package qdrant

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/qdrant/go-client/qdrant"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/fault"
)

// The payload keys; package indexer documents them.
const (
	keyTenant, keyStudy, keyPatient, keyRev = "tenant", "study_key", "patient_key", "rev"
	keyModel, keyLabels, keyViews           = "model", "labels", "views"
	keyPrep, keyPreparation, keyWrite       = "prep_id", "preparation_version", "write"
	keyTime, keyLabelSet                    = "study_time", "label_set"
	labelPrefix                             = keyLabels + "."
	distance                                = qdrant.Distance_Cosine
	indexKeyword, indexInteger, indexFloat  = qdrant.FieldType_FieldTypeKeyword, qdrant.FieldType_FieldTypeInteger, qdrant.FieldType_FieldTypeFloat
)

// Ensure implements indexer.Store. Indexes come before data, as Qdrant advises.
func (c *Client) Ensure(ctx context.Context, spec indexer.Spec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	_, err := call(ctx, c, "qdrant.Ensure", c.conn.GetCollectionsClient().Create, created(spec))
	if fault.KindOf(err) == fault.Conflict {
		err = c.compare(ctx, spec)
	}
	if err != nil {
		return err
	}
	tenant := true
	err = c.index(ctx, spec.Collection, keyTenant, indexKeyword, qdrant.NewPayloadIndexParamsKeyword(&qdrant.KeywordIndexParams{IsTenant: &tenant}))
	for _, f := range []struct {
		key  string
		kind qdrant.FieldType
	}{{keyStudy, indexKeyword}, {keyPatient, indexKeyword}, {keyRev, indexInteger}, {keyLabelSet, indexInteger}, {keyViews, indexKeyword}, {keyTime, qdrant.FieldType_FieldTypeDatetime}} {
		if err == nil {
			err = c.index(ctx, spec.Collection, f.key, f.kind, nil)
		}
	}
	for _, label := range spec.Labels {
		if err == nil {
			err = c.index(ctx, spec.Collection, labelPrefix+label, indexFloat, nil)
		}
	}
	if err == nil { // it may have been made before strict mode was asked for; filters have their indexes by now
		_, err = call(ctx, c, "qdrant.Ensure", c.conn.GetCollectionsClient().Update, &qdrant.UpdateCollection{CollectionName: spec.Collection, StrictModeConfig: strictMode()})
	}
	if err != nil || spec.Alias == "" {
		return err
	}
	target, err := c.AliasTarget(ctx, spec.Alias)
	if err != nil || target != "" {
		return err
	}
	return c.SwitchAlias(ctx, spec.Alias, spec.Collection)
}

// created is the request for a collection. A cluster searches int8 codes that stay in memory, and
// scores what it finds by the floats (see searched); the embedded server, which does both of itself,
// takes that as it takes all tuning.
func created(spec indexer.Spec) *qdrant.CreateCollection {
	params := make(map[string]*qdrant.VectorParams, len(spec.Vectors))
	for name, width := range spec.Vectors {
		params[string(name)] = &qdrant.VectorParams{Size: uint64(width), Distance: distance}
	}
	inMemory := true
	return &qdrant.CreateCollection{
		CollectionName: spec.Collection, VectorsConfig: qdrant.NewVectorsConfigMap(params),
		QuantizationConfig: qdrant.NewQuantizationScalar(&qdrant.ScalarQuantization{Type: qdrant.QuantizationType_Int8, AlwaysRam: &inMemory}),
	}
}

// maxLimit is far more than anybody asks for at once.
const maxLimit = 10_000

// strictMode is what Qdrant's guides advise: no filter by a field without an index, and bounded requests.
func strictMode() *qdrant.StrictModeConfig {
	enabled, unindexed, limit, batch := true, false, uint32(maxLimit), uint64(upsertBatch)
	return &qdrant.StrictModeConfig{Enabled: &enabled, UnindexedFilteringRetrieve: &unindexed, UnindexedFilteringUpdate: &unindexed,
		MaxQueryLimit: &limit, UpsertMaxBatchsize: &batch}
}

// searched are the parameters of a search: twice the candidates by their codes, then their floats.
func searched() *qdrant.SearchParams {
	rescore, oversampling := true, 2.0
	return &qdrant.SearchParams{Quantization: &qdrant.QuantizationSearchParams{Rescore: &rescore, Oversampling: &oversampling}}
}

// compare holds an existing collection against spec.
func (c *Client) compare(ctx context.Context, spec indexer.Spec) error {
	r, err := call(ctx, c, "qdrant.Ensure", c.conn.GetCollectionsClient().Get, &qdrant.GetCollectionInfoRequest{CollectionName: spec.Collection})
	if err != nil {
		return err
	}
	have := r.GetResult().GetConfig().GetParams().GetVectorsConfig().GetParamsMap().GetMap()
	var diff []string
	for name, width := range spec.Vectors {
		if p, ok := have[string(name)]; !ok {
			diff = append(diff, fmt.Sprintf("vector %s is missing", name))
		} else if p.GetSize() != uint64(width) || p.GetDistance() != distance {
			diff = append(diff, fmt.Sprintf("vector %s is %d wide with distance %s, not %d with %s", name, p.GetSize(), p.GetDistance(), width, distance))
		}
	}
	if len(have) > len(spec.Vectors) {
		diff = append(diff, fmt.Sprintf("it has %d vectors, not %d", len(have), len(spec.Vectors)))
	}
	if diff == nil {
		return nil
	}
	slices.Sort(diff)
	return fault.Errorf("qdrant.Ensure", fault.Conflict, "collection %s exists, but %s", spec.Collection, strings.Join(diff, "; "))
}

func (c *Client) index(ctx context.Context, collection, field string, t qdrant.FieldType, params *qdrant.PayloadIndexParams) error {
	wait := true
	_, err := call(ctx, c, "qdrant.Ensure", c.conn.GetPointsClient().CreateFieldIndex,
		&qdrant.CreateFieldIndexCollection{CollectionName: collection, Wait: &wait, FieldName: field, FieldType: &t, FieldIndexParams: params})
	return err
}

// AliasTarget returns the collection that alias points at, "" when there is none.
func (c *Client) AliasTarget(ctx context.Context, alias string) (string, error) {
	r, err := call(ctx, c, "qdrant.AliasTarget", c.conn.GetCollectionsClient().ListAliases, &qdrant.ListAliasesRequest{})
	for _, a := range r.GetAliases() {
		if a.GetAliasName() == alias {
			return a.GetCollectionName(), err
		}
	}
	return "", err
}

// SwitchAlias points alias at collection in one step: a reader sees the old target or the
// new one, never none.
func (c *Client) SwitchAlias(ctx context.Context, alias, collection string) error {
	_, err := call(ctx, c, "qdrant.SwitchAlias", c.conn.GetCollectionsClient().UpdateAliases, &qdrant.ChangeAliases{Actions: []*qdrant.AliasOperations{
		qdrant.NewAliasDelete(alias), qdrant.NewAliasCreate(alias, collection),
	}})
	return err
}

// Drop removes a collection and its points; one that is not there is fine.
func (c *Client) Drop(ctx context.Context, collection string) error {
	_, err := call(ctx, c, "qdrant.Drop", c.conn.GetCollectionsClient().Delete, &qdrant.DeleteCollection{CollectionName: collection})
	return err
}
