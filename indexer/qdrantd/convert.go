package qdrantd

import (
	"math"
	"slices"

	"github.com/google/uuid"
	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/radstream/radstream/indexer/flat"
)

func pointID(id *qdrant.PointId) (flat.PointID, error) {
	switch v := id.GetPointIdOptions().(type) {
	case *qdrant.PointId_Num:
		return flat.NumID(v.Num), nil
	case *qdrant.PointId_Uuid:
		u, err := uuid.Parse(v.Uuid)
		if err != nil {
			return flat.PointID{}, invalid("unable to parse a point id as a UUID")
		}
		return flat.UUIDID(u), nil
	}
	return flat.PointID{}, invalid("a point id is missing")
}

func pointIDs(ids []*qdrant.PointId) ([]flat.PointID, error) {
	out := make([]flat.PointID, len(ids))
	for i, id := range ids {
		var err error
		if out[i], err = pointID(id); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func protoID(id flat.PointID) *qdrant.PointId {
	if n, ok := id.Num(); ok {
		return qdrant.NewIDNum(n)
	}
	return qdrant.NewIDUUID(id.String())
}

// payload converts a payload; flat checks depth and numbers.
func payload(m map[string]*qdrant.Value) (flat.Object, error) {
	return flat.NewObject(members(m))
}

func members(m map[string]*qdrant.Value) []flat.Member {
	out := make([]flat.Member, 0, len(m))
	for k, v := range m {
		out = append(out, flat.Member{Key: k, Value: value(v)})
	}
	return out
}

func value(v *qdrant.Value) any {
	switch v := v.GetKind().(type) {
	case *qdrant.Value_BoolValue:
		return v.BoolValue
	case *qdrant.Value_IntegerValue:
		return v.IntegerValue
	case *qdrant.Value_DoubleValue:
		return v.DoubleValue
	case *qdrant.Value_StringValue:
		return v.StringValue
	case *qdrant.Value_ListValue:
		items := make([]any, len(v.ListValue.GetValues()))
		for i, x := range v.ListValue.GetValues() {
			items[i] = value(x)
		}
		return flat.NewList(items)
	case *qdrant.Value_StructValue:
		o, err := flat.NewObject(members(v.StructValue.GetFields()))
		if err != nil {
			return math.NaN() // refused with the whole payload, which holds it
		}
		return o
	}
	return nil
}

// payloadField is the number of the payload in RetrievedPoint and ScoredPoint.
const payloadField = 2

// rawPayload is a payload as answers carry it on the wire, a map of Values: building the hundred
// messages of ten hits, to be marshalled right away, took longer than finding the hits.
func rawPayload(o flat.Object) protoreflect.RawFields { return appendMap(nil, payloadField, o) }

func appendMap(b []byte, field protowire.Number, o flat.Object) []byte {
	for k, v := range o.All() {
		b = appendMessage(b, field, func(b []byte) []byte {
			b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), k)
			return appendMessage(b, 2, func(b []byte) []byte { return appendValue(b, v) })
		})
	}
	return b
}

// appendValue appends the fields of a Value.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.VarintType), protowire.EncodeBool(v))
	case int64:
		return protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(v))
	case float64:
		return protowire.AppendFixed64(protowire.AppendTag(b, 2, protowire.Fixed64Type), math.Float64bits(v))
	case string:
		return protowire.AppendString(protowire.AppendTag(b, 4, protowire.BytesType), v)
	case flat.List:
		return appendMessage(b, 7, func(b []byte) []byte {
			for x := range v.All() {
				b = appendMessage(b, 1, func(b []byte) []byte { return appendValue(b, x) })
			}
			return b
		})
	case flat.Object:
		return appendMessage(b, 6, func(b []byte) []byte { return appendMap(b, 1, v) })
	}
	return protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), 0) // null
}

// appendMessage appends a field that is a message; body appends its fields.
func appendMessage(b []byte, field protowire.Number, body func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	at := len(b)
	b = body(b)
	size := len(b) - at
	prefix := protowire.SizeVarint(uint64(size))
	b = slices.Grow(b, prefix)[:len(b)+prefix]
	copy(b[at+prefix:], b[at:at+size])
	protowire.AppendVarint(b[:at], uint64(size))
	return b
}

// vectors converts what a point carries; the unnamed vector has the name "".
func vectors(v *qdrant.Vectors) (map[string][]float32, error) {
	switch v := v.GetVectorsOptions().(type) {
	case *qdrant.Vectors_Vector:
		dense, err := vector(v.Vector)
		return map[string][]float32{"": dense}, err
	case *qdrant.Vectors_Vectors:
		out := make(map[string][]float32, len(v.Vectors.GetVectors()))
		for name, x := range v.Vectors.GetVectors() {
			dense, err := vector(x)
			if err != nil {
				return nil, err
			}
			out[name] = dense
		}
		return out, nil
	}
	return nil, nil
}

func vector(v *qdrant.Vector) ([]float32, error) {
	switch x := v.GetVector().(type) {
	case *qdrant.Vector_Dense:
		return x.Dense.GetData(), nil
	case nil: // the deprecated form, which old clients still send
		//lint:ignore SA1019 see above
		data, indices, count := v.GetData(), v.GetIndices(), v.GetVectorsCount()
		return data, firstOf(field{"sparse vectors", indices != nil}, field{"multi vectors", count > 1})
	case *qdrant.Vector_Sparse:
		return nil, unimplemented("sparse vectors")
	case *qdrant.Vector_MultiDense:
		return nil, unimplemented("multi vectors")
	}
	return nil, unimplemented("inference (document, image and object inputs)")
}

func vectorInput(v *qdrant.VectorInput) (flat.Input, error) {
	switch x := v.GetVariant().(type) {
	case *qdrant.VectorInput_Id:
		id, err := pointID(x.Id)
		return flat.Input{ID: &id}, err
	case *qdrant.VectorInput_Dense:
		return flat.Input{Vector: x.Dense.GetData()}, nil
	case *qdrant.VectorInput_Sparse:
		return flat.Input{}, unimplemented("sparse vectors")
	case *qdrant.VectorInput_MultiDense:
		return flat.Input{}, unimplemented("multi vectors")
	case nil:
		return flat.Input{}, invalid("a vector input is missing")
	}
	return flat.Input{}, unimplemented("inference (document, image and object inputs)")
}

func protoVectors(vs map[string][]float32) *qdrant.VectorsOutput {
	out := func(v []float32) *qdrant.VectorOutput {
		return &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_Dense{Dense: &qdrant.DenseVector{Data: v}}}
	}
	if v, ok := vs[""]; ok {
		return &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vector{Vector: out(v)}}
	}
	named := &qdrant.NamedVectorsOutput{Vectors: make(map[string]*qdrant.VectorOutput, len(vs))}
	for name, v := range vs {
		named.Vectors[name] = out(v)
	}
	return &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vectors{Vectors: named}}
}

// view is what an answer shows of a point.
type view struct {
	withPayload, withVectors bool
	include, exclude         []flat.Path
	vectors                  flat.VectorSelection
}

// newView reads the selectors; payloads is what holds when there is none.
func newView(p *qdrant.WithPayloadSelector, v *qdrant.WithVectorsSelector, payloads bool) (view, error) {
	w := view{withPayload: payloads}
	var err error
	switch p := p.GetSelectorOptions().(type) {
	case *qdrant.WithPayloadSelector_Enable:
		w.withPayload = p.Enable
	case *qdrant.WithPayloadSelector_Include:
		w.withPayload = true
		w.include, err = paths(p.Include.GetFields())
		if len(w.include) == 0 {
			w.withPayload = false
		}
	case *qdrant.WithPayloadSelector_Exclude:
		w.withPayload = true
		w.exclude, err = paths(p.Exclude.GetFields())
	}
	switch v := v.GetSelectorOptions().(type) {
	case *qdrant.WithVectorsSelector_Enable:
		w.withVectors, w.vectors.All = v.Enable, v.Enable
	case *qdrant.WithVectorsSelector_Include:
		w.withVectors, w.vectors.Names = true, v.Include.GetNames()
	}
	return w, err
}

// payload is what is shown of a payload, in the form of [rawPayload].
func (w view) payload(o flat.Object) protoreflect.RawFields {
	switch {
	case !w.withPayload:
		return nil
	case w.include != nil:
		o = o.Include(w.include)
	case w.exclude != nil:
		o = o.Exclude(w.exclude)
	}
	return rawPayload(o)
}

func (w view) records(rs []flat.Record) []*qdrant.RetrievedPoint {
	out := make([]*qdrant.RetrievedPoint, len(rs))
	for i, r := range rs {
		out[i] = &qdrant.RetrievedPoint{Id: protoID(r.ID), Vectors: w.shown(r.Vectors), OrderValue: protoOrder(r.Order)}
		out[i].ProtoReflect().SetUnknown(w.payload(r.Payload))
	}
	return out
}

func (w view) hits(hs []flat.Hit) []*qdrant.ScoredPoint {
	out := make([]*qdrant.ScoredPoint, len(hs))
	for i, h := range hs {
		out[i] = &qdrant.ScoredPoint{Id: protoID(h.ID), Vectors: w.shown(h.Vectors), OrderValue: protoOrder(h.Order), Score: h.Score}
		out[i].ProtoReflect().SetUnknown(w.payload(h.Payload))
	}
	return out
}

func (w view) shown(vs map[string][]float32) *qdrant.VectorsOutput {
	if !w.withVectors {
		return nil
	}
	return protoVectors(vs)
}

func protoOrder(v any) *qdrant.OrderValue {
	switch v := v.(type) {
	case int64:
		return &qdrant.OrderValue{Variant: &qdrant.OrderValue_Int{Int: v}}
	case float64:
		return &qdrant.OrderValue{Variant: &qdrant.OrderValue_Float{Float: v}}
	}
	return nil
}

func paths(keys []string) ([]flat.Path, error) {
	out := make([]flat.Path, len(keys))
	for i, k := range keys {
		var err error
		if out[i], err = flat.ParsePath(k); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// clamp makes a count from the wire fit an int.
func clamp[T uint32 | uint64](n T) int { return int(min(uint64(n), math.MaxInt32)) }
