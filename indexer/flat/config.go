package flat

import (
	"math"

	"github.com/radstream/radstream/schemas/fault"
)

// Reasons for refusing a collection, its vectors or a query.
const (
	reasonName       fault.Reason = "collection_name"
	reasonConfig     fault.Reason = "collection_config"
	reasonVectorName fault.Reason = "vector_name"
	reasonWidth      fault.Reason = "vector_width"
	reasonNotFinite  fault.Reason = "vector_not_finite"
)

// Limits on what a collection may look like.
const (
	maxName    = 255   // bytes of a collection, alias or vector name
	maxWidth   = 65536 // elements of a vector, as in Qdrant
	maxVectors = 256   // vector names in a collection
)

// Distance compares two vectors. The numbers are stored; append only.
type Distance uint8

// The distances. Cosine vectors are normalised when stored. For Euclid and Manhattan a
// smaller score is better.
const (
	Cosine    Distance = 1
	Dot       Distance = 2
	Euclid    Distance = 3
	Manhattan Distance = 4
)

// VectorConfig is the width (elements, 1 to 65536) and distance of one vector name.
type VectorConfig struct {
	Size     int
	Distance Distance
}

// Config is what a collection holds: its vectors by name. The single unnamed vector has
// the name "" and then is the only one.
type Config struct{ Vectors map[string]VectorConfig }

// IndexType is the type of a payload index. The numbers are stored; append only.
type IndexType uint8

// The index types. Only TextIndex changes what a filter means. All others let a scan leave
// out points before it reads their vectors, where the field stands in Must or Should, and
// cost 8 bytes a point; integer, float and datetime indexes allow ordering by the field;
// keyword, integer and bool ones facets.
const (
	KeywordIndex IndexType = iota + 1
	IntegerIndex
	FloatIndex
	BoolIndex
	DatetimeIndex
	UUIDIndex
	TextIndex
)

// Index declares a payload field. Scans are exact with or without it.
type Index struct {
	Type   IndexType
	Tenant bool // the field separates tenants
	Text   TextParams
}

func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fault.Reject("flat.CreateCollection", fault.Invalid, reasonName, "a name has 1 to %d bytes", maxName)
	}
	return nil
}

func (c Config) validate() error {
	if len(c.Vectors) > maxVectors {
		return fault.Reject("flat.CreateCollection", fault.Invalid, reasonConfig, "more than %d vector names", maxVectors)
	}
	for name, v := range c.Vectors {
		if len(name) > maxName || name == "" && len(c.Vectors) > 1 {
			return fault.Reject("flat.CreateCollection", fault.Invalid, reasonConfig, "a vector name has 1 to %d bytes; only a single vector may be unnamed", maxName)
		}
		if v.Size < 1 || v.Size > maxWidth || v.Distance < Cosine || v.Distance > Manhattan {
			return fault.Reject("flat.CreateCollection", fault.Invalid, reasonConfig, "a vector needs a size from 1 to %d and a known distance", maxWidth)
		}
	}
	return nil
}

// prepare checks a vector against the configuration and returns the copy that is stored or
// compared: normalised for Cosine.
func (c Config) prepare(name string, v []float32) ([]float32, error) {
	vc, ok := c.Vectors[name]
	if !ok {
		return nil, fault.Reject("flat.vector", fault.Invalid, reasonVectorName, "not existing vector name %q", name)
	}
	if len(v) != vc.Size {
		return nil, fault.Reject("flat.vector", fault.Invalid, reasonWidth, "vector dimension error: expected dim %d, got %d", vc.Size, len(v))
	}
	var sum float32
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return nil, fault.Reject("flat.vector", fault.Invalid, reasonNotFinite, "a vector holds a number that is not finite")
		}
		sum += x * x
	}
	out := make([]float32, len(v))
	copy(out, v)
	// As Qdrant: a vector of no length stays, and one of unit length keeps its bits.
	const epsilon = 1.1920929e-7
	if vc.Distance == Cosine && sum >= epsilon && math.Abs(float64(sum)-1) > 1e-6 {
		norm := float32(math.Sqrt(float64(sum)))
		for i := range out {
			out[i] /= norm
		}
	}
	return out, nil
}
