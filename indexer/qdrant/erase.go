package qdrant

import (
	"context"
	"strings"

	"github.com/qdrant/go-client/qdrant"

	"github.com/radstream/radstream/indexer"
)

// Erase puts tombstones in the place of studies, in every collection of studies that the server
// has: those of models that serve no longer hold them as well. Then it asks the server to write
// anew what held the points. The embedded server has done so when the call returns; a Qdrant
// lets its optimizer decide, so that vectors of an erased study, which no answer shows any more,
// may stay in its segments until they are vacuumed. Doing it again changes nothing.
func (c *Client) Erase(ctx context.Context, tombstones []indexer.Point) error {
	const op = "qdrant.Erase"
	r, err := call(ctx, c, op, c.conn.GetCollectionsClient().List, &qdrant.ListCollectionsRequest{})
	if err != nil {
		return err
	}
	var names []string
	for _, have := range r.GetCollections() {
		if name := have.GetName(); strings.HasPrefix(name, indexer.CollectionPrefix) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if _, err := c.Upsert(ctx, name, tombstones); err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, err := call(ctx, c, op, c.conn.GetCollectionsClient().Update,
			&qdrant.UpdateCollection{CollectionName: name, OptimizersConfig: &qdrant.OptimizersConfigDiff{}}); err != nil {
			return err
		}
	}
	return nil
}
