package indexer

import (
	"context"
	"math"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

// Store is an index of studies. Every method takes the name of a collection or an alias.
// Errors are faults: Invalid for a vector of another width or an unknown label filter,
// NotFound for a collection or point that is not there, Unavailable or Transient when
// trying again later can help.
type Store interface {
	// Ensure makes the collection with its payload indexes, and the alias when it points
	// nowhere yet; doing it again changes nothing. Conflict: the collection exists with other
	// vectors, which is said with the difference.
	Ensure(ctx context.Context, spec Spec) error
	// Upsert writes points that are [Point.Newer] than the stored ones and returns, point by
	// point, whether it won. When it returns without an error, what was applied is on disk.
	// Of several points with one id in a call the newest counts. On an error a
	// part may have been written; repeating the call is safe.
	Upsert(ctx context.Context, collection string, points []Point) ([]Result, error)
	// Get returns the points that exist, tombstones included, in the order asked.
	Get(ctx context.Context, collection string, ids []PointID) ([]Point, error)
	// Search returns the studies of one tenant most similar to a vector or a study, best
	// first. A study given by id is not among them.
	Search(ctx context.Context, q Query) ([]Hit, error)
	// Count returns the number of a tenant's studies, or of all with Tenant empty; tombstones
	// count for nobody.
	Count(ctx context.Context, q CountQuery) (int, error)
}

// Spec describes a collection.
type Spec struct {
	Collection string
	Alias      string // optional
	Vectors    map[VectorName]int
	Labels     []string // get a payload index each
}

// Validate checks names and widths.
func (s Spec) Validate() error {
	if s.Collection == "" || len(s.Vectors) == 0 {
		return fault.Errorf("indexer.Spec", fault.Invalid, "a collection needs a name and at least one vector")
	}
	for name, width := range s.Vectors {
		if name == "" || width < 1 {
			return fault.Errorf("indexer.Spec", fault.Invalid, "a vector needs a name and a width of at least 1")
		}
	}
	for _, l := range s.Labels {
		if err := checkLabel(l); err != nil {
			return err
		}
	}
	return nil
}

// Outcome says what became of a point that was upserted.
type Outcome uint8

const (
	// Refused: one that is as new is stored, perhaps from a moment after ours.
	Refused Outcome = iota
	// Applied: the stored point is the one that was sent.
	Applied
)

// Result is the outcome for one point, with what is stored after the call.
type Result struct {
	Outcome  Outcome
	Rev      uint64
	LabelSet uint64
	PrepID   string
}

// Announce reports whether StudyIndexed is due for p: it is in the index, now or since an
// earlier delivery of the same embedding whose announcement may have been lost. The
// message id keeps repeats harmless. What is older than the stored one is not announced, nor an
// erased study.
func (r Result) Announce(p Point) bool {
	return !p.Tombstone() && r.Rev == p.Rev && r.LabelSet == p.LabelSet && (r.Outcome == Applied || r.PrepID == p.PrepID)
}

// LabelAtLeast keeps studies whose score for a label is at least Min.
type LabelAtLeast struct {
	Name string
	Min  float32
}

// Query asks for the K nearest studies of a tenant after skipping Offset. Exactly one of
// Vector and ID is set.
type Query struct {
	Collection string
	Tenant     string
	Using      VectorName
	Vector     []float32
	ID         *PointID
	K, Offset  int
	Labels     []LabelAtLeast
	Views      []string // only studies with every one of these views
	// Only studies with From <= StudyTime < To; a zero bound is none. StudyTime is moved by a
	// secret offset for each patient, and so are these.
	From, To time.Time
}

// Validate checks what does not depend on the collection. A query without a tenant is
// refused: tenants never see one another.
func (q Query) Validate() error {
	switch {
	case q.Tenant == "":
		return fault.Errorf("indexer.Query", fault.Invalid, "a query needs a tenant")
	case (q.Vector == nil) == (q.ID == nil):
		return fault.Errorf("indexer.Query", fault.Invalid, "a query has either a vector or a point id")
	case q.K < 1 || q.Offset < 0:
		return fault.Errorf("indexer.Query", fault.Invalid, "a query has k of at least 1 and an offset of at least 0")
	}
	return validLabels(q.Labels)
}

// CountQuery counts the studies of a tenant that have the labels.
type CountQuery struct {
	Collection string
	Tenant     string
	Labels     []LabelAtLeast
}

// Validate checks the label names.
func (q CountQuery) Validate() error { return validLabels(q.Labels) }

// Hit is a study with its cosine similarity, -1 to 1.
type Hit struct {
	Point Point // without Vectors, PrepID and PreparationVersion
	Score float32
}

func validLabels(ls []LabelAtLeast) error {
	for _, l := range ls {
		if err := checkLabel(l.Name); err != nil {
			return err
		}
		if math.IsNaN(float64(l.Min)) {
			return fault.Errorf("indexer.Query", fault.Invalid, "a label threshold is not a number")
		}
	}
	return nil
}
