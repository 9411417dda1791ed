// Package eval measures models: retrieval (Table 3 of the method), zero-shot scores (Table 4)
// and image-text pairs. It sees a model as the embedder does, through vectors, so that what is
// measured is what serves.
//
//	Case (vectors of a study, what it truly shows)
//	  -> ranking by cosine -> precision at k, recall at k, area under the curve
//	  -> bootstrap         -> 95 % interval
//
// Where local vectors were asked for, texts and images are ranked by [LocalSimilarity] too.
//
// Everything is a pure function of its arguments; random numbers come from fixed seeds, so
// that the same model gives the same table.
package eval
