package qdrantd

import (
	"fmt"

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
	if raw := m.GetUnknown(); len(raw) > 0 {
		n, _, _ := protowire.ConsumeTag(raw)
		return fmt.Sprintf("field %d of %s, which is newer than API %s", n, m.Descriptor().FullName(), Version)
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
