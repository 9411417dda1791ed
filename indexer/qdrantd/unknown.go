package qdrantd

import (
	"fmt"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// refuseUnknown fails with Unimplemented when a request has a field that the generated
// messages do not know: a newer client asks for something that would be ignored.
func refuseUnknown(req any) error {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	if name := findUnknown(m.ProtoReflect()); name != "" {
		return unimplemented(name)
	}
	return nil
}

func findUnknown(m protoreflect.Message) (name string) {
	if v, ok := m.Interface().(*qdrant.Value); ok {
		return unknownInValue(v)
	}
	if name := unknown(m); name != "" {
		return name
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					name = findUnknown(v.Message())
					return name == ""
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := 0; i < v.List().Len() && name == ""; i++ {
				name = findUnknown(v.List().Get(i).Message())
			}
		default:
			name = findUnknown(v.Message())
		}
		return name == ""
	})
	return name
}

// unknown names the first field of m itself that is not known.
func unknown(m protoreflect.Message) string {
	raw := m.GetUnknown()
	if len(raw) == 0 {
		return ""
	}
	n, _, _ := protowire.ConsumeTag(raw)
	return fmt.Sprintf("field %d of %s, which is newer than API %s", n, m.Descriptor().FullName(), Version)
}

// unknownInValue is findUnknown for payloads, of which bulk upserts are full, without reflection.
func unknownInValue(v *qdrant.Value) (name string) {
	if name := unknown(v.ProtoReflect()); name != "" {
		return name
	}
	switch v := v.GetKind().(type) {
	case *qdrant.Value_StructValue:
		if name := unknown(v.StructValue.ProtoReflect()); name != "" {
			return name
		}
		for _, x := range v.StructValue.GetFields() {
			if name := unknownInValue(x); name != "" {
				return name
			}
		}
	case *qdrant.Value_ListValue:
		if name := unknown(v.ListValue.ProtoReflect()); name != "" {
			return name
		}
		for _, x := range v.ListValue.GetValues() {
			if name := unknownInValue(x); name != "" {
				return name
			}
		}
	}
	return ""
}
