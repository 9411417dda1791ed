// Package indexer keeps embedded studies searchable. A study is one point: its vectors,
// label scores and where they came from. [Store] is the index as the rest of Radstream
// sees it; indexer/qdrant implements it for any Qdrant server, indexer/qdrantd is such a
// server over indexer/flat, and indexer/storetest is the suite every Store passes.
//
// The index can be thrown away and rebuilt from the prepared stream. So that replays,
// redeliveries and arrivals out of order do no harm, a point's id follows from tenant and
// study, and a write wins only with a larger revision than the stored one, or with the same
// revision scored by a later label set.
//
// # Payload
//
// The layout is stable; other programs read it from Qdrant:
//
//	tenant               keyword, tenant index   who the study belongs to
//	study_key            keyword index           HMAC of the StudyUID
//	patient_key          keyword index           HMAC of the patient id
//	rev                  integer index           revision of the study
//	model                keyword                 the model that made vectors and labels
//	labels.<name>        float index             score, 0 to 1
//	label_set            integer index           number of the label set of the scores; absent for
//	                                             the model's own
//	views                keyword index           the views that went in: frontal, lateral
//	study_time           datetime index          when the study was taken, moved by the patient's
//	                                             secret offset (ingest/deid); absent when unknown
//	prep_id              keyword                 the StudyPrepared it was made from
//	preparation_version  keyword                 the preprocessing that made that
//	write                keyword                 random; tells a writer which write won
//
// Collections are in strict mode: a filter by a key without an index is refused.
//
// The vectors are image, frontal, lateral and text, cosine; any may be absent. An erased
// study leaves a tombstone: a point with its id, no vectors, and only rev, at [MaxRev].
package indexer

import (
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/radstream/radstream/schemas/fault"
)

// MaxRev is the revision of a tombstone: larger than that of any study, so nothing
// replaces it. Revisions are compared as float64 by Qdrant's range filter, which is exact
// up to here.
const MaxRev uint64 = 1 << 53

// reasonPoint is why a point is refused before it is sent.
const reasonPoint fault.Reason = "point"

// PointID names a study's point in every collection.
type PointID [16]byte

// NewPointID returns the id of a tenant's study: the UUIDv5 (RFC 9562, section 5.5) of
// "tenant NUL study key" in a namespace of our own.
func NewPointID(tenant, studyKey string) PointID {
	// The UUIDv5 of "https://github.com/radstream/radstream" in the URL namespace; it never changes.
	namespace := uuid.UUID{0xc1, 0x67, 0xab, 0xc7, 0x58, 0xba, 0x5d, 0xb2, 0x8c, 0x4b, 0x4a, 0x8a, 0xce, 0xc3, 0xaa, 0x56}
	return PointID(uuid.NewSHA1(namespace, []byte(tenant+"\x00"+studyKey)))
}

// ParsePointID reads the hyphenated form.
func ParsePointID(s string) (PointID, error) {
	u, err := uuid.Parse(s)
	if err != nil {
		return PointID{}, fault.Reject("indexer.ParsePointID", fault.Invalid, reasonPoint, "a point id is a UUID")
	}
	return PointID(u), nil
}

// String returns the hyphenated form.
func (id PointID) String() string { return uuid.UUID(id).String() }

// VectorName is the name of a vector inside a collection.
type VectorName string

// The vectors of a study, all of the model's width.
const (
	Image   VectorName = "image"   // the current views together
	Frontal VectorName = "frontal" // the frontal view alone
	Lateral VectorName = "lateral" // the lateral view alone
	Text    VectorName = "text"    // the report
)

// VectorNames lists the names in a fixed order.
func VectorNames() []VectorName { return []VectorName{Image, Frontal, Lateral, Text} }

// Point is a study in the index.
type Point struct {
	ID                 PointID // of Tenant and StudyKey
	Tenant             string
	StudyKey           string
	PatientKey         string
	Rev                uint64 // below MaxRev
	ModelRef           string
	Vectors            map[VectorName][]float32 // read back, they have length 1
	Labels             map[string]float32       // name -> score; [a-z0-9_-]+
	LabelSet           uint64                   // number of the set that Labels are of; 0: the model's own
	Views              []string
	StudyTime          time.Time // moved by the patient's secret offset; zero when unknown
	PrepID             string
	PreparationVersion string
}

// NewTombstone returns the point that an erased study leaves behind.
func NewTombstone(tenant, studyKey string) Point {
	return Point{ID: NewPointID(tenant, studyKey), Rev: MaxRev}
}

// Newer reports whether p takes the place of other: it is of a later revision, or of the same one,
// scored by a later label set.
func (p Point) Newer(other Point) bool {
	return p.Rev > other.Rev || p.Rev == other.Rev && p.LabelSet > other.LabelSet
}

// Tombstone reports whether p stands for an erased study.
func (p Point) Tombstone() bool { return p.Rev == MaxRev }

// Validate checks what does not depend on a collection; Invalid otherwise.
func (p Point) Validate() error {
	bad := func(format string, args ...any) error {
		return fault.Reject("indexer.Point", fault.Invalid, reasonPoint, format, args...)
	}
	switch {
	case p.Rev > MaxRev:
		return bad("a revision is at most %d", MaxRev-1)
	case p.LabelSet > MaxRev:
		return bad("the number of a label set is at most %d", MaxRev)
	case p.Tombstone() && (p.Tenant != "" || p.StudyKey != "" || len(p.Vectors)+len(p.Labels) > 0):
		return bad("a tombstone has an id and nothing else; revision %d is kept for it", MaxRev)
	case p.Tombstone():
		return nil
	case p.Tenant == "" || p.StudyKey == "":
		return bad("a point needs a tenant and a study key")
	case p.ID != NewPointID(p.Tenant, p.StudyKey):
		return bad("the point id is not that of its tenant and study key")
	}
	for name, v := range p.Vectors {
		for _, x := range v {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return bad("vector %s holds a number that is not finite", name)
			}
		}
	}
	for name, v := range p.Labels {
		if err := checkLabel(name); err != nil {
			return err
		}
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return bad("a label score is not finite")
		}
	}
	return nil
}

func checkLabel(name string) error {
	ok := len(name) >= 1 && len(name) <= 64
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	if !ok {
		return fault.Reject("indexer.Point", fault.Invalid, reasonPoint, "a label name has 1 to 64 of a-z, 0-9, _ and -")
	}
	return nil
}

// CollectionPrefix is what the names of all collections of studies begin with.
const CollectionPrefix = "studies__"

// CollectionFor names the collection of a model; the alias in use points at one of them.
func CollectionFor(model string) string { return CollectionPrefix + model }
